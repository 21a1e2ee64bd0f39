"""Mending under way when something else ends: the connection, the entry, the other side's part."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import ORIGIN, TARGET, UNPREPARED, WRITE_FAILURE, WRITE_TIMEOUT
from zdm.core.clusters import Side
from zdm.core.prepared import PreparedCache

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (?)"


def execute(play: Play, stream: int) -> Forwarded:
    play.client_sends(frames.execute(stream, b"id"))
    return play.expect_forwarded()


def forgot(play: Play, request: Forwarded, side: Side) -> Forwarded:
    play.answer(request, side, frames.unprepared(0, b"id"))
    return play.expect_forwarded(to={side}, frame=frames.prepare(0, INSERT))


def test_both_clusters_may_have_forgotten(play: Play) -> None:
    """Each is mended by itself, in whatever order they answer."""
    play.prepare(INSERT, b"id")
    request = execute(play, 5)
    prepares = {side: forgot(play, request, side) for side in (TARGET, ORIGIN)}
    for side in (ORIGIN, TARGET):
        play.answer(prepares[side], side, frames.prepared(0, b"id"))
        play.answer(play.expect_forwarded(to={side}), side, frames.void())
    play.expect_client(frames.void(5))
    play.expect_idle()


def test_losing_target_does_not_stop_the_mending_of_origin(play: Play) -> None:
    """Otherwise the request would never be answered, and its id be quarantined for ever."""
    play.prepare(INSERT, b"id")
    request = execute(play, 5)
    prepare = forgot(play, request, ORIGIN)
    play.lose(TARGET)
    play.expect_silence()
    play.answer(prepare, ORIGIN, frames.prepared(0, b"id"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.void())
    play.expect_error(WRITE_TIMEOUT, 5, "TARGET was lost")
    play.expect_idle()


def test_losing_target_ends_the_mending_of_target(play: Play) -> None:
    """Nobody is left to be prepared on; the next connection begins anew."""
    play.prepare(INSERT, b"id")
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    forgot(play, request, TARGET)
    play.lose(TARGET)
    play.expect_error(WRITE_TIMEOUT, 5, "TARGET was lost")
    play.expect_idle()


def test_a_mended_request_expires_without_owing_an_answer_twice(play: Play) -> None:
    """Both clusters were being mended when its time was over: neither owes it anything."""
    play.prepare(INSERT, b"id")
    request = execute(play, 5)
    prepares = {side: forgot(play, request, side) for side in (ORIGIN, TARGET)}
    play.time_passes(10.1)
    play.expect_silence()
    for side, prepare in prepares.items():
        play.answer(prepare, side, frames.prepared(0, b"id"))
    play.expect_silence()
    play.expect_idle()


def test_a_statement_pushed_out_of_the_cache_while_mended(perform: Perform) -> None:
    """Target's id is not known any more, so the request can't be sent again."""
    play = perform()
    play.prepare(INSERT, b"id", b"of target")
    play.client_sends(frames.execute(5, b"id"))
    frames_sent = {ORIGIN: frames.execute(5, b"id"), TARGET: frames.execute(5, b"of target")}
    request = play.expect_forwarded(frame=frames_sent)
    play.answer(request, ORIGIN, frames.void())
    prepare = forgot(play, request, TARGET)
    cache = play.shared.prepared
    cache.entries.clear()
    play.answer(prepare, TARGET, frames.prepared(0, b"of target"))
    play.expect_error(WRITE_FAILURE, 5)
    assert isinstance(cache, PreparedCache) and not cache.entries


@pytest.mark.bare
@pytest.mark.parametrize("frame", [frames.query(5, "SELECT k FROM ks.t"), frames.options(5)])
def test_an_unprepared_to_what_holds_no_prepared_statement_is_an_error_as_any_other(play: Play, frame: bytes) -> None:
    """Nothing could be mended; nor must its id be looked for in the request."""
    play.client_sends(frame)
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.unprepared(0, b"id"))
    play.expect_client(frames.unprepared(5, b"id"))
    play.expect_idle()


def test_a_mending_while_every_id_is_in_use_fails(perform: Perform) -> None:
    """There is no id for the PREPARE."""
    play = perform(max_streams=2, max_streams_set=True)
    play.prepare(INSERT, b"id", stream=0)
    request, second = execute(play, 0), execute(play, 1)
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    play.expect_error(WRITE_FAILURE, 0, "could not be prepared there again")
    play.answer_all(second, frames.void())
    play.expect_client(frames.void(1))
    play.expect_idle()


def test_an_unprepared_of_a_statement_that_the_proxy_has_forgotten_too(play: Play) -> None:
    """It can't be prepared again; but origin has applied the write, so the driver must not repeat it."""
    play.prepare(INSERT, b"id")
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    play.shared.prepared.entries.clear()
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    play.expect_error(WRITE_FAILURE, 5)
    play.client_sends(frames.execute(6, b"id"))
    play.expect_error(UNPREPARED, 6)
