"""The control plane: what both clusters are, what sessions are to know of that, and who may connect.

Makes a new `Snapshot` whenever a control connection has found something new, gives it to the workers, and accepts
client connections for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory

from zdm.admin.health import ControlHealth, Health
from zdm.config import Config
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.credentials import Credentials
from zdm.core.intercept import SystemTables
from zdm.core.options import control_versions, merge_supported
from zdm.core.snapshot import ClusterFacts, Settings, Snapshot
from zdm.core.topology import ClusterView, ProxyTopology
from zdm.log import Log
from zdm.net.cluster import EndpointFactory
from zdm.net.control import ControlConnection, ControlError
from zdm.net.control_link import ControlSettings
from zdm.net.cql_client import ClientSettings
from zdm.net.endpoints import ServerEndpoint
from zdm.protocol.frames import SUPPORTED_VERSIONS
from zdm.settings import session_settings
from zdm.workers import WorkerRole

ListeningFactory = Callable[[str, int], IStreamServerEndpoint]
"""Makes the endpoint to listen at, for a host and a port."""


class ClientFactory(ServerFactory):
    """Gives each accepted connection its protocol, up to the limit of clients (section 10.3)."""

    noisy = False

    def __init__(self, worker: WorkerRole, limit: int, log: Log) -> None:
        self._worker: Final = worker
        self._limit: Final = limit
        self._log: Final = log

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]  # as the interface
        """None closes the connection without a byte."""
        if self._worker.clients() >= self._limit:
            peer = f"{getattr(addr, 'host', '?')}:{getattr(addr, 'port', '?')}"
            self._log.warn(
                f"Refusing client connection from {peer} because max clients threshold has been hit ({self._limit})."
            )
            return None
        return self._worker.client(addr)


class Supervisor:
    """Watches both clusters, and keeps the workers informed."""

    def __init__(
        self,
        config: Config,
        topology: ProxyTopology,
        endpoint_factory: EndpointFactory,
        clock: IReactorTime,
        log: Log,
        listening: ListeningFactory = ServerEndpoint,
    ) -> None:
        self._config: Final = config
        self._listening: Final = listening
        self._topology: Final = topology
        self._log: Final = log
        self._settings: Final[Settings] = session_settings(config)
        self._generation = 0
        self._worker: WorkerRole | None = None
        self._port: IListeningPort | None = None
        self.controls: Final = {
            side: ControlConnection(
                control_settings(config, side, topology),
                self._endpoints_for(endpoint_factory, side),
                clock,
                log,
                self._changed,
            )
            for side in CLUSTERS
        }

    async def open(self) -> Snapshot:
        """Reach both clusters, origin first; what was reached already stays open. Raises ControlError."""
        for side in CLUSTERS:
            if not self.controls[side].is_up:
                self._announce(side, await self._opened(side))
        return self.snapshot()

    async def listen(self, worker: WorkerRole) -> None:
        """Accept clients for the worker. Raises CannotListenError."""
        config = self._config
        self._worker = worker
        factory = ClientFactory(worker, config.proxy_max_client_connections, self._log)
        endpoint = self._listening(config.proxy_listen_address, config.proxy_listen_port)
        self._port = await endpoint.listen(factory)

    async def stop_listening(self) -> None:
        """Accept no more clients."""
        if self._port is not None:
            stopped: Deferred[None] | None = self._port.stopListening()
            self._port = None
            if stopped is not None:
                await stopped

    def close(self) -> None:
        """Close the control connections."""
        for control in self.controls.values():
            control.close()

    def refresh_schema(self) -> None:
        """A client has changed the schema."""
        for control in self.controls.values():
            control.refresh_schema()

    def health(self) -> Health:
        """Both control connections as readiness reports them."""
        return Health(*(self._control_health(side) for side in CLUSTERS))

    def snapshot(self) -> Snapshot:
        """What sessions are to know now, as a new generation."""
        views = {side: self._view(side) for side in CLUSTERS}
        self._generation += 1
        origin, target = views[Side.ORIGIN], views[Side.TARGET]
        shown = views[self._settings.system_queries]
        return Snapshot(
            self._generation,
            self._settings,
            self._facts(Side.ORIGIN, origin),
            self._facts(Side.TARGET, target),
            merge_supported(origin.supported, target.supported, self._settings.versions),
            SystemTables(shown, self._topology),
        )

    async def _opened(self, side: Side) -> ClusterView:
        try:
            return await self.controls[side].open()
        except ControlError as failed:
            name = side.name.lower()
            raise ControlError(f"failed to initialize {name} control connection: {failed}") from failed

    def _announce(self, side: Side, view: ClusterView) -> None:
        hosts, assigned = (", ".join(map(str, some)) for some in (view.local_hosts, view.assigned))
        self._log.info(
            f"Initialized {side.name.lower()} control connection. Cluster Name: {view.name}, Hosts: [{hosts}], "
            f"Assigned Hosts: [{assigned}]."
        )

    def _changed(self, _: ClusterView) -> None:
        if self._worker is not None:
            applying = maybeDeferred(self._worker.apply, self.snapshot())
            applying.addErrback(lambda failed: self._log.error("A worker could not take a new generation", failed))

    def _view(self, side: Side) -> ClusterView:
        view = self.controls[side].view
        assert view is not None, "asked for a snapshot before both clusters were reached"
        return view

    def _facts(self, side: Side, view: ClusterView) -> ClusterFacts:
        name = side.name.lower()
        is_assigned = getattr(self._config, f"{name}_enable_host_assignment")
        return ClusterFacts(
            view.auth_required,
            view.version,
            configured_credentials(self._config, side),
            tuple(host.endpoint for host in view.assigned) if is_assigned else (view.endpoint,),
            frozenset(host.endpoint for host in view.hosts) if is_assigned else frozenset(),
        )

    def _control_health(self, side: Side) -> ControlHealth:
        control = self.controls[side]
        address = str(control.view.endpoint) if control.view else None
        return ControlHealth(address, control.failures, control.settings.failure_threshold)

    def _endpoints_for(
        self, endpoint_factory: EndpointFactory, side: Side
    ) -> Callable[[str, int], IStreamClientEndpoint]:
        timeout = getattr(self._config, f"{side.name.lower()}_connection_timeout_ms") / 1000
        return lambda host, port: endpoint_factory(host, port, timeout)


def configured_credentials(config: Config, side: Side) -> Credentials | None:
    """The credentials of the configuration for a cluster; None where no user is named."""
    if side is Side.ORIGIN:
        username, password = config.origin_username, config.password("origin")
    else:
        username, password = config.target_username, config.password("target")
    return Credentials(username, password) if username else None


def control_settings(config: Config, side: Side, topology: ProxyTopology) -> ControlSettings:
    """How to watch a cluster."""
    name: Literal["origin", "target"] = "origin" if side is Side.ORIGIN else "target"
    timeout = getattr(config, f"{name}_connection_timeout_ms") / 1000
    versions = control_versions(config.control_max_version(), SUPPORTED_VERSIONS)
    return ControlSettings(
        side.name,
        tuple(config.contact_points(name)),
        getattr(config, f"{name}_port"),
        ClientSettings(configured_credentials(config, side), versions, timeout),
        getattr(config, f"{name}_local_datacenter"),
        topology.index,
        len(topology.addresses),
        config.heartbeat_interval_ms / 1000,
        config.heartbeat_retry_interval_min_ms / 1000,
        config.heartbeat_retry_interval_max_ms / 1000,
        config.heartbeat_retry_backoff_factor,
        config.heartbeat_failure_threshold,
    )
