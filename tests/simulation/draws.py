"""What kind of story a seed tells: drawn once, before anything happens.

Each kind of trouble is left out of about half the stories. What is always there hides what happens without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.snapshot import Settings

ORIGIN_USER = Credentials("origin_user", "of origin")
TARGET_USER = Credentials("target_user", "of target")
APPLICATION = Credentials("application", "of target too")
STRANGER = Credentials("target_user", "guessed")


@dataclass(frozen=True)
class Trouble:
    """How often a cluster does what, for one request (a probability)."""

    refuses: float = 0.0
    """An ERROR, and nothing was executed."""
    fails: float = 0.0
    """An ERROR, and something may have been executed."""
    swallows: float = 0.0
    """No answer ever."""
    is_slow: float = 0.0
    """The answer comes about when the request expires, or after that."""


@dataclass(frozen=True)
class Draws:
    """Times in seconds; numbers of events are for the whole story."""

    settings: Settings
    origin_asks: bool
    target_asks: bool
    hosts: tuple[int, int]
    target_ids_differ: bool
    target_hosts_differ: bool
    statements_kept: int
    clients: int
    strangers: int
    streams: tuple[int, int]
    pace: float
    length: float
    origin: Trouble
    target: Trouble
    origin_cuts: int
    target_cuts: int
    origin_outages: int
    target_outages: int
    stalls: int
    forgets: int
    departures: int
    switches: int
    starts_on: bool
    ends_on: bool

    @property
    def primary(self) -> Side:
        return self.settings.primary


def draw(random: Random) -> Draws:
    """The kind of story."""

    def perhaps(most: int, probability: float = 0.5) -> int:
        return random.randint(1, most) if random.random() < probability else 0

    few_streams = random.random() < 0.15
    settings = Settings(
        primary=Side.TARGET if random.random() < 0.3 else Side.ORIGIN,
        request_timeout=1.0,
        schema_timeout=2.0,
        answer_timeouts=random.random() < 0.6,
        max_streams=random.choice((2, 3, 3, 6, 12)) if few_streams else 2048,
        max_streams_set=few_streams and random.random() < 0.7,
        reattach_target=random.random() < 0.9,
        heartbeat_interval=random.choice((0.5, 1.5, 30.0)),
        held_bytes=400 if random.random() < 0.1 else 1 << 20,
        attach_hold=random.choice((0.2, 0.6)),
        target_disable_drain=random.choice((0.05, 0.2, 0.5)),
        target_park=random.choice((0.05, 0.5, 5.0)),
    )
    return Draws(
        settings=settings,
        origin_asks=random.random() < 0.4,
        target_asks=random.random() < 0.4,
        hosts=(random.randint(1, 3), random.randint(1, 3)),
        target_ids_differ=random.random() < 0.4,
        target_hosts_differ=random.random() < 0.1,
        statements_kept=random.choice((2, 5)) if random.random() < 0.15 else 1000,
        clients=random.randint(1, 4),
        strangers=perhaps(2, 0.4),
        streams=(32764, 32768) if random.random() < 0.4 else (0, random.choice((3, 8, 40))),
        pace=random.choice((0.02, 0.1, 0.3)),
        length=random.choice((0.7, 1.5, 3.0)),
        origin=_trouble(random, 0.3),
        target=_trouble(random, 0.6, 0.7 if few_streams else 0.1),
        origin_cuts=perhaps(2, 0.2),
        target_cuts=perhaps(6),
        origin_outages=perhaps(1, 0.15),
        target_outages=perhaps(2, 0.4),
        stalls=perhaps(2, 0.3),
        forgets=perhaps(6),
        departures=perhaps(2, 0.3),
        switches=perhaps(8, 0.7),
        starts_on=random.random() < 0.75,
        ends_on=random.random() < 0.75,
    )


def _trouble(random: Random, probability: float, swallows: float = 0.1) -> Trouble:
    if random.random() > probability:
        return Trouble()

    def rate(most: float) -> float:
        return most * random.random() if random.random() < 0.5 else 0.0

    return Trouble(refuses=rate(0.2), fails=rate(0.2), swallows=rate(swallows), is_slow=rate(0.2))
