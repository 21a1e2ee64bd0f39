"""A new program in the place of a running proxy, and the end of both."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from tests.process.awaiting import until
from tests.process.running_proxy import Proxy

SERVES = r"Upgrade: the new program serves, as process (\d+)\."

Successor = Callable[[Proxy], int]
"""Has a proxy upgraded and waits until the old program has ended; the new process, which ends with the test."""


class Successors:
    """The new programs of one proxy, each the successor of the one before."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def upgrade(self, running: Proxy) -> int:
        before = self._pids[-1] if self._pids else running.program.pid
        os.kill(before, signal.SIGUSR2)
        until(lambda: len(re.findall(SERVES, running.log())) > len(self._pids), "the new program serves")
        self._pids.append(int(re.findall(SERVES, running.log())[-1]))
        until(lambda: not is_there(before), "the old program has ended")
        return self._pids[-1]

    def end(self) -> None:
        for pid in self._pids:
            end(pid)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(pid: int) -> None:
    if is_there(pid):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not is_there(pid), "the new program has ended")
