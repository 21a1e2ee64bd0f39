"""The checksums of v5 segments, against headers that a driver and Cassandra wrote."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.protocol.checksums import CRC24_INITIAL, CRC24_POLYNOMIAL, CRC32_INITIAL, crc24_of_3, crc24_of_5


def bitwise(data: bytes) -> int:
    """The CRC24 as its definition has it: one bit after the other."""
    crc = CRC24_INITIAL
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (CRC24_POLYNOMIAL if crc & 0x800000 else 0)
    return crc


@pytest.mark.parametrize(
    ("header", "checksum"),
    [
        ("210002", "21628d"),
        ("110102", "81cdd5"),
        ("ffff01", "3891fe"),
        ("2100000004", "16d2cf"),
        ("8c00300104", "f66ebb"),
    ],
)
def test_recorded_headers_have_the_checksums_that_they_had(header: str, checksum: str) -> None:
    """As cassandra-driver 3.30.1 and Cassandra 4.1.10 sent them, the lowest byte first."""
    crc24 = crc24_of_3 if len(header) == 6 else crc24_of_5
    assert crc24(int.from_bytes(bytes.fromhex(header), "little")).to_bytes(3, "little").hex() == checksum


@given(st.binary(min_size=3, max_size=3), st.binary(min_size=5, max_size=5))
def test_the_tables_say_what_the_definition_says(three: bytes, five: bytes) -> None:
    """A table for each byte is quicker, and easily wrong in one place."""
    assert crc24_of_3(int.from_bytes(three, "little")) == bitwise(three)
    assert crc24_of_5(int.from_bytes(five, "little")) == bitwise(five)


def test_the_payloads_checksum_begins_with_four_bytes_that_are_not_sent() -> None:
    """v5 section 2: 0xFA2D55CA."""
    assert crc32(b"abc", CRC32_INITIAL) == crc32(b"\xfa\x2d\x55\xcaabc")
