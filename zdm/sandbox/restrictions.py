"""Which rows a WHERE clause means: partition keys, clustering keys, token range, and what is left to filter.

The checks are Cassandra's: a relation that needs filtering is INVALID without ALLOW FILTERING, clustering columns are
restricted from the left, and only the last restricted one may have a range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from zdm.protocol.primitives import Unset
from zdm.protocol.types import BIGINT, CqlType, decode_cql, list_of
from zdm.sandbox.failures import invalid
from zdm.sandbox.rows import LiveRow
from zdm.sandbox.schema import CLUSTERING, Column, Table
from zdm.sandbox.statements import Marker, Relation, Term, TupleTerm
from zdm.sandbox.storage import Key
from zdm.sandbox.terms import Bindings, evaluate, known
from zdm.sandbox.type_names import is_collection
from zdm.sandbox.values import contains, order, unpack_list, unpack_map, unpack_tuple

FILTERING: Final = (
    "Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. "
    "If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING"
)
RANGES: Final = ("<", "<=", ">", ">=")
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda left, right: bool(left == right),
    "!=": lambda left, right: bool(left != right),
    "<": lambda left, right: bool(left < right),
    "<=": lambda left, right: bool(left <= right),
    ">": lambda left, right: bool(left > right),
    ">=": lambda left, right: bool(left >= right),
}
KeyTest = Callable[[Key], bool]


@dataclass(slots=True)
class Restrictions:
    """`keys` None means all partitions within `tokens`; `clusterings` None means all rows that pass `tests`."""

    keys: list[Key] | None = None
    tokens: list[tuple[str, int]] = field(default_factory=list)
    clusterings: list[Key] | None = None
    tests: list[KeyTest] = field(default_factory=list)
    filters: list[Callable[[LiveRow], bool]] = field(default_factory=list)
    has_clustering: bool = False
    needs_filtering: bool = False
    has_tuple: bool = False
    refusal: str | None = None
    """A closer reason than the general one why this is INVALID without ALLOW FILTERING."""

    def allows_token(self, token: int) -> bool:
        return all(_COMPARE[operator](token, bound) for operator, bound in self.tokens)

    def allows_clustering(self, clustering: Key) -> bool:
        return all(test(clustering) for test in self.tests)

    def allows(self, row: LiveRow) -> bool:
        return all(test(row) for test in self.filters)


def restrict(table: Table, where: Sequence[Relation], bindings: Bindings) -> Restrictions:
    """The meaning of a WHERE clause. Raises INVALID; whether filtering is allowed is for the caller to check."""
    found = Restrictions()
    by_column: dict[str, list[Relation]] = {}
    for relation in where:
        columns = [table.column(name) for name in relation.columns]
        if relation.is_token:
            _restrict_token(table, relation, bindings, found)
        elif relation.is_tuple:
            _restrict_tuple(table, columns, relation, bindings, found)
        else:
            by_column.setdefault(relation.columns[0], []).append(relation)
    for name, relations in by_column.items():
        _check_combination(name, relations)
    _restrict_partition(table, by_column, bindings, found)
    _restrict_clustering(table, by_column, bindings, found)
    for name, relations in by_column.items():
        column = table.column(name)
        if not column.is_key:
            indexed = table.indexed(name) and all(
                relation.operator in ("=", "CONTAINS", "CONTAINS KEY") for relation in relations
            )
            found.needs_filtering = found.needs_filtering or not indexed
            found.filters += [column_test(column, relation, bindings) for relation in relations]
    return found


def _check_combination(name: str, relations: list[Relation]) -> None:
    operators = [relation.operator for relation in relations if relation.key is None]
    if len(operators) > 1 and "=" in operators:
        raise invalid(f"{name} cannot be restricted by more than one relation if it includes an Equal")
    if len(operators) > 1 and "IN" in operators:
        raise invalid(f"{name} cannot be restricted by more than one relation if it includes a IN")
    for sign, words in ((">", "start"), ("<", "end")):
        if sum(operator.startswith(sign) for operator in operators) > 1:
            raise invalid(f"More than one restriction was found for the {words} bound on {name}")
    if "!=" in operators:
        raise invalid(f"Unsupported '!=' relation: {name} != ...")


def alternatives(column: Column, relation: Relation, bindings: Bindings) -> list[bytes]:
    """The values of `=` or IN, each once, in the order given."""
    if relation.operator == "=":
        return [known(relation.value, column.type, column.name, bindings)]
    if isinstance(relation.value, TupleTerm):
        return list(dict.fromkeys(known(item, column.type, column.name, bindings) for item in relation.value.items))
    packed = evaluate(relation.value, list_of(column.type), column.name, bindings)
    if not isinstance(packed, bytes):
        word = "unset" if isinstance(packed, Unset) else "null"
        raise invalid(f"Invalid {word} value for column {column.name}")
    return list(dict.fromkeys(unpack_list(packed)))


def _restrict_partition(
    table: Table, by_column: dict[str, list[Relation]], bindings: Bindings, found: Restrictions
) -> None:
    columns = table.partition_key
    restricted = [column for column in columns if column.name in by_column]
    if not restricted:
        return
    if any(relation.operator in RANGES for column in restricted for relation in by_column[column.name]) or len(
        restricted
    ) < len(columns):
        found.needs_filtering = True
        for column in restricted:
            found.filters += [column_test(column, relation, bindings) for relation in by_column[column.name]]
        return
    choices = [alternatives(column, by_column[column.name][0], bindings) for column in columns]
    found.keys = list(product(*choices))
    for key in found.keys:
        if len(key) == 1 and not key[0]:
            raise invalid("Key may not be empty")


def _restrict_clustering(
    table: Table, by_column: dict[str, list[Relation]], bindings: Bindings, found: Restrictions
) -> None:
    """Equalities from the left give keys to look up or a prefix to test, then at most one column has a range."""
    choices: list[list[bytes]] = []
    gap: Column | None = None
    ranged: Column | None = None
    columns = table.clustering
    for index, column in enumerate(columns):
        relations = by_column.get(column.name)
        if relations is None:
            gap = gap or column
            continue
        found.has_clustering = True
        if (gap or ranged) and not found.has_tuple:
            found.needs_filtering = True
            found.refusal = found.refusal or _order_refusal(column, gap, ranged)
        found.tests += [_key_test(column, index, relation, bindings) for relation in relations]
        if relations[0].operator in ("=", "IN"):
            if gap is None and ranged is None:
                choices.append(alternatives(column, relations[0], bindings))
        else:
            ranged = ranged or column
    if found.has_clustering and found.keys is None:
        found.needs_filtering = True
    if columns and len(choices) == len(columns):
        found.clusterings = list(product(*choices))


def _order_refusal(column: Column, gap: Column | None, ranged: Column | None) -> str:
    if gap is not None:
        before = f'preceding column "{gap.name}" is not restricted'
        return f'PRIMARY KEY column "{column.name}" cannot be restricted as {before}'
    return (
        f'Clustering column "{column.name}" cannot be restricted '
        f'(preceding column "{ranged.name if ranged else ""}" is restricted by a non-EQ relation)'
    )


def _key_test(column: Column, index: int, relation: Relation, bindings: Bindings) -> KeyTest:
    if relation.operator in ("=", "IN"):
        allowed = {order(column.type, value) for value in alternatives(column, relation, bindings)}
        return lambda key: order(column.type, key[index]) in allowed
    if relation.operator not in RANGES:
        return _collection_key_test(column, index, relation, bindings)
    bound = order(column.type, known(relation.value, column.type, column.name, bindings))
    compare = _COMPARE[relation.operator]
    return lambda key: compare(order(column.type, key[index]), bound)


def _collection_key_test(column: Column, index: int, relation: Relation, bindings: Bindings) -> KeyTest:
    wanted = _contained(column, relation, bindings)
    by_key = relation.operator == "CONTAINS KEY"
    return lambda key: contains(column.type, key[index], wanted, by_key)


def _restrict_token(table: Table, relation: Relation, bindings: Bindings, found: Restrictions) -> None:
    if list(relation.columns) != [column.name for column in table.partition_key]:
        names = ", ".join(column.name for column in table.partition_key)
        raise invalid(f"The token function arguments must be in the partition key order: {names}")
    value = decode_cql(BIGINT, known(relation.value, BIGINT, "partition key token", bindings))
    if not isinstance(value, int):
        raise invalid("Invalid null value in condition for column partition key token")
    found.tokens.append((relation.operator, value))


def _restrict_tuple(
    table: Table, columns: list[Column], relation: Relation, bindings: Bindings, found: Restrictions
) -> None:
    """`(a, b) > (1, 2)` and `(a, b) IN ((1, 2), (3, 4))` on clustering columns."""
    if any(column.kind != CLUSTERING for column in columns):
        raise invalid(
            f"Multi-column relations can only be applied to clustering columns but was applied to: {columns[0].name}"
        )
    if columns != table.clustering[columns[0].position : columns[0].position + len(columns)]:
        raise invalid("Clustering columns must appear in the PRIMARY KEY order in multi-column relations")
    start = columns[0].position
    found.has_clustering = found.has_tuple = True

    def orders(parts: Sequence[bytes | None]) -> list[Any]:
        return [order(column.type, part) for column, part in zip(columns, parts, strict=False)]

    if relation.operator == "IN":
        allowed = [orders(parts) for parts in _tuples(columns, relation.value, bindings)]
        found.tests.append(lambda key: orders(key[start:]) in allowed)
        return
    bound = orders(_tuple(columns, relation.value, bindings))
    compare = _COMPARE[relation.operator]
    found.tests.append(lambda key: compare(orders(key[start:])[: len(bound)], bound))


def _tuple(columns: list[Column], term: Term, bindings: Bindings) -> list[bytes | None]:
    if isinstance(term, Marker):
        packed = bindings.bound(term)
        if not isinstance(packed, bytes):
            raise invalid(f"Invalid null value in condition for columns {[column.name for column in columns]}")
        return unpack_tuple(packed)
    if not isinstance(term, TupleTerm) or len(term.items) > len(columns):
        raise invalid(f"Expected {len(columns)} elements in value tuple")
    return [known(item, column.type, column.name, bindings) for item, column in zip(term.items, columns, strict=False)]


def _tuples(columns: list[Column], term: Term, bindings: Bindings) -> list[list[bytes | None]]:
    if isinstance(term, TupleTerm):
        return [_tuple(columns, item, bindings) for item in term.items]
    packed = bindings.bound(term) if isinstance(term, Marker) else None
    if not isinstance(packed, bytes):
        raise invalid("Invalid null value for IN restriction")
    return [unpack_tuple(item) for item in unpack_list(packed)]


def _contained(column: Column, relation: Relation, bindings: Bindings) -> bytes:
    if not is_collection(column.type):
        raise invalid(f"Cannot use {relation.operator} on non-collection column {column.name}")
    types = column.type.arguments
    kind = types[0] if relation.operator == "CONTAINS KEY" else types[-1]
    return known(relation.value, kind, column.name, bindings)


def column_test(column: Column, relation: Relation, bindings: Bindings) -> Callable[[LiveRow], bool]:
    """Whether a row's value in this column fits the relation. Null fits none."""
    name = column.name
    if relation.operator in ("CONTAINS", "CONTAINS KEY"):
        wanted = _contained(column, relation, bindings)
        by_key = relation.operator == "CONTAINS KEY"
        return lambda row: contains(column.type, row.values.get(name), wanted, by_key)
    if relation.key is not None:
        return _element_test(column, relation, relation.key, bindings)
    if relation.operator == "IN":
        allowed = alternatives(column, relation, bindings)
        return lambda row: row.values.get(name) in allowed
    bound = order(column.type, known(relation.value, column.type, name, bindings))
    return _comparison(column.type, relation.operator, bound, lambda row: row.values.get(name))


def _element_test(column: Column, relation: Relation, key: Term, bindings: Bindings) -> Callable[[LiveRow], bool]:
    key_type, value_type = _element_types(column)
    wanted = known(key, key_type, column.name, bindings)
    bound = order(value_type, known(relation.value, value_type, column.name, bindings))

    def element(row: LiveRow) -> bytes | None:
        packed = row.values.get(column.name)
        return None if packed is None else dict(unpack_map(packed)).get(wanted)

    return _comparison(value_type, relation.operator, bound, element)


def _element_types(column: Column) -> tuple[CqlType, CqlType]:
    types = column.type.arguments if is_collection(column.type) else ()
    if len(types) != 2:
        raise invalid(f"Column {column.name} cannot be used as a map")
    return types[0], types[1]


def _comparison(
    kind: CqlType, operator: str, bound: object, read: Callable[[LiveRow], bytes | None]
) -> Callable[[LiveRow], bool]:
    compare = _COMPARE[operator]

    def test(row: LiveRow) -> bool:
        value = read(row)
        return value is not None and compare(order(kind, value), bound)

    return test


def check_filtering(table: Table, found: Restrictions, allows_filtering: bool) -> None:
    """Raises INVALID where rows would have to be filtered and ALLOW FILTERING is not there."""
    if not found.needs_filtering or allows_filtering:
        return
    raise invalid(found.refusal or FILTERING)
