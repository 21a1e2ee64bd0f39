"""Serialised values: their order, and collections taken apart and put together.

Rows are kept as the bytes that travel. What compares them (clustering order, `<` in WHERE, the order of set elements
and map keys) is Cassandra's order of each type, which is not that of the bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.types import CqlType, decode_cql
from zdm.sandbox.failures import invalid
from zdm.sandbox.type_names import is_collection, is_list, is_map, is_set, is_tuple, is_udt

_INT: Final = Struct(">i")
_TIMEUUID: Final = 0x0F
_UUID: Final = 0x0C
_BY_VALUE: Final = frozenset((0x02, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0B, 0x0E, 0x12, 0x13, 0x14, 0x04))
"""bigint, counter, decimal, double, float, int, timestamp, varint, time, smallint, tinyint, boolean."""


class Descending:
    """The order of a value turned around, for CLUSTERING ORDER BY ... DESC."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def order(cql_type: CqlType, value: bytes | None) -> Any:
    """What to compare instead of the bytes. An empty or missing value comes before all others."""
    if value is None or not value:
        return (0,)
    if cql_type.code in _BY_VALUE:
        return (1, decode_cql(cql_type, value))
    if cql_type.code in (_UUID, _TIMEUUID) and len(value) == 16:
        return (1, *_uuid_order(value))
    if is_tuple(cql_type) or is_udt(cql_type):
        types = cql_type.arguments
        return (1, tuple(order(kind, part) for kind, part in zip(types, unpack_tuple(value), strict=False)))
    if is_collection(cql_type):
        return (1, _collection_order(cql_type, value))
    return (1, value)


def _uuid_order(value: bytes) -> tuple[Any, ...]:
    """UUIDs go by version; time-based ones by time, then by their last half as signed bytes; others by their bytes."""
    version = value[6] >> 4
    if version != 1:
        return (version, value)
    time = (value[6] & 0x0F, value[7], value[4:6], value[0:4])
    return (version, time, bytes((byte + 0x80) & 0xFF for byte in value[8:]))


def _collection_order(cql_type: CqlType, value: bytes) -> tuple[Any, ...]:
    if is_map(cql_type):
        key_type, value_type = cql_type.arguments
        return tuple((order(key_type, key), order(value_type, item)) for key, item in unpack_map(value))
    (item_type,) = cql_type.arguments
    return tuple(order(item_type, item) for item in unpack_list(value))


def check(cql_type: CqlType, value: bytes) -> None:
    """Raises INVALID unless the bytes are a value of the type."""
    try:
        decode_cql(cql_type, value)
    except RemoteProtocolError as fault:
        raise invalid(f"Invalid value for type {cql_type}: {fault.message}") from fault


def pack_list(items: list[bytes]) -> bytes:
    """The bytes of a list or set."""
    return _INT.pack(len(items)) + b"".join(_INT.pack(len(item)) + item for item in items)


def unpack_list(value: bytes) -> list[bytes]:
    items, position = [], 4
    for _ in range(_INT.unpack_from(value)[0]):
        length = _INT.unpack_from(value, position)[0]
        items.append(value[position + 4 : position + 4 + length])
        position += 4 + length
    return items


def pack_map(pairs: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(_INT.pack(len(key)) + key + _INT.pack(len(item)) + item for key, item in pairs)
    return _INT.pack(len(pairs)) + body


def unpack_map(value: bytes) -> list[tuple[bytes, bytes]]:
    flat, position = [], 4
    for _ in range(2 * _INT.unpack_from(value)[0]):
        length = _INT.unpack_from(value, position)[0]
        flat.append(value[position + 4 : position + 4 + length])
        position += 4 + length
    return list(zip(flat[::2], flat[1::2], strict=True))


def pack_tuple(parts: list[bytes | None]) -> bytes:
    """The bytes of a tuple or a user-defined type's value."""
    return b"".join(_INT.pack(-1) if part is None else _INT.pack(len(part)) + part for part in parts)


def unpack_tuple(value: bytes) -> list[bytes | None]:
    parts: list[bytes | None] = []
    position = 0
    while position < len(value):
        length = _INT.unpack_from(value, position)[0]
        position += 4
        parts.append(None if length < 0 else value[position : position + length])
        position += max(length, 0)
    return parts


def collect(cql_type: CqlType, pairs: list[tuple[bytes, bytes]]) -> bytes | None:
    """A collection from its elements: (element, ignored) of a set, (ignored, element) of a list. Empty: null."""
    if not pairs:
        return None
    if is_map(cql_type):
        return pack_map(pairs)
    return pack_list([pair[0] if is_set(cql_type) else pair[1] for pair in pairs])


def sorted_set(cql_type: CqlType, items: list[bytes]) -> bytes:
    """A set from elements in any order, each kept once."""
    (item_type,) = cql_type.arguments
    return pack_list(sorted(set(items), key=lambda item: order(item_type, item)))


def sorted_map(cql_type: CqlType, pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A map from pairs in any order; of equal keys the last one counts."""
    key_type = cql_type.arguments[0]
    return pack_map(sorted(dict(pairs).items(), key=lambda pair: order(key_type, pair[0])))


def contains(cql_type: CqlType, value: bytes | None, wanted: bytes, by_key: bool) -> bool:
    """CONTAINS, or CONTAINS KEY with `by_key`."""
    if value is None:
        return False
    if is_list(cql_type) or is_set(cql_type):
        return wanted in unpack_list(value)
    return any((key if by_key else item) == wanted for key, item in unpack_map(value))
