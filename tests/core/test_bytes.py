"""Frames cut anywhere, long frames, bad bodies, what stands before a body (sections 2.4 and 2.7; FIX-05, 07, 09)."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, ORIGIN, PROTOCOL_ERROR, TARGET
from zdm.core.clusters import Side
from zdm.protocol.frames import FrameBuffer

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"
BOTH, PRIMARY = (ORIGIN, TARGET), (ORIGIN,)
MIB = 1024 * 1024

SCRIPT: list[tuple[bytes, Sequence[Side], bytes]] = [
    (frames.query(1, INSERT), BOTH, frames.void()),
    (frames.query(2, READ), PRIMARY, frames.rows(0, cells=[[b"x" * 50]])),
    (frames.query(3, READ, tracing=True), PRIMARY, frames.rows(0, tracing_id=b"t" * 16, warnings=["slow"])),
    (frames.query(4, INSERT, payload={"key": b"SELECT"}), BOTH, frames.void(payload={"key": b"v"})),
    (frames.execute(5, b"verbatim", [b"v"]), BOTH, frames.error(0, 0x2200, "no", warnings=["w"])),
    (frames.batch(6, [INSERT, (b"verbatim", [b"v"])]), BOTH, frames.void()),
    (frames.register(7), BOTH, frames.ready()),
    (frames.query(8, ""), BOTH, frames.error(0, 0x2000, "empty")),
    (frames.execute(9, b"verbatim", [b"v"], payload={"k": b"v"}, tracing=True), BOTH, frames.void()),
]


@pytest.mark.bare
@pytest.mark.parametrize("request_size", [0, 1, 8, 13])
@pytest.mark.parametrize("answer_size", [0, 1, 10])
def test_frames_cut_anywhere_give_the_same_as_whole_ones(play: Play, request_size: int, answer_size: int) -> None:
    """TCP promises no more than the order of bytes."""
    play.prepare(INSERT, b"verbatim")
    play.client_sends(*(frame for frame, _, _ in SCRIPT), cut_into=request_size)
    sent = [play.expect_forwarded(to=to, frame=frame) for frame, to, _ in SCRIPT]
    for side in BOTH:
        answers = [
            answer[:2] + struct.pack(">h", request.stream(side)) + answer[4:]
            for request, (_, to, answer) in zip(sent, SCRIPT, strict=True)
            if side in to
        ]
        play.cluster_sends(side, *answers, cut_into=answer_size)
    got = sorted((play.client_got() for _ in SCRIPT), key=lambda frame: frame[2:4])
    for frame, (_, _, answer) in zip(got, SCRIPT, strict=True):
        assert frame[:2] + frame[4:] == answer[:2] + answer[4:]
    play.expect_idle()


def test_a_run_of_requests_leaves_as_it_came(play: Play) -> None:
    """Three kinds interleaved, each cluster's in the order in which the client sent them."""
    plan = [(INSERT, BOTH), (INSERT, BOTH), (READ, PRIMARY), (INSERT, BOTH), (READ, PRIMARY), (READ, PRIMARY)]
    sent = [frames.query(stream, text) for stream, (text, _) in enumerate(plan)]
    play.client_sends(*sent)
    for frame, (_, to) in zip(sent, plan, strict=True):
        forwarded = play.expect_forwarded(to=to, frame=frame)
        assert {forwarded.stream(side) for side in to} == {struct.unpack_from(">h", frame, 2)[0]}


@pytest.mark.bare
@pytest.mark.parametrize(
    "frame",
    [
        frames.request(0x07, 5, frames.integer(99) + b"SELECT"),
        frames.request(0x07, 5, frames.integer(-1) + b"SELECT"),
        frames.request(0x07, 5, frames.integer(2) + b"\xff\xfe" + b"\0\1\0"),
        frames.request(0x07, 5, b"\0\0"),
        frames.request(0x09, 5, b""),
        frames.request(0x09, 5, frames.integer(5) + b"x"),
        frames.request(0x0A, 5, b"\0"),
        frames.request(0x0A, 5, frames.short(16) + b"abcdef"),
        frames.request(0x0D, 5, b""),
        frames.request(0x0D, 5, b"\0" + frames.short(2) + b"\0" + frames.long_string(INSERT) + b"\0\0"),
        frames.request(0x0D, 5, b"\0" + frames.short(1) + b"\7" + frames.long_string(INSERT) + b"\0\0"),
        frames.request(0x0D, 5, b"\0" + frames.short(1) + b"\0" + frames.long_string(INSERT) + b"\0\1\0\0\0\7x"),
        frames.request(0x0D, 5, b"\0" + frames.short(1) + b"\1" + frames.short(200) + b"id"),
        frames.query(5, READ, payload={"k": b"v"})[:1] + b"\4\0\5\7" + frames.integer(2) + b"\0\7",
    ],
)
def test_a_body_that_cannot_be_read_is_refused_and_the_connection_goes_on(play: Play, frame: bytes) -> None:
    """FIX-07: the reference gives no answer at all."""
    play.client_sends(frame, frames.query(6, READ))
    play.expect_error(PROTOCOL_ERROR, 5)
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(6))
    play.expect_idle()


@pytest.mark.bare
@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, 101])
@pytest.mark.parametrize("is_whole", [False, True], ids=["header", "whole"])
def test_a_frame_over_the_limit_ends_the_connection(perform: Perform, length: int, is_whole: bool) -> None:
    """FIX-05: its header is enough to tell; the length is no signed number to us."""
    play = perform(max_frame_bytes=100)
    body = b"\0" * (length if is_whole and length < 1000 else 0)
    play.client_sends_bytes(struct.pack(">BBhBI", 4, 0, 5, 7, length) + body)
    play.expect_error(PROTOCOL_ERROR, 5, f"{length} bytes is over the limit of 100 bytes")
    play.expect_close(CLIENT)


@pytest.mark.bare
@pytest.mark.parametrize("is_whole", [False, True], ids=["header", "whole"])
def test_an_answer_over_the_limit_is_a_lost_connection(perform: Perform, is_whole: bool) -> None:
    """Whatever follows can't be told apart."""
    play = perform(max_frame_bytes=100)
    play.client_sends(frames.query(5, READ))
    play.expect_forwarded(to={ORIGIN})
    play.cluster_sends_bytes(ORIGIN, struct.pack(">BBhBI", 0x84, 0, 5, 8, 101) + b"\0" * (101 if is_whole else 0))
    play.expect_close(ORIGIN, "over max_frame_bytes")
    play.expect_close(CLIENT)


@pytest.mark.bare
def test_a_frame_as_long_as_the_limit_passes(perform: Perform) -> None:
    """The limit is what is taken."""
    text = "SELECT k FROM ks.t WHERE k = '" + "x" * 62 + "'"
    frame = frames.query(5, text)
    assert len(frame) == 9 + 100
    play = perform(max_frame_bytes=100)
    for size in (0, 50):
        play.client_sends(frame, cut_into=size)
        read = play.expect_forwarded(to={ORIGIN})
        play.answer(read, ORIGIN, frames.rows(5))
        play.expect_client(frames.rows(5))


@pytest.mark.bare
def test_nothing_is_reserved_on_the_senders_word(play: Play) -> None:
    """FIX-05: the reference takes 2 GiB for a header that announces them."""
    tracemalloc.start()
    try:
        play.client_sends_bytes(struct.pack(">BBhBI", 4, 0, 5, 7, 200 * MIB) + b"x" * 1000)
        play.cluster_sends_bytes(ORIGIN, struct.pack(">BBhBI", 0x84, 0, 5, 8, 200 * MIB) + b"x" * 1000)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1000, 65536])
def test_a_long_frame_in_small_reads_is_joined_once(size: int) -> None:
    """Joined at each of 33,000 reads, this would copy 500 GiB and run into the time limit that every test has."""
    buffer = FrameBuffer()
    whole, given, piece = 32 * MIB, 9, b"x" * size
    buffer.keep(b"h" * 9, whole)
    while given < whole:
        joined = buffer.push(piece)
        given += size
        assert len(joined) == (given if given >= whole else 0)
    assert buffer.size == 0 and not buffer.needed


def test_a_long_write_and_a_long_answer_pass_in_small_reads(play: Play) -> None:
    """What was behind them in the last read is not lost."""
    write = frames.query(5, "INSERT INTO ks.t (k) VALUES (?)", values=[b"x" * (8 * MIB)])
    play.client_sends(write, frames.query(6, READ), cut_into=65536)
    request: Forwarded = play.expect_forwarded(to=BOTH)
    read = play.expect_forwarded(to=PRIMARY)
    answer = frames.rows(5, cells=[[b"y" * (8 * MIB)]])
    play.answer(request, TARGET, frames.void())
    play.cluster_sends(ORIGIN, answer, frames.rows(6), cut_into=65536)
    assert read.stream(ORIGIN) == 6
    play.expect_client(answer)
    play.expect_client(frames.rows(6))
    play.expect_idle()


def test_an_answer_is_not_looked_into(play: Play) -> None:
    """FIX-09: the reference decodes every row, and gives no answer where it can't."""
    play.client_sends(frames.query(5, READ))
    garbage = frames.answer(0x08, 0, b"\xff" * 40)
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, garbage)
    play.expect_client(garbage, stream=5)


def test_an_error_that_cannot_be_read_is_a_lost_connection(play: Play) -> None:
    """It may be an UNPREPARED; and who answers thus can't be trusted with the next request."""
    play.client_sends(frames.query(5, READ))
    read = play.expect_forwarded(to={ORIGIN})
    play.answer(read, ORIGIN, struct.pack(">BBhBi", 0x84, 0x08, 0, 0, 2) + b"\0\5")
    play.expect_close(ORIGIN, "cannot be read")
    play.expect_close(CLIENT)
