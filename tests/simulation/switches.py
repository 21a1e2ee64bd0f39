"""The operator of a story: switches target off and on while everything is under way.

A new generation reaches all sessions in one turn, as it does those of one worker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zdm.core.clusters import Side
from zdm.core.target_mode import TargetMode

if TYPE_CHECKING:
    from tests.simulation.world import World

_GAPS: Final = ((0.0005, 0.01), (0.01, 0.1), (0.1, 0.6))
"""Seconds between one switch and the next: within what is under way, within the drain, after it."""

_BEFORE: Final = (0.0, 0.015)
_IS_SICK: Final = 0.3
_SICKNESS: Final = (0.02, 0.8)
_IS_CUT_OFF: Final = 0.2
_CUT_OFF: Final = (0.0, 0.008)
_SENT: Final = ("use", "use", "prepare", "execute", "batch", "select", "execute_select")


class Operator:
    """Switches as often as was drawn; in the end target is as was drawn."""

    def __init__(self, world: World) -> None:
        self._world: Final = world
        self._generation = 1
        schedule, moment = world.schedule, 0.0
        for _ in range(world.draws.switches):
            moment += schedule.between(*schedule.one_of(_GAPS))
            if moment < world.draws.length:
                schedule.after(moment, self._switch_over)
                schedule.after(max(0.0, moment - schedule.between(*_BEFORE)), self._send_something)

    def _send_something(self) -> None:
        """So that it is under way when target is switched; perhaps because target stands still."""
        schedule = self._world.schedule
        if schedule.chance(_IS_SICK):
            for host in self._world.clusters[Side.TARGET].hosts:
                host.stall(schedule.between(*_SICKNESS))
        for _ in range(2):
            schedule.one_of(self._world.clients).send_one(schedule.one_of(_SENT))

    def finish(self) -> None:
        """The last switch."""
        self.switch(self._world.draws.ends_on)

    def _switch_over(self) -> None:
        self.switch(not self._world.shared.snapshot.target_enabled)
        if self._world.schedule.chance(_IS_CUT_OFF):
            self._world.schedule.after(self._world.schedule.between(*_CUT_OFF), self._cut_off)

    def _cut_off(self) -> None:
        """Target's connections break, so soon after a switch that what was under way then still is."""
        self._world.schedule.tell("TARGET is cut off")
        for connection in self._world.clusters[Side.TARGET].connections():
            connection.break_off()

    def switch(self, is_on: bool) -> None:
        world = self._world
        if is_on is world.shared.snapshot.target_enabled:
            return
        self._generation += 1
        world.schedule.tell("TARGET is switched {}", "on" if is_on else "off")
        world.ledger.count("switched on" if is_on else "switched off")
        world.watch.is_switched(is_on)
        snapshot = world.snapshot(self._generation, TargetMode.DUAL if is_on else TargetMode.ORIGIN_ONLY)
        world.shared.replace(snapshot)
        for shell in list(world.shells):
            shell.apply(snapshot)
