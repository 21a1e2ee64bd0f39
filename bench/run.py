"""Measure what a request costs in a proxy's CPU, beside HAProxy on the same machine.

    python bench/run.py [--quick | --goals] [--groups GROUP ...] [--other "NAME=COMMAND {listen} {origin} {target}"]

README.md beside this file says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from rich.console import Console

import contestants
import record
from contestants import BESIDE, LISTEN, NAMED, OURS, PAIR, Contestant
from loads import Cell, Load, add_round
from plans import GROUPS, HALF_SATURATED, MODES, Group, Plan, chosen
from plot import plot
from processes import BenchError, build, running, start_stubs
from report import at_rate, changes, page, rich_table, sheets

PACED_S = 3.0  # of a round at a given rate
QUICK_S = 1.0


class Run:
    """One run of a plan: the contestants that may take part, and the cells so far."""

    def __init__(self, plan: Plan, work: Path, field: Sequence[Contestant], console: Console) -> None:
        self.plan = plan
        self.work = work
        self.field = field
        self.console = console
        self.cells: list[Cell] = []

    def of(self, group: Group) -> list[Contestant]:
        """Who takes part in a group: those that it names, and proxies given on the command line where it is open."""
        return [each for each in self.field if each.name in group.contestants or self.is_other(each, group)]

    def is_other(self, proxy: Contestant, group: Group) -> bool:
        return group.others and proxy.name not in NAMED

    def measure(self) -> None:
        """Every load through every contestant in turn, round by round, so that a slow minute hits all alike."""
        for group in self.plan.groups:
            for (ids, payload), loads in groupby(group.loads, lambda load: (load.ids, load.payload)):
                with ExitStack() as processes:
                    start_stubs(processes, self.work, ids, payload)
                    failures, pids = self.start(processes, self.of(group))
                    for load in loads:
                        row = [
                            Cell(group.name, load, each.name, failure=failures[each.name]) for each in self.of(group)
                        ]
                        self.measure_row(row, pids)

    def start(self, processes: ExitStack, taking_part: Sequence[Contestant]) -> tuple[dict[str, str], dict[str, int]]:
        """Why a contestant could not be started (or nothing), and the ids of the processes."""
        failures, pids = {}, {}
        for proxy in taking_part:
            log = self.work / f"{proxy.name}.log"
            failures[proxy.name], pids[proxy.name] = "", 0
            try:
                if proxy.command:
                    process = running(proxy.name, proxy.command, proxy.listen, log, proxy.environment)
                    pids[proxy.name] = processes.enter_context(process)
            except BenchError as failed:
                failures[proxy.name] = str(failed)
        return failures, pids

    def measure_row(self, row: list[Cell], pids: dict[str, int]) -> None:
        if row[0].group == HALF_SATURATED:
            row = self.paced(row, pids)
        self.add_rounds(row, pids)
        load = row[0].load
        self.console.print(f"{caption(load)}: " + ", ".join(map(shown, row)), highlight=False)
        self.cells += row

    def add_rounds(self, row: Sequence[Cell], pids: dict[str, int]) -> None:
        seconds = QUICK_S if self.plan.name == "quick" else PACED_S
        for _ in range(self.plan.rounds):
            for cell in row:
                proxy = next(each for each in self.field if each.name == cell.proxy)
                requests = int(cell.load.rate * seconds) or self.plan.of_round(cell.load, proxy.weight)
                add_round(cell, self.work, proxy, pids[proxy.name], requests)

    def paced(self, row: Sequence[Cell], pids: dict[str, int]) -> list[Cell]:
        """The cells at half of the rate that our proxy reaches."""
        probe = next((cell for cell in row if cell.proxy == OURS), row[-1])
        self.add_rounds([probe], pids)
        if probe.failure:
            return list(row)
        load = at_rate(probe.load, probe.rate)
        return [Cell(cell.group, load, cell.proxy, failure=cell.failure) for cell in row]


def caption(load: Load) -> str:
    pace = f", {load.rate:,} requests/s" if load.rate else ""
    return f"{load.mode}, {load.ids} ids, {load.connections} clients, depth {load.depth}, {load.payload:,} B{pace}"


def shown(cell: Cell) -> str:
    if cell.failure:
        return f"{cell.proxy} FAILED"
    if cell.load.rate:
        return f"{cell.proxy} p50 {cell.median('p50_us'):.0f} us, p99 {cell.median('p99_us'):.0f} us"
    return f"{cell.proxy} " + (f"{cell.cpu_us:.2f} us" if cell.cpu_us else f"{cell.rate:,.0f}/s")


def entrants(options: argparse.Namespace, work: Path) -> Iterator[Contestant]:
    """All that could take part; the groups of the plan say where they do."""
    yield contestants.direct()
    yield contestants.haproxy(work, LISTEN.format(20))
    yield contestants.haproxy(work, LISTEN.format(24), threads=2)
    if not options.without_ours:
        yield contestants.ours(LISTEN.format(21), program=options.program)
        yield contestants.ours(LISTEN.format(23), PAIR, options.program, workers=2)
    if options.beside:
        yield contestants.ours(LISTEN.format(22), BESIDE, options.beside)
    for place, template in enumerate(options.other):
        yield contestants.other(template, LISTEN.format(30 + place))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="one short round of each: does it work, not what it costs")
    which.add_argument("--goals", action="store_true", help="what the project has set itself, with as many requests")
    which.add_argument(
        "--markdown", nargs="?", const="", metavar="RESULT", help="measure nothing: print a result's tables"
    )
    parser.add_argument("--groups", nargs="+", choices=GROUPS, help="only these parts of the run")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND", help="measure this proxy too")
    parser.add_argument("--program", type=Path, help="our proxy, where it is not the one beside this Python")
    parser.add_argument("--beside", type=Path, metavar="PROGRAM", help="another build of zdm-proxy, measured too")
    parser.add_argument("--without-ours", action="store_true", help="leave this project's proxy out")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="with these, all combinations are measured")
    parser.add_argument("--ids", nargs="+", choices=["shared", "own"])
    parser.add_argument("--depths", nargs="+", type=int, metavar="DEPTH")
    parser.add_argument("--clients", nargs="+", type=int, metavar="CONNECTIONS")
    parser.add_argument("--payloads", nargs="+", type=int, metavar="BYTES")
    parser.add_argument("--rounds", type=int, help="5 where nothing else is said")
    parser.add_argument("--requests", type=int, help="of each cell in all rounds, 200,000; HAProxy gets 2.5x")
    parser.add_argument("--output", type=Path, metavar="DIRECTORY", help="where the result is written")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options, console = parse(arguments), Console(width=max(shutil.get_terminal_size().columns, 140))
    if options.markdown is not None:
        return print_markdown(options.markdown)
    plan, begun, load_before = chosen(options), record.now(), os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory(prefix="zdm-bench-") as directory:
            build(work := Path(directory))
            run = Run(plan, work, list(entrants(options, work)), console)
            run.measure()
    except BenchError as failed:
        console.print(str(failed), style="red", markup=False)
        return 1
    made = record.Record(plan.name, record.facts(plan, begun, load_before), run.cells)
    report(made, options.output, console)
    return 1 if any(cell.failure for cell in run.cells) else 0


def report(made: record.Record, output: Path | None, console: Console) -> None:
    """Print the tables and what has changed, and write the result and the plot."""
    for sheet in sheets(made):
        console.print(rich_table(sheet))
    before = record.last_committed(made.plan) or record.last_committed("standard")
    if before and (changed := changes(record.read(before), made)).rows:
        console.print(rich_table(changed))
    for cell in made.cells:
        if cell.failure:
            console.print(f"FAILED: {caption(cell.load)}, {cell.failure}", style="red", markup=False)
    written = record.write(made, output or (record.RESULTS if made.plan in ("standard", "goals") else record.SCRATCH))
    console.print(f"Written to {written}")
    try:
        plot(
            made.cells,
            f"Dual writes through the proxy, {made.facts['when'][:10]}",
            picture := written.with_suffix(".png"),
        )
        console.print(f"Plotted to {picture}")
    except BenchError as missing:
        console.print(str(missing), markup=False)


def print_markdown(name: str) -> int:
    """The tables of a result, the last committed one's where none is named."""
    path = Path(name) if name else record.last_committed("standard")
    if path is None:
        print("There is no committed result.", file=sys.stderr)
        return 1
    print(page(record.read(path)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
