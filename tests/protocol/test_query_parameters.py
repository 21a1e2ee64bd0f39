"""What goes with a statement; `test_golden` has the layouts."""

from __future__ import annotations

import pytest

from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import UNSET, Reader
from zdm.protocol.query_parameters import QueryParameters, decode_query_parameters


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("flags", [0x80, 0x40])
def test_a_flag_without_a_meaning_brings_no_bytes(version: int, flags: int) -> None:
    """0x80 is v5's keyspace; names without values name nothing. Cassandra ignores both."""
    reader = Reader(bytes((0, 1, flags)))
    assert decode_query_parameters(reader, version) == QueryParameters(1)
    assert reader.remaining() == 0


def test_a_value_not_set_is_null_in_v3() -> None:
    """v3 has [bytes] where v4 has [value]: there every negative length is null."""
    body = bytes.fromhex("0001 01 0001 fffffffe")
    assert decode_query_parameters(Reader(body), 3).values == [None]
    assert decode_query_parameters(Reader(body), 4).values == [UNSET]


def test_a_value_of_another_negative_length_is_the_peers_fault_in_v4() -> None:
    """v4 section 3: 'n < -2 is an invalid value and results in an error'."""
    body = bytes.fromhex("0001 01 0001 fffffffd")
    assert decode_query_parameters(Reader(body), 3).values == [None]
    with pytest.raises(RemoteProtocolError):
        decode_query_parameters(Reader(body), 4)


@pytest.mark.parametrize(
    ("parameters", "version"),
    [
        (QueryParameters(values=[UNSET]), 3),
        (QueryParameters(values=[UNSET], names=["a"]), 3),
        (QueryParameters(keyspace="ks"), 4),
        (QueryParameters(now_in_seconds=1), 4),
        (QueryParameters(names=["a"]), 4),
        (QueryParameters(values=[b"", b""], names=["a"]), 4),
        (QueryParameters(values=[b""] * 65536), 4),
        (QueryParameters(consistency=-1), 4),
    ],
)
def test_what_the_version_cannot_say_is_our_fault(parameters: QueryParameters, version: int) -> None:
    """Leaving it out in silence would change what the statement does."""
    with pytest.raises(LocalProtocolError):
        parameters.encode(version)


def test_the_default_is_consistency_one_and_nothing_else() -> None:
    """The proxy's own statements need no more."""
    assert QueryParameters().encode(4) == b"\0\1\0"
