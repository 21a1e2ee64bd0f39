"""The control plane: what both clusters are, what sessions are to know of that, and who may connect.

Makes a new `Snapshot` whenever a control connection has found something new or target was enabled or disabled, gives it
to the workers, and accepts client connections for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure

from zdm.admin.health import ControlHealth, Health
from zdm.config import Config
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.intercept import SystemTables
from zdm.core.options import merge_supported
from zdm.core.snapshot import ClusterFacts, Settings, Snapshot, TargetMode
from zdm.core.topology import ClusterView, ProxyTopology
from zdm.facts import cluster_facts, control_settings, name_of, unseen_target_facts
from zdm.lasting_state import LastingState
from zdm.log import Log
from zdm.net.control import ControlConnection, ControlError
from zdm.net.endpoints import ServerEndpoint
from zdm.net.session_host import EndpointsOf
from zdm.protocol.compression import ALGORITHMS
from zdm.settings import session_settings
from zdm.workers import WorkerRole

ListeningFactory = Callable[[str, int], IStreamServerEndpoint]
"""Makes the endpoint to listen at, for a host and a port."""


class ClientFactory(ServerFactory):
    """Gives each accepted connection its protocol, up to the limit of clients (section 10.3)."""

    noisy = False

    def __init__(self, worker: WorkerRole, limit: int, log: Log) -> None:
        self.limit = limit
        self._worker: Final = worker
        self._log: Final = log

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:  # type: ignore[override]  # as the interface
        """None closes the connection without a byte."""
        if self._worker.clients() >= self.limit:
            peer = f"{getattr(addr, 'host', '?')}:{getattr(addr, 'port', '?')}"
            self._log.warn(
                f"Refusing client connection from {peer} because max clients threshold has been hit ({self.limit})."
            )
            return None
        return self._worker.client(addr)


class Supervisor:
    """Watches both clusters, and keeps the workers informed. What is wanted of target is what `state` says."""

    def __init__(
        self,
        config: Config,
        topology: ProxyTopology,
        endpoints_of: EndpointsOf,
        clock: IReactorTime,
        log: Log,
        state: LastingState,
        listening: ListeningFactory = ServerEndpoint,
        workers: int = 1,
    ) -> None:
        self._config = config
        self._workers: Final = workers
        self._listening: Final = listening
        self._topology: Final = topology
        self._log: Final = log
        self._state: Final = state
        self._settings: Settings = session_settings(config, workers)
        self._generation = state.target.generation
        self._worker: WorkerRole | None = None
        self._entrance: ClientFactory | None = None
        self._port: IListeningPort | None = None
        self._announced: Final[set[Side]] = set()
        self._waiting: Deferred[None] | None = None
        self.controls: Final = {
            side: ControlConnection(
                control_settings(config, side, topology),
                self._endpoints_for(endpoints_of, side),
                clock,
                log,
                self._changes_of(side),
            )
            for side in CLUSTERS
        }

    async def open(self) -> Snapshot:
        """Reach origin and then target; what was reached already stays open. Raises ControlError.

        Target is not waited for while it is disabled, and no longer once it is.
        """
        if not self.controls[Side.ORIGIN].is_up:
            await self._opened(Side.ORIGIN)
        target = self.controls[Side.TARGET]
        if self._state.target.enabled and not target.is_up:
            await self._target_or_its_end()
        if not self._state.target.enabled:
            target.probe(True)
            target.start()
        return self.snapshot()

    async def listen(self, worker: WorkerRole) -> None:
        """Accept clients for the worker. Raises CannotListenError."""
        config = self._config
        self._worker = worker
        self._entrance = ClientFactory(worker, config.proxy_max_client_connections, self._log)
        endpoint = self._listening(config.proxy_listen_address, config.proxy_listen_port)
        self._port = await endpoint.listen(self._entrance)

    def listeners(self) -> list[Any]:
        """The sockets at which clients are accepted."""
        return [] if self._port is None else cast(Any, self._port).listeners()

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

    def reconfigure(self, config: Config) -> None:
        """Go on with this configuration, which differs from the one before in what can change while the proxy runs.

        That is what sessions are told anew (settings and logins), the login and threshold of the control connections,
        and the limit of clients.
        """
        self._config = config
        self._settings = session_settings(config, self._workers)
        for side, control in self.controls.items():
            control.settings = control_settings(config, side, self._topology)
        if self._entrance is not None:
            self._entrance.limit = config.proxy_max_client_connections
        self._tell_worker()

    def refresh_schema(self) -> None:
        """A client has changed the schema."""
        for control in self.controls.values():
            control.refresh_schema()

    def target_switched(self) -> Deferred[int]:
        """What is wanted of target has changed: fires with the next generation, when every worker has it."""
        is_enabled = self._state.target.enabled
        self.controls[Side.TARGET].probe(not is_enabled)
        if self._worker is not None:
            return maybeDeferred(self._worker.apply, self.snapshot())
        self._generation += 1  # in which there is nothing yet for anybody to know
        acknowledged = succeed(self._generation)
        if not is_enabled:
            self._wait_no_longer()
        return acknowledged

    @property
    def generation(self) -> int:
        """The number of the last generation that was made."""
        return self._generation

    def attaching(self) -> int:
        """How many clients still lack their target connection while target takes part."""
        return 0 if self._worker is None else self._worker.attaching()

    def health(self) -> Health:
        """Both control connections as readiness reports them."""
        origin, target = (self._control_health(side) for side in CLUSTERS)
        is_required = self._state.target.enabled and not self.controls[Side.TARGET].is_unasked
        return Health(origin, target, is_required)

    def snapshot(self) -> Snapshot:
        """What sessions are to know now, as a new generation."""
        origin, target = self.controls[Side.ORIGIN].view, self.controls[Side.TARGET].view
        assert origin is not None, "asked for a snapshot before origin was reached"
        self._generation += 1
        shown = origin if self._settings.system_queries is Side.ORIGIN else target
        return Snapshot(
            self._generation,
            self._settings,
            cluster_facts(self._config, Side.ORIGIN, origin),
            self._target_facts(target, origin),
            merge_supported(origin.supported, self._target_options(origin), self._settings.versions, ALGORITHMS),
            SystemTables(shown or origin, self._topology),
            TargetMode.DUAL if self._state.target.enabled else TargetMode.ORIGIN_ONLY,
        )

    async def _opened(self, side: Side) -> None:
        try:
            await self.controls[side].open()
        except ControlError as failed:
            name = side.name.lower()
            raise ControlError(f"failed to initialize {name} control connection: {failed}") from failed

    async def _target_or_its_end(self) -> None:
        """Returns when target is reached, or is disabled, whichever comes first. Raises ControlError."""
        opening = Deferred.fromCoroutine(self._opened(Side.TARGET))
        waiting: Deferred[None] = Deferred(lambda _: opening.cancel())
        self._waiting = waiting
        opening.addBoth(self._target_answered)
        await waiting

    def _wait_no_longer(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _target_answered(self, outcome: Failure | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return  # it was disabled meanwhile
        if outcome is None:
            waiting.callback(None)
        else:
            waiting.errback(outcome)

    def _changes_of(self, side: Side) -> Callable[[ClusterView], None]:
        return lambda view: self._changed(side, view)

    def _changed(self, side: Side, view: ClusterView) -> None:
        self._announce(side, view)
        if side is Side.TARGET:
            self._state.learn(view)
        self._tell_worker()

    def _tell_worker(self) -> None:
        if self._worker is not None:
            applying = maybeDeferred(self._worker.apply, self.snapshot())
            applying.addErrback(lambda failed: self._log.error("A worker could not take a new generation", failed))

    def _announce(self, side: Side, view: ClusterView) -> None:
        if side in self._announced:
            return
        self._announced.add(side)
        hosts, assigned = (", ".join(map(str, some)) for some in (view.local_hosts, view.assigned))
        self._log.info(
            f"Initialized {side.name.lower()} control connection. Cluster Name: {view.name}, Hosts: [{hosts}], "
            f"Assigned Hosts: [{assigned}]."
        )

    def _target_facts(self, view: ClusterView | None, origin: ClusterView) -> ClusterFacts:
        if view is not None:
            return cluster_facts(self._config, Side.TARGET, view)
        return unseen_target_facts(self._config, self._state.known, origin)

    def _target_options(self, origin: ClusterView) -> Mapping[str, list[str]]:
        """What target offered last, in this process or before; what origin offers, where that is not known."""
        known = self._state.known
        return origin.supported if known is None else known.supported

    def _control_health(self, side: Side) -> ControlHealth:
        control = self.controls[side]
        address = str(control.view.endpoint) if control.view else None
        return ControlHealth(address, control.failures, control.settings.failure_threshold)

    def _endpoints_for(self, endpoints_of: EndpointsOf, side: Side) -> Callable[[str, int], IStreamClientEndpoint]:
        timeout = getattr(self._config, f"{name_of(side)}_connection_timeout_ms") / 1000
        endpoint = endpoints_of(side)
        return lambda host, port: endpoint(host, port, timeout)
