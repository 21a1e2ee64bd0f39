"""The two checksums of v5 segments (v5 section 2, "Frame format").

A header of 3 or 5 bytes has a CRC24 behind it, a payload a CRC32; both are written with the lowest byte first. The
CRC24 is Koopman's polynomial 0x1974F0B, begun at 0x875060; the CRC32 is zlib's, begun with four bytes that are not
sent. A CRC is linear, so each byte of a header has a table of its own: what that byte alone contributes to the result.
Three or five look-ups make a checksum, without shifting a register along.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

CRC24_INITIAL: Final = 0x875060
CRC24_POLYNOMIAL: Final = 0x1974F0B
CRC32_INITIAL: Final[int] = crc32(b"\xfa\x2d\x55\xca")
"""What `zlib.crc32` is given beside a payload."""

CRC24_LENGTH: Final = 3
CRC32_LENGTH: Final = 4


def _shifted(crc: int) -> int:
    """The register after eight more bits of zero."""
    for _ in range(8):
        crc <<= 1
        if crc & 0x1000000:
            crc ^= CRC24_POLYNOMIAL
    return crc


# What a byte contributes that has no, one, two... further bytes of the header behind it.
_LAST: Final[list[int]] = [_shifted(byte << 16) for byte in range(256)]
_BEFORE_1: Final[list[int]] = [_shifted(crc) for crc in _LAST]
_BEFORE_2: Final[list[int]] = [_shifted(crc) for crc in _BEFORE_1]
_BEFORE_3: Final[list[int]] = [_shifted(crc) for crc in _BEFORE_2]
_BEFORE_4: Final[list[int]] = [_shifted(crc) for crc in _BEFORE_3]

# The register is 24 bits wide, so where it begins is one more contribution, of the first three bytes' places.
_EMPTY_3: Final[int] = _shifted(_shifted(_shifted(CRC24_INITIAL)))
_EMPTY_5: Final[int] = _shifted(_shifted(_EMPTY_3))


def crc24_of_3(header: int) -> int:
    """The CRC24 of three bytes, given as an integer of which the lowest byte comes first on the wire."""
    return _EMPTY_3 ^ _BEFORE_2[header & 0xFF] ^ _BEFORE_1[header >> 8 & 0xFF] ^ _LAST[header >> 16 & 0xFF]


def crc24_of_5(header: int) -> int:
    """The CRC24 of five bytes, given as an integer of which the lowest byte comes first on the wire."""
    first = _EMPTY_5 ^ _BEFORE_4[header & 0xFF] ^ _BEFORE_3[header >> 8 & 0xFF] ^ _BEFORE_2[header >> 16 & 0xFF]
    return first ^ _BEFORE_1[header >> 24 & 0xFF] ^ _LAST[header >> 32 & 0xFF]
