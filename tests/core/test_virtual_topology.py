"""What a client is told of the fleet, by QUERY and prepared, to the last column (sections 4.4 and 12.5)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests import frames
from tests.core.shown import FLEET, IDS, LOCAL_COLUMNS, PEERS_COLUMNS, columns, names, proxies, system_tables, values
from tests.playbook import Play
from tests.stage import INVALID, PROTOCOL_ERROR, TARGET, stage
from tests.system_rows import LOCAL_TYPES, PEERS_TYPES, SCHEMA, Values, host_id, inet, local_row, peer_row
from zdm.core.intercept import SystemTables
from zdm.core.topology import ProxyTopology
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
    encode_cql,
    map_of,
    set_of,
)

MURMUR3 = "org.apache.cassandra.dht.Murmur3Partitioner"


@contextmanager
def shown(tables: SystemTables, version: int = 4) -> Iterator[Play]:
    """A ready session that is shown these tables; no cluster ever sees a request for them."""
    with Play(stage(tables=tables), version) as play:
        yield play.become_ready()


def rows_of(frame: bytes, version: int) -> Rows:
    """The RESULT in an answer of the proxy: plain, and under the request's id."""
    assert frame[:5] == bytes([version | 0x80, 0, 0, 5, 0x08])
    answer = decode_response(frame[4], version, frame[9:])
    assert isinstance(answer, Rows)
    return answer


def queried(play: Play, text: str) -> Rows:
    play.client_sends(frames.query(5, text, version=play.version, skip_metadata=True))
    return rows_of(play.client_got(), play.version)


def prepared(play: Play, text: str) -> Prepared:
    play.client_sends(frames.prepare(5, text, version=play.version))
    frame = play.client_got()
    answer = decode_response(frame[4], play.version, frame[9:])
    assert isinstance(answer, Prepared)
    return answer


def executed(play: Play, text: str) -> Rows:
    """Prepared, and executed with the id of that; what was told of the columns then is what comes now."""
    statement = prepared(play, text)
    play.client_sends(frames.execute(5, statement.prepared_id, version=play.version, skip_metadata=True))
    rows = rows_of(play.client_got(), play.version)
    assert statement.result.columns == rows.metadata.columns
    assert statement.bind.columns == []
    return rows


ASKED = {"query": queried, "execute": executed}


@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize("version", [3, 4])
class TestThreeProxies:
    @pytest.mark.parametrize(
        ("text", "expected_names", "expected"),
        [
            ("SELECT rack FROM system.local", ["rack"], [["rack0"]]),
            ("SELECT rack as r FROM system.local", ["r"], [["rack0"]]),
            ("SELECT count(*) FROM system.local", ["count"], [[1]]),
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
        ],
    )
    def test_columns_counts_and_aliases(
        self,
        tables: SystemTables,
        how: str,
        version: int,
        text: str,
        expected_names: list[str],
        expected: list[list[object]],
    ) -> None:
        """Columns are told though the client asked for none: a driver that has prepared nothing needs them."""
        with shown(tables, version) as play:
            rows = ASKED[how](play, text)
            assert (names(rows), values(rows)) == (expected_names, expected)

    def test_the_proxy_itself(self, tables: SystemTables, how: str, version: int) -> None:
        with shown(tables, version) as play:
            rows = ASKED[how](play, "SELECT * FROM system.local")
        (row,) = values(rows)
        record = dict(zip(names(rows), row, strict=True))
        assert names(rows) == LOCAL_COLUMNS
        assert (record["rpc_address"], record["rack"], record["data_center"]) == ("127.0.0.1", "rack0", "dc1")
        assert record["host_id"] == IDS[0] and len(tuple(_texts(record["tokens"]))) == 8

    def test_the_other_two_in_their_order(self, tables: SystemTables, how: str, version: int) -> None:
        with shown(tables, version) as play:
            rows = ASKED[how](play, "SELECT * FROM system.peers")
        assert names(rows) == PEERS_COLUMNS
        assert [row[0] for row in values(rows)] == ["127.0.0.2", "127.0.0.3"]

    @pytest.mark.parametrize(
        ("selected", "table", "unknown"),
        [
            ("dsa, key, asd", "local", "dsa"),
            ("dsa", "local", "dsa"),
            ("key, asd", "local", "asd"),
            ("asd, peer, dsa", "peers", "asd"),
            ("asd", "peers", "asd"),
            ("peer, dsa", "peers", "dsa"),
        ],
    )
    def test_the_first_unknown_column_is_told(
        self, tables: SystemTables, how: str, version: int, selected: str, table: str, unknown: str
    ) -> None:
        text = f"SELECT {selected} FROM system.{table}"
        request = frames.query(5, text, version) if how == "query" else frames.prepare(5, text, version=version)
        with shown(tables, version) as play:
            play.client_sends(request)
            assert play.expect_error(INVALID, 5).message == f"Undefined column name {unknown}"


@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT peer, count(*), count(*) as c, peer as p FROM system.peers", [[None, 0, 0, None]]),
        ("SELECT count(*) FROM system.peers", [[0]]),
        ("SELECT * FROM system.peers", []),
    ],
)
def test_a_single_proxy_has_no_peers(alone: SystemTables, how: str, text: str, expected: list[list[object]]) -> None:
    """And still its columns are told."""
    with shown(alone) as play:
        rows = ASKED[how](play, text)
        assert values(rows) == expected and names(rows)


def test_the_second_proxy_shows_the_first_and_the_third() -> None:
    """All instances tell the same of one another."""
    with shown(system_tables(proxies(*FLEET, index=1))) as play:
        rows = queried(play, "SELECT peer, host_id FROM system.peers")
        assert values(rows) == [["127.0.0.1", IDS[0]], ["127.0.0.3", IDS[2]]]
        assert values(queried(play, "SELECT host_id FROM system.local")) == [[IDS[1]]]


def test_all_instances_tell_the_same_of_each() -> None:
    """A driver that goes from one to the other must not see hosts change."""
    told: list[dict[object, object]] = []
    for index in range(3):
        with shown(system_tables(proxies(*FLEET, index=index))) as play:
            of_itself = values(
                queried(play, "SELECT rpc_address, host_id, data_center, rack, tokens FROM system.local")
            )
            of_others = values(queried(play, "SELECT peer, host_id, data_center, rack, tokens FROM system.peers"))
            told.append({row[0]: row[1:] for row in of_itself + of_others})
    assert told[0] == told[1] == told[2]


def test_the_tokens_are_those_of_the_formula() -> None:
    """floor(2^64 / (num_tokens * n)) * (t * n + i) - 2^63, in decimal; drivers send each key to its owner by them."""
    step = 2**64 // (8 * 3)
    found: dict[object, set[str]] = {}
    with shown(system_tables(proxies(*FLEET))) as play:
        for row in values(queried(play, "SELECT rpc_address, tokens FROM system.local")):
            found[row[0]] = _texts(row[1])
        for row in values(queried(play, "SELECT peer, tokens FROM system.peers")):
            found[row[0]] = _texts(row[1])
    assert found == {
        address: {str(step * (turn * 3 + index) - 2**63) for turn in range(8)} for index, address in enumerate(FLEET)
    }


def test_an_id_is_made_of_text_and_keyspace_as_the_reference_makes_it(tables: SystemTables) -> None:
    """A driver that goes to a proxy of the other kind finds its statement there."""
    with shown(tables) as play:
        text = "SELECT rack FROM system.local"
        assert prepared(play, text).prepared_id == hashlib.md5(text.encode()).digest()
        play.use("system", stream=6)
        text = "SELECT rack FROM local"
        assert prepared(play, text).prepared_id == hashlib.md5(b"SELECT rack FROM localsystem").digest()


def test_a_prepared_statement_returns_what_is_so_when_it_is_executed(tables: SystemTables) -> None:
    """A driver may keep it for days."""
    with shown(tables) as play:
        statement = prepared(play, "SELECT schema_version FROM system.local")
        later = uuid.UUID(int=99)
        changed = system_tables(proxies(*FLEET), local=local_row(schema_version=later.bytes))
        snapshot = replace(play.shared.snapshot, generation=2, system_tables=changed)
        play.session.apply(snapshot, play.now)
        play.client_sends(frames.execute(5, statement.prepared_id))
        assert values(rows_of(play.client_got(), 4)) == [[later]]


@pytest.mark.parametrize("how", ["query", "execute"])
def test_what_the_proxy_cannot_answer_is_answered_by_the_cluster_of_system_queries(how: str) -> None:
    """FIX-16: the reference leaves the client without an answer."""
    text = "SELECT JSON key FROM system.local"
    tables = system_tables(proxies(*FLEET))
    with Play(stage(tables=tables, system_queries=TARGET)) as play:
        play.become_ready()
        request = frames.query(5, text)
        if how == "execute":
            play.prepare(text, b"id")
            request = frames.execute(5, b"id")
        play.client_sends(request)
        play.answer(play.expect_forwarded(to={TARGET}), TARGET, frames.rows())
        play.expect_client(frames.rows(5))


def test_nobody_is_shown_the_fleet_before_being_let_in(tables: SystemTables) -> None:
    """FIX-12: what is intercepted is told to whoever reaches the port otherwise, credentials or not."""
    asked = frames.query(5, "SELECT * FROM system.local"), frames.prepare(6, "SELECT * FROM system.peers")
    with Play(stage(tables=tables)) as play:
        play.open()
        play.client_sends(*asked)
        for stream in (5, 6):
            play.expect_error(PROTOCOL_ERROR, stream, "expecting STARTUP or OPTIONS")
        play.client_sends(frames.startup(1))
        play.answer_all(play.expect_forwarded(), frames.authenticate())
        play.expect_client(frames.authenticate(1))
        play.client_sends(*asked)
        for stream in (5, 6):
            play.expect_error(PROTOCOL_ERROR, stream, "expecting AUTH_RESPONSE")


# A cluster that has every column there is (DSE), of two nodes that differ in all of them

ALL_LOCAL: dict[str, CqlType] = LOCAL_TYPES | {
    "dse_version": VARCHAR,
    "graph": BOOLEAN,
    "jmx_port": INT,
    "last_nodesync_checkpoint_time": BIGINT,
    "native_transport_address": INET,
    "native_transport_port": INT,
    "native_transport_port_ssl": INT,
    "server_id": VARCHAR,
    "storage_port": INT,
    "storage_port_ssl": INT,
    "thrift_version": VARCHAR,
    "workload": VARCHAR,
    "workloads": set_of(VARCHAR),
}
ALL_PEERS: dict[str, CqlType] = PEERS_TYPES | {
    name: ALL_LOCAL[name]
    for name in (
        "dse_version", "graph", "jmx_port", "native_transport_address", "native_transport_port",
        "native_transport_port_ssl", "server_id", "storage_port", "storage_port_ssl", "workload", "workloads",
    )
}  # fmt: skip
OF_A_NODE: dict[str, tuple[object, object]] = {
    "dse_version": ("6.8.1", "6.8.2"),
    "graph": (True, False),
    "jmx_port": (7199, 7198),
    "server_id": ("one", "two"),
    "storage_port": (7000, 7002),
    "storage_port_ssl": (7001, 7003),
    "workload": ("Cassandra", "Search"),
    "workloads": (["Cassandra"], ["Search"]),
}
"""What the two nodes say of themselves."""

OF_THE_CONTACTED: dict[str, object] = {
    "key": "local",
    "bootstrapped": "COMPLETED",
    "cluster_name": "origin cluster",
    "cql_version": "3.4.6",
    "gossip_generation": 1700000000,
    "last_nodesync_checkpoint_time": 1234567890123,
    "native_protocol_version": "5",
    "thrift_version": "20.1.0",
}
"""What is taken from the node that was asked, whichever proxy this is."""


def every_column(index: int) -> SystemTables:
    def own(place: int) -> Values:
        return {name: encode_cql(ALL_LOCAL[name], both[place]) for name, both in OF_A_NODE.items()}

    transport: Values = {
        "native_transport_address": inet("127.0.40.1"),
        "native_transport_port": (9042).to_bytes(4, "big"),
        "native_transport_port_ssl": (9142).to_bytes(4, "big"),
    }
    contacted = {
        name: encode_cql(ALL_LOCAL[name], value)
        for name, value in OF_THE_CONTACTED.items()
        if name in ("last_nodesync_checkpoint_time", "thrift_version")
    }
    local = local_row() | own(0) | transport | contacted
    peer = peer_row(2) | own(1) | transport
    return system_tables(proxies(*FLEET, index=index), peer, local=local, local_types=ALL_LOCAL, peers_types=ALL_PEERS)


def own_columns(index: int) -> dict[str, object]:
    """What the proxy says of instance `index`, by itself or for that which stands behind it: the other node for 1."""
    address, behind = FLEET[index], index % 2
    return {name: both[behind] for name, both in OF_A_NODE.items()} | {
        "data_center": "dc1",
        "host_id": IDS[index],
        "native_transport_address": address,
        "native_transport_port": 14002,
        "native_transport_port_ssl": 14002,
        "rack": "rack0",
        "release_version": ("4.1.10", "4.1.9")[behind],
        "rpc_address": address,
        "schema_version": SCHEMA,
        "tokens": {str(2**64 // 24 * (turn * 3 + index) - 2**63) for turn in range(8)},
    }


def record_of(rows: Rows, row: list[bytes | None]) -> dict[str, object]:
    """A row by names; sets of texts as such."""
    found = {name: decode_cql(kind, cell) for (name, kind), cell in zip(columns(rows), row, strict=True)}
    return found | {"tokens": _texts(found["tokens"]), "workloads": sorted(_texts(found["workloads"]))}


@pytest.mark.parametrize("how", ASKED)
@pytest.mark.parametrize("index", [0, 1, 2])
class TestEveryColumn:
    def test_of_system_local(self, how: str, index: int) -> None:
        """The order is the reference's; broadcast_port, listen_port and rpc_port of Cassandra 4 are never shown."""
        with shown(every_column(index)) as play:
            rows = ASKED[how](play, "SELECT * FROM system.local")
        assert names(rows) == [
            "key", "bootstrapped", "broadcast_address", "cluster_name", "cql_version", "data_center", "dse_version",
            "gossip_generation", "graph", "host_id", "jmx_port", "last_nodesync_checkpoint_time", "listen_address",
            "native_protocol_version", "native_transport_port", "native_transport_port_ssl", "partitioner",
            "native_transport_address", "rack", "release_version", "rpc_address", "schema_version", "server_id",
            "storage_port", "storage_port_ssl", "thrift_version", "tokens", "truncated_at", "workload", "workloads",
        ]  # fmt: skip
        assert dict(columns(rows)) == {name: _type_of(name) for name in names(rows)}
        (row,) = rows.rows
        assert record_of(rows, row) == own_columns(index) | OF_THE_CONTACTED | {
            "broadcast_address": FLEET[index],
            "listen_address": FLEET[index],
            "partitioner": MURMUR3,
            "truncated_at": None,
        }

    def test_of_system_peers(self, how: str, index: int) -> None:
        """One row for each other proxy, in the order of the addresses."""
        with shown(every_column(index)) as play:
            rows = ASKED[how](play, "SELECT * FROM system.peers")
        assert names(rows) == [
            "peer", "data_center", "dse_version", "graph", "host_id", "jmx_port", "native_transport_address",
            "native_transport_port", "native_transport_port_ssl", "preferred_ip", "rack", "release_version",
            "rpc_address", "schema_version", "server_id", "storage_port", "storage_port_ssl", "tokens", "workload",
            "workloads",
        ]  # fmt: skip
        assert dict(columns(rows)) == {name: _type_of(name) for name in names(rows)}
        others = [other for other in range(3) if other != index]
        assert [record_of(rows, row) for row in rows.rows] == [
            own_columns(other) | {"peer": FLEET[other], "preferred_ip": FLEET[other]} for other in others
        ]


@pytest.mark.parametrize("name", sorted(OF_A_NODE.keys() | {"native_transport_address", "native_transport_port_ssl"}))
@pytest.mark.parametrize("table", ["local", "peers"])
def test_a_column_that_the_cluster_lacks_is_unknown(table: str, name: str) -> None:
    """FIX-16: the reference never answers."""
    with shown(system_tables(proxies(*FLEET), peer_row(2))) as play:
        play.client_sends(frames.query(5, f"SELECT {name} FROM system.{table}"))
        assert play.expect_error(INVALID, 5).message == f"Undefined column name {name}"


def test_real_tokens_and_ids_are_nowhere() -> None:
    """A driver would dial what it finds, past the proxies."""
    with shown(every_column(0)) as play:
        for table in ("local", "peers"):
            play.client_sends(frames.query(5, f"SELECT * FROM system.{table}"))
            told = play.client_got()
            for number in (1, 2):
                assert inet(f"127.0.40.{number}") not in told and host_id(number).bytes not in told
            assert (9042).to_bytes(4, "big") not in told and (9142).to_bytes(4, "big") not in told


def test_a_proxy_alone_is_known_by_its_listen_address() -> None:
    """Its id is made of four bytes, not sixteen, so that it is the one that the reference gives it."""
    with shown(system_tables(ProxyTopology(("127.0.0.1",), 0, 8, True, 14002))) as play:
        (row,) = values(queried(play, "SELECT rpc_address, host_id, tokens FROM system.local"))
    assert row[:2] == ["127.0.0.1", uuid.UUID("c9308a60-f574-524c-a3f7-02b92ce2a574")]
    assert _texts(row[2]) == {str(2**61 * turn - 2**63) for turn in range(8)}


def _type_of(name: str) -> CqlType:
    own: Mapping[str, CqlType] = {"preferred_ip": INET, "tokens": set_of(VARCHAR), "truncated_at": map_of(UUID, BLOB)}
    return own.get(name) or ALL_LOCAL.get(name) or ALL_PEERS[name]


def _texts(value: object) -> set[str]:
    assert isinstance(value, list | set | frozenset | tuple)
    return set(value)
