"""The shell around a session: one client connection, its two cluster connections, and its one timer.

Every turn is the same three steps: feed the session, run the few commands it has, and flush what it wants written, one
write for each connection. Whatever is opened for a client is let go of in `_end`, however the client comes to its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from zdm.core.clusters import Side
from zdm.core.commands import (
    Attached,
    Close,
    Command,
    Connect,
    FindStatements,
    LoginJudged,
    Note,
    PrepareElsewhere,
    Recognition,
    RefreshSchema,
    TendCopies,
    VerifyLogin,
)
from zdm.core.copying_session import new_session
from zdm.core.handover import Handover
from zdm.core.session import Session
from zdm.core.snapshot import Snapshot
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.net.anteroom import Anteroom
from zdm.net.cluster import LINGER, ClusterConnection
from zdm.net.cluster_sides import ClusterSides
from zdm.net.copies import Copies
from zdm.net.flow import Flow
from zdm.net.in_flight import Share
from zdm.net.moving import Moved

if TYPE_CHECKING:
    from zdm.net.session_host import SessionHost

_fault_log = Logger()


class ClientConnection(Protocol):
    """One client, from accept to close."""

    def __init__(self, worker: SessionHost) -> None:
        self._worker: Final = worker
        self._now: Final = worker.now
        self._flow: Final = Flow(worker.clock, self._stalled, self._client_full, worker.in_flight.pauses)
        self._clusters: Final = ClusterSides(self, worker, self._flow)
        self._sides: Final = self._clusters.open
        self._copies: Copies | None = None
        self._anteroom: Anteroom | None = None
        self._verifying: Deferred[Recognition] | None = None
        self._timer: IDelayedCall | None = None
        self._lingering: IDelayedCall | None = None
        self.session: Session
        self.share: Share
        self._feed: Any = None

    def connectionMade(self) -> None:
        """The session begins, and asks for both cluster connections at once; or it goes on where it was taken over."""
        assert self.transport is not None
        anteroom, self._anteroom = self._anteroom, None
        if anteroom is None:
            here, there = self.transport.getHost(), self.transport.getPeer()
            name = f"{getattr(there, 'host', there)}:{getattr(there, 'port', '')}"
            self._begin(new_session(self._worker.shared, self._now(), getattr(here, "host", ""), name))
        if self.session.phase is not Phase.CLOSED:
            self._flow.watch(Side.CLIENT, self.transport, self._worker.shared.snapshot.settings.client_stall)
        if anteroom is None:
            self.tell(lambda _: None)
        else:
            anteroom.leave(self.transport)

    def _begin(self, session: Session) -> None:
        self.session = session
        self.share = Share(self._worker.in_flight, session, self._flow, self.abort)
        self._feed = session.feed_client
        self._worker.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        try:
            self._feed(data, self._now())
            self._turn()
            share = self.share
            share.left -= len(data)
            if share.left < 0:
                share.account()
        except Exception:
            self.fault()

    def cluster_received(self, side: Side, data: bytes) -> None:
        """Bytes from a cluster."""
        try:
            self.session.feed_cluster(side, data, self._now())
            self._turn()
            share = self.share
            share.left -= len(data)
            if share.left < 0:
                share.account()
        except Exception:
            self.fault()

    def cluster_disconnected(self, side: Side, reason: str) -> None:
        """A cluster connection ended by itself."""
        self._clusters.has_ended(side, reason)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone: so is everything that was opened for it."""
        try:
            self._end()
        finally:
            self._worker.left(self)

    def host_of(self, side: Side) -> Endpoint | None:
        """The host that the connection to a cluster is to, where there is one."""
        connection = self._sides.get(side)
        return None if connection is None else connection.endpoint

    def apply(self, snapshot: Snapshot) -> None:
        """A new generation."""
        try:
            self.session.apply(snapshot, self._now())
            self._turn()
            if self.session.phase is not Phase.CLOSED:
                self._clusters.follow()
        except Exception:
            self.fault()

    def drain(self) -> None:
        """Answer what is in flight, take nothing new, close."""
        self.tell(self.session.drain)

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # every transport of ours has it

    def count_connections(self) -> None:
        """Add what this client has open to what the nodes have."""
        self._clusters.count()
        if self._copies is not None:
            self._copies.count()

    # Moving to another process

    def rest(self, is_on: bool) -> None:
        """Read nothing more from the client, so that nothing of it is under way soon; or go on reading."""
        self._flow.rest(is_on)

    @property
    def can_leave(self) -> bool:
        """Its connections can change hands; those with TLS cannot."""
        return all(transport.can_detach for transport in self._transports().values())

    def hand_over(self) -> Moved | None:
        """All that is needed to go on elsewhere, and the end here; nothing while something is under way."""
        transports = self._transports()
        if self._anteroom is not None or any(transport.unsent() for transport in transports.values()):
            return None
        if not self.can_leave:
            return None
        handover = self.session.hand_over()
        if handover is None:
            return None
        if handover.target is None:
            self._clusters.part(Side.TARGET)
            transports.pop(Side.TARGET, None)
        endpoints = {side: connection.endpoint for side, connection in self._clusters.hand_over().items()}
        self._end()
        self._worker.left(self)
        return Moved(handover, {side: transport.detach() for side, transport in transports.items()}, endpoints)

    def _transports(self) -> dict[Side, Any]:
        own: dict[Side, Any] = {Side.CLIENT: self.transport}
        return own | {side: connection.transport for side, connection in self._sides.items()}

    def take_over(self, handover: Handover) -> None:
        """Go on with a session from elsewhere, whose connections are about to be given their transports."""
        self._anteroom = Anteroom()
        self.transport = cast(ITransport, self._anteroom)
        name, host = handover.client_name, handover.local_address
        self._begin(new_session(self._worker.shared, self._now(), host, name, handover))

    def expect(self, side: Side, endpoint: Endpoint | None) -> ClusterConnection:
        """The protocol for a cluster connection of a session that was taken over."""
        return self._clusters.expect(side, endpoint)

    def go_on(self) -> None:
        """All connections are attached that could be."""
        self.tell(lambda _: None)
        if self.session.phase is not Phase.CLOSED:
            self._clusters.follow()

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
            self._clusters.connect(command)
        elif isinstance(command, Attached):
            self._worker.turns.give_back(self)
        elif isinstance(command, Close):
            self._close(command.side)
        elif isinstance(command, RefreshSchema):
            self._worker.refresh_schema()
        elif isinstance(command, PrepareElsewhere):
            self._clusters.prepare_elsewhere(command)
        elif isinstance(command, FindStatements):
            self._find(command)
        elif isinstance(command, VerifyLogin):
            self._verify(command)
        elif isinstance(command, LoginJudged):
            logins = self._worker.logins
            (logins.accepted if command.is_accepted else logins.refused)(command.credentials)
        elif isinstance(command, TendCopies):
            if self._copies is None:
                self._copies = Copies(self, self._worker, command.copies)
            self._copies.tend()

    def tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Tell the session something, by the method `what` of it, and do what follows."""
        try:
            what(*arguments, self._now())
            self._turn()
            if self.share.left < 0:
                self.share.account()
        except Exception:
            self.fault()

    def _client_full(self, is_full: bool) -> None:
        if is_full:
            self.session.client_full(self._now())
        else:
            self.tell(self.session.client_drained)

    def _stalled(self, side: Side) -> None:
        """A cluster has taken nothing for as long as a request may take, and its client is not read meanwhile.

        Or it is the client that takes nothing, and its answers are kept meanwhile.
        """
        if side is Side.CLIENT:
            name, limit = self.session.state.client_name, self._worker.shared.snapshot.settings.client_stall
            self._worker.log.warn(f"Closing client {name}: it has taken nothing of its answers for {limit:g} s.")
            self.abort()
            return
        self._clusters.stalled(side)

    def _find(self, command: FindStatements) -> None:
        finding = self._worker.find(command.prepared_ids)
        finding.addCallback(lambda _: self.tell(self.session.statements_sought, command.ticket))
        finding.addErrback(self.fault)

    def _verify(self, command: VerifyLogin) -> None:
        self._verifying = self._worker.logins.verify(command.credentials)
        telling = self._verifying.addCallback(lambda login: self.tell(self.session.login_verified, login))
        telling.addErrback(lambda failed: None if failed.check(CancelledError) else self.fault(failed))

    # Time, and the end

    def _arm(self) -> None:
        self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and self.session.phase is not Phase.CLOSED:
            self._timer = self._worker.clock.callLater(max(0.0, deadline - self._now()) + 0.001, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.tell(self.session.expire)

    def _close(self, side: Side) -> None:
        if side is not Side.CLIENT:
            self._clusters.part(side)
        elif self.transport is not None:
            self._end()
            self._lingering = self._worker.clock.callLater(LINGER, self.abort)
            self.transport.loseConnection()

    def _end(self) -> None:
        """Let go of everything that was opened for the client. Harmless when repeated."""
        for timer in (self._timer, self._lingering):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = None
        if self._verifying is not None:
            self._verifying.cancel()  # nothing happens where it has come
        self._flow.forget(Side.CLIENT)
        self._clusters.end()
        if self._copies is not None:
            self._copies.end()
        self.session.client_lost()

    def fault(self, failed: Failure | None = None) -> None:
        """A fault of ours ends this session, and no other."""
        _fault_log.failure("A fault in the session of one client; its connection is closed.", failed or Failure())
        self.abort()
        self._end()
