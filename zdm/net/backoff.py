"""How long to wait before a control connection is opened again (spec 7.1)."""

from __future__ import annotations

import random
from typing import Final

from zdm.net.control_link import ControlSettings


class Backoff:
    """Growing pauses between attempts, in seconds, each drawn between the shortest and the one that is due.

    While `is_probing`, each pause is the interval of probes, less up to a tenth: proxies that were told at the same
    time are not to ask at the same time for ever.
    """

    def __init__(self, settings: ControlSettings, chance: random.Random) -> None:
        self.is_probing = False
        self._settings: Final = settings
        self._chance: Final = chance
        self._due = settings.retry_min

    def reset(self) -> None:
        """Starts again with the shortest pause."""
        self._due = self._settings.retry_min

    def next(self) -> float:
        """The pause before the next attempt."""
        if self.is_probing:
            return self._settings.probe_interval * (1 - 0.1 * self._chance.random())
        due = min(max(self._due, self._settings.retry_min), self._settings.retry_max)
        self._due = due * self._settings.retry_factor
        shortest = min(self._settings.retry_min, due)
        return shortest + self._chance.random() * (due - shortest)

    def heartbeat_interval(self) -> float:
        """The pause between two signs of life of a connection that is open."""
        return self._settings.probe_interval if self.is_probing else self._settings.heartbeat_interval
