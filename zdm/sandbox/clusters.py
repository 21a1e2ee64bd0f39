"""A cluster: nodes that share one schema, one store of rows, and one set of prepared statements.

In process:

    cluster = SandboxCluster("origin", [("127.0.0.1", 9042)], reactor)
    await cluster.start()                                    # or yield, it is a Deferred
    cluster.faults.add(Fault("error", text="INSERT INTO ks.t", count=1, error=make_error(0x1100, "late", {})))
    cluster.faults.counts["EXECUTE"]; cluster.faults.log      # what the nodes saw
    cluster.forget_prepared(); cluster.prepared_salt = b"x"
    cluster.nodes[0].stop(); cluster.nodes[0].start(); .cut(); .stall(); .resume(); .refuse()
    await cluster.stop()

`clock` gives seconds since the epoch and may be a test's own: expiry and default timestamps come from it.
`protocol_versions` (of 3, 4 and 5) and `compression` (of lz4 and snappy) are what the nodes offer and take. With `tls`
they speak nothing else, and need the reactor of `zdm.net.endpoints`.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from twisted.internet.defer import Deferred, DeferredList, gatherResults

from zdm.protocol.responses import Event, SchemaChange, SchemaChangeEvent, StatusChangeEvent, Void
from zdm.protocol.versions import V3, V4
from zdm.sandbox import schema_change, system_definitions
from zdm.sandbox.coordinator import PreparedStatement
from zdm.sandbox.faults import Faults
from zdm.sandbox.node import Node
from zdm.sandbox.schema import Schema
from zdm.sandbox.statements import SchemaStatement
from zdm.sandbox.storage import Store


@dataclass(frozen=True, slots=True)
class Credentials:
    user: str
    password: str


class SandboxCluster:
    """Created by whoever wants it; lives until `stop`. Its rows survive `stop` and are gone with the object."""

    def __init__(
        self,
        name: str,
        addresses: Sequence[tuple[str, int]],
        reactor: Any,
        *,
        clock: Callable[[], float] = time.time,
        release_version: str = "4.1.10",
        cql_version: str = "3.4.6",
        protocol_versions: Sequence[int] = (V3, V4),
        compression: Sequence[str] = (),
        credentials: Credentials | None = None,
        datacenter: str = "datacenter1",
        rack: str = "rack1",
        prepared_salt: bytes = b"",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.reactor = reactor
        self.clock = clock
        self.release_version = release_version
        self.cql_version = cql_version
        self.protocol_versions = tuple(sorted(protocol_versions))
        self.compression = tuple(compression)
        self.credentials = credentials
        self.datacenter = datacenter
        self.rack = rack
        self.prepared_salt = prepared_salt
        self.tls = tls
        self.prepared: dict[bytes, PreparedStatement] = {}
        self.faults = Faults()
        self.schema = Schema(name)
        self.system_rows: dict[tuple[str, str], tuple[int, Store]] = {}
        self.started_at = int(clock())
        self._last_timestamp = 0
        system_definitions.define(self.schema)
        self.nodes = [
            Node(self, index, host, port, uuid5(NAMESPACE_DNS, f"{name} {host} {port}"))
            for index, (host, port) in enumerate(addresses)
        ]

    def start(self) -> Deferred[Any]:
        """Fires when all nodes listen; fails if one can't."""
        return gatherResults([node.start() for node in self.nodes], consumeErrors=True)

    def stop(self) -> Deferred[Any]:
        """Fires when no node listens any more and connections are being closed."""
        return DeferredList([node.stop() for node in self.nodes])

    def timestamp(self) -> int:
        """The time in microseconds for a write without one; greater with each call."""
        self._last_timestamp = max(self._last_timestamp + 1, int(self.clock() * 1_000_000))
        return self._last_timestamp

    def forget_prepared(self) -> None:
        """Makes every prepared id unknown, as restarted nodes do."""
        self.prepared.clear()

    def change_schema(self, statement: SchemaStatement, keyspace: str | None) -> SchemaChange | Void:
        """Carries out a schema statement and tells the connections that registered for it."""
        change = schema_change.change(self.schema, statement, keyspace, self.datacenter)
        if change is None:
            return Void()
        self.schema.bump()
        if change.change == "DROPPED":
            self._forget_statements(change)
        self.broadcast("SCHEMA_CHANGE", SchemaChangeEvent(change.change, change.target, change.keyspace, change.name))
        return change

    def _forget_statements(self, change: SchemaChange) -> None:
        """Drops what was prepared on a dropped table or keyspace."""
        for prepared in list(self.prepared.values()):
            for keyspace, table in prepared.tables:
                if keyspace == change.keyspace and (change.name is None or table == change.name):
                    self.prepared.pop(prepared.id, None)

    def node_changed(self, node: Node) -> None:
        """Tells registered connections that a node went up or down."""
        change = "UP" if node.is_up else "DOWN"
        self.broadcast("STATUS_CHANGE", StatusChangeEvent(change, node.host, node.port))

    def broadcast(self, event_type: str, event: Event) -> None:
        """Sends an event to every connection that registered for its type."""
        for node in self.nodes:
            node.send_event(event_type, event)
