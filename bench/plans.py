"""Which loads go through which contestants: the standard run, the quick one, the goals', and one's own choice."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from contestants import BESIDE, DIRECT, FLOOR, FLOOR_PAIR, OURS, PAIR
from loads import Load

MODES: Final = ("write", "read", "mix", "query", "named", "batch")
GROUPS: Final = ("cost", "clients", "payload", "workers", "latency")
KILO, MEGA = 10_240, 1_048_576
HALF_SATURATED: Final = "latency"


@dataclass(frozen=True)
class Group:
    """Loads that go through the same contestants in turn; `others` tells whether further proxies join."""

    name: str
    loads: Sequence[Load]
    contestants: Sequence[str]
    others: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run measures. `requests` are a cell's in all its rounds, of our proxy."""

    name: str
    groups: Sequence[Group]
    rounds: int
    requests: int

    def of_round(self, load: Load, weight: float) -> int:
        """Requests of one round: fewer where each is large."""
        share = {KILO: 4, MEGA: 200}.get(load.payload, 10 if load.mode == "batch" else 1)
        return max(int(self.requests * weight) // self.rounds // share, load.connections * load.depth)


STANDARD: Final[Sequence[Group]] = (
    Group(
        "cost",
        [Load(mode, "own", depth) for depth, mode in product((16, 1), MODES)]
        + [Load(mode, "shared", depth) for depth, mode in product((16, 1), MODES[:4])],
        (DIRECT, FLOOR, OURS, BESIDE),
        others=True,
    ),
    Group(
        "clients",
        [Load(mode, depth=1, connections=clients) for clients, mode in product((200, 2000), MODES[:2])],
        (DIRECT, FLOOR, OURS),
        others=True,
    ),
    Group(
        "payload",
        [Load(mode, depth=depth, payload=size) for size, depth in ((KILO, 16), (MEGA, 1)) for mode in MODES[:2]],
        (DIRECT, FLOOR, OURS),
        others=True,
    ),
    Group("workers", [Load(), Load(depth=1), Load(depth=1, connections=200)], (FLOOR, FLOOR_PAIR, OURS, PAIR)),
    Group(HALF_SATURATED, [Load()], (DIRECT, FLOOR, OURS)),
)

QUICK: Final[Sequence[Group]] = (
    Group("cost", [*(Load(mode) for mode in MODES), Load(depth=1), Load(ids="shared")], (DIRECT, FLOOR, OURS)),
    Group("clients", [Load(depth=1, connections=200)], (FLOOR, OURS)),
    Group("payload", [Load(depth=1, payload=size) for size in (KILO, MEGA)], (FLOOR, OURS)),
    *STANDARD[-2:],
)

GOALS: Final[Sequence[Group]] = (
    Group(
        "cost",
        [Load(mode, "shared", depth) for depth, mode in product((16, 1), ("write", "read", "query"))]
        + [Load(mode, "own", depth) for depth, mode in product((16, 1), ("write", "read", "named", "batch"))],
        (FLOOR, OURS),
    ),
    Group("clients", [Load(depth=1, connections=200)], (FLOOR, OURS)),
    *STANDARD[-2:],
)


def chosen(options: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    rounds, requests = options.rounds or 5, options.requests or 200_000
    name, groups = "standard", STANDARD
    if options.goals:
        name, groups, requests = "goals", GOALS, options.requests or 400_000
    elif options.quick:
        name, groups, rounds, requests = "quick", QUICK, options.rounds or 1, options.requests or 20_000
    if own := own_choice(options):
        name, groups = "chosen", (Group("chosen", own, (DIRECT, FLOOR, OURS, BESIDE), others=True),)
    elif options.groups:
        name, groups = "chosen", tuple(group for group in groups if group.name in options.groups)
    return Plan(name, groups, rounds, requests)


def own_choice(options: argparse.Namespace) -> list[Load]:
    """All combinations of what was named; nothing where nothing was."""
    named = (options.modes, options.ids, options.depths, options.clients, options.payloads)
    if not any(named):
        return []
    defaults = (MODES[:1], ("own",), (16,), (8,), (100,))
    choices = [choice or default for choice, default in zip(named, defaults, strict=True)]
    return [Load(*combination) for combination in product(*choices)]
