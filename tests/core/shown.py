"""A cluster of one node behind a fleet of proxies, and what its system tables show, decoded."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from tests.system_rows import (
    LOCAL_TYPES,
    PEERS_TYPES,
    Values,
    local_rows,
    peers_rows,
)
from zdm.core.intercept import Answer, SystemTables
from zdm.core.topology import ClusterView, Endpoint, ProxyTopology, Table, discover, in_datacenter, read_table
from zdm.protocol import opcodes
from zdm.protocol.errors import decode_error
from zdm.protocol.responses import Rows, decode_response
from zdm.protocol.types import (
    CqlType,
    decode_cql,
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
