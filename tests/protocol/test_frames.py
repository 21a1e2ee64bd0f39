"""Frames out of a stream of bytes."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import (
    HEADER,
    HEADER_LENGTH,
    RESPONSE_BIT,
    WARNING,
    Frame,
    FrameBuffer,
    FrameReader,
    encode_frame,
    with_body,
    with_stream,
)

QUERY = bytes.fromhex("04 00 0005 07 00000003 616263")
EVENT = bytes.fromhex("83 08 ffff 0c 00000000")
FRAMES = [Frame(4, False, 0, 5, 7, b"abc"), Frame(3, True, WARNING, -1, 12, b"")]

SOME_FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(0, 127),
        st.booleans(),
        st.integers(0, 255),
        st.integers(-(2**15), 2**15 - 1),
        st.integers(0, 255),
        st.binary(max_size=30) | st.integers(0, 200_000).map(bytes),
    ),
    max_size=4,
)


def encoded(frame: Frame) -> bytes:
    version = frame.version | (RESPONSE_BIT if frame.is_response else 0)
    return encode_frame(version, frame.stream, frame.opcode, frame.body, frame.flags)


def test_a_frame_is_written_as_the_specification_says() -> None:
    """v4 section 2."""
    assert [encoded(frame) for frame in FRAMES] == [QUERY, EVENT]
    assert HEADER.size == HEADER_LENGTH


@pytest.mark.parametrize("step", [1, 5, 100])
def test_frames_are_read_however_they_are_cut(step: int) -> None:
    """TCP knows no frames."""
    data, reader = QUERY + EVENT + QUERY[:-1], FrameReader()
    frames = [frame for start in range(0, len(data), step) for frame in reader.feed(data[start : start + step])]
    assert frames == FRAMES
    assert reader.feed(QUERY[-1:] + EVENT) == FRAMES


@given(SOME_FRAMES, st.data())
def test_every_frame_comes_back_however_it_is_cut(frames: list[Frame], data: st.DataObject) -> None:
    """Small pieces and large ones are kept in different ways."""
    rest, reader, read = b"".join(map(encoded, frames)), FrameReader(), list[Frame]()
    while rest:
        size = data.draw(st.integers(1, 20) | st.sampled_from([4095, 4096, 70_000, len(rest)]))
        read += reader.feed(rest[:size])
        rest = rest[size:]
    assert read == frames


def test_a_large_frame_in_tiny_pieces_is_whole() -> None:
    """Pieces are gathered, and what is gathered is joined once."""
    large = encode_frame(4, 1, 7, bytes(range(256)) * 1000)
    reader = FrameReader()
    read = [frame for start in range(0, len(large), 100) for frame in reader.feed(large[start : start + 100])]
    assert read == [Frame(4, False, 0, 1, 7, bytes(range(256)) * 1000)]


@pytest.mark.parametrize("length", ["00000004", "7fffffff", "ffffffff"])
def test_a_body_over_the_limit_is_refused_at_its_header(length: str) -> None:
    """Nothing is kept for a promise; a negative length is one above 2 GiB."""
    reader = FrameReader(max_bytes=3)
    assert reader.feed(QUERY) == FRAMES[:1]
    with pytest.raises(RemoteProtocolError, match="over the limit"):
        reader.feed(bytes.fromhex("04 00 0005 07") + bytes.fromhex(length))


def test_the_limit_may_be_raised() -> None:
    """Before a client is known it is low."""
    reader = FrameReader(max_bytes=2)
    reader.max_bytes = 3
    assert reader.feed(QUERY) == FRAMES[:1]


def test_a_frame_is_given_another_stream_or_body() -> None:
    """Everything else of it stays."""
    assert with_stream(EVENT + b"x", 5) == bytes.fromhex("83 08 0005 0c 00000000 78")
    assert with_stream(QUERY, -2)[2:4] == b"\xff\xfe"
    assert with_body(QUERY, b"defg") == bytes.fromhex("04 00 0005 07 00000004 64656667")


def test_a_buffer_gives_nothing_until_it_has_what_is_needed() -> None:
    """And is empty after that, or when told to forget."""
    buffer = FrameBuffer()
    assert buffer.push(b"abc") == b"abc"
    buffer.keep(b"ab", 5)
    assert buffer.push(b"cd") == b""
    assert (buffer.size, buffer.needed) == (4, 5)
    assert buffer.push(b"ef") == b"abcdef"
    assert (buffer.size, buffer.needed) == (0, 0)
    buffer.keep(b"ab", 5)
    buffer.clear()
    assert buffer.push(b"x") == b"x"


def test_a_body_of_256_mib_in_small_reads_costs_linear_time() -> None:
    """The longest frame there is. Joined anew at each read it would take hours, past any limit of a test."""
    read = bytes(3000)
    reads = 256 * 1024 * 1024 // len(read)
    length = reads * len(read)
    reader = FrameReader()
    assert reader.feed(struct.pack(">BBhBI", 4, 0, 7, 0x07, length)) == []
    for _ in range(reads - 1):
        assert reader.feed(read) == []
    (frame,) = reader.feed(read)
    assert (frame.stream, len(frame.body)) == (7, length)


def test_nothing_is_reserved_on_the_senders_word() -> None:
    """A header is nine bytes; whoever announces a quarter of a gigabyte must send it before it costs memory."""
    tracemalloc.start()
    try:
        FrameReader().feed(struct.pack(">BBhBI", 4, 0, 7, 0x07, 256 * 1024 * 1024) + b"some")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
