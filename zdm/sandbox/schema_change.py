"""CREATE, ALTER and DROP: what changes the schema, and what is refused as Cassandra refuses it.

Each function changes the schema and returns what happened, or None where IF [NOT] EXISTS made it nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID, uuid1

from zdm.protocol.responses import SchemaChange
from zdm.sandbox.failures import Failure, already_exists, configuration_error, invalid, syntax_error, unauthorized
from zdm.sandbox.schema import (
    CLUSTERING,
    NO_KEYSPACE,
    PARTITION_KEY,
    REGULAR,
    STATIC,
    Column,
    Index,
    Keyspace,
    Schema,
    Table,
    UserType,
    select_order,
)
from zdm.sandbox.statements import (
    AlterTable,
    AlterType,
    ColumnDefinition,
    CreateIndex,
    CreateKeyspace,
    CreateTable,
    CreateType,
    Drop,
    Option,
    SchemaStatement,
    TableName,
    Unsupported,
)
from zdm.sandbox.type_names import is_collection, resolve, type_text

SYSTEM: Final = ("system", "system_schema", "system_auth", "system_distributed", "system_traces", "system_virtual_schema")
_LOCATOR: Final = "org.apache.cassandra.locator."
_STRATEGIES: Final = ("SimpleStrategy", "NetworkTopologyStrategy", "LocalStrategy", "EverywhereStrategy")
TABLE_OPTIONS: Final = frozenset(
    "additional_write_policy bloom_filter_fp_chance caching cdc comment compaction compression crc_check_chance "
    "dclocal_read_repair_chance default_time_to_live extensions gc_grace_seconds incremental_backups max_index_interval "
    "memtable memtable_flush_period_in_ms min_index_interval read_repair read_repair_chance speculative_retry "
    "allow_auto_snapshot".split()
)


def change(schema: Schema, statement: SchemaStatement, current: str | None, datacenter: str) -> SchemaChange | None:
    """Carries out a schema statement for a connection whose keyspace is `current`."""
    if isinstance(statement, CreateKeyspace):
        return _keyspace(schema, statement, datacenter)
    if isinstance(statement, Drop):
        return _drop(schema, statement, current)
    if isinstance(statement, CreateTable):
        return create_table(schema, statement, current)
    if isinstance(statement, AlterTable):
        return _alter_table(schema, statement, current)
    if isinstance(statement, CreateType):
        return _create_type(schema, statement, current)
    if isinstance(statement, AlterType):
        return _alter_type(schema, statement, current)
    return _create_index(schema, statement, current)


def _owner(schema: Schema, name: TableName, current: str | None) -> Keyspace:
    """The keyspace a statement is about; system keyspaces are refused with UNAUTHORIZED."""
    keyspace = name.keyspace or current
    if keyspace is None:
        raise invalid(NO_KEYSPACE)
    _check_modifiable(keyspace)
    found = schema.keyspaces.get(keyspace)
    if found is None:
        raise invalid(f"Keyspace '{keyspace}' doesn't exist")
    return found


def _check_modifiable(keyspace: str) -> None:
    if keyspace in SYSTEM:
        raise unauthorized(f"{keyspace} keyspace is not user-modifiable.")


def _keyspace(schema: Schema, statement: CreateKeyspace, datacenter: str) -> SchemaChange | None:
    _check_modifiable(statement.name)
    old = schema.keyspaces.get(statement.name)
    if statement.is_alter:
        if old is None:
            if statement.if_not_exists:
                return None
            raise invalid(f"Keyspace '{statement.name}' doesn't exist")
    elif old is not None:
        if statement.if_not_exists:
            return None
        raise already_exists(statement.name)
    unknown = set(statement.options) - {"replication", "durable_writes"}
    if unknown:
        raise syntax_error(f"Unknown property '{min(unknown)}'")
    durable = _boolean(statement.options.get("durable_writes", "true"))
    if old is None:
        replication = _replication(statement.options.get("replication"), datacenter)
        schema.keyspaces[statement.name] = Keyspace(statement.name, replication, durable)
        return SchemaChange("CREATED", "KEYSPACE", statement.name)
    if "replication" in statement.options:
        old.replication = _replication(statement.options["replication"], datacenter)
    if "durable_writes" in statement.options:
        old.durable_writes = durable
    return SchemaChange("UPDATED", "KEYSPACE", statement.name)


def _boolean(value: Option) -> bool:
    return isinstance(value, str) and value.lower() == "true"


def _replication(option: Option | None, datacenter: str) -> dict[str, str]:
    """The replication as system_schema shows it, with the strategy's full name; raises CONFIG_ERROR."""
    if not isinstance(option, dict) or "class" not in option:
        raise configuration_error("Missing replication strategy class")
    strategy = option["class"].removeprefix(_LOCATOR)
    if strategy not in _STRATEGIES:
        raise configuration_error(f"Unable to find replication strategy class '{_LOCATOR}{strategy}'")
    factors = {name: value for name, value in option.items() if name != "class"}
    if strategy == "SimpleStrategy":
        if "replication_factor" not in factors:
            raise configuration_error("SimpleStrategy requires a replication_factor strategy option.")
        if set(factors) != {"replication_factor"}:
            raise configuration_error(f"Unrecognized strategy option {set(factors) - {'replication_factor'}} passed to SimpleStrategy")
    elif strategy == "NetworkTopologyStrategy":
        default = factors.pop("replication_factor", None)
        if default is not None:
            factors.setdefault(datacenter, default)
        strangers = set(factors) - {datacenter}
        if strangers:
            raise configuration_error(f"Unrecognized strategy option {{{min(strangers)}}} passed to NetworkTopologyStrategy")
        if not factors:
            raise configuration_error("Configuration for at least one datacenter must be present")
    for value in factors.values():
        if not value.partition("/")[0].isdigit():
            raise configuration_error(f"Replication factor must be numeric; found {value}")
    return {"class": _LOCATOR + strategy, **factors}


def create_table(schema: Schema, statement: CreateTable, current: str | None, is_system: bool = False) -> SchemaChange | None:
    """Makes a table; `is_system` lets the sandbox make those of system keyspaces."""
    name = statement.table
    owner = schema.keyspaces[name.keyspace or ""] if is_system else _owner(schema, name, current)
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
        raise invalid("Static columns are only useful (and thus allowed) if the table has at least one clustering column")
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


def _table(owner: Keyspace, name: str) -> Table:
    found = owner.tables.get(name)
    if found is None:
        raise invalid(f"Table '{owner.name}.{name}' doesn't exist")
    return found


def _alter_table(schema: Schema, statement: AlterTable, current: str | None) -> SchemaChange | None:
    owner = _owner(schema, statement.table, current)
    if statement.if_exists and statement.table.name not in owner.tables:
        return None
    table = _table(owner, statement.table.name)
    columns = dict(table.columns)
    for definition in statement.added:
        if definition.name in columns:
            raise invalid(f"Column with name '{definition.name}' already exists")
        columns[definition.name] = make_column(owner, table.name, definition)
        if definition.is_static and not table.clustering:
            raise invalid("Static columns are only useful (and thus allowed) if the table has at least one clustering column")
    for name in statement.dropped:
        column = columns.get(name)
        if column is None:
            raise invalid(f"Column {name} was not found in table '{owner.name}.{table.name}'")
        if column.is_key:
            raise invalid(f"Cannot drop PRIMARY KEY column {name}")
        del columns[name]
        _forget_cells(table, name)
    for old, new in statement.renamed:
        if old not in columns:
            raise invalid(f"Column {old} was not found in table {owner.name}.{table.name}")
        if not columns[old].is_key:
            raise invalid(f"Cannot rename non PRIMARY KEY column {old}")
        if new in columns:
            raise invalid(f"Cannot rename column {old} to {new} in table '{owner.name}.{table.name}'; another column with that name already exists")
        columns[new] = replace(columns.pop(old), name=new)
    _check_options(statement.options)
    table.columns = select_order(list(columns.values()))
    table.options.update(statement.options)
    return SchemaChange("UPDATED", "TABLE", owner.name, table.name)


def _forget_cells(table: Table, column: str) -> None:
    for partition in table.store.scan():
        for row in [partition.static, *partition.ordered]:
            row.cells.pop(column, None)
            row.collections.pop(column, None)


def _create_type(schema: Schema, statement: CreateType, current: str | None) -> SchemaChange | None:
    owner = _owner(schema, statement.name, current)
    name = statement.name.name
    if name in owner.types:
        if statement.if_not_exists:
            return None
        raise invalid(f"A user type with name '{name}' already exists")
    fields = {}
    for field, kind in statement.fields:
        if field in fields:
            raise invalid(f"Duplicate field name '{field}' in type '{name}'")
        fields[field] = (resolve(kind, owner), type_text(kind))
    owner.types[name] = UserType(owner.name, name, fields)
    return SchemaChange("CREATED", "TYPE", owner.name, name)


def _alter_type(schema: Schema, statement: AlterType, current: str | None) -> SchemaChange | None:
    owner = _owner(schema, statement.name, current)
    old = owner.types.get(statement.name.name)
    if old is None:
        raise invalid(f"Type '{owner.name}.{statement.name.name}' doesn't exist")
    renames = dict(statement.renamed)
    missing = set(renames) - set(old.fields)
    if missing:
        raise invalid(f"Unkown field {min(missing)} in user type {owner.name}.{old.name}")
    fields = {renames.get(name, name): kind for name, kind in old.fields.items()}
    for field, kind in statement.added:
        if field in fields:
            raise invalid(f"Cannot add field {field} to type {owner.name}.{old.name}: a field with name {field} already exists")
        fields[field] = (resolve(kind, owner), type_text(kind))
    owner.types[old.name] = UserType(owner.name, old.name, fields)
    _retype(owner)
    return SchemaChange("UPDATED", "TYPE", owner.name, old.name)


def _retype(owner: Keyspace) -> None:
    """Columns know their type's fields, so they get the altered type."""
    from zdm.sandbox.parser import Parser

    for table in owner.tables.values():
        columns = [replace(column, type=resolve(Parser(column.type_text).type_name(), owner)) for column in table.columns.values()]
        table.columns = select_order(columns)


def _create_index(schema: Schema, statement: CreateIndex, current: str | None) -> SchemaChange | None:
    owner = _owner(schema, statement.table, current)
    table = _table(owner, statement.table.name)
    column = table.columns.get(statement.column)
    if column is None:
        raise invalid(f"Column '{statement.column}' doesn't exist")
    name = statement.name or f"{table.name}_{column.name}_idx"
    if any(name in other.indexes for other in owner.tables.values()):
        if statement.if_not_exists:
            return None
        raise invalid(f"Index '{name}' already exists")
    if table.is_counter:
        raise invalid("Secondary indexes on counter tables aren't supported")
    if column.kind == PARTITION_KEY and len(table.partition_key) == 1:
        raise invalid(f"Cannot create secondary index on the only partition key column {column.name}")
    target = column.name if statement.target == "values" else f"{statement.target}({column.name})"
    if statement.target == "values" and is_collection(column.type) and column.is_multicell:
        target = f"values({column.name})"
    options = {"target": target}
    if statement.custom_class is not None:
        options = {"class_name": statement.custom_class, **statement.options, "target": target}
    kind = "COMPOSITES" if statement.custom_class is None else "CUSTOM"
    table.indexes[name] = Index(name, kind, options, column.name)
    return SchemaChange("UPDATED", "TABLE", owner.name, table.name)


def _drop(schema: Schema, statement: Drop, current: str | None) -> SchemaChange | None:
    try:
        return _drop_existing(schema, statement, current)
    except _Missing as missing:
        if statement.if_exists:
            return None
        raise invalid(str(missing)) from None


class _Missing(Exception):
    """What was to be dropped is not there."""


def _drop_existing(schema: Schema, statement: Drop, current: str | None) -> SchemaChange:
    name = statement.name.name
    if statement.target == "KEYSPACE":
        _check_modifiable(name)
        if schema.keyspaces.pop(name, None) is None:
            raise _Missing(f"Keyspace '{name}' doesn't exist")
        return SchemaChange("DROPPED", "KEYSPACE", name)
    keyspace = statement.name.keyspace or current
    if keyspace is not None and keyspace not in schema.keyspaces:
        raise _Missing(f"Keyspace '{keyspace}' doesn't exist")
    owner = _owner(schema, statement.name, current)
    if statement.target == "TABLE":
        if owner.tables.pop(name, None) is None:
            raise _Missing(f"Table '{owner.name}.{name}' doesn't exist")
        return SchemaChange("DROPPED", "TABLE", owner.name, name)
    if statement.target == "TYPE":
        if name not in owner.types:
            raise _Missing(f"Type '{owner.name}.{name}' doesn't exist")
        _check_unused(owner, name)
        del owner.types[name]
        return SchemaChange("DROPPED", "TYPE", owner.name, name)
    for table in owner.tables.values():
        if table.indexes.pop(name, None) is not None:
            return SchemaChange("UPDATED", "TABLE", owner.name, table.name)
    raise _Missing(f"Index '{owner.name}.{name}' doesn't exist")


def _check_unused(owner: Keyspace, name: str) -> None:
    users = [
        f"{owner.name}.{table.name}"
        for table in owner.tables.values()
        if any(name in _words(column.type_text) for column in table.columns.values())
    ]
    if users:
        raise invalid(f"Cannot drop user type '{owner.name}.{name}' as it is still used by tables {users}")
    others = [kind.name for kind in owner.types.values() if any(name in _words(text) for _, text in kind.fields.values())]
    if others:
        raise invalid(f"Cannot drop user type '{owner.name}.{name}' as it is still used by user types {others}")


def _words(text: str) -> list[str]:
    return text.replace("<", " ").replace(">", " ").replace(",", " ").split()


_DISABLED: Final = {
    "CREATE MATERIALIZED": "Materialized views are disabled. Enable in cassandra.yaml to use.",
    "CREATE FUNCTION": "User-defined functions are disabled in cassandra.yaml - set user_defined_functions_enabled=true to enable",
    "CREATE AGGREGATE": "User-defined functions are disabled in cassandra.yaml - set user_defined_functions_enabled=true to enable",
}


def refusal(statement: Unsupported, has_roles: bool) -> Failure:
    """What correct CQL gets that the sandbox does not do: Cassandra's own words for what is off by default."""
    if statement.words in _DISABLED:
        return invalid(_DISABLED[statement.words])
    verb = statement.words.partition(" ")[0]
    if not has_roles and (verb in ("GRANT", "REVOKE", "LIST") or statement.words.endswith((" ROLE", " USER"))):
        return unauthorized("You have to be logged in and not anonymous to perform this request")
    return invalid(f"{statement.words} is not supported by the sandbox")


