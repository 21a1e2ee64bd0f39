"""Whose turn it is to be attached: a thousand sessions that get their target back must not storm it.

A login costs a cluster tens of milliseconds, so only so many are under way at a time, of
all workers together: each has its share. Sessions with a request that
waits go before those that merely would like to be ready for the next one, and more of them at once.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred, succeed

EAGER_AT_ONCE: Final = 8
"""Attachments under way with which another eager one may begin."""

AT_ONCE: Final = 64
"""Attachments under way at most."""


class AttachTurns:
    """Gives turns to sessions, each known by an object of its own."""

    def __init__(self, workers: int = 1) -> None:
        """`workers` share the limits evenly, and each has at least one turn to give."""
        self._eager_at_once: Final = max(1, EAGER_AT_ONCE // workers)
        self._at_once: Final = max(1, AT_ONCE // workers)
        self._holding: Final[set[object]] = set()
        self._eager: Final[dict[object, Deferred[None]]] = {}
        self._urgent: Final[dict[object, Deferred[None]]] = {}

    def take(self, who: object, is_eager: bool) -> Deferred[None]:
        """Fires when it is the turn of `who`, who gives it back. May be cancelled."""
        self._holding.discard(who)
        if len(self._holding) < (self._eager_at_once if is_eager else self._at_once):
            self._holding.add(who)
            return succeed(None)
        queue = self._eager if is_eager else self._urgent
        waiting: Deferred[None] = Deferred(lambda _: self._leave(who))
        queue[who] = waiting
        return waiting

    def hurry(self, who: object) -> None:
        """Something waits for `who` now."""
        waiting = self._eager.pop(who, None)
        if waiting is not None:
            self._urgent[who] = waiting
            self._go_on()

    def give_back(self, who: object) -> None:
        """The attachment has come to its end. Harmless when repeated, and where `who` never had a turn."""
        self._leave(who)
        if who in self._holding:
            self._holding.remove(who)
            self._go_on()

    def forget_waiting(self) -> None:
        """Nobody who waits gets a turn any more: whoever asked gives up."""
        self._eager.clear()
        self._urgent.clear()

    def _leave(self, who: object) -> None:
        self._eager.pop(who, None)
        self._urgent.pop(who, None)

    def _go_on(self) -> None:
        for queue, limit in ((self._urgent, self._at_once), (self._eager, self._eager_at_once)):
            while queue and len(self._holding) < limit:
                who = next(iter(queue))
                waiting = queue.pop(who)
                self._holding.add(who)
                waiting.callback(None)
