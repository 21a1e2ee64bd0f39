"""What befalls the clusters and the clients of a story, at times drawn beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zdm.core.clusters import CLUSTERS, Side

if TYPE_CHECKING:
    from tests.simulation.world import World


class Weather:
    """Cuts connections, stops hosts, makes them forget, sends clients away."""

    def __init__(self, world: World) -> None:
        self._world: Final = world
        self._schedule: Final = world.schedule
        draws = world.draws
        for side, cuts, outages in (
            (Side.ORIGIN, draws.origin_cuts, draws.origin_outages),
            (Side.TARGET, draws.target_cuts, draws.target_outages),
        ):
            for _ in range(cuts):
                self._some_time(self._cut, side)
            for _ in range(outages):
                self._some_time(self._outage, side)
        for _ in range(draws.stalls):
            self._some_time(self._stall)
        for _ in range(draws.forgets):
            self._some_time(self._forget)
        for _ in range(draws.departures):
            self._some_time(self._depart)

    def _some_time(self, what: object, *arguments: object) -> None:
        assert callable(what)
        self._schedule.after(self._schedule.between(0.05, self._world.draws.length), what, *arguments)

    def _cut(self, side: Side) -> None:
        connections = self._world.clusters[side].connections()
        if connections:
            self._schedule.tell("a connection to {} is cut", side.name)
            self._schedule.one_of(connections).break_off()

    def _outage(self, side: Side) -> None:
        hosts = self._world.clusters[side].hosts
        dying = [self._schedule.one_of(hosts)] if self._schedule.chance(0.5) else list(hosts)
        self._schedule.tell("{} of {} hosts of {} die", len(dying), len(hosts), side.name)
        back = self._schedule.between(0.02, 1.0)
        for host in dying:
            host.die()
            self._schedule.after(back, host.come_back)

    def _stall(self) -> None:
        side = Side.ORIGIN if self._schedule.chance(0.2) else Side.TARGET
        host, seconds = self._schedule.one_of(self._world.clusters[side].hosts), self._schedule.between(0.05, 4.0)
        self._schedule.tell("a host of {} stands still for {:.2f} s", side.name, seconds)
        host.stall(seconds)

    def _forget(self) -> None:
        host = self._schedule.one_of(self._world.clusters[self._schedule.one_of(CLUSTERS)].hosts)
        self._schedule.tell("a host of {} forgets its prepared statements", host.cluster.side.name)
        host.prepared.clear()
        if self._schedule.chance(0.3):
            host.forgetful_until = self._schedule.now + self._schedule.between(0.05, 0.5)

    def _depart(self) -> None:
        client = self._schedule.one_of(self._world.clients)
        client.leave()
        self._schedule.after(self._schedule.between(0.01, 0.3), client.connect)
