"""The token of a partition key, as Cassandra's Murmur3Partitioner computes it.

Full scans go in token order, so the sandbox gives rows in the order of a real cluster only if its tokens are the real
ones. Cassandra's variant of MurmurHash3 x64 128 reads the bytes of the tail as signed, which makes it differ from the
published hash for keys that hold bytes of 0x80 and above. Only the first half of the hash is used.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Final

MINIMUM_TOKEN: Final = -(1 << 63)
MAXIMUM_TOKEN: Final = (1 << 63) - 1
_MASK: Final = (1 << 64) - 1
_C1: Final = 0x87C37B91114253D5
_C2: Final = 0x4CF5AD432745937F


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _mix(value: int) -> int:
    value = ((value ^ (value >> 33)) * 0xFF51AFD7ED558CCD) & _MASK
    value = ((value ^ (value >> 33)) * 0xC4CEB9FE1A85EC53) & _MASK
    return value ^ (value >> 33)


def _signed_tail(tail: bytes) -> int:
    """The bytes as a little-endian number, each one sign-extended as Java's `(long) byte` is."""
    number = 0
    for index, byte in enumerate(tail):
        number ^= ((byte if byte < 0x80 else byte - 0x100) << (8 * index)) & _MASK
    return number


def _scramble(block: int, first: int, bits: int, second: int) -> int:
    return (_rotate((block * first) & _MASK, bits) * second) & _MASK


def token(key: bytes) -> int:
    """The token of a serialised partition key, from -2^63 + 1 to 2^63 - 1 (the minimum itself is never given)."""
    if not key:
        return MINIMUM_TOKEN
    h1 = h2 = 0
    whole = len(key) & ~15
    for position in range(0, whole, 16):
        k1, k2 = unpack_from("<QQ", key, position)
        h1 = ((_rotate(h1 ^ _scramble(k1, _C1, 31, _C2), 27) + h2) * 5 + 0x52DCE729) & _MASK
        h2 = ((_rotate(h2 ^ _scramble(k2, _C2, 33, _C1), 31) + h1) * 5 + 0x38495AB5) & _MASK
    if len(key) > whole + 8:
        h2 ^= _scramble(_signed_tail(key[whole + 8 :]), _C2, 33, _C1)
    if len(key) > whole:
        h1 ^= _scramble(_signed_tail(key[whole : whole + 8]), _C1, 31, _C2)
    h1 ^= len(key)
    h2 ^= len(key)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    first = (_mix(h1) + _mix(h2)) & _MASK
    signed = first - (1 << 64) if first > MAXIMUM_TOKEN else first
    return MAXIMUM_TOKEN if signed == MINIMUM_TOKEN else signed
