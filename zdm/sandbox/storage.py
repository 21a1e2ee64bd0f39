"""What a table holds: partitions, rows, cells, and what was deleted when.

Conflicts are settled as Cassandra settles them, cell by cell and whatever order the writes come in: the greater
timestamp wins, at equal ones a deletion, then the greater bytes. Deletions of elements, rows, ranges and partitions are
remembered with their timestamps, and nothing is ever thrown away but by TRUNCATE, so a write with an older timestamp
stays invisible behind a younger deletion.

Timestamps are microseconds, expiry times are seconds since the epoch. Nothing here knows types: keys come serialised,
together with `order`, a tuple whose comparison is that of the clustering columns.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from zdm.sandbox.murmur3 import token

NEVER: Final = -(1 << 63)
"""The timestamp of a deletion that did not happen."""

Key = tuple[bytes, ...]
Path = Any
"""Where a cell of a collection is: the serialised set element or map key, or a list's position."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value and its timestamp; `value` None is a tombstone. `ttl` is as given, in seconds."""

    value: bytes | None
    timestamp: int
    ttl: int | None = None
    expires: float | None = None

    def is_live(self, now: float, deleted: int) -> bool:
        """Whether it shows at `now`, where everything up to the timestamp `deleted` is gone."""
        if self.value is None or self.timestamp <= deleted:
            return False
        return self.expires is None or now < self.expires


def newer(old: Cell | None, new: Cell) -> Cell:
    """The one of two cells of a place that counts."""
    if old is None or new.timestamp != old.timestamp:
        return new if old is None or new.timestamp > old.timestamp else old
    if old.value is None or new.value is None:
        return old if old.value is None else new
    return new if new.value > old.value else old


@dataclass(slots=True)
class Collection:
    """A set, list or map that is not frozen: one cell per element."""

    deleted: int = NEVER
    cells: dict[Path, Cell] = field(default_factory=dict)

    def put(self, path: Path, cell: Cell) -> None:
        self.cells[path] = newer(self.cells.get(path), cell)

    def live(self, now: float, deleted: int) -> list[tuple[Path, Cell]]:
        """The elements that show, in the order of their paths."""
        deleted = max(deleted, self.deleted)
        return sorted(
            ((path, cell) for path, cell in self.cells.items() if cell.is_live(now, deleted)), key=lambda pair: pair[0]
        )


@dataclass(slots=True)
class Row:
    """The cells of one clustering key (empty for the static row). `liveness` is INSERT's mark that the row exists."""

    clustering: Key
    order: tuple[Any, ...] = ()
    deleted: int = NEVER
    liveness: Cell | None = None
    cells: dict[str, Cell] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)

    def put(self, column: str, cell: Cell) -> None:
        self.cells[column] = newer(self.cells.get(column), cell)

    def collection(self, column: str) -> Collection:
        found = self.collections.get(column)
        if found is None:
            found = self.collections[column] = Collection()
        return found

    def mark(self, cell: Cell) -> None:
        self.liveness = newer(self.liveness, cell)


@dataclass(frozen=True, slots=True)
class RangeDeletion:
    """Rows deleted by a part of their clustering key."""

    covers: Callable[[Key], bool]
    timestamp: int


@dataclass(slots=True)
class Partition:
    """The rows of one partition key, in clustering order."""

    key: Key
    place: tuple[int, bytes]
    deleted: int = NEVER
    ranges: list[RangeDeletion] = field(default_factory=list)
    static: Row = field(default_factory=lambda: Row(()))
    rows: dict[Key, Row] = field(default_factory=dict)
    ordered: list[Row] = field(default_factory=list)

    def row(self, clustering: Key, order: tuple[Any, ...]) -> Row:
        """The row of this key, made if it was not there; an empty row does not show."""
        found = self.rows.get(clustering)
        if found is None:
            found = self.rows[clustering] = Row(clustering, order)
            insort(self.ordered, found, key=lambda row: row.order)
        return found

    def deletion(self, row: Row) -> int:
        """The timestamp up to which everything in this row is deleted."""
        deleted = max(self.deleted, row.deleted)
        for deletion in self.ranges:
            if deletion.timestamp > deleted and deletion.covers(row.clustering):
                deleted = deletion.timestamp
        return deleted


def serialise_key(key: Key) -> bytes:
    """The bytes of a partition key whose token counts: the value itself, or each as `[short] n, bytes, 0`."""
    if len(key) == 1:
        return key[0]
    return b"".join(len(part).to_bytes(2, "big") + part + b"\x00" for part in key)


class Store:
    """The partitions of one table in token order."""

    def __init__(self) -> None:
        self.partitions: dict[Key, Partition] = {}
        self.places: list[tuple[int, bytes]] = []
        self._by_place: dict[tuple[int, bytes], Partition] = {}

    def get(self, key: Key) -> Partition | None:
        return self.partitions.get(key)

    def partition(self, key: Key) -> Partition:
        """The partition of this key, made if it was not there."""
        found = self.partitions.get(key)
        if found is None:
            raw = serialise_key(key)
            found = self.partitions[key] = Partition(key, (token(raw), raw))
            insort(self.places, found.place)
            self._by_place[found.place] = found
        return found

    def scan(self, start: tuple[int, bytes] | None = None) -> Iterator[Partition]:
        """All partitions in token order, from the place `start` on."""
        first = 0 if start is None else bisect_left(self.places, start)
        for place in self.places[first:]:
            yield self._by_place[place]

    def clear(self) -> None:
        self.partitions.clear()
        self.places.clear()
        self._by_place.clear()
