"""Starting a worker's process: what it is to be, and one end of a pair of sockets as its channel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any, Final

from twisted.internet.defer import Deferred

from zdm.certificates import tls_plans
from zdm.config import Config
from zdm.net.threads import Run
from zdm.profiling import NONE, WRITING, Profiles
from zdm.settings import copies_to
from zdm.sockets import socket_options
from zdm.worker_process.channel import adopt
from zdm.worker_process.crew import Launch
from zdm.worker_process.remote import RemoteWorker
from zdm.worker_process.snapshots import WorkerSettings


def worker_settings(config: Config, count: int) -> list[WorkerSettings]:
    """What each of `count` workers is to be."""
    secured = tuple(tls_plans(config))
    return [
        WorkerSettings(
            number,
            count,
            config.origin_connection_timeout_ms / 1000,
            config.target_connection_timeout_ms / 1000,
            config.latency_buckets("origin"),
            config.latency_buckets("target"),
            config.prepared_cache_entries,
            config.log_level_name,
            config.log_format,
            socket_options(config),
            config.latency_buckets("async_read"),
            copies_to(config),
            config.metrics_max_tables,
            secured,
            config.proxy_max_client_connections,
        )
        for number in range(1, count + 1)
    ]


class Child:
    """A started process."""

    def __init__(self, started: subprocess.Popen[bytes], run: Run) -> None:
        self._started: Final = started
        self._run: Final = run

    @property
    def pid(self) -> int:
        return self._started.pid

    def kill(self) -> None:
        self._started.kill()

    def ended(self) -> Deferred[int]:
        """To be asked only where it has ended or is about to: a thread waits for it."""
        return self._run(self._started.wait)


def launcher(reactor: Any, run: Run, profiles: Profiles = NONE) -> Launch:
    """Starts workers as processes of this program; `run` is where their end is waited for.

    They have a process group of their own: what a terminal sends to its foreground is for the supervisor alone.
    """

    def launch(worker: RemoteWorker) -> None:
        own = profiles.of_worker(worker.number)
        if profiles.are_wanted:
            worker.leave_limit = WRITING
        ours, theirs = socket.socketpair()
        with ours, theirs:
            number, channel = str(worker.number), str(theirs.fileno())
            started = subprocess.Popen(
                [sys.executable, *_path_options(), "-m", "zdm.worker_process", number, channel, *own],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
            worker.process = Child(started, run)
            adopt(reactor, ours, worker)

    return launch


def _path_options() -> list[str]:
    """A module is also looked for in the working directory, which is no place to find this program in by chance."""
    return [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
