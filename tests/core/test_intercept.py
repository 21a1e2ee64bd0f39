"""What drivers are shown for system.local, system.peers and system.peers_v2 (the tables of spec 12.5 and 4.4)."""

from __future__ import annotations

import hashlib
import pickle
import uuid
from collections.abc import Mapping

import pytest

from tests.system_rows import (
    LOCAL_TYPES,
    PEERS_TYPES,
    SCHEMA,
    Values,
    host_id,
    inet,
    local_row,
    local_rows,
    peer_row,
    peers_rows,
    without,
)
from zdm.core.intercept import Answer, SystemTables, prepared_id
from zdm.core.topology import ClusterView, Endpoint, ProxyTopology, Table, discover, in_datacenter, read_table
from zdm.protocol import opcodes
from zdm.protocol.errors import ErrorCode, decode_error
from zdm.protocol.responses import Prepared, Rows, decode_response
from zdm.protocol.types import (
    BIGINT,
    BLOB,
    BOOLEAN,
    INET,
    INT,
    UUID,
    VARCHAR,
    CqlType,
    decode_cql,
    map_of,
    set_of,
)

FLEET = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
IDS = [
    uuid.UUID("70ce2f37-9d6d-5010-98d8-80fe51a498ed"),
    uuid.UUID("3d89fc3f-6076-51b1-9580-24975aa4ba0a"),
    uuid.UUID("1f7b13e3-4795-5e09-983f-378814fb0f2d"),
]
LOCAL_COLUMNS = [
    "key", "bootstrapped", "broadcast_address", "cluster_name", "cql_version", "data_center", "gossip_generation",
    "host_id", "listen_address", "native_protocol_version", "partitioner", "rack", "release_version", "rpc_address",
    "schema_version", "tokens", "truncated_at",
]  # fmt: skip
PEERS_COLUMNS = [
    "peer", "data_center", "host_id", "preferred_ip", "rack", "release_version", "rpc_address", "schema_version",
    "tokens",
]  # fmt: skip


def view_of(local: Table, peers: Table) -> ClusterView:
    found = discover(local, peers, "127.0.40.1", 9042)
    hosts = in_datacenter(found.hosts, "dc1")
    at = Endpoint("127.0.40.1", 9042)
    return ClusterView("origin cluster", "", "dc1", found.hosts, hosts, hosts, local, peers, 4, {}, True, at)


def system_tables(
    topology: ProxyTopology,
    *peers: Values,
    local: Values | None = None,
    local_types: Mapping[str, CqlType] = LOCAL_TYPES,
    peers_types: Mapping[str, CqlType] = PEERS_TYPES,
) -> SystemTables:
    view = view_of(read_table(local_rows(local, local_types)), read_table(peers_rows(*peers, types=peers_types)))
    return SystemTables(view, topology)


def proxies(*addresses: str, index: int = 0, datacenter: str = "", rack: str = "") -> ProxyTopology:
    return ProxyTopology(addresses, index, 8, False, 14002, datacenter, rack)


@pytest.fixture
def tables() -> SystemTables:
    """The first of three proxies before a cluster of one node."""
    return system_tables(proxies(*FLEET))


@pytest.fixture
def alone() -> SystemTables:
    return system_tables(proxies("127.0.0.1"))


def table_of(text: str) -> str:
    return text.rpartition("system.")[2].split()[0]


def result(tables: SystemTables, text: str, version: int = 4) -> Rows:
    answer = tables.query(text, table_of(text), "127.0.0.1", version)
    assert answer is not None and answer.opcode == opcodes.RESULT
    rows = decode_response(answer.opcode, version, answer.body)
    assert isinstance(rows, Rows)
    return rows


def columns(rows: Rows) -> list[tuple[str, CqlType]]:
    assert rows.metadata.columns is not None
    return [(column.name, column.type) for column in rows.metadata.columns]


def names(rows: Rows) -> list[str]:
    return [name for name, _ in columns(rows)]


def values(rows: Rows) -> list[list[object]]:
    return [[decode_cql(kind, value) for (_, kind), value in zip(columns(rows), row, strict=True)] for row in rows.rows]


def records(rows: Rows) -> list[dict[str, object]]:
    return [dict(zip(names(rows), row, strict=True)) for row in values(rows)]


def refusal(answer: Answer | None, version: int = 4) -> tuple[int, str]:
    assert answer is not None and answer.opcode == opcodes.ERROR
    error = decode_error(version, answer.body)
    return error.code, error.message


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


class TestSelectLists:
    @pytest.mark.parametrize(
        ("text", "expected_names", "expected_values"),
        [
            ("SELECT rack FROM system.local", ["rack"], [["rack0"]]),
            ("SELECT rack as r FROM system.local", ["r"], [["rack0"]]),
            ("SELECT count(*) FROM system.local", ["count"], [[1]]),
            ("SELECT COUNT(*) FROM system.local", ["COUNT"], [[1]]),
            ("SELECT rack FROM system.peers", ["rack"], [["rack0"], ["rack0"]]),
            ("SELECT rack as r FROM system.peers", ["r"], [["rack0"], ["rack0"]]),
            ("SELECT peer, count(*) FROM system.peers", ["peer", "count"], [["127.0.0.2", 2]]),
            ("SELECT rack as r, count(*) as c, rack FROM system.peers", ["r", "c", "rack"], [["rack0", 2, "rack0"]]),
            (
                "SELECT peer as p, count(*) as c, peer FROM system.peers",
                ["p", "c", "peer"],
                [["127.0.0.2", 2, "127.0.0.2"]],
            ),
            ("SELECT count(*) FROM system.peers", ["count"], [[2]]),
            ("SELECT rack FROM system.peers WHERE peer = '127.0.0.3'", ["rack"], [["rack0"], ["rack0"]]),
            ("SELECT KEY, Rack FROM system.local WHERE key='local'", ["key", "rack"], [["local", "rack0"]]),
        ],
    )
    def test_three_proxies(
        self, tables: SystemTables, text: str, expected_names: list[str], expected_values: list[list[object]]
    ) -> None:
        """Order and aliases are kept; a count makes one row of all; WHERE is not looked at."""
        rows = result(tables, text)
        assert (names(rows), values(rows)) == (expected_names, expected_values)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("SELECT peer, count(*), count(*) as c, peer as p FROM system.peers", [[None, 0, 0, None]]),
            ("SELECT count(*) FROM system.peers", [[0]]),
            ("SELECT count(*), rack FROM system.local", [[1, "rack0"]]),
        ],
    )
    def test_a_single_proxy(self, alone: SystemTables, text: str, expected: list[list[object]]) -> None:
        """A count of nothing is a row all the same."""
        assert values(result(alone, text)) == expected

    def test_a_count_is_an_int(self, tables: SystemTables) -> None:
        """Cassandra's is a bigint; the reference's is not, and drivers decode by the type sent."""
        assert columns(result(tables, "SELECT count(*) AS c FROM system.local")) == [("c", INT)]

    @pytest.mark.parametrize(
        ("text", "unknown"),
        [
            ("SELECT dsa, key, asd FROM system.local", "dsa"),
            ("SELECT dsa FROM system.local", "dsa"),
            ("SELECT key, asd FROM system.local", "asd"),
            ("SELECT asd, peer, dsa FROM system.peers", "asd"),
            ("SELECT asd FROM system.peers", "asd"),
            ("SELECT peer, dsa FROM system.peers", "dsa"),
            ("SELECT dse_version FROM system.local", "dse_version"),
            ("SELECT thrift_version FROM system.local", "thrift_version"),
            ("SELECT rpc_port FROM system.local", "rpc_port"),
            ("SELECT count(*), nope FROM system.peers", "nope"),
        ],
    )
    def test_the_first_unknown_column_is_named(self, tables: SystemTables, text: str, unknown: str) -> None:
        """Known to the world but not to this cluster is unknown as well."""
        expected = (ErrorCode.INVALID, f"Undefined column name {unknown}")
        assert refusal(tables.query(text, table_of(text), "", 4)) == expected
        assert refusal(tables.prepare(text, "", table_of(text), "", 4)) == expected

    @pytest.mark.parametrize(
        "selectors", ["now()", "JSON *", "DISTINCT key", "cast(key as text)", "'x'", "tokens[0]", "uuid(), key"]
    )
    def test_other_selectors_are_forwarded(self, tables: SystemTables, selectors: str) -> None:
        """A cluster can answer them; silence, or a wrong answer, would be worse than its real one."""
        assert tables.query(f"SELECT {selectors} FROM system.local", "local", "", 4) is None
        assert tables.prepare(f"SELECT {selectors} FROM system.local", "", "local", "", 4) is None

    def test_peers_v2_does_not_exist(self, tables: SystemTables) -> None:
        """Drivers fall back to system.peers on exactly this."""
        expected = (ErrorCode.INVALID, "unconfigured table peers_v2")
        assert refusal(tables.query("SELECT * FROM system.peers_v2", "peers_v2", "", 4)) == expected
        assert refusal(tables.prepare("SELECT * FROM system.peers_v2", "", "peers_v2", "", 4)) == expected
        assert refusal(tables.query("SELECT now() FROM system.peers_v2", "peers_v2", "", 4)) == expected


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


class TestPrepared:
    TEXT = "SELECT peer AS p, count(*) FROM system.peers WHERE peer = ?"

    @pytest.mark.parametrize("version", [3, 4])
    def test_the_answer_tells_result_columns_and_no_variables(self, tables: SystemTables, version: int) -> None:
        """Markers in WHERE are not looked at, as the clause is not."""
        answer = tables.prepare(self.TEXT, "ks", "peers", "", version)
        assert answer is not None and answer.opcode == opcodes.RESULT
        prepared = decode_response(answer.opcode, version, answer.body)
        assert isinstance(prepared, Prepared)
        assert prepared.prepared_id == hashlib.md5(self.TEXT.encode() + b"ks").digest() == prepared_id(self.TEXT, "ks")
        assert prepared.bind.columns == []
        assert prepared.result.columns is not None
        assert [(spec.name, spec.type) for spec in prepared.result.columns] == [("p", INET), ("count", INT)]

    def test_the_keyspace_is_part_of_the_id(self, tables: SystemTables) -> None:
        assert prepared_id(self.TEXT, "a") != prepared_id(self.TEXT, "b")
        one, two = (tables.prepare(self.TEXT, keyspace, "peers", "", 4) for keyspace in "ab")
        assert one != two

    def test_preparing_does_not_change_what_a_query_is_answered(self, tables: SystemTables) -> None:
        """Both kinds of answer are kept by text."""
        tables.prepare("SELECT rack FROM system.local", "", "local", "", 4)
        assert values(result(tables, "SELECT rack FROM system.local")) == [["rack0"]]


class TestKeptAnswers:
    def test_answers_are_kept_by_version_and_table(self, tables: SystemTables) -> None:
        """The same text may mean another table after a USE; v3 and v4 differ in PREPARED bodies."""
        assert tables.query("SELECT rack FROM t", "local", "", 4) != tables.query("SELECT rack FROM t", "peers", "", 4)
        text = "SELECT rack FROM system.local"
        assert tables.prepare(text, "", "local", "", 3) != tables.prepare(text, "", "local", "", 4)

    def test_many_different_texts_take_bounded_memory(self, tables: SystemTables) -> None:
        """Any client may send any number of them."""
        for number in range(2000):
            tables.query(f"SELECT rack AS r{number} FROM system.local", "local", "", 4)
        assert len(tables._answers) <= 256
        tables.query("SELECT rack FROM system.local --" + "x" * 5000, "local", "", 4)
        assert max(len(key[0]) for key in tables._answers) <= 1024

    def test_it_travels_to_workers(self, tables: SystemTables) -> None:
        """Workers get it from the supervisor as bytes."""
        text = "SELECT * FROM system.local"
        assert pickle.loads(pickle.dumps(tables)).query(text, "local", "", 4) == tables.query(text, "local", "", 4)

    def test_a_new_view_is_shown_at_once(self) -> None:
        """After a DDL the schema version must move, or drivers would not reload."""
        other = uuid.UUID(int=77)
        tables = system_tables(proxies(*FLEET), local=local_row(schema_version=other.bytes))
        assert values(result(tables, "SELECT schema_version FROM system.peers")) == [[other], [other]]
        assert host_id(1) not in {record["host_id"] for record in records(result(tables, "SELECT * FROM system.peers"))}
