"""Measure what a client costs the proxy in memory, and whether clients that went leave some of it behind.

    python bench/memory.py [--clients 2000] [--cycles 10000] [--limit-kb 15]

README.md beside this file says what is measured. The exit code is 1 where a client costs more than `--limit-kb`, or
where what is left behind grows.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import struct
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from contestants import ours
from processes import BenchError, build, family, running

ORIGIN, TARGET, LISTEN = "127.0.51.10:9042", "127.0.51.11:9042", "127.0.51.21:9042"
BATCH: Final = 200  # clients that log in at the same time
SETTLED_S: Final = 1.0  # after which the proxy has closed what belonged to clients that went
GROWTH_KB: Final = 1024  # what 10,000 clients may leave behind: less than a page for forty of them

HEADER: Final = struct.Struct(">BBhBi")
STARTUP, READY, QUERY, RESULT, PREPARE, EXECUTE = 1, 2, 7, 8, 9, 10
TEXT: Final = b"INSERT INTO ks.t (id, v) VALUES (?, ?)"


class Client:
    """One connection that has logged in, written a row with a prepared statement, and is quiet from then on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def begin(self) -> Client:
        await self._ask(STARTUP, b"\0\1\0\x0bCQL_VERSION\0\x053.0.0", READY)
        prepared = await self._ask(PREPARE, struct.pack(">i", len(TEXT)) + TEXT, RESULT)
        (length,) = struct.unpack_from(">h", prepared, 4)
        values = struct.pack(">hBh", 1, 1, 2) + struct.pack(">iii", 4, 1, 100) + b"x" * 100
        await self._ask(EXECUTE, prepared[4 : 6 + length] + values, RESULT)
        return self

    async def _ask(self, opcode: int, body: bytes, expected: int) -> bytes:
        self._writer.write(HEADER.pack(4, 0, 1, opcode, len(body)) + body)
        _, _, _, answered, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        answer = await self._reader.readexactly(length)
        if answered != expected:
            raise BenchError(f"the answer to opcode {opcode} is {answered}: {answer!r}")
        return answer

    def close(self) -> None:
        self._writer.close()


def resident_kb(pid: int) -> int:
    """Memory of the proxy and its workers; what they share counts once for each."""
    total = 0
    for process in family(pid):
        status = Path(f"/proc/{process}/status").read_text()
        total += int(status.partition("VmRSS:")[2].split()[0])
    return total


async def connect(count: int) -> list[Client]:
    host, port = LISTEN.split(":")

    async def one() -> Client:
        return await Client(*await asyncio.open_connection(host, int(port))).begin()

    clients: list[Client] = []
    while len(clients) < count:
        clients += await asyncio.gather(*(one() for _ in range(min(BATCH, count - len(clients)))))
    return clients


async def leave(clients: list[Client]) -> None:
    for client in clients:
        client.close()
    await asyncio.sleep(SETTLED_S)


async def cycle(count: int) -> None:
    """So many clients come and go, some hundreds at a time."""
    for start in range(0, count, BATCH):
        for client in await connect(min(BATCH, count - start)):
            client.close()
    await asyncio.sleep(SETTLED_S)


async def measure(pid: int, options: argparse.Namespace) -> int:
    start = resident_kb(pid)
    print(f"started: {start:,} KB")
    clients = await connect(options.clients)
    await asyncio.sleep(SETTLED_S)
    full = resident_kb(pid)
    each = (full - start) / options.clients
    print(f"{options.clients:,} quiet clients: {full:,} KB, {each:.1f} KB each")
    await leave(clients)
    before = resident_kb(pid)
    print(f"they are gone: {before:,} KB")
    after = before
    for half in ("first", "second"):
        await cycle(options.cycles // 2)
        before, after = after, resident_kb(pid)
        print(f"the {half} {options.cycles // 2:,} clients came and went: {after:,} KB, {after - before:+,} KB")
    has_failed = each > options.limit_kb or after - before > GROWTH_KB
    print("FAILED" if has_failed else "ok")
    return int(has_failed)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--limit-kb", type=float, default=15.0)
    options = parser.parse_args(arguments)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="zdm-memory-") as directory, ExitStack() as processes:
        work = Path(directory)
        build(work)
        for name, address in (("origin", ORIGIN), ("target", TARGET)):
            stub = [str(work / "stub"), "-addr", address, "-name", name]
            processes.enter_context(running(f"the stub {name}", stub, address, work / f"{name}.log", {}))
        proxy = ours(LISTEN)
        environment = proxy.environment | {
            "ZDM_ORIGIN_CONTACT_POINTS": ORIGIN.split(":")[0],
            "ZDM_TARGET_CONTACT_POINTS": TARGET.split(":")[0],
            "ZDM_PROXY_MAX_CLIENT_CONNECTIONS": str(options.clients + BATCH),
        }
        pid = processes.enter_context(running(proxy.name, proxy.command, LISTEN, work / "proxy.log", environment))
        return asyncio.run(measure(pid, options))


if __name__ == "__main__":
    sys.exit(main())
