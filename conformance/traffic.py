"""Applications that write all the time and remember what was acknowledged: in threads, or as a process to kill.

Each row has its own key, so the rows found later tell exactly which writes arrived. As a program:
``python -m conformance.traffic ADDRESS PORT PROTOCOL KEYSPACE TABLE FIRST [USER PASSWORD]`` prints each acknowledged
key.
"""

from __future__ import annotations

import sys
import threading
import time

from cassandra import DriverException, OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import ErrorMessage

from conformance.awaiting import await_true
from conformance.backends.interface import Credentials
from conformance.client import Client, Entry

# for writers while a node starts, which needs the processor too: seconds
GENTLY = 0.01
# the driver's exceptions have no class in common
FAILURES = (DriverException, ErrorMessage, NoHostAvailable, ConnectionException)


class Writer:
    """One client that writes ``first``, ``first + 1``, ... into table (k int, v text) until it is stopped.

    ``pause`` is in seconds, after each write.

    ``acknowledged`` and ``failed`` are read while it runs. ``slowest`` is the longest any request took, in seconds;
    ``unanswered`` counts requests that the driver gave up waiting for: the proxy owes an answer to every one.
    """

    def __init__(self, client: Client, table: str, first: int, pause: float = 0.0) -> None:
        self.client = client
        self.pause = pause
        self.acknowledged: list[int] = []
        self.failed: list[tuple[int, Exception]] = []
        self.slowest = 0.0
        self.unanswered = 0
        self._insert = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
        self._next = first
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Writer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a request hangs"

    def await_more(self, count: int = 20, seconds: float = 60.0) -> None:
        """Returns after this many further acknowledged writes."""
        wanted = len(self.acknowledged) + count
        await_true(
            lambda: len(self.acknowledged) >= wanted, f"{count} more writes, last failures {self.failed[-2:]}", seconds
        )

    def await_failure(self, seconds: float = 60.0) -> None:
        wanted = len(self.failed) + 1
        await_true(lambda: len(self.failed) >= wanted, "a write fails", seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.write_one()
            if self.pause:
                self._stopped.wait(self.pause)

    def write_one(self) -> None:
        key, self._next = self._next, self._next + 1
        began = time.monotonic()
        try:
            self.client.execute(self._insert, (key, f"value {key}"))
        except FAILURES as failure:
            self.failed.append((key, failure))
            self.unanswered += isinstance(failure, OperationTimedOut)
            self._stopped.wait(0.05)  # a refused write is refused at once: leave the processor to others
        else:
            self.acknowledged.append(key)
        self.slowest = max(self.slowest, time.monotonic() - began)


def main() -> None:
    address, port, protocol, keyspace, table, first, *rest = sys.argv[1:]
    entry = Entry(address, int(port), Credentials(*rest) if rest else None)
    with Client(entry, int(protocol), keyspace) as client:
        writer = Writer(client, table, int(first))
        printed = 0
        while True:
            writer.write_one()
            for key in writer.acknowledged[printed:]:
                print(key, flush=True)
            printed = len(writer.acknowledged)


if __name__ == "__main__":
    main()
