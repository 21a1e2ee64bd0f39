"""What passes from one process of the proxy to the next at an upgrade: sockets, target's state, logins, sessions.

The running process is the old program of one upgrade and was the new one of that before; here is what both parts take
of it (`zdm.upgrade`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from zdm.admin.server import AdminServer
from zdm.config import Config
from zdm.lasting_state import LastingState
from zdm.log import Log
from zdm.net.adopted import AdoptedEndpoint, Gate, duplicates
from zdm.net.logins import AcceptedLogins
from zdm.net.reception import Reception
from zdm.net.threads import in_time
from zdm.net.transport import SocketOptions
from zdm.notifying import READY, STOPPING, Notify, main_process, silent
from zdm.state_file import SavedState
from zdm.supervisor import ListeningFactory, Supervisor
from zdm.target_switch import TargetSwitch
from zdm.upgrade.incoming import Incoming
from zdm.upgrade.outgoing import Begin, Upgrade
from zdm.upgrade.roles import Movable


class Lineage(NamedTuple):
    """What is around this process: how a new program is started, the way from the old one, and who is told of both."""

    begin: Begin | None = None
    incoming: Incoming | None = None
    notify: Notify = silent


_FILES_LIMIT: Final = 3.0
"""Seconds that the handover waits for a file that is being written."""


class Succession:
    """What an upgrade asks of the running process; also who tries one. `config` is the one in force."""

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        admin: AdminServer,
        state: LastingState,
        logins: AcceptedLogins,
        switch: TargetSwitch,
        reactor: Any,
        log: Log,
        lineage: Lineage,
    ) -> None:
        self.config = config
        self._supervisor: Final = supervisor
        self._admin: Final = admin
        self._state: Final = state
        self._logins: Final = logins
        self._switch: Final = switch
        self._reactor: Final = reactor
        self._log: Final = log
        self._begin: Final = lineage.begin
        self._incoming: Final = lineage.incoming
        self._notify: Final = lineage.notify
        self._has_made_way = False
        self._workers: Movable | None = None
        self._upgrade: Upgrade | None = None

    # Life

    async def take_over(self, workers: Movable) -> None:
        """Clients could be served; returns when they are."""
        self._workers = workers
        if self._incoming is None:
            self._notify(READY)
        else:  # the old program tells who serves now
            await self._incoming.take_over(self)

    async def upgrade(self) -> bool:
        """Have a new program take over; whether it has, and this one is to end."""
        refusal = self._refusal()
        if refusal or self._begin is None:
            self._log.error(f"The upgrade failed, this process goes on serving: {refusal}.")
            return False
        upgrade = Upgrade(self, self._begin, self._reactor, self._log)
        self._upgrade = upgrade
        self._log.info("Upgrade: starting the new program.")
        try:
            return await upgrade.run()
        finally:
            self._upgrade = None

    def stop(self) -> None:
        """This process is about to end: no other is to take over, unless it has."""
        if not self._has_made_way:
            self._notify(STOPPING)
        if self._upgrade is not None:
            self._upgrade.give_up()

    def _refusal(self) -> str:
        if self._workers is None:
            return "it does not serve yet"
        if self._upgrade is not None:
            return "another upgrade is under way"
        if os.getpid() == 1:
            return "with process 1 its container ends, so it cannot make way for another"
        return ""

    # The program that goes

    def listeners(self) -> dict[str, list[socket.socket]]:
        """The sockets that it listens at, once more, by the configured address."""
        config = self.config
        return {
            address_of(config.proxy_listen_address, config.proxy_listen_port): duplicates(self._supervisor.listeners()),
            address_of(config.metrics_address, config.metrics_port): duplicates(self._admin.listeners()),
        }

    def saved(self) -> SavedState:
        """What it knows now."""
        return SavedState(target=self._state.target, known=self._state.known, logins=self._state.logins())

    def workers(self) -> Movable:
        """Its workers."""
        assert self._workers is not None
        return self._workers

    async def settle(self) -> None:
        """From now on nothing changes that the new program must know; returns when no file is being written."""
        self._switch.close()

        def late() -> None:
            self._log.error("The state file is still being written while the new program takes over.")

        await in_time(self._state.close(), _FILES_LIMIT, self._reactor, late)

    def go_on(self) -> None:
        """The new program has failed: all is as before."""
        self._switch.reopen()
        self._state.reopen()

    async def stop_accepting(self) -> None:
        """The new program accepts clients and HTTP; what this one has accepted it serves on."""
        await self._supervisor.stop_listening()
        await self._admin.stop_listening()

    def drain_limit(self) -> float:
        """Seconds in which sessions are to come to rest."""
        return self.config.proxy_drain_timeout_ms / 1000

    def handed_over(self, pid: int) -> None:
        """The new program serves."""
        self._has_made_way = True
        self._notify(main_process(pid))
        self._log.info(f"Upgrade: the new program serves, as process {pid}. Sessions move there.")

    # The program that comes

    def inherit(self, saved: SavedState) -> Deferred[None]:
        """What the old program knew last: fires when all workers know it too."""
        self._logins.adopt(saved.logins)
        inheriting = self._switch.inherit(saved.target)
        return inheriting.addCallback(lambda _: self._state.save_soon())


def address_of(host: str, port: int) -> str:
    """An address as it is configured."""
    return f"{host}:{port}"


def adopting(
    listening: ListeningFactory,
    listeners: Mapping[str, list[socket.socket]],
    gate: Gate,
    options: SocketOptions | None,
    reception: Reception | None = None,
) -> Callable[[str, int], Any]:
    """The way to listen: at those of `listeners`, behind the gate, that are for the address; else at new ones."""

    def endpoint(host: str, port: int) -> Any:
        given = listeners.get(address_of(host, port))
        return AdoptedEndpoint(given, gate, options, reception) if given else listening(host, port)

    return endpoint
