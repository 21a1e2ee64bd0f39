"""Starts with target disabled: the rescue of one that waits, restarts without target, and the file that remembers."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.process.answers import AUTH_SUCCESS, BAD_CREDENTIALS
from tests.process.awaiting import free_port, until
from tests.process.conftest import ORIGIN_LOGIN, TARGET_LOGIN, StartProxy, StartSandbox
from tests.process.running_proxy import PROXY, Proxy
from tests.process.sandbox import Sandbox

NOBODY_HOME = "127.0.30.2"
API = "/api/v1/target"
DISABLED = "Target cluster DISABLED via API"
ENABLED = "Target cluster ENABLED via API"
NO_TARGET = ("Failed to open control connection to TARGET", "could not open control connection to TARGET")
LOST_TARGET = (*NO_TARGET, r"The control connection to TARGET .* ended")


def nowhere(login: tuple[str, str] = ("", "")) -> SimpleNamespace:
    """A cluster that is not there."""
    return SimpleNamespace(host=NOBODY_HOME, port=free_port(NOBODY_HOME), login=login)


def tolerate(running: Proxy, *patterns: str) -> Proxy:
    for pattern in patterns:
        running.tolerates(pattern)
    return running


def post(running: Proxy, what: str) -> requests.Response:
    return requests.post(f"http://{PROXY}:{running.metrics_port}{API}/{what}?reason=sick&actor=ops", timeout=10)


def disable(running: Proxy) -> None:
    running.announces(DISABLED)
    answer = post(running, "disable")
    assert (answer.status_code, answer.json()["message"]) == (200, "Target disabled"), answer.text


def serves(running: Proxy, login: tuple[str, str] = ("", "")) -> bool:
    client = running.client(*login)
    return client.query("SELECT key FROM system.local").rows == [("local",)]


def test_a_start_against_a_dead_target_is_rescued_by_one_call(
    sandbox: Sandbox, proxy: StartProxy, tmp_path: Path
) -> None:
    """And the next start does not even wait for it."""
    path, target = tmp_path / "state.json", nowhere()
    starting = proxy(sandbox.origin, target, ready=False, state_file=path)
    for pattern in (r"Couldn't start proxy: ", r"Couldn't start proxy, retrying in "):
        starting.announces(pattern)
        starting.said(pattern)
    tolerate(starting, *NO_TARGET).announces(DISABLED)
    assert starting.get(API).status_code == 503
    answer = post(starting, "disable")
    assert (answer.status_code, answer.json()["enabled"]) == (202, False)
    starting.wait_until_ready()
    assert serves(starting)
    readiness = starting.get("/health/readiness").json()
    assert (readiness["Status"], readiness["TargetStatus"]["Status"]) == ("UP", "DOWN")
    assert json.loads(path.read_text())["target"]["reason"] == "sick"
    starting.stop()
    again = tolerate(proxy(sandbox.origin, target, state_file=path), *NO_TARGET)
    assert serves(again)
    again.said("Target cluster: disabled")
    again.said("Target has been disabled since .*, by ops, sick")


def test_a_proxy_that_is_restarted_while_target_is_disabled_and_down_serves(
    own_sandbox: StartSandbox, proxy: StartProxy, tmp_path: Path
) -> None:
    """It comes up at once, and takes target in again when it is back and enabled."""
    clusters, path = own_sandbox(), tmp_path / "state.json"
    first = tolerate(proxy(*clusters.clusters, state_file=path), *LOST_TARGET)
    disable(first)
    clusters.target.node("stop")
    first.stop()
    again = tolerate(proxy(*clusters.clusters, state_file=path, target_probe_interval_ms=3_600_000), *LOST_TARGET)
    assert serves(again)
    assert again.get(API).json()["effective"] == "ORIGIN_ONLY"
    clusters.target.node("start")
    again.announces(ENABLED)
    assert post(again, "enable").status_code == 200
    again.wait_until_ready()
    until(lambda: again.get(API).json()["effective"] == "DUAL", "target takes part")
    again.client().query("CREATE KEYSPACE back WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    for cluster in clusters.clusters:
        assert cluster.query("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = 'back'")


def test_after_a_restart_without_target_only_logins_that_it_accepted_are_let_in(
    own_sandbox: StartSandbox, proxy: StartProxy, tmp_path: Path
) -> None:
    """The proxy has origin's rights, so it must know whom it lends them to.

    The client's login is none that is configured; so the control connection cannot be opened, and target is reached
    without it.
    """
    clusters, path = own_sandbox(ORIGIN_LOGIN, TARGET_LOGIN), tmp_path / "state.json"
    settings: dict[str, Any] = {"state_file": path, "target_username": "the_proxy", "target_password": "its_own"}
    first = tolerate(proxy(*clusters.clusters, target_enabled_at_start="false", **settings), *LOST_TARGET)
    first.announces(ENABLED)
    assert post(first, "enable").status_code == 200
    assert first.connect().handshake(*TARGET_LOGIN).opcode == AUTH_SUCCESS
    until(lambda: f'"{TARGET_LOGIN[0]}"' in path.read_text(), "the login is kept")
    assert TARGET_LOGIN[1] not in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    disable(first)
    clusters.target.node("stop")
    first.stop()
    again = tolerate(proxy(*clusters.clusters, **settings), *LOST_TARGET)
    assert serves(again, TARGET_LOGIN)
    for wrong in ((TARGET_LOGIN[0], "wrong"), ("nobody", TARGET_LOGIN[1])):
        error = again.connect().handshake(*wrong).error
        assert error is not None and error[0] == BAD_CREDENTIALS


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"format": 1, "target": {"enabled": fal', "it is damaged: Invalid JSON"),
        ('{"format": 7}', "its format is 7, and this version of the proxy reads format 1 only"),
    ],
)
def test_a_damaged_state_file_ends_the_start_with_its_name(
    proxy: StartProxy, tmp_path: Path, content: str, reason: str
) -> None:
    """Whether target is to be written to is nothing to be guessed."""
    path = tmp_path / "state.json"
    path.write_text(content)
    starting = proxy(nowhere(), nowhere(), ready=False, state_file=path)
    starting.exit_code = 255
    starting.announces(f"the state file {path} cannot be used: {reason}.*ZDM_TARGET_ENABLED_AT_START")
    assert starting.program.wait() == 255
    assert "Traceback" not in starting.log() and path.read_text() == content


@pytest.mark.parametrize(
    ("word", "last", "enabled"),
    [("false", None, False), ("true", False, True), ("last", False, False), ("last", True, True), ("last", None, True)],
)
def test_target_starts_as_the_key_says(
    sandbox: Sandbox, proxy: StartProxy, tmp_path: Path, word: str, last: bool | None, enabled: bool
) -> None:
    """`last` is the usual one; the others are for who keeps the state elsewhere."""
    path = tmp_path / "state.json"
    if last is not None:
        path.write_text(json.dumps({"format": 1, "target": {"enabled": last}}))
    running = proxy(*sandbox.clusters, state_file=path, target_enabled_at_start=word)
    if last is not None and last is not enabled:
        running.announces(f"ZDM_TARGET_ENABLED_AT_START={word} overrides the state file")
    assert running.get(API).json()["enabled"] is enabled
    running.said(f"Target cluster: {'enabled' if enabled else 'disabled'}")
    assert json.loads(path.read_text())["target"]["enabled"] is enabled


def test_an_audit_file_that_hangs_keeps_neither_the_switch_nor_the_end(
    sandbox: Sandbox, proxy: StartProxy, tmp_path: Path
) -> None:
    """A pipe that nobody reads, as a disk that never answers: every change is made, and SIGTERM ends the proxy."""
    path = tmp_path / "audit"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    running = proxy(*sandbox.clusters, admin_audit_file=path, target_enabled_at_start="false")
    late = "the audit file is not written yet"
    for pattern in (DISABLED, ENABLED, late, "The audit file is still not written"):
        running.announces(pattern)
    for what in ("enable", "disable"):
        answer = post(running, what)
        assert (answer.status_code, answer.json()["message"]) == (200, f"Target {what}d; {late}")
    assert running.get(API).json()["effective"] == "ORIGIN_ONLY"
    running.stop()
    os.close(pipe)
