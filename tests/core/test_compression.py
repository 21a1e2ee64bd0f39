"""Compression: bodies of v3 and v4 one by one, with LZ4 or Snappy; in v5 the segments, with LZ4 only.

Both clusters are asked for what the client asks for. Requests and rows travel as they came, and are opened only where
something is decided by them.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import frames
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import (
    CLIENT,
    INVALID,
    ORIGIN,
    ORIGIN_USER,
    PROTOCOL_ERROR,
    TARGET,
    TARGET_USER,
    generator,
    stage,
    under,
)
from zdm.core.commands import FindStatements
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.protocol.compression import compress_frame, open_frame
from zdm.protocol.segments import SegmentReader, encode_segment, encode_segments

INSERT = "INSERT INTO ks.t (k, v) VALUES (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')"
READ = "SELECT k FROM ks.t"
OFFERED = ("snappy", "lz4")
SIDES = (ORIGIN, TARGET)


@pytest.fixture(params=["lz4", "snappy"])
def algorithm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def packed(algorithm: str) -> Iterator[Play]:
    """A session of v4 that has agreed on compression."""
    tables = system_tables(proxies(*FLEET))
    with Play(stage(compression=OFFERED, tables=tables)).become_ready(algorithm) as play:
        yield play


def test_requests_and_answers_pass_as_they_came(packed: Play, algorithm: str) -> None:
    """A write to both, a read to one; the plain ones among them as well."""
    requests = [compress_frame(algorithm, frames.query(1, INSERT)), frames.query(2, INSERT)]
    packed.client_sends(*requests, compress_frame(algorithm, frames.query(3, READ)))
    for request, stream in zip(requests, (1, 2), strict=True):
        answer = compress_frame(algorithm, frames.void())
        packed.answer_all(packed.expect_forwarded(frame=request), answer)
        packed.expect_client(answer, stream)
    read = packed.expect_forwarded(to={ORIGIN})
    rows = compress_frame(algorithm, frames.rows(0, {"k": frames.BLOB}, [[b"r" * 1000]]))
    packed.answer(read, ORIGIN, rows)
    packed.expect_client(rows, 3)
    packed.expect_idle()


def test_a_statement_is_prepared_and_executed(packed: Play, algorithm: str) -> None:
    """Target's id takes the place of origin's inside the compressed body."""
    packed.client_sends(compress_frame(algorithm, frames.prepare(1, INSERT)))
    request = packed.expect_forwarded()
    for side, prepared_id in ((ORIGIN, b"of origin"), (TARGET, b"of the target")):
        packed.answer(request, side, compress_frame(algorithm, frames.prepared(0, prepared_id)))
    packed.expect_client(frames.prepared(1, b"of origin"))
    execute = frames.execute(2, b"of origin", [b"v" * 100])
    packed.client_sends(compress_frame(algorithm, execute))
    origin, target = packed.next_for(ORIGIN), packed.next_for(TARGET)
    assert origin == compress_frame(algorithm, execute)
    assert target[1] == 1 and open_frame(algorithm, target) == frames.execute(2, b"of the target", [b"v" * 100])
    for side in SIDES:
        packed.cluster_sends(side, frames.void(2))
    packed.expect_client(frames.void(2))


def test_a_forgotten_statement_is_executed_again_as_it_came(packed: Play, algorithm: str) -> None:
    """UNPREPARED comes compressed, and is understood."""
    packed.prepare(INSERT, b"id")
    execute = compress_frame(algorithm, frames.execute(1, b"id", [b"v" * 100]))
    packed.client_sends(execute)
    request = packed.expect_forwarded()
    packed.answer(request, ORIGIN, compress_frame(algorithm, frames.void()))
    packed.answer(request, TARGET, compress_frame(algorithm, frames.unprepared(0, b"id")))
    again = packed.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    packed.answer(again, TARGET, compress_frame(algorithm, frames.prepared(0, b"id")))
    packed.answer(packed.expect_forwarded(to={TARGET}, frame=execute), TARGET, frames.void())
    packed.expect_client(compress_frame(algorithm, frames.void()), 1)


def test_what_the_proxy_says_itself_is_open(packed: Play, algorithm: str) -> None:
    """Its flag says so, which every version allows."""
    packed.client_sends(compress_frame(algorithm, frames.query(1, "SELECT key FROM system.local")))
    assert packed.client_got()[1] == 0
    packed.client_sends(compress_frame(algorithm, frames.execute(2, b"unknown")))
    packed.expect_error(0x2500, 2)


def test_an_error_of_a_cluster_is_passed_on_open(packed: Play, algorithm: str) -> None:
    """It was looked at."""
    packed.client_sends(compress_frame(algorithm, frames.query(1, INSERT)))
    request = packed.expect_forwarded()
    packed.answer(request, ORIGIN, compress_frame(algorithm, frames.void()))
    packed.answer(request, TARGET, compress_frame(algorithm, frames.error(0, INVALID, "no such table")))
    packed.expect_error(INVALID, 1, "no such table")


def test_the_keyspace_is_learned_and_target_attached_with_the_same_algorithm(packed: Play, algorithm: str) -> None:
    """STARTUP is the client's own, so the connections stay alike; what was held is sent as it came."""
    packed.client_sends(compress_frame(algorithm, frames.query(1, "USE ks")))
    packed.answer_all(packed.expect_forwarded(), compress_frame(algorithm, frames.set_keyspace(0, "ks")))
    packed.expect_client(frames.set_keyspace(1, "ks"))
    packed.lose(TARGET)
    insert = compress_frame(algorithm, frames.query(2, INSERT))
    packed.client_sends(insert)
    packed.take_commands()
    packed.attach(TARGET)
    options = {"CQL_VERSION": "3.0.0", "COMPRESSION": algorithm}
    startup = packed.expect_forwarded(to={TARGET}, frame=frames.startup(0, options))
    packed.answer(startup, TARGET, compress_frame(algorithm, frames.ready()))
    use = packed.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
    packed.answer(use, TARGET, compress_frame(algorithm, frames.set_keyspace(0, "ks")))
    packed.answer_all(packed.expect_forwarded(frame=insert), frames.void())
    packed.expect_client(frames.void(2))


def test_the_handshake_may_be_compressed_from_the_answer_to_startup_on(algorithm: str) -> None:
    """Both ways."""
    with Play(stage(compression=OFFERED)) as play:
        play.open()
        play.client_sends(frames.startup(1, {"COMPRESSION": algorithm.upper()}))
        play.answer_all(play.expect_forwarded(), compress_frame(algorithm, frames.authenticate()))
        play.expect_client(frames.authenticate(1))
        play.client_sends(compress_frame(algorithm, frames.auth_response(2, TARGET_USER.token())))
        for side, user in ((ORIGIN, ORIGIN_USER), (TARGET, TARGET_USER)):
            login = play.expect_forwarded(to={side}, frame=frames.auth_response(0, user.token()))
            play.answer(login, side, compress_frame(algorithm, frames.auth_success()))
        play.expect_client(frames.auth_success(2))
        play.expect_note("info", f"Compression: {algorithm}")


def test_a_request_whose_statement_is_sought_elsewhere_stays_compressed(algorithm: str) -> None:
    """It is held meanwhile."""

    class Others:
        def made(self, entry: PreparedStatement) -> None:
            """Nobody is told."""

        def forgotten(self, prepared_id: bytes) -> None:
            """Nor of this."""

    cache = PreparedCache(others=Others())
    with Play(stage(compression=OFFERED, prepared=cache)).become_ready(algorithm) as play:
        play.prepare(INSERT, b"id")
        known = cache.entries.pop(b"id")
        execute = compress_frame(algorithm, frames.execute(1, b"id", [b"v" * 100]))
        play.client_sends(execute)
        sought = play.expect_a(FindStatements)
        assert play.session.kept_bytes() >= len(execute) + 100
        cache.adopt(known)
        play.statements_sought(sought.ticket)
        play.answer_all(play.expect_forwarded(frame=execute), frames.void())
        play.expect_client(frames.void(1))


@pytest.mark.parametrize("body", [b"", b"\1\2\3", b"\0\0\0\x10garbage", b"\xff" * 40])
def test_a_body_that_cannot_be_opened_is_refused_and_the_connection_goes_on(packed: Play, body: bytes) -> None:
    """FIX-07: answered, whatever it was."""
    frame = bytearray(frames.request(0x07, 3, body))
    frame[1] = 1
    packed.client_sends(bytes(frame))
    packed.expect_error(PROTOCOL_ERROR, 3)
    packed.expect_idle()


def test_nothing_is_opened_that_would_be_too_long(algorithm: str) -> None:
    """By what the body announces, before anything is reserved."""
    with Play(stage(compression=OFFERED, max_frame_bytes=10_000)).become_ready(algorithm) as play:
        bomb = compress_frame(algorithm, frames.query(1, INSERT, values=[bytes(20_000)]))
        assert len(bomb) < 10_000
        play.client_sends(bomb)
        play.expect_error(PROTOCOL_ERROR, 1, "over the limit of 10000")


def test_an_answer_that_cannot_be_opened_is_a_lost_connection(packed: Play, algorithm: str) -> None:
    """Where it must be looked at: the answers of the other kind are the client's to judge."""
    packed.client_sends(frames.prepare(1, INSERT))
    request = packed.expect_forwarded()
    broken = bytearray(compress_frame(algorithm, frames.prepared()))
    broken[9:] = b"\xff" * len(broken[9:])
    packed.answer(request, TARGET, bytes(broken))
    packed.expect_close(TARGET)
    packed.answer(request, ORIGIN, frames.prepared())
    assert packed.client_got()[4] == 0


@pytest.mark.parametrize(
    ("version", "offered", "asked"),
    [(4, ("lz4",), "snappy"), (4, (), "lz4"), (4, OFFERED, "zstd"), (5, OFFERED, "snappy"), (5, ("snappy",), "lz4")],
)
def test_an_algorithm_that_cannot_be_used_is_refused(version: int, offered: tuple[str, ...], asked: str) -> None:
    """FIX-06: where not both clusters offer it, and Snappy in v5. The client may ask for another."""
    with Play(stage(compression=offered), version) as play:
        play.open()
        play.client_sends(frames.startup(1, {"COMPRESSION": asked}, version=version))
        play.expect_error(PROTOCOL_ERROR, 1, "ompression")
        play.client_sends(frames.startup(2, {"COMPRESSION": "none"}, version=version))
        play.answer_all(play.expect_forwarded(), frames.ready(version=version))
        play.expect_client(frames.ready(2, version=version))


def test_a_compressed_session_moves(packed: Play, algorithm: str) -> None:
    """What was agreed on travels."""
    handover = packed.move()
    assert handover is not None and handover.compression == algorithm
    packed.client_sends(compress_frame(algorithm, frames.query(1, READ)))
    packed.answer(packed.expect_forwarded(to={ORIGIN}), ORIGIN, compress_frame(algorithm, frames.rows()))
    packed.expect_client(compress_frame(algorithm, frames.rows()), 1)


def test_what_was_opened_counts_for_the_limits(packed: Play, algorithm: str) -> None:
    """A client may send little and have much kept for it."""
    insert = frames.query(1, INSERT, values=[bytes(100_000)])
    came = compress_frame(algorithm, insert)
    packed.client_sends(came)
    assert packed.session.take_growth() == len(insert) - len(came)
    assert packed.session.take_growth() == 0
    assert packed.session.kept_bytes() == len(insert) + len(came)
    packed.answer_all(packed.expect_forwarded(frame=came), frames.void())
    packed.expect_client(frames.void(1))


# Version 5


@pytest.fixture
def in_segments(monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """A session of v5 whose segments are compressed."""
    monkeypatch.setattr(frames.Spoken, "version", 5)
    with Play(stage(compression=OFFERED)).become_ready("lz4") as play:
        yield play


def test_compressed_segments_leave_as_they_came(in_segments: Play) -> None:
    """Neither opened nor compressed anew for the clusters."""
    play = in_segments
    segment = encode_segment(b"".join(frames.query(stream, INSERT) for stream in range(4)), True, has_lz4=True)
    flawed = segment[:-1]
    play.session.feed_client(flawed, play.now)
    play.session.feed_client(segment[-1:], play.now)
    assert [play.session.take(side) for side in SIDES] == [segment, segment]


def test_what_must_differ_is_laid_anew_and_compressed(in_segments: Play) -> None:
    """As is the answer to the client, in as few segments as hold it."""
    play = in_segments
    requests = [frames.query(stream, READ if stream == 2 else INSERT) for stream in range(4)]
    play.session.feed_client(encode_segment(b"".join(requests), True, has_lz4=True), play.now)
    assert play.session.take(TARGET) == encode_segments(requests[0] + requests[1] + requests[3], has_lz4=True)
    answers = b"".join(frames.void(stream) for stream in (0, 1, 3))
    play.session.feed_cluster(TARGET, encode_segments(answers, has_lz4=True), play.now)
    play.session.feed_cluster(ORIGIN, encode_segments(answers, has_lz4=True), play.now)
    assert play.session.take(CLIENT) == encode_segments(answers, has_lz4=True)


def test_long_frames_pass_in_compressed_segments(in_segments: Play) -> None:
    """Both ways, and what they grow to counts."""
    play = in_segments
    insert = frames.query(1, INSERT, values=[bytes(300_000)])
    play.client_sends(insert, cut_into=1000)
    assert play.session.take_growth() > 290_000
    play.answer_all(play.expect_forwarded(frame=insert), frames.void())
    play.expect_client(frames.void(1))


def test_the_flag_of_a_frame_in_a_segment_means_nothing(in_segments: Play) -> None:
    """A driver sets it nevertheless; a cluster need not put up with that."""
    play = in_segments
    flagged = bytearray(frames.query(1, INSERT))
    flagged[1] = 1
    play.client_sends(bytes(flagged))
    play.answer_all(play.expect_forwarded(frame=frames.query(1, INSERT)), frames.void())
    play.expect_client(frames.void(1))


def test_a_compressed_session_of_v5_moves(in_segments: Play) -> None:
    """Its segments stay compressed."""
    play = in_segments
    assert play.move() is not None
    play.client_sends(frames.query(1, INSERT))
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(1))


def test_a_late_target_compresses_its_segments(in_segments: Play) -> None:
    """It got the same STARTUP."""
    play = in_segments
    play.lose(TARGET)
    play.attach(TARGET)
    startup = play.expect_forwarded(
        to={TARGET}, frame=frames.startup(0, {"CQL_VERSION": "3.0.0", "COMPRESSION": "lz4"})
    )
    play.answer(startup, TARGET, frames.ready())
    play.session.feed_client(encode_segments(frames.query(1, INSERT), has_lz4=True), play.now)
    assert SegmentReader(has_lz4=True).feed(play.session.take(TARGET)) == frames.query(1, INSERT)


RUN = [frames.query(stream, text) for stream, text in enumerate((INSERT, READ, INSERT, "USE ks"))]


@given(
    st.sampled_from(["lz4", "snappy"]),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.integers(0, 30),
)
def test_damaged_bodies_make_no_fault(algorithm: str, changes: list[tuple[int, int]], size: int) -> None:
    """Each request has its answer, or is under way, or the connection is closed."""
    play = Play(stage(compression=OFFERED)).become_ready(algorithm)
    for request in RUN:
        frame = bytearray(compress_frame(algorithm, request))
        for place, value in changes:
            frame[9 + place % (len(frame) - 9)] = value
        if not play.closed:
            play.client_sends(bytes(frame), cut_into=size)
    answered = 0
    while play.has_for(CLIENT):
        play.client_got()
        answered += 1
    assert play.closed or answered + len(play.session.state.pending) == len(RUN)


@given(st.sampled_from(["lz4", "snappy"]), st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4))
def test_damaged_answers_make_no_fault(algorithm: str, changes: list[tuple[int, int]]) -> None:
    """The client gets them as they are, or an error where they had to be looked at."""
    play = Play(stage(compression=OFFERED)).become_ready(algorithm)
    play.client_sends(*RUN)
    for stream, answer in enumerate((frames.void(), frames.rows(), frames.unprepared(), frames.set_keyspace())):
        frame = bytearray(compress_frame(algorithm, under(answer, stream)))
        for place, value in changes:
            frame[9 + place % (len(frame) - 9)] = value
        for side in SIDES:
            if side in play.connected and not play.closed:
                play.cluster_sends(side, bytes(frame))
    play.time_passes(100)
    assert play.closed or not play.session.state.pending


def test_what_the_proxy_puts_into_a_write_leaves_open(algorithm: str) -> None:
    """Both clusters get the same, and what was not changed passes as it came."""
    shared = stage(compression=OFFERED, replaced_functions=frozenset(("now",)))
    made = UUID(bytes=generator().value("timeuuid"))
    with Play(shared).become_ready(algorithm) as play:
        text = INSERT.replace("1", "now()")
        play.client_sends(
            compress_frame(algorithm, frames.query(1, text)), compress_frame(algorithm, frames.query(2, INSERT))
        )
        play.answer_all(play.expect_forwarded(frame=frames.query(1, text.replace("now()", str(made)))), frames.void())
        play.expect_client(frames.void(1))
        play.answer_all(play.expect_forwarded(frame=compress_frame(algorithm, frames.query(2, INSERT))), frames.void())
        play.expect_client(frames.void(2))
