"""Values of the simple types, against bytes written out from the specification."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest

from zdm.protocol import types
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.scalars import Duration, decode_scalar, encode_scalar
from zdm.protocol.types import CqlType

ID = "00112233445566778899aabbccddeeff"

VALUES: list[tuple[CqlType, object, str]] = [
    (types.ASCII, "abc", "616263"),
    (types.ASCII, "", ""),
    (types.VARCHAR, "é", "c3a9"),
    (types.BLOB, b"\0\xff", "00ff"),
    (types.BLOB, b"", ""),
    (types.custom("X"), b"\1", "01"),
    (types.BOOLEAN, True, "01"),
    (types.BOOLEAN, False, "00"),
    (types.BIGINT, -1, "ffffffffffffffff"),
    (types.COUNTER, 1, "0000000000000001"),
    (types.INT, -(2**31), "80000000"),
    (types.SMALLINT, 258, "0102"),
    (types.TINYINT, -128, "80"),
    (types.TIMESTAMP, 1000, "00000000000003e8"),
    (types.TIME, 86_399_999_999_999, "00004e94914effff"),
    (types.DATE, 0, "80000000"),
    (types.DATE, -1, "7fffffff"),
    (types.DATE, 2**31 - 1, "ffffffff"),
    (types.FLOAT, 1.5, "3fc00000"),
    (types.DOUBLE, -2.0, "c000000000000000"),
    (types.UUID, UUID(ID), ID),
    (types.TIMEUUID, UUID(ID), ID),
    (types.INET, "127.0.0.1", "7f000001"),
    (types.INET, "::1", "00000000000000000000000000000001"),
    # v4 section 6.18
    (types.VARINT, 0, "00"),
    (types.VARINT, 1, "01"),
    (types.VARINT, 127, "7f"),
    (types.VARINT, 128, "0080"),
    (types.VARINT, 129, "0081"),
    (types.VARINT, -1, "ff"),
    (types.VARINT, -128, "80"),
    (types.VARINT, -129, "ff7f"),
    (types.DECIMAL, Decimal("1.28"), "000000020080"),
    (types.DECIMAL, Decimal("-1E+3"), "fffffffdff"),
    (types.DECIMAL, Decimal("1E-100000"), "000186a001"),
    (types.DURATION, Duration(0, 0, 0), "000000"),
    (types.DURATION, Duration(1, 2, -3), "020405"),
    (types.DURATION, Duration(-1, 63, 64), "017e8080"),
    (types.DURATION, Duration(0, 0, 1000), "000087d0"),
    (types.DURATION, Duration(0, 1_000_000, 0), "00de848000"),
    (types.DURATION, Duration(0, 0, 2**63 - 1), "0000fffffffffffffffffe"),
    (types.DURATION, Duration(0, 0, -(2**63)), "0000ffffffffffffffffff"),
]


@pytest.mark.parametrize(("kind", "value", "layout"), VALUES)
def test_a_value_is_written_and_read(kind: CqlType, value: object, layout: str) -> None:
    """A round trip alone would not notice an error made the same way in both directions."""
    assert encode_scalar(kind.code, value).hex() == layout
    decoded = decode_scalar(kind.code, bytes.fromhex(layout))
    assert decoded == value
    assert type(decoded) is type(value)


def test_a_decimal_of_many_digits_is_exact() -> None:
    """Neither the decimal context's precision nor Python's limit on the digits of a text applies."""
    number = Decimal((1, (9,) * 6000, -3))
    encoded = encode_scalar(types.DECIMAL.code, number)
    decoded = decode_scalar(types.DECIMAL.code, encoded)
    assert isinstance(decoded, Decimal)
    assert decoded.as_tuple() == number.as_tuple()


@pytest.mark.parametrize("kind", [types.INT, types.UUID, types.INET, types.BOOLEAN, types.DECIMAL, types.DURATION])
def test_an_empty_value_of_a_type_without_one_is_none(kind: CqlType) -> None:
    """Cassandra keeps such values from the days of Thrift, and drivers read them so."""
    assert decode_scalar(kind.code, b"") is None


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        (types.INT, "00"),
        (types.BIGINT, "000000000000000000"),
        (types.BOOLEAN, "0001"),
        (types.FLOAT, "00"),
        (types.DOUBLE, "00"),
        (types.UUID, "00"),
        (types.INET, "0000000000"),
        (types.DATE, "00"),
        (types.VARCHAR, "ff"),
        (types.ASCII, "c3a9"),
        (types.DECIMAL, "00000000"),
        (types.DURATION, "0000"),
        (types.DURATION, "0000ff"),
    ],
)
def test_bytes_that_are_no_value_are_the_peers_fault(kind: CqlType, layout: str) -> None:
    """Values are read from answers of clusters."""
    with pytest.raises(RemoteProtocolError):
        decode_scalar(kind.code, bytes.fromhex(layout))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (types.INT, 2**31),
        (types.INT, True),
        (types.INT, "1"),
        (types.INT, 1.0),
        (types.DATE, 2**31),
        (types.VARCHAR, 1),
        (types.VARCHAR, b"a"),
        (types.VARCHAR, "\ud800"),
        (types.ASCII, "é"),
        (types.INET, "localhost"),
        (types.BLOB, "a"),
        (types.UUID, ID),
        (types.INT, UUID(ID)),
        (types.FLOAT, 1e300),
        (types.FLOAT, 1),
        (types.DECIMAL, Decimal("NaN")),
        (types.DECIMAL, Decimal("1E-3000000000")),
        (types.INT, Decimal(1)),
        (types.BOOLEAN, 1),
        (types.INT, Duration(0, 0, 0)),
        (types.DURATION, Duration(2**63, 0, 0)),
        (types.VARINT, None),
        (types.VARCHAR, object()),
    ],
)
def test_what_is_no_value_of_the_type_is_our_fault(kind: CqlType, value: object) -> None:
    """It would be a lie to the driver that decodes it."""
    with pytest.raises(LocalProtocolError):
        encode_scalar(kind.code, value)


def test_a_collections_code_is_no_simple_types() -> None:
    """Collections are decoded by `types`, which knows their elements."""
    with pytest.raises(LocalProtocolError):
        decode_scalar(types.list_of(types.INT).code, b"")
