"""The measured goals of the project, each with its figure: a report for people, not a test."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from contestants import DIRECT, FLOOR, OURS, PAIR
from loads import Cell, Load
from plans import HALF_SATURATED

# by depth: CPU as a multiple of HAProxy's, what we then try for, and in us on the machine of the first measurements
WRITE: Final = {16: (4.0, 3.5, 4.2), 1: (2.1, 1.9, 36.0)}
READ: Final = 0.7
QUERY: Final = 2.5
PAIR_COST: Final = 1.05
SHARE: Final = (0.45, 0.55)
ADDED: Final = 1.5
ADDED_P99_MS: Final = 1.0


@dataclass(frozen=True)
class Goal:
    """`holds` is None where there is a figure, and no limit to it."""

    name: str
    figure: str
    limit: str
    holds: bool | None


class Figures:
    """The cells of a run, found by load and contestant."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = {(cell.load, cell.proxy): cell for cell in cells if cell.rounds and not cell.failure}
        self.loads = list(dict.fromkeys(cell.load for cell in cells))

    def cell(self, load: Load, proxy: str) -> Cell | None:
        return self._cells.get((load, proxy))

    def cpu(self, load: Load, proxy: str = OURS) -> float | None:
        cell = self.cell(load, proxy)
        return cell.cpu_us if cell else None


def goals(cells: Sequence[Cell]) -> list[Goal]:
    """Each goal for which the cells have the figures."""
    figures = Figures([cell for cell in cells if cell.group not in ("workers", HALF_SATURATED)])
    pairs = Figures([cell for cell in cells if cell.group == "workers"])
    paced = [cell for cell in cells if cell.group == HALF_SATURATED and cell.rounds and not cell.failure]
    return [*writes(figures), *comparisons(figures), *further(figures), *workers(pairs), *latency(paced)]


def writes(figures: Figures) -> Iterator[Goal]:
    for ids, (depth, (limit, tried, us)) in ((ids, each) for ids in ("shared", "own") for each in WRITE.items()):
        if (made := multiple(figures, Load("write", ids, depth))) is not None:
            ratio, cpu = made
            wanted = f"<= {limit}x HAProxy (then {tried}x); about {us:g} us"
            yield Goal(f"write, {ids} ids, depth {depth}", f"{ratio:.2f}x, {cpu:.2f} us", wanted, ratio <= limit)


def multiple(figures: Figures, load: Load) -> tuple[float, float] | None:
    """CPU of ours as a multiple of HAProxy's, and in microseconds."""
    mine, floor = figures.cpu(load), figures.cpu(load, FLOOR)
    return (mine / floor, mine) if mine and floor else None


def comparisons(figures: Figures) -> Iterator[Goal]:
    """Reads and inline queries, as a multiple of a write."""
    for depth, (mode, limit) in ((depth, each) for depth in WRITE for each in (("read", READ), ("query", QUERY))):
        for ids in ("shared", "own"):
            cost, write = figures.cpu(Load(mode, ids, depth)), figures.cpu(Load("write", ids, depth))
            if cost and write:
                figure = f"{cost / write:.2f}x, {cost:.2f} us"
                yield Goal(f"{mode}, {ids} ids, depth {depth}", figure, f"<= {limit}x a write", cost / write <= limit)


def further(figures: Figures) -> Iterator[Goal]:
    """Loads that are to be in the table and have no limit of their own."""
    named = [replace(load, mode=mode) for load in (Load(), Load(depth=1)) for mode in ("named", "batch")]
    for load in [*named, Load(depth=1, connections=200)]:
        if (made := multiple(figures, load)) is not None:
            name = f"{load.mode}, {load.ids} ids, {load.connections} clients, depth {load.depth}"
            yield Goal(name, f"{made[0]:.2f}x HAProxy, {made[1]:.2f} us", "", None)


def workers(figures: Figures) -> Iterator[Goal]:
    for load in figures.loads:
        one, two = figures.cpu(load, OURS), figures.cell(load, PAIR)
        if one and two:
            name, ratio = f"two workers, {load.connections} clients, depth {load.depth}", two.cpu_us / one
            yield Goal(f"{name}: CPU", f"{ratio:.2f}x, {two.cpu_us:.2f} us", f"<= {PAIR_COST}x one", ratio <= PAIR_COST)
            for what in ("connections", "requests"):
                least, most = shares(two, what)
                fair = SHARE[0] <= least and most <= SHARE[1]
                limit = "each within 10 % of half"
                yield Goal(f"{name}: {what}", f"{least:.1%} to {most:.1%} a worker", limit, fair)


def shares(cell: Cell, what: str) -> tuple[float, float]:
    """The least and the largest share of a worker in the connections or requests of all rounds."""
    counts: Counter[str] = Counter()
    for process in chain.from_iterable(measured["processes"] for measured in cell.rounds):
        counts[process["pid"]] += process[what]
    workers = [count for _, count in counts.most_common(2)]  # the supervisor has none
    return min(workers, default=0) / (counts.total() or 1), max(workers, default=0) / (counts.total() or 1)


def latency(cells: Sequence[Cell]) -> Iterator[Goal]:
    """What a proxy adds to the latency without one, at half of what ours can do."""
    by_proxy = {cell.proxy: cell for cell in cells}
    if not {DIRECT, FLOOR, OURS} <= by_proxy.keys():
        return
    mine, floor = ({which: added(by_proxy, proxy, which) for which in ("p50_us", "p99_us")} for proxy in (OURS, FLOOR))
    name = f"added latency at {by_proxy[OURS].load.rate:,} requests/s"
    is_small = mine["p99_us"] <= ADDED_P99_MS * 1000
    is_measured = min(floor.values()) > 0  # else the machine was doing something else meanwhile
    within = {which: mine[which] <= ADDED * floor[which] for which in mine}
    for which in mine:
        ratio = f" ({mine[which] / floor[which]:.2f}x)" if floor[which] > 0 else ", which is noise"
        figure = f"{mine[which]:.0f} us, HAProxy {floor[which]:.0f} us{ratio}"
        holds = is_small or all(within.values()) if is_measured else None
        yield Goal(f"{name}: {which[:3]}", figure, f"<= {ADDED}x, or added p99 <= {ADDED_P99_MS:g} ms", holds)


def added(by_proxy: dict[str, Cell], proxy: str, which: str) -> float:
    """The median over the rounds of what it took longer than without a proxy, in microseconds."""
    pairs = zip(by_proxy[proxy].rounds, by_proxy[DIRECT].rounds, strict=True)
    return float(statistics.median(measured[which] - plain[which] for measured, plain in pairs))
