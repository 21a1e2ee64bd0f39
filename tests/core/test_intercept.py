"""What drivers are shown for system.local, system.peers and system.peers_v2 (the tables of spec 12.5 and 4.4)."""

from __future__ import annotations

import pytest

from tests.core.shown import (
    FLEET,
    IDS,
    LOCAL_COLUMNS,
    PEERS_COLUMNS,
    columns,
    names,
    proxies,
    records,
    result,
    system_tables,
    values,
)
from tests.system_rows import (
    LOCAL_TYPES,
    PEERS_TYPES,
    SCHEMA,
    inet,
    local_row,
    peer_row,
    without,
)
from zdm.core.intercept import SystemTables
from zdm.core.topology import ProxyTopology
from zdm.protocol.types import (
    BIGINT,
    BLOB,
    BOOLEAN,
    INET,
    INT,
    UUID,
    VARCHAR,
    map_of,
    set_of,
)


@pytest.mark.parametrize("version", [3, 4])
class TestLocal:
    def test_the_one_row_is_the_proxy_itself(self, tables: SystemTables, version: int) -> None:
        """Drivers take address, datacenter, rack, id and tokens of their contact point from here."""
        rows = result(tables, "SELECT * FROM system.local", version)
        assert names(rows) == LOCAL_COLUMNS
        (record,) = records(rows)
        assert record["host_id"] == IDS[0]
        assert record["data_center"] == "dc1"
        assert record["rack"] == "rack0"
        assert record["key"] == "local"
        assert record["cluster_name"] == "origin cluster"
        assert record["release_version"] == "4.1.10"
        assert record["schema_version"] == SCHEMA
        assert record["partitioner"] == "org.apache.cassandra.dht.Murmur3Partitioner"
        assert record["truncated_at"] is None
        for name in ("broadcast_address", "listen_address", "rpc_address"):
            assert record[name] == "127.0.0.1"

    def test_columns_after_the_key_are_in_alphabetical_order(self, tables: SystemTables, version: int) -> None:
        """As Cassandra sends them; some tools go by position."""
        first, *others = names(result(tables, "SELECT * FROM system.local", version))
        assert first == "key" and others == sorted(others)

    def test_the_proxy_has_its_own_tokens(self, tables: SystemTables, version: int) -> None:
        """The real host's tokens would make a driver's ring overlap with that of the other proxies."""
        (record,) = records(result(tables, "SELECT * FROM system.local", version))
        tokens = record["tokens"]
        assert isinstance(tokens, set | frozenset | list | tuple) and len(tokens) == 8
        assert "-9223372036854775808" in tokens


class TestTypes:
    def test_columns_of_the_proxy_have_cassandras_types(self, tables: SystemTables) -> None:
        """A driver decodes by these."""
        types = dict(columns(result(tables, "SELECT * FROM system.local")))
        assert types["tokens"] == set_of(VARCHAR)
        assert types["truncated_at"] == map_of(UUID, BLOB)
        assert types["rpc_address"] == INET
        assert types["schema_version"] == types["host_id"] == UUID
        assert types["gossip_generation"] == INT
        peers = dict(columns(result(tables, "SELECT * FROM system.peers")))
        assert peers["preferred_ip"] == peers["peer"] == INET

    def test_specs_name_keyspace_and_table_each(self, tables: SystemTables) -> None:
        """The reference sends no global table spec."""
        rows = result(tables, "SELECT key, rack FROM system.local")
        assert rows.metadata.columns is not None
        assert [(spec.keyspace, spec.table) for spec in rows.metadata.columns] == [("system", "local")] * 2
        answer = tables.query("SELECT key FROM system.local", "local", "", 4)
        assert answer is not None and answer.body[4:12] == bytes.fromhex("00000000" + "00000001")

    def test_a_column_of_the_cluster_keeps_the_type_it_has_there(self) -> None:
        """DSE changed types between versions; the bytes are passed on, so the type must be."""
        types = {**LOCAL_TYPES, "workload": VARCHAR, "graph": BOOLEAN, "last_nodesync_checkpoint_time": BIGINT}
        tables = system_tables(
            proxies("127.0.0.1"), local=local_row(graph=b"\1", workload=b"Cassandra"), local_types=types
        )
        rows = result(tables, "SELECT graph, workload, last_nodesync_checkpoint_time FROM system.local")
        assert columns(rows) == [("graph", BOOLEAN), ("workload", VARCHAR), ("last_nodesync_checkpoint_time", BIGINT)]
        assert values(rows) == [[True, "Cassandra", None]]


class TestPeers:
    def test_one_row_for_each_other_proxy(self, tables: SystemTables) -> None:
        rows = result(tables, "SELECT * FROM system.peers")
        assert names(rows) == PEERS_COLUMNS
        assert [(r["peer"], r["rpc_address"], r["preferred_ip"], r["host_id"]) for r in records(rows)] == [
            ("127.0.0.2", "127.0.0.2", "127.0.0.2", IDS[1]),
            ("127.0.0.3", "127.0.0.3", "127.0.0.3", IDS[2]),
        ]

    def test_the_second_proxy_shows_the_first_and_the_third(self) -> None:
        tables = system_tables(proxies(*FLEET, index=1))
        assert values(result(tables, "SELECT peer FROM system.peers")) == [["127.0.0.1"], ["127.0.0.3"]]
        assert values(result(tables, "SELECT rpc_address FROM system.local")) == [["127.0.0.2"]]

    def test_a_single_proxy_has_no_peers_but_columns(self, alone: SystemTables) -> None:
        """Metadata is always there, so that a driver can decode nothing as nothing."""
        rows = result(alone, "SELECT * FROM system.peers")
        assert (names(rows), rows.rows) == (PEERS_COLUMNS, [])

    def test_virtual_hosts_borrow_from_real_hosts_in_turn(self) -> None:
        """With fewer hosts than proxies the real ones are used again from the first on."""
        tables = system_tables(proxies(*FLEET), peer_row(2))
        assert values(result(tables, "SELECT release_version FROM system.local")) == [["4.1.10"]]
        assert values(result(tables, "SELECT release_version FROM system.peers")) == [["4.1.9"], ["4.1.10"]]

    def test_schema_version_is_the_same_in_all_rows(self) -> None:
        """Drivers compare them after each DDL, and wait ten seconds where they differ."""
        tables = system_tables(proxies(*FLEET), peer_row(2))
        assert values(result(tables, "SELECT schema_version FROM system.local")) == [[SCHEMA]]
        assert values(result(tables, "SELECT schema_version FROM system.peers")) == [[SCHEMA], [SCHEMA]]

    def test_the_rows_of_the_fleet_have_distinct_tokens(self, tables: SystemTables) -> None:
        rows = result(tables, "SELECT tokens FROM system.peers").rows
        rows += result(tables, "SELECT tokens FROM system.local").rows
        assert len({row[0] for row in rows}) == 3


class TestColumnsOfTheCluster:
    def test_a_minimal_server_makes_minimal_rows(self) -> None:
        """Only what the proxy knows itself is shown, whatever the cluster lacks."""
        kept = ("key", "data_center", "rack", "host_id", "rpc_address")
        types = {name: LOCAL_TYPES[name] for name in kept}
        peers = {"peer": INET}
        tables = system_tables(proxies(*FLEET), local_types=types, peers_types=peers)
        assert names(result(tables, "SELECT * FROM system.local")) == [
            "key", "broadcast_address", "data_center", "host_id", "listen_address", "partitioner", "rack",
            "release_version", "rpc_address", "schema_version", "tokens", "truncated_at",
        ]  # fmt: skip
        assert names(result(tables, "SELECT * FROM system.peers")) == [
            "peer", "data_center", "host_id", "preferred_ip", "rack", "rpc_address", "schema_version", "tokens",
        ]  # fmt: skip
        assert values(result(tables, "SELECT release_version, schema_version FROM system.local")) == [[None, None]]

    def test_peers_columns_are_the_real_ones_where_there_are_real_peers(self) -> None:
        """Otherwise system.local says what the cluster knows."""
        types = without(PEERS_TYPES, "release_version")
        alone = system_tables(proxies(*FLEET), peers_types=types)
        assert "release_version" in names(result(alone, "SELECT * FROM system.peers"))
        several = system_tables(proxies(*FLEET), peer_row(2), peers_types=types)
        assert "release_version" not in names(result(several, "SELECT * FROM system.peers"))

    def test_ports_are_the_proxys(self) -> None:
        """Drivers that read them would connect to the cluster's port on the proxy's address."""
        added = {"native_transport_port": INT, "native_transport_port_ssl": INT, "native_transport_address": INET}
        local = local_row(native_transport_port=(9042).to_bytes(4, "big"))
        peer = peer_row(2, native_transport_port=(9042).to_bytes(4, "big"), native_transport_address=inet("127.0.40.2"))
        tables = system_tables(
            proxies(*FLEET), peer, local=local, local_types=LOCAL_TYPES | added, peers_types=PEERS_TYPES | added
        )
        selected = "SELECT native_transport_port, native_transport_port_ssl, native_transport_address FROM system."
        assert values(result(tables, selected + "local")) == [[14002, 14002, "127.0.0.1"]]
        assert values(result(tables, selected + "peers")) == [
            [14002, 14002, "127.0.0.2"], [14002, 14002, "127.0.0.3"],
        ]  # fmt: skip

    def test_values_of_the_host_come_from_the_host_that_stands_behind(self) -> None:
        """A DSE fleet mixes workloads; the contacted node's would be wrong for the others."""
        added = {"workload": VARCHAR, "storage_port": INT}
        peer = peer_row(2, workload=b"Search", storage_port=(7001).to_bytes(4, "big"))
        tables = system_tables(
            proxies(*FLEET, index=1), peer, local=local_row(workload=b"Cassandra"),
            local_types=LOCAL_TYPES | added, peers_types=PEERS_TYPES | added,
        )  # fmt: skip
        assert values(result(tables, "SELECT workload, storage_port FROM system.local")) == [["Search", 7001]]
        assert values(result(tables, "SELECT workload FROM system.peers")) == [["Cassandra"], ["Cassandra"]]

    def test_values_of_the_node_asked_come_from_its_row(self) -> None:
        """A peer's row has no cluster name or CQL version, though every node has one."""
        tables = system_tables(proxies(*FLEET, index=1), peer_row(2))
        assert values(result(tables, "SELECT cluster_name, cql_version, key FROM system.local")) == [
            ["origin cluster", "3.4.6", "local"]
        ]

    def test_real_hosts_are_those_of_the_local_datacenter(self) -> None:
        """A remote host's datacenter in a row would send drivers to no proxy at all."""
        tables = system_tables(proxies(*FLEET), peer_row(2, "dc2"))
        assert values(result(tables, "SELECT data_center FROM system.peers")) == [["dc1"], ["dc1"]]


class TestAdvertisedNames:
    def test_datacenter_and_rack_can_be_given(self) -> None:
        """Origin and target name their datacenters differently; drivers must not notice a change of either."""
        tables = system_tables(proxies(*FLEET, datacenter="app-dc", rack="app-rack"))
        for table in ("local", "peers"):
            rows = result(tables, f"SELECT data_center, rack FROM system.{table}")
            assert {tuple(row) for row in values(rows)} == {("app-dc", "app-rack")}
        assert tables.view.datacenter == "dc1"

    @pytest.mark.parametrize("index", range(len(FLEET)))
    def test_all_instances_tell_the_same_of_all_instances(self, index: int) -> None:
        """A driver that sees an instance in two datacenters connects to it as a remote one, or not at all."""
        tables = system_tables(proxies(*FLEET, index=index, datacenter="app-dc", rack="app-rack"), peer_row(2))
        shown = {}
        for table, address in (("local", "rpc_address"), ("peers", "peer")):
            for row in records(result(tables, f"SELECT {address}, data_center, rack FROM system.{table}")):
                shown[row[address]] = (row["data_center"], row["rack"])
        assert shown == dict.fromkeys(FLEET, ("app-dc", "app-rack"))


class TestUnspecifiedListenAddress:
    def test_each_client_is_shown_the_address_it_reached(self) -> None:
        tables = system_tables(ProxyTopology(("0.0.0.0",), 0, 8, True, 14002))
        text = "SELECT rpc_address, host_id FROM system.local"
        seen = []
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
            answer = tables.query(text, "local", address, 4)
            assert answer is not None
            seen.append(answer.body)
        assert seen[0] == seen[2] != seen[1]
        assert inet("10.0.0.1") in seen[0] and inet("10.0.0.2") in seen[1]
