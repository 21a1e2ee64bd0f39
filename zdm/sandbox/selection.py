"""What a SELECT gives for a row: columns, writetime and ttl, calls, casts, and the aggregates over all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zdm.protocol.metadata import ColumnSpec
from zdm.protocol.types import BIGINT, BLOB, BOOLEAN, DOUBLE, INT, UUID, VARCHAR, CqlType, decode_cql, encode_cql
from zdm.sandbox.failures import invalid
from zdm.sandbox.functions import AGGREGATES, Function, aggregate, aggregate_type, apply, choose
from zdm.sandbox.murmur3 import token
from zdm.sandbox.rows import LiveRow
from zdm.sandbox.schema import Column, Table
from zdm.sandbox.statements import (
    CallTerm,
    ColumnTerm,
    FieldTerm,
    HintTerm,
    Literal,
    LiteralKind,
    Select,
    Term,
    TypeName,
)
from zdm.sandbox.storage import serialise_key
from zdm.sandbox.terms import Bindings, evaluate, known
from zdm.sandbox.type_names import is_map, is_simple, is_udt
from zdm.sandbox.values import unpack_map, unpack_tuple

Read = Callable[[LiveRow, Bindings], bytes | None]


@dataclass(frozen=True, slots=True)
class Output:
    """One column of the result. `aggregate` is set for those that need all rows; `read` then gives its argument."""

    spec: ColumnSpec
    read: Read
    aggregate: str | None = None
    argument: CqlType | None = None


def outputs(table: Table, select: Select, resolve: Callable[[TypeName], CqlType]) -> list[Output]:
    """The result's columns. `resolve` makes a type of a type's name. Raises INVALID for what can't be selected."""
    if not select.selectors:
        return [_column_output(column) for column in table.columns.values()]
    found = []
    for selector in select.selectors:
        output = _output(table, selector.term, resolve)
        if selector.alias is not None:
            output = replace(output, spec=_renamed(output.spec, selector.alias))
        found.append(output)
    return found


def _renamed(spec: ColumnSpec, name: str) -> ColumnSpec:
    return ColumnSpec(spec.keyspace, spec.table, name, spec.type)


def _column_output(column: Column) -> Output:
    return Output(column.spec, lambda row, bindings: row.values.get(column.name))


def _output(table: Table, term: Term, resolve: Callable[[TypeName], CqlType]) -> Output:
    if isinstance(term, ColumnTerm):
        return _column_output(table.column(term.name))
    if isinstance(term, CallTerm):
        return _call(table, term, resolve)
    if isinstance(term, FieldTerm):
        return _field(table, term)
    if isinstance(term, HintTerm):
        return _cast(table, term, resolve)
    kind = _literal_type(term)
    return _made(table, "constant", kind, lambda row, bindings: _bytes(evaluate(term, kind, "constant", bindings)))


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _made(table: Table, name: str, kind: CqlType, read: Read) -> Output:
    return Output(ColumnSpec(table.keyspace, table.name, name, kind), read)


def _literal_type(term: Term) -> CqlType:
    kinds = {
        LiteralKind.STRING: VARCHAR,
        LiteralKind.INTEGER: INT,
        LiteralKind.FLOAT: DOUBLE,
        LiteralKind.BOOLEAN: BOOLEAN,
        LiteralKind.UUID: UUID,
        LiteralKind.HEX: BLOB,
    }
    if isinstance(term, Literal) and term.kind in kinds:
        return kinds[term.kind]
    raise invalid("Cannot infer type for term in selection clause (try using a cast to force a type)")


def _call(table: Table, term: CallTerm, resolve: Callable[[TypeName], CqlType]) -> Output:
    name = term.name.removeprefix("system.").lower()
    if name == "count" and (not term.arguments or isinstance(term.arguments[0], Literal)):
        return Output(
            ColumnSpec(table.keyspace, table.name, "count", BIGINT), lambda row, bindings: b"", "count", BIGINT
        )
    if name in ("writetime", "ttl"):
        return _cell_fact(table, name, term)
    if name == "token":
        return _token(table, term)
    arguments = [_output(table, argument, resolve) for argument in term.arguments]
    label = f"system.{name}({', '.join(output.spec.name for output in arguments)})"
    if name in AGGREGATES and len(arguments) == 1:
        argument = arguments[0].spec.type
        spec = ColumnSpec(table.keyspace, table.name, label, aggregate_type(name, argument))
        return Output(spec, arguments[0].read, name, argument)
    function = choose(term.name, [output.spec.type for output in arguments], None)
    return _made(table, label, function.returns, _calling(function, arguments))


def _calling(function: Function, arguments: list[Output]) -> Read:
    return lambda row, bindings: apply(function, [output.read(row, bindings) for output in arguments], bindings.now)


def _cell_fact(table: Table, name: str, term: CallTerm) -> Output:
    argument = term.arguments[0] if len(term.arguments) == 1 else None
    if not isinstance(argument, ColumnTerm):
        raise invalid(f"Invalid call to function {name}, expecting a column name")
    column = table.column(argument.name)
    label = "writeTime" if name == "writetime" else name
    if column.is_key:
        raise invalid(f"Cannot use selection function {label} on PRIMARY KEY part {column.name}")
    if column.is_multicell:
        raise invalid(f"Cannot use selection function {label} on non-frozen collection {column.name}")

    def write_time(row: LiveRow, bindings: Bindings) -> bytes | None:
        cell = row.cells.get(column.name)
        return None if cell is None else encode_cql(BIGINT, cell.timestamp)

    def time_to_live(row: LiveRow, bindings: Bindings) -> bytes | None:
        cell = row.cells.get(column.name)
        if cell is None or cell.expires is None:
            return None
        return encode_cql(INT, max(0, int(cell.expires - bindings.now)))

    if name == "writetime":
        return _made(table, f"writetime({column.name})", BIGINT, write_time)
    return _made(table, f"ttl({column.name})", INT, time_to_live)


def _token(table: Table, term: CallTerm) -> Output:
    names = [argument.name for argument in term.arguments if isinstance(argument, ColumnTerm)]
    key = [column.name for column in table.partition_key]
    if names != key:
        raise invalid(
            f"Invalid number of arguments or order in call to function system.token: {', '.join(key)} expected"
        )
    label = f"system.token({', '.join(key)})"
    return _made(
        table, label, BIGINT, lambda row, bindings: encode_cql(BIGINT, token(serialise_key(row.partition.key)))
    )


def _field(table: Table, term: FieldTerm) -> Output:
    """`column.field` of a user-defined type, `column[key]` of a map."""
    column = table.column(term.column)
    if term.field is not None:
        if not is_udt(column.type) or term.field not in column.type.field_names:
            raise invalid(
                f"Invalid field selection: {column.name} of type {column.type_text} has no field {term.field}"
            )
        index = column.type.field_names.index(term.field)
        kind = column.type.arguments[index]

        def field(row: LiveRow, bindings: Bindings) -> bytes | None:
            packed = row.values.get(column.name)
            parts = [] if packed is None else unpack_tuple(packed)
            return parts[index] if index < len(parts) else None

        return _made(table, f"{column.name}.{term.field}", kind, field)
    if not is_map(column.type) or term.key is None:
        raise invalid(f"Invalid element selection: {column.name} is of type {column.type_text}")
    return _element(table, column, term.key)


def _element(table: Table, column: Column, key: Term) -> Output:
    key_type, value_type = column.type.arguments

    def element(row: LiveRow, bindings: Bindings) -> bytes | None:
        wanted = known(key, key_type, column.name, bindings)
        packed = row.values.get(column.name)
        return None if packed is None else dict(unpack_map(packed)).get(wanted)

    text = key.text if isinstance(key, Literal) else "?"
    label = f"'{text}'" if isinstance(key, Literal) and key.kind is LiteralKind.STRING else text
    return _made(table, f"{column.name}[{label}]", value_type, element)


def _cast(table: Table, term: HintTerm, resolve: Callable[[TypeName], CqlType]) -> Output:
    wanted = resolve(term.type)
    if not term.is_cast:
        inner = term.term
        return _made(
            table, "constant", wanted, lambda row, bindings: _bytes(evaluate(inner, wanted, "constant", bindings))
        )
    output = _output(table, term.term, resolve)
    given = output.spec.type
    if given != wanted and not (is_simple(wanted) and is_simple(given)):
        raise invalid(f"{output.spec.name} cannot be cast to {term.type.name}")

    def cast(row: LiveRow, bindings: Bindings) -> bytes | None:
        value = output.read(row, bindings)
        return None if value is None else _converted(given, wanted, value)

    return _made(table, f"cast({output.spec.name} as {term.type.name})", wanted, cast)


def _converted(given: CqlType, wanted: CqlType, value: bytes) -> bytes | None:
    """CAST between numbers and to text, the two that are common."""
    if given == wanted:
        return value
    plain = decode_cql(given, value)
    if wanted == VARCHAR:
        return str(plain).lower().encode() if isinstance(plain, bool) else str(plain).encode()
    if not isinstance(plain, int | float) or isinstance(plain, bool):
        raise invalid("This cast is not supported by the sandbox")
    return encode_cql(wanted, float(plain) if wanted == DOUBLE else int(plain))


def is_aggregate(selected: Sequence[Output]) -> bool:
    return any(output.aggregate is not None for output in selected)


def aggregated(selected: Sequence[Output], rows: Sequence[LiveRow], bindings: Bindings) -> list[bytes | None]:
    """The one row of a SELECT with aggregates; a plain column beside them shows the first row's value."""
    result: list[bytes | None] = []
    for output in selected:
        if output.aggregate is not None and output.argument is not None:
            values = [output.read(row, bindings) for row in rows]
            result.append(aggregate(output.aggregate, output.argument, values))
        else:
            result.append(output.read(rows[0], bindings) if rows else None)
    return result
