"""Version 5: frames in checksummed segments on all three connections, begun right behind READY or AUTHENTICATE."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, ORIGIN, ORIGIN_USER, PROTOCOL_ERROR, TARGET, TARGET_USER, WRITE_TIMEOUT, stage, under
from zdm.core.clusters import Side
from zdm.core.commands import Connect, RefreshSchema
from zdm.core.handshake import MAX_EARLY_BYTES
from zdm.core.snapshot import Settings
from zdm.core.state import Phase
from zdm.protocol.segments import MAX_PAYLOAD, SegmentReader, encode_segment, encode_segments

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"
SIDES = (ORIGIN, TARGET)


@pytest.fixture(autouse=True)
def in_version_5(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of every frame and play here."""
    monkeypatch.setattr(frames.Spoken, "version", 5)
    yield


def fed(play: Play, data: bytes) -> dict[Side, bytes]:
    """Bytes from the client, and the bytes that each cluster gets for them."""
    play.session.feed_client(data, play.now)
    return {side: play.session.take(side) for side in SIDES}


def write(play: Play, stream: int) -> Forwarded:
    play.client_sends(frames.query(stream, INSERT))
    return play.expect_forwarded()


# Where segments begin


def test_the_answer_to_startup_goes_bare_and_all_that_follows_in_segments(fresh: Play) -> None:
    """On each of the three connections, READY itself is the last that goes without."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded()
    for side in SIDES:
        fresh.session.feed_cluster(side, frames.ready(startup.stream(side)), fresh.now)
    assert fresh.session.take(CLIENT) == frames.ready(1)
    insert = encode_segment(frames.query(2, INSERT), True)
    assert fed(fresh, insert) == {ORIGIN: insert, TARGET: insert}
    for side in SIDES:
        fresh.session.feed_cluster(side, encode_segment(frames.void(2), True), fresh.now)
    assert fresh.session.take(CLIENT) == encode_segment(frames.void(2), True)
    fresh.session.commands()


def test_options_before_startup_go_bare(fresh: Play) -> None:
    """A driver asks for the versions first, and the answer is no sign of anything."""
    fresh.client_sends(frames.options(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.supported())
    assert fresh.client_got()[4] == 0x06
    fresh.client_sends(frames.startup(2))
    fresh.answer_all(fresh.expect_forwarded(), frames.ready())
    fresh.expect_client(frames.ready(2))


def test_with_authentication_segments_begin_behind_authenticate(fresh: Play) -> None:
    """So credentials come in a segment already: drivers and proxies exist that forgot it."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded()
    for side in SIDES:
        fresh.session.feed_cluster(side, frames.authenticate(startup.stream(side)), fresh.now)
    assert fresh.session.take(CLIENT) == frames.authenticate(1)
    login = encode_segment(frames.auth_response(2, TARGET_USER.token()), True)
    to_origin = encode_segment(frames.auth_response(0, ORIGIN_USER.token()), True)
    assert fed(fresh, login) == {ORIGIN: to_origin, TARGET: b""}
    fresh.session.feed_cluster(ORIGIN, encode_segment(frames.auth_success(), True), fresh.now)
    assert fresh.session.take(TARGET) == encode_segment(frames.auth_response(0, TARGET_USER.token()), True)
    fresh.session.feed_cluster(TARGET, encode_segment(frames.auth_success(), True), fresh.now)
    assert fresh.session.take(CLIENT) == encode_segment(frames.auth_success(2), True)
    assert fresh.session.phase is Phase.READY
    fresh.session.commands()


@pytest.mark.parametrize("asking", SIDES, ids=lambda side: str(side.name.lower()))
def test_one_cluster_may_begin_before_the_other(asking: Side) -> None:
    """Each connection changes with its own READY or AUTHENTICATE, the client's with the one that it is given."""
    with Play(stage(asks=(asking is ORIGIN, asking is TARGET))) as play:
        play.open()
        play.client_sends(frames.startup(1))
        startup = play.expect_forwarded()
        for side in SIDES:
            play.answer(startup, side, frames.authenticate() if side is asking else frames.ready())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.auth_response(2))
        play.answer(play.expect_forwarded(to={asking}), asking, frames.auth_success())
        play.expect_client(frames.auth_success(2))
        play.answer_all(write(play, 3), frames.void())
        play.expect_client(frames.void(3))


def test_what_comes_in_one_read_with_ready_is_in_segments(fresh: Play) -> None:
    """The chunk says nothing about where segments begin."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded()
    fresh.answer(startup, TARGET, frames.ready())
    fresh.cluster_sends(ORIGIN, under(frames.ready(), startup.stream(ORIGIN)), frames.event_schema_change())
    fresh.expect_client(frames.ready(1))
    fresh.expect_client(frames.event_schema_change())
    fresh.expect_a(RefreshSchema)


def test_a_request_in_one_read_with_the_credentials_is_served(fresh: Play) -> None:
    """It does not lie where the segment's reader says, so it is laid anew."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate())
    fresh.expect_client(frames.authenticate(1))
    fresh.client_sends(frames.auth_response(2, TARGET_USER.token()), frames.query(3, INSERT), frames.query(4, INSERT))
    login = frames.auth_response(0, ORIGIN_USER.token())
    fresh.answer(fresh.expect_forwarded(to={ORIGIN}, frame=login), ORIGIN, frames.auth_success())
    fresh.answer(fresh.expect_forwarded(to={TARGET}), TARGET, frames.auth_success())
    fresh.expect_client(frames.auth_success(2))
    for stream in (3, 4):
        fresh.answer_all(fresh.expect_forwarded(frame=frames.query(stream, INSERT)), frames.void())
        fresh.expect_client(frames.void(stream))


def test_an_error_to_startup_is_relayed_bare(fresh: Play) -> None:
    """No segments have begun, and the driver tries a lower version."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded()
    refusal = frames.error(0, PROTOCOL_ERROR, "Invalid or unsupported protocol version (5)", version=4)
    fresh.session.feed_cluster(ORIGIN, under(refusal, startup.stream(ORIGIN)), fresh.now)
    assert fresh.session.take(CLIENT) == refusal
    fresh.session.commands()


def test_a_beta_version_is_asked_for_as_none() -> None:
    """Cassandra 3 takes a version 5 of its own where the flag is set; it is not this one, and has no segments."""
    with Play() as play:
        play.open()
        startup = bytearray(frames.startup(1))
        startup[1] = 0x10
        play.client_sends(bytes(startup))
        play.expect_forwarded(frame=frames.startup())


# What leaves as it came, and what does not


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_segment_whose_frames_all_go_to_both_leaves_as_it_came(play: Play, size: int) -> None:
    """The checksum over it is not made anew."""
    segment = encode_segment(b"".join(frames.query(stream, INSERT) for stream in range(size)), True)
    padded = bytearray(segment)
    assert fed(play, bytes(padded)) == {ORIGIN: segment, TARGET: segment}


def test_segments_in_one_read_leave_as_they_came(play: Play) -> None:
    """Drivers make one for each request."""
    segments = b"".join(encode_segment(frames.query(stream, INSERT), True) for stream in range(5))
    assert fed(play, segments) == {ORIGIN: segments, TARGET: segments}


def test_a_segment_with_a_read_in_it_is_laid_anew_where_the_read_does_not_go(play: Play) -> None:
    """As one segment again."""
    requests = [frames.query(1, INSERT), frames.query(2, READ), frames.query(3, INSERT)]
    segment = encode_segment(b"".join(requests), True)
    assert fed(play, segment) == {ORIGIN: segment, TARGET: encode_segment(requests[0] + requests[2], True)}


def test_what_shares_a_segment_with_the_start_of_another_frame_is_laid_anew(play: Play) -> None:
    """No cluster takes a self-contained segment that ends within a frame."""
    first, second = frames.query(1, INSERT), frames.query(2, INSERT)
    assert fed(play, encode_segment(first + second[:10], True)) == dict.fromkeys(SIDES, encode_segment(first, True))
    assert fed(play, encode_segment(second[10:], True)) == dict.fromkeys(SIDES, encode_segment(second, True))


def test_a_statement_under_another_id_on_target_is_laid_anew_there(play: Play) -> None:
    """The other cluster gets the segment as it came."""
    play.prepare(INSERT, b"origin", b"target")
    segment = encode_segment(frames.query(1, INSERT) + frames.execute(2, b"origin", [b"v"]), True)
    wanted = frames.query(1, INSERT) + frames.execute(2, b"target", [b"v"])
    assert fed(play, segment) == {ORIGIN: segment, TARGET: encode_segment(wanted, True)}


def test_a_frame_of_many_segments_passes(play: Play) -> None:
    """Over 128 KiB a frame is cut into segments that hold nothing else, in both directions."""
    insert = frames.query(1, INSERT, values=[b"v" * 300_000])
    play.client_sends(frames.query(2, INSERT), insert, frames.query(3, INSERT), cut_into=70_000)
    sent = [play.expect_forwarded(frame=frame) for frame in (frames.query(2, INSERT), insert, frames.query(3, INSERT))]
    for request in sent:
        play.answer_all(request, frames.void())
    for stream in (2, 1, 3):
        play.expect_client(frames.void(stream))
    play.client_sends(frames.query(4, READ))
    rows = frames.rows(4, {"k": frames.BLOB}, [[b"w" * 400_000]])
    play.cluster_sends(ORIGIN, under(rows, play.expect_forwarded(to={ORIGIN}).stream(ORIGIN)), cut_into=65_536)
    play.expect_client(rows)


def test_answers_of_one_read_leave_in_one_segment(play: Play) -> None:
    """One write, one checksum."""
    requests = [write(play, stream) for stream in range(8)]
    for request in requests:
        play.answer(request, ORIGIN, frames.void())
    answers = b"".join(frames.void(stream) for stream in range(8))
    play.session.feed_cluster(TARGET, encode_segment(answers, True), play.now)
    assert play.session.take(CLIENT) == encode_segment(answers, True)


def test_an_idle_session_keeps_nothing_of_what_it_has_read(play: Play) -> None:
    """Thousands of connections are idle most of the time."""
    play.answer_all(write(play, 1), frames.void())
    play.expect_client(frames.void(1))
    state = play.session.state
    for wire in (state.incoming, state.origin.incoming, state.target.incoming):
        assert wire.reader is not None and not wire.reader.source
    assert play.session.kept_bytes() == 0


def test_what_is_not_whole_counts_as_kept(play: Play) -> None:
    """A segment half sent, and then a frame of which some segments have come: both are limited."""
    laid = encode_segments(frames.query(1, INSERT, values=[b"v" * 300_000]))
    play.client_sends_bytes(laid[:1000])
    assert play.session.kept_bytes() == 1000
    assert play.session.missing_bytes() == MAX_PAYLOAD + 10 - 1000
    play.client_sends_bytes(laid[1000 : MAX_PAYLOAD + 10])
    assert play.session.kept_bytes() == MAX_PAYLOAD
    assert play.session.missing_bytes() > 300_000 - MAX_PAYLOAD
    play.client_sends_bytes(laid[MAX_PAYLOAD + 10 :])
    play.answer_all(play.expect_forwarded(frame=frames.query(1, INSERT, values=[b"v" * 300_000])), frames.void())
    play.expect_client(frames.void(1))


# What cannot be read


def damaged(segment: bytes, place: int) -> bytes:
    return segment[:place] + bytes((segment[place] ^ 1,)) + segment[place + 1 :]


@pytest.mark.parametrize(("place", "named"), [(0, "CRC24"), (4, "CRC24"), (20, "CRC32"), (-1, "CRC32")])
def test_a_bad_checksum_of_the_client_is_told_and_ends_the_connection(play: Play, place: int, named: str) -> None:
    """Nothing that follows can be trusted; what was sent before is settled as ever."""
    segment = encode_segment(frames.query(1, INSERT), True)
    play.client_sends_bytes(damaged(segment, place % len(segment)))
    play.expect_error(PROTOCOL_ERROR, 0, named)
    play.expect_close(CLIENT, named)


@pytest.mark.parametrize("place", [0, 20])
def test_a_bad_checksum_of_target_is_a_lost_connection(play: Play, place: int) -> None:
    """The client goes on; its write may have been applied."""
    request = write(play, 1)
    play.answer(request, ORIGIN, frames.void())
    play.cluster_sends_bytes(TARGET, damaged(encode_segment(frames.void(1), True), place))
    play.expect_close(TARGET, "CRC")
    play.expect_error(WRITE_TIMEOUT, 1)
    assert play.session.phase is Phase.READY


def test_a_bad_checksum_of_origin_ends_the_session(play: Play) -> None:
    """As its loss does."""
    write(play, 1)
    play.cluster_sends_bytes(ORIGIN, damaged(encode_segment(frames.void(1), True), 3))
    play.expect_close(ORIGIN, "CRC24")
    play.expect_close(CLIENT, "CRC24")


def test_a_frame_over_the_limit_is_refused(perform: Perform) -> None:
    """By what its header announces, before it is there."""
    play = perform(max_frame_bytes=1000)
    play.client_sends_bytes(encode_segments(frames.query(1, INSERT, values=[b"v" * 1000])))
    play.expect_error(PROTOCOL_ERROR, 0, "over the limit of 1000")
    play.expect_close(CLIENT)


def test_before_the_client_is_let_in_frames_are_short(fresh: Play) -> None:
    """Anybody who reaches the port may send segments."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate())
    fresh.expect_client(frames.authenticate(1))
    fresh.client_sends_bytes(encode_segments(frames.auth_response(2, bytes(MAX_EARLY_BYTES)))[: MAX_EARLY_BYTES // 2])
    fresh.client_sends_bytes(bytes(MAX_EARLY_BYTES))
    fresh.expect_error(PROTOCOL_ERROR, 0)
    fresh.expect_close(CLIENT)


def test_bad_bytes_during_authentication_are_told(fresh: Play) -> None:
    """In a segment, for that is what the client reads by now."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate())
    fresh.expect_client(frames.authenticate(1))
    fresh.client_sends_bytes(b"\0" * 50)
    fresh.expect_error(PROTOCOL_ERROR, 0, "CRC24")
    fresh.expect_close(CLIENT)


# Target, attached late


def test_a_late_target_begins_bare_again(play: Play) -> None:
    """STARTUP and its answer without segments, then USE in one."""
    play.use("ks")
    play.lose(TARGET)
    play.attach(TARGET)
    startup = play.expect_forwarded(to={TARGET}, frame=frames.startup())
    play.session.feed_cluster(TARGET, under(frames.ready(), startup.stream(TARGET)), play.now)
    assert play.session.take(TARGET) == encode_segment(frames.query(0, 'USE "ks"'), True)
    play.session.feed_cluster(TARGET, encode_segment(frames.set_keyspace(0, "ks"), True), play.now)
    play.session.commands()
    assert fed(play, encode_segment(frames.query(5, INSERT), True))[TARGET]


def test_a_target_that_was_lost_within_a_segment_begins_anew(play: Play) -> None:
    """What was kept of it went with its connection."""
    play.cluster_sends_bytes(TARGET, encode_segment(frames.void(1), True)[:9])
    play.lose(TARGET)
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    play.answer_all(write(play, 1), frames.void())
    play.expect_client(frames.void(1))


# Moving to another process


def test_a_session_moves_between_two_segments(play: Play) -> None:
    """And goes on in segments."""
    assert play.move() is not None
    play.answer_all(write(play, 1), frames.void())
    play.expect_client(frames.void(1))


@pytest.mark.parametrize("side", [CLIENT, ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
@pytest.mark.parametrize("length", [1, 9, -1])
def test_it_stays_while_a_segment_is_half_read(play: Play, side: Side, length: int) -> None:
    """The reader's state does not travel; segments come whole soon enough."""
    laid = encode_segment(frames.query(1, INSERT) if side is CLIENT else frames.void(1), True)
    tell = play.client_sends_bytes if side is CLIENT else lambda data: play.cluster_sends_bytes(side, data)
    tell(laid[:length])
    assert play.move() is None
    tell(laid[length:])
    if side is CLIENT:
        play.answer_all(play.expect_forwarded(frame=frames.query(1, INSERT)), frames.void())
        play.expect_client(frames.void(1))
    assert play.move() is not None


def test_it_stays_while_a_frame_is_half_read(play: Play) -> None:
    """Whole segments of it have come."""
    insert = frames.query(1, INSERT, values=[b"v" * 200_000])
    laid = encode_segments(insert)
    play.client_sends_bytes(laid[: MAX_PAYLOAD + 10])
    assert play.move() is None
    play.client_sends_bytes(laid[MAX_PAYLOAD + 10 :])
    play.answer_all(play.expect_forwarded(frame=insert), frames.void())
    play.expect_client(frames.void(1))
    assert play.move() is not None


# Whatever anybody sends

RUN = [frames.query(stream, text, version=5) for stream, text in enumerate((INSERT, READ, INSERT, "USE ks", READ))]
CHUNKS = st.lists(st.integers(1, 200), min_size=1, max_size=40)


def chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        if not data:
            return
        yield data[:size]
        data = data[size:]
    yield data


@given(st.lists(st.sampled_from(range(len(RUN))), unique=True), CHUNKS, st.booleans())
def test_any_cut_gives_the_same_frames(chosen: list[int], sizes: list[int], are_alone: bool) -> None:
    """To each cluster those that are for it, in order."""
    play = Play(version=5).become_ready()
    sent = [RUN[index] for index in chosen]
    laid = b"".join(map(encode_segments, sent)) if are_alone else encode_segments(b"".join(sent))
    for piece in chunks(laid, sizes):
        play.client_sends_bytes(piece)
    for side in SIDES:
        wanted = [frame for frame in sent if side is ORIGIN or b"SELECT" not in frame]
        assert [play.next_for(side) for _ in wanted] == wanted
        assert not play.has_for(side)


@given(st.integers(0, 10_000), st.integers(1, 255), CHUNKS, st.sampled_from([CLIENT, ORIGIN, TARGET]))
def test_flipped_bits_make_no_fault_and_no_wrong_frame(place: int, flip: int, sizes: list[int], side: Side) -> None:
    """Any damage of one byte is noticed: the connection is closed, or waits for bytes that never come."""
    play = Play(version=5).become_ready()
    if side is not CLIENT:
        play.client_sends(*RUN)
    answers = [frames.void(stream, version=5) for stream in range(len(RUN))]
    laid = bytearray(encode_segments(b"".join(RUN if side is CLIENT else answers)))
    laid[place % len(laid)] ^= flip
    for piece in chunks(bytes(laid), sizes):
        if play.closed or (side is not CLIENT and side not in play.connected):
            break
        play.client_sends_bytes(piece) if side is CLIENT else play.cluster_sends_bytes(side, piece)
    assert play.closed if side is not TARGET else TARGET not in play.connected


@given(st.lists(st.tuples(st.sampled_from([CLIENT, ORIGIN, TARGET]), st.binary(max_size=200)), max_size=10))
def test_random_bytes_make_no_fault(pieces: list[tuple[Side, bytes]]) -> None:
    """Nor do they leave a request without its end."""
    play = Play(stage(Settings(answer_timeouts=True)), version=5).become_ready()
    play.client_sends(*RUN)
    for side, piece in pieces:
        if play.closed or (side is not CLIENT and side not in play.connected):
            continue
        play.client_sends_bytes(piece) if side is CLIENT else play.cluster_sends_bytes(side, piece)
    play.time_passes(20)
    assert play.closed or not play.session.state.pending


def test_a_reader_of_segments_says_what_it_keeps() -> None:
    """Of both: a segment that is not whole, and a frame of which segments have come."""
    reader = SegmentReader()
    assert (reader.kept_bytes(), reader.missing_bytes()) == (0, 0)
    laid = encode_segments(frames.query(1, INSERT, version=5))
    reader.feed(laid[:10])
    assert (reader.kept_bytes(), reader.missing_bytes()) == (10, len(laid) - 10)
    reader.feed(laid[10:])
    assert (reader.kept_bytes(), reader.missing_bytes()) == (0, 0)


def test_connections_are_asked_for_as_ever() -> None:
    """The version is not known before the client has sent something."""
    with Play() as play:
        play.expect_command(Connect(ORIGIN))
        play.expect_command(Connect(TARGET))
