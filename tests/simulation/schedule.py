"""Virtual time, and chance.

Whatever happens in a simulation happens at a time of this schedule, and whatever is drawn is drawn from its one source
of chance. So a seed is a whole story, the same each time it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, TypeVar

Choice = TypeVar("Choice")

START: Final = 1000.0
"""Seconds on the sessions' clock when a story begins."""


class Violation(AssertionError):
    """Something happened that must never happen."""


class Event:
    """Something that is to happen, unless it is called off."""

    __slots__ = ("arguments", "what")

    def __init__(self, what: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.what: Callable[..., None] | None = what
        self.arguments = arguments

    def call_off(self) -> None:
        self.what = None


class Schedule:
    """What is to happen, in order of time. `told` is the transcript; None where nobody wants one."""

    __slots__ = ("_order", "_upcoming", "now", "random", "steps", "told")

    def __init__(self, seed: int, is_told: bool) -> None:
        self.now = START
        self.random: Final = Random(seed)
        self.steps = 0
        self.told: list[str] | None = [] if is_told else None
        self._order = 0
        self._upcoming: list[tuple[float, int, Event]] = []

    def after(self, delay: float, what: Callable[..., None], *arguments: Any) -> Event:
        """`what` happens in `delay` seconds."""
        event = Event(what, arguments)
        self._order += 1
        heappush(self._upcoming, (self.now + delay, self._order, event))
        return event

    def run(self, until: float) -> None:
        """Everything up to that time happens."""
        upcoming = self._upcoming
        while upcoming and upcoming[0][0] <= until:
            self.now, _, event = heappop(upcoming)
            if event.what is not None:
                self.steps += 1
                event.what(*event.arguments)
        self.now = until

    def tell(self, line: str, *parts: object) -> None:
        """A line of the transcript; `parts` are formatted into it only where there is one."""
        if self.told is not None:
            self.told.append(f"{self.now - START:9.4f}  {line.format(*parts)}")

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return probability > 0 and self.random.random() < probability

    def between(self, least: float, most: float) -> float:
        """Any number between two."""
        return least + (most - least) * self.random.random()

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        """Any of them."""
        return choices[int(self.random.random() * len(choices))]

    def hop(self) -> float:
        """How long something is under way between two machines, in seconds: mostly next to nothing."""
        return 0.0002 + 0.012 * self.random.random() ** 6
