"""A whole simulation: a proxy, two model clusters and some clients, and the story that a seed makes of them."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests import frames
from tests.simulation.client import ModelClient
from tests.simulation.draws import APPLICATION, ORIGIN_USER, STRANGER, TARGET_USER, Draws, draw
from tests.simulation.ledger import Ledger
from tests.simulation.nodes import ModelCluster
from tests.simulation.schedule import START, Schedule
from tests.simulation.shell import Shell
from tests.simulation.switches import Operator
from tests.simulation.watch import Watch
from tests.simulation.weather import Weather
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.prepared import PreparedCache
from zdm.core.snapshot import ClusterFacts, Shared, Snapshot
from zdm.core.target_mode import TargetMode
from zdm.metrics import Meter

_QUIET: Final = 13.0
"""Seconds after which nothing can be under way any more: longer than any timeout, and any pause between attempts."""

_PROBES: Final = 2
_SUPPORTED: Final = {"CQL_VERSION": ["3.4.6"], "PROTOCOL_VERSIONS": ["3/v3", "4/v4"]}
_LINES: Final = 100


class World:
    """All parts of one simulation."""

    def __init__(self, seed: int, is_told: bool = False) -> None:
        self.schedule: Final = Schedule(seed, is_told)
        self.draws: Final[Draws] = draw(self.schedule.random)
        draws = self.draws
        self.schedule.tell("{}", draws)
        self.ledger: Final = Ledger(self.schedule, draws)
        self.watch: Final = Watch(self)
        self.shells: Final[dict[Shell, None]] = {}
        self.logins: Final[dict[Credentials, None]] = {}
        """Those that target has accepted before."""
        of_target = b"T" if draws.target_ids_differ else b"O"
        target_salts = [of_target, b"U" if draws.target_hosts_differ else of_target, of_target]
        parts = self.schedule, self.ledger
        origin_users = [ORIGIN_USER] if draws.origin_asks else None
        target_users = [TARGET_USER, APPLICATION] if draws.target_asks else None
        self.clusters: Final = {
            Side.ORIGIN: ModelCluster(Side.ORIGIN, parts, [b"O"] * draws.hosts[0], origin_users, draws.origin),
            Side.TARGET: ModelCluster(Side.TARGET, parts, target_salts[: draws.hosts[1]], target_users, draws.target),
        }
        mode = TargetMode.DUAL if draws.starts_on else TargetMode.ORIGIN_ONLY
        self.shared: Final = Shared(self.snapshot(1, mode), Meter(), PreparedCache(draws.statements_kept))
        self.clients: Final = [ModelClient(self, f"c{n}", self._credentials(n)) for n in range(draws.clients)]
        self.strangers: Final = [ModelClient(self, f"s{n}", self._not_targets(n)) for n in range(draws.strangers)]

    def _credentials(self, number: int) -> Credentials:
        """What a client logs in with: what target takes where it asks, else what origin does."""
        if not self.draws.target_asks:
            return ORIGIN_USER
        return APPLICATION if number % 2 else TARGET_USER

    def _not_targets(self, number: int) -> Credentials:
        """What a stranger tries: a password that is wrong everywhere, or one that origin alone would take."""
        return ORIGIN_USER if number % 2 and self.draws.origin_asks else STRANGER

    def snapshot(self, generation: int, mode: TargetMode) -> Snapshot:
        """One generation of what sessions know."""
        return Snapshot(
            generation,
            self.draws.settings,
            ClusterFacts(auth_required=self.draws.origin_asks, credentials=ORIGIN_USER),
            ClusterFacts(auth_required=self.draws.target_asks, credentials=TARGET_USER),
            _SUPPORTED,
            mode=mode,
        )

    def play(self) -> None:
        """The whole story; raises Violation where something happens that must not."""
        schedule, draws = self.schedule, self.draws
        everybody = self.clients + self.strangers
        for client in everybody:
            client.is_busy = True
            schedule.after(schedule.between(0.0, 0.2), client.connect)
            schedule.after(schedule.between(0.0, 0.2), client.go_on)
        Weather(self)
        operator = Operator(self)
        schedule.run(START + draws.length)
        operator.finish()
        self._calm_down()
        self.watch.all_are_attached()
        for client in self.clients:
            client.connect()
            client.acknowledged.clear()
        schedule.run(schedule.now + 1.0)
        for _ in range(_PROBES):
            for client in self.clients:
                client.probe()
            schedule.run(schedule.now + 1.0)
        schedule.run(schedule.now + draws.settings.schema_timeout + 1.0)
        self.watch.all_is_well(_PROBES)

    def _calm_down(self) -> None:
        schedule = self.schedule
        schedule.tell("from here on all is calm")
        for cluster in self.clusters.values():
            cluster.calm_down()
        for client in self.clients + self.strangers:
            client.is_busy = False
        schedule.run(schedule.now + _QUIET)
        for client in self.strangers:
            client.leave()


@dataclass(frozen=True)
class Failure:
    """A seed whose story must not be."""

    seed: int
    reason: str
    transcript: str

    def __str__(self) -> str:
        again = f"make simulate SEEDS=1 FROM={self.seed}"
        return f"seed {self.seed}: {self.reason}\n{self.transcript}\n(again: {again})"


def simulate(seed: int, counts: dict[str, int] | None = None) -> Failure | None:
    """Play the story of a seed; what is wrong with it, or nothing. `counts` is added to."""
    with _spoken(seed):
        world = World(seed)
        try:
            world.play()
        except Exception:
            return _told(seed)
    if counts is not None:
        for what, number in world.ledger.counts.items():
            counts[what] = counts.get(what, 0) + number
    return None


@contextmanager
def _spoken(seed: int) -> Iterator[None]:
    """Every third story is told in v5. Not drawn, so that the others stay what they are."""
    before, frames.Spoken.version = frames.Spoken.version, 5 if seed % 3 == 0 else 4
    try:
        yield
    finally:
        frames.Spoken.version = before


def _told(seed: int) -> Failure:
    """The same story again, with a transcript."""
    world = World(seed, is_told=True)
    try:
        world.play()
    except Exception as fault:
        lines = world.schedule.told or []
        reason = f"{type(fault).__name__}: {fault}"
        if not isinstance(fault, AssertionError):
            reason += "\n" + traceback.format_exc(limit=-6)
        return Failure(seed, reason, "\n".join((lines[0], *lines[-_LINES:])))
    return Failure(seed, "it failed once, and not when it was told again", "")
