"""The shell around a session: one client connection, its two cluster connections, and its one timer.

Every turn is the same three steps: feed the session, run the few commands it has, and flush what it wants written, one
write for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from zdm.core.clusters import Side
from zdm.core.commands import Close, Command, Connect, Note, PrepareElsewhere, RefreshSchema
from zdm.core.session import Session
from zdm.core.snapshot import Snapshot
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.net.cluster import ClusterConnection, described
from zdm.net.elsewhere import prepare_elsewhere

if TYPE_CHECKING:
    from zdm.net.session_host import SessionHost

_fault_log = Logger()


class ClientConnection(Protocol):
    """One client, from accept to close."""

    def __init__(self, worker: SessionHost) -> None:
        self._worker: Final = worker
        self._now: Final = worker.now
        self._sides: Final[dict[Side, ClusterConnection]] = {}
        self._dialling: Final[dict[Side, Deferred[None]]] = {}
        self._timer: IDelayedCall | None = None
        self.session: Session
        self._feed: Any = None

    def connectionMade(self) -> None:
        """The session begins, and asks for both cluster connections at once."""
        assert self.transport is not None
        here, there = self.transport.getHost(), self.transport.getPeer()
        name = f"{getattr(there, 'host', there)}:{getattr(there, 'port', '')}"
        self.session = Session(self._worker.shared, self._now(), getattr(here, "host", ""), name)
        self._feed = self.session.feed_client
        self._worker.joined(self)
        self._turn()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self._feed(data, self._now())
            self._turn()
        except Exception:
            self._fault()

    def cluster_received(self, side: Side, data: bytes) -> None:
        """Bytes from a cluster."""
        try:
            self.session.feed_cluster(side, data, self._now())
            self._turn()
        except Exception:
            self._fault()

    def cluster_disconnected(self, side: Side, reason: str) -> None:
        """A cluster connection ended by itself."""
        self._sides.pop(side, None)
        self._tell(lambda: self.session.cluster_lost(side, reason, self._now()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone: so is everything that was opened for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for dialling in list(self._dialling.values()):
            dialling.cancel()
        for connection in self._sides.values():
            connection.let_go()
        self._sides.clear()
        self.session.client_lost()
        self._worker.left(self)

    def apply(self, snapshot: Snapshot) -> None:
        """A new generation; a host that is not part of its cluster any more drains this client (section 7.3)."""
        self.session.apply(snapshot)
        for side, connection in self._sides.items():
            known = snapshot.facts(side).known
            if known and connection.endpoint is not None and connection.endpoint not in known:
                self._worker.log.info(
                    f"{side.name} host {connection.endpoint} is gone; draining its client connections."
                )
                self.drain()
                return

    def drain(self) -> None:
        """Answer what is in flight, take nothing new, close."""
        self._tell(lambda: self.session.drain(self._now()))

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # every transport of ours has it

    def host_of(self, side: Side) -> Endpoint | None:
        """The host that this client's requests go to."""
        connection = self._sides.get(side)
        return None if connection is None else connection.endpoint

    def _turn(self) -> None:
        session = self.session
        commands = session.commands()
        for side, connection in self._sides.items():
            data = session.take(side)
            if data and connection.transport is not None:
                connection.transport.write(data)
        data = session.take(Side.CLIENT)
        if data:
            self.transport.write(data)  # type: ignore[union-attr]  # attached for as long as this object is fed
        for command in commands:
            self._run(command)
        if self._timer is None:
            if session.awaits_time():
                self._arm()
        elif session.expires_sooner():
            self._timer.cancel()
            self._arm()

    def _run(self, command: Command) -> None:
        if isinstance(command, Note):
            self._worker.note(command)
        elif isinstance(command, Connect):
            self._connect(command.side)
        elif isinstance(command, Close):
            self._close(command.side)
        elif isinstance(command, RefreshSchema):
            self._worker.refresh_schema()
        elif isinstance(command, PrepareElsewhere):
            self._prepare_elsewhere(command)

    def _connect(self, side: Side) -> None:
        connection = ClusterConnection(self, side)
        dialling = self._worker.dial(connection)
        self._dialling[side] = dialling
        dialling.addCallbacks(lambda _: self._attached(connection), lambda failed: self._unreachable(side, failed))
        dialling.addErrback(lambda failed: self._fault(failed))

    def _attached(self, connection: ClusterConnection) -> None:
        side = connection.side
        self._dialling.pop(side, None)
        if connection.client is None:
            self._tell(lambda: self.session.cluster_lost(side, "closed as soon as it was open", self._now()))
            return
        self._sides[side] = connection
        self._tell(lambda: self.session.attached(side, self._now()))

    def _unreachable(self, side: Side, failed: Failure) -> None:
        self._dialling.pop(side, None)
        if self.session.phase is Phase.CLOSED:
            return
        self._worker.unreachable(side, described(failed), self.session)
        self._tell(lambda: self.session.cluster_lost(side, f"it could not be opened: {described(failed)}", self._now()))

    def _close(self, side: Side) -> None:
        if side is Side.CLIENT:
            if self.transport is not None:
                self.transport.loseConnection()
            return
        dialling = self._dialling.pop(side, None)
        if dialling is not None:
            dialling.cancel()
        connection = self._sides.pop(side, None)
        if connection is not None:
            connection.let_go()

    def _prepare_elsewhere(self, command: PrepareElsewhere) -> None:
        endpoint = self.host_of(command.side)
        state = self.session.state
        if endpoint is None:
            self._tell(lambda: self.session.prepared_elsewhere(command.ticket, None, self._now()))
            return
        credentials = state.credentials.get(command.side)
        done = prepare_elsewhere(self._worker, endpoint, credentials, state.version, command)
        done.addCallback(
            lambda answer: self._tell(lambda: self.session.prepared_elsewhere(command.ticket, answer, self._now()))
        )
        done.addErrback(lambda failed: self._fault(failed))

    def _tell(self, what: Any) -> None:
        try:
            what()
            self._turn()
        except Exception:
            self._fault()

    def _arm(self) -> None:
        self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None:
            self._timer = self._worker.clock.callLater(max(0.0, deadline - self._now()) + 0.001, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._tell(lambda: self.session.expire(self._now()))

    def _fault(self, failed: Failure | None = None) -> None:
        """A fault of ours ends this session, and no other."""
        _fault_log.failure("A fault in the session of one client; its connection is closed.", failed or Failure())
        self.abort()
