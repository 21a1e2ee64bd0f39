"""SELECT: which rows, in which order, how many of them in this page, and what the next page starts from.

Partitions come in token order, or in the order of the IN list; rows in clustering order. A page that is full has a
paging state even if nothing follows, as Cassandra's has. The state is the position of the last row and what is left of
the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import Final

from zdm.protocol.metadata import RowsMetadata
from zdm.protocol.primitives import Unset
from zdm.protocol.responses import Rows
from zdm.protocol.types import INT, CqlType, decode_cql
from zdm.sandbox.failures import invalid, protocol_error
from zdm.sandbox.murmur3 import token
from zdm.sandbox.restrictions import Restrictions, check_filtering, restrict
from zdm.sandbox.rows import LiveRow, live_rows, row_order
from zdm.sandbox.schema import Table
from zdm.sandbox.selection import Output, aggregated, is_aggregate, outputs
from zdm.sandbox.statements import Select, Term, TypeName
from zdm.sandbox.storage import Key, Partition, serialise_key
from zdm.sandbox.terms import Bindings, evaluate
from zdm.sandbox.values import pack_list, unpack_list

_STATE: Final = Struct(">BiiB")
_STATE_MARK: Final = 0x5A


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended; `row` None is a partition's static row. -1 stands for no limit."""

    key: Key
    row: Key | None
    remaining: int = -1
    remaining_here: int = -1

    def encode(self) -> bytes:
        head = _STATE.pack(_STATE_MARK, self.remaining, self.remaining_here, self.row is not None)
        key = pack_list(list(self.key))
        return head + len(key).to_bytes(4, "big") + key + pack_list(list(self.row or ()))

    @staticmethod
    def decode(state: bytes) -> Position:
        """The position in a client's paging state; raises PROTOCOL_ERROR for bytes that were not made here."""
        try:
            mark, remaining, here, has_row = _STATE.unpack_from(state)
            size = int.from_bytes(state[_STATE.size : _STATE.size + 4], "big")
            rest = state[_STATE.size + 4 :]
            if mark != _STATE_MARK or len(rest) < size:
                raise ValueError
            return Position(
                tuple(unpack_list(rest[:size])), tuple(unpack_list(rest[size:])) if has_row else None, remaining, here
            )
        except (error, ValueError):
            raise protocol_error("Invalid value for the paging state") from None


def select_rows(
    table: Table,
    select: Select,
    bindings: Bindings,
    page_size: int | None,
    paging_state: bytes | None,
    resolve: Callable[[TypeName], CqlType],
    check_replicas: Callable[[list[Key] | None], None],
) -> Rows:
    """The answer to a SELECT. Raises INVALID where it can't be executed as it is.

    `check_replicas` is given the partition keys, None for a scan, before a row is read, and may raise.
    """
    selected = outputs(table, select, resolve)
    found = restrict(table, select.where, bindings)
    check_filtering(table, found, select.allows_filtering)
    descends = _descends(table, select, found)
    check_replicas(found.keys)
    limit = _limit(select.limit, "LIMIT", bindings)
    partition_limit = _limit(select.partition_limit, "PER PARTITION LIMIT", bindings)
    start = Position.decode(paging_state) if paging_state is not None else None
    if is_aggregate(selected):
        rows = list(_rows(table, found, bindings.now, descends, None))
        result = [aggregated(selected, rows, bindings)]
        return Rows(metadata(selected), result)
    if start is not None:
        limit = start.remaining if start.remaining >= 0 else None
    source = _distinct if select.is_distinct else _rows
    if select.is_distinct:
        _check_distinct(table, select)
    page = _page(source(table, found, bindings.now, descends, start), limit, partition_limit, page_size, start)
    if select.order and found.keys is not None and len(found.keys) > 1:
        page.rows.sort(key=lambda row: row.row.order if row.row is not None else (), reverse=descends)
    result = [[output.read(row, bindings) for output in selected] for row in page.rows]
    state = page.end.encode() if page.end is not None else None
    return Rows(metadata(selected, state), result)


def metadata(selected: Sequence[Output], paging_state: bytes | None = None) -> RowsMetadata:
    columns = [output.spec for output in selected]
    return RowsMetadata(columns, len(columns), paging_state)


def _limit(term: Term | None, words: str, bindings: Bindings) -> int | None:
    if term is None:
        return None
    value = evaluate(term, INT, "[limit]", bindings)
    if isinstance(value, Unset):
        return None
    number = decode_cql(INT, value)
    if not isinstance(number, int):
        raise invalid(f"Invalid null value of {'limit' if words == 'LIMIT' else 'per partition limit'}")
    if number <= 0:
        raise invalid(f"{words} must be strictly positive")
    return number


def _check_distinct(table: Table, select: Select) -> None:
    for output in outputs(table, select, lambda name: INT):
        column = table.columns.get(output.spec.name)
        if column is not None and column.kind not in ("partition_key", "static"):
            raise invalid(
                "SELECT DISTINCT queries must only request partition key columns and/or static columns "
                f"(not {column.name})"
            )


def _descends(table: Table, select: Select, found: Restrictions) -> bool:
    """Whether rows are read against their order on disk. Raises INVALID for an order that is not the table's."""
    if not select.order:
        return False
    if found.keys is None:
        raise invalid("ORDER BY is only supported when the partition key is restricted by an EQ or an IN.")
    directions = set()
    clustering = table.clustering
    for index, (name, descends) in enumerate(select.order):
        column = table.column(name)
        if column not in clustering:
            raise invalid(
                f"Order by is currently only supported on the clustered columns of the PRIMARY KEY, got {name}"
            )
        if index >= len(clustering) or clustering[index] is not column:
            raise invalid(
                "Order by currently only supports the ordering of columns following their declared order "
                "in the PRIMARY KEY"
            )
        directions.add(descends != column.descends)
    if len(directions) > 1:
        raise invalid("Unsupported order by relation")
    return directions.pop()


def _partitions(table: Table, found: Restrictions, start: Position | None) -> Iterator[Partition]:
    """The partitions in question, from the one where the last page ended."""
    if found.keys is not None:
        keys = list(dict.fromkeys(found.keys))
        if start is not None and start.key in keys:
            keys = keys[keys.index(start.key) :]
        for key in keys:
            partition = table.store.get(key)
            if partition is not None and found.allows_token(partition.place[0]):
                yield partition
        return
    place = None
    if start is not None:
        raw = serialise_key(start.key)
        place = (token(raw), raw)
    for partition in table.store.scan(place):
        if found.allows_token(partition.place[0]):
            yield partition


def _rows(table: Table, found: Restrictions, now: float, descends: bool, start: Position | None) -> Iterator[LiveRow]:
    for partition in _partitions(table, found, start):
        after = start if start is not None and start.key == partition.key else None
        if after is not None and after.row is None:
            continue
        for row in live_rows(table, partition, now, descends):
            if row.row is None:
                if found.has_clustering:
                    continue
            elif not found.allows_clustering(row.row.clustering):
                continue
            elif after is not None and not _follows(table, row.row.order, after, descends):
                continue
            if found.allows(row):
                yield row


def _follows(table: Table, candidate: tuple[object, ...], after: Position, descends: bool) -> bool:
    last = row_order(table, after.row or ())
    return candidate < last if descends else candidate > last


def _distinct(
    table: Table, found: Restrictions, now: float, descends: bool, start: Position | None
) -> Iterator[LiveRow]:
    """The first row of each partition."""
    for partition in _partitions(table, found, start):
        if start is not None and start.key == partition.key:
            continue
        for row in live_rows(table, partition, now, descends):
            if found.allows(row):
                yield row
                break


@dataclass(slots=True)
class _Page:
    rows: list[LiveRow]
    end: Position | None = None


def _page(
    rows: Iterator[LiveRow],
    limit: int | None,
    partition_limit: int | None,
    page_size: int | None,
    start: Position | None,
) -> _Page:
    page = _Page([])
    partition = start.key if start is not None else None
    here = partition_limit
    if start is not None and start.remaining_here >= 0:
        here = start.remaining_here
    for row in rows:
        if row.partition.key != partition:
            partition, here = row.partition.key, partition_limit
        if here is not None:
            if here == 0:
                continue
            here -= 1
        page.rows.append(row)
        if limit is not None and len(page.rows) >= limit:
            return page
        if page_size is not None and page_size > 0 and len(page.rows) >= page_size:
            remaining = -1 if limit is None else limit - len(page.rows)
            clustering = None if row.row is None else row.row.clustering
            page.end = Position(row.partition.key, clustering, remaining, -1 if here is None else here)
            return page
    return page
