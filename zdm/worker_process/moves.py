"""Sessions that move from one worker to another: who gets those that leave, and whether some should.

Clients stay where they came to, so workers grow uneven: one that was started anew has none, while others have too many.
Then sessions that are at rest move, a few each second, until nobody has many more than an equal share. Their clients
notice nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from zdm.worker_process.remote import RemoteWorker
from zdm.worker_process.sessions import Parcel

STEP: Final = 1.0
"""Seconds between two times that sessions move to even workers out."""

MOST_AT_ONCE: Final = 8
"""Sessions that one worker gives away each time."""

_MARGIN: Final = 1.1


Give = Callable[[Parcel], Deferred[None]]
"""Fires when somebody else has the session's descriptors, fails where nobody ever will."""


Tell = Callable[[bytes], None]
"""Takes statements, as `statements` writes them."""


class Moves:
    """Of the sessions of those workers that `serving` gives."""

    def __init__(self, serving: Callable[[], list[RemoteWorker]], clock: IReactorTime) -> None:
        self._serving: Final = serving
        self._clock: Final = clock
        self._timer: IDelayedCall | None = None
        self._is_over = False
        self._give: Give | None = None
        self.tell: Tell | None = None
        """Another process that wants to know of each statement that is made."""

    def pass_on(self, worker: RemoteWorker | None, parcel: Parcel) -> Deferred[None]:
        """Give a session that has left `worker` to the one that has the fewest; fires when that is done.

        Where there is none, or it ends meanwhile, the session is closed. While all leave, it goes where they go.
        """
        giving = maybeDeferred(self._give or self._receiver(worker), parcel)
        return giving.addBoth(lambda _: parcel.close())

    def release(self, limit: float, give: Give) -> Deferred[int]:
        """Have all sessions leave, each when it is at rest; fires with how many stay when `limit` seconds are over."""
        self.stop()
        self._give = give
        releasing = DeferredList([worker.release(limit) for worker in self._serving()])
        return releasing.addCallback(lambda results: sum(left for _, left in results))

    def _receiver(self, worker: RemoteWorker | None) -> Give:
        others = [other for other in self._serving() if other is not worker]
        sender = worker if worker is not None and worker.is_there else None
        receiver = min(others, key=lambda other: other.clients, default=sender)
        return _nobody if receiver is None else receiver.hand_session

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


def _nobody(_: Parcel) -> Deferred[None]:
    return succeed(None)
