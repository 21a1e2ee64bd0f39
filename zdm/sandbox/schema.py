"""Keyspaces, tables and types of a cluster, and the version that changes with them.

These are the facts that statements are checked against. `schema_change` makes and alters them; `system_tables` shows
them as rows. A table owns the `Store` of its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from zdm.protocol.metadata import ColumnSpec
from zdm.protocol.types import CqlType
from zdm.sandbox.failures import invalid
from zdm.sandbox.statements import Option, TableName
from zdm.sandbox.storage import Store

PARTITION_KEY: Final = "partition_key"
CLUSTERING: Final = "clustering"
STATIC: Final = "static"
REGULAR: Final = "regular"

NO_KEYSPACE: Final = "No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type_text` is the type as system_schema writes it, `position` is -1 outside the primary key."""

    keyspace: str
    table: str
    name: str
    type: CqlType
    type_text: str
    kind: str
    position: int = -1
    descends: bool = False
    is_multicell: bool = False
    """A collection that is not frozen, so that its elements are cells."""

    @property
    def spec(self) -> ColumnSpec:
        return ColumnSpec(self.keyspace, self.table, self.name, self.type)

    @property
    def is_key(self) -> bool:
        return self.kind in (PARTITION_KEY, CLUSTERING)


@dataclass(frozen=True, slots=True)
class Index:
    name: str
    kind: str
    """COMPOSITES, KEYS or CUSTOM, as system_schema.indexes says."""
    options: dict[str, str]
    column: str


@dataclass(slots=True)
class Table:
    """A table; `columns` are in the order of `SELECT *`: keys, then static and other columns by name."""

    keyspace: str
    name: str
    id: UUID
    columns: dict[str, Column]
    options: dict[str, Option] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    store: Store = field(default_factory=Store)

    @property
    def partition_key(self) -> list[Column]:
        return [column for column in self.columns.values() if column.kind == PARTITION_KEY]

    @property
    def clustering(self) -> list[Column]:
        return [column for column in self.columns.values() if column.kind == CLUSTERING]

    @property
    def has_statics(self) -> bool:
        return any(column.kind == STATIC for column in self.columns.values())

    @property
    def is_counter(self) -> bool:
        return any(column.type_text == "counter" for column in self.columns.values())

    @property
    def default_ttl(self) -> int:
        value = self.options.get("default_time_to_live", "0")
        return int(value) if isinstance(value, str) else 0

    def column(self, name: str) -> Column:
        """The column of this name; raises INVALID if there is none."""
        found = self.columns.get(name)
        if found is None:
            raise invalid(f"Undefined column name {_quoted(name)} in table {self.keyspace}.{self.name}")
        return found

    def indexed(self, column: str) -> bool:
        return any(index.column == column for index in self.indexes.values())


@dataclass(frozen=True, slots=True)
class UserType:
    keyspace: str
    name: str
    fields: dict[str, tuple[CqlType, str]]
    """By name: the type, and its text."""


@dataclass(slots=True)
class Keyspace:
    """A keyspace; `replication` holds `class` (full name) and the factors, as system_schema shows them."""

    name: str
    replication: dict[str, str]
    durable_writes: bool = True
    tables: dict[str, Table] = field(default_factory=dict)
    types: dict[str, UserType] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        """Whether each node has its own rows, as in `system`: no consistency applies, and nobody may write."""
        return self.replication["class"].endswith("LocalStrategy")

    @property
    def replication_factor(self) -> int:
        """Copies of each row, summed over the datacenters."""
        factors = [value for name, value in self.replication.items() if name != "class"]
        return sum(int(value.partition("/")[0]) for value in factors) if factors else 1


class Schema:
    """The keyspaces of one cluster. `bump` is called after each change."""

    def __init__(self, seed: str) -> None:
        self.keyspaces: dict[str, Keyspace] = {}
        self._seed = seed
        self._generation = 0

    @property
    def version(self) -> UUID:
        """What `system.local` shows as schema_version: equal on all nodes, other after each change."""
        digest = hashlib.md5(f"{self._seed} {self._generation}".encode()).digest()
        return UUID(bytes=digest, version=3)

    def bump(self) -> None:
        self._generation += 1

    @property
    def generation(self) -> int:
        """How many changes there were; for those who keep what they made of the schema."""
        return self._generation

    def keyspace(self, name: str | None) -> Keyspace:
        """The keyspace of this name, for statements that read or write rows; raises INVALID."""
        if name is None:
            raise invalid(NO_KEYSPACE)
        found = self.keyspaces.get(name)
        if found is None:
            raise invalid(f"keyspace {name} does not exist")
        return found

    def table(self, name: TableName, current: str | None) -> Table:
        """The table meant by a connection whose keyspace is `current`; raises INVALID."""
        keyspace = self.keyspace(name.keyspace or current)
        found = keyspace.tables.get(name.name)
        if found is None:
            raise invalid(f"table {name.name} does not exist")
        return found

    def tables(self) -> Iterator[Table]:
        for keyspace in self.keyspaces.values():
            yield from keyspace.tables.values()


def select_order(columns: list[Column]) -> dict[str, Column]:
    """Columns as `SELECT *` gives them: keys by position, then static ones by name, then the rest by name."""
    ranks = {PARTITION_KEY: 0, CLUSTERING: 1, STATIC: 2, REGULAR: 3}
    ordered = sorted(columns, key=lambda column: (ranks[column.kind], column.position, column.name))
    return {column.name: column for column in ordered}


def _quoted(name: str) -> str:
    """A name as error messages and DESCRIBE write it."""
    plain = name.replace("_", "a").isalnum() and name == name.lower() and not name[:1].isdigit()
    return name if plain else '"' + name.replace('"', '""') + '"'


quoted = _quoted
