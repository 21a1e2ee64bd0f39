"""A thousand sessions that get their target back come one after another."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from zdm.net.turns import AT_ONCE, EAGER_AT_ONCE, AttachTurns


class Queue:
    """Sessions with their turns."""

    def __init__(self, workers: int = 1) -> None:
        self.turns = AttachTurns(workers)
        self.has_turn: list[int] = []

    def take(self, *sessions: int, is_eager: bool = True) -> None:
        for session in sessions:
            self.turns.take(session, is_eager).addCallback(self._has_turn, session)

    def _has_turn(self, _: None, session: int) -> None:
        self.has_turn.append(session)


def test_only_so_many_have_a_turn_at_a_time() -> None:
    """A login costs the cluster tens of milliseconds."""
    queue = Queue()
    queue.take(*range(1000))
    assert queue.has_turn == list(range(EAGER_AT_ONCE))
    queue.turns.give_back(3)
    queue.turns.give_back(3)
    assert queue.has_turn[EAGER_AT_ONCE:] == [EAGER_AT_ONCE]


@pytest.mark.parametrize(("workers", "eager", "urgent"), [(2, 4, 32), (3, 2, 21), (100, 1, 1)])
def test_workers_share_the_turns(workers: int, eager: int, urgent: int) -> None:
    """The cluster bears so many logins at a time, however many processes ask; each gets one at least."""
    for is_eager, share in ((True, eager), (False, urgent)):
        queue = Queue(workers)
        queue.take(*range(100), is_eager=is_eager)
        assert len(queue.has_turn) == share
        queue.turns.give_back(0)
        assert len(queue.has_turn) == share + 1


def test_everybody_gets_a_turn_in_the_end() -> None:
    """In the order in which they asked."""
    queue = Queue()
    queue.take(*range(100))
    for session in range(100):
        queue.turns.give_back(session)
    assert queue.has_turn == list(range(100))


def test_whoever_has_something_waiting_goes_first() -> None:
    """A client waits for the answer."""
    queue = Queue()
    queue.take(*range(EAGER_AT_ONCE + 2))
    queue.take(100, is_eager=False)
    assert queue.has_turn[-1] == 100
    queue.turns.hurry(EAGER_AT_ONCE + 1)
    assert queue.has_turn[-1] == EAGER_AT_ONCE + 1
    queue.turns.hurry(EAGER_AT_ONCE + 1)
    queue.turns.hurry(0)
    assert len(queue.has_turn) == EAGER_AT_ONCE + 2


def test_haste_has_its_limit_too() -> None:
    """A thousand busy sessions would be a storm as well."""
    queue = Queue()
    queue.take(*range(1000), is_eager=False)
    assert len(queue.has_turn) == AT_ONCE
    queue.take(2000)
    queue.turns.give_back(0)
    assert queue.has_turn[-1] == AT_ONCE


def test_whoever_gives_up_is_passed_over() -> None:
    """Its client left, or target was switched off again."""
    queue = Queue()
    queue.take(*range(EAGER_AT_ONCE))
    gone: list[Failure] = []
    leaving = queue.turns.take("leaves", True)
    leaving.addErrback(gone.append)
    queue.take(50)
    leaving.cancel()
    assert gone[0].check(CancelledError)
    queue.turns.give_back(0)
    assert queue.has_turn[-1] == 50


def test_a_turn_that_was_not_given_back_is_not_counted_twice() -> None:
    """A session that fails and tries again takes a new turn for its old one."""
    queue = Queue()
    for _ in range(3 * EAGER_AT_ONCE):
        queue.take(1)
    assert queue.has_turn == [1] * (3 * EAGER_AT_ONCE)
