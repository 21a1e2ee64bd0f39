"""Many applications that write at once, in processes of their own, and what became of every single write.

A driver costs more processor than the proxy does, so the applications are spread over a few processes:
``python -m conformance.load JSON`` connects its share, prints ``ready``, starts at ``go`` on stdin, ends at ``stop`` or
when each has written its number, and prints one line of JSON with a record of every write.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from cassandra.query import BatchStatement, BatchType

from conformance.backends.interface import Credentials
from conformance.client import Client, Entry
from conformance.traffic import FAILURES

ROOT: Final = Path(__file__).resolve().parents[1]
# one row per application; what each kind of write adds one to
COUNTER_TABLE: Final = "(k int PRIMARY KEY, inline counter, prepared counter, batched counter)"
ROW_TABLE: Final = "(k int PRIMARY KEY, v text)"
GOLDEN: Final = 0.618
KINDS: Final = ("inline", "prepared", "batched")


@dataclass(frozen=True)
class Share:
    """The applications of one process. ``first`` numbers them; ``pause`` is in seconds from one write's begin to the
    next one's, ``limit`` the writes of each, 0 for no end.
    """

    entry: Entry
    protocol: int
    keyspace: str
    table: str
    first: int
    clients: int
    counts: bool
    pause: float
    limit: int


class Write(NamedTuple):
    """One request: who, its number there, when it began and ended (monotonic seconds, the same in all processes)."""

    client: int
    number: int
    began: float
    ended: float
    error: str

    @property
    def kind(self) -> str:
        return KINDS[self.number % 3]

    @property
    def key(self) -> int:
        """Of the row that a load of rows writes."""
        return self.client * 1_000_000 + self.number


class Application:
    """One driver ``Cluster`` that writes inline, prepared and by batch in turn: a counter, or rows of its own."""

    def __init__(self, share: Share, number: int) -> None:
        self.number = number
        self.opened_at_start = 0
        self._share = share
        self._written: list[Write] = []
        self.client = Client(share.entry, share.protocol, share.keyspace)
        table = share.table
        if share.counts:
            self._prepared = self.client.prepare(f"UPDATE {table} SET prepared = prepared + 1 WHERE k = ?")
            self._batched = self.client.prepare(f"UPDATE {table} SET batched = batched + 1 WHERE k = ?")
        else:
            self._prepared = self._batched = self.client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
        self.opened_at_start = self.client.opened

    def run(self, stopped: threading.Event) -> None:
        pause = self._share.pause
        due = time.monotonic() + pause * (self.number * GOLDEN % 1)  # not all at the same moments, nor after a stall
        stopped.wait(due - time.monotonic())
        while not stopped.is_set() and not (self._share.limit and len(self._written) >= self._share.limit):
            self._write()
            late = time.monotonic() - due
            due += pause * (1 + late // pause)
            stopped.wait(due - time.monotonic())

    def _write(self) -> None:
        write = Write(self.number, len(self._written), time.monotonic(), 0.0, "")
        error = ""
        try:
            if self._share.counts:
                self._count(write.kind)
            else:
                self._insert(write.kind, write.key)
        except FAILURES as failure:
            error = repr(failure)[:300]
        self._written.append(write._replace(ended=time.monotonic(), error=error))

    def _count(self, kind: str) -> None:
        if kind == "inline":
            self.client.execute(f"UPDATE {self._share.table} SET inline = inline + 1 WHERE k = {self.number}")
        elif kind == "prepared":
            self.client.execute(self._prepared, (self.number,))
        else:
            batch = BatchStatement(BatchType.COUNTER)
            batch.add(self._batched, (self.number,))
            self.client.execute(batch)

    def _insert(self, kind: str, key: int) -> None:
        if kind == "inline":
            self.client.execute(f"INSERT INTO {self._share.table} (k, v) VALUES ({key}, 'inline')")
        elif kind == "prepared":
            self.client.execute(self._prepared, (key, kind))
        else:
            batch = BatchStatement(BatchType.UNLOGGED)
            batch.add(self._batched, (key, kind))
            self.client.execute(batch)

    def result(self) -> dict[str, Any]:
        return {"reopened": self.client.opened - self.opened_at_start, "writes": self._written}


class Load:
    """Applications in several processes. Use as a context manager: leaving it ends the processes, whatever happened.

    ``start`` returns when all are connected and let go; ``stop`` ends them, ``finish`` waits until each has written its
    number. Either returns all writes, sorted by their begin.
    """

    def __init__(
        self, entry: Entry, protocol: int, keyspace: str, table: str, clients: int, *, processes: int = 2,
        counts: bool = False, pause: float, limit: int = 0,
    ) -> None:  # fmt: skip
        self.reopened = 0
        """Connections that the applications opened while they wrote."""
        sizes = [clients // processes + (number < clients % processes) for number in range(processes)]
        self._shares = [
            Share(entry, protocol, keyspace, table, 1 + sum(sizes[:number]), size, counts, pause, limit)
            for number, size in enumerate(sizes)
        ]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *unused: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def start(self) -> None:
        for share in self._shares:
            line = [sys.executable, "-m", "conformance.load", json.dumps(asdict(share))]
            self._processes.append(
                subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
        for process in self._processes:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == "ready\n", f"a process of the load could not connect: {said}"
        self._tell("go")

    def stop(self) -> list[Write]:
        self._tell("stop")
        return self.finish()

    def finish(self, seconds: float = 120) -> list[Write]:
        writes: list[Write] = []
        for process in self._processes:
            out, _ = process.communicate(timeout=seconds)
            assert process.returncode == 0, f"a process of the load ended with {process.returncode}"
            for result in json.loads(out):
                self.reopened += result["reopened"]
                writes += [Write(*write) for write in result["writes"]]
        return sorted(writes, key=lambda write: write.began)

    def _tell(self, word: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{word}\n")
            process.stdin.flush()


class Change(NamedTuple):
    """One call of the toggle: when it was sent and when it was answered."""

    sent: float
    answered: float
    enabled: bool


def counted(writes: Sequence[Write]) -> dict[int, Counter[str]]:
    """Acknowledged writes of each application, by kind."""
    counts: dict[int, Counter[str]] = {}
    for write in writes:
        if not write.error:
            counts.setdefault(write.client, Counter())[write.kind] += 1
    return counts


def met(writes: Sequence[Write], change: Change) -> bool:
    """Whether a write was in flight at the moment of the change, whichever moment between call and answer that was.

    ``writes`` are sorted by their begin.
    """
    reached = change.sent
    for write in writes:
        if write.began > reached:
            return False
        reached = max(reached, write.ended)
        if reached >= change.answered:
            return True
    return False


def longest_during(writes: Sequence[Write], changes: Sequence[Change]) -> float:
    """The longest time in seconds of any write that was in flight while the toggle was called and answered."""
    return max(
        (
            write.ended - write.began
            for write in writes
            if any(write.began <= change.answered and write.ended >= change.sent for change in changes)
        ),
        default=0.0,
    )


def main() -> None:
    given = json.loads(sys.argv[1])
    address, port, login = given.pop("entry")
    share = Share(Entry(address, port, Credentials(*login) if login else None), **given)
    stopped = threading.Event()
    with ExitStack() as clients:
        applications = [Application(share, number) for number in range(share.first, share.first + share.clients)]
        for application in applications:
            clients.enter_context(application.client)
        print("ready", flush=True)
        assert sys.stdin.readline() == "go\n"
        threads = [threading.Thread(target=application.run, args=(stopped,)) for application in applications]
        for thread in threads:
            thread.start()
        if not share.limit:
            sys.stdin.readline()
            stopped.set()
        for thread in threads:
            thread.join()
        print(json.dumps([application.result() for application in applications]), flush=True)


if __name__ == "__main__":
    main()
