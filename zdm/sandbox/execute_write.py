"""INSERT, UPDATE, DELETE, alone and in batches, with their conditions.

Each statement becomes a `Write`: everything that can be refused has been checked when it exists. A batch is all its
writes, made before the first is applied, with one timestamp; its conditions are looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from zdm.protocol.metadata import ColumnSpec, RowsMetadata
from zdm.protocol.primitives import Unset
from zdm.protocol.responses import Rows
from zdm.protocol.types import BIGINT, BOOLEAN, INT, decode_cql
from zdm.sandbox.assignments import Change, assign, remove
from zdm.sandbox.failures import invalid
from zdm.sandbox.restrictions import Restrictions, column_test, restrict
from zdm.sandbox.rows import LiveRow, live_row, row_order
from zdm.sandbox.schema import STATIC, Column, Table
from zdm.sandbox.statements import Assignment, Delete, Insert, Modification, Relation, Term, Update
from zdm.sandbox.storage import Cell, Key, Partition, RangeDeletion, Row
from zdm.sandbox.terms import Bindings, evaluate, known

_TRUE: Final = b"\x01"
_FALSE: Final = b"\x00"


@dataclass(slots=True)
class Write:
    """One checked statement. `rows` are the clustering keys it changes; None: a range of them, or static cells."""

    table: Table
    keys: list[Key]
    rows: list[Key] | None
    apply: Callable[[], None]
    is_conditional: bool = False
    if_not_exists: bool = False
    if_exists: bool = False
    conditions: list[tuple[Column, Callable[[LiveRow], bool]]] = field(default_factory=list)
    touches_static_only: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a write happens: microseconds, and for its cells the TTL in seconds."""

    timestamp: int
    now: float
    ttl: int | None = None

    def cell(self, value: bytes | None) -> Cell:
        if value is None or not self.ttl:
            return Cell(value, self.timestamp)
        return Cell(value, self.timestamp, self.ttl, self.now + self.ttl)


def make_write(
    table: Table, statement: Modification, bindings: Bindings, timestamp: int, is_batch: bool = False
) -> Write:
    """The checked form of a statement; `timestamp` counts where the statement has none. Raises INVALID."""
    own = _timestamp(statement.timestamp, bindings)
    if own is not None and table.is_counter:
        raise invalid("Cannot provide custom timestamp for counter updates")
    ttl = None if isinstance(statement, Delete) else _ttl(table, statement.ttl, bindings)
    stamp = Stamp(timestamp if own is None else own, bindings.now, ttl)
    if isinstance(statement, Insert):
        write = _insert(table, statement, bindings, stamp)
    elif isinstance(statement, Update):
        write = _update(table, statement, bindings, stamp)
    else:
        write = _delete(table, statement, bindings, stamp)
    if write.is_conditional and own is not None:
        raise invalid("Cannot provide custom timestamp for conditional updates")
    if write.is_conditional and table.is_counter:
        raise invalid("Conditional updates are not supported on counter tables")
    return write


def _timestamp(term: Term | None, bindings: Bindings) -> int | None:
    if term is None:
        return None
    value = evaluate(term, BIGINT, "[timestamp]", bindings)
    if isinstance(value, Unset):
        return None
    number = decode_cql(BIGINT, value)
    if not isinstance(number, int):
        raise invalid("Invalid null value of timestamp")
    return number


_MAXIMUM_TTL: Final = 20 * 365 * 24 * 60 * 60


def _ttl(table: Table, term: Term | None, bindings: Bindings) -> int | None:
    value = None if term is None else evaluate(term, INT, "[ttl]", bindings)
    if term is None or isinstance(value, Unset):
        return table.default_ttl or None
    number = decode_cql(INT, value)
    if number is None:
        return None
    if not isinstance(number, int) or number < 0:
        raise invalid(f"A TTL must be greater or equal to 0, but was {number}")
    if number > _MAXIMUM_TTL:
        raise invalid(f"ttl is too large. requested ({number}) maximum ({_MAXIMUM_TTL})")
    if table.is_counter:
        raise invalid("Cannot provide custom TTL for counter updates")
    return number or None


def _insert(table: Table, statement: Insert, bindings: Bindings, stamp: Stamp) -> Write:
    if table.is_counter:
        raise invalid("INSERT statements are not allowed on counter tables, use UPDATE instead")
    if len(statement.columns) != len(statement.values):
        raise invalid("Unmatched column names/values")
    given: dict[str, Term] = {}
    for name, term in zip(statement.columns, statement.values, strict=True):
        table.column(name)
        if name in given:
            raise invalid(f"The column names contains duplicates: {name}")
        given[name] = term
    missing = [column.name for column in table.partition_key if column.name not in given]
    if missing:
        raise invalid(f"Some partition key parts are missing: {', '.join(missing)}")
    key = tuple(known(given[column.name], column.type, column.name, bindings) for column in table.partition_key)
    _check_key(key)
    absent = [column.name for column in table.clustering if column.name not in given]
    others = [column for name in given if not (column := table.column(name)).is_key]
    static_only = bool(absent) and bool(others) and all(column.kind == STATIC for column in others)
    static_only = static_only and len(absent) == len(table.clustering)
    if absent and not static_only:
        raise invalid(f"Some clustering keys are missing: {', '.join(absent)}")
    rows: list[Key] = []
    if not static_only:
        rows.append(tuple(known(given[column.name], column.type, column.name, bindings) for column in table.clustering))
    changes = _changes(table, [Assignment(column.name, "=", given[column.name]) for column in others], bindings, stamp)
    apply = _applying(table, [key], rows, changes, stamp.cell(b"") if not static_only else None)
    return Write(
        table,
        [key],
        rows or None,
        apply,
        statement.if_not_exists,
        statement.if_not_exists,
        touches_static_only=static_only,
    )


def _check_key(key: Key) -> None:
    if len(key) == 1 and not key[0]:
        raise invalid("Key may not be empty")
    if sum(map(len, key)) > 0xFFFF:
        raise invalid(f"Key length of {sum(map(len, key))} is longer than maximum of 65535")


def _changes(table: Table, assignments: Sequence[Assignment], bindings: Bindings, stamp: Stamp) -> list[Change]:
    changes = []
    for assignment in assignments:
        column = table.column(assignment.column)
        if column.is_key:
            raise invalid(f"PRIMARY KEY part {column.name} found in SET part")
        change = assign(table, column, assignment, bindings, stamp.cell)
        if change is not None:
            changes.append(change)
    return changes


def _applying(
    table: Table, keys: list[Key], rows: list[Key], changes: list[Change], mark: Cell | None
) -> Callable[[], None]:
    """What puts the changes into each row of each partition, static columns into the partition's static row."""

    def apply() -> None:
        for key in keys:
            partition = table.store.partition(key)
            for change in changes:
                if change.column.kind == STATIC:
                    change.apply(partition.static, partition.deleted)
            for clustering in rows:
                row = partition.row(clustering, row_order(table, clustering))
                if mark is not None:
                    row.mark(mark)
                for change in changes:
                    if change.column.kind != STATIC:
                        change.apply(row, partition.deletion(row))

    return apply


def _target(table: Table, where: Sequence[Relation], bindings: Bindings) -> Restrictions:
    """The rows that UPDATE and DELETE mean: whole partition keys, and no filtering."""
    for relation in where:
        for name in relation.columns:
            if not table.column(name).is_key:
                raise invalid(f"Non PRIMARY KEY columns found in where clause: {name}")
        if relation.is_token:
            raise invalid("The token function cannot be used in WHERE clauses for UPDATE and DELETE statements")
    found = restrict(table, where, bindings)
    if found.keys is None:
        named = {name for relation in where for name in relation.columns if relation.operator in ("=", "IN")}
        missing = [column.name for column in table.partition_key if column.name not in named]
        raise invalid(f"Some partition key parts are missing: {', '.join(missing)}")
    if found.refusal:
        raise invalid(found.refusal)
    for key in found.keys:
        _check_key(key)
    return found


def _conditioned(table: Table, write: Write, statement: Update | Delete, bindings: Bindings) -> Write:
    write.if_exists = statement.if_exists
    for relation in statement.conditions:
        column = table.column(relation.columns[0])
        if column.is_key:
            raise invalid(f"PRIMARY KEY column '{column.name}' cannot have IF conditions")
        write.conditions.append((column, _condition(column, relation, bindings)))
    write.is_conditional = statement.if_exists or bool(write.conditions)
    if write.is_conditional and (len(write.keys) > 1 or (write.rows is not None and len(write.rows) > 1)):
        raise invalid("IN on the partition key is not supported with conditional updates")
    return write


def _condition(column: Column, relation: Relation, bindings: Bindings) -> Callable[[LiveRow], bool]:
    """A test of IF, where unlike in WHERE null can be asked for."""
    if relation.key is None and relation.operator in ("=", "!="):
        value = evaluate(relation.value, column.type, column.name, bindings)
        if isinstance(value, Unset):
            raise invalid("Invalid 'unset' value in condition")
        if value is None or relation.operator == "!=":
            is_equal = relation.operator == "="
            return lambda row: (row.values.get(column.name) == value) is is_equal
    return column_test(column, relation, bindings)


def _update(table: Table, statement: Update, bindings: Bindings, stamp: Stamp) -> Write:
    changes = _changes(table, statement.assignments, bindings, stamp)
    found = _target(table, statement.where, bindings)
    keys = found.keys or []
    named = [table.column(assignment.column) for assignment in statement.assignments]
    static_only = all(column.kind == STATIC for column in named)
    if found.clusterings is None and table.clustering:
        if not static_only:
            named_keys = {name for relation in statement.where for name in relation.columns}
            missing = [column.name for column in table.clustering if column.name not in named_keys]
            if not missing:
                raise invalid("Slice restrictions are not supported on the clustering columns in UPDATE statements")
            raise invalid(f"Some clustering keys are missing: {', '.join(missing)}")
        rows: list[Key] = []
    elif static_only and found.has_clustering:
        raise invalid(
            "Invalid restrictions on clustering columns since the UPDATE statement modifies only static columns"
        )
    else:
        rows = found.clusterings if found.clusterings is not None else [()]
    rows = [] if static_only else rows
    apply = _applying(table, keys, rows, changes, None)
    write = Write(table, keys, rows or None, apply, touches_static_only=static_only)
    return _conditioned(table, write, statement, bindings)


def _delete(table: Table, statement: Delete, bindings: Bindings, stamp: Stamp) -> Write:
    changes: list[Change] = []
    for name, key in statement.columns:
        column = table.column(name)
        if column.is_key:
            raise invalid(f"Invalid identifier {name} for deletion (should not be a PRIMARY KEY part)")
        changes.append(remove(column, key, bindings, stamp.timestamp))
    found = _target(table, statement.where, bindings)
    keys = found.keys or []
    rows = found.clusterings
    if rows is None and not table.clustering:
        rows = [()]
    static_only = bool(changes) and all(change.column.kind == STATIC for change in changes)
    if changes:
        if static_only:
            rows = []
        elif rows is None:
            raise invalid("Range deletions are not supported for specific columns")
        apply = _applying(table, keys, rows, changes, None)
    else:
        apply = _deleting(table, keys, rows, found, stamp.timestamp)
    write = Write(table, keys, rows or None, apply, touches_static_only=static_only)
    write = _conditioned(table, write, statement, bindings)
    if write.is_conditional and write.rows is None and not static_only and table.clustering:
        if not all(column.kind == STATIC for column, _ in write.conditions) or statement.if_exists:
            names = ", ".join(column.name for column in table.clustering)
            raise invalid(
                "DELETE statements must restrict all PRIMARY KEY columns with equality relations in order to delete "
                f"non static columns, but column '{names}' is not restricted"
            )
    return write


def _deleting(
    table: Table, keys: list[Key], rows: list[Key] | None, found: Restrictions, timestamp: int
) -> Callable[[], None]:
    def apply() -> None:
        for key in keys:
            partition = table.store.partition(key)
            if rows is not None and table.clustering:
                for clustering in rows:
                    row = partition.row(clustering, row_order(table, clustering))
                    row.deleted = max(row.deleted, timestamp)
            elif found.has_clustering:
                partition.ranges.append(RangeDeletion(found.allows_clustering, timestamp))
            else:
                partition.deleted = max(partition.deleted, timestamp)

    return apply


def apply_writes(writes: Sequence[Write], now: float, is_batch: bool = False) -> Rows | None:
    """Applies them all, or none if a condition does not hold. Answers `[applied]` where there are conditions."""
    conditional = [write for write in writes if write.is_conditional]
    if not conditional:
        for write in writes:
            write.apply()
        return None
    if len({(write.table.keyspace, write.table.name) for write in writes}) > 1:
        raise invalid("Batch with conditions cannot span multiple tables")
    if len({key for write in writes for key in write.keys}) > 1:
        raise invalid("Batch with conditions cannot span multiple partitions")
    current = [_current(write, now) for write in conditional]
    if all(_holds(write, row) for write, row in zip(conditional, current, strict=True)):
        for write in writes:
            write.apply()
        return _applied(conditional[0].table)
    return _not_applied(conditional, current, is_batch)


def _current(write: Write, now: float) -> LiveRow | None:
    """The row that the conditions are about, if it exists; a row of static columns where only those are meant."""
    partition = write.table.store.get(write.keys[0])
    if partition is None:
        return None
    clustering = write.rows[0] if write.rows else None
    row = None if clustering is None else partition.rows.get(clustering)
    found = None if row is None else live_row(write.table, partition, row, now)
    statics = all(column.kind == STATIC for column, _ in write.conditions)
    if found is None and (write.touches_static_only or (write.conditions and statics)):
        return live_row(write.table, partition, None, now)
    return found


def _holds(write: Write, row: LiveRow | None) -> bool:
    if write.if_not_exists:
        return row is None
    if write.if_exists:
        return row is not None
    empty = row if row is not None else LiveRow(Partition((), (0, b"")), Row(()))
    return all(test(empty) for _, test in write.conditions)


def _applied(table: Table) -> Rows:
    return Rows(RowsMetadata([_applied_spec(table)], 1), [[_TRUE]])


def _applied_spec(table: Table) -> ColumnSpec:
    return ColumnSpec(table.keyspace, table.name, "[applied]", BOOLEAN)


def _not_applied(writes: Sequence[Write], current: Sequence[LiveRow | None], is_batch: bool) -> Rows:
    """`[applied]` false with what was found: all columns for IF [NOT] EXISTS, else those of the conditions."""
    table = writes[0].table
    rows = [row for row in current if row is not None]
    if not rows:
        return Rows(RowsMetadata([_applied_spec(table)], 1), [[_FALSE]])
    if any(not write.conditions for write in writes):
        columns = list(table.columns.values())
    else:
        named = [column for write in writes for column, _ in write.conditions]
        keys = [column for column in table.columns.values() if column.is_key] if is_batch else []
        columns = list(dict.fromkeys(keys + named))
    specs = [_applied_spec(table), *(column.spec for column in columns)]
    distinct = {(row.partition.key, row.row.clustering if row.row else None): row for row in rows}
    values = [[_FALSE, *(row.values.get(column.name) for column in columns)] for row in distinct.values()]
    return Rows(RowsMetadata(specs, len(specs)), values)
