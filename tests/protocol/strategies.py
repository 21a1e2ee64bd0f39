"""Everything that can be said in the protocol, generated: what encodes in a version and comes back equal."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from zdm.protocol import errors, metadata, requests, responses, types
from zdm.protocol.primitives import UNSET, Unset
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.types import CqlType, Duration

BYTES = st.binary(max_size=12)
NULLABLE = st.none() | BYTES
TEXT = st.text(max_size=8)
SHORT = st.integers(0, 2**16 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
COUNT = st.integers(0, 2**31 - 1)
LONG = st.integers(-(2**63), 2**63 - 1)
ADDRESS = st.ip_addresses().map(str)
VERSION = st.sampled_from([3, 4, 5])


def values(version: int) -> st.SearchStrategy[bytes | Unset | None]:
    return NULLABLE if version < 4 else NULLABLE | st.just(UNSET)


@st.composite
def parameters(draw: st.DrawFn, version: int) -> QueryParameters:
    bound = draw(st.none() | st.lists(values(version), max_size=4))
    named = bound is not None and draw(st.booleans())
    return QueryParameters(
        consistency=draw(SHORT),
        values=bound,
        names=draw(st.lists(TEXT, min_size=len(bound), max_size=len(bound))) if bound is not None and named else None,
        skip_metadata=draw(st.booleans()),
        page_size=draw(st.none() | INT),
        paging_state=draw(NULLABLE),
        serial_consistency=draw(st.none() | SHORT),
        timestamp=draw(st.none() | LONG),
        keyspace=draw(st.none() | TEXT) if version >= 5 else None,
        now_in_seconds=draw(st.none() | INT) if version >= 5 else None,
    )


def requests_of(version: int) -> st.SearchStrategy[requests.Request]:
    young = version >= 5
    keyspace = st.none() | TEXT if young else st.none()
    child = st.builds(requests.BatchChild, TEXT | BYTES, st.lists(values(version), max_size=3))
    batch = st.builds(
        requests.Batch,
        kind=st.sampled_from([requests.LOGGED, requests.UNLOGGED, requests.COUNTER]),
        children=st.lists(child, max_size=3),
        consistency=SHORT,
        serial_consistency=st.none() | SHORT,
        timestamp=st.none() | LONG,
        keyspace=keyspace,
        now_in_seconds=st.none() | INT if young else st.none(),
    )
    return st.one_of(
        st.builds(requests.Startup, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.builds(requests.AuthResponse, NULLABLE),
        st.just(requests.Options()),
        st.builds(requests.Register, st.lists(TEXT, max_size=3)),
        st.builds(requests.Query, TEXT, parameters(version)),
        st.builds(requests.Prepare, TEXT, keyspace),
        st.builds(requests.Execute, BYTES, parameters(version), BYTES if young else st.none()),
        batch,
    )


SIMPLE_TYPES = st.sampled_from(
    [
        *(types.ASCII, types.BIGINT, types.BLOB, types.BOOLEAN, types.COUNTER, types.DECIMAL, types.DOUBLE),
        *(types.FLOAT, types.INT, types.TIMESTAMP, types.UUID, types.VARCHAR, types.VARINT, types.TIMEUUID),
        *(types.INET, types.DATE, types.TIME, types.SMALLINT, types.TINYINT, types.DURATION),
    ]
)


def _nested(inner: st.SearchStrategy[CqlType]) -> st.SearchStrategy[CqlType]:
    fields = st.dictionaries(TEXT, inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds(types.list_of, inner),
        st.builds(types.set_of, inner),
        st.builds(types.map_of, inner, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: types.tuple_of(*kinds)),
        st.builds(types.udt, TEXT, TEXT, fields),
    )


CQL_TYPES = st.recursive(SIMPLE_TYPES | st.builds(types.custom, TEXT), _nested, max_leaves=6)

NUMBERS = {
    types.BIGINT: LONG,
    types.COUNTER: LONG,
    types.TIMESTAMP: LONG,
    types.TIME: LONG,
    types.INT: INT,
    types.SMALLINT: st.integers(-(2**15), 2**15 - 1),
    types.TINYINT: st.integers(-128, 127),
    types.DATE: st.integers(-(2**31), 2**31 - 1),
    types.VARINT: st.integers() | st.integers(-(2**200), 2**200),
}


def _simple_values(kind: CqlType) -> st.SearchStrategy[object]:
    if kind in NUMBERS:
        return NUMBERS[kind]
    by_type: dict[CqlType, st.SearchStrategy[object]] = {
        types.ASCII: st.text(st.characters(max_codepoint=127), max_size=8),
        types.BOOLEAN: st.booleans(),
        types.DECIMAL: st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("-1E+50")),
        types.DOUBLE: st.floats(allow_nan=False),
        types.FLOAT: st.floats(width=32, allow_nan=False),
        types.UUID: st.uuids(),
        types.TIMEUUID: st.uuids(),
        types.VARCHAR: TEXT,
        types.INET: ADDRESS,
        types.DURATION: st.builds(Duration, LONG, LONG, LONG),
    }
    return by_type.get(kind, BYTES)


def cql_values(kind: CqlType) -> st.SearchStrategy[object]:
    """Values of the type, without nulls. Keys and elements of sets are generated for simple types only."""
    inner = [cql_values(argument) for argument in kind.arguments]
    shape = str(kind).partition("<")[0]
    if not inner:
        return _simple_values(kind)
    if kind.field_names:
        return st.fixed_dictionaries(dict(zip(kind.field_names, inner, strict=True)))
    if shape == "tuple":
        return st.tuples(*inner)
    if shape == "list":
        return st.lists(inner[0], max_size=3)
    if kind.arguments[0].arguments:
        return st.just(set() if shape == "set" else {})
    return st.sets(inner[0], max_size=3) if shape == "set" else st.dictionaries(inner[0], inner[1], max_size=3)


TYPES_AND_VALUES = CQL_TYPES.flatmap(lambda kind: st.tuples(st.just(kind), cql_values(kind)))


@st.composite
def columns(draw: st.DrawFn, global_spec: bool, min_size: int = 0) -> list[metadata.ColumnSpec]:
    """Columns of one table where they are to share it."""
    table = draw(st.tuples(TEXT, TEXT))
    tables = st.just(table) if global_spec else st.tuples(TEXT, TEXT)
    drawn = draw(st.lists(st.tuples(tables, TEXT, CQL_TYPES), min_size=min_size, max_size=3))
    return [metadata.ColumnSpec(place[0], place[1], name, kind) for place, name, kind in drawn]


@st.composite
def rows_metadata(draw: st.DrawFn, version: int) -> metadata.RowsMetadata:
    global_spec = draw(st.booleans())
    specs = draw(st.none() | columns(global_spec, min_size=1 if global_spec else 0))
    return metadata.RowsMetadata(
        specs,
        draw(st.integers(0, 3)) if specs is None else len(specs),
        draw(NULLABLE),
        global_spec,
        draw(NULLABLE) if version >= 5 else None,
    )


@st.composite
def bind_metadata(draw: st.DrawFn, version: int) -> metadata.BindMetadata:
    global_spec = draw(st.booleans())
    specs = draw(columns(global_spec, min_size=1 if global_spec else 0))
    return metadata.BindMetadata(specs, draw(st.lists(SHORT, max_size=3)) if version >= 4 else [], global_spec)


@st.composite
def rows(draw: st.DrawFn, version: int) -> responses.Rows:
    described = draw(rows_metadata(version))
    width = described.column_count
    row = st.lists(NULLABLE, min_size=width, max_size=width)
    return responses.Rows(described, draw(st.lists(row, max_size=3 if width else 0)))


@st.composite
def schema_change(draw: st.DrawFn, version: int) -> tuple[str, str, str, str | None, list[str] | None]:
    target = draw(st.sampled_from(["KEYSPACE", "TABLE", "TYPE", "FUNCTION", "AGGREGATE"][: 5 if version >= 4 else 3]))
    name = None if target == "KEYSPACE" else draw(TEXT)
    return draw(TEXT), target, draw(TEXT), name, draw(st.lists(TEXT, max_size=3)) if target[0] in "FA" else None


def errors_of(version: int) -> st.SearchStrategy[errors.Error]:
    failures = COUNT if version < 5 else st.dictionaries(ADDRESS, SHORT, max_size=3)
    plain = [code for code in errors.ErrorCode if code not in FIELDED]
    contentions = SHORT if version >= 5 else st.none()
    always: list[st.SearchStrategy[errors.Error]] = [
        st.builds(errors.Error, st.sampled_from(plain).map(int), TEXT),
        st.builds(errors.Unavailable, TEXT, SHORT, INT, INT),
        st.builds(errors.WriteTimeout, TEXT, SHORT, INT, INT, st.sampled_from(["SIMPLE", "BATCH", "", "X"])),
        st.builds(errors.WriteTimeout, TEXT, SHORT, INT, INT, st.just("CAS"), contentions),
        st.builds(errors.ReadTimeout, TEXT, SHORT, INT, INT, st.booleans()),
        st.builds(errors.AlreadyExists, TEXT, TEXT, TEXT),
        st.builds(errors.Unprepared, TEXT, BYTES),
    ]
    since_v4: list[st.SearchStrategy[errors.Error]] = [
        st.builds(errors.ReadFailure, TEXT, SHORT, INT, INT, failures, st.booleans()),
        st.builds(errors.WriteFailure, TEXT, SHORT, INT, INT, failures, TEXT),
        st.builds(errors.FunctionFailure, TEXT, TEXT, TEXT, st.lists(TEXT, max_size=3)),
    ]
    since_v5: list[st.SearchStrategy[errors.Error]] = [st.builds(errors.CasWriteUnknown, TEXT, SHORT, INT, INT)]
    return st.one_of(*always, *(since_v4 if version >= 4 else []), *(since_v5 if version >= 5 else []))


FIELDED = {0x1000, 0x1100, 0x1200, 0x1300, 0x1400, 0x1500, 0x1700, 0x2400, 0x2500}


def responses_of(version: int) -> st.SearchStrategy[responses.Response]:
    prepared = st.builds(
        responses.Prepared,
        BYTES,
        bind_metadata(version),
        rows_metadata(version),
        BYTES if version >= 5 else st.none(),
    )
    return st.one_of(
        st.just(responses.Ready()),
        st.builds(responses.Authenticate, TEXT),
        st.builds(responses.Supported, st.dictionaries(TEXT, st.lists(TEXT, max_size=3), max_size=3)),
        st.builds(responses.AuthChallenge, NULLABLE),
        st.builds(responses.AuthSuccess, NULLABLE),
        st.just(responses.Void()),
        st.builds(responses.SetKeyspace, TEXT),
        rows(version),
        prepared,
        schema_change(version).map(lambda fields: responses.SchemaChange(*fields)),
        schema_change(version).map(lambda fields: responses.SchemaChangeEvent(*fields)),
        st.builds(responses.StatusChangeEvent, TEXT, ADDRESS, INT),
        st.builds(responses.TopologyChangeEvent, TEXT, ADDRESS, INT),
        errors_of(version),
    )
