"""CREATE, ALTER and DROP: what changes the schema, and what is refused as Cassandra refuses it.

Each function changes the schema and returns what happened, or None where IF [NOT] EXISTS made it nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from zdm.protocol.responses import SchemaChange
from zdm.sandbox.failures import Failure, already_exists, configuration_error, invalid, syntax_error, unauthorized
from zdm.sandbox.parser import Parser
from zdm.sandbox.schema import (
    NO_KEYSPACE,
    PARTITION_KEY,
    Index,
    Keyspace,
    Schema,
    UserType,
    select_order,
)
from zdm.sandbox.schema_tables import alter_table, create_table, existing_table
from zdm.sandbox.statements import (
    AlterTable,
    AlterType,
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

SYSTEM: Final = (
    "system",
    "system_schema",
    "system_auth",
    "system_distributed",
    "system_traces",
    "system_virtual_schema",
)
_LOCATOR: Final = "org.apache.cassandra.locator."
_STRATEGIES: Final = ("SimpleStrategy", "NetworkTopologyStrategy", "LocalStrategy", "EverywhereStrategy")


def change(schema: Schema, statement: SchemaStatement, current: str | None, datacenter: str) -> SchemaChange | None:
    """Carries out a schema statement for a connection whose keyspace is `current`."""
    if isinstance(statement, CreateKeyspace):
        return _keyspace(schema, statement, datacenter)
    if isinstance(statement, Drop):
        return _drop(schema, statement, current)
    if isinstance(statement, CreateTable):
        return create_table(_owner(schema, statement.table, current), statement)
    if isinstance(statement, AlterTable):
        return alter_table(_owner(schema, statement.table, current), statement)
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
            raise configuration_error(
                f"Unrecognized strategy option {set(factors) - {'replication_factor'}} passed to SimpleStrategy"
            )
    elif strategy == "NetworkTopologyStrategy":
        default = factors.pop("replication_factor", None)
        if default is not None:
            factors.setdefault(datacenter, default)
        strangers = set(factors) - {datacenter}
        if strangers:
            raise configuration_error(
                f"Unrecognized strategy option {{{min(strangers)}}} passed to NetworkTopologyStrategy"
            )
        if not factors:
            raise configuration_error("Configuration for at least one datacenter must be present")
    for value in factors.values():
        if not value.partition("/")[0].isdigit():
            raise configuration_error(f"Replication factor must be numeric; found {value}")
    return {"class": _LOCATOR + strategy, **factors}


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
            raise invalid(
                f"Cannot add field {field} to type {owner.name}.{old.name}: a field with name {field} already exists"
            )
        fields[field] = (resolve(kind, owner), type_text(kind))
    owner.types[old.name] = UserType(owner.name, old.name, fields)
    _retype(owner)
    return SchemaChange("UPDATED", "TYPE", owner.name, old.name)


def _retype(owner: Keyspace) -> None:
    """Columns know their type's fields, so they get the altered type."""
    for table in owner.tables.values():
        columns = [
            replace(column, type=resolve(Parser(column.type_text).type_name(), owner))
            for column in table.columns.values()
        ]
        table.columns = select_order(columns)


def _create_index(schema: Schema, statement: CreateIndex, current: str | None) -> SchemaChange | None:
    owner = _owner(schema, statement.table, current)
    table = existing_table(owner, statement.table.name)
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
    others = [
        kind.name for kind in owner.types.values() if any(name in _words(text) for _, text in kind.fields.values())
    ]
    if others:
        raise invalid(f"Cannot drop user type '{owner.name}.{name}' as it is still used by user types {others}")


def _words(text: str) -> list[str]:
    return text.replace("<", " ").replace(">", " ").replace(",", " ").split()


_FUNCTIONS_OFF: Final = (
    "User-defined functions are disabled in cassandra.yaml - set user_defined_functions_enabled=true to enable"
)
_DISABLED: Final = {
    "CREATE MATERIALIZED": "Materialized views are disabled. Enable in cassandra.yaml to use.",
    "CREATE FUNCTION": _FUNCTIONS_OFF,
    "CREATE AGGREGATE": _FUNCTIONS_OFF,
}


def refusal(statement: Unsupported, has_roles: bool) -> Failure:
    """What correct CQL gets that the sandbox does not do: Cassandra's own words for what is off by default."""
    if statement.words in _DISABLED:
        return invalid(_DISABLED[statement.words])
    verb = statement.words.partition(" ")[0]
    if not has_roles and (verb in ("GRANT", "REVOKE", "LIST") or statement.words.endswith((" ROLE", " USER"))):
        return unauthorized("You have to be logged in and not anonymous to perform this request")
    return invalid(f"{statement.words} is not supported by the sandbox")
