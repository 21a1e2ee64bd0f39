"""Stream ids: identity, ids that are taken, late answers, limits (section 5.1 to 5.3; FIX-17, 18, 19)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, ORIGIN, OVERLOADED, PROTOCOL_ERROR, TARGET, WRITE_TIMEOUT
from zdm.core.clusters import Side
from zdm.core.commands import Connect
from zdm.core.settling import MAX_OWED
from zdm.core.state import SHUTTING_DOWN

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"


def write(play: Play, stream: int) -> Forwarded:
    play.client_sends(frames.query(stream, INSERT))
    return play.expect_forwarded(to={ORIGIN, TARGET})


def done(play: Play, request: Forwarded, stream: int, order: Sequence[Side] = (ORIGIN, TARGET)) -> None:
    play.answer_all(request, frames.void(), order)
    play.expect_client(frames.void(stream))


@pytest.mark.parametrize("stream", [0, 1, 2047, 2048, 32766, 32767])
def test_the_clients_stream_ids_are_used_on_the_clusters(play: Play, stream: int) -> None:
    """Nothing has to be rewritten, whatever ids the driver strides over."""
    request = write(play, stream)
    assert {request.stream(ORIGIN), request.stream(TARGET)} == {stream}
    done(play, request, stream)
    play.expect_idle()


@pytest.mark.parametrize("is_held", [False, True], ids=["in-flight", "held"])
def test_a_stream_id_used_twice_ends_the_connection(play: Play, is_held: bool) -> None:
    """FIX-18: two answers on one id would help nobody, and dropping one leaves its sender waiting."""
    if is_held:
        play.lose(TARGET)
    play.client_sends(frames.query(5, INSERT))
    if is_held:
        play.expect_command(Connect(TARGET))
    else:
        play.expect_forwarded(to={ORIGIN, TARGET})
    play.client_sends(frames.query(5, READ), frames.query(6, READ))
    play.expect_error(PROTOCOL_ERROR, 5, "stream id 5 is in use")
    play.expect_close(CLIENT, "stream id twice")


def test_a_late_answer_is_never_taken_for_that_of_a_later_request(play: Play) -> None:
    """FIX-19: the reference gives it to whoever uses the stream id then."""
    old = write(play, 7)
    play.time_passes(10.1)
    play.expect_silence()
    new = write(play, 7)
    assert new.stream(ORIGIN) != 7 and new.stream(TARGET) != 7
    play.answer(old, ORIGIN, frames.error(0, 0, "of the old one"))
    play.answer(old, TARGET, frames.error(0, 0, "of the old one"))
    play.expect_silence()
    done(play, new, 7)
    assert play.shared.meter.late_answers == 2
    play.expect_idle()
    again = write(play, 7)
    assert again.stream(ORIGIN) == again.stream(TARGET) == 7
    done(play, again, 7)


def test_only_the_side_that_owes_an_answer_gets_another_id(play: Play) -> None:
    """The other side's id is clean."""
    old = write(play, 7)
    play.answer(old, ORIGIN, frames.void())
    play.time_passes(10.1)
    new = write(play, 7)
    assert new.stream(ORIGIN) == 7 and new.stream(TARGET) != 7
    play.answer(new, TARGET, frames.void())
    play.answer(old, TARGET, frames.void())
    play.expect_silence()
    play.answer(new, ORIGIN, frames.void())
    play.expect_client(frames.void(7))
    play.expect_idle()


def test_a_request_under_another_id_may_itself_be_late(play: Play) -> None:
    """Its second id is owed then, and the client may even come to use that one."""
    requests = []
    for _ in range(3):
        requests.append(write(play, 7))
        play.time_passes(10.1)
    ids = [request.stream(TARGET) for request in requests]
    assert len(set(ids)) == 3
    other = write(play, ids[1])
    assert other.stream(TARGET) not in ids
    for request in requests:
        play.answer_all(request, frames.error())
    play.expect_silence()
    done(play, other, ids[1])
    play.expect_idle()


def test_an_id_taken_by_the_proxys_own_request_is_exchanged(perform: Perform) -> None:
    """A heartbeat takes the highest id; the client may want it at the same time."""
    play = perform(heartbeat_interval=5.0)
    play.time_passes(6)
    play.client_sends(frames.query(1, READ))
    read = play.expect_forwarded(to={ORIGIN})
    beat = play.expect_forwarded(to={TARGET}, frame=frames.options())
    taken = beat.stream(TARGET)
    assert taken == 32767
    request = write(play, taken)
    assert request.stream(ORIGIN) == taken
    assert request.stream(TARGET) == taken - 1
    play.answer(beat, TARGET, frames.supported())
    play.expect_silence()
    done(play, request, taken)
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.expect_idle()


def test_ids_at_or_above_the_operators_limit_are_exchanged(perform: Perform) -> None:
    """A cluster behind something that knows few ids must never see a higher one."""
    play = perform(max_streams=4, max_streams_set=True)
    requests = [write(play, stream) for stream in (3, 4, 1000, 32767)]
    for side in (ORIGIN, TARGET):
        assert sorted(request.stream(side) for request in requests) == [0, 1, 2, 3]
    for request, stream in zip(requests, (3, 4, 1000, 32767), strict=True):
        done(play, request, stream)
    play.expect_idle()


def test_where_no_id_is_left_the_request_is_sent_nowhere(perform: Perform) -> None:
    """FIX-17: one side alone must not get a write that the client is told to repeat."""
    play = perform(max_streams=2, max_streams_set=True)
    reads = []
    for stream in (10, 11):
        play.client_sends(frames.query(stream, READ))
        reads.append(play.expect_forwarded(to={ORIGIN}))
    play.client_sends(frames.query(12, INSERT), frames.query(13, READ))
    for stream in (12, 13):
        play.expect_error(OVERLOADED, stream, SHUTTING_DOWN)
    play.expect_note("error", "no stream id available")
    play.answer(reads[0], ORIGIN, frames.rows())
    play.expect_client(frames.rows(10))
    done(play, write(play, 12), 12)
    assert play.shared.meter.rejected == 2


def test_running_out_of_ids_is_told_seldom(perform: Perform) -> None:
    """A client at its limit would otherwise write a line of log for each request."""
    play = perform(max_streams=1, max_streams_set=True, request_timeout=60.0)
    play.client_sends(frames.query(10, READ))
    read = play.expect_forwarded(to={ORIGIN})
    told = []
    for stream in (11, 12, 13):
        play.client_sends(frames.query(stream, READ))
        play.expect_error(OVERLOADED, stream, SHUTTING_DOWN)
        told.append(play.notes("error"))
        play.time_passes(6)
    assert [len(lines) for lines in told] == [1, 0, 1]
    assert play.shared.meter.rejected == 3
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(10))


def test_what_one_side_has_in_flight_is_no_limit_for_the_other(perform: Perform) -> None:
    """The limit is on requests in flight for each side."""
    play = perform(max_streams=2, max_streams_set=True, system_queries=TARGET)
    reads = []
    for stream in (0, 1):
        play.client_sends(frames.query(stream, READ))
        reads.append(play.expect_forwarded(to={ORIGIN}))
    for stream in (0, 1):
        assert reads[stream].stream(ORIGIN) == stream
    for stream in (7, 8):
        play.client_sends(frames.query(stream, "SELECT * FROM system_auth.roles"))
        assert play.expect_forwarded(to={TARGET}).stream(TARGET) in (0, 1)


def test_without_a_set_limit_2048_requests_are_taken_and_no_more(play: Play) -> None:
    """As the reference's pool; only the number is limited, not the ids."""
    play.client_sends(*(frames.query(stream * 7, READ) for stream in range(2048)))
    for _ in range(2048):
        play.expect_forwarded(to={ORIGIN}, frame=frames.query(0, READ))
    play.client_sends(frames.query(1, READ))
    play.expect_error(OVERLOADED, 1)
    play.expect_note("error", "no stream id")


def test_late_answers_owed_count_against_the_limit(perform: Perform) -> None:
    """Otherwise a stalled cluster would get request after request."""
    play = perform(max_streams=2, max_streams_set=True)
    late = [write(play, stream) for stream in (0, 1)]
    play.time_passes(10.1)
    play.client_sends(frames.query(0, INSERT))
    play.expect_error(OVERLOADED, 0)
    play.expect_note("error", "no stream id")
    play.answer_all(late[0], frames.void())
    request = write(play, 1)
    assert request.stream(ORIGIN) == 0
    done(play, request, 1)


def test_they_count_where_ids_are_not_limited_too(perform: Perform) -> None:
    """There, only the number of requests in flight is."""
    play = perform(max_streams=2)
    late = [write(play, stream) for stream in (0, 1)]
    play.time_passes(10.1)
    play.client_sends(frames.query(5, INSERT))
    play.expect_error(OVERLOADED, 5)
    play.expect_note("error", "no stream id")
    for request in late:
        play.answer_all(request, frames.void())
    done(play, write(play, 5), 5)
    play.expect_idle()


@pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_side_that_owes_too_much_is_given_up(play: Play, side: Side) -> None:
    """A stalled cluster heals without a restart: target is attached anew, origin's end is the session's."""
    for stream in range(MAX_OWED + 1):
        request = write(play, stream)
        play.answer(request, ORIGIN if side is TARGET else TARGET, frames.void())
    play.time_passes(10.1)
    play.expect_note("warn", f"{side.name} leaves requests")
    play.expect_close(side, "too many requests timed out")
    if side is ORIGIN:
        play.expect_close(CLIENT)
        return
    play.client_sends(frames.query(1, INSERT))
    play.expect_command(Connect(TARGET))
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    done(play, play.expect_forwarded(to={ORIGIN, TARGET}), 1)
    play.expect_idle()


def test_a_side_that_says_nothing_for_long_is_given_up_for_a_quiet_client_too(play: Play) -> None:
    """One write at a time would take most of an hour to owe hundreds of answers."""
    for _ in range(4):
        play.expect_silence()
        play.answer(write(play, 1), ORIGIN, frames.void())
        play.time_passes(10.1)
    play.expect_error(WRITE_TIMEOUT, 1, "TARGET was lost")
    play.expect_note("warn", "TARGET leaves requests")
    play.expect_close(TARGET, "too many requests timed out")


def test_a_side_whose_late_answers_take_every_id_is_given_up_too(perform: Perform) -> None:
    """Every request is rejected then, so that nothing is in flight whose time would be watched."""
    play = perform(max_streams=2, max_streams_set=True)
    for sent in [write(play, stream) for stream in (0, 1)]:
        play.answer(sent, ORIGIN, frames.void())
    for _ in range(3):
        play.time_passes(10.1)
        play.client_sends(frames.query(0, INSERT))
        play.expect_error(OVERLOADED, 0)
    play.expect_note("error", "no stream id")
    play.time_passes(10.1)
    play.expect_note("warn", "TARGET leaves requests")
    play.expect_close(TARGET, "too many requests timed out")


def test_a_request_expires_in_time_after_a_connection_was_parked_for_long(perform: Perform) -> None:
    """The timer of the one must not be too late for the other."""
    play = perform(target_park=100.0, answer_timeouts=True)
    play.switch(False)
    play.time_passes(5)
    play.client_sends(frames.query(1, INSERT))
    play.expect_forwarded(to={ORIGIN})
    play.time_passes(10.1)
    play.expect_error(WRITE_TIMEOUT, 1)


def test_an_answer_to_nothing_is_dropped(play: Play) -> None:
    """Whatever a cluster sends, no request may get what is not its own."""
    play.client_sends(frames.query(3, READ))
    read = play.expect_forwarded(to={ORIGIN})
    play.cluster_sends(TARGET, frames.rows(3), frames.error(3), frames.rows(4))
    play.expect_silence()
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(3))
    play.answer(read, ORIGIN, frames.rows())
    play.expect_silence()
