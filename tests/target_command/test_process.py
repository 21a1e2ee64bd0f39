"""The command as a process of its own, and against the API that the proxy really serves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.target_command.api import ADDRESS, Command, Proxy, Start

ROOT = Path(__file__).parents[2]


def test_it_loads_neither_reactor_nor_libraries(proxy: Proxy) -> None:
    """0.1 s to switch the target off, not half a second."""
    program = (
        "import sys; from zdm import cli; code = cli.main(sys.argv[1:]);"
        "print(code, {name.split('.')[0] for name in sys.modules} & {'twisted', 'klein', 'pydantic', 'yaml', 'rich'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "target", "disable", "--url", proxy.url],
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 set()"


def test_ctrl_c_ends_it_at_once_without_a_traceback(start: Start) -> None:
    silent, other = start(), start()
    silent.silence = other.silence = threading.Event()
    # what runs in the background of a shell inherits that SIGINT is ignored
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from zdm import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, "target", "disable", "--url", silent.url, "--url", other.url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert silent.asked.wait(20) and other.asked.wait(20)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=5)
    finally:
        silent.silence.set()
        running.kill()
    assert (running.returncode, out) == (130, "")
    assert "interrupted" in err and "Traceback" not in err


def test_a_reader_that_leaves_early_is_no_traceback(proxy: Proxy) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "zdm", "target", "status", "--url", proxy.url],
            stdout=closed, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False, timeout=30,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


def test_output_that_the_terminal_cannot_show_is_escaped(proxy: Proxy) -> None:
    """A reason in the letters of another country must not end the command."""
    done = subprocess.run(
        [sys.executable, "-m", "zdm", "target", "disable", "--url", proxy.url, "--reason", "Störung"],
        capture_output=True, cwd=ROOT, check=False, timeout=30, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0 and b"St\\xf6rung" in done.stdout


# Klein imports the reactor, so it is installed before this file is read.
REAL = """
import runpy, sys
from zdm.net.endpoints import install_reactor
install_reactor()
runpy.run_path(sys.argv[1])["serve"](sys.argv[2])
"""


def serve(token: str) -> None:
    """The proxy's own API before a switch that needs no proxy, on a free port that it prints; until SIGTERM."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, fail, succeed

    from zdm.admin.access import Access
    from zdm.admin.app import AdminApp
    from zdm.admin.health import Health
    from zdm.admin.server import AdminServer
    from zdm.admin.switch import Refused, TargetState

    class Switch:
        now = TargetState(True, True, "DUAL", 0, None, "", "", 0)

        def state(self) -> TargetState:
            attaching = max(self.now.attaching - 1, 0)
            effective = "ORIGIN_ONLY" if not self.now.enabled else "ATTACHING" if attaching else "DUAL"
            self.now = self.now._replace(attaching=attaching, effective=effective)
            return self.now

        def switch(self, enabled: bool, reason: str, actor: str, peer: str, force: bool = False) -> Deferred[str]:
            if self.now.enabled and not enabled and not force:
                return fail(Refused("cannot disable target: primary_cluster is TARGET"))
            generation = self.now.generation + 1
            effective = "ATTACHING" if enabled else "ORIGIN_ONLY"
            self.now = TargetState(True, enabled, effective, generation, 1790000000.25, reason, actor, 5 * enabled)
            return succeed(f"Target {'enabled' if enabled else 'disabled'}")

    class Proxied:
        target = Switch()

        def metrics_text(self) -> None:
            return None

        def health(self) -> Health | None:
            return None

    running: Any = reactor
    server = AdminServer(AdminApp(Proxied(), True, Access(ADDRESS, token)).resource(), ADDRESS, 0, running)

    def tell(port: Any) -> None:
        print(port.getHost().port, flush=True)

    running.callWhenRunning(lambda: server.start().addCallback(tell))
    running.run()


@pytest.fixture
def real() -> Iterator[str]:
    """The address of an API that wants the token `right`."""
    running = subprocess.Popen(
        [sys.executable, "-c", REAL, __file__, "right"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert running.stdout is not None
        yield f"{ADDRESS}:{int(running.stdout.readline())}"
    finally:
        running.terminate()
        running.communicate(timeout=20)


def test_the_real_api_and_the_command_understand_each_other(command: Command, real: str, tmp_path: Path) -> None:
    """Through one outage: refused without token, refused by the configuration, disabled, asked, enabled, attached."""
    path = tmp_path / "token"
    path.write_text("right\n")
    token = ("--token-file", str(path))
    assert command("status", "--url", real).code == 0
    refused = command("disable", "--url", real)
    assert refused.code == 5 and "Authorization: Bearer" in refused.err
    refused = command("disable", "--url", real, *token)
    assert refused.code == 4 and "primary_cluster is TARGET" in refused.err
    assert command("disable", "--url", real, *token, "--force", "--reason", "x" * 501).code == 4
    assert command("disable", "--url", real, *token, "--force", "--reason", "full & sick", "--actor", "ann").code == 0
    asked = command("status", "--url", real)
    (row,) = asked.rows()
    assert asked.code == 3
    assert (row["DESIRED"], row["EFFECTIVE"], row["GENERATION"]) == ("DISABLED", "ORIGIN_ONLY", "1")
    assert (row["SINCE"], row["REASON"], row["ACTOR"]) == ("2026-09-21T14:13:20.250Z", "full & sick", "ann")
    enabled = command("enable", "--url", real, *token, "--wait", "30")
    (row,) = enabled.rows()
    assert (enabled.code, row["EFFECTIVE"], row["ATTACHING"]) == (0, "DUAL", "0")
    assert "Target enabled" in enabled.err
