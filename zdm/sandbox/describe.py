"""DESCRIBE, which cqlsh sends to the server from Cassandra 4.0 on: the schema as CQL, one row per element."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from zdm.protocol.metadata import ColumnSpec, RowsMetadata
from zdm.protocol.responses import Rows
from zdm.protocol.types import VARCHAR
from zdm.sandbox.failures import invalid
from zdm.sandbox.schema import NO_KEYSPACE, Column, Index, Keyspace, Schema, Table, UserType, quoted
from zdm.sandbox.schema_change import SYSTEM
from zdm.sandbox.statements import Describe
from zdm.sandbox.system_tables import DEFAULTS, PARTITIONER, option_value


class Element(NamedTuple):
    """One row of the answer; `create` is missing where only names were asked for."""

    keyspace: str
    kind: str
    name: str
    create: str | None = None


def describe_schema(schema: Schema, statement: Describe, current: str | None, cluster_name: str) -> Rows:
    """The answer to a DESCRIBE of a connection whose keyspace is `current`; raises INVALID for what is not there."""
    if statement.subject == "cluster":
        fields = {
            "cluster": cluster_name,
            "partitioner": PARTITIONER,
            "snitch": "org.apache.cassandra.locator.SimpleSnitch",
        }
        return _rows(list(fields), [list(fields.values())], "cluster")
    elements = list(_elements(schema, statement, current))
    if statement.subject in ("keyspaces", "tables", "types", "functions", "aggregates"):
        return _rows(["keyspace_name", "type", "name"], [list(element[:3]) for element in elements], "describe")
    return _rows(
        ["keyspace_name", "type", "name", "create_statement"], [list(element) for element in elements], "describe"
    )


def _rows(names: list[str], rows: list[list[str | None]] | list[list[str]], table: str) -> Rows:
    columns = [ColumnSpec("system", table, name, VARCHAR) for name in names]
    values = [[None if value is None else value.encode() for value in row] for row in rows]
    return Rows(RowsMetadata(columns, len(columns)), values)


def _elements(schema: Schema, statement: Describe, current: str | None) -> Iterator[Element]:
    subject, name = statement.subject, statement.name
    keyspaces = [schema.keyspaces[key] for key in sorted(schema.keyspaces)]
    if subject in ("schema", "full schema"):
        for keyspace in keyspaces:
            if subject == "full schema" or keyspace.name not in SYSTEM:
                yield from _keyspace(keyspace)
    elif subject == "keyspaces":
        yield from (Element(quoted(keyspace.name), "keyspace", quoted(keyspace.name)) for keyspace in keyspaces)
    elif subject in ("tables", "types", "functions", "aggregates"):
        yield from _names(subject, [schema.keyspace(current)] if current else keyspaces)
    elif subject == "keyspace":
        yield from _keyspace(_existing(schema, name.name if name else current))
    elif subject == "any" and name is not None and name.keyspace is None and name.name in schema.keyspaces:
        yield from _keyspace(schema.keyspaces[name.name])
    elif name is not None:
        owner = _existing(schema, name.keyspace or current)
        yield from _one(owner, subject, name.name)


def _existing(schema: Schema, name: str | None) -> Keyspace:
    if name is None:
        raise invalid(NO_KEYSPACE)
    found = schema.keyspaces.get(name)
    if found is None:
        raise invalid(f"'{name}' not found in keyspaces")
    return found


def _names(subject: str, keyspaces: list[Keyspace]) -> Iterator[Element]:
    for keyspace in keyspaces:
        found = {"tables": list(keyspace.tables), "types": list(keyspace.types)}.get(subject, [])
        for name in sorted(found):
            yield Element(quoted(keyspace.name), subject.removesuffix("s"), quoted(name))


def _one(owner: Keyspace, subject: str, name: str) -> Iterator[Element]:
    if subject in ("table", "any") and name in owner.tables:
        yield from _table(owner.tables[name])
        return
    if subject in ("type", "any") and name in owner.types:
        yield _type(owner.types[name])
        return
    for table in owner.tables.values():
        if subject in ("index", "any") and name in table.indexes:
            yield _index(table, table.indexes[name])
            return
    if subject == "any":
        raise invalid(f"'{name}' not found in keyspace '{owner.name}'")
    raise invalid(f"{subject.capitalize()} '{name}' not found in keyspace '{owner.name}'")


def _keyspace(keyspace: Keyspace) -> Iterator[Element]:
    replication = dict(keyspace.replication)
    replication["class"] = replication["class"].rpartition(".")[2]
    create = (
        f"CREATE KEYSPACE {quoted(keyspace.name)} WITH replication = {_map(replication)}  "
        f"AND durable_writes = {str(keyspace.durable_writes).lower()};"
    )
    yield Element(quoted(keyspace.name), "keyspace", quoted(keyspace.name), create)
    yield from (_type(kind) for kind in keyspace.types.values())
    for name in sorted(keyspace.tables):
        yield from _table(keyspace.tables[name])


def _map(values: dict[str, str]) -> str:
    return "{" + ", ".join(f"'{name}': '{value}'" for name, value in values.items()) + "}"


def _type(kind: UserType) -> Element:
    fields = ",\n".join(f"    {quoted(name)} {text}" for name, (_, text) in kind.fields.items())
    create = f"CREATE TYPE {quoted(kind.keyspace)}.{quoted(kind.name)} (\n{fields}\n);"
    return Element(quoted(kind.keyspace), "type", quoted(kind.name), create)


def _index(table: Table, index: Index) -> Element:
    where = f"{quoted(table.keyspace)}.{quoted(table.name)} ({index.options['target']})"
    create = f"CREATE INDEX {quoted(index.name)} ON {where};"
    if index.kind == "CUSTOM":
        create = f"CREATE CUSTOM INDEX {quoted(index.name)} ON {where} USING '{index.options['class_name']}';"
    return Element(quoted(table.keyspace), "index", quoted(index.name), create)


def _table(table: Table) -> Iterator[Element]:
    simple = len(table.partition_key) == 1 and not table.clustering
    lines = [f"    {_definition(column, simple)}" for column in table.columns.values()]
    if not simple:
        lines.append(f"    PRIMARY KEY ({_primary_key(table)})")
    options = []
    if table.clustering:
        order = ", ".join(
            f"{quoted(column.name)} {'DESC' if column.descends else 'ASC'}" for column in table.clustering
        )
        options.append(f"CLUSTERING ORDER BY ({order})")
    shown = DEFAULTS | {name: option_value(name, value) for name, value in table.options.items()}
    options += [
        f"{name} = {_option(value)}" for name, value in sorted(shown.items()) if "read_repair_chance" not in name
    ]
    where = f"{quoted(table.keyspace)}.{quoted(table.name)}"
    body = ",\n".join(lines)
    create = f"CREATE TABLE {where} (\n{body}\n) WITH " + "\n    AND ".join(options) + ";"
    yield Element(quoted(table.keyspace), "table", quoted(table.name), create)
    yield from (_index(table, index) for index in table.indexes.values())


def _definition(column: Column, is_only_key: bool) -> str:
    ending = " PRIMARY KEY" if is_only_key and column.is_key else " static" if column.kind == "static" else ""
    return f"{quoted(column.name)} {column.type_text}{ending}"


def _primary_key(table: Table) -> str:
    partition = ", ".join(quoted(column.name) for column in table.partition_key)
    first = f"({partition})" if len(table.partition_key) > 1 else partition
    return ", ".join([first, *(quoted(column.name) for column in table.clustering)])


def _option(value: object) -> str:
    if isinstance(value, dict):
        return _map({str(name): str(item) for name, item in value.items()})
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
