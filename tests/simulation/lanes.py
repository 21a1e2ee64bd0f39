"""One direction of a connection: what is written arrives later, in order, in pieces cut anywhere.

Connections know nothing of each other, so what is written to two of them at once arrives in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from tests.simulation.schedule import Schedule

Item = TypeVar("Item")
_CUTS: Final = 0.25
"""How often a piece ends somewhere within what was written."""


class Lane(Generic[Item]):
    """Carries whole things."""

    __slots__ = ("_deliver", "_is_waking", "_last", "_schedule", "_waiting", "is_cut", "not_before")

    def __init__(self, schedule: Schedule, deliver: Callable[[list[Item]], None]) -> None:
        self._schedule: Final = schedule
        self._deliver: Final = deliver
        self._waiting: list[Item] = []
        self._is_waking = False
        self._last: Callable[[], None] | None = None
        self.is_cut = False
        self.not_before = 0.0

    def write(self, items: list[Item]) -> None:
        if not self.is_cut and self._last is None:
            self._waiting += items
            self._wake()

    def end(self, last: Callable[[], None]) -> None:
        """Nothing more will be written; `last` happens when all is delivered."""
        if not self.is_cut and self._last is None:
            self._last = last
            self._wake()

    def cut(self) -> None:
        """What is under way is lost."""
        self.is_cut = True
        self._waiting = []

    def _wake(self) -> None:
        if not self._is_waking:
            self._is_waking = True
            self._schedule.after(max(self._schedule.hop(), self.not_before - self._schedule.now), self._flush)

    def _flush(self) -> None:
        self._is_waking = False
        if self.is_cut:
            return
        if self._schedule.now < self.not_before:
            self._wake()
            return
        items, self._waiting = self._waiting, []
        if items:
            self._deliver(items)
        self._finish()

    def _finish(self) -> None:
        if self._waiting:
            self._wake()
        elif self._last is not None and not self.is_cut:
            self.is_cut = True
            self._last()


class ByteLane:
    """Carries bytes. A `mark` is written with the last byte of what it stands for, and arrives with it."""

    __slots__ = ("_deliver", "_is_waking", "_last", "_marks", "_schedule", "_waiting", "_written", "is_cut")

    def __init__(self, schedule: Schedule, deliver: Callable[[bytes, list[object]], None]) -> None:
        self._schedule: Final = schedule
        self._deliver: Final = deliver
        self._waiting = b""
        self._written = 0
        self._marks: deque[tuple[int, object]] = deque()
        self._is_waking = False
        self._last: Callable[[], None] | None = None
        self.is_cut = False

    def write(self, data: bytes, mark: object = None) -> None:
        if self.is_cut or self._last is not None:
            return
        self._waiting += data
        self._written += len(data)
        if mark is not None:
            self._marks.append((self._written, mark))
        self._wake()

    def end(self, last: Callable[[], None]) -> None:
        """Nothing more will be written; `last` happens when all is delivered."""
        if not self.is_cut and self._last is None:
            self._last = last
            self._wake()

    def cut(self) -> None:
        """What is under way is lost."""
        self.is_cut = True
        self._waiting = b""

    def _wake(self) -> None:
        if not self._is_waking:
            self._is_waking = True
            self._schedule.after(self._schedule.hop(), self._flush)

    def _flush(self) -> None:
        self._is_waking = False
        if self.is_cut:
            return
        data = self._waiting
        if len(data) > 1 and self._schedule.chance(_CUTS):
            size = self._schedule.random.randrange(1, len(data))
            data, self._waiting = data[:size], data[size:]
        else:
            self._waiting = b""
        arrived = self._written - len(self._waiting)
        marks = []
        while self._marks and self._marks[0][0] <= arrived:
            marks.append(self._marks.popleft()[1])
        if data:
            self._deliver(data, marks)
        if self.is_cut:
            return
        if self._waiting:
            self._wake()
        elif self._last is not None:
            self.is_cut = True
            self._last()
