"""One load through one contestant: what is sent, what it costs, and whether every request arrived as it was sent."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contestants import Contestant
from processes import ORIGIN, STATISTICS, BenchError, family, seen

ARRIVAL_S: Final = 2.0  # for a proxy that does not wait for the second cluster
ROUND_S: Final = 300.0
OPCODES: Final = {"query": "QUERY", "batch": "BATCH"}


@dataclass(frozen=True)
class Load:
    """What the clients do; `rate` is in requests/s, and 0 is as many as they can."""

    mode: str = "write"
    ids: str = "own"
    depth: int = 16
    connections: int = 8
    payload: int = 100
    rate: int = 0


@dataclass
class Cell:
    """All rounds of one contestant under one load; `failure` says why there are no more of them."""

    group: str
    load: Load
    proxy: str
    rounds: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    @property
    def cpu_us(self) -> float:
        """CPU of the proxy per request, in microseconds; 0 where there is no proxy."""
        return self.median("cpu_us")

    @property
    def rate(self) -> float:
        """Requests/s that were answered."""
        return float(statistics.median(measured["requests"] / measured["seconds"] for measured in self.rounds))

    def median(self, name: str) -> float:
        return float(statistics.median(measured[name] for measured in self.rounds))


def add_round(cell: Cell, programs: Path, proxy: Contestant, pid: int, requests: int) -> None:
    """Measure once more, unless the cell has failed."""
    if cell.failure:
        return
    try:
        cell.rounds.append(measure(programs, proxy, pid, cell.load, requests))
    except BenchError as failed:
        cell.failure = str(failed)


def measure(programs: Path, proxy: Contestant, pid: int, load: Load, requests: int) -> dict[str, Any]:
    """One run of the load through one proxy; `pid` 0 is none. Raises BenchError where it went wrong."""
    before = {cluster: seen(cluster) for cluster in STATISTICS}
    command = [str(programs / "load"), "-json", "-addr", proxy.listen, "-mode", load.mode, "-rate", str(load.rate)]
    command += ["-conns", str(load.connections), "-depth", str(load.depth), "-n", str(requests)]
    command += ["-val", str(load.payload), "-pid", ",".join(map(str, family(pid) if pid else []))]
    if proxy.routes or not proxy.to_both:
        command += ["-expect", ORIGIN]
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ROUND_S)
    except subprocess.TimeoutExpired as late:
        raise BenchError(f"{proxy.name}, {load.mode}: not all was answered within {ROUND_S:g} s") from late
    if run.returncode != 0:
        raise BenchError(f"{proxy.name}, {load.mode}: the load failed: {run.stderr.strip()[-500:]}")
    measured: dict[str, Any] = json.loads(run.stdout)
    if measured["errors"]:
        raise BenchError(f"{proxy.name}, {load.mode}: {measured['errors']} wrong answers: {run.stderr.strip()[-500:]}")
    check_arrival(proxy, load, measured, before)
    return measured


def check_arrival(proxy: Contestant, load: Load, sent: dict[str, Any], before: dict[str, dict[str, int]]) -> None:
    """Every request on origin, on the target every write and no read where the proxy routes, each as it was sent."""
    everything, writes = (sent["requests"], sent["sum"]), (sent["written"], sent["written_sum"])
    on_target = (writes if proxy.routes else everything) if proxy.to_both else (0, 0)
    if sent["asked_sum"]:  # by the load itself, for the right answer
        everything = everything[0] + 1, everything[1] + sent["asked_sum"]
    opcode = OPCODES.get(load.mode, "EXECUTE")
    for cluster, wanted in (("origin", everything), ("target", on_target)):
        deadline = time.monotonic() + ARRIVAL_S
        while (arrived := came(cluster, opcode, before[cluster])) != wanted and time.monotonic() < deadline:
            time.sleep(0.05)
        if arrived[0] != wanted[0]:
            raise BenchError(f"{proxy.name}, {load.mode}: {arrived[0]} requests on {cluster}, not {wanted[0]}")
        if arrived != wanted:
            raise BenchError(f"{proxy.name}, {load.mode}: the requests on {cluster} are not those that were sent")


def came(cluster: str, opcode: str, before: dict[str, int]) -> tuple[int, int]:
    """Requests that a cluster got since, and the sum of their checksums."""
    now = seen(cluster)
    return now[opcode] - before[opcode], now["sum"] - before["sum"]
