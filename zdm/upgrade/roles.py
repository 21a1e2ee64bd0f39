"""What an upgrade asks of the workers, whether they are processes of their own or the one in this process."""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed

from zdm.core.prepared import PreparedStatement
from zdm.net.moving import Attach, Moved
from zdm.worker_process import statements
from zdm.worker_process.moves import Give, Tell
from zdm.worker_process.sessions import Dispatch, Parcel, packed, unpacked
from zdm.workers import Worker


class Movable(Protocol):
    """Workers whose sessions can leave, and that take sessions from elsewhere. `Crew` is one."""

    def release(self, limit: float, give: Give) -> Deferred[int]:
        """Give all sessions away, each when it is at rest; fires with how many have not come to rest in time."""

    def welcome(self, parcel: Parcel) -> Deferred[None]:
        """A session comes from elsewhere: fires when a worker has it, or it was closed."""

    def statements(self) -> Deferred[bytes]:
        """The prepared statements that are known."""

    def learn(self, found: bytes) -> None:
        """These are known elsewhere."""

    def tell(self, others: Tell | None) -> None:
        """From now on another process is told of each statement that is made; None: no more."""


class _Others:
    """What a cache knows of another process. What that has of forgotten statements it finds out by itself."""

    def __init__(self, tell: Tell) -> None:
        self._tell: Final = tell

    def made(self, entry: PreparedStatement) -> None:
        self._tell(statements.dumped([entry]))

    def forgotten(self, prepared_id: bytes) -> None:
        """Its next EXECUTE there is answered UNPREPARED, as it was here."""


class OwnWorker:
    """The worker in this process."""

    def __init__(self, worker: Worker, attach: Attach) -> None:
        self._worker: Final = worker
        self._attach: Final = attach

    def release(self, limit: float, give: Give) -> Deferred[int]:
        """Give all sessions away, each when it is at rest; fires with how many have not come to rest in time."""
        leaving = Dispatch(give)

        def leave(moved: Moved) -> None:
            leaving.send(packed(moved))

        releasing = self._worker.release(limit, leave)
        return releasing.addCallback(lambda left: leaving.sent().addCallback(lambda _: left))

    def welcome(self, parcel: Parcel) -> Deferred[None]:
        """A session comes from elsewhere; its sockets are the worker's from now on."""
        try:
            moved = unpacked(parcel)
        except (KeyError, TypeError, ValueError):
            parcel.close()
            raise
        self._worker.take_over(moved, self._attach)
        return succeed(None)

    def statements(self) -> Deferred[bytes]:
        """The prepared statements that are known."""
        return succeed(statements.dumped(self._worker.shared.prepared.entries.values()))

    def learn(self, found: bytes) -> None:
        """These are known elsewhere."""
        for entry in statements.loaded(found):
            self._worker.shared.prepared.adopt(entry)

    def tell(self, others: Tell | None) -> None:
        """From now on another process is told of each statement that is made; None: no more."""
        self._worker.shared.prepared.others = None if others is None else _Others(others)
