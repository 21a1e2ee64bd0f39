"""Which tables were written to, and how often (`metrics_max_tables`).

Labels must not grow with whatever clients write, so places are limited: as many tables as the operator wants, in the
order in which they come, and `other` for all that come later. A batch counts each of its tables once. Each place has a
plan of its own in `Plans`, made before any table has it, so that to count by table costs the data path nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from zdm.core.clusters import ORIGIN_BIT

Name = tuple[str, str]
"""Keyspace (empty where a connection has none) and table."""

OTHER: Final[Name] = ("other", "other")

_GROUPS: Final = 64
"""Sets of several tables that batches may be for; further ones are counted as OTHER."""


class TableMeter:
    """Writes that a cluster has answered without an error."""

    __slots__ = ("origin", "target")

    def __init__(self) -> None:
        self.origin: int = 0
        self.target: int = 0


class Place:
    """One table, or those of a batch; none while nobody has the place."""

    __slots__ = ("meters",)

    def __init__(self) -> None:
        self.meters: list[TableMeter] = []

    def count(self, side: int, times: int) -> None:
        """A cluster has answered so many writes well."""
        for meter in self.meters:
            if side == ORIGIN_BIT:
                meter.origin += times
            else:
                meter.target += times


class Tables:
    """What one worker has counted, or several together. With a limit of 0 nothing is."""

    __slots__ = ("_groups", "_taken", "by_name", "limit", "places")

    def __init__(self, limit: int) -> None:
        self.limit: Final = limit
        self.by_name: Final[dict[Name, TableMeter]] = {OTHER: TableMeter()} if limit else {}
        self.places: Final[list[Place]] = [Place() for _ in range(1 + limit + _GROUPS)] if limit else []
        self._taken: Final[dict[tuple[Name, ...], int]] = {}
        self._groups = 0
        if limit:
            self.places[0].meters = [self.by_name[OTHER]]

    def place(self, names: Iterable[Name]) -> int:
        """The number of the place of a write to these tables. Only where there is a limit."""
        distinct = tuple(sorted(set(names)))
        number = self._taken.get(distinct)
        return self._new_place(distinct) if number is None else number

    def _new_place(self, names: tuple[Name, ...]) -> int:
        meters: list[TableMeter] = []
        for name in names:
            meter = self._named(name)
            if meter not in meters:
                meters.append(meter)
        if len(meters) > 1:
            if self._groups == _GROUPS:
                return 0
            self._groups += 1
        elif not meters or meters[0] is self.by_name[OTHER]:
            return 0
        number = len(self._taken) + 1
        self._taken[names] = number
        self.places[number].meters = meters
        return number

    def _named(self, name: Name) -> TableMeter:
        meter = self.by_name.get(name)
        if meter is not None:
            return meter
        if len(self.by_name) > self.limit:
            return self.by_name[OTHER]
        meter = self.by_name[name] = TableMeter()
        return meter

    def counted(self, name: Name, origin: int, target: int) -> None:
        """So many were counted elsewhere."""
        meter = self.by_name.setdefault(name, TableMeter())
        meter.origin += origin
        meter.target += target

    def add(self, other: Tables) -> None:
        for name, meter in other.by_name.items():
            self.counted(name, meter.origin, meter.target)
