"""The data plane: a worker and its sessions.

A worker is given snapshots of what the supervisor knows and acknowledges each, is given client connections, and is
asked for its counters. `WorkerRole` is all that the supervisor knows of it, whether the worker lives in the same
process or in one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from os import urandom
from time import time_ns
from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.commands import Note
from zdm.core.generating import Generator
from zdm.core.prepared import PreparedCache
from zdm.core.session import Session
from zdm.core.snapshot import Shared, Snapshot
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.log import Log
from zdm.metrics import Meter
from zdm.net.client import ClientConnection
from zdm.net.cluster import ClusterConnection, Dialer
from zdm.net.in_flight import InFlight, Share
from zdm.net.moving import Attach, Departures, Moved, settle_in
from zdm.net.session_host import EndpointsOf, Logins
from zdm.net.turns import AttachTurns

_QUIET: Final = 10.0
"""Seconds in which clients that cannot be attached again are told of once, however many they are."""


class WorkerRole(Protocol):
    """What the supervisor asks of a worker."""

    def apply(self, snapshot: Snapshot) -> Deferred[int]:
        """Take a new generation; fires with its number when every session has it."""

    def client(self, address: IAddress | None) -> IProtocol:
        """The protocol for a client connection that was accepted for this worker."""

    def clients(self) -> int:
        """How many client connections it has."""

    def attaching(self) -> int:
        """How many clients still lack their target connection while target takes part."""

    def scrape(self) -> Deferred[Meter]:
        """Its counters now."""

    def drain(self, limit: float) -> Deferred[None]:
        """End every session as soon as what is in flight is answered, within `limit` seconds in any case."""


class Worker:
    """A worker in this process."""

    def __init__(
        self,
        snapshot: Snapshot,
        meter: Meter,
        prepared: PreparedCache,
        clock: IReactorTime,
        now: Callable[[], float],
        endpoints_of: EndpointsOf,
        timeouts: dict[Side, float],
        log: Log,
        refresh_schema: Callable[[], None],
        logins: Logins,
        find: Callable[[tuple[bytes, ...]], Deferred[None]] = lambda _: succeed(None),
        workers: int = 1,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`now` is the sessions' clock in seconds, `timeouts` how long opening a connection to a cluster may take.

        Where this is one of several `workers`, `find` asks the others for prepared statements. `on_change` is called
        when there is a client more or less.
        """
        self.shared: Final = Shared(snapshot, meter, prepared, Generator(time_ns, urandom))
        self.clock: Final = clock
        self.now: Final = now
        self.endpoints_of: Final = endpoints_of
        self.log: Final = log
        self.refresh_schema: Final = refresh_schema
        self.logins: Final = logins
        self.find: Final = find
        self.turns: Final = AttachTurns(workers)
        self._on_change: Final = on_change
        self._dialers: Final = {
            side: Dialer(endpoints_of(side), clock, timeouts[side], partial(self._dial_failed, side))
            for side in CLUSTERS
        }
        self._clients: Final[dict[ClientConnection, None]] = {}
        self.in_flight: Final = InFlight(clock, snapshot.settings, self._shares, log)
        self._quiet_until = 0.0
        self._is_draining = False
        self._drained: Deferred[None] | None = None
        self._notes: Final = {"debug": log.debug, "info": log.info, "warn": log.warn, "error": log.error}
        self._dial_from(snapshot)

    # What the supervisor asks

    def apply(self, snapshot: Snapshot) -> Deferred[int]:
        """Take a new generation; fires with its number when every session has it."""
        self.shared.replace(snapshot)
        self._dial_from(snapshot)
        if not snapshot.target_enabled:
            self.turns.forget_waiting()  # or a session that leaves target would pass its turn to one that has not yet
        for connection in list(self._clients):
            connection.apply(snapshot)
        return succeed(snapshot.generation)

    def client(self, address: IAddress | None) -> IProtocol:
        """The protocol for a client connection that was accepted for this worker."""
        return ClientConnection(self)

    def clients(self) -> int:
        """How many client connections it has."""
        return len(self._clients)

    def attaching(self) -> int:
        """How many clients still lack their target connection while target takes part."""
        return sum(connection.session.is_attaching for connection in self._clients)

    def scrape(self) -> Deferred[Meter]:
        """Its counters now."""
        meter = self.shared.meter
        meter.client_connections = len(self._clients)
        meter.pscache_entries = len(self.shared.prepared)
        meter.target_enabled = int(self.shared.snapshot.target_enabled)
        meter.target_attaching = self.attaching()
        meter.stream_ids_limit = self.shared.snapshot.settings.stream_limit
        self.in_flight.fill_in(meter)
        self._fill_in_nodes(meter)
        return succeed(meter)

    def drain(self, limit: float) -> Deferred[None]:
        """End every session as soon as what is in flight is answered, within `limit` seconds in any case. Once."""
        self._is_draining = True
        if not self._clients:
            return succeed(None)
        self._drained = Deferred()
        timer = self.clock.callLater(limit, self._abort_all)
        self._drained.addBoth(lambda _: timer.cancel() if timer.active() else None)
        drained = self._drained
        for connection in list(self._clients):
            connection.drain()
        return drained

    def _shares(self) -> Iterable[Share]:
        return (connection.share for connection in self._clients)

    def release(
        self, limit: float, give: Callable[[Moved], None], expects: Callable[[], bool] = lambda: False
    ) -> Deferred[int]:
        """Hand each client over once nothing of it is under way; fires with how many are left after `limit` seconds.

        `expects` tells whether clients are about to come, who are waited for.
        """
        return Departures(lambda: self._clients, self.clock, limit, give, expects).begin()

    def spare(self, count: int, give: Callable[[Moved], None]) -> int:
        """Hand up to `count` clients over of which nothing is under way now; how many there were."""
        spared = 0
        for client in list(self._clients):
            moved = client.hand_over() if spared < count else None
            if moved is not None:
                give(moved)
                spared += 1
        return spared

    def take_over(self, moved: Moved, attach: Attach) -> Deferred[None]:
        """Go on with a client that another worker had; `attach` gives a connection its protocol."""
        return Deferred.fromCoroutine(settle_in(ClientConnection(self), moved, attach))

    # What the clients' connections ask

    def dial(self, connection: ClusterConnection) -> Deferred[None]:
        """Open a cluster connection."""
        return self._dialers[connection.side].dial(connection)

    def joined(self, connection: ClientConnection) -> None:
        """A client connected."""
        self._clients[connection] = None
        self._on_change()
        if self._is_draining:
            connection.drain()

    def left(self, connection: ClientConnection) -> None:
        """A client is gone."""
        self._clients.pop(connection, None)
        self._on_change()
        if not self._clients and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def unreachable(self, side: Side, reason: str, session: Session) -> None:
        """A cluster connection could not be opened for a client."""
        meter = self.shared.meter
        if side is Side.ORIGIN:
            meter.failed_connections_origin += 1
        else:
            meter.failed_connections_target += 1
        client = session.state.client_name
        if session.phase is Phase.HANDSHAKE:
            self.log.error(
                f"Client Handler could not be created: no connection to {side.name} for client {client}: {reason}"
            )
        elif self.now() >= self._quiet_until:
            self._quiet_until = self.now() + _QUIET
            self.log.warn(
                f"The {side.name} connection of client {client} could not be opened again: {reason}. "
                f"Clients without it now: {self.attaching()}."
            )

    def note(self, note: Note) -> None:
        """A line of a session's."""
        self._notes[note.level](note.text)

    def _dial_failed(self, side: Side, endpoint: Endpoint) -> None:
        self.shared.meter.node(side, str(endpoint)).failed_connections += 1

    def _fill_in_nodes(self, meter: Meter) -> None:
        for node in meter.nodes():
            node.connections = node.used_streams = 0
        for connection in self._clients:
            connection.count_connections()

    def _dial_from(self, snapshot: Snapshot) -> None:
        for side, dialer in self._dialers.items():
            dialer.replace(snapshot.facts(side).endpoints)

    def _abort_all(self) -> None:
        self.log.warn(
            f"{len(self._clients)} client connections still had requests in flight at the end of the drain limit."
        )
        for connection in list(self._clients):
            connection.abort()
