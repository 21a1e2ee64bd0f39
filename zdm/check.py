"""`zdm-proxy check`: try the configuration against both clusters, and print what drivers will see.

Reads the state file, connects to each cluster once, as the proxy would, and ends; nothing is written. Exit codes: 0
where the proxy could start, 1 where a file or a cluster could not be used. A disabled target may be away.
"""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from zdm.admin.access import SHUT, Access
from zdm.config import Config
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.credentials import AuthenticationRule, authentication_rule
from zdm.core.options import merge_supported
from zdm.core.topology import ClusterView
from zdm.facts import control_settings
from zdm.lasting_state import check_places, read_state
from zdm.net.control import ControlConnection, ControlError
from zdm.net.endpoints import install_reactor
from zdm.settings import proxy_topology, session_settings
from zdm.sockets import dialling, file_shortage
from zdm.state_file import UnusableFileError
from zdm.target_switch import disable_refusal

PATIENCE: Final = 10.0
"""Seconds for a cluster to be connected to: somebody is waiting for the answer."""

_WIDTH: Final = 140  # a host id must not be cut where the output goes to a file


def run(config: Config) -> int:
    """The check; its exit code."""
    install_reactor()
    from twisted.internet import reactor

    outcome: list[int] = []

    def begin() -> None:
        checking = Deferred.fromCoroutine(
            Check(config, reactor, Console(soft_wrap=True, width=max(Console().width, _WIDTH))).run()
        )
        checking.addErrback(_unexpected)
        checking.addCallback(outcome.append)
        checking.addBoth(lambda _: reactor.stop())

    reactor.callLater(0, begin)
    reactor.run()
    return outcome[0] if outcome else 1


class _Quiet:
    """The control connections' lines are told in the tables instead; what is wrong is kept for them."""

    def __init__(self) -> None:
        self.troubles: Final[list[str]] = []

    def debug(self, text: str) -> None:
        """Not shown."""

    def info(self, text: str) -> None:
        """Not shown."""

    def warn(self, text: str) -> None:
        self.troubles.append(text)

    def error(self, text: str) -> None:
        self.troubles.append(text)


class Check:
    """One run over both clusters."""

    def __init__(self, config: Config, reactor: Any, console: Console) -> None:
        self._config: Final = config
        self._reactor: Final = reactor
        self._console: Final = console

    async def run(self) -> int:
        """Print everything; 0 where the proxy could start."""
        is_enabled = self._target_is_enabled()
        self._look_at_files()
        if Access(self._config.metrics_address, self._config.admin_bearer()).is_shut:
            self._console.print(SHUT, style="red", highlight=False)
        views: dict[Side, ClusterView] = {}
        for side in CLUSTERS:
            view = await self._reach(side)
            if view is not None:
                views[side] = view
        if is_enabled is None or Side.ORIGIN not in views:
            return 1
        if Side.TARGET not in views:
            return 1 if is_enabled else 0
        self._console.print(_cluster_table(views))
        self._console.print(_driver_table(self._config, views))
        for line in _notes(self._config, views, is_enabled):
            self._console.print(line, highlight=False)
        return 0

    def _look_at_files(self) -> None:
        lacking = file_shortage(self._config)
        if lacking:
            self._console.print(lacking, style="yellow", highlight=False)

    def _target_is_enabled(self) -> bool | None:
        """As the proxy would start with; None where it would not, because a file cannot be used."""
        try:
            target = read_state(self._config).target
            check_places(self._config)
        except UnusableFileError as unusable:
            self._console.print(str(unusable), style="red", highlight=False)
            return None
        self._console.print(f"TARGET: {'enabled' if target.enabled else 'disabled'} at start", highlight=False)
        refused = None if target.enabled else disable_refusal(self._config)
        if refused is not None:
            self._console.print(f"  {refused}", style="red", highlight=False)
        return target.enabled

    async def _reach(self, side: Side) -> ClusterView | None:
        quiet = _Quiet()
        settings = control_settings(self._config, side, proxy_topology(self._config))
        timeout = min(settings.client.connect_timeout, PATIENCE)
        dial = dialling(self._config)
        control = ControlConnection(settings, lambda host, port: dial(host, port, timeout), self._reactor, quiet)
        self._console.print(f"{side.name}: connecting to {', '.join(settings.contact_points)} port {settings.port} ...")
        try:
            return await control.open()
        except ControlError as failed:
            self._console.print(f"{side.name}: {failed}", style="red")
            for trouble in quiet.troubles:
                self._console.print(f"  {trouble}", highlight=False)
            return None
        finally:
            control.close()


def _unexpected(failed: Failure) -> int:
    failed.printTraceback()
    return 1


def _cluster_table(views: dict[Side, ClusterView]) -> Table:
    table = Table("", *(side.name for side in views), title="Clusters")
    rows = {
        "name": [view.name for view in views.values()],
        "contacted": [str(view.endpoint) for view in views.values()],
        "protocol version": [str(view.version) for view in views.values()],
        "authentication": ["yes" if view.auth_required else "no" for view in views.values()],
        "partitioner": [view.partitioner.rpartition(".")[2] for view in views.values()],
        "datacenter used": [view.datacenter for view in views.values()],
        "hosts there": [str(len(view.local_hosts)) for view in views.values()],
        "hosts this proxy uses": ["\n".join(map(str, view.assigned)) for view in views.values()],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _driver_table(config: Config, views: dict[Side, ClusterView]) -> Table:
    topology = proxy_topology(config)
    view = views[session_settings(config).system_queries]
    table = Table("system table", "address", "datacenter", "rack", "host id", "tokens", title="What drivers will see")
    for host in topology.virtual_hosts(""):
        real = view.local_hosts[host.index % len(view.local_hosts)]
        shown_in = "system.local" if host.index == topology.index else "system.peers"
        address = f"{host.address}:{topology.port}"
        if host.index == topology.index and topology.depends_on_client():
            address = f"(what the client connected to):{topology.port}"
        table.add_row(
            shown_in,
            address,
            topology.datacenter or real.datacenter,
            topology.rack or "rack0",
            str(host.host_id),
            str(len(host.tokens)),
        )
    return table


def _notes(config: Config, views: dict[Side, ClusterView], is_enabled: bool) -> list[str]:
    settings = session_settings(config)
    origin, target = views[Side.ORIGIN], views[Side.TARGET]
    supported = merge_supported(origin.supported, target.supported, settings.versions)
    lines = [f"SUPPORTED: {name} {', '.join(values) or '(none)'}" for name, values in sorted(supported.items())]
    rule = authentication_rule(
        origin.auth_required, target.auth_required, settings.forward_client_credentials_to_origin
    )
    lines.append(_credentials_note(rule, origin.auth_required or target.auth_required))
    if is_enabled:
        lines.append(f"Reads go to {settings.primary.name}, writes to both.")
    else:
        lines.append("Reads and writes go to ORIGIN alone, until TARGET is enabled.")
    return lines


def _credentials_note(rule: AuthenticationRule, is_asked: bool) -> str:
    if not is_asked:
        return "Clients need no credentials: neither cluster asks for any."
    return f"Clients log in with credentials of {rule.clients.name}."
