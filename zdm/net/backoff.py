"""How long to wait before something is tried again: to open a control connection (spec 7.1), to start a worker."""

from __future__ import annotations

import random
from typing import Final

from zdm.net.control_link import ControlSettings


class Pauses:
    """Growing pauses between attempts, in seconds, each drawn between the shortest and the one that is due."""

    def __init__(self, shortest: float, longest: float, factor: float, chance: random.Random) -> None:
        self._shortest: Final = shortest
        self._longest: Final = longest
        self._factor: Final = factor
        self._chance: Final = chance
        self._due = shortest

    def reset(self) -> None:
        """Starts again with the shortest pause."""
        self._due = self._shortest

    def next(self) -> float:
        """The pause before the next attempt."""
        due = min(max(self._due, self._shortest), self._longest)
        self._due = due * self._factor
        shortest = min(self._shortest, due)
        return shortest + self._chance.random() * (due - shortest)


class Backoff:
    """The pauses of a control connection.

    While `is_probing`, each pause is the interval of probes, less up to a tenth: proxies that were told at the same
    time are not to ask at the same time for ever.
    """

    def __init__(self, settings: ControlSettings, chance: random.Random) -> None:
        self.is_probing = False
        self._settings: Final = settings
        self._chance: Final = chance
        self._pauses: Final = Pauses(settings.retry_min, settings.retry_max, settings.retry_factor, chance)

    def reset(self) -> None:
        """Starts again with the shortest pause."""
        self._pauses.reset()

    def next(self) -> float:
        """The pause before the next attempt."""
        if self.is_probing:
            return self._settings.probe_interval * (1 - 0.1 * self._chance.random())
        return self._pauses.next()

    def heartbeat_interval(self) -> float:
        """The pause between two signs of life of a connection that is open."""
        return self._settings.probe_interval if self.is_probing else self._settings.heartbeat_interval
