"""Bind markers: the column that each one stands for, as PREPARE tells it, and values put in their order.

Names and types follow Cassandra: a marker in VALUES or `=` has its column's name, the others names such as `in(k)`,
`key(m)`, `[limit]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zdm.protocol.metadata import BindMetadata, ColumnSpec
from zdm.protocol.primitives import Value
from zdm.protocol.types import BIGINT, INT, CqlType, list_of, set_of, tuple_of
from zdm.sandbox.failures import invalid
from zdm.sandbox.functions import argument_type, choose
from zdm.sandbox.schema import Column, Schema, Table
from zdm.sandbox.statements import (
    Assignment,
    BatchText,
    CallTerm,
    Delete,
    FieldsTerm,
    FieldTerm,
    HintTerm,
    Insert,
    ListTerm,
    MapTerm,
    Marker,
    Modification,
    Relation,
    Select,
    SetTerm,
    Statement,
    Term,
    TupleTerm,
    TypeName,
    Update,
)
from zdm.sandbox.type_names import is_collection, is_list, is_map

Resolve = Callable[[TypeName], CqlType]


class MarkerColumns:
    """Collects what the markers of one statement stand for."""

    def __init__(self, table: Table, resolve: Resolve) -> None:
        self.table = table
        self.resolve = resolve
        self.found: dict[int, ColumnSpec] = {}
        self.names: dict[int, str] = {}

    def spec(self, name: str, kind: CqlType) -> ColumnSpec:
        return ColumnSpec(self.table.keyspace, self.table.name, name, kind)

    def visit(self, term: Term | None, name: str, kind: CqlType) -> None:
        """Finds the markers in a term that is to become a value of this name and type."""
        if isinstance(term, Marker):
            self.found[term.index] = self.spec(term.name or name, kind)
        elif isinstance(term, HintTerm):
            self.visit(term.term, name, self.resolve(term.type))
        elif isinstance(term, CallTerm):
            self._visit_call(term)
        elif isinstance(term, ListTerm | SetTerm | MapTerm | TupleTerm | FieldsTerm):
            self._visit_parts(term, name, kind)

    def _visit_call(self, term: CallTerm) -> None:
        if not term.arguments:
            return
        function = choose(term.name, [argument_type(argument) for argument in term.arguments], None)
        for index, (argument, kind) in enumerate(zip(term.arguments, function.arguments, strict=True)):
            self.visit(argument, f"arg{index}(system.{function.name})", kind)

    def _visit_parts(
        self, term: ListTerm | SetTerm | MapTerm | TupleTerm | FieldsTerm, name: str, kind: CqlType
    ) -> None:
        types, known = kind.arguments, len(self.found)
        if isinstance(term, MapTerm) and len(types) == 2:
            for key, value in term.pairs:
                self.visit(key, f"key({name})", types[0])
                self.visit(value, f"value({name})", types[1])
        elif isinstance(term, ListTerm | SetTerm) and len(types) == 1:
            for item in term.items:
                self.visit(item, f"value({name})", types[0])
        elif isinstance(term, TupleTerm):
            for index, (item, inner) in enumerate(zip(term.items, types, strict=False)):
                self.visit(item, f"{name}[{index}]", inner)
        elif isinstance(term, FieldsTerm):
            inner_types = dict(zip(kind.field_names, types, strict=True))
            for field, item in term.fields:
                if field in inner_types:
                    self.visit(item, f"{name}.{field}", inner_types[field])
        if isinstance(term, ListTerm | SetTerm | MapTerm) and len(self.found) > known:
            literal = type(term).__name__.removesuffix("Term").lower()
            raise invalid(
                f"Invalid {literal} literal for {name}: bind variables are not supported inside collection literals"
            )

    def visit_relation(self, relation: Relation) -> None:
        columns = [self.table.column(name) for name in relation.columns]
        if relation.is_token:
            self.visit(relation.value, "partition key token", BIGINT)
        elif relation.is_tuple:
            self._visit_tuple(columns, relation)
        elif relation.operator == "IN":
            column = columns[0]
            self._visit_alternatives(relation.value, f"in({column.name})", column.name, column.type)
        elif relation.operator.startswith("CONTAINS") and is_collection(columns[0].type):
            is_key = relation.operator == "CONTAINS KEY"
            label = f"{'key' if is_key else 'value'}({columns[0].name})"
            self.visit(relation.value, label, columns[0].type.arguments[0 if is_key else -1])
        elif relation.key is not None and columns[0].type.arguments:
            self._visit_element(columns[0], relation.key, relation.value)
        else:
            self.visit(relation.value, columns[0].name, columns[0].type)

    def _visit_alternatives(self, term: Term, label: str, name: str, kind: CqlType) -> None:
        if isinstance(term, TupleTerm):
            for item in term.items:
                self.visit(item, name, kind)
        else:
            self.visit(term, label, list_of(kind))

    def _visit_tuple(self, columns: list[Column], relation: Relation) -> None:
        kind = tuple_of(*(column.type for column in columns))
        label = "(" + ",".join(column.name for column in columns) + ")"
        if relation.operator == "IN" and isinstance(relation.value, Marker):
            self.visit(relation.value, f"in{label}", list_of(kind))
            return
        alternatives = (
            relation.value.items
            if relation.operator == "IN" and isinstance(relation.value, TupleTerm)
            else (relation.value,)
        )
        for alternative in alternatives:
            if isinstance(alternative, TupleTerm):
                for item, column in zip(alternative.items, columns, strict=False):
                    self.visit(item, column.name, column.type)
            else:
                self.visit(alternative, label, kind)

    def _visit_element(self, column: Column, key: Term, value: Term | None) -> None:
        types = column.type.arguments
        if is_list(column.type):
            self.visit(key, f"idx({column.name})", INT)
        else:
            self.visit(key, f"key({column.name})", types[0])
        self.visit(value, f"value({column.name})", types[-1])

    def visit_assignment(self, assignment: Assignment) -> None:
        column = self.table.column(assignment.column)
        kind = BIGINT if column.type_text == "counter" else column.type
        if assignment.operator == "[]" and assignment.key is not None and kind.arguments:
            self._visit_element(column, assignment.key, assignment.value)
        elif assignment.operator == "-" and is_map(kind):
            self.visit(assignment.value, column.name, set_of(kind.arguments[0]))
        else:
            self.visit(assignment.value, column.name, column.type)

    def visit_statement(self, statement: Select | Modification) -> None:
        if isinstance(statement, Select):
            for selector in statement.selectors:
                self._visit_selector(selector.term)
            self._visit_relations(statement.where)
            self.visit(statement.partition_limit, "[per_partition_limit]", INT)
            self.visit(statement.limit, "[limit]", INT)
            return
        if isinstance(statement, Insert):
            for name, term in zip(statement.columns, statement.values, strict=False):
                column = self.table.column(name)
                self.visit(term, name, column.type)
            self.visit(statement.ttl, "[ttl]", INT)
        elif isinstance(statement, Update):
            self.visit(statement.ttl, "[ttl]", INT)
            for assignment in statement.assignments:
                self.visit_assignment(assignment)
            self._visit_relations(statement.where + statement.conditions)
        else:
            for name, key in statement.columns:
                if key is not None:
                    self._visit_element(self.table.column(name), key, None)
            self._visit_relations(statement.where + statement.conditions)
        self.visit(statement.timestamp, "[timestamp]", BIGINT)

    def _visit_relations(self, relations: Sequence[Relation]) -> None:
        for relation in relations:
            self.visit_relation(relation)

    def _visit_selector(self, term: Term) -> None:
        if isinstance(term, CallTerm) and any(isinstance(argument, Marker) for argument in term.arguments):
            self._visit_call(term)
        elif isinstance(term, HintTerm):
            self.visit(term, "constant", self.resolve(term.type))
        elif isinstance(term, FieldTerm) and term.key is not None:
            column = self.table.column(term.column)
            if is_collection(column.type):
                self.visit(term.key, f"key({column.name})", column.type.arguments[0])


def marker_columns(
    statement: Statement, schema: Schema, current: str | None, resolve: Resolve
) -> dict[int, ColumnSpec]:
    """By marker index, the column it stands for."""
    if isinstance(statement, BatchText):
        found: dict[int, ColumnSpec] = {}
        for child in statement.children:
            found.update(marker_columns(child, schema, current, resolve))
        if isinstance(statement.timestamp, Marker):
            spec = next(iter(found.values()))
            found[statement.timestamp.index] = ColumnSpec(spec.keyspace, spec.table, "[timestamp]", BIGINT)
        return found
    if not isinstance(statement, Select | Insert | Update | Delete):
        return {}
    columns = MarkerColumns(schema.table(statement.table, current), resolve)
    columns.visit_statement(statement)
    return columns.found


def bind_metadata(
    statement: Statement, count: int, schema: Schema, current: str | None, resolve: Resolve
) -> BindMetadata:
    """What PREPARE answers about the markers, with the indexes of those that are the partition key."""
    found = marker_columns(statement, schema, current, resolve)
    if len(found) != count:
        raise invalid("Invalid bind marker: its type cannot be inferred here")
    columns = [found[index] for index in range(count)]
    indexes = [] if isinstance(statement, BatchText) else _pk_indexes(statement, schema, current)
    return BindMetadata(columns, indexes, len({(column.keyspace, column.table) for column in columns}) <= 1)


def _pk_indexes(statement: Statement, schema: Schema, current: str | None) -> list[int]:
    if not isinstance(statement, Select | Insert | Update | Delete):
        return []
    terms: dict[str, Term] = {}
    if isinstance(statement, Insert):
        terms = dict(zip(statement.columns, statement.values, strict=False))
    else:
        for relation in statement.where:
            if relation.operator == "=" and not relation.is_token and not relation.is_tuple:
                terms[relation.columns[0]] = relation.value
    indexes = []
    for column in schema.table(statement.table, current).partition_key:
        term = terms.get(column.name)
        if not isinstance(term, Marker):
            return []
        indexes.append(term.index)
    return indexes


def arrange(values: Sequence[Value], names: Sequence[str] | None, columns: Sequence[ColumnSpec]) -> list[Value]:
    """The values in the order of the markers; named ones may come in any order. Raises INVALID unless they match."""
    if names is not None:
        given = dict(zip(names, values, strict=True))
        values = [given[column.name] for column in columns if column.name in given]
    if len(values) != len(columns):
        raise invalid(f"there were {len(columns)} markers(?) in CQL but {len(values)} bound variables")
    return list(values)
