"""What of a stored row shows at a moment: deletions, timestamps and expiry applied, collections put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from zdm.sandbox.schema import STATIC, Column, Table
from zdm.sandbox.storage import NEVER, Cell, Key, Partition, Row
from zdm.sandbox.type_names import is_list
from zdm.sandbox.values import Descending, collect, order


@dataclass(slots=True)
class LiveRow:
    """A row as a SELECT sees it: serialised values by column (null ones are missing), and the cells behind them."""

    partition: Partition
    row: Row | None
    """None where only static columns have values."""
    values: dict[str, bytes] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)


def elements_of(column: Column, row: Row, now: float, deleted: int) -> list[tuple[object, Cell]]:
    """The elements of a collection that show, in the order of the type."""
    collection = row.collections.get(column.name)
    if collection is None:
        return []
    found = collection.live(now, deleted)
    if not is_list(column.type):
        kind = column.type.arguments[0]
        found.sort(key=lambda pair: order(kind, pair[0]))
    return found


def _read(column: Column, row: Row, now: float, deleted: int, into: LiveRow) -> bool:
    """Puts the column's value into the row; False if it has none."""
    if column.is_multicell:
        found = elements_of(column, row, now, deleted)
        pairs = [(b"" if is_list(column.type) else path, cell.value or b"") for path, cell in found]
        value = collect(column.type, pairs)  # type: ignore[arg-type]  # paths of sets and maps are bytes
        if value is not None:
            into.values[column.name] = value
        return value is not None
    cell = row.cells.get(column.name)
    if cell is None or not cell.is_live(now, deleted) or cell.value is None:
        return False
    into.values[column.name] = cell.value
    into.cells[column.name] = cell
    return True


def live_row(table: Table, partition: Partition, row: Row | None, now: float) -> LiveRow | None:
    """The row if it exists at `now`; with `row` None, the partition's static columns alone, if one has a value."""
    found = LiveRow(partition, row)
    exists = False
    deleted = NEVER if row is None else partition.deletion(row)
    if row is not None:
        exists = row.liveness is not None and row.liveness.is_live(now, deleted)
        found.values.update(zip((column.name for column in table.clustering), row.clustering, strict=True))
    found.values.update(zip((column.name for column in table.partition_key), partition.key, strict=True))
    for column in table.columns.values():
        if column.is_key:
            continue
        if column.kind == STATIC:
            shows = _read(column, partition.static, now, partition.deleted, found)
            exists = exists or (shows and row is None)
        elif row is not None:
            exists = _read(column, row, now, deleted, found) or exists
    return found if exists else None


def live_rows(table: Table, partition: Partition, now: float, descends: bool = False) -> Iterator[LiveRow]:
    """The partition's rows in clustering order; the static row alone if there is no other."""
    is_empty = True
    for row in reversed(partition.ordered) if descends else list(partition.ordered):
        found = live_row(table, partition, row, now)
        if found is not None:
            is_empty = False
            yield found
    if is_empty and table.has_statics:
        alone = live_row(table, partition, None, now)
        if alone is not None:
            yield alone


def row_order(table: Table, clustering: Key) -> tuple[object, ...]:
    """What the rows of a partition are sorted by."""
    keys = []
    for column, value in zip(table.clustering, clustering, strict=False):
        key = order(column.type, value)
        keys.append(Descending(key) if column.descends else key)
    return tuple(keys)
