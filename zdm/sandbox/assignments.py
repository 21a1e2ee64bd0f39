"""The changes of SET, VALUES and DELETE's columns: whole values, elements of collections, counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from zdm.protocol.primitives import Unset
from zdm.protocol.types import BIGINT, INT, CqlType, decode_cql, encode_cql, set_of
from zdm.sandbox.failures import invalid
from zdm.sandbox.rows import elements_of
from zdm.sandbox.schema import Column, Table
from zdm.sandbox.statements import Assignment, Term
from zdm.sandbox.storage import Cell, Row
from zdm.sandbox.terms import Bindings, evaluate, known
from zdm.sandbox.type_names import is_list, is_map, is_set
from zdm.sandbox.values import unpack_list, unpack_map

Stamped = Callable[[bytes | None], Cell]
_positions: Final = count(1)
"""Where elements of lists go: appended ones count up, prepended ones down from zero."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one column; `apply` gets the row and the timestamp up to which it is deleted."""

    column: Column
    apply: Callable[[Row, int], None]


def assign(table: Table, column: Column, assignment: Assignment, bindings: Bindings, cell: Stamped) -> Change | None:
    """The change of one assignment, None where its value is unset. Raises INVALID where the type does not allow it."""
    if column.type_text == "counter":
        return _count(column, assignment, bindings, cell)
    if table.is_counter:
        raise invalid("Cannot mix counter and non counter columns in the same table")
    if assignment.operator == "[]":
        return _element(column, assignment, bindings, cell)
    if assignment.operator == "=":
        return _whole(column, assignment.value, bindings, cell)
    if not column.is_multicell:
        what = "frozen collection" if column.type.arguments else "non-collection"
        if what == "non-collection" and assignment.operator in "+-":
            raise invalid(
                f"Invalid operation ({column.name} = {column.name} {assignment.operator} ...) "
                f"for non counter column {column.name}"
            )
        raise invalid(
            f"Invalid operation ({column.name} = {column.name} {assignment.operator} ...) "
            f"for {what} column {column.name}"
        )
    return _add_or_remove(column, assignment, bindings, cell)


def _count(column: Column, assignment: Assignment, bindings: Bindings, cell: Stamped) -> Change | None:
    if assignment.operator not in ("+", "-"):
        raise invalid(
            f"Cannot set the value of counter column {column.name} "
            "(counters can only be incremented/decremented, not set)"
        )
    value = evaluate(assignment.value, BIGINT, column.name, bindings)
    if isinstance(value, Unset):
        return None
    step = decode_cql(BIGINT, value)
    if not isinstance(step, int):
        raise invalid("Invalid null value for counter increment")
    step = step if assignment.operator == "+" else -step

    def apply(row: Row, deleted: int) -> None:
        old = row.cells.get(column.name)
        is_live = old is not None and old.is_live(bindings.now, deleted)
        total = decode_cql(BIGINT, old.value) if old is not None and is_live else 0
        assert isinstance(total, int)
        wrapped = (total + step + 2**63) % 2**64 - 2**63
        new = cell(encode_cql(BIGINT, wrapped))
        row.cells[column.name] = Cell(
            new.value, max(new.timestamp, old.timestamp if old is not None else new.timestamp)
        )

    return Change(column, apply)


def _whole(column: Column, term: Term, bindings: Bindings, cell: Stamped) -> Change | None:
    value = evaluate(term, column.type, column.name, bindings)
    if isinstance(value, Unset):
        return None
    if not column.is_multicell:
        return Change(column, lambda row, deleted: row.put(column.name, cell(value)))

    def apply(row: Row, deleted: int) -> None:
        collection = row.collection(column.name)
        # One less, so that the new which have the statement's timestamp, are not deleted with the old ones.
        collection.deleted = max(collection.deleted, cell(None).timestamp - 1)
        for path, item in _cells(column.type, value or b"\x00\x00\x00\x00"):
            collection.put(path, cell(item))

    return Change(column, apply)


def _cells(kind: CqlType, packed: bytes) -> list[tuple[object, bytes]]:
    """A collection's elements as paths and values."""
    if is_map(kind):
        return list(unpack_map(packed))
    if is_set(kind):
        return [(item, b"") for item in unpack_list(packed)]
    return [(next(_positions), item) for item in unpack_list(packed)]


def _element(column: Column, assignment: Assignment, bindings: Bindings, cell: Stamped) -> Change | None:
    """`m[key] = value` and `l[index] = value`."""
    if not column.is_multicell or assignment.key is None or is_set(column.type):
        raise invalid(
            f"Invalid operation ({column.name}[...] = ...) for column {column.name} of type {column.type_text}"
        )
    value = evaluate(assignment.value, column.type.arguments[-1], column.name, bindings)
    if isinstance(value, Unset):
        return None
    if is_list(column.type):
        index = _index(assignment.key, column, bindings)
        return Change(
            column,
            lambda row, deleted: row.collection(column.name).put(
                _path(column, row, index, bindings, deleted), cell(value)
            ),
        )
    key = known(assignment.key, column.type.arguments[0], column.name, bindings)
    return Change(column, lambda row, deleted: row.collection(column.name).put(key, cell(value)))


def _index(term: Term, column: Column, bindings: Bindings) -> int:
    index = decode_cql(INT, known(term, INT, column.name, bindings))
    assert isinstance(index, int)
    return index


def _path(column: Column, row: Row, index: int, bindings: Bindings, deleted: int) -> object:
    """Where the element with this index is now; raises INVALID if the list is shorter."""
    found = elements_of(column, row, bindings.now, deleted)
    if not found:
        raise invalid("Attempted to set an element on a list which is null")
    if not 0 <= index < len(found):
        raise invalid(f"List index {index} out of bound, list has size {len(found)}")
    return found[index][0]


def _add_or_remove(column: Column, assignment: Assignment, bindings: Bindings, cell: Stamped) -> Change | None:
    kind = column.type
    removes = assignment.operator == "-"
    if assignment.operator == "prepend" and not is_list(kind):
        raise invalid(f"Invalid operation ({column.name} = ... + {column.name}) for non list column {column.name}")
    wanted = set_of(kind.arguments[0]) if removes and is_map(kind) else kind
    packed = evaluate(assignment.value, wanted, column.name, bindings)
    if isinstance(packed, Unset):
        return None
    if packed is None:
        raise invalid(f"Invalid null value for column {column.name} of type {kind}")
    if removes:
        return _remove_items(column, unpack_list(packed), bindings, cell)

    def apply(row: Row, deleted: int) -> None:
        cells = _cells(kind, packed)
        if assignment.operator == "prepend":
            cells = [(-next(_positions), item) for _, item in reversed(cells)]
        for path, item in cells:
            row.collection(column.name).put(path, cell(item))

    return Change(column, apply)


def _remove_items(column: Column, items: list[bytes], bindings: Bindings, cell: Stamped) -> Change:
    def apply(row: Row, deleted: int) -> None:
        collection = row.collection(column.name)
        if is_list(column.type):
            for path, old in elements_of(column, row, bindings.now, deleted):
                if old.value in items:
                    collection.put(path, cell(None))
            return
        for item in items:
            collection.put(item, cell(None))

    return Change(column, apply)


def remove(column: Column, key: Term | None, bindings: Bindings, timestamp: int) -> Change:
    """DELETE column, or column[key]."""
    tombstone = Cell(None, timestamp)
    if key is None:
        if not column.is_multicell:
            return Change(column, lambda row, deleted: row.put(column.name, tombstone))

        def forget(row: Row, deleted: int) -> None:
            collection = row.collection(column.name)
            collection.deleted = max(collection.deleted, timestamp)

        return Change(column, forget)
    if not column.is_multicell:
        raise invalid(f"Invalid deletion operation for non collection column {column.name}")
    if is_list(column.type):
        index = _index(key, column, bindings)
        return Change(
            column,
            lambda row, deleted: row.collection(column.name).put(
                _path(column, row, index, bindings, deleted), tombstone
            ),
        )
    path = known(key, column.type.arguments[0], column.name, bindings)
    return Change(column, lambda row, deleted: row.collection(column.name).put(path, tombstone))
