"""What `zdm-proxy check` prints: tables and lines for people, or one JSON object for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.credentials import AuthenticationRule, authentication_rule
from zdm.core.intercept import DEFAULT_RACK
from zdm.core.options import merge_supported
from zdm.core.topology import ClusterView
from zdm.findings import Finding, Severity
from zdm.protocol.compression import ALGORITHMS
from zdm.settings import proxy_topology, session_settings

COULD_START: Final = 0
COULD_NOT_START: Final = 1
HAS_WARNINGS: Final = 3

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@dataclass(slots=True)
class Report:
    """The outcome of one check. `is_enabled` is None where the state of target cannot be read."""

    is_enabled: bool | None
    findings: list[Finding] = field(default_factory=list)
    views: dict[Side, ClusterView] = field(default_factory=dict)

    @property
    def could_start(self) -> bool:
        """A proxy with this configuration would come to serve clients, here and now."""
        return not any(found.severity is Severity.ERROR for found in self.findings)

    def exit_code(self, is_strict: bool) -> int:
        """`is_strict`: warnings count."""
        if not self.could_start:
            return COULD_NOT_START
        return HAS_WARNINGS if is_strict and self.findings else COULD_START


def print_report(console: Console, config: Config, report: Report) -> None:
    """For people: what was found in the clusters, what drivers will see, and the findings last."""
    if len(report.views) == 2:
        console.print(_cluster_table(report.views))
        console.print(_driver_table(config, report.views))
        for line in notes(config, report):
            console.print(line, highlight=False)
    for found in report.findings:
        text = f"{found.severity.value.upper()}: {found.about}: {found.text}"
        console.print(text, style=_COLOURS[found.severity], highlight=False, markup=False)
    if not report.findings:
        console.print("Nothing to complain of.", highlight=False)
    if not report.could_start:
        console.print("The proxy could not serve like this.", style="red", highlight=False)


def report_json(config: Config, report: Report) -> str:
    """For programs; the findings have the same texts."""
    shown: dict[str, Any] = {
        "could_start": report.could_start,
        "target_enabled": report.is_enabled,
        "findings": [
            {"severity": found.severity.value, "about": found.about, "text": found.text} for found in report.findings
        ],
        "clusters": {side.name.lower(): _cluster(view) for side, view in report.views.items()},
        "drivers": _drivers(config, report.views) if len(report.views) == 2 else [],
        "notes": notes(config, report) if len(report.views) == 2 else [],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _cluster(view: ClusterView) -> dict[str, Any]:
    return {
        "name": view.name,
        "contacted": str(view.endpoint),
        "protocol_version": view.version,
        "authentication": view.auth_required,
        "partitioner": view.partitioner.rpartition(".")[2],
        "datacenter": view.datacenter,
        "hosts": [str(host) for host in view.local_hosts],
        "assigned": [str(host) for host in view.assigned],
    }


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
    table = Table("system table", "address", "datacenter", "rack", "host id", "tokens", title="What drivers will see")
    for row in _drivers(config, views):
        table.add_row(*map(str, row.values()))
    return table


def _drivers(config: Config, views: dict[Side, ClusterView]) -> list[dict[str, Any]]:
    """A row for each instance, as drivers read them of system.local and system.peers."""
    topology = proxy_topology(config)
    view = views[session_settings(config).system_queries]
    rows = []
    for host in topology.virtual_hosts(""):
        real = view.local_hosts[host.index % len(view.local_hosts)]
        shown_in = "system.local" if host.index == topology.index else "system.peers"
        address = f"{host.address}:{topology.port}"
        if host.index == topology.index and topology.depends_on_client():
            address = f"(what the client connected to):{topology.port}"
        rows.append(
            {
                "table": shown_in,
                "address": address,
                "datacenter": topology.datacenter or real.datacenter,
                "rack": topology.rack or DEFAULT_RACK,
                "host_id": str(host.host_id),
                "tokens": len(host.tokens),
            }
        )
    return rows


def notes(config: Config, report: Report) -> list[str]:
    """What clients will be offered, and where their requests go."""
    settings, views = session_settings(config), report.views
    origin, target = views[Side.ORIGIN], views[Side.TARGET]
    supported = merge_supported(origin.supported, target.supported, settings.versions, ALGORITHMS)
    lines = [f"SUPPORTED: {name} {', '.join(values) or '(none)'}" for name, values in sorted(supported.items())]
    rule = authentication_rule(
        origin.auth_required, target.auth_required, settings.forward_client_credentials_to_origin
    )
    lines.append(_credentials_note(rule, origin.auth_required or target.auth_required))
    if report.is_enabled:
        lines.append(f"Reads go to {settings.primary.name}, writes to both.")
    else:
        lines.append("Reads and writes go to ORIGIN alone, until TARGET is enabled.")
    return lines


def _credentials_note(rule: AuthenticationRule, is_asked: bool) -> str:
    if not is_asked:
        return "Clients need no credentials: neither cluster asks for any."
    return f"Clients log in with credentials of {rule.clients.name}."
