"""A client executes on one worker what it prepared on another: it must not be told that nobody knows the statement."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import ORIGIN, OVERLOADED, PROTOCOL_ERROR, TARGET, UNPREPARED, stage
from zdm.core.commands import Close, FindStatements
from zdm.core.plans import Route
from zdm.core.prepared import PreparedCache, PreparedStatement

pytestmark = pytest.mark.usefixtures("spoken")

READ = "SELECT k FROM ks.t WHERE k = ?"
WRITE = "INSERT INTO ks.t (k) VALUES (?)"


class Others:
    """The other workers, as the cache knows them."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []

    def made(self, entry: PreparedStatement) -> None:
        self.told.append(("made", entry.origin_id))

    def forgotten(self, prepared_id: bytes) -> None:
        self.told.append(("forgotten", prepared_id))


@pytest.fixture
def play() -> Iterator[Play]:
    """A ready session of one worker among several."""
    with Play(stage(prepared=PreparedCache(others=Others()), attach_hold=0.0)) as play:
        yield play.become_ready()


def learned(play: Play, prepared_id: bytes, target_id: bytes | None = None, text: str = WRITE) -> None:
    """Another worker knows it, and has told."""
    entry = PreparedStatement(prepared_id, prepared_id if target_id is None else target_id, text, None, Route.WRITE)
    play.shared.prepared.adopt(entry)


def test_a_statement_of_another_worker_is_found_and_executed_once(play: Play) -> None:
    """The request waits meanwhile, and nothing else of its connection does."""
    play.client_sends(frames.execute(1, b"theirs"), frames.query(2, "SELECT k FROM ks.t"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
    play.expect_command(FindStatements((b"theirs",), 1))
    learned(play, b"theirs")
    play.statements_sought(1)
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(1))
    play.expect_idle()


def test_a_statement_with_another_id_on_target_is_exchanged_after_it_was_found(play: Play) -> None:
    """What another worker tells is all that is to be known of it."""
    play.client_sends(frames.execute(1, b"theirs"))
    play.expect_a(FindStatements)
    learned(play, b"theirs", b"target's")
    play.statements_sought(1)
    sent = {ORIGIN: frames.execute(1, b"theirs"), TARGET: frames.execute(1, b"target's")}
    play.answer_all(play.expect_forwarded(frame=sent), frames.void())
    play.expect_client(frames.void(1))


def test_what_no_worker_knows_is_unprepared_and_is_asked_for_once(play: Play) -> None:
    """The driver prepares it then."""
    play.client_sends(frames.execute(1, b"nobody's"))
    play.expect_a(FindStatements)
    play.statements_sought(1)
    play.expect_error(UNPREPARED, 1)
    assert play.shared.meter.pscache_misses == 1
    play.expect_idle()


def test_a_batch_asks_for_all_that_it_lacks(play: Play) -> None:
    """In one question, and for each but once."""
    learned(play, b"known")
    play.client_sends(frames.batch(1, [b"a", b"known", b"b", b"a"]))
    play.expect_command(FindStatements((b"a", b"b"), 1))
    learned(play, b"a")
    play.statements_sought(1)
    error = play.expect_error(UNPREPARED, 1)
    assert b"b" in error.fields


@pytest.mark.parametrize("is_on", [True, False])
def test_a_switch_of_target_does_not_send_what_is_still_sought(play: Play, is_on: bool) -> None:
    """What is held for a cluster is planned anew then; this has no plan yet."""
    if is_on:
        play.switch(False)
    play.client_sends(frames.execute(1, b"theirs"))
    play.expect_a(FindStatements)
    play.switch(is_on)
    play.expect_silence()
    learned(play, b"theirs")
    play.statements_sought(1)
    sides = {ORIGIN, TARGET} if is_on else {ORIGIN}
    play.answer_all(play.expect_forwarded(to=sides), frames.void())
    play.expect_client(frames.void(1))
    if not is_on:
        play.time_passes(10)
        play.expect_close(TARGET)
    play.expect_idle()


def test_a_question_that_nobody_answers_expires_with_its_request(play: Play) -> None:
    """It was executed nowhere; an answer that comes then is too late. It is no matter of `attach_hold_ms`."""
    play.client_sends(frames.execute(1, b"theirs"))
    play.expect_a(FindStatements)
    play.time_passes(9.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_error(OVERLOADED, 1)
    learned(play, b"theirs")
    play.statements_sought(1)
    play.expect_idle()


def test_a_stream_id_that_waits_for_a_statement_is_in_use(play: Play) -> None:
    """Two answers on one id help nobody."""
    play.client_sends(frames.execute(1, b"theirs"))
    play.expect_a(FindStatements)
    play.client_sends(frames.execute(1, b"theirs"))
    play.expect_error(PROTOCOL_ERROR, 1)
    play.expect_a(Close)
    play.statements_sought(1)


def test_a_drain_waits_for_what_is_sought(play: Play) -> None:
    """The request came before the drain."""
    play.client_sends(frames.execute(1, b"nobody's"))
    play.expect_a(FindStatements)
    play.drain()
    play.expect_silence()
    play.statements_sought(1)
    play.expect_error(UNPREPARED, 1)
    play.expect_a(Close)


def test_too_much_held_is_refused_instead_of_asked(play: Play) -> None:
    """Held requests are bounded, whatever they wait for."""
    with Play(stage(prepared=PreparedCache(others=Others()), held_bytes=10)) as small:
        small.become_ready().client_sends(frames.execute(1, b"theirs"))
        small.expect_error(OVERLOADED, 1)


def test_what_a_worker_learns_it_tells_once(play: Play) -> None:
    """A pool prepares everything again on each of its connections; that is news once."""
    others = play.shared.prepared.others
    assert isinstance(others, Others)
    for _ in range(2):
        play.prepare(READ, b"id")
    assert others.told == [("made", b"id")]
    play.prepare(READ, b"id", b"moved")
    assert others.told[1:] == [("made", b"id")]
    play.shared.prepared.remove(b"id")
    play.shared.prepared.remove(b"id")
    assert others.told[2:] == [("forgotten", b"id")]


def test_what_is_learned_from_another_worker_is_not_told_again() -> None:
    """Or it would go round for ever."""
    others = Others()
    cache = PreparedCache(others=others)
    entry = PreparedStatement(b"id", b"t", READ, None, Route.READ)
    cache.adopt(entry)
    assert cache.get(b"id") is entry
    cache.drop(b"id")
    assert cache.get(b"id") is None and others.told == []


@pytest.mark.parametrize(
    ("text", "target_id", "is_taken"), [(READ, b"", False), (READ, b"new", True), (WRITE, b"", True)]
)
def test_what_another_worker_does_not_know_is_not_forgotten_for_it(text: str, target_id: bytes, is_taken: bool) -> None:
    """It may have prepared while target was off, which this one did not."""
    cache = PreparedCache(others=Others())
    cache.put(PreparedStatement(b"id", b"target's", READ, None, Route.READ))
    theirs = PreparedStatement(b"id", target_id, text, None, Route.READ)
    cache.adopt(theirs)
    assert (cache.get(b"id") is theirs) is is_taken
