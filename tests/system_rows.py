"""Rows of system.local and system.peers as Cassandra 4.1 sends them, for tests of what is made of them."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Mapping, Sequence

from zdm.protocol.metadata import ColumnSpec, RowsMetadata
from zdm.protocol.responses import Rows
from zdm.protocol.types import BLOB, INET, INT, UUID, VARCHAR, CqlType, map_of, set_of

LOCAL_TYPES: dict[str, CqlType] = {
    "key": VARCHAR,
    "bootstrapped": VARCHAR,
    "broadcast_address": INET,
    "broadcast_port": INT,
    "cluster_name": VARCHAR,
    "cql_version": VARCHAR,
    "data_center": VARCHAR,
    "gossip_generation": INT,
    "host_id": UUID,
    "listen_address": INET,
    "listen_port": INT,
    "native_protocol_version": VARCHAR,
    "partitioner": VARCHAR,
    "rack": VARCHAR,
    "release_version": VARCHAR,
    "rpc_address": INET,
    "rpc_port": INT,
    "schema_version": UUID,
    "tokens": set_of(VARCHAR),
    "truncated_at": map_of(UUID, BLOB),
}
PEERS_TYPES: dict[str, CqlType] = {
    "peer": INET,
    "data_center": VARCHAR,
    "host_id": UUID,
    "preferred_ip": INET,
    "rack": VARCHAR,
    "release_version": VARCHAR,
    "rpc_address": INET,
    "schema_version": UUID,
    "tokens": set_of(VARCHAR),
}
SCHEMA = uuid.UUID("5c0e8f0a-0000-4000-8000-00000000abcd")

Values = dict[str, bytes | None]


def inet(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def host_id(number: int) -> uuid.UUID:
    return uuid.UUID(int=0xA000 + number)


def local_row(number: int = 1, datacenter: str = "dc1", **changes: bytes | None) -> Values:
    """The row of node 127.0.40.<number>; `changes` are raw values."""
    address = inet(f"127.0.40.{number}")
    row: Values = {
        "key": b"local",
        "bootstrapped": b"COMPLETED",
        "broadcast_address": address,
        "broadcast_port": (7000).to_bytes(4, "big"),
        "cluster_name": b"origin cluster",
        "cql_version": b"3.4.6",
        "data_center": datacenter.encode(),
        "gossip_generation": (1700000000).to_bytes(4, "big"),
        "host_id": host_id(number).bytes,
        "listen_address": address,
        "native_protocol_version": b"5",
        "partitioner": b"org.apache.cassandra.dht.Murmur3Partitioner",
        "rack": b"r1",
        "release_version": b"4.1.10",
        "rpc_address": address,
        "schema_version": SCHEMA.bytes,
    }
    return row | changes


def peer_row(number: int, datacenter: str = "dc1", **changes: bytes | None) -> Values:
    """The row that other nodes have of node 127.0.40.<number>; `changes` are raw values."""
    address = inet(f"127.0.40.{number}")
    row: Values = {
        "peer": address,
        "data_center": datacenter.encode(),
        "host_id": host_id(number).bytes,
        "rack": b"r1",
        "release_version": b"4.1.9",
        "rpc_address": address,
        "schema_version": uuid.UUID(int=number).bytes,
    }
    return row | changes


def rows(table: str, types: Mapping[str, CqlType], values: Sequence[Values]) -> Rows:
    """A RESULT of the table with these columns; a value that a row does not name is null."""
    specs = [ColumnSpec("system", table, name, column_type) for name, column_type in types.items()]
    return Rows(RowsMetadata(specs, len(specs)), [[row.get(name) for name in types] for row in values])


def local_rows(row: Values | None = None, types: Mapping[str, CqlType] = LOCAL_TYPES) -> Rows:
    return rows("local", types, [local_row() if row is None else row])


def peers_rows(*values: Values, types: Mapping[str, CqlType] = PEERS_TYPES) -> Rows:
    return rows("peers", types, values)


def without(types: Mapping[str, CqlType], *names: str) -> dict[str, CqlType]:
    """The columns of a server that lacks some."""
    return {name: column_type for name, column_type in types.items() if name not in names}
