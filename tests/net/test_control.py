"""The control connection against a cluster that lives in this file and in a clock's time."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from tests.net.nodes import LOCAL, PEERS, USER, Connection, Dialled, Lines, Network
from tests.system_rows import (
    LOCAL_TYPES,
    Values,
    host_id,
    inet,
    peer_row,
    without,
)
from zdm.core.credentials import Credentials
from zdm.core.options import control_versions
from zdm.core.topology import ClusterView, Endpoint
from zdm.net.backoff import Backoff
from zdm.net.control import ControlConnection, ControlError, ControlSettings
from zdm.net.cql_client import ClientSettings
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.requests import Query, Register
from zdm.protocol.responses import (
    Supported,
)


class Fixture:
    """A control connection to `network`, its log, and the views it has handed out."""

    def __init__(self, network: Network, *contact_points: str, **settings: Any) -> None:
        self.network = network
        self.log = Lines()
        self.views: list[ClusterView] = []
        client = ClientSettings(USER, settings.pop("versions", (4, 3)))
        self.control = ControlConnection(
            ControlSettings("ORIGIN", contact_points or ("127.0.40.1",), 9042, client, **settings),
            network.endpoint,
            network.clock,
            self.log,
            self.views.append,
            random.Random(7),
        )
        self.view: ClusterView | None = None
        self.error: BaseException | None = None

    def open(self) -> Fixture:
        self.control.open().addCallbacks(self._opened, self._failed)
        self.network.settle()
        return self

    def _opened(self, view: ClusterView) -> None:
        self.view = view

    def _failed(self, failure: Failure) -> None:
        self.error = failure.value

    def addresses(self) -> list[str]:
        """The hosts of the last view, sorted."""
        assert self.control.view is not None
        return sorted(host.address for host in self.control.view.hosts)


@pytest.fixture
def network() -> Network:
    return Network()


def lasting(fixture: Fixture) -> Fixture:
    """The same, open and for long enough that a loss is no drop."""
    fixture.open()
    assert fixture.view is not None
    fixture.network.clock.advance(1)
    return fixture


class TestOpening:
    def test_the_frames_are_those_of_the_reference_in_its_order(self, network: Network) -> None:
        """REGISTER comes before the tables are read, so that no change is missed; the last one is the heartbeat."""
        node = network.add(1)
        Fixture(network).open()
        assert node.connection.asked() == ["OPTIONS", "STARTUP", "REGISTER", LOCAL, PEERS, "OPTIONS"]
        assert [r.event_types for r in node.connection.requests if isinstance(r, Register)] == [["TOPOLOGY_CHANGE"]]

    def test_the_view_tells_all_that_was_found(self, network: Network) -> None:
        """Sessions, readiness and the intercepted tables live on this."""
        network.add(1, [peer_row(2), peer_row(3), peer_row(4, "dc2")])
        fixture = Fixture(network, proxy_count=2, proxy_index=1).open()
        view = fixture.view
        assert view is not None
        assert fixture.views == [view]
        assert (view.name, view.datacenter, view.version, view.auth_required) == ("origin cluster", "dc1", 4, False)
        assert view.partitioner == "org.apache.cassandra.dht.Murmur3Partitioner"
        assert view.supported == {"CQL_VERSION": ["3.4.6"]}
        assert view.endpoint == Endpoint("127.0.40.1", 9042)
        assert [(h.address, h.host_id) for h in view.hosts] == [(f"127.0.40.{n}", host_id(n)) for n in (1, 2, 3, 4)]
        assert [h.address for h in view.local_hosts] == ["127.0.40.1", "127.0.40.2", "127.0.40.3"]
        assert [h.address for h in view.assigned] == ["127.0.40.2"]
        assert view.local.rows[0]["key"] == b"local"
        assert "peer" in view.peers.types and len(view.peers.rows) == 3

    def test_operators_see_the_lines_they_look_for(self, network: Network) -> None:
        network.add(1)
        fixture = Fixture(network).open()
        assert fixture.log.texts("info") == [
            "Successfully opened control connection to ORIGIN using endpoint 127.0.40.1:9042 "
            "with ProtocolVersion OSS 4."
        ]
        assert fixture.log.texts("warn") == ["ORIGIN ControlConn: authentication is NOT enabled."]

    def test_a_cluster_with_authentication_is_no_reason_to_warn(self, network: Network) -> None:
        network.add(1).authenticator = "org.apache.cassandra.auth.PasswordAuthenticator"
        fixture = Fixture(network).open()
        assert fixture.view is not None and fixture.view.auth_required
        assert fixture.log.texts("warn") == []

    def test_all_contact_points_are_tried_once_from_a_random_one_on(self, network: Network) -> None:
        """A fleet that starts together must not fall on one node."""
        points = [f"127.0.40.{number}" for number in (5, 6, 7)]
        starts = set()
        for seed in range(20):
            network.dialled.clear()
            fixture = Fixture(network, *points)
            fixture.control._chance.seed(seed)
            fixture.open()
            first = points.index(network.dialled[0])
            assert network.dialled == points[first:] + points[:first]
            starts.add(first)
        assert starts == {0, 1, 2}

    def test_when_none_works_all_are_named_and_it_may_be_tried_again(self, network: Network) -> None:
        """The service logs the text and starts anew after a pause."""
        fixture = Fixture(network, "127.0.40.5", "127.0.40.6").open()
        assert isinstance(fixture.error, ControlError)
        assert str(fixture.error).startswith("could not open control connection to ORIGIN, tried endpoints: [127.0.40.")
        failed = [text for text in fixture.log.texts("warn") if text.startswith("Failed to open control connection")]
        assert len(failed) == 2
        assert "to ORIGIN using endpoint 127.0.40." in failed[0]
        assert network.clock.getDelayedCalls() == []
        network.add(6)
        assert fixture.open().view is not None
        assert fixture.control.is_up

    def test_the_next_endpoint_is_tried_where_one_fails(self, network: Network) -> None:
        network.add(6)
        fixture = Fixture(network, "127.0.40.5", "127.0.40.6").open()
        assert fixture.view is not None and fixture.view.endpoint.address == "127.0.40.6"

    def test_another_partitioner_is_refused(self, network: Network) -> None:
        node = network.add(1)
        node.local["partitioner"] = b"org.apache.cassandra.dht.ByteOrderedPartitioner"
        fixture = Fixture(network).open()
        assert isinstance(fixture.error, ControlError)
        reason = (
            "virtualization is enabled and partitioner is not Murmur3 or Random but instead "
            "org.apache.cassandra.dht.ByteOrderedPartitioner"
        )
        assert fixture.log.texts("warn") == [
            f"Error while initializing a new cql connection for the control connection of ORIGIN: {reason}",
            f"Failed to open control connection to ORIGIN using endpoint 127.0.40.1:9042: {reason}",
        ]
        assert node.open_connections == 0

    def test_bad_credentials_are_told(self, network: Network) -> None:
        network.add(1).authenticator = "com.example.Other"
        fixture = Fixture(network)
        object.__setattr__(fixture.control.settings.client, "credentials", Credentials("x", "y"))
        fixture.open()
        assert any("bad credentials" in text for text in fixture.log.texts("warn"))

    def test_a_minimal_server_will_do(self, network: Network) -> None:
        """Imitations of Cassandra leave out much; only what makes a host is needed."""
        node = network.add(1)
        node.local_types = without(
            LOCAL_TYPES, "partitioner", "release_version", "cluster_name", "rpc_address", "schema_version", "tokens"
        )
        view = Fixture(network).open().view
        assert view is not None
        assert (view.name, view.partitioner) == ("", "")
        assert view.hosts[0].address == "127.0.40.1"

    def test_a_hung_node_is_left_after_the_time_for_an_answer(self, network: Network) -> None:
        network.add(5).is_hung = True
        network.add(6)
        fixture = Fixture(network, "127.0.40.5", "127.0.40.6")
        fixture.control._chance.seed(next(s for s in range(99) if random.Random(s).randrange(2) == 0))
        fixture.open()
        assert fixture.view is None
        network.clock.advance(10)
        assert fixture.view is not None and fixture.view.endpoint.address == "127.0.40.6"

    def test_a_skipped_peer_is_reported(self, network: Network) -> None:
        network.add(1, [peer_row(2, rpc_address=None)])
        fixture = Fixture(network).open()
        assert fixture.addresses() == ["127.0.40.1"]
        assert "ORIGIN: left out a host: peer 127.0.40.2 has no rpc_address" in fixture.log.texts("warn")


class TestVersions:
    @pytest.mark.parametrize("hangs_up", [False, True])
    @pytest.mark.parametrize(
        ("spoken", "highest", "negotiated"),
        [
            ({3, 4, 5}, 66, 4),
            ({3, 4}, 66, 4),
            ({3}, 66, 3),
            ({2, 3}, 66, 3),
            ({4, 5}, 66, 4),
            ({3, 4}, 3, 3),
            ({2}, 66, None),
            ({5}, 66, None),
            ({3}, 2, None),
        ],
    )
    def test_the_highest_common_version_is_found(
        self, network: Network, spoken: set[int], highest: int, negotiated: int | None, hangs_up: bool
    ) -> None:
        """A refusal may be an error or a closed connection (FIX-24); each version has a connection of its own."""
        node = network.add(1)
        node.versions, node.hangs_up = spoken, hangs_up
        versions = control_versions(highest, (3, 4))
        fixture = Fixture(network, versions=versions).open()
        if negotiated is None:
            assert isinstance(fixture.error, ControlError)
            assert len(node.connections) == len(versions)
        else:
            assert fixture.view is not None and fixture.view.version == negotiated
            assert len(node.connections) == versions.index(negotiated) + 1
            assert node.open_connections == 1
            assert fixture.log.texts("info")[0].endswith(f"ProtocolVersion OSS {negotiated}.")


class TestDatacenter:
    def test_the_configured_one_is_used(self, network: Network) -> None:
        network.add(1, [peer_row(2, "dc2")])
        view = Fixture(network, local_datacenter="dc2").open().view
        assert view is not None
        assert [host.address for host in view.assigned] == ["127.0.40.2"]

    def test_an_unknown_one_is_reported_and_not_used(self, network: Network) -> None:
        network.add(1, [peer_row(2, "dc2")])
        fixture = Fixture(network, local_datacenter="DC2").open()
        assert fixture.view is not None and fixture.view.datacenter == "dc1"
        assert "ORIGIN: no host is in datacenter DC2 as configured, using dc1" in fixture.log.texts("warn")

    def test_it_stays_when_the_connection_moves_to_another_datacenter(self, network: Network) -> None:
        """Otherwise what drivers see would flip with whichever node answers."""
        one = network.add(1, [peer_row(2, "dc2")])
        two = network.add(2, [peer_row(1)], "dc2")
        fixture = lasting(Fixture(network))
        one.is_down = True
        one.connection.cut()
        network.settle()
        view = fixture.control.view
        assert view is not None and two.open_connections == 1
        assert (view.endpoint.address, view.datacenter) == ("127.0.40.2", "dc1")

    def test_a_refresh_that_finds_no_host_in_it_reopens(self, network: Network) -> None:
        """The node may be alone in its opinion; another is asked."""
        node = network.add(1, [peer_row(2, "dc2")])
        fixture = lasting(Fixture(network))
        node.local["data_center"] = b"dc9"
        node.connection.event()
        network.settle()
        assert fixture.control.failures > 0
        assert len(node.connections) > 1
        assert fixture.addresses() == ["127.0.40.1", "127.0.40.2"]


class TestTopologyEvents:
    @pytest.mark.parametrize(
        ("before", "after", "settings", "seen", "assigned"),
        [
            ([2], [2, 3], {}, [1, 2, 3], [1, 2, 3]),
            ([2, 3], [2], {}, [1, 2], [1, 2]),
            ([2, 3], [], {}, [1], [1]),
            ([2], [2, -3], {}, [1, 2, 3], [1, 2]),
            ([-2], [-2, 3], {}, [1, 2, 3], [1, 3]),
            ([-2], [-2, -3], {"local_datacenter": "dc2"}, [1, 2, 3], [2, 3]),
        ],
        ids=["added", "removed", "all removed", "remote", "local", "other datacenter configured"],
    )
    def test_the_hosts_change_with_the_event_and_not_before(
        self,
        network: Network,
        before: list[int],
        after: list[int],
        settings: dict[str, str],
        seen: list[int],
        assigned: list[int],
    ) -> None:
        """There is no polling; the same connection reads the tables again. Negative numbers are hosts of dc2."""

        def peers(numbers: list[int]) -> list[Values]:
            return [peer_row(abs(number), "dc2" if number < 0 else "dc1") for number in numbers]

        node = network.add(1, peers(before))
        fixture = lasting(Fixture(network, **settings))
        node.peers = peers(after)
        network.clock.advance(60)
        assert fixture.addresses() == sorted(f"127.0.40.{abs(number)}" for number in [1, *before])
        node.connection.event()
        network.settle()
        assert fixture.addresses() == [f"127.0.40.{number}" for number in seen]
        view = fixture.control.view
        assert view is not None and fixture.views[-1] is view
        assert sorted(host.address for host in view.assigned) == [f"127.0.40.{number}" for number in assigned]
        assert len(node.connections) == 1
        assert node.connection.asked(Register) == ["REGISTER"]

    def test_many_events_make_one_more_refresh(self, network: Network) -> None:
        """A rack that restarts sends an event for each node."""
        node = network.add(1)
        lasting(Fixture(network))
        for _ in range(10):
            node.connection.event()
        network.settle()
        assert node.connection.asked(Query).count(PEERS) == 3

    def test_an_event_while_opening_is_not_lost(self, network: Network) -> None:
        """The node joins between the reading of the tables and the end of the opening."""
        node = network.add(1)

        def join(connection: Connection, text: str) -> None:
            if text == PEERS:
                node.on_query = lambda connection, text: None
                connection.event()
                network.clock.callLater(0, node.peers.append, peer_row(2))

        node.on_query = join
        fixture = Fixture(network).open()
        assert fixture.addresses() == ["127.0.40.1", "127.0.40.2"]

    def test_no_change_is_told_to_nobody(self, network: Network) -> None:
        """Each view makes a new generation in every worker."""
        node = network.add(1, [peer_row(2), peer_row(3)])
        fixture = lasting(Fixture(network))
        for change in ("NEW_NODE", "REMOVED_NODE", "MOVED_NODE"):
            node.connection.event(change)
            network.settle()
        assert len(fixture.views) == 1
        assert node.connection.asked(Query).count(PEERS) == 4

    def test_a_failed_refresh_reopens(self, network: Network) -> None:
        node = network.add(1)
        fixture = lasting(Fixture(network))
        node.local["rack"] = None
        node.connection.event()
        network.settle()
        assert "system.local has no rack" in "\n".join(fixture.log.texts("warn"))
        assert not fixture.control.is_up

    def test_the_assigned_hosts_are_shuffled(self, network: Network) -> None:
        """Instances that start together must not take the hosts in the same order."""
        network.add(1, [peer_row(number) for number in range(2, 9)])
        orders = set()
        for seed in range(5):
            fixture = Fixture(network)
            fixture.control._chance.seed(seed)
            view = fixture.open().view
            assert view is not None
            orders.add(tuple(host.address for host in view.assigned))
        assert len(orders) > 1


class TestSchema:
    def test_only_system_local_is_read_again(self, network: Network) -> None:
        node = network.add(1, [peer_row(2)])
        fixture = lasting(Fixture(network))
        changed = uuid.UUID(int=99).bytes
        node.local["schema_version"] = changed
        fixture.control.refresh_schema()
        network.settle()
        assert node.connection.asked(Query) == [LOCAL, PEERS, LOCAL]
        assert fixture.views[-1].local.rows[0]["schema_version"] == changed
        assert fixture.views[-1].hosts == fixture.views[0].hosts

    def test_many_changes_make_one_more_query(self, network: Network) -> None:
        """A migration script sends a hundred DDL statements."""
        node = network.add(1)
        fixture = lasting(Fixture(network))
        for _ in range(10):
            fixture.control.refresh_schema()
        network.settle()
        assert node.connection.asked(Query).count(LOCAL) == 3

    def test_without_a_connection_there_is_nothing_to_do(self, network: Network) -> None:
        """The reopening reads everything anyway."""
        Fixture(network).control.refresh_schema()


class TestHeartbeat:
    def test_one_is_sent_at_once_and_then_one_in_each_interval(self, network: Network) -> None:
        node = network.add(1)
        Fixture(network, heartbeat_interval=30.0).open()
        opening = 2
        for turn in range(3):
            assert node.connection.asked().count("OPTIONS") == opening + turn
            network.clock.pump([29.9, 0.2])

    def test_a_strange_answer_is_a_sign_of_life(self, network: Network) -> None:
        node = network.add(1)
        fixture = lasting(Fixture(network))
        node.heartbeat = Error(ErrorCode.OVERLOADED, "busy")
        network.clock.advance(30)
        assert fixture.control.is_up and node.open_connections == 1
        assert any("Strange answer to a heartbeat" in text for text in fixture.log.texts("warn"))

    def test_no_answer_is_a_failure_and_another_node_is_taken(self, network: Network) -> None:
        """A paused process keeps its connections open and answers nothing."""
        node = network.add(1, [peer_row(2)])
        network.add(2, [peer_row(1)])
        fixture = lasting(Fixture(network))
        node.is_hung = True
        network.clock.advance(29)
        network.clock.advance(9.9)
        assert fixture.control.is_up
        network.clock.advance(0.2)
        network.clock.advance(10)
        assert node.open_connections == 0
        assert fixture.control.is_up
        assert fixture.control.endpoint == Endpoint("127.0.40.2", 9042)


class TestReopening:
    def test_a_lost_connection_is_opened_again_at_once(self, network: Network) -> None:
        """Waiting for the next heartbeat would leave events unheard for half a minute."""
        node = network.add(1)
        fixture = lasting(Fixture(network))
        node.connection.cut()
        assert (str(fixture.control.endpoint), fixture.control.failures) == ("127.0.40.1:9042", 1)
        assert not fixture.control.is_up
        network.settle()
        assert (fixture.control.failures, node.open_connections) == (0, 1)
        assert fixture.control.is_up

    def test_known_hosts_come_first_then_contact_points_only(self, network: Network) -> None:
        """Contact points may be names or old addresses; known hosts of every datacenter are better."""
        node = network.add(1, [peer_row(2), peer_row(3, "dc2")])
        fixture = lasting(Fixture(network, "127.0.40.1", "127.0.40.8"))
        network.dialled.clear()
        node.is_down = True
        node.connection.cut()
        network.settle()
        order = [f"127.0.40.{number}" for number in (1, 2, 3, 8)]
        first = order.index(network.dialled[0])
        assert network.dialled == order[first:] + order[:first]
        network.dialled.clear()
        network.clock.advance(30)
        assert sorted(network.dialled) == ["127.0.40.1", "127.0.40.8"]
        assert fixture.control.failures == 3

    def test_pauses_grow_within_their_bounds(self) -> None:
        """A dead cluster must not be hammered, and not be forgotten either."""
        backoff = Backoff(ControlSettings("ORIGIN", (), 1), random.Random(3))
        pauses = [backoff.next() for _ in range(500)]
        limits = [min(0.25 * 2**turn, 30.0) for turn in range(500)]
        assert all(0.25 <= pause <= limit for pause, limit in zip(pauses, limits, strict=True))
        assert max(pauses) > 25
        assert pauses[0] == 0.25
        backoff.reset()
        assert backoff.next() == 0.25

    @pytest.mark.parametrize("factor", [-1.0, 0.0, 0.5])
    def test_a_factor_below_one_leaves_the_shortest_pause(self, factor: float) -> None:
        """A pause that shrinks to nothing is a busy loop against a dead cluster."""
        backoff = Backoff(ControlSettings("ORIGIN", (), 1, retry_factor=factor), random.Random(3))
        assert [backoff.next() for _ in range(50)] == [0.25] * 50

    def test_a_cluster_that_comes_back_is_found(self, network: Network) -> None:
        node = network.add(1)
        fixture = lasting(Fixture(network))
        view = fixture.control.view
        node.is_down = True
        node.connection.cut()
        network.clock.pump([1.0] * 100)
        assert fixture.control.failures > 3
        assert fixture.control.view is view
        node.is_down = False
        network.clock.pump([1.0] * 31)
        assert (fixture.control.failures, node.open_connections) == (0, 1)

    def test_a_node_that_closes_every_connection_is_not_dialled_in_a_loop(self, network: Network) -> None:
        """It lets us in, answers everything, and hangs up: an attempt succeeds each time."""
        node = network.add(1)
        node.heartbeat = Supported({})
        fixture = Fixture(network).open()
        for _ in range(20):
            node.connection.cut()
            network.clock.advance(0.2)
        assert len(node.connections) < 10
        assert fixture.control.view is not None

    def test_the_hosts_that_are_known_are_tried_after_a_connection_that_soon_ended(self, network: Network) -> None:
        """The contact point may be the host that has just died."""
        node, other = network.add(1, [peer_row(2)]), network.add(2)
        fixture = Fixture(network).open()
        node.is_down = True
        node.connection.cut()
        network.clock.pump([0.1] * 5)
        assert fixture.control.is_up
        assert other.open_connections == 1

    def test_views_equal_to_the_last_are_not_told_after_a_reopening(self, network: Network) -> None:
        node = network.add(1, [peer_row(2)])
        fixture = lasting(Fixture(network))
        node.connection.cut()
        network.settle()
        assert len(fixture.views) == 1


class TestProbing:
    """While the proxy does without the cluster."""

    def test_heartbeats_are_rare(self, network: Network) -> None:
        """Nothing but a look now and then: an operator took the cluster out of the path because it is sick."""
        node = network.add(1)
        fixture = lasting(Fixture(network, heartbeat_interval=30.0, probe_interval=600.0))
        before = len(node.connection.requests)
        fixture.control.probe(True)
        network.clock.pump([10.0] * 59)
        assert len(node.connection.requests) == before
        network.clock.pump([10.0, 0])
        assert len(node.connection.requests) == before + 1

    def test_afterwards_the_first_heartbeat_comes_at_once(self, network: Network) -> None:
        """Is it there? Then every thirty seconds as before."""
        node = network.add(1)
        fixture = lasting(Fixture(network, heartbeat_interval=30.0, probe_interval=600.0))
        fixture.control.probe(True)
        network.clock.advance(100)
        before = len(node.connection.requests)
        fixture.control.probe(False)
        network.settle()
        assert len(node.connection.requests) == before + 1
        network.clock.pump([1.0] * 59)
        assert len(node.connection.requests) == before + 2

    def test_a_change_while_a_heartbeat_is_under_way_leaves_one_loop(self, network: Network) -> None:
        """Two of them would send twice as many, for ever."""
        node = network.add(1)
        fixture = lasting(Fixture(network, heartbeat_interval=30.0, probe_interval=600.0))
        for is_probing in (True, False, True, False):  # each end of it sends one, which is not answered yet
            fixture.control.probe(is_probing)
        network.settle()
        before = len(node.connection.requests)
        network.clock.pump([1.0] * 95)
        assert len(node.connection.requests) == before + 3 and fixture.control.is_up

    def test_a_loss_is_looked_into_later(self, network: Network) -> None:
        """Not again and again, as long as nobody needs the cluster; what is known of it stays known."""
        node = network.add(1)
        fixture = lasting(Fixture(network, probe_interval=60.0))
        fixture.control.probe(True)
        node.is_down = True
        network.dialled.clear()
        node.connection.cut()
        network.clock.pump([1.0] * 53)
        assert network.dialled == [] and fixture.control.view is not None
        network.clock.pump([1.0] * 127)
        assert 2 <= len(network.dialled) <= 3

    def test_that_it_is_away_is_no_warning_until_it_is_wanted_again(self, network: Network) -> None:
        """An operator has said so: a warning every minute would hide those that matter."""
        node = network.add(1)
        fixture = lasting(Fixture(network, probe_interval=60.0))
        before = fixture.log.texts("warn")
        fixture.control.probe(True)
        node.is_down = True
        node.connection.cut()
        network.clock.pump([1.0] * 200)
        assert fixture.log.texts("warn") == before
        assert "Failed to open control connection to ORIGIN" in "".join(fixture.log.texts("info"))
        fixture.control.probe(False)
        network.clock.pump([0, 0, 0])
        assert "Failed to open control connection to ORIGIN" in "".join(fixture.log.texts("warn"))

    def test_what_was_never_there_is_probed_too(self, network: Network) -> None:
        """A proxy that starts while the cluster is off and away."""
        fixture = Fixture(network, probe_interval=60.0)
        fixture.control.probe(True)
        fixture.control.start()
        network.settle()
        assert len(network.dialled) == 1
        network.clock.pump([1.0] * 53)
        assert len(network.dialled) == 1
        node = network.add(1)
        network.clock.pump([1.0] * 8)
        assert fixture.control.is_up
        before = len(node.connection.requests)
        network.clock.pump([1.0] * 50)
        assert len(node.connection.requests) == before

    @pytest.mark.parametrize("was_open", [True, False])
    def test_afterwards_it_is_opened_at_once(self, network: Network, was_open: bool) -> None:
        """Clients wait for it now; and then with the usual pauses."""
        node = network.add(1)
        fixture = Fixture(network, probe_interval=600.0)
        if was_open:
            lasting(fixture)
        node.is_down = True
        fixture.control.probe(True)
        fixture.control.start()
        if was_open:
            node.connection.cut()
        network.settle()
        network.dialled.clear()
        fixture.control.probe(False)
        network.clock.pump([0, 0])
        assert len(network.dialled) == 1
        node.is_down = False
        network.clock.pump([0.25] * 3)
        assert fixture.control.is_up

    def test_the_pause_that_runs_becomes_a_long_one(self, network: Network) -> None:
        """The cluster is switched off because it does not answer: attempts are being made at that moment."""
        fixture = Fixture(network, probe_interval=60.0)
        fixture.control.start()
        network.settle()
        fixture.control.probe(True)
        network.dialled.clear()
        network.clock.pump([1.0] * 53)
        assert network.dialled == []

    @pytest.mark.parametrize("is_early", [False, True])
    def test_nothing_is_read_until_it_is_over_and_then_once(self, network: Network, is_early: bool) -> None:
        """Clients go on to change the schema; a cluster that hangs would have its connection ended for each."""
        node = network.add(1)
        fixture = Fixture(network, probe_interval=600.0)
        if is_early:
            fixture.control.probe(True)
            fixture.control.start()
            network.settle()
        else:
            lasting(fixture).control.probe(True)
        before = len(node.connection.asked(Query))
        for _ in range(4):
            fixture.control.refresh_schema()
        node.peers.append(peer_row(2))
        node.connection.event()
        network.settle()
        assert len(node.connection.asked(Query)) == before
        fixture.control.probe(False)
        network.settle()
        assert node.connection.asked(Query)[before:] == [LOCAL, PEERS]
        assert fixture.addresses() == ["127.0.40.1", "127.0.40.2"]

    def test_afterwards_a_probe_that_hangs_is_not_waited_for(self, network: Network) -> None:
        """The host hung and is back, so the operator says it. A probe may take half a minute for each host."""
        node = network.add(1)
        fixture = lasting(Fixture(network, probe_interval=60.0))
        fixture.control.probe(True)
        node.is_hung = True
        node.connection.cut()
        network.clock.pump([1.0] * 62)
        assert node.open_connections == 1 and not fixture.control.is_up
        node.is_hung = False
        fixture.control.probe(False)
        network.settle()
        assert fixture.control.is_up and node.open_connections == 1

    def test_afterwards_nothing_is_known_of_it_until_it_was_asked(self, network: Network) -> None:
        """What failed was a probe, an hour ago."""
        node = network.add(1)
        fixture = lasting(Fixture(network, probe_interval=3600.0))
        fixture.control.probe(True)
        node.connection.cut()
        assert not fixture.control.is_unasked
        for is_down in (True, False):
            node.is_down = is_down
            fixture.control.probe(True)
            network.clock.pump([1.0] * 3)
            fixture.control.probe(False)
            assert fixture.control.is_unasked and not fixture.control.is_up
            network.clock.pump([0, 0, 0, 0])
            assert not fixture.control.is_unasked and fixture.control.is_up is not is_down

    def test_saying_it_twice_changes_nothing(self, network: Network) -> None:
        """A repeated command must not make attempts."""
        fixture = Fixture(network, probe_interval=60.0)
        fixture.control.start()
        network.settle()
        network.dialled.clear()
        fixture.control.probe(False)
        network.settle()
        assert network.dialled == []


class TestStatus:
    def test_before_the_first_success_there_is_no_address(self, network: Network) -> None:
        fixture = Fixture(network, failure_threshold=3)
        assert (fixture.control.view, fixture.control.is_up) == (None, False)
        assert fixture.control.endpoint == Endpoint("127.0.40.1", 9042)

    def test_below_the_threshold_it_is_up(self, network: Network) -> None:
        node = network.add(1)
        fixture = lasting(Fixture(network, failure_threshold=2))
        node.is_down = True
        node.connection.cut()
        assert fixture.control.is_up
        network.settle()
        assert not fixture.control.is_up


class TestLifecycle:
    def test_in_the_background_it_is_opened_with_as_many_attempts_as_needed(self, network: Network) -> None:
        """A proxy may start while the target is away."""
        fixture = Fixture(network)
        fixture.control.start()
        network.clock.pump([1.0] * 60)
        assert fixture.control.failures > 3
        network.add(1)
        network.clock.pump([1.0] * 31)
        assert fixture.control.is_up
        fixture.control.start()
        network.settle()
        assert network.nodes["127.0.40.1"].open_connections == 1

    def test_opening_what_is_being_reopened_waits_for_it(self, network: Network) -> None:
        fixture = Fixture(network)
        fixture.control.start()
        network.settle()
        fixture.open()
        assert fixture.view is None
        network.add(1)
        network.clock.advance(1)
        assert fixture.view is fixture.control.view is not None

    def test_opening_what_is_open_gives_the_view(self, network: Network) -> None:
        network.add(1)
        fixture = Fixture(network).open()
        fixture.view = None
        fixture.open()
        assert fixture.view is fixture.control.view is not None

    @pytest.mark.parametrize("state", ["idle", "opening", "up", "reopening", "waiting"])
    def test_after_the_end_nothing_is_left(self, network: Network, state: str) -> None:
        """No connection, no timer, and nobody who waits."""
        fixture = Fixture(network)
        if state == "up":
            network.add(1)
            fixture.open()
        elif state == "opening":
            network.add(1).is_hung = True
            fixture.open()
        elif state in ("reopening", "waiting"):
            fixture.control.start()
            if state == "waiting":
                network.settle()
        fixture.control.close()
        network.settle()
        assert network.clock.getDelayedCalls() == []
        assert all(node.open_connections == 0 for node in network.nodes.values())
        assert isinstance(fixture.error, CancelledError) is (state == "opening")
        fixture.control.close()
        fixture.control.start()
        fixture.control.refresh_schema()
        assert isinstance(fixture.open().error, CancelledError)
        assert network.clock.getDelayedCalls() == []

    def test_two_who_wait_are_both_told(self, network: Network) -> None:
        network.add(1)
        fixture = Fixture(network)
        seen: list[ClusterView] = []
        fixture.control.open().addCallback(seen.append)
        fixture.control.open().addCallback(seen.append)
        network.settle()
        assert len(seen) == 2

    def test_a_fault_of_ours_is_logged_with_its_traceback_and_the_attempts_go_on(self, network: Network) -> None:
        """A bug must not leave the proxy without a control connection for ever."""
        network.add(1).local["rpc_address"] = inet("127.0.40.1")
        fixture = Fixture(network)
        failing = [ZeroDivisionError("bug")]

        def endpoint(address: str, port: int) -> Dialled:
            if failing:
                raise failing.pop()
            return network.endpoint(address, port)

        fixture.control._endpoint_factory = endpoint  # type: ignore[misc]  # a collaborator that breaks once
        fixture.control.start()
        network.clock.pump([1.0] * 2)
        assert fixture.control.is_up
        assert "ZeroDivisionError: bug" in fixture.log.texts("error")[0]
