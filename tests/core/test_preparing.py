"""What is kept of a prepared statement, and what the client is shown of it (sections 6.1, 6.2; FIX-21)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import ORIGIN, SERVER_ERROR, TARGET, UNPREPARED, stage
from zdm.core.clusters import Side
from zdm.core.plans import Route
from zdm.core.prepared import PreparedCache, PreparedStatement

pytestmark = pytest.mark.usefixtures("spoken")

READ = "SELECT k FROM ks.t WHERE k = ?"
SYSTEM_READ = "SELECT role FROM system_auth.roles WHERE role = ?"
LWT = "INSERT INTO ks.t (k) VALUES (?) IF NOT EXISTS"
BIND = {"k": frames.INT}
OLD = {"k": frames.INT, "v": frames.VARCHAR}
NEW = {"k": frames.INT, "v": frames.VARCHAR, "added": frames.BLOB}


@pytest.mark.parametrize("text", [READ, LWT, SYSTEM_READ])
@pytest.mark.parametrize("system", [ORIGIN, TARGET], ids=lambda side: f"system-{side.name.lower()}")
def test_the_result_columns_are_those_of_the_cluster_the_rows_come_from(
    perform: Perform, primary: Side, system: Side, text: str
) -> None:
    """A driver that skips metadata decodes rows by them; the rest is origin's."""
    play = perform(primary=primary, system_queries=system)
    play.client_sends(frames.prepare(1, text))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.prepared(0, b"of origin", BIND, OLD, [0], tracing_id=b"t" * 16))
    play.answer(request, TARGET, frames.prepared(0, b"of target", {"other": frames.BLOB}, NEW))
    result = NEW if (system if text == SYSTEM_READ else primary) is TARGET else OLD
    play.expect_client(frames.prepared(1, b"of origin", BIND, result, [0], tracing_id=b"t" * 16))


def test_a_prepared_answer_that_cannot_be_read_is_an_error(play: Play) -> None:
    """Something must be answered, and nothing must be remembered."""
    play.client_sends(frames.prepare(1, READ))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.prepared())
    play.answer(request, TARGET, frames.void())
    play.expect_error(SERVER_ERROR, 1, "cannot be read")
    assert not play.shared.prepared.entries


def test_a_prepare_with_a_payload_is_understood(play: Play) -> None:
    """The text comes behind it."""
    play.client_sends(frames.prepare(1, READ, payload={"request-id": b"\0" * 16}, tracing=True))
    play.answer_all(play.expect_forwarded(), frames.prepared(0, b"id"))
    play.expect_client(frames.prepared(1, b"id"))
    assert play.shared.prepared.entries[b"id"].text == READ


def test_a_statement_is_known_to_all_sessions_of_the_worker() -> None:
    """Drivers prepare on one connection and execute on all."""
    shared = stage()
    with Play(shared) as first, Play(shared) as second:
        first.become_ready().prepare(READ, b"id")
        second.become_ready().client_sends(frames.execute(1, b"id"))
        second.answer(second.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        second.expect_client(frames.rows(1))


def test_a_statement_pushed_out_of_the_cache_is_unprepared() -> None:
    """FIX-21: the cache is bounded; drivers prepare again."""
    with Play(stage(prepared=PreparedCache(2))) as play:
        play.become_ready()
        for number in (1, 2, 3):
            play.prepare(READ, b"id%d" % number)
        play.client_sends(frames.execute(1, b"id1"), frames.execute(2, b"id3"))
        play.expect_error(UNPREPARED, 1)
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(2))


@pytest.mark.parametrize("target_id", [b"id1", b"another"])
def test_a_statement_in_use_stays_in_the_cache(target_id: bytes) -> None:
    """A second chance: what was executed since it was last looked at is kept."""
    with Play(stage(prepared=PreparedCache(2))) as play:
        play.become_ready()
        play.prepare(READ, b"id1", target_id)
        play.prepare(READ, b"id2")
        play.client_sends(frames.execute(1, b"id1"))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(1))
        play.prepare(READ, b"id3")
        assert set(play.shared.prepared.entries) == {b"id1", b"id3"}


def test_the_cache_never_holds_more_than_its_limit() -> None:
    """Even where every entry was used."""
    cache = PreparedCache(3)
    for number in range(10):
        cache.put(PreparedStatement(b"%d" % number, b"t", READ, None, Route.READ))
        for entry in cache.entries.values():
            entry.used = True
        assert len(cache) == min(number + 1, 3)
        assert cache.get(b"%d" % number) is not None
    cache.remove(b"9")
    cache.remove(b"9")
    assert cache.get(b"9") is None


def test_a_statement_prepared_again_pushes_nothing_out() -> None:
    """Drivers prepare everything again on each new connection."""
    cache = PreparedCache(2)
    for prepared_id in (b"1", b"2", b"2"):
        cache.put(PreparedStatement(prepared_id, b"t", READ, None, Route.READ))
    assert set(cache.entries) == {b"1", b"2"}


def test_a_statement_prepared_again_takes_the_place_of_the_old_one(play: Play) -> None:
    """Target may have been upgraded and know it by another id now."""
    play.prepare(READ, b"id", b"old")
    play.prepare(READ, b"id", b"new")
    assert play.shared.prepared.entries[b"id"].target_id == b"new"


def test_an_execute_whose_id_runs_into_the_next_frame_is_no_execute_of_it(play: Play) -> None:
    """The bytes behind a frame are not its own; exchanging them would spoil target's framing."""
    prepared_id = b"known-id" + frames.query(2, "SELECT k FROM ks.t")[:9]
    play.prepare(READ.replace("SELECT k", "INSERT"), prepared_id, prepared_id[::-1])
    short = frames.request(0x0A, 1, frames.short(len(prepared_id)) + b"known-id")
    play.client_sends(short, frames.query(2, "SELECT k FROM ks.t"))
    play.expect_error(0x000A, 1, "cut off")
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
