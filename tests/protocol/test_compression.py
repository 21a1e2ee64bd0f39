"""Compressed bodies: golden bytes, what cannot be opened, and what is not even tried."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.protocol.compression import (
    LZ4,
    SNAPPY,
    agreed_algorithm,
    compress_block,
    compress_body,
    compress_frame,
    open_block,
    open_body,
    open_frame,
)
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, TRACING, encode_frame

BOTH = (LZ4, SNAPPY)
each_algorithm = pytest.mark.parametrize("algorithm", BOTH)
A_QUARTER_GIB = 256 * 1024 * 1024

# Bodies as Cassandra 4.1.10 sent them: READY, which is empty, and AUTH_SUCCESS; and twenty letters by hand.
GOLDEN = [
    (LZ4, "00000000 00", b""),
    (LZ4, "00000000", b""),
    (SNAPPY, "00", b""),
    (LZ4, "00000004 40 ffffffff", b"\xff" * 4),
    (SNAPPY, "04 0c ffffffff", b"\xff" * 4),
    (LZ4, "00000014 1a 61 0100 50 6161616161", b"a" * 20),
    (SNAPPY, "14 00 61 4a 0100", b"a" * 20),
]


@pytest.mark.parametrize(("algorithm", "layout", "opened"), GOLDEN)
def test_a_body_is_opened_as_its_format_says(algorithm: str, layout: str, opened: bytes) -> None:
    """v3 and v4 section 5. Of a length of 0 Cassandra sends an empty block as well, some drivers do not."""
    assert open_body(algorithm, bytes.fromhex(layout)) == opened
    assert open_body(algorithm, compress_body(algorithm, opened)) == opened


@pytest.mark.parametrize(("algorithm", "layout"), [(LZ4, "0000000000"), (SNAPPY, "00")])
def test_an_empty_body_is_compressed_as_cassandra_does(algorithm: str, layout: str) -> None:
    """Its READY carries the flag too."""
    assert compress_body(algorithm, b"").hex() == layout


@each_algorithm
@given(st.binary(max_size=200) | st.integers(0, 100_000).map(bytes), st.binary(max_size=20))
def test_every_body_comes_back(algorithm: str, body: bytes, more: bytes) -> None:
    """Short ones, long ones, and such as cannot be made shorter."""
    assert open_body(algorithm, compress_body(algorithm, body + more), len(body + more)) == body + more


@each_algorithm
@given(st.binary(max_size=60))
def test_any_bytes_mean_something_or_are_the_peers_fault(algorithm: str, noise: bytes) -> None:
    """Nothing else can come of them, whatever the libraries raise."""
    try:
        opened = open_body(algorithm, noise)
    except RemoteProtocolError:
        return
    assert open_body(algorithm, compress_body(algorithm, opened)) == opened


@each_algorithm
def test_a_body_that_is_cut_off_is_refused(algorithm: str) -> None:
    """Half a statement is none."""
    body = compress_body(algorithm, b"INSERT INTO ks.t (id) VALUES (1)")
    for end in range(len(body)):
        with pytest.raises(RemoteProtocolError):
            open_body(algorithm, body[:end])


@each_algorithm
def test_a_body_over_the_limit_is_not_opened(algorithm: str) -> None:
    """The limit holds for what a cluster would have in its hands."""
    body = compress_body(algorithm, bytes(1001))
    with pytest.raises(RemoteProtocolError, match="opens to 1001 bytes, over the limit of 1000 bytes"):
        open_body(algorithm, body, 1000)
    assert open_body(algorithm, body, 1001) == bytes(1001)


@pytest.mark.parametrize(
    ("algorithm", "body"),
    [(LZ4, "0fffffff 50 6161616161"), (LZ4, "ffffffff 00"), (SNAPPY, "ffffff7f 00 61"), (SNAPPY, "ffffffff0f 00 61")],
)
def test_nothing_is_reserved_on_the_senders_word(algorithm: str, body: str) -> None:
    """A few bytes that announce a quarter of a gigabyte, or more, cost nothing."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="cannot open to|over the limit"):
            open_body(algorithm, bytes.fromhex(body), A_QUARTER_GIB)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@each_algorithm
def test_what_shrinks_most_is_within_what_is_thought_possible(algorithm: str) -> None:
    """The longest runs there are: a bound that is too tight would refuse a real body."""
    zeros = bytes(32 * 1024 * 1024)
    assert open_body(algorithm, compress_body(algorithm, zeros)) == zeros


@pytest.mark.parametrize(
    ("block", "length"), [("1a 61 0100 50 6161616161", 19), ("1a 61 0100 50 6161616161", 21), ("1a 61 0500", 20)]
)
def test_a_block_that_is_not_what_was_announced_is_refused(block: str, length: int) -> None:
    """Bytes that nobody sent must not be added, nor others left out."""
    with pytest.raises(RemoteProtocolError):
        open_block(bytes.fromhex(block), length)
    assert open_block(compress_block(b"a" * 20), 20) == b"a" * 20


def test_a_compressed_body_without_an_algorithm_is_the_peers_fault_and_an_unknown_one_ours() -> None:
    """FIX-07: the first is answered."""
    with pytest.raises(RemoteProtocolError, match="no compression was agreed on"):
        open_body("", b"abc")
    with pytest.raises(LocalProtocolError):
        compress_body("zstd", b"abc")


@each_algorithm
def test_a_frame_is_compressed_and_opened_with_its_flag(algorithm: str) -> None:
    """Other flags and the stream stay."""
    frame = encode_frame(4, 258, 7, b"abc" * 100, TRACING)
    closed = compress_frame(algorithm, frame)
    assert closed[:5] == bytes((4, TRACING | COMPRESSED, 1, 2, 7)) and len(closed) < len(frame)
    assert int.from_bytes(closed[5:9], "big") == len(closed) - 9
    assert open_frame(algorithm, closed) == frame
    assert open_frame(algorithm, frame) == frame
    with pytest.raises(RemoteProtocolError, match="over the limit"):
        open_frame(algorithm, closed, 299)


@pytest.mark.parametrize(
    ("asked", "version", "algorithm"),
    [
        ({}, 4, ""),
        ({"COMPRESSION": ""}, 4, ""),
        ({"COMPRESSION": "lz4"}, 5, LZ4),
        ({"COMPRESSION": "SNAPPY"}, 3, SNAPPY),
    ],
)
def test_startup_names_the_algorithm_in_any_case(asked: dict[str, str], version: int, algorithm: str) -> None:
    """As Cassandra reads it."""
    assert agreed_algorithm(asked, version, BOTH) == algorithm


@pytest.mark.parametrize(
    ("asked", "version", "offered", "reason"),
    [
        ("zstd", 4, BOTH, "Unknown compression algorithm: zstd"),
        ("Snappy", 4, (LZ4,), "Unknown compression algorithm: Snappy"),
        ("snappy", 5, BOTH, "Snappy compression is not supported in protocol V5"),
        ("x" * 500, 4, BOTH, f"Unknown compression algorithm: {'x' * 80}$"),
    ],
)
def test_an_algorithm_that_is_not_there_is_refused_at_startup(
    asked: str, version: int, offered: tuple[str, ...], reason: str
) -> None:
    """FIX-06: the client is told, instead of a connection that breaks later."""
    with pytest.raises(RemoteProtocolError, match=reason):
        agreed_algorithm({"COMPRESSION": asked}, version, offered)
