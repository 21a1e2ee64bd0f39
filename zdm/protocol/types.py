"""CQL types as metadata carries them, and values of any of them (v4 sections 4.2.5.2 and 6).

    option     <code [short]> and, by code,
    custom     <class name [string]>
    list, set  <element option>
    map        <key option><value option>
    udt        <keyspace [string]><name [string]><n [short]>, n x (<field name [string]><option>)
    tuple      <n [short]>, n x <option>

    value of   bytes
    list, set  <n [int]>, n x [bytes]
    map        <n [int]>, n x ([bytes], [bytes])
    tuple, udt the fields as [bytes]; fields missing at the end are null

A type that is younger than the version goes over the wire as a custom one, named by its Java class.
`zdm.protocol.scalars` has the values of simple types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zdm.protocol import scalars
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import Reader, encode_bytes, encode_int, encode_short, encode_string
from zdm.protocol.scalars import Duration, decode_scalar, encode_scalar
from zdm.protocol.versions import V4, V5

__all__ = [
    "ASCII",
    "BIGINT",
    "BLOB",
    "BOOLEAN",
    "COUNTER",
    "DATE",
    "DECIMAL",
    "DOUBLE",
    "DURATION",
    "FLOAT",
    "INET",
    "INT",
    "SMALLINT",
    "TIME",
    "TIMESTAMP",
    "TIMEUUID",
    "TINYINT",
    "UUID",
    "VARCHAR",
    "VARINT",
    "CqlType",
    "Duration",
    "custom",
    "decode_cql",
    "decode_type",
    "encode_cql",
    "encode_type",
    "list_of",
    "map_of",
    "set_of",
    "tuple_of",
    "udt",
]

_LIST: Final = 0x0020
_MAP: Final = 0x0021
_SET: Final = 0x0022
_UDT: Final = 0x0030
_TUPLE: Final = 0x0031

# Deeper than any schema; a body of nested lists must not use up Python's stack.
MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class CqlType:
    """A type, made by the constants and functions of this file. Equal types are equal and have one hash.

    `arguments` are the types it is made of: elements, key and value, or fields. `name` is a simple type's CQL name, a
    custom type's class or a user defined type's name; only the last has `keyspace` and `field_names`.
    """

    code: int
    name: str
    arguments: tuple[CqlType, ...] = ()
    keyspace: str = ""
    field_names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The type as CQL writes it, every collection unfrozen."""
        if self.code == scalars.CUSTOM_CODE:
            return f"'{self.name}'"
        if self.code == _UDT or not self.arguments:
            return self.name
        return f"{self.name}<{', '.join(map(str, self.arguments))}>"


ASCII: Final = CqlType(scalars.ASCII_CODE, "ascii")
BIGINT: Final = CqlType(scalars.BIGINT_CODE, "bigint")
BLOB: Final = CqlType(scalars.BLOB_CODE, "blob")
BOOLEAN: Final = CqlType(scalars.BOOLEAN_CODE, "boolean")
COUNTER: Final = CqlType(scalars.COUNTER_CODE, "counter")
DECIMAL: Final = CqlType(scalars.DECIMAL_CODE, "decimal")
DOUBLE: Final = CqlType(scalars.DOUBLE_CODE, "double")
FLOAT: Final = CqlType(scalars.FLOAT_CODE, "float")
INT: Final = CqlType(scalars.INT_CODE, "int")
TIMESTAMP: Final = CqlType(scalars.TIMESTAMP_CODE, "timestamp")
UUID: Final = CqlType(scalars.UUID_CODE, "uuid")
VARCHAR: Final = CqlType(scalars.VARCHAR_CODE, "text")
VARINT: Final = CqlType(scalars.VARINT_CODE, "varint")
TIMEUUID: Final = CqlType(scalars.TIMEUUID_CODE, "timeuuid")
INET: Final = CqlType(scalars.INET_CODE, "inet")
DATE: Final = CqlType(scalars.DATE_CODE, "date")
TIME: Final = CqlType(scalars.TIME_CODE, "time")
SMALLINT: Final = CqlType(scalars.SMALLINT_CODE, "smallint")
TINYINT: Final = CqlType(scalars.TINYINT_CODE, "tinyint")
DURATION: Final = CqlType(scalars.DURATION_CODE, "duration")

_SIMPLE: Final[dict[int, CqlType]] = {
    simple.code: simple
    for simple in (
        *(ASCII, BIGINT, BLOB, BOOLEAN, COUNTER, DECIMAL, DOUBLE, FLOAT, INT, TIMESTAMP),
        *(UUID, VARCHAR, VARINT, TIMEUUID, INET, DATE, TIME, SMALLINT, TINYINT, DURATION),
    )
}

# The first version that has the type's code, and the class that older versions are told.
_JAVA_PACKAGE: Final = "org.apache.cassandra.db.marshal."
_YOUNG: Final[dict[CqlType, tuple[int, str]]] = {
    DATE: (V4, _JAVA_PACKAGE + "SimpleDateType"),
    TIME: (V4, _JAVA_PACKAGE + "TimeType"),
    SMALLINT: (V4, _JAVA_PACKAGE + "ShortType"),
    TINYINT: (V4, _JAVA_PACKAGE + "ByteType"),
    DURATION: (V5, _JAVA_PACKAGE + "DurationType"),
}
_YOUNG_CLASSES: Final[dict[str, CqlType]] = {class_name: young for young, (_, class_name) in _YOUNG.items()}


def list_of(element: CqlType) -> CqlType:
    """list<element>; its values are Python lists."""
    return CqlType(_LIST, "list", (element,))


def set_of(element: CqlType) -> CqlType:
    """set<element>; its values are Python sets."""
    return CqlType(_SET, "set", (element,))


def map_of(key: CqlType, value: CqlType) -> CqlType:
    """map<key, value>; its values are Python dicts."""
    return CqlType(_MAP, "map", (key, value))


def tuple_of(*fields: CqlType) -> CqlType:
    """tuple<fields>; its values are Python tuples."""
    return CqlType(_TUPLE, "tuple", fields)


def udt(keyspace: str, name: str, fields: Mapping[str, CqlType] | Iterable[tuple[str, CqlType]]) -> CqlType:
    """A user defined type; its values are Python dicts by field name, in the order of the fields."""
    pairs = tuple(fields.items() if isinstance(fields, Mapping) else fields)
    return CqlType(_UDT, name, tuple(kind for _, kind in pairs), keyspace, tuple(field for field, _ in pairs))


def custom(class_name: str) -> CqlType:
    """A type known by its Java class only; its values are the bytes themselves."""
    return CqlType(scalars.CUSTOM_CODE, class_name)


def encode_type(kind: CqlType, version: int) -> bytes:
    """The option that names the type in metadata."""
    oldest, class_name = _YOUNG.get(kind, (version, ""))
    if version < oldest:
        return encode_type(custom(class_name), version)
    code = encode_short(kind.code)
    if kind.code in (_LIST, _SET, _MAP):
        return code + b"".join([encode_type(argument, version) for argument in kind.arguments])
    if kind.code == _TUPLE:
        fields = b"".join([encode_type(argument, version) for argument in kind.arguments])
        return code + encode_short(len(kind.arguments)) + fields
    if kind.code == _UDT:
        named = zip(kind.field_names, kind.arguments, strict=True)
        fields = b"".join([encode_string(name) + encode_type(argument, version) for name, argument in named])
        head = code + encode_string(kind.keyspace) + encode_string(kind.name)
        return head + encode_short(len(kind.arguments)) + fields
    return code + encode_string(kind.name) if kind.code == scalars.CUSTOM_CODE else code


def decode_type(reader: Reader, version: int, depth: int = 0) -> CqlType:
    """The type at the reader's place, itself `depth` types deep.

    Raises `RemoteProtocolError` for an unknown code, or deeper than `MAX_DEPTH`.
    """
    if depth >= MAX_DEPTH:
        raise RemoteProtocolError(f"A type is nested deeper than {MAX_DEPTH}")
    code = reader.short()
    simple = _SIMPLE.get(code)
    if simple is not None:
        return simple
    if code == scalars.CUSTOM_CODE:
        return _decode_custom(reader.string(), version)
    inner = depth + 1
    if code == _LIST:
        return list_of(decode_type(reader, version, inner))
    if code == _SET:
        return set_of(decode_type(reader, version, inner))
    if code == _MAP:
        return map_of(decode_type(reader, version, inner), decode_type(reader, version, inner))
    if code == _TUPLE:
        return tuple_of(*[decode_type(reader, version, inner) for _ in range(reader.short())])
    if code == _UDT:
        keyspace, name = reader.string(), reader.string()
        fields = [(reader.string(), decode_type(reader, version, inner)) for _ in range(reader.short())]
        return udt(keyspace, name, fields)
    raise RemoteProtocolError(f"Unknown type code 0x{code:04X}")


def _decode_custom(class_name: str, version: int) -> CqlType:
    young = _YOUNG_CLASSES.get(class_name)
    return young if young is not None and version < _YOUNG[young][0] else custom(class_name)


def encode_cql(kind: CqlType, value: object) -> bytes | None:
    """A value's bytes, without their length; None, which is null, for None.

    `scalars` lists the Python type of each simple type; a collection takes what Python has for it. The elements of a
    Python set are sorted by their bytes. Raises `LocalProtocolError` where the value is none of the type.
    """
    if value is None:
        return None
    if kind.code in (_LIST, _SET):
        return _encode_elements(kind, value)
    if kind.code == _MAP:
        return _encode_map(kind, value)
    if kind.code in (_TUPLE, _UDT):
        return _encode_fields(kind, value)
    return encode_scalar(kind.code, value)


def _encode_elements(kind: CqlType, value: object) -> bytes:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise LocalProtocolError(f"{type(value).__name__} is not for {kind}")
    elements = [encode_bytes(encode_cql(kind.arguments[0], element)) for element in value]
    if isinstance(value, (set, frozenset)):
        elements.sort(key=lambda element: element[4:])
    return encode_int(len(elements)) + b"".join(elements)


def _encode_map(kind: CqlType, value: object) -> bytes:
    if not isinstance(value, Mapping):
        raise LocalProtocolError(f"{type(value).__name__} is not for {kind}")
    key_kind, value_kind = kind.arguments
    entries = [
        encode_bytes(encode_cql(key_kind, key)) + encode_bytes(encode_cql(value_kind, entry))
        for key, entry in value.items()
    ]
    return encode_int(len(entries)) + b"".join(entries)


def _encode_fields(kind: CqlType, value: object) -> bytes:
    if kind.code == _UDT and isinstance(value, Mapping):
        fields: Sequence[object] = [value.get(name) for name in kind.field_names]
    elif kind.code == _TUPLE and isinstance(value, (tuple, list)) and len(value) <= len(kind.arguments):
        fields = value
    else:
        raise LocalProtocolError(f"{value!r} is not for {kind}")
    pairs = zip(kind.arguments, fields, strict=False)
    return b"".join([encode_bytes(encode_cql(field_kind, field)) for field_kind, field in pairs])


def decode_cql(kind: CqlType, value: bytes | None) -> object:
    """The Python value that the bytes stand for; None for null.

    Inside a set and as a map's key, lists become tuples, sets frozensets and dicts tuples of pairs. Raises
    `RemoteProtocolError` where the bytes are no value of the type.
    """
    if value is None:
        return None
    reader = Reader(value)
    if kind.code in (_LIST, _SET):
        elements = [decode_cql(kind.arguments[0], reader.bytes()) for _ in range(reader.count())]
        return elements if kind.code == _LIST else {_hashable(element) for element in elements}
    if kind.code == _MAP:
        return _decode_map(kind, reader)
    if kind.code in (_TUPLE, _UDT):
        fields = [decode_cql(field, reader.bytes() if reader.remaining() else None) for field in kind.arguments]
        return tuple(fields) if kind.code == _TUPLE else dict(zip(kind.field_names, fields, strict=True))
    return decode_scalar(kind.code, value)


def _decode_map(kind: CqlType, reader: Reader) -> dict[object, object]:
    key_kind, value_kind = kind.arguments
    entries: dict[object, object] = {}
    for _ in range(reader.count()):
        key = _hashable(decode_cql(key_kind, reader.bytes()))
        entries[key] = decode_cql(value_kind, reader.bytes())
    return entries


def _hashable(value: object) -> object:
    if isinstance(value, (list, tuple)) and not isinstance(value, Duration):
        return tuple([_hashable(element) for element in value])
    if isinstance(value, set):
        return frozenset(value)
    if isinstance(value, dict):
        return tuple([(_hashable(key), _hashable(entry)) for key, entry in value.items()])
    return value
