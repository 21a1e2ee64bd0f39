"""Host lists, shares, turns and virtual hosts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest

from tests.system_rows import (
    LOCAL_TYPES,
    PEERS_TYPES,
    host_id,
    inet,
    local_row,
    local_rows,
    peer_row,
    peers_rows,
    without,
)
from zdm.core.topology import (
    Discovery,
    Host,
    HostRing,
    ProxyTopology,
    TopologyError,
    assigned_hosts,
    check_partitioner,
    choose_datacenter,
    discover,
    in_datacenter,
    read_table,
    virtual_host_id,
    virtual_tokens,
)
from zdm.protocol.metadata import RowsMetadata
from zdm.protocol.responses import Rows
from zdm.protocol.types import CqlType


def found(local: Rows, peers: Rows, contacted: str = "127.0.40.99") -> Discovery:
    return discover(read_table(local), read_table(peers), contacted, 9042)


def addresses(discovery: Discovery) -> list[str]:
    return [host.address for host in discovery.hosts]


def host(number: int, datacenter: str = "dc1", rack: str = "r1") -> Host:
    return Host(f"127.0.40.{number}", 9042, datacenter, rack, host_id(number), "4.1.10", {})


class TestDiscovery:
    def test_all_nodes_are_found_with_their_ids_datacenters_and_racks(self) -> None:
        """Everything later (share, datacenter, virtual hosts) rests on these fields."""
        discovery = found(local_rows(), peers_rows(peer_row(2, rack=b"r2"), peer_row(3, "dc2")))
        assert [(h.address, h.port, h.datacenter, h.rack, h.host_id, h.release_version) for h in discovery.hosts] == [
            ("127.0.40.1", 9042, "dc1", "r1", host_id(1), "4.1.10"),
            ("127.0.40.2", 9042, "dc1", "r2", host_id(2), "4.1.9"),
            ("127.0.40.3", 9042, "dc2", "r1", host_id(3), "4.1.9"),
        ]
        assert discovery.contacted is discovery.hosts[0]
        assert discovery.hosts[1].row["peer"] == inet("127.0.40.2")

    def test_a_host_in_both_tables_is_taken_from_system_local(self) -> None:
        """A node that lists itself among its peers is still one node."""
        discovery = found(local_rows(), peers_rows(peer_row(1, rpc_address=inet("127.0.40.77")), peer_row(2)))
        assert addresses(discovery) == ["127.0.40.1", "127.0.40.2"]

    @pytest.mark.parametrize("unspecified", ["0.0.0.0", "::"])
    def test_an_unspecified_rpc_address_gives_way_to_the_broadcast_address(self, unspecified: str) -> None:
        """rpc_address 0.0.0.0 means every interface: nothing that can be dialled."""
        row = local_row(rpc_address=inet(unspecified), broadcast_address=inet("127.0.40.50"))
        peer = peer_row(2, rpc_address=inet(unspecified))
        assert addresses(found(local_rows(row), peers_rows(peer))) == ["127.0.40.50", "127.0.40.2"]

    def test_the_listen_address_stands_in_where_there_is_no_broadcast_address(self) -> None:
        """Old versions do not fill broadcast_address."""
        row = local_row(rpc_address=inet("0.0.0.0"), broadcast_address=None, listen_address=inet("127.0.40.51"))
        assert addresses(found(local_rows(row), peers_rows())) == ["127.0.40.51"]

    @pytest.mark.parametrize("types", [LOCAL_TYPES, without(LOCAL_TYPES, "rpc_address")])
    def test_a_local_row_without_rpc_address_is_where_we_are_connected_to(self, types: Mapping[str, CqlType]) -> None:
        """Cassandra 2.0 has no such column; a host name is kept as it was dialled."""
        row = local_row(rpc_address=None)
        assert addresses(found(local_rows(row, types), peers_rows(), "node.example")) == ["node.example"]

    @pytest.mark.parametrize("lacking", ["rpc_address", "data_center", "rack", "host_id"])
    def test_a_peer_that_lacks_what_makes_a_host_is_skipped(self, lacking: str) -> None:
        """Such rows are left behind by nodes that joined or went badly; a null address would be dialled for ever."""
        discovery = found(local_rows(), peers_rows(peer_row(2) | {lacking: None}, peer_row(3)))
        assert addresses(discovery) == ["127.0.40.1", "127.0.40.3"]
        assert discovery.skipped == (f"peer 127.0.40.2 has no {lacking}",)

    @pytest.mark.parametrize("lacking", ["data_center", "rack", "host_id"])
    def test_a_local_row_that_lacks_what_makes_a_host_is_an_error(self, lacking: str) -> None:
        """Without the contacted node there is no datacenter to choose."""
        with pytest.raises(TopologyError, match=f"system.local has no {lacking}"):
            found(local_rows(local_row() | {lacking: None}), peers_rows())

    def test_an_empty_system_local_is_an_error(self) -> None:
        """Seen from servers that only imitate Cassandra."""
        with pytest.raises(TopologyError, match="system.local is empty"):
            found(peers_rows(), peers_rows())

    def test_rows_without_column_names_are_an_error(self) -> None:
        """Positions alone say nothing of what a value is."""
        with pytest.raises(TopologyError, match="no column names"):
            read_table(Rows(RowsMetadata(None, 1), [[b"x"]]))

    def test_a_missing_release_version_is_empty(self) -> None:
        """Imitations leave it out; nothing is decided by it."""
        row = local_row()
        discovery = found(local_rows(row, without(LOCAL_TYPES, "release_version")), peers_rows())
        assert discovery.hosts[0].release_version == ""

    def test_hosts_print_as_what_is_dialled(self) -> None:
        """Log lines name hosts; an IPv6 address needs brackets before a port."""
        six = Host("fd00::1", 9042, "dc1", "r1", host_id(1), "", {})
        assert (str(host(1)), str(six)) == ("127.0.40.1:9042", "[fd00::1]:9042")

    def test_real_types_are_kept(self) -> None:
        """Columns of the cluster are shown to drivers with the type they have there."""
        assert list(read_table(peers_rows()).types) == list(PEERS_TYPES)


class TestPartitioner:
    @pytest.mark.parametrize(
        "partitioner",
        ["org.apache.cassandra.dht.Murmur3Partitioner", "org.apache.cassandra.dht.RandomPartitioner", ""],
    )
    def test_token_ranges_can_be_laid_over_these(self, partitioner: str) -> None:
        """A server that names none is taken on trust."""
        assert check_partitioner(local_row(partitioner=partitioner.encode())) == partitioner

    def test_any_other_is_refused_in_the_words_operators_know(self) -> None:
        """Virtual tokens make no sense in an ordered key space."""
        with pytest.raises(TopologyError) as caught:
            check_partitioner(local_row(partitioner=b"org.apache.cassandra.dht.ByteOrderedPartitioner"))
        assert str(caught.value) == (
            "virtualization is enabled and partitioner is not Murmur3 or Random but instead "
            "org.apache.cassandra.dht.ByteOrderedPartitioner"
        )


class TestDatacenter:
    def test_the_contacted_nodes_datacenter_is_used_by_default(self) -> None:
        discovery = found(local_rows(), peers_rows(peer_row(2, "dc2")))
        assert choose_datacenter(discovery, "") == "dc1"

    def test_the_configured_datacenter_is_used_if_a_host_is_in_it(self) -> None:
        discovery = found(local_rows(), peers_rows(peer_row(2, "dc2")))
        assert choose_datacenter(discovery, "dc2") == "dc2"

    def test_a_configured_datacenter_without_hosts_is_not_used(self) -> None:
        """A misspelt name must not leave the proxy without hosts."""
        assert choose_datacenter(found(local_rows(), peers_rows()), "DC1") == "dc1"

    def test_hosts_are_sorted_by_rack_then_id(self) -> None:
        """All instances must see the same order, or their shares overlap."""
        mixed = [host(3), host(1, rack="r2"), host(2), host(4, "dc2")]
        assert in_datacenter(mixed, "dc1") == (host(2), host(3), host(1, rack="r2"))

    def test_a_datacenter_that_has_lost_all_hosts_is_an_error(self) -> None:
        with pytest.raises(TopologyError, match="no host found in datacenter dc3"):
            in_datacenter([host(1)], "dc3")


class TestAssignedHosts:
    @pytest.mark.parametrize(
        ("count", "index", "positions"),
        [
            (1, 0, [0, 1, 2]),
            (2, 0, [0, 2]),
            (2, 1, [1]),
            (3, 0, [0]),
            (3, 1, [1]),
            (3, 2, [2]),
            (4, 0, [0]),
            (4, 1, [1]),
            (4, 3, [0]),
            (12, 10, [1]),
        ],
    )
    def test_each_instance_has_its_share_of_three_hosts(self, count: int, index: int, positions: list[int]) -> None:
        """With more instances than hosts the hosts are shared again from the first on."""
        hosts = [host(1), host(2), host(3)]
        assert assigned_hosts(hosts, count, index) == tuple(hosts[position] for position in positions)

    @pytest.mark.parametrize("hosts", range(1, 9))
    @pytest.mark.parametrize("count", range(1, 9))
    def test_no_instance_is_without_a_host_and_no_host_without_an_instance(self, hosts: int, count: int) -> None:
        """An instance without hosts could serve nobody; a host without instance would get no load."""
        every = [host(number) for number in range(hosts)]
        shares = [assigned_hosts(every, count, index) for index in range(count)]
        assert all(shares)
        assert {one.address for share in shares for one in share} == {one.address for one in every}


class TestHostRing:
    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_turns_go_round_beginning_with_the_second(self, size: int) -> None:
        """The reference advances before it picks; the conformance suite counts on the order."""
        hosts = [host(number) for number in range(size)]
        ring = HostRing(hosts)
        assert [ring.next() for _ in range(2 * size)] == [hosts[(turn + 1) % size] for turn in range(2 * size)]

    def test_ninety_connections_are_shared_evenly(self) -> None:
        hosts = [host(1), host(2), host(3)]
        ring = HostRing(hosts)
        turns = [ring.next() for _ in range(90)]
        assert [turns.count(one) for one in hosts] == [30, 30, 30]

    def test_the_others_follow_in_case_the_first_fails(self) -> None:
        """A client must not be lost to one dead node while others are alive."""
        ring = HostRing([host(1), host(2), host(3)])
        assert ring.candidates() == (host(2), host(3), host(1))

    def test_without_hosts_there_is_no_turn(self) -> None:
        assert HostRing().next() is None

    def test_the_turn_goes_on_after_a_change_of_hosts(self) -> None:
        """Starting anew at each refresh would favour the first hosts."""
        ring = HostRing([host(1), host(2), host(3)])
        ring.next()
        ring.replace([host(4), host(5), host(6)])
        assert ring.next() == host(6)


class TestVirtualHosts:
    FLEET = ProxyTopology(("127.0.0.1", "127.0.0.2", "127.0.0.3"), 0, 2, False, 14002)

    def test_tokens_of_the_fleet_interleave(self) -> None:
        """The values are the reference's: a fleet of both kinds must agree on the ring."""
        assert virtual_tokens(1, 3, 2) == ("-6148914691236517206", "3074457345618258600")
        assert virtual_tokens(0, 1, 1) == ("-9223372036854775808",)

    @pytest.mark.parametrize(("count", "num_tokens"), [(1, 8), (3, 8), (5, 256), (7, 3)])
    def test_tokens_are_distinct_and_within_the_murmur3_range(self, count: int, num_tokens: int) -> None:
        """Two hosts with one token would make a driver's ring ambiguous."""
        tokens = [int(token) for index in range(count) for token in virtual_tokens(index, count, num_tokens)]
        assert len(set(tokens)) == count * num_tokens
        assert -(2**63) <= min(tokens) and max(tokens) < 2**63

    def test_configured_addresses_have_the_ids_of_their_sixteen_byte_form(self) -> None:
        """Ids must be the reference's: drivers keep hosts apart by them while proxies are replaced one by one."""
        assert [str(virtual.host_id) for virtual in self.FLEET.virtual_hosts("")] == [
            "70ce2f37-9d6d-5010-98d8-80fe51a498ed",
            "3d89fc3f-6076-51b1-9580-24975aa4ba0a",
            "1f7b13e3-4795-5e09-983f-378814fb0f2d",
        ]

    def test_a_derived_address_has_the_id_of_its_four_byte_form(self) -> None:
        (virtual,) = ProxyTopology(("127.0.0.1",), 0, 8, True, 14002).virtual_hosts("10.0.0.1")
        assert str(virtual.host_id) == "c9308a60-f574-524c-a3f7-02b92ce2a574"
        assert virtual.address == "127.0.0.1"

    def test_addresses_are_sent_in_their_own_length(self) -> None:
        """An IPv4 address padded to 16 bytes would be an IPv6 address to the driver."""
        assert [len(virtual.packed) for virtual in self.FLEET.virtual_hosts("")] == [4, 4, 4]
        assert len(ProxyTopology(("fd00::1",), 0, 1, False, 1).virtual_hosts("")[0].packed) == 16

    @pytest.mark.parametrize("listened", ["0.0.0.0", "::"])
    def test_an_unspecified_listen_address_is_shown_as_where_the_client_reached_us(self, listened: str) -> None:
        """Every container listens on 0.0.0.0, and no driver can connect to that."""
        topology = ProxyTopology((listened,), 0, 8, True, 14002)
        assert topology.depends_on_client()
        (virtual,) = topology.virtual_hosts("10.1.2.3")
        assert (virtual.address, virtual.packed) == ("10.1.2.3", inet("10.1.2.3"))
        assert virtual.host_id == virtual_host_id(inet("10.1.2.3"))

    def test_an_ipv4_client_of_a_dual_stack_socket_is_shown_an_ipv4_address(self) -> None:
        (virtual,) = ProxyTopology(("::",), 0, 8, True, 14002).virtual_hosts("::ffff:10.1.2.3")
        assert virtual.packed == inet("10.1.2.3")

    def test_an_unknown_local_address_changes_nothing(self) -> None:
        """A socket that is gone already has no address to tell."""
        assert ProxyTopology(("0.0.0.0",), 0, 8, True, 14002).virtual_hosts("")[0].address == "0.0.0.0"

    def test_a_configured_address_does_not_depend_on_the_client(self) -> None:
        assert not self.FLEET.depends_on_client()
        assert self.FLEET.virtual_hosts("10.1.2.3")[0].address == "127.0.0.1"

    def test_ids_are_version_five_uuids(self) -> None:
        assert virtual_host_id(inet("127.0.0.1")).version == 5
        assert virtual_host_id(inet("127.0.0.1")).variant == uuid.RFC_4122
