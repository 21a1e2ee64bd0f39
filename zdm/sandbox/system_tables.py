"""The rows of system.local, system.peers and system_schema: what drivers learn of a cluster.

They are made when they are read, from the cluster and its schema; those of system_schema are kept until the schema
changes. Only system_traces and the applications' keyspaces have rows that were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from zdm.protocol.types import encode_cql
from zdm.sandbox.replicas import node_token
from zdm.sandbox.rows import row_order
from zdm.sandbox.schema import CLUSTERING, Column, Table
from zdm.sandbox.statements import Option
from zdm.sandbox.storage import Cell, Store

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster
    from zdm.sandbox.node import Node

Values = dict[str, object]
PARTITIONER: Final = "org.apache.cassandra.dht.Murmur3Partitioner"
_STORAGE_PORT: Final = 7000
_COMPACTION: Final = {
    "class": "org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy",
    "max_threshold": "32",
    "min_threshold": "4",
}
DEFAULTS: Final[dict[str, object]] = {
    "additional_write_policy": "99p",
    "bloom_filter_fp_chance": 0.01,
    "caching": {"keys": "ALL", "rows_per_partition": "NONE"},
    "comment": "",
    "compaction": _COMPACTION,
    "compression": {"chunk_length_in_kb": "16", "class": "org.apache.cassandra.io.compress.LZ4Compressor"},
    "crc_check_chance": 1.0,
    "dclocal_read_repair_chance": 0.0,
    "default_time_to_live": 0,
    "extensions": {},
    "gc_grace_seconds": 864000,
    "max_index_interval": 2048,
    "memtable_flush_period_in_ms": 0,
    "min_index_interval": 128,
    "read_repair": "BLOCKING",
    "read_repair_chance": 0.0,
    "speculative_retry": "99p",
}


def filled(table: Table, cluster: SandboxCluster, node: Node) -> Table:
    """The system table with the rows that this node shows."""
    if table.keyspace == "system":
        return replace(table, store=_store(table, _node_rows(table.name, cluster, node)))
    kept = cluster.system_rows.get((table.keyspace, table.name))
    if kept is None or kept[0] != cluster.schema.generation:
        kept = cluster.schema.generation, _store(table, _schema_rows(table, cluster))
        cluster.system_rows[table.keyspace, table.name] = kept
    return replace(table, store=kept[1])


def _store(table: Table, rows: Iterable[Values]) -> Store:
    store = Store()
    for values in rows:
        encoded = {name: encode_cql(table.columns[name].type, value) for name, value in values.items()}
        key = tuple(encoded[column.name] or b"" for column in table.partition_key)
        clustering = tuple(encoded[column.name] or b"" for column in table.clustering)
        row = store.partition(key).row(clustering, row_order(table, clustering))
        row.mark(Cell(b"", 0))
        for name, value in encoded.items():
            if value is not None and not table.columns[name].is_key:
                row.put(name, Cell(value, 0))
    return store


def _node_rows(name: str, cluster: SandboxCluster, node: Node) -> list[Values]:
    if name == "local":
        return [_local(cluster, node)]
    others = [other for other in cluster.nodes if other is not node]
    return [_peer(cluster, other, name == "peers_v2") for other in others]


def _common(cluster: SandboxCluster, node: Node) -> Values:
    return {
        "data_center": cluster.datacenter,
        "rack": cluster.rack,
        "host_id": node.host_id,
        "release_version": cluster.release_version,
        "schema_version": cluster.schema.version,
        "tokens": [str(node_token(node.index, len(cluster.nodes)))],
    }


def _local(cluster: SandboxCluster, node: Node) -> Values:
    return _common(cluster, node) | {
        "key": "local",
        "bootstrapped": "COMPLETED",
        "broadcast_address": node.host,
        "broadcast_port": _STORAGE_PORT,
        "cluster_name": cluster.name,
        "cql_version": cluster.cql_version,
        "gossip_generation": cluster.started_at,
        "listen_address": node.host,
        "listen_port": _STORAGE_PORT,
        "native_protocol_version": str(cluster.protocol_versions[-1]),
        "partitioner": PARTITIONER,
        "rpc_address": node.host,
        "rpc_port": node.port,
    }


def _peer(cluster: SandboxCluster, node: Node, is_v2: bool) -> Values:
    values = _common(cluster, node) | {"peer": node.host}
    if is_v2:
        return values | {"peer_port": _STORAGE_PORT, "native_address": node.host, "native_port": node.port}
    return values | {"rpc_address": node.host}


def _schema_rows(table: Table, cluster: SandboxCluster) -> Iterable[Values]:
    is_virtual = table.keyspace == "system_virtual_schema"
    make = (_VIRTUAL if is_virtual else _MAKERS).get(table.name)
    return [] if make is None else make(cluster, is_virtual)


def _shown(cluster: SandboxCluster, is_virtual: bool) -> list[Table]:
    return [table for table in cluster.schema.tables() if (table.keyspace == "system_virtual_schema") is is_virtual]


def _keyspaces(cluster: SandboxCluster, is_virtual: bool) -> Iterable[Values]:
    for keyspace in cluster.schema.keyspaces.values():
        if (keyspace.name == "system_virtual_schema") is not is_virtual:
            continue
        if is_virtual:
            yield {"keyspace_name": keyspace.name}
        else:
            yield {
                "keyspace_name": keyspace.name,
                "durable_writes": keyspace.durable_writes,
                "replication": keyspace.replication,
            }


def _tables(cluster: SandboxCluster, is_virtual: bool) -> Iterable[Values]:
    for table in _shown(cluster, is_virtual):
        if is_virtual:
            yield {"keyspace_name": table.keyspace, "table_name": table.name, "comment": ""}
            continue
        values: Values = {"keyspace_name": table.keyspace, "table_name": table.name, "id": table.id} | DEFAULTS
        values["flags"] = ["compound", "counter"] if table.is_counter else ["compound"]
        values.update({name: option_value(name, value) for name, value in table.options.items()})
        yield values


def option_value(name: str, value: Option) -> object:
    """A table option from its text in the statement to the value that system_schema.tables has."""
    if name == "extensions":
        return {}
    if isinstance(value, dict):
        return _full_class(name, value)
    default = DEFAULTS.get(name)
    if isinstance(default, float):
        return float(value)
    if isinstance(default, int):
        return int(value)
    return value.lower() == "true" if name in ("cdc", "incremental_backups", "allow_auto_snapshot") else value


_PACKAGES: Final = {
    "compaction": "org.apache.cassandra.db.compaction.",
    "compression": "org.apache.cassandra.io.compress.",
}


def _full_class(name: str, value: dict[str, str]) -> dict[str, str]:
    short = value.get("class")
    if short is None or "." in short or name not in _PACKAGES:
        return value
    return value | {"class": _PACKAGES[name] + short}


def _columns(cluster: SandboxCluster, is_virtual: bool) -> Iterable[Values]:
    for table in _shown(cluster, is_virtual):
        for column in table.columns.values():
            yield {
                "keyspace_name": table.keyspace,
                "table_name": table.name,
                "column_name": column.name,
                "clustering_order": clustering_order(column),
                "column_name_bytes": column.name.encode(),
                "kind": column.kind,
                "position": column.position,
                "type": column.type_text,
            }


def clustering_order(column: Column) -> str:
    if column.kind != CLUSTERING:
        return "none"
    return "desc" if column.descends else "asc"


def _indexes(cluster: SandboxCluster, is_virtual: bool) -> Iterable[Values]:
    for table in cluster.schema.tables():
        for index in table.indexes.values():
            yield {
                "keyspace_name": table.keyspace,
                "table_name": table.name,
                "index_name": index.name,
                "kind": index.kind,
                "options": index.options,
            }


def _types(cluster: SandboxCluster, is_virtual: bool) -> Iterable[Values]:
    for keyspace in cluster.schema.keyspaces.values():
        for kind in keyspace.types.values():
            yield {
                "keyspace_name": keyspace.name,
                "type_name": kind.name,
                "field_names": list(kind.fields),
                "field_types": [text for _, text in kind.fields.values()],
            }


_Maker = Callable[["SandboxCluster", bool], Iterable[Values]]
_MAKERS: Final[dict[str, _Maker]] = {
    "keyspaces": _keyspaces,
    "tables": _tables,
    "columns": _columns,
    "indexes": _indexes,
    "types": _types,
}
_VIRTUAL: Final[dict[str, _Maker]] = {"keyspaces": _keyspaces, "tables": _tables, "columns": _columns}
