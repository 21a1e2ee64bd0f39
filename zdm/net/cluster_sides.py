"""A client's cluster connections: asked for, dialled in turn, open, and let go of again.

What is decided about them is decided in the session; here is what it takes: at most one connection to each cluster,
given up where the session does not want it any more, and told of where it ends by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.commands import Connect, PrepareElsewhere
from zdm.core.connector import SideState
from zdm.core.mending import elsewhere_version
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.net.anteroom import Anteroom
from zdm.net.cluster import ClusterConnection, NoHostAnswered
from zdm.net.elsewhere import Errands, Outcome
from zdm.net.flow import Flow

if TYPE_CHECKING:
    from zdm.net.client import ClientConnection
    from zdm.net.session_host import SessionHost


class ClusterSides:
    """Both cluster connections of one client. `open` are those that the session may use."""

    def __init__(self, client: ClientConnection, worker: SessionHost, flow: Flow) -> None:
        self._client: Final = client
        self._worker: Final = worker
        self._flow: Final = flow
        self._dialling: Final[dict[Side, tuple[ClusterConnection, Deferred[None]]]] = {}
        self._errands: Final = Errands(worker, self._prepared_elsewhere, client.fault)
        self.open: Final[dict[Side, ClusterConnection]] = {}

    def connect(self, command: Connect) -> None:
        """Open a connection; where one is being opened, something waits for it now."""
        side, phase = command.side, self._client.session.phase
        if phase is Phase.CLOSED:
            return
        if side in self._dialling:
            self._worker.turns.hurry(self._client)
            return
        connection = ClusterConnection(self._client, side)
        turn = succeed(None) if phase is Phase.HANDSHAKE else self._worker.turns.take(self._client, command.eager)
        dialling = turn.addCallback(lambda _: self._worker.dial(connection))
        self._dialling[side] = connection, dialling
        dialling.addCallbacks(lambda _: self._attached(connection), lambda failed: self._unreachable(side, failed))
        dialling.addErrback(self._client.fault)

    def expect(self, side: Side, endpoint: Endpoint | None) -> ClusterConnection:
        """A connection that is open already, and about to be given its transport."""
        connection = ClusterConnection(self._client, side)
        connection.endpoint = endpoint
        self._client.session.state.count_for(side, endpoint)
        connection.anteroom = Anteroom()
        connection.transport = cast(ITransport, connection.anteroom)
        self.open[side] = connection
        return connection

    def hand_over(self) -> dict[Side, ClusterConnection]:
        """The open connections, of which nothing is heard any more; those that are being opened are given up."""
        given = dict(self.open)
        self.open.clear()
        for side, connection in given.items():
            self._flow.forget(side)
            connection.client = None
        self.end()
        return given

    def has_ended(self, side: Side, reason: str) -> None:
        """A connection ended by itself; of one that was not attached yet, `_attached` tells."""
        if self.open.pop(side, None) is not None:
            self._flow.forget(side)
            self._give_turn_back(side)
            self._lost(side, reason)

    def stalled(self, side: Side) -> None:
        """A cluster has taken nothing for as long as a request may take, and its client is not read meanwhile."""
        connection = self.open.pop(side, None)
        if connection is not None:
            self._flow.forget(side)
            connection.abort()
            self._give_turn_back(side)
            self._lost(side, "it takes no more requests")

    def follow(self) -> None:
        """There is a new generation: target may be off or on, and hosts may be gone."""
        connection = self.open.get(Side.TARGET)
        if connection is not None:
            if self._client.session.state.target.state is SideState.PARKED:
                # it takes nothing more, so a full one must not keep the client from being read
                self._flow.forget(Side.TARGET)
                self._errands.cancel(Side.TARGET)  # each is a connection, a login and a request of its own
            else:
                self.watch(connection)
        self._leave_gone_host()

    def watch(self, connection: ClusterConnection) -> None:
        """From now on a full connection keeps the client from being read."""
        patience = self._worker.shared.snapshot.settings.request_timeout
        self._flow.watch(connection.side, connection.transport, patience)

    def part(self, side: Side) -> None:
        """No connection to the cluster, and none under way either."""
        self._give_turn_back(side)
        if side is Side.TARGET:
            self._errands.cancel(side)
        connection, dialling = self._dialling.pop(side, (None, None))
        if connection is not None and dialling is not None:
            connection.let_go(self._worker.clock)
            dialling.cancel()
        connection = self.open.pop(side, None)
        if connection is not None:
            self._flow.forget(side)
            connection.let_go(self._worker.clock)

    def count(self) -> None:
        """Add the open connections, and the stream ids that are used on them, to those of their nodes."""
        state = self._client.session.state
        for side in self.open:
            connector = state.connector(side)
            if connector.node is not None:
                connector.node.connections += 1
                connector.node.used_streams += connector.used_ids(state.pending)

    def end(self) -> None:
        """The client is gone."""
        for side in CLUSTERS:
            self.part(side)
        self._errands.cancel()

    def prepare_elsewhere(self, command: PrepareElsewhere) -> None:
        """Prepare a statement under another keyspace, on the host that the session has."""
        connection, state = self.open.get(command.side), self._client.session.state
        if connection is None or connection.endpoint is None:
            self._prepared_elsewhere(command.ticket, None)
        else:
            version = elsewhere_version(state.version)
            self._errands.start(connection.endpoint, state.credentials.get(command.side), version, command)

    def _attached(self, connection: ClusterConnection) -> None:
        side = connection.side
        self._dialling.pop(side, None)
        if connection.client is None:
            self._worker.turns.give_back(self._client)
            self._lost(side, "closed as soon as it was open")
            return
        self.open[side] = connection
        self.watch(connection)
        self._client.session.state.count_for(side, connection.endpoint)
        self._client.tell(self._client.session.attached, side)
        self._leave_gone_host()

    def _unreachable(self, side: Side, failed: Failure) -> None:
        if failed.check(CancelledError):
            return  # given up from this side
        failed.trap(NoHostAnswered)
        self._dialling.pop(side, None)
        self._worker.turns.give_back(self._client)
        reason = failed.getErrorMessage()
        self._worker.unreachable(side, reason, self._client.session)
        self._lost(side, f"it could not be opened: {reason}")

    def _leave_gone_host(self) -> None:
        """A host that is not part of its cluster any more drains the client (section 7.3)."""
        phase, snapshot = self._client.session.phase, self._client.session.state.snapshot
        for side, connection in self.open.items():
            known = snapshot.facts(side).known if side is Side.ORIGIN or snapshot.target_enabled else ()
            if known and connection.endpoint not in known and phase not in (Phase.DRAINING, Phase.CLOSED):
                host = connection.endpoint
                self._worker.log.info(f"{side.name} host {host} is gone; draining its client connections.")
                self._client.drain()
                return

    def _give_turn_back(self, side: Side) -> None:
        if side is Side.TARGET:
            self._worker.turns.give_back(self._client)

    def _lost(self, side: Side, reason: str) -> None:
        self._client.tell(self._client.session.cluster_lost, side, reason)

    def _prepared_elsewhere(self, ticket: int, outcome: Outcome) -> None:
        self._client.tell(self._client.session.prepared_elsewhere, ticket, outcome)
