"""Upgrade: a new program takes over from the running one, and no client notices."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests import frames
from tests.process.answers import BAD_CREDENTIALS
from tests.process.awaiting import until
from tests.process.conftest import StartProxy
from tests.process.connection import CqlConnection
from tests.process.programs import Program, proxy_command
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox
from tests.process.upgrading import SERVES, Successor, end, is_there

FAILED = "The upgrade failed, this process goes on serving: "

Ended = Callable[[Proxy], None]


@pytest.fixture
def ended() -> Iterator[Ended]:
    """Has the new program of a proxy that was upgraded otherwise end with the test."""
    pids: list[int] = []
    yield lambda running: pids.append(int(re.findall(SERVES, running.log())[-1]))
    for pid in pids:
        end(pid)


def upgrade_command(directory: Path, *arguments: str) -> Program:
    return Program([*proxy_command(), "upgrade", *arguments], {}, directory)


class Load:
    """Clients that write one row after the other, each on the one connection that it has; threads share them."""

    def __init__(self, clients: list[CqlConnection], insert: bytes, threads: int = 4) -> None:
        self.done = 0
        self.failed: list[object] = []
        self._insert = insert
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(clients[number::threads],)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, clients: list[CqlConnection]) -> None:
        number = 0
        while not self._is_over.is_set():
            for client in clients:
                number += 1
                try:
                    answer = client.ask(frames.execute(1, self._insert, [frames.integer(number)]))
                    if not answer.is_void:
                        self.failed.append(answer)
                except Exception as failed:
                    self.failed.append(failed)
                    return
                self.done += 1

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


class Probe:
    """Asks for readiness all the time, once on a connection that is kept and once on a new one."""

    def __init__(self, running: Proxy) -> None:
        self.answers: list[object] = []
        self._url = f"http://{running.host}:{running.metrics_port}/health/readiness"
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with requests.Session() as kept:
            while not self._is_over.wait(0.005):
                for ask in (requests.get, kept.get):
                    try:
                        self.answers.append(ask(self._url, timeout=20).status_code)
                    except requests.RequestException as failed:
                        self.answers.append(failed)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


def workers_of(pid: int) -> int:
    """How many processes of their own there are."""
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@contextlib.contextmanager
def as_if_with(cpus: int) -> Iterator[None]:
    """What is started meanwhile may use so many CPUs."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, list(allowed)[:cpus])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def allow(running: Proxy, cpus: int) -> None:
    """What it starts from now on may use so many CPUs."""
    os.sched_setaffinity(running.program.pid, list(os.sched_getaffinity(0))[:cpus])


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_an_upgrade_under_load_fails_no_request_and_closes_no_connection(
    sandbox: Sandbox, proxy: StartProxy, ks: str, successor: Successor, before: int, after: int
) -> None:
    """200 clients write on, and the proxy is ready whenever it is asked."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the number of workers is changed by that of the CPUs")
    with as_if_with(before):
        running = proxy(*sandbox.clusters, workers="auto")
    clients = [running.client() for _ in range(200)]
    insert = clients[0].prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'x')")
    load, probe = Load(clients, insert), Probe(running)
    try:
        until(lambda: load.done > 400, "all clients work")
        allow(running, after)
        pid = successor(running)
        at_the_end = load.done
        until(lambda: load.done > at_the_end + 400 or load.failed, "they go on")
    finally:
        load.stop()
        probe.stop()
    assert load.failed == [] and set(probe.answers) == {200}
    assert running.metric("client_connections_total") == 200
    assert running.metric("pscache_miss_total") == 0
    assert workers_of(pid) == (after if after > 1 else 0)
    for client in clients:
        client.close()


def test_the_command_has_a_proxy_upgraded(sandbox: Sandbox, proxy: StartProxy, tmp_path: Path, ended: Ended) -> None:
    """It knows a proxy from another process, and a supervisor from a worker."""
    running = proxy(*sandbox.clusters, workers=2)
    client = running.client()
    for stranger in (os.getpid(), running.children()[0]):
        assert upgrade_command(tmp_path, str(stranger)).wait() == 2
    file = tmp_path / "pid"
    file.write_text(f"{running.program.pid}\n")
    assert upgrade_command(tmp_path, "--pid-file", str(file), "--wait", "20").wait() == 0
    ended(running)
    assert client.query("SELECT key FROM system.local").rows == [("local",)]


def test_a_program_that_was_upgraded_can_be_upgraded_again(
    sandbox: Sandbox, proxy: StartProxy, ks: str, successor: Successor
) -> None:
    """The client is on its third process then; a statement that it prepared on the first is known."""
    running = proxy(*sandbox.clusters)
    client = running.client()
    insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'x')")
    successor(running)
    successor(running)
    assert client.ask(frames.execute(1, insert, [frames.integer(1)])).is_void
    assert running.client().ask(frames.execute(1, insert, [frames.integer(2)])).is_void


def test_what_was_said_of_target_holds_after_an_upgrade_without_a_state_file(
    guarded: Sandbox, proxy: StartProxy, successor: Successor
) -> None:
    """And so do the logins that target accepted: a client is let in as before, a stranger is not."""
    running = proxy(*guarded.clusters)
    user, password = guarded.target.login
    running.client(user, password)
    running.announces("Target cluster DISABLED via API")
    assert running.post("/api/v1/target/disable?reason=sick").ok
    before = running.get("/api/v1/target").json()
    client = running.client(user, password)
    successor(running)
    after = running.get("/api/v1/target").json()
    assert after["enabled"] is False and after["reason"] == "sick" and after["since"] == before["since"]
    assert client.query("SELECT key FROM system.local").rows == [("local",)]
    running.client(user, password)
    assert running.connect().handshake(user, "wrong").error[0] == BAD_CREDENTIALS
    assert password not in running.log()


def test_who_does_not_come_to_rest_is_drained(
    sandbox: Sandbox, proxy: StartProxy, ks: str, successor: Successor
) -> None:
    """Within the time of a shutdown; all others have moved before."""
    running = proxy(*sandbox.clusters, proxy_drain_timeout_ms=300)
    text = f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')"
    sandbox.target.fault("drop", text=text)
    stuck, other = running.client(), running.client()
    stuck.send(frames.query(1, text))
    until(lambda: running.metric('proxy_inflight_requests_total{type="writes"}') == 1, "it is in flight")
    running.announces("1 client connections still had requests in flight")
    successor(running)
    assert stuck.until_closed() == []
    assert other.query("SELECT key FROM system.local").rows == [("local",)]


@pytest.mark.parametrize("fault", ["configuration", "death"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_program_that_fails_changes_nothing(
    sandbox: Sandbox, proxy: StartProxy, ks: str, tmp_path: Path, successor: Successor, fault: str, workers: int
) -> None:
    """One line says why; a second try may succeed."""
    token = tmp_path / "token"
    token.write_text("secret")
    running = proxy(*sandbox.clusters, workers=workers, admin_token_file=str(token))
    client = running.client()
    known = set(running.children())
    if fault == "configuration":
        token.unlink()
        running.announces("Error loading configuration")
        running.announces(f"{FAILED}the new program ended with exit code 255")
        running.program.signal(signal.SIGUSR2)
    else:
        running.announces(f"{FAILED}the new program was ended by SIGKILL")
        running.program.signal(signal.SIGUSR2)
        (new,) = until(lambda: set(running.children()) - known, "the new program is there")
        os.kill(new, signal.SIGKILL)
    running.said(FAILED)
    assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')").is_void
    assert running.is_ready() and running.client().query("SELECT key FROM system.local").rows == [("local",)]
    assert running.get("/api/v1/target").ok
    token.write_text("secret")
    successor(running)
    assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')").is_void


def test_a_proxy_that_is_told_to_end_while_it_is_upgraded_ends_with_all_its_processes(
    sandbox: Sandbox, proxy: StartProxy
) -> None:
    """The operator wants it to be gone, not to be replaced."""
    running = proxy(*sandbox.clusters)
    running.program.signal(signal.SIGUSR2)
    (new,) = until(running.children, "the new program is there")
    running.program.signal(signal.SIGTERM)
    assert running.program.wait() == 0
    until(lambda: not is_there(new), "the new program is gone")
