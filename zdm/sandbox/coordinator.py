"""What a node does with a request of a connection that is ready: QUERY, PREPARE, EXECUTE and BATCH into an answer.

One `Coordinator` belongs to one connection, because USE and the tracing flag do; everything else it knows is the
cluster's. Failures leave as exceptions, for the connection to answer them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from zdm.protocol.consistency import Consistency
from zdm.protocol.errors import Unprepared
from zdm.protocol.metadata import NO_RESULT, ColumnSpec
from zdm.protocol.primitives import Value
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import Batch, BatchChild, Execute, Prepare, Query
from zdm.protocol.responses import Prepared, Rows, SchemaChange, SetKeyspace, Void
from zdm.protocol.versions import V4, V5
from zdm.sandbox import replicas, schema_change, system_tables
from zdm.sandbox.binding import Resolve, arrange, bind_metadata, marker_columns
from zdm.sandbox.describe import describe_schema
from zdm.sandbox.execute_read import metadata, select_rows
from zdm.sandbox.execute_write import Write, apply_writes, make_write
from zdm.sandbox.failures import Failure, invalid, unauthorized
from zdm.sandbox.functions import call_in_value
from zdm.sandbox.grammar import parse
from zdm.sandbox.result_metadata import as_asked, metadata_id
from zdm.sandbox.schema import Table
from zdm.sandbox.selection import outputs
from zdm.sandbox.statements import (
    BatchText,
    Delete,
    Describe,
    Insert,
    Modification,
    Select,
    Statement,
    Truncate,
    Unsupported,
    Update,
    Use,
)
from zdm.sandbox.storage import Key
from zdm.sandbox.terms import Bindings
from zdm.sandbox.type_names import resolve

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster
    from zdm.sandbox.node import Node

Answer = Void | Rows | SetKeyspace | SchemaChange | Prepared
_LOGGED: Final = 0
_COUNTER: Final = 2


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """What a cluster keeps of a PREPARE. `keyspace` is the connection's at that time, and holds at each execution."""

    id: bytes
    text: str
    keyspace: str | None
    statement: Statement
    columns: list[ColumnSpec]
    tables: frozenset[tuple[str, str]]


class Coordinator:
    """Executes one connection's requests; `keyspace` is what USE has set. A v5 request may name another, and a time."""

    def __init__(self, cluster: SandboxCluster, node: Node) -> None:
        self.cluster = cluster
        self.node = node
        self.keyspace: str | None = None
        self.version = V4
        """The protocol version that the connection speaks."""
        self._now: float | None = None

    def query(self, request: Query) -> Answer:
        statement, markers = parse(request.text)
        parameters = request.parameters
        keyspace = parameters.keyspace or self.keyspace
        values = list(parameters.values or ())
        if parameters.names is not None or len(values) != markers:
            found = marker_columns(statement, self.cluster.schema, keyspace, self._resolver(keyspace))
            columns = [found[index] for index in sorted(found)]
            if len(columns) != len(values):
                raise invalid("Invalid amount of bind variables")
            values = arrange(values, parameters.names, columns)
        self._now = parameters.now_in_seconds
        return self._execute(statement, values, parameters, keyspace)

    def prepare(self, request: Prepare) -> Prepared:
        """Keeps the statement under the MD5 of keyspace and text, as Cassandra does; a salt makes another id of it."""
        schema = self.cluster.schema
        statement, markers = parse(request.text)
        keyspace = request.keyspace or self.keyspace
        resolve = self._resolver(keyspace)
        bind = bind_metadata(statement, markers, schema, keyspace, resolve)
        result = NO_RESULT
        if isinstance(statement, Select):
            result = metadata(outputs(schema.table(statement.table, keyspace), statement, resolve))
        elif isinstance(statement, Insert | Update | Delete):
            self._check_writable(schema.table(statement.table, keyspace))
        own = None if _is_qualified(statement) else keyspace
        digest = hashlib.md5(self.cluster.prepared_salt + (own or "").encode() + request.text.encode()).digest()
        self.cluster.prepared[digest] = PreparedStatement(
            digest, request.text, keyspace, statement, bind.columns, _tables(statement, keyspace)
        )
        return Prepared(digest, bind, result, metadata_id(result) if self.version >= V5 else None)

    def execute(self, request: Execute) -> Answer:
        prepared = self._prepared(request.prepared_id)
        values = arrange(request.parameters.values or (), request.parameters.names, prepared.columns)
        self._now = request.parameters.now_in_seconds
        answer = self._execute(prepared.statement, values, request.parameters, prepared.keyspace)
        if isinstance(answer, Rows) and isinstance(prepared.statement, Select):
            return as_asked(answer, request)
        return answer

    def _prepared(self, prepared_id: bytes) -> PreparedStatement:
        found = self.cluster.prepared.get(prepared_id)
        if found is None:
            message = (
                f"Prepared query with ID {prepared_id.hex()} not found (either the query was not prepared on this host "
                "(maybe the host has been restarted?) or you have prepared too many queries and it has been evicted "
                "from the internal cache)"
            )
            raise Failure(Unprepared(message, prepared_id))
        return found

    def batch(self, request: Batch) -> Answer:
        """All children are checked before the first is applied."""
        self._now = request.now_in_seconds
        children = [self._child(child, request.keyspace or self.keyspace) for child in request.children]
        timestamp = self.cluster.timestamp() if request.timestamp is None else request.timestamp
        return self._batch(request.kind, children, timestamp, request.consistency, request.serial_consistency)

    def _child(self, child: BatchChild, keyspace: str | None) -> tuple[Modification, Sequence[Value], str | None]:
        if isinstance(child.statement, bytes):
            prepared = self._prepared(child.statement)
            statement, columns, keyspace = prepared.statement, prepared.columns, prepared.keyspace
        else:
            statement, markers = parse(child.statement)
            found = (
                marker_columns(statement, self.cluster.schema, keyspace, self._resolver(keyspace)) if markers else {}
            )
            columns = [found[index] for index in sorted(found)]
        if not isinstance(statement, Insert | Update | Delete):
            raise invalid("Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed.")
        return statement, arrange(child.values, child.names, columns), keyspace

    def _batch(
        self,
        kind: int,
        children: Sequence[tuple[Modification, Sequence[Value], str | None]],
        timestamp: int,
        consistency: int,
        serial: int | None,
    ) -> Answer:
        writes = []
        for statement, values, keyspace in children:
            table = self.cluster.schema.table(statement.table, keyspace)
            _check_batch_kind(kind, table)
            self._check_writable(table)
            writes.append(make_write(table, statement, self._bindings(values), timestamp, is_batch=True))
        if kind == _COUNTER and any(write.is_conditional for write in writes):
            raise invalid("Cannot include conditional statements in a counter batch")
        self._check_replicas(writes, consistency, serial)
        return apply_writes(writes, self._clock(), is_batch=True) or Void()

    def _execute(
        self, statement: Statement, values: Sequence[Value], parameters: QueryParameters, keyspace: str | None
    ) -> Answer:
        cluster = self.cluster
        if isinstance(statement, Select):
            return self._select(statement, values, parameters, keyspace)
        if isinstance(statement, Insert | Update | Delete):
            table = cluster.schema.table(statement.table, keyspace)
            self._check_writable(table)
            timestamp = cluster.timestamp() if parameters.timestamp is None else parameters.timestamp
            write = make_write(table, statement, self._bindings(values), timestamp)
            self._check_replicas([write], parameters.consistency, parameters.serial_consistency)
            return apply_writes([write], self._clock()) or Void()
        if isinstance(statement, BatchText):
            return self._batch_text(statement, values, parameters, keyspace)
        if isinstance(statement, Use):
            if statement.keyspace not in cluster.schema.keyspaces:
                raise invalid(f"Keyspace '{statement.keyspace}' does not exist")
            self.keyspace = statement.keyspace
            return SetKeyspace(statement.keyspace)
        if isinstance(statement, Truncate):
            table = cluster.schema.table(statement.table, keyspace)
            self._check_writable(table)
            table.store.clear()
            return Void()
        if isinstance(statement, Describe):
            return describe_schema(cluster.schema, statement, keyspace, cluster.name)
        if isinstance(statement, Unsupported):
            raise schema_change.refusal(statement, cluster.credentials is not None)
        return cluster.change_schema(statement, keyspace)

    def _batch_text(
        self, statement: BatchText, values: Sequence[Value], parameters: QueryParameters, keyspace: str | None
    ) -> Answer:
        if statement.timestamp is not None and any(child.timestamp is not None for child in statement.children):
            raise invalid("Timestamp must be set either on BATCH or individual statements")
        children: list[tuple[Modification, Sequence[Value], str | None]] = []
        for child in statement.children:
            stamped = child if child.timestamp is not None else replace(child, timestamp=statement.timestamp)
            children.append((stamped, values, keyspace))
        timestamp = self.cluster.timestamp() if parameters.timestamp is None else parameters.timestamp
        return self._batch(statement.kind, children, timestamp, parameters.consistency, parameters.serial_consistency)

    def _select(
        self, statement: Select, values: Sequence[Value], parameters: QueryParameters, keyspace: str | None
    ) -> Rows:
        table = self.cluster.schema.table(statement.table, keyspace)
        owner = self.cluster.schema.keyspaces[table.keyspace]
        if owner.is_local:
            table = system_tables.filled(table, self.cluster, self.node)

        def check(keys: list[Key] | None) -> None:
            if not owner.is_local:
                replicas.check_read(self.cluster, owner, parameters.consistency, keys)

        state, resolve = parameters.paging_state, self._resolver(table.keyspace)
        bindings = self._bindings(values)
        return select_rows(table, statement, bindings, parameters.page_size, state, resolve, check)

    def _bindings(self, values: Sequence[Value]) -> Bindings:
        return Bindings(values, self._clock(), call_in_value)

    def _clock(self) -> float:
        """The time in seconds that counts for what expires: v5's now_in_seconds, or the cluster's."""
        return self.cluster.clock() if self._now is None else self._now

    def _resolver(self, keyspace: str | None) -> Resolve:
        owner = self.cluster.schema.keyspaces.get(keyspace or "")
        return lambda name: resolve(name, owner)

    def _check_writable(self, table: Table) -> None:
        if self.cluster.schema.keyspaces[table.keyspace].is_local:
            raise unauthorized(f"{table.keyspace} keyspace is not user-modifiable.")

    def _check_replicas(self, writes: Sequence[Write], consistency: int, serial: int | None) -> None:
        for write in writes:
            owner = self.cluster.schema.keyspaces[write.table.keyspace]
            if write.table.is_counter and consistency == Consistency.ANY:
                raise invalid(f"Consistency level ANY is not yet supported for counter table {write.table.name}")
            replicas.check_write(self.cluster, owner, consistency, write, serial)


def _is_qualified(statement: Statement) -> bool:
    """Whether all its tables are written with their keyspace, so that the connection's one does not matter."""
    if isinstance(statement, BatchText):
        return all(_is_qualified(child) for child in statement.children)
    if isinstance(statement, Select | Insert | Update | Delete | Truncate):
        return statement.table.keyspace is not None
    return True


def _tables(statement: Statement, keyspace: str | None) -> frozenset[tuple[str, str]]:
    """The tables a statement is about."""
    if isinstance(statement, BatchText):
        return frozenset().union(*(_tables(child, keyspace) for child in statement.children))
    if isinstance(statement, Select | Insert | Update | Delete | Truncate):
        return frozenset({(statement.table.keyspace or keyspace or "", statement.table.name)})
    return frozenset()


def _check_batch_kind(kind: int, table: Table) -> None:
    if table.is_counter and kind == _LOGGED:
        raise invalid("Cannot include a counter statement in a logged batch")
    if table.is_counter and kind != _COUNTER:
        raise invalid("Counter and non-counter mutations cannot exist in the same batch")
    if not table.is_counter and kind == _COUNTER:
        raise invalid("Cannot include non-counter statement in a counter batch")
