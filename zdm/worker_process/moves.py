"""Sessions that move from one worker to another: who gets those that leave, and whether some should.

Clients stay where they came to, so workers grow uneven: one that was started anew has none, while others have too many.
Then sessions that are at rest move, a few each second, until nobody has many more than an equal share. Their clients
notice nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from zdm.worker_process.remote import RemoteWorker
from zdm.worker_process.sessions import Parcel

STEP: Final = 1.0
"""Seconds between two times that sessions move to even workers out."""

MOST_AT_ONCE: Final = 8
"""Sessions that one worker gives away each time."""

_MARGIN: Final = 1.1


class Moves:
    """Of the sessions of those workers that `serving` gives."""

    def __init__(self, serving: Callable[[], list[RemoteWorker]], clock: IReactorTime) -> None:
        self._serving: Final = serving
        self._clock: Final = clock
        self._timer: IDelayedCall | None = None
        self._is_over = False

    def pass_on(self, worker: RemoteWorker, parcel: Parcel) -> Deferred[None]:
        """Give a session that has left `worker` to the one that has the fewest; fires when that is done.

        Where there is none, or it ends meanwhile, the session is closed.
        """
        others = [other for other in self._serving() if other is not worker]
        receiver = min(others, key=lambda other: other.clients, default=worker if worker.is_there else None)
        giving = succeed(None) if receiver is None else maybeDeferred(receiver.hand_session, parcel)
        return giving.addBoth(lambda _: parcel.close())

    def weigh(self) -> None:
        """Figures have changed: if one worker has too many, some of its sessions move soon."""
        if self._timer is None and not self._is_over and self._burdened():
            self._timer = self._clock.callLater(STEP, self._even_out)

    def stop(self) -> None:
        """The workers are about to end."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _even_out(self) -> None:
        self._timer = None
        for worker, excess in self._burdened():
            worker.spare(min(excess, MOST_AT_ONCE))
        self.weigh()

    def _burdened(self) -> list[tuple[RemoteWorker, int]]:
        """Workers that have over a tenth and one more than an equal share, and how much over that share."""
        workers = self._serving()
        share = sum(worker.clients for worker in workers) / max(1, len(workers))
        return [(each, int(each.clients - share)) for each in workers if each.clients > share * _MARGIN + 1]
