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
_DATE_LENGTH: Final = 4
_SCALE_LENGTH: Final = 4
_EXACT: Final = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


class Duration(NamedTuple):
    """A CQL duration. The three parts do not turn into each other: a month has no fixed number of days."""

    months: int
    days: int
    nanoseconds: int


def encode_scalar(code: int, value: object) -> bytes:
    """The bytes of a value that is not None; `LocalProtocolError` where it is no value of the type."""
    try:
        encoded = _encode(code, value)
    except (ValueError, OverflowError, StructError) as fault:
        raise LocalProtocolError(f"Value does not fit the type with code 0x{code:04X}: {fault}") from fault
    if encoded is None:
        raise LocalProtocolError(f"{type(value).__name__} is not for the type with code 0x{code:04X}")
    return encoded


def decode_scalar(code: int, value: bytes) -> object:
    """The value that the bytes stand for; `RemoteProtocolError` where they are none of the type."""
    decode = _DECODERS.get(code)
    if decode is None:
        raise LocalProtocolError(f"0x{code:04X} is not the code of a simple type")
    if not value and code not in _MAY_BE_EMPTY:
        return None
    try:
        return decode(value)
    except (ValueError, StructError) as fault:
        raise RemoteProtocolError(f"Invalid value of the type with code 0x{code:04X}: {fault}") from fault


def _encode(code: int, value: object) -> bytes | None:
    if isinstance(value, str):
        return _encode_text(code, value)
    if isinstance(value, bytes):
        return value if code in (BLOB_CODE, CUSTOM_CODE) else None
    if isinstance(value, bool):
        return (b"\x01" if value else b"\x00") if code == BOOLEAN_CODE else None
    if isinstance(value, int):
        return _encode_number(code, value)
    if isinstance(value, float):
        layout = _FLOATS.get(code)
        return None if layout is None else layout.pack(value)
    if isinstance(value, UUID):
        return value.bytes if code in (UUID_CODE, TIMEUUID_CODE) else None
    if isinstance(value, Decimal):
        return _encode_decimal(value) if code == DECIMAL_CODE else None
    if isinstance(value, Duration):
        return b"".join(map(_encode_vint, value)) if code == DURATION_CODE else None
    return None


def _encode_text(code: int, text: str) -> bytes | None:
    if code == VARCHAR_CODE:
        return text.encode("utf-8")
    if code == ASCII_CODE:
        return text.encode("ascii")
    return ip_address(text).packed if code == INET_CODE else None


def _encode_number(code: int, number: int) -> bytes | None:
    length = _INTEGER_LENGTHS.get(code)
    if length is not None:
        return number.to_bytes(length, "big", signed=True)
    if code == DATE_CODE:
        return (number + _DATE_ZERO).to_bytes(_DATE_LENGTH, "big")
    return _encode_varint(number) if code == VARINT_CODE else None


def _encode_varint(number: int) -> bytes:
    # The sign needs a bit of its own; -128 fits one byte where 128 does not.
    bits = (number if number >= 0 else ~number).bit_length() + 1
    return number.to_bytes((bits + 7) // 8, "big", signed=True)


def _encode_decimal(number: Decimal) -> bytes:
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{number} is not finite")
    # By way of Decimal: int() of a text is limited to some thousand digits.
    unscaled = int(Decimal((sign, digits, 0)))
    return (-exponent).to_bytes(_SCALE_LENGTH, "big", signed=True) + _encode_varint(unscaled)


def _encode_vint(number: int) -> bytes:
    """A signed vint (v5 section 3): zigzag, then as many leading one bits as bytes follow the first."""
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} is more than 64 bits")
    folded = number << 1 if number >= 0 else ~(number << 1)
    following = min(8, max(0, folded.bit_length() - 1) // 7)
    length_bits = (0xFF00 >> following) & 0xFF
    if following == 8:
        return bytes((length_bits,)) + folded.to_bytes(8, "big")
    return (folded | length_bits << 8 * following).to_bytes(following + 1, "big")


def _exactly(length: int, value: bytes) -> bytes:
    if len(value) != length:
        raise ValueError(f"{len(value)} bytes instead of {length}")
    return value


def _decode_utf8(value: bytes) -> object:
    return value.decode("utf-8")


def _decode_ascii(value: bytes) -> object:
    return value.decode("ascii")


def _decode_blob(value: bytes) -> object:
    return value


def _decode_boolean(value: bytes) -> object:
    return _exactly(1, value) != b"\x00"


def _decode_integer(length: int) -> Callable[[bytes], object]:
    return lambda value: int.from_bytes(_exactly(length, value), "big", signed=True)


def _decode_varint(value: bytes) -> object:
    return int.from_bytes(value, "big", signed=True)


def _decode_decimal(value: bytes) -> object:
    if len(value) <= _SCALE_LENGTH:
        raise ValueError("no unscaled value")
    scale = int.from_bytes(value[:_SCALE_LENGTH], "big", signed=True)
    return _EXACT.scaleb(Decimal(int.from_bytes(value[_SCALE_LENGTH:], "big", signed=True)), -scale)


def _decode_float(value: bytes) -> object:
    return _FLOAT.unpack(value)[0]


def _decode_double(value: bytes) -> object:
    return _DOUBLE.unpack(value)[0]


def _decode_uuid(value: bytes) -> object:
    return UUID(bytes=value)


def _decode_inet(value: bytes) -> object:
    return str(ip_address(value))


def _decode_date(value: bytes) -> object:
    return int.from_bytes(_exactly(_DATE_LENGTH, value), "big") - _DATE_ZERO


def _decode_duration(value: bytes) -> object:
    months, position = _decode_vint(value, 0)
    days, position = _decode_vint(value, position)
    nanoseconds, _ = _decode_vint(value, position)
    return Duration(months, days, nanoseconds)


def _decode_vint(value: bytes, position: int) -> tuple[int, int]:
    if position >= len(value):
        raise ValueError("a vint is missing")
    first = value[position]
    following = 8 - (first ^ 0xFF).bit_length()
    end = position + 1 + following
    if end > len(value):
        raise ValueError("a vint is cut off")
    folded = (first & (0xFF >> following)) << 8 * following | int.from_bytes(value[position + 1 : end], "big")
    return (~(folded >> 1) if folded & 1 else folded >> 1), end


_MAY_BE_EMPTY: Final = frozenset({ASCII_CODE, VARCHAR_CODE, BLOB_CODE, CUSTOM_CODE})

_FLOATS: Final[dict[int, Struct]] = {FLOAT_CODE: _FLOAT, DOUBLE_CODE: _DOUBLE}

_INTEGER_LENGTHS: Final[dict[int, int]] = {
    BIGINT_CODE: 8,
    COUNTER_CODE: 8,
    TIMESTAMP_CODE: 8,
    TIME_CODE: 8,
    INT_CODE: 4,
    SMALLINT_CODE: 2,
    TINYINT_CODE: 1,
}

_DECODERS: Final[dict[int, Callable[[bytes], object]]] = {
    CUSTOM_CODE: _decode_blob,
    ASCII_CODE: _decode_ascii,
    BLOB_CODE: _decode_blob,
    BOOLEAN_CODE: _decode_boolean,
    DECIMAL_CODE: _decode_decimal,
    DOUBLE_CODE: _decode_double,
    FLOAT_CODE: _decode_float,
    UUID_CODE: _decode_uuid,
    VARCHAR_CODE: _decode_utf8,
    VARINT_CODE: _decode_varint,
    TIMEUUID_CODE: _decode_uuid,
    INET_CODE: _decode_inet,
    DATE_CODE: _decode_date,
    DURATION_CODE: _decode_duration,
    **{code: _decode_integer(length) for code, length in _INTEGER_LENGTHS.items()},
}
