"""Cluster connections that are lost, and target's that comes back (section 7.6; what the reference cannot do)."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import (
    AUTHENTICATION_ERROR,
    CLIENT,
    ORIGIN,
    OVERLOADED,
    PROTOCOL_ERROR,
    READ_TIMEOUT,
    SERVER_ERROR,
    TARGET,
    TARGET_USER,
    WRITE_TIMEOUT,
)
from zdm.core.clusters import Side
from zdm.core.commands import Connect
from zdm.core.state import Phase

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"


def in_flight(play: Play, stream: int, text: str = INSERT, to: Collection[Side] = (ORIGIN, TARGET)) -> Forwarded:
    play.client_sends(frames.query(stream, text))
    return play.expect_forwarded(to=to)


def handshake(play: Play, answer: bytes = b"") -> None:
    """Target is connected and answers STARTUP."""
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, answer or frames.ready())


def held(play: Play, stream: int, text: str = INSERT) -> None:
    play.client_sends(frames.query(stream, text))
    play.expect_command(Connect(TARGET))


def test_what_was_under_way_to_the_lost_target_is_answered(perform: Perform) -> None:
    """Nobody knows whether target has applied it: never a code that makes drivers send it again."""
    play = perform(system_queries=TARGET)
    first = in_flight(play, 1)
    second = in_flight(play, 2)
    in_flight(play, 3, "SELECT * FROM system_auth.roles", {TARGET})
    read = in_flight(play, 4, READ, {ORIGIN})
    play.client_sends(frames.prepare(5, INSERT))
    prepare = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(first, ORIGIN, frames.void())
    play.answer(prepare, ORIGIN, frames.prepared())
    play.lose(TARGET)
    play.expect_error(WRITE_TIMEOUT, 1, "TARGET was lost")
    play.expect_error(READ_TIMEOUT, 3)
    play.expect_error(OVERLOADED, 5)
    play.answer(second, ORIGIN, frames.void())
    play.expect_error(WRITE_TIMEOUT, 2)
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(4))
    play.expect_idle()


def test_origins_error_is_told_rather_than_that_target_was_lost(play: Play) -> None:
    """The usual rule: origin's error wins."""
    write = in_flight(play, 1)
    play.lose(TARGET)
    play.answer(write, ORIGIN, frames.error(0, 0x2200, "no"))
    play.expect_client(frames.error(1, 0x2200, "no"))


def test_reads_go_on_while_target_is_away(play: Play) -> None:
    """And nothing asks for a connection that nobody needs."""
    play.lose(TARGET)
    read = in_flight(play, 1, READ, {ORIGIN})
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.client_sends(frames.options(2), frames.register(3))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.error())
    play.expect_client(frames.error(2))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.ready())
    play.expect_client(frames.ready(3))
    play.time_passes(60)


def test_a_write_waits_for_target_and_is_sent_to_both_when_it_is_back() -> None:
    """Attaching replays STARTUP, the credentials and the keyspace, then what was held, in order."""
    with Play() as play:
        play.log_in()
        play.use("ks")
        play.lose(TARGET)
        held(play, 1)
        play.client_sends(frames.query(2, "UPDATE ks.t SET v = 1 WHERE k = 1"))
        play.expect_silence()
        play.time_passes(0.5)
        handshake(play, frames.authenticate())
        sent = play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, TARGET_USER.token()))
        play.answer(sent, TARGET, frames.auth_success())
        sent = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
        play.expect_silence()
        play.answer(sent, TARGET, frames.set_keyspace())
        wanted = [frames.query(1, INSERT), frames.query(2, "UPDATE ks.t SET v = 1 WHERE k = 1")]
        writes = [play.expect_forwarded(to={ORIGIN, TARGET}, frame=frame) for frame in wanted]
        for stream, write in enumerate(writes, start=1):
            play.answer_all(write, frames.void())
            play.expect_client(frames.void(stream))
        play.expect_idle()
        assert play.shared.meter.writes.inflight == 0


def test_a_keyspace_that_target_lacks_is_the_requests_error_not_the_sessions_end() -> None:
    """The migration may not have come to it yet."""
    with Play() as play:
        play.become_ready()
        play.use('"Mixed ""case"')
        play.session.state.keyspace = 'Mixed "case'
        play.lose(TARGET)
        held(play, 1)
        handshake(play)
        use = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "Mixed ""case"'))
        play.answer(use, TARGET, frames.error(0, 0x2200, "no such keyspace"))
        write = play.expect_forwarded(to={ORIGIN, TARGET})
        play.answer_all(write, frames.void())
        play.expect_client(frames.void(1))


def test_a_keyspace_that_could_not_be_replayed_for_the_moment_is_not_taken_for_missing(play: Play) -> None:
    """To go on without it would make every write without a keyspace's name fail on target for good."""
    play.use("ks")
    play.lose(TARGET)
    held(play, 1)
    handshake(play)
    use = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
    play.answer(use, TARGET, frames.error(0, OVERLOADED, "not now"))
    play.expect_close(TARGET)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_command(Connect(TARGET))
    handshake(play)
    use = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
    play.answer(use, TARGET, frames.set_keyspace())
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(1))


def test_what_is_held_is_sent_nowhere_and_may_be_retried_when_its_time_is_over(play: Play) -> None:
    """OVERLOADED is the truth: no cluster has seen it."""
    play.lose(TARGET)
    held(play, 1)
    play.time_passes(1)
    play.client_sends(frames.query(2, INSERT))
    play.time_passes(0.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_error(OVERLOADED, 1, "not ready in time")
    play.time_passes(1)
    play.expect_error(OVERLOADED, 2, "not ready in time")
    play.expect_idle()
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    play.answer_all(in_flight(play, 1), frames.void())
    play.expect_client(frames.void(1))


def test_no_more_is_held_than_the_limit_of_bytes(perform: Perform) -> None:
    """A target that stays away must not fill the proxy's memory."""
    size = len(frames.query(1, INSERT))
    play = perform(held_bytes=2 * size)
    play.lose(TARGET)
    held(play, 1)
    play.client_sends(frames.query(2, INSERT), frames.query(3, INSERT))
    play.expect_error(OVERLOADED, 3, "too much is waiting for the connection to TARGET")
    handshake(play)
    for stream in (1, 2):
        play.answer_all(play.expect_forwarded(to={ORIGIN, TARGET}), frames.void())
        play.expect_client(frames.void(stream))
    play.expect_idle()


def test_a_connection_that_cannot_be_opened_is_tried_again_with_growing_pauses(perform: Perform) -> None:
    """A target that is down is not to be stormed by every session."""
    play = perform(attach_hold=8.0)
    play.lose(TARGET)
    held(play, 1)
    waited = 0.0
    for pause in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        play.lose(TARGET, "refused")
        play.time_passes(pause * 0.9)
        play.expect_silence()
        play.time_passes(pause * 0.2)
        play.expect_command(Connect(TARGET))
        waited += pause * 1.1
    assert waited < 8  # a client may be waiting, so a pause is never longer than a second
    handshake(play)
    play.answer_all(play.expect_forwarded(to={ORIGIN, TARGET}), frames.void())
    play.expect_client(frames.void(1))
    play.lose(TARGET)
    held(play, 2)
    play.lose(TARGET, "refused")
    play.time_passes(0.11)  # that it was attached has ended the growing
    play.expect_command(Connect(TARGET))


def test_a_target_that_does_not_answer_while_attaching_is_given_up_and_tried_again(perform: Perform) -> None:
    """Its connection may be to a host that hangs."""
    play = perform(attach_hold=11.0, request_timeout=12.0)
    play.lose(TARGET)
    held(play, 1)
    play.attach(TARGET)
    play.expect_forwarded(to={TARGET}, frame=frames.startup())
    play.time_passes(10.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_error(OVERLOADED, 1)
    play.client_sends(frames.query(2, INSERT))
    play.time_passes(1)
    play.expect_close(TARGET, "no answer while attaching")
    play.time_passes(0.2)
    play.expect_command(Connect(TARGET))
    handshake(play)
    play.answer_all(play.expect_forwarded(to={ORIGIN, TARGET}), frames.void())
    play.expect_client(frames.void(2))


@pytest.mark.parametrize("code", [0x0000, 0x1000, 0x1001, 0x1002, 0x1200])
def test_a_target_that_is_not_up_to_it_yet_is_tried_again(play: Play, code: int) -> None:
    """A node that has just been started refuses for a while; that must not cost the client its session."""
    play.lose(TARGET)
    held(play, 1)
    handshake(play, frames.error(0, code, "starting"))
    play.expect_close(TARGET, "it is not ready")
    play.time_passes(0.2)
    play.expect_command(Connect(TARGET))
    handshake(play)
    play.answer_all(play.expect_forwarded(to={ORIGIN, TARGET}), frames.void())
    play.expect_client(frames.void(1))


@pytest.mark.parametrize("code", [AUTHENTICATION_ERROR, PROTOCOL_ERROR])
def test_a_target_that_refuses_the_session_ends_it(play: Play, code: int) -> None:
    """The client would otherwise go on under rights that it does not have any more."""
    play.lose(TARGET)
    held(play, 1)
    handshake(play, frames.error(0, code, "not you"))
    play.expect_note("warn", "lets client 127.0.0.9:50000 in no more: not you")
    play.expect_error(OVERLOADED, 1)
    play.expect_close(CLIENT, "not you")


def test_a_target_that_asks_for_credentials_that_nobody_has_ends_the_session(play: Play) -> None:
    """The client came in without any; it must come again and be asked."""
    play.lose(TARGET)
    held(play, 1)
    handshake(play, frames.authenticate())
    play.expect_note("warn", "in no more")
    play.expect_error(OVERLOADED, 1)
    play.expect_close(CLIENT)


def test_losing_origin_ends_the_session(play: Play) -> None:
    """The driver reconnects; what was under way gets no answer, as from any host that dies."""
    in_flight(play, 1)
    play.lose(ORIGIN)
    play.expect_close(CLIENT, "ORIGIN connection ended")


def test_losing_target_ends_the_session_where_the_operator_wants_it_so(perform: Perform) -> None:
    """on_target_connection_lost: CLOSE is the reference's way."""
    play = perform(reattach_target=False)
    in_flight(play, 1)
    play.lose(TARGET)
    play.expect_close(CLIENT, "TARGET connection ended")


def test_a_use_under_way_when_target_is_lost_leaves_one_keyspace(play: Play) -> None:
    """Origin is set back to what target gets replayed."""
    play.use("ks")
    use = in_flight(play, 1, "USE other")
    play.lose(TARGET)
    play.answer(use, ORIGIN, frames.set_keyspace(0, "other"))
    play.expect_error(SERVER_ERROR, 1, "TARGET was lost")
    back = play.expect_forwarded(to={ORIGIN}, frame=frames.query(0, 'USE "ks"'))
    play.answer(back, ORIGIN, frames.set_keyspace())
    play.answer(in_flight(play, 2, READ, {ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
    assert play.session.state.keyspace == "ks"


@pytest.mark.bare
def test_garbage_from_target_is_a_lost_target(play: Play) -> None:
    """Its answers can't be told apart any more; the client need not notice."""
    write = in_flight(play, 1)
    play.answer(write, ORIGIN, frames.void())
    play.cluster_sends(TARGET, frames.void(1, version=5))
    play.expect_close(TARGET, "protocol version 5 instead of 4")
    play.expect_error(WRITE_TIMEOUT, 1)
    assert play.session.phase is Phase.READY


def test_requests_released_expire_in_their_own_time(perform: Perform) -> None:
    """They came before others that were sent before them."""
    play = perform(answer_timeouts=True)
    play.lose(TARGET)
    held(play, 1)
    play.time_passes(1)
    in_flight(play, 2, READ, {ORIGIN})
    handshake(play)
    play.expect_forwarded(to={ORIGIN, TARGET})
    play.time_passes(9.1)
    play.expect_error(WRITE_TIMEOUT, 1)
    play.time_passes(1)
    play.expect_error(READ_TIMEOUT, 2)
