"""v5's outer units: golden bytes, any cut, any damage, and which segments may be passed on as they came."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.protocol.checksums import CRC32_INITIAL, crc24_of_5
from zdm.protocol.compression import compress_block
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, FrameReader, encode_frame
from zdm.protocol.segments import (
    LZ4_HEADER_LENGTH,
    MAX_PAYLOAD,
    PLAIN_HEADER_LENGTH,
    SegmentReader,
    encode_segment,
    encode_segments,
)

# As cassandra-driver 3.30.1 and Cassandra 4.1.10 sent them: has LZ4, segment, frame.
GOLDEN = {
    "ready": (False, "090002 a4c8c1 850000030200000000 e128c91f", "850000030200000000"),
    "login": (
        False,
        "210002 21628d 050000020f00000018 00000014 0063617373616e647261 0063617373616e647261 c59c7a7e",
        "050000020f00000018 00000014 0063617373616e647261 0063617373616e647261",
    ),
    "login, which LZ4 would not shorten": (
        True,
        "2100000004 16d2cf 050000020f00000018 00000014 0063617373616e647261 0063617373616e647261 c59c7a7e",
        "050000020f00000018 00000014 0063617373616e647261 0063617373616e647261",
    ),
    "register, compressed": (
        True,
        "3500740004 4e496c f615 050000030b000000310003000f544f504f4c4f47595f4348414e4745000d535441545553 0f00"
        "c0 4348454d415f4348414e4745 977b3694",
        "050000030b00000031 0003 000f 544f504f4c4f47595f4348414e4745 000d 5354415455535f4348414e4745"
        "000d 534348454d415f4348414e4745",
    ),
}
each_golden = pytest.mark.parametrize(("has_lz4", "segment", "frames"), GOLDEN.values(), ids=GOLDEN)
with_and_without_lz4 = pytest.mark.parametrize("has_lz4", [False, True], ids=["plain", "lz4"])

SIZES = st.integers(HEADER_LENGTH, 60) | st.sampled_from([MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 300_000])
RUNS = st.lists(SIZES, max_size=6)


def frame(size: int, fill: int = 7) -> bytes:
    """A frame of so many bytes in all."""
    return encode_frame(5, 1, 7, bytes((fill,)) * (size - HEADER_LENGTH))


def run(sizes: list[int]) -> bytes:
    return b"".join(frame(size, index) for index, size in enumerate(sizes))


def fed(reader: SegmentReader, data: bytes, step: int) -> bytes:
    return b"".join(reader.feed(data[start : start + step]) for start in range(0, len(data), step))


def laid(data: bytes, has_lz4: bool) -> list[tuple[bool, bytes]]:
    """The segments in `data`, read anew: whether each is self-contained, and its payload as it was sent."""
    found, head = [], LZ4_HEADER_LENGTH if has_lz4 else PLAIN_HEADER_LENGTH
    while data:
        header = int.from_bytes(data[: head - 3], "little")
        end = head + (header & MAX_PAYLOAD)
        found.append((bool(header >> (34 if has_lz4 else 17) & 1), data[head:end]))
        data = data[end + 4 :]
    return found


def acceptable(segments: bytes) -> bool:
    """Segments (plain) as Cassandra wants them: whole frames in a self-contained one, one frame over several others."""
    missing = 0
    for is_self_contained, payload in laid(segments, False):
        if is_self_contained:
            if missing or not payload or sum(9 + len(each.body) for each in FrameReader().feed(payload)) < len(payload):
                return False
            continue
        if not payload or (not missing and len(payload) < HEADER_LENGTH):
            return False
        if not missing:
            missing = HEADER_LENGTH + int.from_bytes(payload[5:9], "big")
            if missing <= len(payload):
                return False
        missing -= len(payload)
        if missing < 0:
            return False
    return not missing


@each_golden
def test_a_segment_is_written_as_it_was_recorded(has_lz4: bool, segment: str, frames: str) -> None:
    """A cluster checks every bit of it."""
    assert encode_segments(bytes.fromhex(frames), has_lz4).hex() == segment.replace(" ", "")


@each_golden
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_recorded_segment_is_read_however_it_is_cut(has_lz4: bool, segment: str, frames: str, step: int) -> None:
    """TCP knows no segments."""
    reader, data = SegmentReader(has_lz4), bytes.fromhex(segment)
    assert fed(reader, data + data + data[:-1], step) == bytes.fromhex(frames) * 2
    assert not reader.is_between_frames()
    assert reader.feed(data[-1:]) == bytes.fromhex(frames)
    assert reader.is_between_frames()


@with_and_without_lz4
@given(RUNS, st.data())
def test_all_frames_come_back_however_large_and_however_cut(
    has_lz4: bool, sizes: list[int], data: st.DataObject
) -> None:
    """Small ones share a segment, large ones take several."""
    frames, reader, read = run(sizes), SegmentReader(has_lz4), b""
    rest = encode_segments(frames, has_lz4)
    steps = data.draw(st.lists(st.integers(1, 20) | st.sampled_from([4095, 70_000]), min_size=1, max_size=5))
    for step in itertools.cycle(steps):
        size = max(step, len(frames) // 200)
        read += reader.feed(rest[:size])
        rest = rest[size:]
        if not rest:
            break
    assert read == frames
    assert reader.is_between_frames()


@given(st.lists(st.integers(HEADER_LENGTH, 40), min_size=1, max_size=6), st.data())
def test_frames_laid_in_any_way_are_read_and_only_what_a_cluster_accepts_is_passed_on(
    sizes: list[int], data: st.DataObject
) -> None:
    """The promise of a segment that is self-contained may be broken by a client; no cluster shall see that."""
    frames, position, sent = run(sizes), 0, []
    ends = [0, *itertools.accumulate(sizes)]
    while position < len(frames):
        next_ends = [end - position for end in ends if end > position]
        length = data.draw(st.sampled_from(next_ends) | st.integers(0, 30))
        is_end = position + length in ends
        sent.append(encode_segment(frames[position : position + length], data.draw(st.just(is_end) | st.booleans())))
        position += length
    chunks = [b"".join(group) for group in cut(sent, data.draw(st.lists(st.integers(1, 5), max_size=4)))]
    reader, read = SegmentReader(), b""
    for chunk in chunks:
        got = reader.feed(chunk)
        starts = [end - len(read) for end in ends if 0 <= end - len(read) <= len(got)]
        for start, end in itertools.combinations(starts, 2):
            first, last = reader.as_it_came(start, end)
            passed = reader.source[first:last]
            assert not passed or (acceptable(passed) and SegmentReader().feed(passed) == got[start:end])
        read += got
    assert read == frames


def cut(items: list[bytes], counts: list[int]) -> list[list[bytes]]:
    groups, start = [], 0
    for count in counts:
        groups.append(items[start : start + count])
        start += count
    return [*groups, items[start:]]


@with_and_without_lz4
@given(RUNS)
def test_what_is_made_is_acceptable_and_may_be_passed_on_frame_by_frame_or_whole(
    has_lz4: bool, sizes: list[int]
) -> None:
    """Whoever made the segments as we do gets them through without a copy."""
    frames, reader = run(sizes), SegmentReader(has_lz4)
    segments = encode_segments(frames, has_lz4)
    assert has_lz4 or acceptable(segments)
    reader.feed(segments)
    assert reader.as_it_came(0, len(frames)) == ((0, len(segments)) if sizes else (0, 0))
    one_each = b"".join(encode_segments(frame(size), has_lz4) for size in sizes)
    reader.feed(one_each)
    places = [0, *itertools.accumulate(len(encode_segments(frame(size), has_lz4)) for size in sizes)]
    ends = [0, *itertools.accumulate(sizes)]
    for index in range(len(sizes)):
        assert reader.as_it_came(ends[index], ends[index + 1]) == (places[index], places[index + 1])


def test_frames_that_share_a_segment_are_passed_on_together_or_not_at_all() -> None:
    """Half a segment has no checksum."""
    reader = SegmentReader()
    shared, alone = encode_segments(frame(20) + frame(30)), encode_segments(frame(40))
    reader.feed(shared[:5])
    assert reader.feed(shared[5:] + alone + alone[:9]) == frame(20) + frame(30) + frame(40)
    assert reader.source == shared + alone + alone[:9]
    assert reader.as_it_came(0, 20) == (0, 0)
    assert reader.as_it_came(20, 50) == (0, 0)
    assert reader.as_it_came(20, 90) == (0, 0)
    assert reader.as_it_came(0, 50) == (0, len(shared))
    assert reader.as_it_came(50, 90) == (len(shared), len(shared + alone))
    assert reader.as_it_came(0, 90) == (0, len(shared + alone))
    assert reader.as_it_came(50, 50) == (0, 0)


def test_a_frame_whose_first_segments_are_gone_is_not_passed_on() -> None:
    """They were in a chunk that is not kept."""
    large, reader = encode_segments(frame(300_000)), SegmentReader()
    assert reader.feed(large[:140_000]) == b""
    assert reader.feed(large[140_000:] + large) == frame(300_000) * 2
    assert reader.as_it_came(0, 300_000) == (0, 0)
    first, last = reader.as_it_came(300_000, 600_000)
    assert reader.source[first:last] == large


@with_and_without_lz4
@given(st.lists(st.integers(HEADER_LENGTH, 60), min_size=1, max_size=3), st.data())
def test_damage_is_always_noticed(has_lz4: bool, sizes: list[int], data: st.DataObject) -> None:
    """Up to three bits anywhere, or one byte; then nothing that comes is read."""
    segment = bytearray(encode_segments(run(sizes), has_lz4))
    if data.draw(st.booleans()):
        segment[data.draw(st.integers(0, len(segment) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        bits = st.lists(st.integers(0, len(segment) * 8 - 1), min_size=1, max_size=3, unique=True)
        for bit in data.draw(bits):
            segment[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError, match="CRC"):
        fed(SegmentReader(has_lz4), bytes(segment), data.draw(st.sampled_from([1, 10, 1000])))


@with_and_without_lz4
def test_a_segment_that_is_not_whole_gives_nothing(has_lz4: bool) -> None:
    """Neither an error nor a frame: the rest may come."""
    segment = encode_segments(frame(200), has_lz4)
    for end in range(len(segment)):
        reader = SegmentReader(has_lz4)
        assert reader.feed(segment[:end]) == b""
        assert reader.is_between_frames() == (end == 0)
        assert reader.feed(segment[end:]) == frame(200)


@pytest.mark.parametrize("length", ["000000c9", "7fffffff", "ffffffff"])
def test_a_frame_over_the_limit_is_refused_at_its_header(length: str) -> None:
    """Segments would bring it bit by bit, for as long as somebody keeps them."""
    reader = SegmentReader(max_bytes=200)
    assert reader.feed(encode_segments(frame(209))) == frame(209)
    with pytest.raises(RemoteProtocolError, match="over the limit of 200 bytes"):
        reader.feed(encode_segment(bytes.fromhex("050000010700000000 0500000107" + length), False))
    raised = SegmentReader(max_bytes=200)
    raised.max_bytes = 201
    assert raised.feed(encode_segments(frame(210))) == frame(210)


def test_a_frame_that_is_not_whole_is_told_of_between_two_segments() -> None:
    """Who hands a connection over must know that something is under way."""
    large, reader = encode_segments(frame(140_000)), SegmentReader()
    end = PLAIN_HEADER_LENGTH + MAX_PAYLOAD + 4
    reader.feed(large[:end])
    assert not reader.is_between_frames()
    reader.feed(large[end:])
    assert reader.is_between_frames()


def test_frames_longer_than_a_segment_are_cut_and_others_are_not() -> None:
    """A frame may be laid over segments only where it needs several."""
    frames = frame(100_000) + frame(100_000) + frame(300_000) + frame(50) + frame(60)
    segments = laid(encode_segments(frames), False)
    assert [(is_self_contained, len(payload)) for is_self_contained, payload in segments] == [
        (True, 100_000),
        (True, 100_000),
        (False, MAX_PAYLOAD),
        (False, MAX_PAYLOAD),
        (False, 300_000 - 2 * MAX_PAYLOAD),
        (True, 110),
    ]
    assert len(laid(encode_segments(frame(MAX_PAYLOAD)), False)) == 1
    assert encode_segments(b"") == b""


def test_what_cannot_be_laid_is_a_fault_of_ours() -> None:
    """Rather than segments that no peer can read."""
    with pytest.raises(LocalProtocolError, match="do not fit"):
        encode_segment(bytes(MAX_PAYLOAD + 1), True)
    with pytest.raises(LocalProtocolError, match="announce"):
        encode_segments(frame(300_000)[:-1])


def test_a_payload_is_compressed_only_where_that_shortens_it() -> None:
    """The header says which."""
    noise, letters = encode_frame(5, 1, 7, os.urandom(5000)), frame(5000)
    assert laid(encode_segments(noise, True), True) == [(True, noise)]
    ((_, short),) = laid(encode_segments(letters, True), True)
    assert len(short) < 100
    reader = SegmentReader(True)
    assert reader.feed(encode_segments(noise, True) + encode_segments(letters, True)) == noise + letters


@pytest.mark.parametrize(
    ("block", "length", "reason"),
    [
        (compress_block(frame(100)), 99, "damaged"),
        (compress_block(frame(100)), 101, "opens to 100 bytes, 101 were announced"),
        (b"\xff" * 20, 100, "damaged"),
        (b"", 100, "cannot open to 100"),
        (compress_block(frame(100)), MAX_PAYLOAD, "cannot open to 131071"),
    ],
)
def test_a_payload_that_cannot_be_opened_is_the_peers_fault(block: bytes, length: int, reason: str) -> None:
    """Its checksum is right: somebody sent just that."""
    header = len(block) | length << 17 | 1 << 34
    head = (header | crc24_of_5(header) << 40).to_bytes(LZ4_HEADER_LENGTH, "little")
    with pytest.raises(RemoteProtocolError, match=reason):
        SegmentReader(True).feed(head + block + crc32(block, CRC32_INITIAL).to_bytes(4, "little"))


def test_a_segment_without_anything_in_it_is_read_and_not_passed_on() -> None:
    """It has a meaning, none, and a cluster might not see it."""
    empty, one = encode_segment(b"", True), encode_segments(frame(20))
    reader = SegmentReader()
    assert reader.feed(one + empty + one) == frame(20) * 2
    assert reader.as_it_came(0, 20) == (0, len(one))
    assert reader.as_it_came(0, 40) == (0, 0)


def test_an_idle_connection_keeps_nothing_of_what_it_read() -> None:
    """There are thousands of them, and a read may be large; what is not whole must stay."""
    reader, chunk = SegmentReader(), encode_segments(frame(100_000)) + encode_segments(frame(30))[:-1]
    tracemalloc.start()
    try:
        assert reader.feed(bytes(bytearray(chunk))) == frame(100_000)
        reader.let_go()
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
    assert (reader.source, reader.as_it_came(0, 100_000)) == (b"", (0, 0))
    assert reader.feed(encode_segments(frame(30))[-1:]) == frame(30)
    assert reader.as_it_came(0, 30) == (0, len(encode_segments(frame(30))))


def test_a_large_frame_in_small_segments_and_reads_costs_linear_time() -> None:
    """Joined anew at each of them it would take hours, past any limit of a test."""
    large = frame(64 * 1024 * 1024)
    pieces = [encode_segment(large[start : start + 1400], False) for start in range(0, len(large), 1400)]
    segments, reader, whole = b"".join(pieces), SegmentReader(), 0
    for start in range(0, len(segments), 1000):
        whole += len(reader.feed(segments[start : start + 1000]))
    assert whole == len(large)


def test_nothing_is_reserved_on_the_senders_word() -> None:
    """Whoever announces a quarter of a gigabyte must send it before it costs memory."""
    segment = encode_segment(bytes.fromhex("0500000107 0fffffff"), False)
    tracemalloc.start()
    try:
        SegmentReader().feed(segment)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
