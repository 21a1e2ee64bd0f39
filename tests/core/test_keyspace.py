"""USE: one keyspace for both connections of a session, whatever happens (section 5.6 and more)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, ORIGIN, SERVER_ERROR, TARGET, WRITE_TIMEOUT
from zdm.core.clusters import Side, other
from zdm.core.commands import Connect

pytestmark = pytest.mark.usefixtures("spoken")

READ = "SELECT k FROM ks.t"
INVALID_KEYSPACE = frames.error(0, 0x2200, "no such keyspace")
SIDES = pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))


def use(play: Play, keyspace: str, stream: int = 1) -> Forwarded:
    play.client_sends(frames.query(stream, f"USE {keyspace}"))
    return play.expect_forwarded()


def one_sided(play: Play, side: Side, order: Sequence[Side] = (ORIGIN, TARGET)) -> None:
    """USE that succeeds on `side` only."""
    request = use(play, "other")
    for answering in order:
        answer = frames.set_keyspace(0, "other") if answering is side else INVALID_KEYSPACE
        play.answer(request, answering, answer)
    play.expect_client(INVALID_KEYSPACE, stream=1)


def test_the_keyspace_is_what_the_answer_names(play: Play) -> None:
    """Not what the text says: names are written in many ways."""
    request = use(play, '"Some Name"')
    play.answer_all(request, frames.set_keyspace(0, "Some Name", warnings=["w"]))
    play.expect_client(frames.set_keyspace(1, "Some Name", warnings=["w"]))
    assert play.session.state.keyspace == "Some Name"


def test_a_use_that_fails_on_both_changes_nothing(play: Play) -> None:
    """They are still alike."""
    play.use("ks")
    request = use(play, "other")
    play.answer_all(request, INVALID_KEYSPACE)
    play.expect_client(INVALID_KEYSPACE, stream=1)
    assert play.session.state.keyspace == "ks"
    play.expect_idle()


@SIDES
def test_a_use_that_succeeds_on_one_side_is_set_back_there(play: Play, side: Side, order: Sequence[Side]) -> None:
    """Requests that need that side wait meanwhile: they would go to the wrong keyspace."""
    play.use("ks")
    one_sided(play, side, order)
    back = play.expect_forwarded(to={side}, frame=frames.query(0, 'USE "ks"'))
    play.client_sends(frames.query(2, "INSERT INTO t (k) VALUES (1)"))
    play.expect_silence()
    play.answer(back, side, frames.set_keyspace())
    write = play.expect_forwarded()
    play.answer_all(write, frames.void())
    play.expect_client(frames.void(2))
    assert play.session.state.keyspace == "ks"
    play.expect_idle()


def test_where_there_was_no_keyspace_target_is_attached_anew(play: Play) -> None:
    """CQL has no way to say: none."""
    one_sided(play, TARGET)
    play.expect_close(TARGET, "USE succeeded there only")
    play.client_sends(frames.query(2, "INSERT INTO ks.t (k) VALUES (1)"))
    play.expect_command(Connect(TARGET))
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(2))


def test_where_there_was_no_keyspace_origins_change_ends_the_session(play: Play) -> None:
    """The error is told first."""
    one_sided(play, ORIGIN)
    play.expect_close(ORIGIN, "USE succeeded there only")
    play.expect_close(CLIENT)


@SIDES
@pytest.mark.parametrize("how", ["refused", "silent"])
def test_a_side_that_cannot_be_set_back_is_dropped(play: Play, side: Side, how: str) -> None:
    """Its connection is of no more use; and nothing may wait for it for ever."""
    play.use("ks")
    one_sided(play, side)
    back = play.expect_forwarded(to={side}, frame=frames.query(0, 'USE "ks"'))
    if how == "refused":
        play.answer(back, side, INVALID_KEYSPACE)
    else:
        play.time_passes(10.1)
    play.expect_close(side, "could not be set")
    if side is ORIGIN:
        play.expect_close(CLIENT)
        return
    play.client_sends(frames.query(2, "INSERT INTO ks.t (k) VALUES (1)"))
    play.expect_command(Connect(TARGET))
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    use_again = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
    play.answer(use_again, TARGET, frames.set_keyspace())
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(2))


@SIDES
def test_a_use_that_overtakes_the_setting_back_must_not_leave_two_keyspaces(play: Play, side: Side) -> None:
    """Pipelined USEs: what the side has in the end depends on who comes first, so it is dropped."""
    play.use("ks")
    first = use(play, "one", 1)
    second = use(play, "two", 2)
    play.answer(first, side, frames.set_keyspace(0, "one"))
    play.answer(first, other(side), INVALID_KEYSPACE)
    play.expect_client(INVALID_KEYSPACE, stream=1)
    play.expect_close(side, "USE succeeded there only")
    if side is ORIGIN:
        play.expect_close(CLIENT)
        return
    play.answer(second, ORIGIN, frames.set_keyspace(0, "two"))
    play.expect_error(SERVER_ERROR, 2, "TARGET was lost")
    play.expect_forwarded(to={ORIGIN}, frame=frames.query(0, 'USE "ks"'))


@SIDES
def test_a_use_without_an_answer_in_time_leaves_no_doubt(perform: Perform, side: Side) -> None:
    """The silent side is dropped, the other is set back."""
    play = perform(answer_timeouts=True)
    play.use("ks")
    request = use(play, "other")
    play.client_sends(frames.query(2, "INSERT INTO t (k) VALUES (1)"))
    write = play.expect_forwarded()
    play.answer(request, other(side), frames.set_keyspace(0, "other"))
    play.answer(write, other(side), frames.void())
    play.time_passes(10.1)
    play.expect_error(SERVER_ERROR, 1, f"no answer from {side.name}")
    if side is ORIGIN:
        play.expect_close(ORIGIN, "USE was not answered in time")
        play.expect_close(CLIENT)
        play.expect_error(WRITE_TIMEOUT, 2)
        return
    play.expect_forwarded(to={ORIGIN}, frame=frames.query(0, 'USE "ks"'))
    play.expect_close(TARGET, "USE was not answered in time")
    play.expect_error(WRITE_TIMEOUT, 2)


def test_an_answer_to_use_that_cannot_be_read_ends_the_session(play: Play) -> None:
    """Nobody knows the keyspace then; the client is answered all the same."""
    request = use(play, "other")
    play.answer(request, TARGET, frames.set_keyspace())
    play.answer(request, ORIGIN, frames.answer(0x08, 0, frames.integer(3) + b"\0\x09ks"))
    play.expect_error(SERVER_ERROR, 1, "cannot be read")
    play.expect_close(ORIGIN)
    play.expect_close(CLIENT)


def test_a_use_that_target_answered_before_it_was_lost_is_undone(play: Play) -> None:
    """Target comes back with the keyspace that the session had, so origin must have that as well."""
    play.use("ks")
    request = use(play, "other")
    play.answer(request, TARGET, frames.set_keyspace(0, "other"))
    play.lose(TARGET)
    play.answer(request, ORIGIN, frames.set_keyspace(0, "other"))
    play.expect_error(SERVER_ERROR, 1, "TARGET was lost")
    back = play.expect_forwarded(to={ORIGIN}, frame=frames.query(0, 'USE "ks"'))
    play.answer(back, ORIGIN, frames.set_keyspace())
    assert play.session.state.keyspace == "ks"


def test_a_use_that_origin_refuses_after_target_was_lost_needs_no_setting_back(play: Play) -> None:
    """There is no connection to send it on."""
    play.use("ks")
    request = use(play, "other")
    play.answer(request, TARGET, frames.set_keyspace(0, "other"))
    play.lose(TARGET)
    play.answer(request, ORIGIN, INVALID_KEYSPACE)
    play.expect_client(INVALID_KEYSPACE, stream=1)
    play.expect_idle()
