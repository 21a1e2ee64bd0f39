"""The parts of a CQL statement as the sandbox understands them: values of `grammar.parse`, input of the executors.

Names are as CQL means them: unquoted ones in lower case, quoted ones as written. Nothing here knows the schema; whether
a column exists and what a marker's type is, is settled in `binding` and the executors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class LiteralKind(Enum):
    """What a constant looks like in the text; which types accept which kind is decided in `terms`."""

    STRING = auto()
    INTEGER = auto()
    FLOAT = auto()
    BOOLEAN = auto()
    UUID = auto()
    HEX = auto()
    DURATION = auto()
    NULL = auto()


@dataclass(frozen=True, slots=True)
class Literal:
    kind: LiteralKind
    text: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A bind marker; `index` counts from 0 in the order of the text."""

    index: int
    name: str | None


@dataclass(frozen=True, slots=True)
class ListTerm:
    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class SetTerm:
    """`{a, b}`; without items it stands for an empty map as well."""

    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class MapTerm:
    pairs: tuple[tuple[Term, Term], ...]


@dataclass(frozen=True, slots=True)
class FieldsTerm:
    """A user-defined type's literal, `{street: 'x', number: 1}`."""

    fields: tuple[tuple[str, Term], ...]


@dataclass(frozen=True, slots=True)
class TupleTerm:
    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as written. `name` is lower case; a user-defined one may carry its keyspace."""

    name: str
    arguments: tuple[TypeName, ...] = ()
    keyspace: str | None = None
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class HintTerm:
    """`(int) ?` and `CAST(x AS int)`."""

    type: TypeName
    term: Term
    is_cast: bool = False


@dataclass(frozen=True, slots=True)
class ColumnTerm:
    """A column used as a value: a selector, or an argument of one."""

    name: str


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """`column.field` or `column[key]` in a selection."""

    column: str
    field: str | None
    key: Term | None


@dataclass(frozen=True, slots=True)
class CallTerm:
    """A function call; `count(*)` has no arguments."""

    name: str
    arguments: tuple[Term, ...]


Term = (
    Literal
    | Marker
    | ListTerm
    | SetTerm
    | MapTerm
    | FieldsTerm
    | TupleTerm
    | HintTerm
    | ColumnTerm
    | FieldTerm
    | CallTerm
)


@dataclass(frozen=True, slots=True)
class TableName:
    keyspace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.keyspace}.{self.name}" if self.keyspace else self.name


@dataclass(frozen=True, slots=True)
class Relation:
    """One term of WHERE or IF.

    `columns` are several for `(a, b) > (1, 2)` and `token(a, b)`. For IN, `value` is a TupleTerm of the alternatives,
    or one Marker for the whole list. `key` is set for `m[key] = value`.
    """

    columns: tuple[str, ...]
    operator: str
    value: Term
    is_token: bool = False
    is_tuple: bool = False
    key: Term | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    term: Term
    alias: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Select:
    table: TableName
    selectors: tuple[Selector, ...]
    """Empty: all columns."""
    where: tuple[Relation, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    """Column and whether it descends."""
    limit: Term | None = None
    partition_limit: Term | None = None
    is_distinct: bool = False
    allows_filtering: bool = False


@dataclass(frozen=True, slots=True)
class Insert:
    table: TableName
    columns: tuple[str, ...]
    values: tuple[Term, ...]
    if_not_exists: bool = False
    timestamp: Term | None = None
    ttl: Term | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One change of SET. `operator`: `=` set, `+` append or add, `-` remove or subtract, `prepend`, `[]` an element."""

    column: str
    operator: str
    value: Term
    key: Term | None = None


@dataclass(frozen=True, slots=True)
class Update:
    table: TableName
    assignments: tuple[Assignment, ...]
    where: tuple[Relation, ...]
    conditions: tuple[Relation, ...] = ()
    if_exists: bool = False
    timestamp: Term | None = None
    ttl: Term | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    table: TableName
    columns: tuple[tuple[str, Term | None], ...]
    """Column and, for `m[key]`, the key. Empty: whole rows."""
    where: tuple[Relation, ...]
    conditions: tuple[Relation, ...] = ()
    if_exists: bool = False
    timestamp: Term | None = None


Modification = Insert | Update | Delete


@dataclass(frozen=True, slots=True)
class BatchText:
    """BEGIN ... APPLY BATCH; `kind` is the number of the BATCH message: 0 logged, 1 unlogged, 2 counter."""

    kind: int
    children: tuple[Modification, ...]
    timestamp: Term | None = None


@dataclass(frozen=True, slots=True)
class Use:
    keyspace: str


@dataclass(frozen=True, slots=True)
class Truncate:
    table: TableName


Option = str | dict[str, str]


@dataclass(frozen=True, slots=True)
class CreateKeyspace:
    name: str
    options: dict[str, Option]
    if_not_exists: bool
    is_alter: bool = False


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    name: str
    type: TypeName
    is_static: bool = False


@dataclass(frozen=True, slots=True)
class CreateTable:
    table: TableName
    columns: tuple[ColumnDefinition, ...]
    partition_key: tuple[str, ...]
    clustering: tuple[str, ...]
    order: tuple[tuple[str, bool], ...]
    options: dict[str, Option]
    if_not_exists: bool
    id: str | None = None


@dataclass(frozen=True, slots=True)
class AlterTable:
    table: TableName
    added: tuple[ColumnDefinition, ...] = ()
    dropped: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    options: dict[str, Option] = field(default_factory=dict)
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class CreateType:
    name: TableName
    fields: tuple[tuple[str, TypeName], ...]
    if_not_exists: bool


@dataclass(frozen=True, slots=True)
class AlterType:
    name: TableName
    added: tuple[tuple[str, TypeName], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CreateIndex:
    name: str | None
    table: TableName
    target: str
    column: str
    custom_class: str | None
    options: dict[str, str]
    if_not_exists: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """`target` is KEYSPACE, TABLE, TYPE or INDEX."""

    target: str
    name: TableName
    if_exists: bool


@dataclass(frozen=True, slots=True)
class Describe:
    """DESCRIBE `subject` (lower case, as `keyspaces`, `table`) of the name, if one is given."""

    subject: str
    name: TableName | None


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Correct CQL that the sandbox does not do; `words` are its first two keywords in upper case."""

    words: str


SchemaStatement = CreateKeyspace | CreateTable | AlterTable | CreateType | AlterType | CreateIndex | Drop
Statement = Select | Modification | BatchText | Use | Truncate | SchemaStatement | Describe | Unsupported
