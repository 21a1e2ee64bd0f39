"""Keep the proxy under mixed load for long, with target switched off and on all the while: no error, no growth.

    python bench/soak.py [--minutes 30] [--rate 2000] [--workers 2] [--toggle-s 1.0]

README.md beside this file says what is measured. The exit code is 1 where an answer was wrong or missing, where origin
did not see each request once, where a call to switch target failed, or where the memory was not flat.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from contestants import ours
from memory import resident_kb
from processes import ORIGIN, BenchError, build, running, seen, start_stubs

LISTEN: Final = "127.0.50.20:9042"
SWITCH: Final = "http://127.0.50.20:14001/api/v1/target/"
MODES: Final = ("mix", "write", "query", "named", "batch", "read")
ROUND_S: Final = 10.0  # then these clients go, and others come
SAMPLE_S: Final = 5.0
FLAT: Final = 1.05  # highest to lowest memory of the second half
REQUESTS: Final = ("QUERY", "EXECUTE", "BATCH")


class Switch(threading.Thread):
    """Switches target off and on until `stop`, and leaves it on."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._pause_s: Final = pause_s
        self._is_over: Final = threading.Event()
        self.switched = 0
        self.longest_s = 0.0
        self.failed: list[str] = []

    def run(self) -> None:
        for word in itertools.cycle(("disable", "enable")):
            if self._is_over.wait(self._pause_s) and word == "disable":
                return
            self._switch(word)

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def _switch(self, word: str) -> None:
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(urllib.request.Request(SWITCH + word, method="POST"), timeout=30) as answer:
                answer.read()
        except OSError as failed:
            self.failed.append(f"{word}: {failed}")
        self.longest_s = max(self.longest_s, time.monotonic() - begun)
        self.switched += 1


class Memory(threading.Thread):
    """Looks at the memory of a proxy and its workers every few seconds."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid: Final = pid
        self._is_over: Final = threading.Event()
        self.samples: list[int] = []

    def run(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            self.samples.append(resident_kb(self._pid))

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def second_half(self) -> list[int]:
        return self.samples[len(self.samples) // 2 :]


@contextmanager
def proxy(work: Path, workers: int) -> Iterator[int]:
    """Two stubs that give a statement different ids, and the proxy in front of them; its process id."""
    with ExitStack() as processes:
        start_stubs(processes, work, "own", 100)
        made = ours(LISTEN, workers=workers)
        log = work / "proxy.log"
        yield processes.enter_context(running(made.name, made.command, LISTEN, log, made.environment))


def load(work: Path, mode: str, requests: int, options: argparse.Namespace) -> dict[str, int]:
    """One round of clients; what the load says of it."""
    command = [str(work / "load"), "-addr", LISTEN, "-mode", mode, "-n", str(requests), "-json", "-expect", ORIGIN]
    command += ["-conns", str(options.clients), "-depth", str(options.depth), "-rate", str(options.rate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ROUND_S * 30)
    if done.returncode or done.stderr:
        raise BenchError(f"the load of {mode} failed: {done.stderr.strip()[-500:] or done.returncode}")
    outcome: dict[str, int] = json.loads(done.stdout)
    return outcome


def asked_of_origin() -> int:
    counted = seen("origin")
    return sum(counted.get(name, 0) for name in REQUESTS)


def soak(work: Path, pid: int, options: argparse.Namespace) -> int:
    switch, memory = Switch(options.toggle_s), Memory(pid)
    before, sent, wrong = asked_of_origin(), 0, 0
    until = time.monotonic() + options.minutes * 60
    switch.start()
    memory.start()
    try:
        for mode in itertools.cycle(MODES):
            outcome = load(work, mode, int(options.rate * ROUND_S), options)
            sent, wrong = sent + outcome["requests"], wrong + outcome["errors"]
            sent += int(mode in ("mix", "read"))  # the load asks origin itself what the right answer is
            if time.monotonic() > until:
                break
    finally:
        switch.stop()
        memory.stop()
    return report(switch, memory, sent, wrong, asked_of_origin() - before)


def report(switch: Switch, memory: Memory, sent: int, wrong: int, arrived: int) -> int:
    half = memory.second_half()
    spread = max(half) / min(half)
    print(f"requests: {sent:,}, wrong answers: {wrong}, seen by origin: {arrived:,}")
    print(f"target switched: {switch.switched:,} times, longest call {switch.longest_s * 1000:,.0f} ms")
    print(f"memory in the second half: {min(half):,} to {max(half):,} KB, median {statistics.median(half):,.0f} KB")
    faults = [f"{wrong} answers were wrong"] * bool(wrong)
    faults += [f"origin saw {arrived:,} requests instead of {sent:,}"] * (arrived != sent)
    faults += [f"{len(switch.failed)} calls failed, the first: {found}" for found in switch.failed[:1]]
    faults += [f"the memory was not flat: {spread:.3f}"] * (spread > FLAT)
    for fault in faults:
        print(f"FAILED: {fault}")
    return int(bool(faults))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second of all clients together")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--toggle-s", type=float, default=1.0, help="seconds between two changes of target")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="zdm-soak-") as directory:
        work = Path(directory)
        build(work)
        try:
            with proxy(work, options.workers) as pid:
                return soak(work, pid, options)
        finally:
            told = [line for line in (work / "proxy.log").read_text().splitlines() if "level=ERROR" in line]
            print(*told[:10], sep="\n", end="\n" * bool(told))


if __name__ == "__main__":
    sys.exit(main())
