"""The figures of a run as tables, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from rich.table import Table

from contestants import DIRECT, FLOOR, OURS, PAIR, SINGLE
from goals import Figures, added, goals, shares
from loads import Cell, Load
from plans import HALF_SATURATED, KILO, MEGA
from record import Record

SIZES: Final = {KILO: "10 KB", MEGA: "1 MB"}
NOISE: Final = 0.1  # changes below it are not worth a look
BUSY: Final = 1.0  # load average before the run, above which the figures are doubtful
APART: Final = ("workers", HALF_SATURATED)  # groups with tables of their own


@dataclass(frozen=True)
class Sheet:
    """One table; the first `words` columns are text, the others figures."""

    title: str
    headings: Sequence[str]
    words: int
    rows: Sequence[Sequence[str]]


def sheets(record: Record, is_page: bool = False) -> Iterator[Sheet]:
    """All tables of a run that have rows. A page has no room for each round, and the goals of one run in it."""
    cells = record.cells
    made = [digest(cells) if is_page else costs(cells), pairs(cells), latencies(cells)]
    if not is_page:
        made.append(held(cells))
    elif record.plan == "goals":
        made.insert(0, held(cells))
    return (sheet for sheet in made if sheet.rows)


def rich_table(sheet: Sheet) -> Table:
    made = Table(title=sheet.title, title_justify="left")
    for place, heading in enumerate(sheet.headings):
        made.add_column(heading, justify="left" if place < sheet.words else "right")
    for row in sheet.rows:
        made.add_row(*row)
    return made


def markdown(sheet: Sheet) -> str:
    rules = ["---" if place < sheet.words else "---:" for place in range(len(sheet.headings))]
    lines = [f"| {' | '.join(row)} |" for row in (sheet.headings, rules, *sheet.rows)]
    return f"**{sheet.title}**\n\n" + "\n".join(lines) + "\n"


def page(record: Record) -> str:
    """What the run was made on, and its tables, in Markdown."""
    facts = record.facts
    machine = facts["machine"]
    busy = machine.get("load_before", 0)
    text = f"Measured on {facts['when'][:10]} at commit {facts.get('commit') or 'unknown'}, {facts['rounds']} rounds, "
    if "requests" in facts:
        text += f"{facts['requests']:,} requests of ours to a load, "
    text += f"{machine['cpus']} CPUs, "
    text += f"Linux {machine['kernel']}, Python {machine['python']}"
    text += f". The machine was not quiet: its load before was {busy}." if busy >= BUSY else "."
    return "\n".join([text + "\n", *map(markdown, sheets(record, is_page=True))])


def where(load: Load) -> list[str]:
    """The cells of a row that say which load it is."""
    size = SIZES.get(load.payload, f"{load.payload} B")
    return [load.mode, load.ids, f"{load.connections} x {load.depth}", size]


def costs(cells: Sequence[Cell]) -> Sheet:
    """CPU per request and its ratio to HAProxy's under the same load."""
    good = [cell for cell in cells if cell.rounds and not cell.failure and cell.group not in APART]
    figures = Figures(good)
    headings = ["load", "ids", "clients x depth", "payload", "proxy", "us/request", "lowest", "highest", "x HAProxy"]
    headings += ["requests/s", "p50 ms", "p99 ms", "RSS MiB"]
    rows = [[*where(cell.load), cell.proxy, *cost(cell, figures.cpu(cell.load, FLOOR))] for cell in good]
    return Sheet("CPU of the proxy per request, median of the rounds", headings, 5, rows)


def digest(cells: Sequence[Cell]) -> Sheet:
    """The same with a line for each load."""
    cells = [cell for cell in cells if cell.group not in APART]
    figures = Figures(cells)
    proxies = [name for name in dict.fromkeys(cell.proxy for cell in cells) if name != DIRECT]
    timed = [name for name in (DIRECT, FLOOR, OURS) if any(cell.proxy == name for cell in cells)]
    rows = []
    for load in figures.loads:
        costs = [figures.cpu(load, name) for name in proxies]
        found = [figures.cell(load, name) for name in timed]
        row = [*where(load), *(f"{each:,.2f}" if each else "-" for each in costs)]
        row.append(ratio(figures.cpu(load, OURS) or 0, figures.cpu(load, FLOOR)))
        row += [f"{cell.rate:,.0f}" if cell else "-" for cell in found]
        rows.append(row + [f"{cell.median('p99_us') / 1000:.2f}" if cell else "-" for cell in found])
    headings = ["load", "ids", "clients x depth", "payload", *(f"{name}, us" for name in proxies), "x HAProxy"]
    headings += [*(f"{name}, requests/s" for name in timed), *(f"{name}, p99 ms" for name in timed)]
    return Sheet("CPU of the proxy per request, requests a second and latency", headings, 4, rows)


def cost(cell: Cell, floor: float | None) -> list[str]:
    spread = sorted(measured["cpu_us"] for measured in cell.rounds)
    cpu = [f"{each:,.2f}" for each in (cell.cpu_us, spread[0], spread[-1])] + [ratio(cell.cpu_us, floor)]
    if cell.proxy == DIRECT:
        cpu = ["-"] * 4
    times = [f"{cell.median(which) / 1000:.2f}" if which in cell.rounds[0] else "-" for which in ("p50_us", "p99_us")]
    memory = f"{cell.median('rss_kib') / 1024:.0f}" if cell.proxy != DIRECT else "-"
    return [*cpu, f"{cell.rate:,.0f}", *times, memory]


def ratio(cpu_us: float, floor: float | None) -> str:
    return f"{cpu_us / floor:.2f}" if floor else "-"


def pairs(cells: Sequence[Cell]) -> Sheet:
    """Two workers beside one: what they cost, and who does how much."""
    good = [cell for cell in cells if cell.rounds and not cell.failure and cell.group == "workers"]
    figures = Figures(good)
    rows = []
    for cell in good:
        row = [cell.load.mode, f"{cell.load.connections} x {cell.load.depth}", cell.proxy, f"{cell.cpu_us:.2f}"]
        row += [ratio(cell.cpu_us, figures.cpu(cell.load, SINGLE.get(cell.proxy, cell.proxy))), f"{cell.rate:,.0f}"]
        spread = ["{:.1%} to {:.1%}".format(*shares(cell, what)) for what in ("connections", "requests")]
        rows.append(row + (spread if cell.proxy == PAIR else ["-", "-"]))
    headings = ["load", "clients x depth", "proxy", "us/request", "x one", "requests/s"]
    return Sheet("Two workers", [*headings, "connections of a worker", "requests of a worker"], 3, rows)


def latencies(cells: Sequence[Cell]) -> Sheet:
    """How much longer an answer takes, at half of what our proxy can do."""
    by_proxy = {cell.proxy: cell for cell in cells if cell.group == HALF_SATURATED and cell.rounds and not cell.failure}
    rows = []
    for proxy, cell in by_proxy.items():
        row = [proxy, f"{cell.load.rate:,}", *(f"{cell.median(which):.0f}" for which in ("p50_us", "p99_us"))]
        more = [f"{added(by_proxy, proxy, which):.0f}" for which in ("p50_us", "p99_us") if DIRECT in by_proxy]
        rows.append(row + (more or ["-", "-"]))
    headings = ["proxy", "requests/s", "p50 us", "p99 us", "added p50 us", "added p99 us"]
    return Sheet("Latency of a write at half of our saturation", headings, 1, rows)


def held(cells: Sequence[Cell]) -> Sheet:
    words = {True: "holds", False: "does NOT hold", None: "-"}
    rows = [[goal.name, goal.figure, goal.limit or "-", words[goal.holds]] for goal in goals(cells)]
    return Sheet("Goals", ["goal", "figure", "limit", ""], 4, rows)


def changes(before: Record, after: Record) -> Sheet:
    """What costs more or less than in an earlier run, HAProxy's cost being the measure where there is one."""
    old, new = (Figures([cell for cell in each.cells if cell.group not in APART]) for each in (before, after))
    rows = []
    for load, proxy in product(new.loads, dict.fromkeys(cell.proxy for cell in after.cells)):
        if proxy in (DIRECT, FLOOR):
            continue
        then, is_now = ((each.cpu(load, proxy), each.cpu(load, FLOOR)) for each in (old, new))
        if then[0] and is_now[0]:
            scale = then[1] / is_now[1] if then[1] and is_now[1] else 1.0
            change = is_now[0] / then[0] * scale - 1
            row = [*where(load), proxy, f"{then[0]:.2f}", f"{is_now[0]:.2f}"]
            row += [ratio(then[0], then[1]), ratio(is_now[0], is_now[1])]
            rows.append([*row, f"{change:+.0%}" if abs(change) >= NOISE else "~"])
    headings = ["load", "ids", "clients x depth", "payload", "proxy", "us before", "us now", "x before", "x now"]
    title = f"Since {before.facts['when']}: changes of {NOISE:.0%} and more, as multiples of HAProxy's cost"
    return Sheet(title, [*headings, "change"], 5, rows)


def at_rate(load: Load, saturated: float) -> Load:
    """The load at half of what was reached with it, sent by the clock, with streams enough that none waits for one."""
    return replace(load, rate=max(round(saturated / 200) * 100, 100), depth=512)
