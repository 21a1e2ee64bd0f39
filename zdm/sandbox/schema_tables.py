"""CREATE TABLE and ALTER TABLE: columns, keys and options, and what Cassandra refuses of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID, uuid1

from zdm.protocol.responses import SchemaChange
from zdm.sandbox.failures import already_exists, configuration_error, invalid, syntax_error
from zdm.sandbox.schema import (
    CLUSTERING,
    PARTITION_KEY,
    REGULAR,
    STATIC,
    Column,
    Keyspace,
    Table,
    select_order,
)
from zdm.sandbox.statements import AlterTable, ColumnDefinition, CreateTable, Option
from zdm.sandbox.type_names import is_collection, resolve, type_text

TABLE_OPTIONS: Final = frozenset(
    "additional_write_policy bloom_filter_fp_chance caching cdc comment compaction compression crc_check_chance "
    "dclocal_read_repair_chance default_time_to_live extensions gc_grace_seconds incremental_backups "
    "max_index_interval memtable memtable_flush_period_in_ms min_index_interval read_repair read_repair_chance "
    "speculative_retry allow_auto_snapshot".split()
)


def create_table(owner: Keyspace, statement: CreateTable) -> SchemaChange | None:
    """Makes a table in the keyspace that owns it; None if IF NOT EXISTS made it nothing."""
    name = statement.table
    if name.name in owner.tables:
        if statement.if_not_exists:
            return None
        raise already_exists(owner.name, name.name)
    _check_options(statement.options)
    columns = _columns(owner, statement)
    table_id = UUID(statement.id) if statement.id is not None else uuid1()
    owner.tables[name.name] = Table(owner.name, name.name, table_id, select_order(columns), dict(statement.options))
    return SchemaChange("CREATED", "TABLE", owner.name, name.name)


def _check_options(options: dict[str, Option]) -> None:
    for name, value in options.items():
        if name not in TABLE_OPTIONS:
            raise syntax_error(f"Unknown property '{name}'")
        if name in ("compaction", "compression", "caching") and not isinstance(value, dict):
            raise syntax_error(f"Invalid value for property '{name}'. It should be a map.")
    compaction = options.get("compaction")
    if isinstance(compaction, dict) and "class" not in compaction:
        raise configuration_error("Missing sub-option 'class' for the 'compaction' option.")
    lifetime = options.get("default_time_to_live", "0")
    if not isinstance(lifetime, str) or not lifetime.isdigit():
        raise configuration_error(f"default_time_to_live must be greater than or equal to 0 (got {lifetime})")


def _columns(owner: Keyspace, statement: CreateTable) -> list[Column]:
    where = f"{owner.name}.{statement.table.name}"
    defined: dict[str, ColumnDefinition] = {}
    for definition in statement.columns:
        if definition.name in defined:
            raise invalid(f"Duplicate column '{definition.name}' declaration for table '{where}'")
        defined[definition.name] = definition
    keys = statement.partition_key + statement.clustering
    for name in keys:
        if name not in defined:
            raise invalid(f"Unknown column '{name}' referenced in PRIMARY KEY for table '{where}'")
    if len(set(keys)) < len(keys):
        raise invalid("Duplicate column in PRIMARY KEY")
    descending = _order(statement)
    columns = []
    for definition in statement.columns:
        column = make_column(owner, statement.table.name, definition)
        if definition.name in keys:
            column = _key_column(column, statement, descending)
        columns.append(column)
    if any(column.kind == STATIC for column in columns) and not statement.clustering:
        raise invalid(
            "Static columns are only useful (and thus allowed) if the table has at least one clustering column"
        )
    values = [column for column in columns if not column.is_key]
    counters = [column for column in values if column.type_text == "counter"]
    if counters and len(counters) < len(values):
        raise invalid("Cannot mix counter and non counter columns in the same table")
    return columns


def _key_column(column: Column, statement: CreateTable, descending: dict[str, bool]) -> Column:
    if column.kind == STATIC:
        raise invalid(f"Static column '{column.name}' cannot be part of the PRIMARY KEY")
    if column.is_multicell:
        raise invalid(f"Invalid non-frozen collection type {column.type_text} for PRIMARY KEY column '{column.name}'")
    if column.type_text in ("counter", "duration"):
        raise invalid(f"{column.type_text} type is not supported for PRIMARY KEY column '{column.name}'")
    if column.name in statement.partition_key:
        return replace(column, kind=PARTITION_KEY, position=statement.partition_key.index(column.name))
    position = statement.clustering.index(column.name)
    return replace(column, kind=CLUSTERING, position=position, descends=descending.get(column.name, False))


def _order(statement: CreateTable) -> dict[str, bool]:
    order = dict(statement.order)
    for index, name in enumerate(order):
        if name not in statement.clustering:
            raise invalid(f"Only clustering key columns can be defined in CLUSTERING ORDER directive: {name}")
        if statement.clustering[index] != name:
            raise invalid(
                "The order of columns in the CLUSTERING ORDER directive must match that of the clustering columns "
                f"({', '.join(statement.clustering)})"
            )
    return order


def make_column(owner: Keyspace, table: str, definition: ColumnDefinition) -> Column:
    """A column that is no key, from its definition; raises INVALID for a type that does not exist."""
    kind = resolve(definition.type, owner)
    is_frozen = definition.type.name == "frozen"
    return Column(
        keyspace=owner.name,
        table=table,
        name=definition.name,
        type=kind,
        type_text=type_text(definition.type),
        kind=STATIC if definition.is_static else REGULAR,
        is_multicell=is_collection(kind) and not is_frozen,
    )


def existing_table(owner: Keyspace, name: str) -> Table:
    """The table of this name, for DDL; raises INVALID."""
    found = owner.tables.get(name)
    if found is None:
        raise invalid(f"Table '{owner.name}.{name}' doesn't exist")
    return found


def alter_table(owner: Keyspace, statement: AlterTable) -> SchemaChange | None:
    """Adds, drops or renames columns, or changes options; None if IF EXISTS made it nothing."""
    if statement.if_exists and statement.table.name not in owner.tables:
        return None
    table = existing_table(owner, statement.table.name)
    columns = dict(table.columns)
    _add(owner, table, statement, columns)
    _drop(owner, table, statement, columns)
    _rename(owner, table, statement, columns)
    _check_options(statement.options)
    table.columns = select_order(list(columns.values()))
    table.options.update(statement.options)
    return SchemaChange("UPDATED", "TABLE", owner.name, table.name)


def _add(owner: Keyspace, table: Table, statement: AlterTable, columns: dict[str, Column]) -> None:
    for definition in statement.added:
        if definition.name in columns:
            raise invalid(f"Column with name '{definition.name}' already exists")
        columns[definition.name] = make_column(owner, table.name, definition)
        if definition.is_static and not table.clustering:
            raise invalid(
                "Static columns are only useful (and thus allowed) if the table has at least one clustering column"
            )


def _drop(owner: Keyspace, table: Table, statement: AlterTable, columns: dict[str, Column]) -> None:
    for name in statement.dropped:
        column = columns.get(name)
        if column is None:
            raise invalid(f"Column {name} was not found in table '{owner.name}.{table.name}'")
        if column.is_key:
            raise invalid(f"Cannot drop PRIMARY KEY column {name}")
        del columns[name]
        _forget_cells(table, name)


def _rename(owner: Keyspace, table: Table, statement: AlterTable, columns: dict[str, Column]) -> None:
    for old, new in statement.renamed:
        if old not in columns:
            raise invalid(f"Column {old} was not found in table {owner.name}.{table.name}")
        if not columns[old].is_key:
            raise invalid(f"Cannot rename non PRIMARY KEY column {old}")
        if new in columns:
            raise invalid(
                f"Cannot rename column {old} to {new} in table '{owner.name}.{table.name}'; "
                "another column with that name already exists"
            )
        columns[new] = replace(columns.pop(old), name=new)


def _forget_cells(table: Table, column: str) -> None:
    for partition in table.store.scan():
        for row in [partition.static, *partition.ordered]:
            row.cells.pop(column, None)
            row.collections.pop(column, None)
