"""Measure what a request costs in a proxy's CPU, beside HAProxy on the same machine.

    python bench/run.py [--quick] [--other "NAME=COMMAND {listen} {origin} {target}"]

README.md beside this file says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

HERE: Final = Path(__file__).parent
ORIGIN, TARGET = "127.0.50.10:9042", "127.0.50.11:9042"
STATISTICS: Final = {"origin": "127.0.50.10:9050", "target": "127.0.50.11:9050"}
LISTEN: Final = "127.0.50.{}:9042"  # 20 and up: one address for each proxy
CONNECTIONS: Final = 8
DEADLINE_S: Final = 30.0
# Requests of the stubs that are not the load's: control connections, heartbeats, one PREPARE a connection.
STRAY_QUERIES: Final = 50
BESIDE: Final = "zdm-proxy beside"

HAPROXY: Final = """\
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen cql
    bind {listen}
    server origin {origin}
"""


class BenchError(Exception):
    """The measurement can't be made, or is not to be trusted; the text says why."""


@dataclass(frozen=True)
class Contestant:
    """A proxy that can be started; `weight` scales its requests, so that a cheap one is measured long enough."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    listen: str = ""
    to_both: bool = True  # writes go to both clusters
    routes: bool = True  # reads go to origin alone
    weight: float = 1


@dataclass
class Cell:
    """All rounds of one proxy under one load; `failure` says why there are no more of them."""

    ids: str
    depth: int
    mode: str
    proxy: str
    rounds: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @property
    def cpu_us(self) -> float:
        return self.median("cpu_us")

    def median(self, name: str) -> float:
        return float(statistics.median(measured[name] for measured in self.rounds))


def build(into: Path) -> None:
    """Compile the load generator and the stub."""
    if shutil.which("go") is None:
        raise BenchError("The load generator and the stub are written in Go, and there is no `go` in the PATH.")
    source = HERE / "cqlbench"
    subprocess.run(["go", "build", "-o", f"{into}/", "./stub", "./load"], cwd=source, check=True)


def haproxy_path() -> str:
    """HAProxy's program, installed from Debian where it is missing and we may."""
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "haproxy"], check=True)
        found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise BenchError("HAProxy is what everything is compared with: install the package `haproxy`.")
    return found


def haproxy(work: Path, listen: str) -> Contestant:
    """Plain TCP to one backend, on one thread: the least that a proxy can cost."""
    configuration = work / "haproxy.cfg"
    configuration.write_text(HAPROXY.format(listen=listen, origin=ORIGIN))
    command = [haproxy_path(), "-db", "-f", str(configuration)]
    return Contestant("HAProxy", command, listen=listen, to_both=False, routes=False, weight=2.5)


def ours(listen: str, name: str = "zdm-proxy", program: Path | None = None) -> Contestant:
    """This project's proxy with one worker, otherwise as it comes: the one beside this Python, where none is named."""
    environment = {"ZDM_WORKERS": "1"}
    for side, address in (("ORIGIN", ORIGIN), ("TARGET", TARGET)):
        host, port = address.split(":")
        environment |= {f"ZDM_{side}_CONTACT_POINTS": host, f"ZDM_{side}_PORT": port}
        environment |= {f"ZDM_{side}_USERNAME": "bench", f"ZDM_{side}_PASSWORD": "bench"}
    host, port = listen.split(":")
    environment |= {"ZDM_PROXY_LISTEN_ADDRESS": host, "ZDM_PROXY_LISTEN_PORT": port}
    environment |= {"ZDM_METRICS_ADDRESS": host, "ZDM_METRICS_PORT": "14001"}
    script = program or Path(sys.executable).parent / "zdm-proxy"
    return Contestant(name, [str(script)], environment, listen)


def other(template: str, listen: str) -> Contestant:
    """A proxy given on the command line as `NAME=COMMAND`."""
    name, equals, command = template.partition("=")
    if not equals:
        raise BenchError(f"--other wants NAME=COMMAND, and got {template!r}")
    filled = [word.format(listen=listen, origin=ORIGIN, target=TARGET) for word in shlex.split(command)]
    return Contestant(name, filled, listen=listen, routes=False)


@contextmanager
def running(name: str, command: Sequence[str], address: str, log: Path, environment: dict[str, str]) -> Iterator[int]:
    """A process that listens on `address`, for as long as the block; its id."""
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        except OSError as missing:
            raise BenchError(f"{name} can't be started: {missing}") from missing
    try:
        await_listening(name, process, address, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_listening(name: str, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise BenchError(f"{name} does not listen on {address}. Its last lines:\n{tail}")


def family(pid: int) -> list[int]:
    """A process and all below it: a proxy's workers count."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def seen(cluster: str) -> dict[str, int]:
    """Requests that a stub has seen, by opcode."""
    with urllib.request.urlopen(f"http://{STATISTICS[cluster]}/", timeout=10) as answer:
        counted: dict[str, int] = json.load(answer)
    return counted


def measure(programs: Path, proxy: Contestant, pid: int, mode: str, depth: int, requests: int) -> dict[str, Any]:
    """One run of the load through one proxy. Raises BenchError where it went wrong."""
    before = {cluster: seen(cluster) for cluster in STATISTICS}
    command = [str(programs / "load"), "-json", "-addr", proxy.listen, "-mode", mode]
    command += ["-conns", str(CONNECTIONS), "-depth", str(depth), "-n", str(requests)]
    command += ["-pid", ",".join(map(str, family(pid)))]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
    if run.returncode != 0:
        raise BenchError(f"{proxy.name}, {mode}: the load failed: {run.stderr.strip()}")
    measured: dict[str, Any] = json.loads(run.stdout)
    if measured["errors"]:
        raise BenchError(f"{proxy.name}, {mode}: {measured['errors']} errors: {run.stderr.strip()}")
    after = {cluster: seen(cluster) for cluster in STATISTICS}
    opcode = "QUERY" if mode == "query" else "EXECUTE"
    arrived = {cluster: after[cluster][opcode] - before[cluster][opcode] for cluster in STATISTICS}
    check_arrival(proxy, mode, measured["requests"], arrived)
    return {**measured, "arrived": arrived}


def check_arrival(proxy: Contestant, mode: str, requests: int, arrived: dict[str, int]) -> None:
    """Every request on origin, and on the target every write, and no read where the proxy routes."""
    writes = {"read": 0, "mix": requests // 2}.get(mode, requests)
    stray = STRAY_QUERIES if mode == "query" else 0
    on_target = (writes if proxy.routes else requests) if proxy.to_both else 0
    for cluster, wanted in (("origin", requests), ("target", on_target)):
        if not wanted <= arrived[cluster] <= wanted + stray:
            raise BenchError(f"{proxy.name}, {mode}: {arrived[cluster]} requests on {cluster}, not {wanted}")


def measure_all(options: argparse.Namespace, work: Path, contestants: list[Contestant], console: Console) -> list[Cell]:
    """Every load through every proxy in turn, round by round, so that a slow minute hits all alike."""
    cells: list[Cell] = []
    for ids in options.ids:
        with ExitStack() as processes:
            pids = start_all(processes, work, contestants, ids)
            for depth, mode in product(options.depths, options.modes):
                row = [Cell(ids, depth, mode, proxy.name) for proxy in contestants]
                for _ in range(options.rounds):
                    for proxy, cell in zip(contestants, row, strict=True):
                        requests = int(options.requests * proxy.weight) // options.rounds
                        add_round(cell, work, proxy, pids[proxy.name], requests)
                console.print(f"{ids} ids, depth {depth}, {mode}: " + ", ".join(shown(cell) for cell in row))
                cells += row
    return cells


def add_round(cell: Cell, programs: Path, proxy: Contestant, pid: int, requests: int) -> None:
    if cell.failure:
        return
    try:
        cell.rounds.append(measure(programs, proxy, pid, cell.mode, cell.depth, requests))
    except BenchError as failed:
        cell.failure = str(failed)


def start_all(processes: ExitStack, work: Path, contestants: list[Contestant], ids: str) -> dict[str, int]:
    for name, address in (("origin", ORIGIN), ("target", TARGET)):
        stub = [str(work / "stub"), "-addr", address, "-name", name, "-ids", ids, "-stat", STATISTICS[name]]
        processes.enter_context(running(f"the stub {name}", stub, address, work / f"{name}.log", {}))
        host_port = STATISTICS[name].split(":")
        socket.create_connection((host_port[0], int(host_port[1])), DEADLINE_S).close()
    return {
        proxy.name: processes.enter_context(
            running(proxy.name, proxy.command, proxy.listen, work / f"{proxy.name}.log", proxy.environment)
        )
        for proxy in contestants
    }


def shown(cell: Cell) -> str:
    return f"{cell.proxy} failed" if cell.failure else f"{cell.proxy} {cell.cpu_us:.2f} us"


def table(cells: list[Cell]) -> Table:
    """CPU per request and its ratio to HAProxy's under the same load."""
    made = Table(title="CPU of the proxy per request, median of the rounds")
    for heading in ("ids", "depth", "load", "proxy"):
        made.add_column(heading)
    for heading in ("us/request", "lowest", "highest", "x HAProxy", "requests/s", "p99 ms", "RSS MiB"):
        made.add_column(heading, justify="right")
    floor = {
        (cell.ids, cell.depth, cell.mode): cell.cpu_us for cell in cells if cell.proxy == "HAProxy" and not cell.failure
    }
    for cell in (cell for cell in cells if not cell.failure):
        spread = sorted(measured["cpu_us"] for measured in cell.rounds)
        made.add_row(
            cell.ids,
            str(cell.depth),
            cell.mode,
            cell.proxy,
            f"{cell.cpu_us:.2f}",
            f"{spread[0]:.2f}",
            f"{spread[-1]:.2f}",
            ratio(cell.cpu_us, floor.get((cell.ids, cell.depth, cell.mode))),
            f"{statistics.median(measured['requests'] / measured['seconds'] for measured in cell.rounds):,.0f}",
            f"{cell.median('p99_us') / 1000:.2f}",
            f"{cell.median('rss_kib') / 1024:.0f}",
        )
    return made


def ratio(cpu_us: float, floor: float | None) -> str:
    return f"{cpu_us / floor:.2f}" if floor else "-"


def write_results(options: argparse.Namespace, cells: list[Cell]) -> Path:
    """All rounds as they were measured, with what they were measured on."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = results / f"{now:%Y%m%dT%H%M%SZ}.json"
    content = {
        "when": now.isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "rounds": options.rounds,
        "connections": CONNECTIONS,
        "cells": [{**vars(cell), "cpu_us": cell.cpu_us if cell.rounds else None} for cell in cells],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it work, not what it costs")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND", help="measure this proxy too")
    parser.add_argument("--beside", type=Path, metavar="PROGRAM", help="another build of zdm-proxy, measured too")
    parser.add_argument("--without-ours", action="store_true", help="leave this project's proxy out")
    parser.add_argument("--modes", nargs="+", default=["write", "read", "mix", "query"], metavar="MODE")
    parser.add_argument("--ids", nargs="+", default=["shared", "own"], choices=["shared", "own"])
    parser.add_argument("--depths", nargs="+", type=int, default=[16, 1], metavar="DEPTH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400_000, help="of each cell in all rounds; HAProxy gets 2.5x")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.requests = 1, 20_000
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options, console = parse(arguments), Console(width=max(shutil.get_terminal_size().columns, 110))
    try:
        with tempfile.TemporaryDirectory(prefix="zdm-bench-") as directory:
            work = Path(directory)
            build(work)
            contestants = [haproxy(work, LISTEN.format(20))]
            if not options.without_ours:
                contestants.append(ours(LISTEN.format(21)))
            if options.beside:
                contestants.append(ours(LISTEN.format(22), BESIDE, options.beside))
            contestants += [other(each, LISTEN.format(30 + place)) for place, each in enumerate(options.other)]
            cells = measure_all(options, work, contestants, console)
    except BenchError as failed:
        console.print(str(failed), style="red", markup=False)
        return 1
    console.print(table(cells))
    for cell in cells:
        if cell.failure:
            console.print(f"FAILED: {cell.ids} ids, depth {cell.depth}, {cell.failure}", style="red", markup=False)
    console.print(f"Written to {write_results(options, cells)}")
    return 1 if any(cell.failure for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
