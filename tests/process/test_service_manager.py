"""Under a service manager: it opens the client port, and is told who serves."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.process import running_proxy
from tests.process.awaiting import until
from tests.process.conftest import StartProxy
from tests.process.programs import proxy_command
from tests.process.sandbox import Sandbox
from tests.process.upgrading import SERVES, end

# what a manager does between fork and exec
ACTIVATION = """
import os, socket, sys
listening = socket.create_server((os.environ["ZDM_PROXY_LISTEN_ADDRESS"], int(os.environ["ZDM_PROXY_LISTEN_PORT"])))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="cql")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_manager_opens_the_port_and_is_told_who_serves(
    sandbox: Sandbox, proxy: StartProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Ready, replaced by another process at an upgrade, and about to end."""
    command = [sys.executable, "-c", ACTIVATION, *proxy_command()]
    monkeypatch.setattr(running_proxy, "proxy_command", lambda: command)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        running = proxy(*sandbox.clusters, workers=workers)
        assert manager.recv(100) == b"READY=1"
        client = running.client()
        running.program.signal(signal.SIGUSR2)
        pid = int(running.said(SERVES).rpartition("process ")[2].partition(".")[0])
        try:
            assert manager.recv(100) == b"MAINPID=%d" % pid
            assert running.program.wait() == 0
            assert client.query("SELECT key FROM system.local").rows == [("local",)]
            assert running.client().query("SELECT key FROM system.local").rows == [("local",)]
            os.kill(pid, signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            until(lambda: not Path(f"/proc/{pid}/cmdline").read_bytes(), "it has ended")
        finally:
            end(pid)
