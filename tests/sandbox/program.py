"""The sandbox as a program of its own, and a real driver that talks to it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import FallthroughRetryPolicy, WhiteListRoundRobinPolicy

PORT = 29042


@contextmanager
def running_sandbox(origin: str, target: str, *arguments: str) -> Iterator[str]:
    """The address of the control of a sandbox whose clusters are at these hosts; its end is asserted to be clean."""
    command = [sys.executable, "-m", "zdm.sandbox", "--origin", f"{origin}:{PORT}", "--target", f"{target}:{PORT}"]
    command += ["--control", f"{origin}:0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(rf"sandbox ready origin={origin}:{PORT} target={target}:{PORT} control=(\S+)\n", line)
        assert found is not None, line
        yield f"http://{found[1]}/clusters"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def connect(host: str, **options: Any) -> Cluster:
    """A driver that talks to this host and does not retry by itself; unless told otherwise it tries v5 first."""
    policy = WhiteListRoundRobinPolicy([host])
    profile = ExecutionProfile(load_balancing_policy=policy, retry_policy=FallthroughRetryPolicy(), request_timeout=20)
    profiles = {EXEC_PROFILE_DEFAULT: profile}
    return Cluster([host], port=PORT, execution_profiles=profiles, connect_timeout=20, **options)
