"""Requests with the tracing flag: a session in system_traces for each, so that a driver finds what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from zdm.protocol.types import encode_cql
from zdm.sandbox.functions import time_uuid
from zdm.sandbox.rows import row_order
from zdm.sandbox.storage import Cell

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster
    from zdm.sandbox.node import Node

_DURATION_US = 500


def record(cluster: SandboxCluster, node: Node, client: str, text: str) -> UUID:
    """Writes a session with two events for a request with this text, and returns its id."""
    now = cluster.clock()
    session = time_uuid(now)
    values: dict[str, object] = {
        "session_id": session,
        "client": client,
        "command": "QUERY",
        "coordinator": node.host,
        "coordinator_port": 7000,
        "duration": _DURATION_US,
        "parameters": {"query": text},
        "request": "Execute CQL3 query",
        "started_at": int(now * 1000),
    }
    _put(cluster, "sessions", values)
    for elapsed, activity in ((10, f"Parsing {text}"), (_DURATION_US - 10, "Request complete")):
        event = {
            "session_id": session,
            "event_id": time_uuid(now),
            "activity": activity,
            "source": node.host,
            "source_elapsed": elapsed,
            "source_port": 7000,
            "thread": "Native-Transport-Requests-1",
        }
        _put(cluster, "events", event)
    return session


def _put(cluster: SandboxCluster, name: str, values: dict[str, object]) -> None:
    table = cluster.schema.keyspaces["system_traces"].tables[name]
    encoded = {column: encode_cql(table.columns[column].type, value) for column, value in values.items()}
    key = tuple(encoded[column.name] or b"" for column in table.partition_key)
    clustering = tuple(encoded[column.name] or b"" for column in table.clustering)
    row = table.store.partition(key).row(clustering, row_order(table, clustering))
    row.mark(Cell(b"", cluster.timestamp()))
    for column, value in encoded.items():
        if not table.columns[column].is_key:
            row.put(column, Cell(value, cluster.timestamp()))
