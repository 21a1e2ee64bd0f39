"""The simple CQL types: their codes, and their values as bytes (v4 sections 4.2.5.2 and 6).

    type                    Python              bytes
    ascii, varchar          str                 ASCII or UTF-8
    bigint, counter         int                 8, signed
    int, smallint, tinyint  int                 4, 2, 1, signed
    varint                  int                 two's complement, as short as possible
    decimal                 Decimal             scale [int], then the unscaled value as varint
    boolean                 bool                1: 0 or 1
    float, double           float               4, 8: IEEE 754
    blob, custom            bytes               as they are
    uuid, timeuuid          UUID                16
    inet                    str                 4 or 16: the address
    timestamp               int                 8: milliseconds since 1970
    date                    int                 4, unsigned: days since 1970 plus 2**31
    time                    int                 8: nanoseconds since midnight
    duration                Duration            three signed vints: months, days, nanoseconds

An empty value of a type that has no empty values stands for none and is decoded as None.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from ipaddress import ip_address
from struct import Struct
from struct import error as StructError
from typing import Final, NamedTuple
from uuid import UUID

from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError

CUSTOM_CODE: Final = 0x0000
ASCII_CODE: Final = 0x0001
BIGINT_CODE: Final = 0x0002
BLOB_CODE: Final = 0x0003
BOOLEAN_CODE: Final = 0x0004
COUNTER_CODE: Final = 0x0005
DECIMAL_CODE: Final = 0x0006
DOUBLE_CODE: Final = 0x0007
FLOAT_CODE: Final = 0x0008
INT_CODE: Final = 0x0009
TIMESTAMP_CODE: Final = 0x000B
UUID_CODE: Final = 0x000C
VARCHAR_CODE: Final = 0x000D
VARINT_CODE: Final = 0x000E
TIMEUUID_CODE: Final = 0x000F
INET_CODE: Final = 0x0010
DATE_CODE: Final = 0x0011
TIME_CODE: Final = 0x0012
SMALLINT_CODE: Final = 0x0013
TINYINT_CODE: Final = 0x0014
DURATION_CODE: Final = 0x0015

_FLOAT: Final = Struct(">f")
_DOUBLE: Final = Struct(">d")
_DATE_ZERO: Final = 2**31
_SCALE_LENGTH: Final = 4
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


class Duration(NamedTuple):
    """A CQL duration. The three parts do not turn into each other: a month has no fixed number of days."""

    months: int
    days: int
    nanoseconds: int


def encode_scalar(code: int, value: object) -> bytes:
    """The bytes of a value that is not None; `LocalProtocolError` where it is no value of that type."""
    expected, encode, _ = _codec(code)
    if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
        raise LocalProtocolError(f"{value!r} is no value of the type with code 0x{code:04X}")
    try:
        return encode(value)
    except (ValueError, OverflowError, StructError) as fault:
        raise LocalProtocolError(f"{value!r} does not fit the type with code 0x{code:04X}: {fault}") from fault


def decode_scalar(code: int, value: bytes) -> object:
    """The value that the bytes stand for; `RemoteProtocolError` where they are none of that type."""
    _, _, decode = _codec(code)
    if not value and code not in _MAY_BE_EMPTY:
        return None
    try:
        return decode(value)
    except (ValueError, StructError) as fault:
        raise RemoteProtocolError(f"Invalid value of the type with code 0x{code:04X}: {fault}") from fault


def is_scalar(code: int) -> bool:
    """A simple type, custom ones among them: its values are decoded here."""
    return code in _CODECS


def _fixed(layout: Struct) -> _Codec:
    def decode(value: bytes) -> object:
        return layout.unpack(value)[0]

    return (int,), layout.pack, decode


def _boolean(value: bytes) -> bool:
    if len(value) != 1:
        raise ValueError(f"{len(value)} bytes for a boolean")
    return value != b"\0"


def _encode_varint(value: int) -> bytes:
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def _decode_varint(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError("not a number")
    unscaled = int("".join(map(str, digits)) or "0")
    return (-exponent).to_bytes(_SCALE_LENGTH, "big", signed=True) + _encode_varint(-unscaled if sign else unscaled)


def _decode_decimal(value: bytes) -> Decimal:
    if len(value) <= _SCALE_LENGTH:
        raise ValueError(f"{len(value)} bytes for a decimal")
    scale = int.from_bytes(value[:_SCALE_LENGTH], "big", signed=True)
    unscaled = _decode_varint(value[_SCALE_LENGTH:])
    digits = tuple(map(int, _decimal_text(abs(unscaled))))
    return Decimal((int(unscaled < 0), digits, -scale))


def _decimal_text(number: int) -> str:
    """str() refuses numbers of some thousand digits; Decimal does not."""
    return f"{_EXACT.create_decimal(number):f}"


def _encode_inet(value: str) -> bytes:
    return ip_address(value).packed


def _decode_inet(value: bytes) -> str:
    return str(ip_address(value))


def _decode_uuid(value: bytes) -> UUID:
    return UUID(bytes=value)


def _encode_date(value: int) -> bytes:
    return (value + _DATE_ZERO).to_bytes(4, "big")


def _decode_date(value: bytes) -> int:
    if len(value) != 4:
        raise ValueError(f"{len(value)} bytes for a date")
    return int.from_bytes(value, "big") - _DATE_ZERO


def _encode_duration(value: Duration) -> bytes:
    return b"".join(map(encode_signed_vint, value))


def _decode_duration(value: bytes) -> Duration:
    parts, position = [], 0
    for _ in Duration._fields:
        part, position = decode_signed_vint(value, position)
        parts.append(part)
    if position != len(value):
        raise ValueError("bytes are left over after a duration")
    return Duration(*parts)


def encode_signed_vint(value: int) -> bytes:
    """A zig-zag [vint]: the leading ones of the first byte tell how many bytes follow (v5 section 3)."""
    coded = (value << 1) ^ (value >> 63)
    if not 0 <= coded < 1 << 64:
        raise OverflowError("more than 64 bits")
    extra = 0
    while extra < 8 and coded >> (7 * (extra + 1)):
        extra += 1
    if extra == 8:
        return b"\xff" + coded.to_bytes(8, "big")
    body = bytearray(coded.to_bytes(extra + 1, "big"))
    body[0] |= 0xFF & ~(0xFF >> extra)
    return bytes(body)


def decode_signed_vint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and where the next begins. Raises ValueError where bytes are missing."""
    if position >= len(data):
        raise ValueError("a vint is missing")
    first = data[position]
    extra = 8 - (first ^ 0xFF).bit_length()
    end = position + 1 + extra
    if end > len(data):
        raise ValueError("a vint is cut off")
    head = first & (0xFF >> extra) if extra < 8 else 0
    coded = head << (8 * extra) | int.from_bytes(data[position + 1 : end], "big")
    return (coded >> 1) ^ -(coded & 1), end


_Codec = tuple[tuple[type, ...], Callable[..., bytes], Callable[[bytes], object]]

_LONG: Final = _fixed(Struct(">q"))
_ASCII: Final[_Codec] = ((str,), lambda value: value.encode("ascii"), lambda value: value.decode("ascii"))
_TEXT: Final[_Codec] = ((str,), str.encode, bytes.decode)
_BYTES: Final[_Codec] = ((bytes,), bytes, bytes)
_UUID: Final[_Codec] = ((UUID,), lambda value: value.bytes, _decode_uuid)

_CODECS: Final[dict[int, _Codec]] = {
    CUSTOM_CODE: _BYTES,
    ASCII_CODE: _ASCII,
    BIGINT_CODE: _LONG,
    BLOB_CODE: _BYTES,
    BOOLEAN_CODE: ((bool,), lambda value: b"\1" if value else b"\0", _boolean),
    COUNTER_CODE: _LONG,
    DECIMAL_CODE: ((Decimal,), _encode_decimal, _decode_decimal),
    DOUBLE_CODE: ((float, int), _DOUBLE.pack, lambda value: _DOUBLE.unpack(value)[0]),
    FLOAT_CODE: ((float, int), _FLOAT.pack, lambda value: _FLOAT.unpack(value)[0]),
    INT_CODE: _fixed(Struct(">i")),
    TIMESTAMP_CODE: _LONG,
    UUID_CODE: _UUID,
    VARCHAR_CODE: _TEXT,
    VARINT_CODE: ((int,), _encode_varint, _decode_varint),
    TIMEUUID_CODE: _UUID,
    INET_CODE: ((str,), _encode_inet, _decode_inet),
    DATE_CODE: ((int,), _encode_date, _decode_date),
    TIME_CODE: _LONG,
    SMALLINT_CODE: _fixed(Struct(">h")),
    TINYINT_CODE: _fixed(Struct(">b")),
    DURATION_CODE: ((Duration,), _encode_duration, _decode_duration),
}

_MAY_BE_EMPTY: Final = frozenset((CUSTOM_CODE, ASCII_CODE, BLOB_CODE, VARCHAR_CODE))


def _codec(code: int) -> _Codec:
    found = _CODECS.get(code)
    if found is None:
        raise LocalProtocolError(f"0x{code:04X} is the code of no simple type")
    return found
