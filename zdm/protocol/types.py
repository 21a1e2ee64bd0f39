"""CQL types: what a column's [option] says, and values of any type as bytes (v4 sections 4.2.5.2 and 6).

    [option]  <code [short]> then
      0x0000  custom   <class name [string]>
      0x0020  list     <element [option]>
      0x0021  map      <key [option]><value [option]>
      0x0022  set      <element [option]>
      0x0030  UDT      <keyspace [string]><name [string]><n [short]> n x (<field name [string]><type [option]>)
      0x0031  tuple    <n [short]> n x [option]

Collections (v3 and later) are <n [int]> and n x [bytes], for a map 2n; UDTs and tuples are their fields' [bytes] in order,
and may end early. What simple types look like is in `scalars`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zdm.protocol import scalars
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import Reader, encode_bytes, encode_int, encode_short, encode_string

LIST_CODE: Final = 0x0020
MAP_CODE: Final = 0x0021
SET_CODE: Final = 0x0022
UDT_CODE: Final = 0x0030
TUPLE_CODE: Final = 0x0031

_DEEPEST: Final = 64  # a type that nests deeper was made to harm


@dataclass(frozen=True, slots=True)
class CqlType:
    """A type. `parameters` are its element, field or key and value types.

    `name` is a custom type's class or a UDT's name; `keyspace` and `field_names` are a UDT's.
    """

    code: int
    parameters: tuple[CqlType, ...] = ()
    keyspace: str = ""
    name: str = ""
    field_names: tuple[str, ...] = ()


ASCII: Final = CqlType(scalars.ASCII_CODE)
BIGINT: Final = CqlType(scalars.BIGINT_CODE)
BLOB: Final = CqlType(scalars.BLOB_CODE)
BOOLEAN: Final = CqlType(scalars.BOOLEAN_CODE)
COUNTER: Final = CqlType(scalars.COUNTER_CODE)
DECIMAL: Final = CqlType(scalars.DECIMAL_CODE)
DOUBLE: Final = CqlType(scalars.DOUBLE_CODE)
FLOAT: Final = CqlType(scalars.FLOAT_CODE)
INT: Final = CqlType(scalars.INT_CODE)
TIMESTAMP: Final = CqlType(scalars.TIMESTAMP_CODE)
UUID: Final = CqlType(scalars.UUID_CODE)
VARCHAR: Final = CqlType(scalars.VARCHAR_CODE)
VARINT: Final = CqlType(scalars.VARINT_CODE)
TIMEUUID: Final = CqlType(scalars.TIMEUUID_CODE)
INET: Final = CqlType(scalars.INET_CODE)
DATE: Final = CqlType(scalars.DATE_CODE)
TIME: Final = CqlType(scalars.TIME_CODE)
SMALLINT: Final = CqlType(scalars.SMALLINT_CODE)
TINYINT: Final = CqlType(scalars.TINYINT_CODE)
DURATION: Final = CqlType(scalars.DURATION_CODE)


def list_of(element: CqlType) -> CqlType:
    """list<element>"""
    return CqlType(LIST_CODE, (element,))


def set_of(element: CqlType) -> CqlType:
    """set<element>"""
    return CqlType(SET_CODE, (element,))


def map_of(key: CqlType, value: CqlType) -> CqlType:
    """map<key, value>"""
    return CqlType(MAP_CODE, (key, value))


def tuple_of(*fields: CqlType) -> CqlType:
    """tuple<fields>"""
    return CqlType(TUPLE_CODE, fields)


def udt(keyspace: str, name: str, fields: Mapping[str, CqlType]) -> CqlType:
    """A user-defined type with its fields in order."""
    return CqlType(UDT_CODE, tuple(fields.values()), keyspace, name, tuple(fields))


def custom(class_name: str) -> CqlType:
    """A type known to the server by its Java class; its values are bytes."""
    return CqlType(scalars.CUSTOM_CODE, name=class_name)


def encode_type(cql_type: CqlType) -> bytes:
    """The [option] of a type."""
    head = encode_short(cql_type.code)
    nested = b"".join(map(encode_type, cql_type.parameters))
    if cql_type.code == scalars.CUSTOM_CODE:
        return head + encode_string(cql_type.name)
    if cql_type.code == TUPLE_CODE:
        return head + encode_short(len(cql_type.parameters)) + nested
    if cql_type.code == UDT_CODE:
        names = encode_string(cql_type.keyspace) + encode_string(cql_type.name)
        fields = zip(cql_type.field_names, cql_type.parameters, strict=True)
        coded = b"".join(encode_string(name) + encode_type(field) for name, field in fields)
        return head + names + encode_short(len(cql_type.parameters)) + coded
    return head + nested


def decode_type(reader: Reader, depth: int = 0) -> CqlType:
    """The type whose [option] is at the reader's place. Raises RemoteProtocolError for codes that are none."""
    if depth > _DEEPEST:
        raise RemoteProtocolError(f"A type is nested more than {_DEEPEST} deep")
    code = reader.short()
    if code == scalars.CUSTOM_CODE:
        return custom(reader.string())
    if code in (LIST_CODE, SET_CODE):
        return CqlType(code, (decode_type(reader, depth + 1),))
    if code == MAP_CODE:
        return CqlType(code, (decode_type(reader, depth + 1), decode_type(reader, depth + 1)))
    if code == TUPLE_CODE:
        return CqlType(code, tuple(decode_type(reader, depth + 1) for _ in range(reader.short())))
    if code == UDT_CODE:
        return _decode_udt(reader, depth)
    if not scalars.is_scalar(code):
        raise RemoteProtocolError(f"0x{code:04X} is the code of no type")
    return CqlType(code)


def _decode_udt(reader: Reader, depth: int) -> CqlType:
    keyspace, name = reader.string(), reader.string()
    names: list[str] = []
    parameters: list[CqlType] = []
    for _ in range(reader.short()):
        names.append(reader.string())
        parameters.append(decode_type(reader, depth + 1))
    return CqlType(UDT_CODE, tuple(parameters), keyspace, name, tuple(names))


def encode_cql(cql_type: CqlType, value: object) -> bytes | None:
    """The bytes of a Python value; None stays None. LocalProtocolError where it is no value of the type.

    Lists and tuples are sequences, sets any iterable, maps mappings, UDTs mappings by field name or sequences.
    """
    if value is None:
        return None
    code, parameters = cql_type.code, cql_type.parameters
    if code == MAP_CODE:
        if not isinstance(value, Mapping):
            raise LocalProtocolError(f"{value!r} is no map")
        pairs = [encode_bytes(encode_cql(p, v)) for item in value.items() for p, v in zip(parameters, item, strict=True)]
        return encode_int(len(value)) + b"".join(pairs)
    if code in (LIST_CODE, SET_CODE):
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise LocalProtocolError(f"{value!r} is no collection")
        elements = [encode_bytes(encode_cql(parameters[0], element)) for element in value]
        return encode_int(len(elements)) + b"".join(elements)
    if code in (TUPLE_CODE, UDT_CODE):
        return _encode_fields(cql_type, value)
    return scalars.encode_scalar(code, value)


def _encode_fields(cql_type: CqlType, value: object) -> bytes:
    if isinstance(value, Mapping):
        value = [value.get(name) for name in cql_type.field_names]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or len(value) > len(cql_type.parameters):
        raise LocalProtocolError(f"{value!r} does not have the fields of the type")
    fields = zip(cql_type.parameters, value, strict=False)
    return b"".join(encode_bytes(encode_cql(parameter, field)) for parameter, field in fields)


def decode_cql(cql_type: CqlType, value: bytes | None) -> object:
    """The Python value that the bytes stand for: list, set as list, dict, tuple; a UDT as dict by field name.

    A map whose keys are no dict keys (collections, UDTs) is a list of pairs. Raises RemoteProtocolError.
    """
    if value is None:
        return None
    code, parameters = cql_type.code, cql_type.parameters
    if code in (LIST_CODE, SET_CODE):
        return [decode_cql(parameters[0], element) for element in _elements(value, 1)]
    if code == MAP_CODE:
        return _decode_map(cql_type, value)
    if code in (TUPLE_CODE, UDT_CODE):
        reader = Reader(value)
        fields = [decode_cql(p, reader.bytes() if reader.remaining() else None) for p in parameters]
        return dict(zip(cql_type.field_names, fields, strict=True)) if code == UDT_CODE else tuple(fields)
    return scalars.decode_scalar(code, value)


def _decode_map(cql_type: CqlType, value: bytes) -> object:
    elements = _elements(value, 2)
    keys = [decode_cql(cql_type.parameters[0], key) for key in elements[::2]]
    pairs = list(zip(keys, (decode_cql(cql_type.parameters[1], item) for item in elements[1::2]), strict=True))
    try:
        return dict(pairs)
    except TypeError:
        return pairs


def _elements(value: bytes, each: int) -> list[bytes | None]:
    reader = Reader(value)
    count = reader.count() * each
    if count * 4 > reader.remaining():
        raise RemoteProtocolError(f"A collection of {len(value)} bytes can't hold {count} values")
    return [reader.bytes() for _ in range(count)]
