"""A session goes on in another process, on the connections it has: nothing is lost, and nobody notices."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.core.test_toggle import INSERT, READ, dual_write, origin_write, write
from tests.playbook import Play
from tests.stage import CLIENT, INVALID, ORIGIN, TARGET, TARGET_USER, stage
from zdm.core.connector import SideState
from zdm.core.snapshot import TargetMode

pytestmark = pytest.mark.usefixtures("spoken")


def moved(play: Play) -> Play:
    assert play.move() is not None
    return play


def test_requests_go_on_where_they_stopped(play: Play) -> None:
    """On both clusters, without a new handshake."""
    dual_write(play, 1)
    dual_write(moved(play), 1)


def test_an_idle_session_asks_for_nothing(play: Play) -> None:
    moved(play).expect_idle()


def test_what_it_was_told_travels() -> None:
    """Keyspace and credentials, for target's connection may have to be opened anew."""
    with Play() as play:
        play.log_in()
        play.use("one")
        moved(play)
        play.client_sends(frames.query(1, "INSERT INTO t (k) VALUES (1)"))
        play.answer_all(play.expect_forwarded(), frames.void())
        play.expect_client(frames.void(1))
        play.lose(TARGET)
        play.attach(TARGET)
        play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.authenticate())
        play.answer(
            play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, TARGET_USER.token())),
            TARGET,
            frames.auth_success(),
        )
        play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "one"'))


@pytest.mark.bare
@pytest.mark.parametrize("cut", [1, 8, 9, 20])
def test_the_start_of_a_request_goes_along(play: Play, cut: int) -> None:
    """The client has sent it to the process before, and sends the rest to this one."""
    request = frames.query(1, INSERT)
    play.client_sends_bytes(request[:cut])
    moved(play).client_sends_bytes(request[cut:])
    play.answer_all(play.expect_forwarded(frame=request), frames.void())
    play.expect_client(frames.void(1))


@pytest.mark.bare
def test_the_start_of_an_answer_that_nobody_waits_for_goes_along(perform: Perform) -> None:
    """Its id is taken until the rest has come, and the rest must be known for what it is."""
    play = perform(answer_timeouts=False)
    late = write(play, 1)
    play.answer(late, ORIGIN, frames.void())
    play.time_passes(10.1)
    answer = frames.error(1, INVALID, "too late")
    play.cluster_sends_bytes(TARGET, answer[:15])
    moved(play)
    again = write(play, 1)
    assert again.stream(TARGET) != 1
    play.cluster_sends_bytes(TARGET, answer[15:])
    play.answer_all(again, frames.void())
    play.expect_client(frames.void(1))


def test_it_stays_while_a_request_is_under_way(play: Play) -> None:
    """Its answer would find nobody."""
    sent = write(play, 1)
    assert play.move() is None
    play.answer(sent, ORIGIN, frames.void())
    assert play.move() is None
    play.answer(sent, TARGET, frames.void())
    play.expect_client(frames.void(1))
    assert play.move() is not None


def test_it_stays_while_a_heartbeat_is_under_way(play: Play) -> None:
    """So it does for all that the proxy itself has asked."""
    play.time_passes(31)
    play.client_sends(frames.query(1, READ))
    sent = play.expect_forwarded(to={ORIGIN})
    beat = play.expect_forwarded(to={TARGET}, frame=frames.options())
    play.answer(sent, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    assert play.move() is None
    play.answer(beat, TARGET, frames.supported())
    assert play.move() is not None


def test_it_stays_while_it_is_let_in_or_ends(fresh: Play) -> None:
    """Neither lasts, and a client that is not let in has nothing to lose."""
    assert fresh.move() is None
    fresh.client_sends(frames.startup(1))
    assert fresh.move() is None
    fresh.answer_all(fresh.expect_forwarded(), frames.ready())
    fresh.expect_client(frames.ready(1))
    sent = write(fresh, 1)
    fresh.drain()
    assert fresh.move() is None
    fresh.answer_all(sent, frames.void())
    fresh.expect_client(frames.void(1))
    fresh.expect_close(CLIENT)


def test_a_target_that_is_away_is_attached_where_the_session_goes(play: Play) -> None:
    """A connection that is being opened stays behind."""
    play.lose(TARGET)
    moved(play)
    assert play.asked_eagerly
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    dual_write(play, 1)


def test_a_target_that_is_off_is_not_asked_for(play: Play) -> None:
    """And a connection to it is left first: the session moves when it is closed."""
    play.switch(False)
    assert play.move() is None
    play.time_passes(5.1)
    play.expect_close(TARGET)
    moved(play)
    origin_write(play, 1)
    play.switch(True)
    assert play.asked_eagerly


def test_a_target_that_is_off_where_the_session_goes_is_left(play: Play) -> None:
    """The switch came between the two."""
    elsewhere = stage(mode=TargetMode.ORIGIN_ONLY, asks=(False, False))
    assert play.move(elsewhere) is not None
    assert play.session.state.target.state is SideState.PARKED
    origin_write(play, 1)
    play.time_passes(5.1)
    play.expect_close(TARGET)
