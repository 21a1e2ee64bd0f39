"""The processes of a measurement: how they are built, started, watched and stopped.

Everything listens on addresses 127.0.50.10 to 127.0.50.39.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ORIGIN, TARGET = "127.0.50.10:9042", "127.0.50.11:9042"
STATISTICS: Final = {"origin": "127.0.50.10:9050", "target": "127.0.50.11:9050"}
DEADLINE_S: Final = 30.0


class BenchError(Exception):
    """The measurement can't be made, or is not to be trusted; the text says why."""


def build(into: Path) -> None:
    """Compile the load generator and the stub."""
    if shutil.which("go") is None:
        raise BenchError("The load generator and the stub are written in Go, and there is no `go` in the PATH.")
    source = HERE / "cqlbench"
    subprocess.run(["go", "build", "-o", f"{into}/", "./stub", "./load"], cwd=source, check=True)


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


def start_stubs(processes: ExitStack, work: Path, ids: str, row: int) -> None:
    """Both clusters, whose reads return a row of so many bytes."""
    for name, address in (("origin", ORIGIN), ("target", TARGET)):
        stub = [str(work / "stub"), "-addr", address, "-name", name, "-ids", ids, "-stat", STATISTICS[name]]
        stub += ["-row", str(row)]
        processes.enter_context(running(f"the stub {name}", stub, address, work / f"{name}.log", {}))
        host, port = STATISTICS[name].split(":")
        socket.create_connection((host, int(port)), DEADLINE_S).close()


def family(pid: int) -> list[int]:
    """A process and all below it: a proxy's workers count."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += family(int(child))
    return found


def seen(cluster: str) -> dict[str, int]:
    """Requests that a stub has seen, by opcode, and under "sum" the sum of their checksums."""
    with urllib.request.urlopen(f"http://{STATISTICS[cluster]}/", timeout=10) as answer:
        counted: dict[str, int] = json.load(answer)
    return counted
