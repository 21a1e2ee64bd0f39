"""The control plane, with clusters and addresses in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from tests.at_once import at_once
from tests.net.nodes import Lines, Network, Node
from tests.net.ports import Ports
from tests.system_rows import peer_row
from zdm.admin.health import ControlHealth, Health
from zdm.config import Config
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.snapshot import ClusterFacts, Snapshot, TargetMode
from zdm.core.topology import Endpoint
from zdm.facts import configured_credentials, control_settings
from zdm.lasting_state import LastingState
from zdm.net.control import ControlError
from zdm.settings import proxy_topology
from zdm.state_file import KnownTarget, SavedState, TargetRecord
from zdm.supervisor import ClientFactory, Supervisor

ORIGIN, TARGET = Endpoint("127.0.40.1", 9042), Endpoint("127.0.40.11", 9042)


class Worker:
    """A worker as the supervisor knows it."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.count = self.waiting = 0
        self.fault: Exception | None = None
        self.accepted: list[Any] = []

    def apply(self, snapshot: Snapshot) -> Deferred[int]:
        self.snapshots.append(snapshot)
        return succeed(snapshot.generation) if self.fault is None else fail(self.fault)

    def client(self, address: Any) -> Any:
        self.accepted.append(address)
        return "a protocol"

    def clients(self) -> int:
        return self.count

    def attaching(self) -> int:
        return self.waiting


class FailingAtOnce(Worker):
    """One whose fault comes before its Deferred."""

    def apply(self, snapshot: Snapshot) -> Deferred[int]:
        raise ZeroDivisionError("a fault of ours")


class World:
    """Two clusters of one node each, until a test adds some."""

    def __init__(self, saved: SavedState | None = None, workers_of_it: int = 1, **keys: Any) -> None:
        self.network = Network()
        self.origin, self.target = self.network.add(1), self.network.add(11)
        self.config = Config(origin_contact_points="127.0.40.1", target_contact_points="127.0.40.11", **keys)
        self.log, self.ports, self.worker = Lines(), Ports(), Worker()
        self.opened: list[Snapshot | Failure] = []
        log: Any = self.log
        self.state = LastingState(saved or SavedState(), "", at_once, self.network.clock, log)
        self.supervisor = Supervisor(
            self.config,
            proxy_topology(self.config),
            lambda _: self.network.endpoint,
            self.network.clock,
            log,
            self.state,
            self.ports.at,
            workers_of_it,
        )

    def open(self) -> World:
        Deferred.fromCoroutine(self.supervisor.open()).addBoth(self.opened.append)
        self.network.settle()
        return self

    def listen(self) -> list[Any]:
        worker: Any = self.worker
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.supervisor.listen(worker)).addBoth(outcome.append)
        return outcome

    def join(self, node: Node, number: int) -> None:
        """A new node is told of in an event."""
        node.peers.append(peer_row(number))
        self.network.add(number)
        node.connection.event()
        self.network.clock.pump([1.0] * 5)

    def switch(self, enabled: bool) -> list[int]:
        """An operator has changed his mind; the generations that were acknowledged."""
        self.state.target = TargetRecord(enabled=enabled)
        acknowledged: list[int] = []
        self.supervisor.target_switched().addCallback(acknowledged.append)
        return acknowledged

    @property
    def snapshot(self) -> Snapshot:
        found = self.opened[-1]
        assert isinstance(found, Snapshot), found
        return found


def test_origin_is_reached_fully_before_target() -> None:
    """Operators read the lines in this order (section 9.2)."""
    world = World().open()
    assert world.network.dialled == ["127.0.40.1", "127.0.40.11"]
    lines = [line for line in world.log.texts("info") if line.startswith(("Successfully", "Initialized"))]
    assert [line.split(" control connection")[0] for line in lines] == [
        "Successfully opened", "Initialized origin", "Successfully opened", "Initialized target",
    ]  # fmt: skip
    assert lines[1].endswith("Hosts: [127.0.40.1:9042], Assigned Hosts: [127.0.40.1:9042].")


def test_what_sessions_are_to_know_is_in_the_snapshot() -> None:
    """Nothing of the control connections themselves."""
    snapshot = World(origin_username="o", origin_password="p").open().snapshot
    assert snapshot.generation == 1
    assert (snapshot.origin.endpoints, snapshot.target.endpoints) == ((ORIGIN,), (TARGET,))
    assert (snapshot.origin.credentials, snapshot.target.credentials) == (Credentials("o", "p"), None)
    assert (snapshot.origin.version, snapshot.origin.auth_required) == (4, False)
    assert snapshot.origin.known == {ORIGIN}
    assert snapshot.supported["CQL_VERSION"] and snapshot.system_tables is not None


def test_without_host_assignment_all_clients_get_the_contacted_host() -> None:
    """And nothing follows from another host's absence (section 7.5)."""
    world = World(origin_enable_host_assignment=False)
    world.origin.peers.append(peer_row(2))
    snapshot = world.open().snapshot
    assert snapshot.origin.endpoints == (ORIGIN,) and snapshot.origin.known == frozenset()
    assert snapshot.target.known == {TARGET}


@pytest.mark.parametrize("down, tried", [("origin", 1), ("target", 2)])
def test_a_cluster_that_is_not_there_fails_the_attempt(down: str, tried: int) -> None:
    """Which may be repeated; what was reached stays open."""
    world = World()
    getattr(world, down).is_down = True
    (failed,) = world.open().opened
    assert isinstance(failed, Failure) and failed.check(ControlError)
    assert len(world.network.dialled) == tried
    getattr(world, down).is_down = False
    assert world.open().snapshot.generation == 1
    assert world.network.dialled == ["127.0.40.1"] * (3 - tried) + ["127.0.40.11"] * tried
    assert len([line for line in world.log.texts("info") if line.startswith("Initialized origin")]) == 1


def test_workers_share_what_all_clients_together_may_have_in_flight() -> None:
    """The limit is the proxy's."""
    world = World(max_inflight_bytes=90_000_000, workers_of_it=3).open()
    assert world.snapshot.settings.inflight_bytes == 30_000_000


def test_a_change_gives_the_worker_a_new_generation() -> None:
    """With what the other cluster is known to be."""
    world = World().open()
    assert world.listen() == [None]
    world.join(world.target, 12)
    (snapshot,) = world.worker.snapshots
    assert snapshot.generation == 2
    assert snapshot.target.known == {TARGET, Endpoint("127.0.40.12", 9042)}
    assert snapshot.origin.known == {ORIGIN}


def test_a_change_before_there_is_a_worker_is_in_the_next_snapshot() -> None:
    """Between the first attempt and the one that succeeds may lie days."""
    world = World().open()
    world.join(world.origin, 2)
    assert len(world.supervisor.snapshot().origin.endpoints) == 2


@pytest.mark.parametrize("kind", [Worker, FailingAtOnce])
def test_a_worker_that_cannot_take_a_generation_is_told_of(kind: Callable[[], Worker]) -> None:
    """The control connection goes on: it is not its fault."""
    world = World().open()
    world.worker = kind()
    world.worker.fault = ZeroDivisionError("a fault of ours")
    world.listen()
    world.join(world.origin, 2)
    assert world.log.texts("error") == ["A worker could not take a new generation: a fault of ours"]
    assert world.origin.connection.connected


def test_clients_are_accepted_for_the_worker_up_to_the_limit() -> None:
    """Section 10.3: one too many is closed without a byte, and the operator is told."""
    world = World(proxy_max_client_connections=2, proxy_listen_port=9999).open()
    world.listen()
    factory = world.ports.factories[9999]
    address = IPv4Address("TCP", "127.0.90.200", 50000)
    for world.worker.count in (0, 1):
        assert factory.buildProtocol(address) == "a protocol"
    world.worker.count = 2
    assert factory.buildProtocol(address) is None
    assert world.log.texts("warn")[-1] == (
        "Refusing client connection from 127.0.90.200:50000 because max clients threshold has been hit (2)."
    )
    world.worker.count = 1
    assert factory.buildProtocol(address) == "a protocol"


def test_an_address_that_is_not_known_can_be_refused_too() -> None:
    """A client may be gone before it is looked at."""
    world = World()
    worker: Any = world.worker
    log: Any = world.log
    assert ClientFactory(worker, 0, log).buildProtocol(None) is None
    assert "from ?:? because" in world.log.texts("warn")[-1]


def test_an_address_that_is_taken_is_told_to_who_starts() -> None:
    """Who may try again, and then listens."""
    world = World(proxy_listen_port=9999).open()
    world.ports.taken.add(9999)
    (failed,) = world.listen()
    assert failed.check(CannotListenError)
    world.ports.taken.clear()
    assert world.listen() == [None]


def test_a_supervisor_can_stop_listening_at_any_time() -> None:
    """Before it listened, while it does, and once more."""
    world = World(proxy_listen_port=9999).open()
    for listens in (False, True, False):
        if listens:
            world.listen()
        stopped: list[Any] = []
        Deferred.fromCoroutine(world.supervisor.stop_listening()).addBoth(stopped.append)
        assert stopped == [None] and world.ports.factories == {}


def test_closing_ends_both_control_connections() -> None:
    """Whatever they are doing."""
    world = World().open()
    world.supervisor.close()
    world.network.settle()
    assert world.origin.open_connections == world.target.open_connections == 0
    assert world.network.clock.getDelayedCalls() == []


def test_closing_while_target_is_being_reached_leaves_nothing() -> None:
    """A shutdown in the middle of the start."""
    world = World()
    world.target.is_hung = True
    world.open()
    world.supervisor.close()
    world.network.clock.pump([0, 0])
    assert world.origin.open_connections == world.target.open_connections == 0
    assert world.network.clock.getDelayedCalls() == []


def test_a_schema_change_is_read_from_both_clusters() -> None:
    """Drivers compare the schema's version of the hosts that they are shown."""
    world = World().open()
    before = [len(node.connection.requests) for node in (world.origin, world.target)]
    world.supervisor.refresh_schema()
    world.network.settle()
    assert [len(node.connection.requests) for node in (world.origin, world.target)] == [count + 1 for count in before]


def test_health_has_the_state_of_both_control_connections() -> None:
    """Nobody was reached yet, then both were."""
    world = World(heartbeat_failure_threshold=3)
    assert world.supervisor.health() == Health(ControlHealth(None, 0, 3), ControlHealth(None, 0, 3))
    world.open()
    assert world.supervisor.health() == Health(ControlHealth(str(ORIGIN), 0, 3), ControlHealth(str(TARGET), 0, 3))


def test_a_cluster_without_a_user_has_no_credentials() -> None:
    """An empty name is how one says that a cluster asks for none."""
    config = Config(target_username="t", target_password=SecretStr("secret"))
    assert configured_credentials(config, Side.ORIGIN) is None
    assert configured_credentials(config, Side.TARGET) == Credentials("t", "secret")


def test_a_cluster_is_watched_as_configured() -> None:
    """Each key in its place, in seconds."""
    config = Config(
        origin_contact_points="127.0.40.1, 127.0.40.2", origin_port=9043, origin_connection_timeout_ms=1500,
        origin_local_datacenter="dc2", heartbeat_interval_ms=2000, heartbeat_retry_interval_min_ms=250,
        heartbeat_retry_interval_max_ms=3000, heartbeat_retry_backoff_factor=3, heartbeat_failure_threshold=7,
        target_probe_interval_ms=5000,
        proxy_topology_addresses="10.0.0.1,10.0.0.2", proxy_topology_index=1, control_conn_max_protocol_version="3",
    )  # fmt: skip
    settings = control_settings(config, Side.ORIGIN, proxy_topology(config))
    assert (settings.cluster, settings.contact_points, settings.port) == ("ORIGIN", ("127.0.40.1", "127.0.40.2"), 9043)
    assert (settings.client.connect_timeout, settings.client.versions) == (1.5, (3,))
    assert (settings.local_datacenter, settings.proxy_index, settings.proxy_count) == ("dc2", 1, 2)
    assert (settings.heartbeat_interval, settings.retry_min, settings.retry_max) == (2.0, 0.25, 3.0)
    assert (settings.retry_factor, settings.failure_threshold, settings.probe_interval) == (3, 7, 5.0)


# Target disabled

DISABLED = SavedState(target=TargetRecord(enabled=False, generation=7))
KNOWN = KnownTarget(auth_required=True, version=3, supported={"CQL_VERSION": ["3.4.0"], "PROTOCOL_VERSIONS": ["3/v3"]})


def test_target_takes_part_unless_it_is_disabled() -> None:
    """Sessions decide by the mode of their generation."""
    assert World().open().snapshot.mode is TargetMode.DUAL
    assert World(DISABLED).open().snapshot.mode is TargetMode.ORIGIN_ONLY


def test_a_change_of_target_is_a_new_generation() -> None:
    """It counts as made when every worker has it."""
    world = World().open()
    world.listen()
    assert (world.switch(False), world.switch(True)) == ([2], [3])
    assert [snapshot.mode for snapshot in world.worker.snapshots] == [TargetMode.ORIGIN_ONLY, TargetMode.DUAL]
    assert world.supervisor.generation == 3


def test_a_change_of_target_waits_for_the_worker() -> None:
    """The operator's call is answered then, and not before."""
    world = World().open()
    world.listen()
    late: Deferred[int] = Deferred()
    world.worker.apply = lambda snapshot: late  # type: ignore[method-assign]  # a worker that takes its time
    acknowledged = world.switch(False)
    assert acknowledged == []
    late.callback(2)
    assert acknowledged == [2]


def test_generations_go_on_from_those_of_the_process_before() -> None:
    """Who watches the number must not see it go back to one that meant something else."""
    world = World(DISABLED).open()
    assert world.snapshot.generation == 8
    world.listen()
    assert world.switch(True) == [9]


@pytest.mark.parametrize("state", ["is_down", "is_hung"])
def test_without_target_a_start_needs_origin_only(state: str) -> None:
    """What an operator has switched off may be gone altogether (F4)."""
    world = World(DISABLED)
    setattr(world.target, state, True)
    assert world.open().snapshot.mode is TargetMode.ORIGIN_ONLY
    assert "127.0.40.11" in world.network.dialled


def test_target_is_reached_in_the_background_and_rarely_while_it_is_disabled() -> None:
    """Its topology is wanted when it comes back, and then soon enough."""
    world = World(DISABLED, target_probe_interval_ms=60_000)
    world.target.is_down = True
    world.open()
    world.listen()
    world.network.clock.pump([1.0] * 50)
    assert world.network.dialled.count("127.0.40.11") == 1
    world.target.is_down = False
    world.network.clock.pump([1.0] * 15)
    assert world.worker.snapshots[-1].target.known == {TARGET}
    assert "Initialized target control connection." in "".join(world.log.texts("info"))


def test_enabling_looks_for_target_at_once() -> None:
    """Sessions need its hosts now."""
    world = World(DISABLED, target_probe_interval_ms=600_000)
    world.target.is_down = True
    world.open()
    world.listen()
    world.target.is_down = False
    world.network.clock.advance(1)
    world.switch(True)
    world.network.clock.pump([0.1] * 5)
    assert world.target.open_connections == 1
    assert world.worker.snapshots[-1].target.known == {TARGET}


def test_a_schema_change_asks_a_disabled_target_nothing() -> None:
    """Applications go on to make tables, on origin; target is asked when it is enabled."""
    world = World().open()
    world.listen()
    world.switch(False)
    world.network.settle()
    before = [len(node.connection.requests) for node in (world.origin, world.target)]
    world.supervisor.refresh_schema()
    world.network.settle()
    assert [len(node.connection.requests) for node in (world.origin, world.target)] == [before[0] + 1, before[1]]
    world.switch(True)
    world.network.settle()
    assert world.target.connection.asked()[before[1] :] == ["OPTIONS", "SELECT * FROM system.local"]


def test_readiness_waits_for_target_to_be_asked_after_it_was_enabled() -> None:
    """Else enabling a healthy target makes every proxy of the fleet not ready for a moment, all at once."""
    world = World(target_probe_interval_ms=3_600_000).open()
    world.listen()
    world.switch(False)
    world.target.connection.cut()
    world.network.clock.pump([1.0] * 3)
    for is_down in (True, False):
        world.target.is_down = is_down
        world.switch(True)
        assert not world.supervisor.health().target_required
        world.network.clock.pump([0, 0, 0, 0])
        health = world.supervisor.health()
        assert (health.target_required, health.target.status) == (True, "DOWN" if is_down else "UP")
        world.switch(False)


def test_disabling_while_the_start_waits_for_target_lets_it_go_on() -> None:
    """The one call that rescues a start against a dead target."""
    world = World()
    world.target.is_hung = True
    assert world.open().opened == []
    assert world.switch(False) == [1]
    assert world.snapshot.mode is TargetMode.ORIGIN_ONLY and world.snapshot.generation == 2
    world.target.is_hung = False
    world.network.clock.pump([1.0] * 80)
    assert len(world.opened) == 1 and world.supervisor.controls[Side.TARGET].is_up


def test_enabling_while_the_start_waits_for_target_changes_nothing() -> None:
    """It waits on."""
    world = World()
    world.target.is_hung = True
    world.open()
    world.switch(True)
    assert world.opened == []


def test_a_target_that_was_never_seen_is_taken_for_what_it_was_before() -> None:
    """Sessions negotiate with clients now what target has to accept later."""
    world = World(DISABLED.model_copy(update={"known": KNOWN}), target_port=9999)
    world.target.is_down = True
    snapshot = world.open().snapshot
    assert snapshot.target == ClusterFacts(True, 3, None, (Endpoint("127.0.40.11", 9999),), frozenset())
    assert snapshot.supported["CQL_VERSION"] == ["3.4.0"]


@pytest.mark.parametrize("user", ["t", ""])
def test_a_target_that_nobody_ever_saw_is_taken_for_what_is_configured(user: str) -> None:
    """It asks for credentials if it was given some; for the rest it is like origin."""
    world = World(DISABLED, target_username=user)
    world.origin.versions = {3}
    world.target.is_down = True
    snapshot = world.open().snapshot
    assert (snapshot.target.auth_required, snapshot.target.version) == (bool(user), 3)
    assert snapshot.target.endpoints == (TARGET,) and snapshot.target.known == frozenset()
    assert snapshot.supported["CQL_VERSION"] == ["3.4.6"]


def test_what_is_seen_of_target_goes_before_what_was_known_of_it() -> None:
    """It may have been upgraded."""
    snapshot = World(SavedState(known=KNOWN)).open().snapshot
    assert (snapshot.target.version, snapshot.target.auth_required) == (4, False)
    assert snapshot.supported["CQL_VERSION"] == ["3.4.6"]


def test_what_is_seen_of_target_is_kept_for_the_next_process() -> None:
    """Which may start without it."""
    world = World().open()
    assert world.state.known == KnownTarget(auth_required=False, version=4, supported={"CQL_VERSION": ["3.4.6"]})


def test_a_target_that_was_lost_is_still_known() -> None:
    """Enabling does not wait for the control connection: sessions find out themselves."""
    world = World().open()
    world.listen()
    world.network.clock.advance(1)
    world.target.is_down = True
    world.target.connection.cut()
    world.network.settle()
    world.switch(False)
    assert world.switch(True) == [3]
    assert world.worker.snapshots[-1].target.endpoints == (TARGET,)


@pytest.mark.parametrize("queries", ["ORIGIN", "TARGET"])
def test_system_tables_are_origins_where_target_was_never_seen(queries: str) -> None:
    """Drivers read them first of all."""
    world = World(DISABLED, system_queries_mode=queries)
    world.target.is_down = True
    tables = world.open().snapshot.system_tables
    assert tables is not None and tables.view.hosts[0].endpoint == ORIGIN


def test_system_tables_are_targets_where_that_is_asked_for_and_it_was_seen() -> None:
    """As in the reference, disabled or not."""
    tables = World(system_queries_mode="TARGET").open().snapshot.system_tables
    assert tables is not None and tables.view.hosts[0].endpoint == TARGET


def test_a_disabled_target_is_not_required_for_readiness() -> None:
    """F3: or the very proxies that the switch is to save would be taken out of service."""
    world = World(DISABLED)
    world.target.is_down = True
    health = world.open().supervisor.health()
    assert (health.target_required, health.target.failures) == (False, 1)
    world.listen()
    world.switch(True)
    world.network.clock.pump([0, 0, 0])
    assert world.supervisor.health().target_required


def test_a_target_that_was_never_seen_is_not_called_up() -> None:
    """However many failures it may have until it counts as down."""
    world = World(DISABLED, heartbeat_failure_threshold=3)
    world.target.is_down = True
    assert world.open().supervisor.health().target.status == "DOWN"


def test_clients_that_attach_are_the_workers() -> None:
    """None before there is one."""
    world = World().open()
    world.worker.waiting = 3
    assert world.supervisor.attaching() == 0
    world.listen()
    assert world.supervisor.attaching() == 3


def test_closing_while_a_disabled_target_is_probed_leaves_nothing() -> None:
    """No timer, no connection."""
    world = World(DISABLED)
    world.target.is_down = True
    world.open().supervisor.close()
    world.network.settle()
    assert world.network.clock.getDelayedCalls() == []


# Another configuration while it runs


def test_another_login_is_told_to_the_sessions_and_used_by_the_next_control_connection() -> None:
    """Passwords are changed while clients are served; the connection that is open needs none."""
    world = World(origin_username="cassandra", origin_password=SecretStr("old")).open()
    world.listen()
    config = world.config.model_copy(update={"origin_password": SecretStr("secret")})
    world.supervisor.reconfigure(config)
    (snapshot,) = world.worker.snapshots
    assert snapshot.origin.credentials == Credentials("cassandra", "secret")
    assert snapshot.generation == 2 and world.origin.open_connections == 1
    world.origin.authenticator = "PasswordAuthenticator"
    world.origin.connection.cut()
    world.network.clock.pump([0.3] * 10)
    assert world.supervisor.controls[Side.ORIGIN].is_up and world.log.texts("error") == []


def test_a_login_is_mended_while_the_start_waits_for_it() -> None:
    """The wrong password is why it waits."""
    world = World(origin_username="cassandra", origin_password=SecretStr("wrong"))
    world.origin.authenticator = "PasswordAuthenticator"
    assert isinstance(world.open().opened[-1], Failure)
    world.supervisor.reconfigure(world.config.model_copy(update={"origin_password": SecretStr("secret")}))
    assert isinstance(world.open().opened[-1], Snapshot)


def test_other_times_are_told_to_the_sessions() -> None:
    """As a new generation, with the share of each worker as before."""
    world = World(workers_of_it=2, max_inflight_bytes=1 << 21).open()
    world.listen()
    update = {"proxy_request_timeout_ms": 1500, "attach_hold_ms": 5, "heartbeat_failure_threshold": 3}
    world.supervisor.reconfigure(world.config.model_copy(update=update))
    settings = world.worker.snapshots[-1].settings
    assert (settings.request_timeout, settings.attach_hold, settings.inflight_bytes) == (1.5, 0.005, 1 << 20)
    assert world.supervisor.health().origin.threshold == 3


def test_another_limit_of_clients_counts_at_once() -> None:
    """Those that are connected stay."""
    world = World(proxy_max_client_connections=1).open()
    world.listen()
    factory = next(iter(world.ports.factories.values()))
    world.worker.count = 1
    assert factory.buildProtocol(IPv4Address("TCP", "10.0.0.9", 5)) is None
    world.supervisor.reconfigure(world.config.model_copy(update={"proxy_max_client_connections": 2}))
    assert factory.buildProtocol(IPv4Address("TCP", "10.0.0.9", 5)) is not None
