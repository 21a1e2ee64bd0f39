"""The running program: from the first log line of the proxy to the last (sections 9.2 and 9.3).

Start-up is tried for ever, because a proxy often starts before its clusters do; HTTP answers all the while, and a call
that disables target lets the start go on without it. SIGINT and SIGTERM end the program: no new clients, requests in
flight answered within `proxy_drain_timeout_ms`, then everything closed. SIGUSR2 has a new program take over, SIGHUP the
configuration read again (`zdm.rereading`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from zdm.admin.access import SHUT, Access
from zdm.admin.health import Health
from zdm.certificates import Certificates, tls_plans
from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.prepared import PreparedCache
from zdm.core.snapshot import Snapshot
from zdm.families import render
from zdm.lasting_state import LastingState
from zdm.log import Log
from zdm.net.control import ControlError
from zdm.net.endpoints import ServerEndpoint, attach_accepted
from zdm.net.logins import AcceptedLogins
from zdm.net.session_host import EndpointsOf
from zdm.net.threads import Run, in_threads_of, in_time
from zdm.net.tls_files import TlsFileError
from zdm.rereading import Rereading
from zdm.settings import new_meter, proxy_topology
from zdm.sockets import raise_file_limit, socket_options
from zdm.state_file import SavedState
from zdm.succession import Lineage, Succession
from zdm.supervisor import ListeningFactory, Supervisor
from zdm.target_switch import TargetSwitch, disable_refusal
from zdm.tls_ends import NO_TLS, TlsEnds, TlsSetups
from zdm.upgrade.roles import Movable, OwnWorker
from zdm.worker_process.crew import Crew, Launch
from zdm.worker_process.launch import worker_settings
from zdm.workers import Worker, WorkerRole

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 10.0
_FILES_LIMIT: Final = 5.0
_FAILED: Final = 1


ALONE: Final = Lineage()


class Staff(NamedTuple):
    """Workers in processes of their own: how many, how one is started, and how connections for them are accepted."""

    size: int
    launch: Launch
    entrance: ListeningFactory


class ProxyService:
    """Supervisor, worker and HTTP server of one process; with a `staff` the workers have their own."""

    def __init__(
        self,
        config: Config,
        log: Log,
        reactor: Any,
        connecting: EndpointsOf,
        listening: ListeningFactory = ServerEndpoint,
        saved: SavedState | None = None,
        run: Run | None = None,
        staff: Staff | None = None,
        lineage: Lineage = ALONE,
        reread: Callable[[], Config] | None = None,
        entrance: ListeningFactory | None = None,
        tls: TlsEnds = NO_TLS,
    ) -> None:
        """`connecting` and `listening` are the ways to other hosts and to addresses of this one.

        `saved` is what the process before has left, `run` where work goes that takes long: threads of the reactor.
        `lineage` is what an upgrade needs. `reread` gives the configuration as it is now where it came from.
        `entrance` is the way to listen for clients, where they come in otherwise than who calls by HTTP. `tls` is what
        all these use, and gets its certificates from here.
        """
        from zdm.admin.app import AdminApp  # not before the reactor is installed: Klein imports it
        from zdm.admin.server import AdminServer

        self.exit_code = 0
        self._config = config
        self._log: Final = log
        self._reactor: Final = reactor
        self._worker: WorkerRole | None = None
        self._meter: Final = new_meter(config)
        self._topology: Final = proxy_topology(config)
        run = run or in_threads_of(reactor)
        saved = saved or SavedState()
        self._state: Final = LastingState(saved, config.state_file, run, reactor, log)
        self._logins: Final = AcceptedLogins(run, log, saved.logins, self._state.save_soon)
        self._state.logins = self._logins.records
        entrance = (entrance or listening) if staff is None else staff.entrance
        size = 1 if staff is None else staff.size
        self._supervisor: Final = Supervisor(
            config, self._topology, connecting, reactor, log, self._state, entrance, size
        )
        self._crew: Final = None if staff is None else self._new_crew(staff)
        self._certificates: Final = Certificates(tls_plans(config), tls, run, reactor, log, self._tell_certificates)
        self.target: Final = TargetSwitch(config, self._state, self._supervisor, run, reactor, log, self._hurry)
        address, port = config.metrics_address, config.metrics_port
        self._access: Final = Access(address, config.admin_bearer())
        resource = AdminApp(self, config.metrics_enabled, self._access, self._children).resource()
        self._admin: Final = AdminServer(resource, address, port, reactor, listening(address, port))
        self._succession: Final = Succession(
            config, self._supervisor, self._admin, self._state, self._logins, self.target, reactor, log, lineage
        )
        self._rereading: Final = Rereading(config, reread or (lambda: config), self._reconfigure, run, log)
        self._connecting: Final = connecting
        self._starting: Deferred[None] | None = None
        self._retry: IDelayedCall | None = None
        self._is_stopping = False

    # What HTTP asks

    def metrics_text(self) -> str | None | Deferred[str | None]:
        """The proxy's families; nothing before it started and after it stopped."""
        if self._worker is None:
            return None
        prefix = self._config.metrics_prefix
        crew = self._crew
        return self._worker.scrape().addCallback(
            lambda meter: render(
                meter, prefix, crew.by_worker() if crew is not None else None, self._certificates.seconds_left()
            )
        )

    def health(self) -> Health | None:
        """Both clusters; nothing before the proxy started and after it stopped."""
        return None if self._worker is None else self._supervisor.health()

    def _children(self) -> list[int]:
        return [] if self._crew is None else self._crew.pids()

    # Life

    def start(self) -> None:
        """Called when the reactor runs."""
        self._state.save_soon()  # a full disk may have been left behind
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._start_failed)

    def stop(self) -> None:
        """Begin the end; a second call changes nothing."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self.target.close()
        self._succession.stop()
        if self._worker is None:
            self._log.info("Cancellation detected. Aborting proxy startup...")
        if self._starting is not None:
            self._starting.cancel()
        ending = Deferred.fromCoroutine(self._stop())
        ending.addErrback(self._failed, "The shutdown did not go as planned")
        ending.addBoth(lambda _: self._reactor.stop())

    def hung_up(self) -> None:
        """Read the configuration again, and apply what can be; and look at the files of certificates."""
        if not self._is_stopping:
            self._rereading.again()
            self._certificates.hurry()

    def _reconfigure(self, config: Config) -> None:
        self._config = config
        level, log_format = config.log_level_name, config.log_format
        self._log.configure(level, log_format)
        if self._crew is not None:
            self._crew.configure_log(level, log_format)
        self._access.replace_token(config.admin_bearer())
        self._succession.config = config
        if not self._is_stopping:
            self._supervisor.reconfigure(config)

    def upgrade(self) -> None:
        """Have the program start anew from what is on disk now, and take over from this one."""
        if not self._is_stopping:
            upgrading = Deferred.fromCoroutine(self._succession.upgrade())
            upgrading.addCallback(lambda is_done: self.stop() if is_done else None)
            upgrading.addErrback(self._upgrade_failed)

    async def _start(self) -> None:
        raise_file_limit(self._config, self._log)
        self._tell_target()
        await self._admin.start()
        if self._crew is not None:
            self._crew.start()
        self._tell_start()
        delay = _FIRST_RETRY
        while not await self._try_to_start(delay):
            await self._pause(delay)
            delay = min(_LONGEST_RETRY, delay * 2) * random.uniform(0.9, 1.0)

    def _tell_start(self) -> None:
        """In the reference's words and order (section 9.2)."""
        topology = self._topology
        for line in ("Attempting to start the proxy...", "Validating config...", "Starting proxy..."):
            self._log.info(line)
        addresses = ", ".join(topology.addresses)
        self._log.info(
            f"Parsed Topology Config: index {topology.index} of {addresses}, {topology.num_tokens} tokens each"
        )

    def _tell_target(self) -> None:
        target = self._state.target
        self._log.info(f"Target cluster: {'enabled' if target.enabled else 'disabled'}")
        if self._access.is_shut:
            self._log.warn(SHUT)
        if target.enabled:
            return
        self._log.info(f"Target has been disabled{target.history}. POST /api/v1/target/enable enables it.")
        refused = disable_refusal(self._config)
        if refused is not None:
            self._log.warn(f"Target is disabled, although the configuration forbids that: {refused}")

    def _pause(self, delay: float) -> Deferred[None]:
        def cancel(_: Deferred[None]) -> None:
            retry.cancel()

        pause: Deferred[None] = Deferred(cancel)
        self._retry = retry = self._reactor.callLater(delay, pause.callback, None)
        return pause

    def _hurry(self) -> None:
        """A start that pauses need not wait for what has just been disabled."""
        if self._retry is not None and self._retry.active():
            self._retry.reset(0)

    async def _try_to_start(self, delay: float) -> bool:
        try:
            await self._start_once()
        except (ControlError, CannotListenError, TlsFileError) as failed:
            self._log.error(f"Couldn't start proxy: {failed}.")
            self._log.warn(f"Couldn't start proxy, retrying in {delay:.1f}s: {failed}.")
            return False
        return True

    async def _start_once(self) -> None:
        config, log = self._config, self._log
        await self._certificates.load()
        snapshot = await self._supervisor.open()
        worker = self._worker_with(snapshot)
        await self._supervisor.listen(worker)
        if self._crew is not None:
            await self._crew.opened()
        await self._succession.take_over(self._movable(worker))
        self._worker = worker
        self.target.is_ready = True
        log.info(
            f"Proxy connected and ready to accept queries on {config.proxy_listen_address}:{config.proxy_listen_port}"
        )
        log.info("Proxy started. Waiting for SIGINT/SIGTERM to shutdown.")

    def _tell_certificates(self, setups: TlsSetups) -> None:
        if self._crew is not None:
            self._crew.secure(setups)

    def _worker_with(self, snapshot: Snapshot) -> WorkerRole:
        """Nothing may be awaited between this and `Supervisor.listen`: what changes meanwhile would reach nobody."""
        if self._crew is None:
            return self._new_worker(snapshot)
        self._crew.apply(snapshot)
        return self._crew

    def _movable(self, worker: WorkerRole) -> Movable:
        if self._crew is not None:
            return self._crew
        assert isinstance(worker, Worker)
        options = socket_options(self._config)
        return OwnWorker(worker, lambda moved, factory: attach_accepted(moved, factory, options))

    def _new_crew(self, staff: Staff) -> Crew:
        config = self._config
        return Crew(
            worker_settings(config, staff.size),
            staff.launch,
            self._reactor,
            self._log,
            lambda: new_meter(config),
            self._supervisor.refresh_schema,
            self._logins,
        )

    def _new_worker(self, snapshot: Snapshot) -> Worker:
        config = self._config
        timeouts = {
            Side.ORIGIN: config.origin_connection_timeout_ms / 1000,
            Side.TARGET: config.target_connection_timeout_ms / 1000,
        }
        return Worker(
            snapshot,
            self._meter,
            PreparedCache(config.prepared_cache_entries),
            self._reactor,
            time.perf_counter,
            self._connecting,
            timeouts,
            self._log,
            self._supervisor.refresh_schema,
            self._logins,
        )

    def _start_failed(self, failed: Failure) -> None:
        if self._is_stopping and failed.check(CancelledError):
            return
        self._failed(failed, "Starting the proxy failed in a way that trying again does not mend")
        self.stop()

    def _upgrade_failed(self, failed: Failure) -> None:
        self._failed(failed, "The upgrade did not go as planned")
        self.stop()

    def _failed(self, failed: Failure, text: str) -> None:
        self.exit_code = _FAILED
        self._log.error(text, failed)

    async def _stop(self) -> None:
        log = self._log
        log.info("Initiating proxy shutdown...")
        await self._supervisor.stop_listening()
        worker = self._worker
        if worker is not None:
            log.info(f"Draining {worker.clients()} client connections, for at most {self._drain_limit():g} s.")
            await worker.drain(self._drain_limit())
        self._worker = None
        if self._crew is not None:
            await self._crew.close()
        self._supervisor.close()
        self._certificates.close()
        await self._files_written()
        log.info("Proxy shutdown complete.")
        await self._admin.stop()

    async def _files_written(self) -> None:
        """Or not: a disk that hangs must not keep the process."""

        def waited_for(kind: str, writing: Deferred[None]) -> Deferred[None]:
            text = f"The {kind} file is still not written: the proxy ends without."
            return in_time(writing, _FILES_LIMIT, self._reactor, lambda: self._log.error(text))

        for waiting in (waited_for("state", self._state.close()), waited_for("audit", self.target.recorded())):
            await waiting

    def _drain_limit(self) -> float:
        return self._config.proxy_drain_timeout_ms / 1000
