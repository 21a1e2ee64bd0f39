"""What a cluster is asked before the proxy starts, and what is told of its answers."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import SecretStr
from twisted.internet.defer import Deferred

from tests.net.nodes import Lines, Network, Node
from tests.system_rows import peer_row
from zdm.cluster_findings import CLOCK, ClockReading, Examination, examine, findings_of_both
from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.topology import ClusterView
from zdm.facts import control_settings
from zdm.net.control import ControlConnection
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.metadata import ColumnSpec, RowsMetadata
from zdm.protocol.responses import Response, Rows
from zdm.protocol.types import BOOLEAN, TIMEUUID, VARCHAR, CqlType
from zdm.settings import proxy_topology

NOW = 1_764_000_000.0


def rows(*found: list[bytes | None], **columns: CqlType) -> Rows:
    specs = [ColumnSpec("ks", "t", name, kind) for name, kind in columns.items()]
    return Rows(RowsMetadata(specs, len(specs)), list(found))


def clock_at(seconds: float) -> Rows:
    """The answer of a node whose clock is there."""
    steps = int(seconds * 1e7) + 0x01B21DD213814000
    fields = (steps & 0xFFFFFFFF, steps >> 32 & 0xFFFF, 0x1000 | steps >> 48 & 0x0FFF, 0x80, 1, 5)
    return rows([uuid.UUID(fields=fields).bytes], now=TIMEUUID)


def roles(*are_super: bool) -> Rows:
    """An answer to LIST ROLES."""
    found: list[list[bytes | None]] = [[b"r", b"\x01" if one else b"\x00"] for one in are_super]
    return rows(*found, role=VARCHAR, super=BOOLEAN)


class World:
    """Origin, of one node unless a test adds some. `seconds` pass while the clock is read."""

    def __init__(self, seconds: float = 0.0, **keys: Any) -> None:
        self.network = Network()
        self.node = self.network.add(1)
        self.node.answers[CLOCK] = clock_at(NOW)
        self.config = Config(origin_contact_points="127.0.40.1", **keys)
        self.times = iter((NOW - seconds / 2, NOW + seconds / 2))

    def add(self, number: int) -> Node:
        self.node.peers.append(peer_row(number))
        return self.network.add(number)

    def view(self) -> ClusterView:
        log: Any = Lines()
        settings = control_settings(self.config, Side.ORIGIN, proxy_topology(self.config))
        control = ControlConnection(settings, self.network.endpoint, self.network.clock, log)
        control.open()
        self.network.clock.pump([0] * 20)
        view = control.view
        control.close()
        assert view is not None
        return view

    def examine(self, view: ClusterView | None = None) -> Examination:
        view = view or self.view()
        client = control_settings(self.config, Side.ORIGIN, proxy_topology(self.config)).client
        network, found = self.network, list[Examination]()
        examining = examine(
            self.config, Side.ORIGIN, view, client, network.endpoint, network.clock, lambda: next(self.times)
        )
        Deferred.fromCoroutine(examining).addCallback(found.append)
        network.clock.pump([0] * 20)
        assert self.open_connections == 0
        return found[0]

    def told(self) -> list[str]:
        found = self.examine().findings
        assert all((one.about, one.severity.value) == ("ORIGIN", "warning") for one in found)
        return [one.text for one in found]

    @property
    def open_connections(self) -> int:
        return sum(node.open_connections for node in self.network.nodes.values())


def test_a_healthy_cluster_is_asked_little() -> None:
    """Origin serves the application meanwhile: one row of system.local, and no role where nobody logs in."""
    world = World()
    view = world.view()
    found = world.examine(view)
    assert found.findings == [] and found.clock is not None
    assert abs(found.clock.ahead) < 1e-5 and found.clock.doubt == 0.0
    assert world.node.connections[1].asked() == []
    assert world.node.connection.asked() == ["OPTIONS", "STARTUP", CLOCK]
    assert len(world.node.connections) == 3


@pytest.mark.parametrize(
    ("ahead", "seconds", "is_told"), [(0.4, 0, False), (0.7, 0, True), (-0.7, 0, True), (0.7, 1.0, False)]
)
def test_a_clock_that_is_wrong_is_told(ahead: float, seconds: float, is_told: bool) -> None:
    """Unless the answer took so long that nobody can tell."""
    world = World(seconds)
    world.node.answers[CLOCK] = clock_at(NOW + ahead)
    told = world.told()
    assert len(told) == is_told
    way = "ahead of" if ahead > 0 else "behind"
    assert all(text.startswith(f"the clock of 127.0.40.1:9042 is 0.7 s {way} this machine's") for text in told)


def test_two_clocks_may_differ_though_each_is_near_ours() -> None:
    """They are who stamps the writes."""
    view = World().view()
    clocks = {Side.ORIGIN: ClockReading(-0.4, 0.0), Side.TARGET: ClockReading(0.4, 0.0)}
    other = World()
    other.node.local["host_id"] = uuid.UUID(int=7).bytes
    (found,) = findings_of_both({Side.ORIGIN: view, Side.TARGET: other.view()}, clocks)
    assert (found.about, found.text.partition(":")[0]) == ("TARGET", "its clock is 0.8 s ahead of ORIGIN's")
    clocks[Side.TARGET] = ClockReading(0.4, 0.5)
    assert findings_of_both({Side.ORIGIN: view, Side.TARGET: other.view()}, clocks) == []


def test_one_cluster_in_both_places_is_told() -> None:
    """Counters would count twice."""
    view = World().view()
    (found,) = findings_of_both({Side.ORIGIN: view, Side.TARGET: view}, {})
    assert found.text.startswith("it is the same cluster as ORIGIN")


@pytest.mark.parametrize(("are_super", "is_told"), [((False,), False), ((True,), True), ((False, True), True)])
def test_a_superuser_is_told_be_it_by_a_role_that_was_granted(are_super: tuple[bool, ...], is_told: bool) -> None:
    world = World(origin_username="o'neil", origin_password=SecretStr("secret"))
    world.node.authenticator = "PasswordAuthenticator"
    world.node.answers["LIST ROLES OF 'o''neil'"] = roles(*are_super)
    world.node.login = Credentials("o'neil", "secret")
    told = world.told()
    assert [text.partition(":")[0] for text in told] == ["ZDM_ORIGIN_USERNAME is o'neil, a superuser"] * is_told


def test_the_default_superuser_is_told_without_a_question() -> None:
    """Its logins alone are a burden."""
    world = World(origin_username="cassandra", origin_password=SecretStr("secret"))
    world.node.authenticator = "PasswordAuthenticator"
    (text,) = world.told()
    assert text.startswith("ZDM_ORIGIN_USERNAME is cassandra, Cassandra's default superuser")
    assert not any("ROLES" in asked for asked in world.node.connection.asked())


@pytest.mark.parametrize(
    "answer", [Error(ErrorCode.SYNTAX_ERROR, "what?"), rows(now=TIMEUUID), rows([b"short"], now=TIMEUUID)]
)
def test_a_question_that_is_not_understood_is_no_finding(answer: Response) -> None:
    """Old versions, and other databases."""
    world = World()
    world.node.answers[CLOCK] = answer
    assert world.examine() == Examination([], None)


def test_contact_points_and_hosts_that_cannot_be_reached_are_told() -> None:
    """Clients that are given such a host wait for it; a contact point is missed when the others are away."""
    world = World()
    world.add(2).is_down = True
    world.add(3)
    world.config = world.config.model_copy(update={"origin_contact_points": "127.0.40.1,127.0.40.9"})
    told = world.told()
    assert told == [
        "contact point 127.0.40.9:9042 cannot be connected to: Connection was refused by other side.; "
        "mend it, or take it out of ZDM_ORIGIN_CONTACT_POINTS",
        "clients are given host 127.0.40.2:9042, which cannot be connected to: Connection was refused by other side.; "
        "open the way, or set ZDM_ORIGIN_ENABLE_HOST_ASSIGNMENT=false to use contact points only",
    ]


def test_hosts_that_clients_are_not_given_are_left_alone() -> None:
    world = World(origin_enable_host_assignment=False)
    world.add(2).is_down = True
    assert world.told() == []


def test_a_datacenter_that_is_not_there_is_told() -> None:
    """The proxy takes another one, which may be on the other side of the world."""
    world = World(origin_local_datacenter="dc9")
    (text,) = world.told()
    assert text == "no host is in dc9 (ZDM_ORIGIN_LOCAL_DATACENTER), dc1 is used; there is: dc1"


@pytest.mark.parametrize(("datacenter", "is_told"), [("", True), ("dc1", False)])
def test_contact_points_in_two_datacenters_are_told(datacenter: str, is_told: bool) -> None:
    """What drivers see would change from one start to the next."""
    world = World(origin_local_datacenter=datacenter)
    world.node.peers.append(peer_row(2, "dc2"))
    world.network.add(2, datacenter="dc2").is_down = True
    world.config = world.config.model_copy(update={"origin_contact_points": "127.0.40.1,127.0.40.2"})
    told = [text for text in world.told() if "contact points are in" in text]
    assert (
        told
        == [
            "contact points are in dc1 and dc2: the first that answers decides which is used; "
            "set ZDM_ORIGIN_LOCAL_DATACENTER"
        ]
        * is_told
    )


def test_a_cluster_that_is_lost_meanwhile_is_no_fault_of_ours() -> None:
    """It was there a moment ago."""
    world = World()
    view = world.view()
    world.node.is_down = True
    found = world.examine(view)
    assert found.clock is None and len(found.findings) == 1
