"""One open control connection to one node: what is read from it, and what keeps it honest (spec 7.2-7.4).

`TopologyReader` turns the answers to the two system queries into a `ClusterView`; it remembers what stays fixed from
one view to the next (the datacenter, the turn of the assigned hosts). `Link` is a connection from the moment the node
has answered until it is lost: heartbeats, and refreshes that never overlap. When to open one and what to do when it is
lost is settled in `control`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from zdm.core.topology import (
    ClusterView,
    Discovery,
    Endpoint,
    Host,
    Table,
    TopologyError,
    assigned_hosts,
    check_partitioner,
    choose_datacenter,
    discover,
    in_datacenter,
    read_table,
    row_text,
)
from zdm.net.cql_client import ClientSettings, ConnectionClosed, CqlClient, CqlError, UnexpectedAnswer
from zdm.protocol.requests import Options
from zdm.protocol.responses import Response, Supported, TopologyChangeEvent

LOCAL_QUERY: Final = "SELECT * FROM system.local"
PEERS_QUERY: Final = "SELECT * FROM system.peers"


class Log(Protocol):
    """Where lines for the operator go."""

    def debug(self, text: str) -> None: ...
    def info(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def error(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """What is configured for one cluster. Times are seconds.

    `cluster` is ORIGIN or TARGET. This proxy is instance `proxy_index` of `proxy_count`.
    """

    cluster: str
    contact_points: tuple[str, ...]
    port: int
    client: ClientSettings = ClientSettings()
    local_datacenter: str = ""
    proxy_index: int = 0
    proxy_count: int = 1
    heartbeat_interval: float = 30.0
    retry_min: float = 0.25
    retry_max: float = 30.0
    retry_factor: float = 2.0
    failure_threshold: int = 1
    probe_interval: float = 60.0


class TopologyReader:
    """Reads views of one cluster. The datacenter is that of the first view, for good (spec 7.3)."""

    def __init__(self, settings: ControlSettings, log: Log, chance: random.Random) -> None:
        self._settings: Final = settings
        self._log: Final = log
        self._chance: Final = chance
        self._datacenter = ""
        self._turn: tuple[Host, ...] = ()

    async def read(self, client: CqlClient, endpoint: Endpoint) -> ClusterView:
        """A new view. Raises TopologyError where the rows cannot be used, CqlError where there are none."""
        local = read_table(await client.rows(LOCAL_QUERY))
        peers = read_table(await client.rows(PEERS_QUERY))
        found = discover(local, peers, endpoint.address, self._settings.port)
        partitioner = check_partitioner(found.contacted.row)
        for skipped in found.skipped:
            self._log.warn(f"{self._settings.cluster}: left out a host: {skipped}")
        datacenter = self._datacenter or self._choose_datacenter(found)
        local_hosts = in_datacenter(found.hosts, datacenter)
        self._datacenter = datacenter
        self._turn = self._assigned(local_hosts)
        return ClusterView(
            name=row_text(found.contacted.row, "cluster_name"),
            partitioner=partitioner,
            datacenter=datacenter,
            hosts=found.hosts,
            local_hosts=local_hosts,
            assigned=self._turn,
            local=local,
            peers=peers,
            version=client.version,
            supported=client.supported,
            auth_required=client.auth_required,
            endpoint=endpoint,
        )

    async def read_local(self, client: CqlClient) -> Table:
        """Only system.local, as it is now."""
        local = read_table(await client.rows(LOCAL_QUERY))
        if not local.rows:
            raise TopologyError("system.local is empty")
        return local

    def _choose_datacenter(self, found: Discovery) -> str:
        configured = self._settings.local_datacenter
        chosen = choose_datacenter(found, configured)
        if configured and chosen != configured:
            self._log.warn(
                f"{self._settings.cluster}: no host is in datacenter {configured} as configured, using {chosen}"
            )
        return chosen

    def _assigned(self, local_hosts: Sequence[Host]) -> tuple[Host, ...]:
        """This proxy's share in a random turn, which stays as it is while the share does."""
        share = assigned_hosts(local_hosts, self._settings.proxy_count, self._settings.proxy_index)
        by_id = {host.host_id: host for host in share}
        before = [host.host_id for host in self._turn]
        if by_id.keys() == set(before):
            return tuple(by_id[host_id] for host_id in before)
        return tuple(self._chance.sample(share, len(share)))


class _Scope(IntEnum):
    """How much a refresh reads."""

    NOTHING = 0
    SCHEMA = 1
    TOPOLOGY = 2


class Link:
    """A connection whose first view was read. Silent until `start`, over with `on_lost` or `stop`."""

    def __init__(self, client: CqlClient, endpoint: Endpoint, reader: TopologyReader, log: Log) -> None:
        self.client: Final = client
        self.endpoint: Final = endpoint
        self._reader: Final = reader
        self._log: Final = log
        self._heartbeat = LoopingCall(self._beat)
        self._publish: Callable[[ClusterView], None] | None = None
        self._view: ClusterView | None = None
        self._wanted = _Scope.NOTHING
        self._is_held = False
        self._under_way: Deferred[None] | None = None
        client.on_event = self._take_event

    async def first_view(self) -> ClusterView:
        """Asks for TOPOLOGY_CHANGE events, then reads the topology, so that no change is missed."""
        await self.client.register(["TOPOLOGY_CHANGE"])
        self._view = await self._reader.read(self.client, self.endpoint)
        return self._view

    def start(
        self,
        clock: IReactorTime,
        heartbeat_interval: float,
        publish: Callable[[ClusterView], None],
        on_lost: Callable[[ConnectionClosed], None],
    ) -> None:
        """Begins the heartbeats, at once and then every `heartbeat_interval` seconds, and the refreshes."""
        self._publish = publish
        self.client.on_lost = on_lost
        self._heartbeat.clock = clock
        self._heartbeat.start(heartbeat_interval).addErrback(self._broken)
        self._refresh()

    def beat_every(self, interval: float, now: bool) -> None:
        """From now on the heartbeats are `interval` seconds apart; the first one comes at once or after that time."""
        if not self._heartbeat.running:
            return
        before = self._heartbeat
        before.stop()
        # a call that has not returned yet would go on with the loop it was made by
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = before.clock
        self._heartbeat.start(interval, now).addErrback(self._broken)

    def hold(self, is_held: bool) -> None:
        """While held nothing is read; what was asked for meanwhile is read once, after that."""
        self._is_held = is_held
        self._refresh()

    def stop(self) -> None:
        """Closes the connection without a word to `on_lost`."""
        self.client.on_lost = None
        self._end("the control connection is not needed any more")

    def ask_schema(self) -> None:
        """Reads system.local now, or after the refresh that is under way."""
        self._ask(_Scope.SCHEMA)

    def _ask(self, scope: _Scope) -> None:
        self._wanted = max(self._wanted, scope)
        self._refresh()

    def _refresh(self) -> None:
        """At most one refresh is under way and at most one wanted after it, of the wider scope."""
        if not self._wanted or self._is_held or self._under_way is not None:
            return
        if self._publish is None or not self.client.is_open:
            return
        scope, self._wanted = self._wanted, _Scope.NOTHING
        self._under_way = under_way = Deferred.fromCoroutine(self._read(scope, self._publish))
        under_way.addErrback(self._broken).addBoth(self._refreshed)

    def _refreshed(self, _: object) -> None:
        self._under_way = None
        self._refresh()

    async def _read(self, scope: _Scope, publish: Callable[[ClusterView], None]) -> None:
        assert self._view is not None
        try:
            if scope is _Scope.TOPOLOGY:
                self._view = await self._reader.read(self.client, self.endpoint)
            else:
                self._view = replace(self._view, local=await self._reader.read_local(self.client))
        except (CqlError, TopologyError) as fault:
            self._end(f"the topology could not be refreshed: {fault}")
        else:
            publish(self._view)

    def _take_event(self, event: Response) -> None:
        if isinstance(event, TopologyChangeEvent):
            self._ask(_Scope.TOPOLOGY)

    def _beat(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._ask_for_life())

    async def _ask_for_life(self) -> None:
        """Any answer is a sign of life. Without one the client ends the connection, which `on_lost` hears of."""
        try:
            answer = await self.client.send(Options())
        except UnexpectedAnswer as strange:
            self._log.warn(f"Strange answer to a heartbeat from {self.endpoint}: {strange}")
        except CqlError as ended:
            self._end(str(ended))
        else:
            if not isinstance(answer, Supported):
                self._log.warn(f"Strange answer to a heartbeat from {self.endpoint}: {answer}")

    def _broken(self, failure: Failure) -> None:
        self._log.error(f"control connection with {self.endpoint}:\n{failure.getTraceback()}")
        self._end("of a fault of the proxy's")

    def _end(self, reason: str) -> None:
        if self._heartbeat.running:
            self._heartbeat.stop()
        self.client.close(reason)
