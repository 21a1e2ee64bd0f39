"""What `zdm-proxy check` asks a cluster that can be reached: can every host be, what time is it there, who am I.

Origin serves the application meanwhile, so it is asked little: a connection is opened to each contact point and to each
host that clients would be given, and closed; over one more, a login, one row of system.local and the proxy's own role
are read. A question that a cluster does not understand is no finding.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.topology import ClusterView, Endpoint
from zdm.facts import name_of
from zdm.findings import Finding, warning
from zdm.net.cql_client import ClientSettings, CqlClient, CqlError, connect
from zdm.net.given import Given
from zdm.protocol.responses import Rows

Dial = Callable[[str, int], IStreamClientEndpoint]

CLOCK: Final = "SELECT now() FROM system.local"
MOST_SKEW: Final = 0.5
"""Seconds that two clocks may differ by; those that are set by NTP differ by a few hundredths at most."""

_DEFAULT_SUPERUSER: Final = "cassandra"
_MOST_HOSTS: Final = 100
_UUID_EPOCH: Final = 0x01B21DD213814000  # 100 ns steps from 1582 to 1970


class ClockReading(NamedTuple):
    """How far a clock is ahead of this machine's, in seconds, and by how much that may be wrong."""

    ahead: float
    doubt: float

    def exceeds(self, limit: float) -> bool:
        """It is wrong by more than that, whatever the doubt."""
        return abs(self.ahead) - self.doubt > limit


class Examination(NamedTuple):
    """What was found in one cluster; no `clock` where it could not be read."""

    findings: list[Finding]
    clock: ClockReading | None


async def examine(
    config: Config,
    side: Side,
    view: ClusterView,
    client: ClientSettings,
    dial: Dial,
    clock: IReactorTime,
    wall_clock: Callable[[], float],
) -> Examination:
    """Ask the cluster that was found to be so; `client` is how the proxy connects, `wall_clock` this machine's time."""
    findings = [*_configured(config, side, view), *await _reachability(config, side, view, dial)]
    reading: ClockReading | None = None
    settings = ClientSettings(client.credentials, (view.version,), client.connect_timeout, client.connect_timeout)
    try:
        asking = await connect(dial(view.endpoint.address, view.endpoint.port), settings, clock)
    except (CqlError, ConnectError, OSError):
        return Examination(findings, None)
    try:
        reading = await _clock(asking, wall_clock)
        if client.credentials is not None and view.auth_required:
            findings += await _role(asking, side, client.credentials.username)
    finally:
        asking.close()
    if reading is not None and reading.exceeds(MOST_SKEW):
        findings.append(warning(side.name, _skewed(f"the clock of {view.endpoint}", "this machine's", reading)))
    return Examination(findings, reading)


def findings_of_both(views: dict[Side, ClusterView], clocks: dict[Side, ClockReading]) -> list[Finding]:
    """What only shows when two clusters are compared."""
    found: list[Finding] = []
    if len(clocks) == 2:
        origin, target = clocks[Side.ORIGIN], clocks[Side.TARGET]
        between = ClockReading(target.ahead - origin.ahead, target.doubt + origin.doubt)
        if between.exceeds(MOST_SKEW):
            found.append(warning(Side.TARGET.name, _skewed("its clock", "ORIGIN's", between)))
    if len(views) == 2:
        ids = [{host.host_id for host in view.hosts} for view in views.values()]
        if ids[0] & ids[1]:
            text = "it is the same cluster as ORIGIN: every write would be made twice; mend ZDM_TARGET_CONTACT_POINTS"
            found.append(warning(Side.TARGET.name, text))
    return found


def _skewed(whose: str, other: str, reading: ClockReading) -> str:
    way = "ahead of" if reading.ahead > 0 else "behind"
    return (
        f"{whose} is {abs(reading.ahead):.1f} s {way} {other}: where clients send no timestamps, clusters may keep "
        "different values; set all clocks by NTP"
    )


def _configured(config: Config, side: Side, view: ClusterView) -> list[Finding]:
    name, key = name_of(side), f"ZDM_{side.name}_LOCAL_DATACENTER"
    wanted: str = getattr(config, f"{name}_local_datacenter")
    if wanted == view.datacenter:
        return []
    if not wanted:
        points = config.contact_points(name)
        found = sorted({host.datacenter for host in view.hosts if host.address in points})
        if len(found) < 2:
            return []
        text = f"contact points are in {' and '.join(found)}: the first that answers decides which is used; set {key}"
        return [warning(side.name, text)]
    there = ", ".join(sorted({host.datacenter for host in view.hosts}))
    return [warning(side.name, f"no host is in {wanted} ({key}), {view.datacenter} is used; there is: {there}")]


async def _reachability(config: Config, side: Side, view: ClusterView, dial: Dial) -> list[Finding]:
    name, key = name_of(side), f"ZDM_{side.name}_CONTACT_POINTS"
    port: int = getattr(config, f"{name}_port")
    points = [Endpoint(address, port) for address in config.contact_points(name)]
    hosts: list[Endpoint] = []
    if getattr(config, f"{name}_enable_host_assignment"):
        hosts = [host.endpoint for host in view.assigned[:_MOST_HOSTS] if host.endpoint not in points]
    results = await DeferredList([_reached(dial, endpoint) for endpoint in (*points, *hosts)])
    found = []
    for endpoint, (_, why) in zip((*points, *hosts), results, strict=True):
        if not why:
            continue
        if endpoint in points:
            text = f"contact point {endpoint} cannot be connected to: {why}; mend it, or take it out of {key}"
        else:
            instead = f"set ZDM_{side.name}_ENABLE_HOST_ASSIGNMENT=false to use contact points only"
            text = f"clients are given host {endpoint}, which cannot be connected to: {why}; open the way, or {instead}"
        found.append(warning(side.name, text))
    return found


def _reached(dial: Dial, endpoint: Endpoint) -> Deferred[str]:
    """Fires with why it cannot be connected to; empty where it can."""

    def attached(protocol: IProtocol) -> str:
        protocol.transport.abortConnection()  # type: ignore[attr-defined]  # of the protocol below
        return ""

    def failed(failure: Failure) -> str:
        return failure.getErrorMessage() or type(failure.value).__name__

    return dial(endpoint.address, endpoint.port).connect(Given(Protocol())).addCallbacks(attached, failed)


async def _clock(asking: CqlClient, wall_clock: Callable[[], float]) -> ClockReading | None:
    before = wall_clock()
    value = await _first_value(asking, CLOCK)
    after = wall_clock()
    if value is None or len(value) != 16:
        return None
    there = (uuid.UUID(bytes=value).time - _UUID_EPOCH) / 1e7
    return ClockReading(there - (before + after) / 2, (after - before) / 2)


async def _role(asking: CqlClient, side: Side, username: str) -> list[Finding]:
    key, new = f"ZDM_{side.name}_USERNAME", "use another role, with the rights that the application needs"
    if username == _DEFAULT_SUPERUSER:
        return [
            warning(
                side.name,
                f"{key} is {username}, Cassandra's default superuser: its logins need a QUORUM of all replicas; {new}",
            )
        ]
    quoted = username.replace("'", "''")
    rows = await _rows(asking, f"LIST ROLES OF '{quoted}'")
    columns = [column.name for column in rows.metadata.columns or []] if rows is not None else []
    if rows is None or "super" not in columns or not any(row[columns.index("super")] == b"\x01" for row in rows.rows):
        return []
    return [warning(side.name, f"{key} is {username}, a superuser: whoever gets its password may do anything; {new}")]


async def _first_value(asking: CqlClient, text: str) -> bytes | None:
    rows = await _rows(asking, text)
    return rows.rows[0][0] if rows is not None and rows.rows else None


async def _rows(asking: CqlClient, text: str) -> Rows | None:
    try:
        return await asking.rows(text)
    except CqlError:
        return None
