from __future__ import annotations

from struct import pack

import pytest
from cassandra.murmur3 import _murmur3 as driver_murmur3  # the pure Python one, whether or not the C one is there
from hypothesis import given
from hypothesis import strategies as st

from zdm.sandbox.murmur3 import MINIMUM_TOKEN, token


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (pack(">i", 1), -4069959284402364209),
        (pack(">i", 0), -3485513579396041028),
        (pack(">i", 2), -3248873570005575792),
        (pack(">q", 1), 6292367497774912474),
        (b"", MINIMUM_TOKEN),
    ],
)
def test_known_keys_have_the_tokens_that_cassandra_gives_them(key: bytes, expected: int) -> None:
    """`SELECT token(k)` of a real cluster says so."""
    assert token(key) == expected


@given(st.binary(min_size=1, max_size=80))
def test_any_key_has_the_token_that_a_driver_expects(key: bytes) -> None:
    """Drivers route by their own hash, and bytes of 0x80 and above are where hashes differ."""
    assert token(key) == driver_murmur3(key)
