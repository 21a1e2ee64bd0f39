"""Several workers: clients, requests and statements are spread over processes, and nobody notices."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import frames
from tests.process import drivers
from tests.process.answers import UNPREPARED
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.connection import Closed, CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

KILLED = r"Worker \d \(process \d+\) was ended by SIGKILL, with \d+ client connections"


SOCKETS_OF_A_CLIENT = 3
"""Its own, and one to each cluster."""


def spread_of(running: Proxy) -> dict[int, list[CqlConnection]]:
    """Eight ready clients, by the worker process that has them: four each.

    On a busy machine more are needed, since a worker that is not heard from for a moment is passed over meanwhile.
    """
    found: dict[int, list[CqlConnection]] = {pid: [] for pid in running.children()}

    def each_has_four() -> bool:
        client = running.client()
        found[owner(running, client)].append(client)
        return all(len(clients) >= 4 for clients in found.values())

    until(each_has_four, "each worker has four clients")
    for clients in found.values():
        while len(clients) > 4:
            clients.pop().close()
    return found


def owner(running: Proxy, client: CqlConnection) -> int:
    """The process that has the other end of a client's socket: the kernel knows."""
    inode = inode_of(running, client)
    for pid in running.children():
        links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())
        if f"socket:[{inode}]" in links:
            return pid
    raise AssertionError(f"no worker has the connection {client.name}")


def inode_of(running: Proxy, client: CqlConnection) -> str:
    local, remote = in_hexadecimal(f"{running.host}:{running.port}"), in_hexadecimal(client.name)
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1:3] == [local, remote]:
            return fields[9]
    raise AssertionError(f"no such connection: {client.name}")


def in_hexadecimal(name: str) -> str:
    host, port = name.split(":")
    return "".join(f"{int(part):02X}" for part in reversed(host.split("."))) + f":{int(port):04X}"


@pytest.fixture
def running(sandbox: Sandbox, proxy: StartProxy) -> Proxy:
    """A proxy with two workers."""
    return proxy(*sandbox.clusters, workers=2)


def test_the_proxy_counts_clients_and_memory_of_all_workers(running: Proxy) -> None:
    """Whoever watches it sees one program."""
    spread = spread_of(running)
    until(lambda: running.metric("client_connections_total") == sum(map(len, spread.values())) == 8, "all are counted")
    text = running.get("/metrics").text
    (shown,) = [line for line in text.splitlines() if line.startswith("process_resident_memory_bytes ")]
    assert abs(float(shown.split()[1]) - running.resident_bytes()) < 8 << 20, "the memory of all three"


def test_each_worker_says_who_it_is(sandbox: Sandbox, proxy: StartProxy) -> None:
    """Lines of several processes stand in one log."""
    running = proxy(*sandbox.clusters, workers=2, log_level="DEBUG")
    for client in (running.client(), running.client()):
        client.close()
    for number in (1, 2):
        running.said(rf" worker={number}$")
        assert "worker=" not in running.said(f"Worker {number} serves, as process")


def test_one_worker_is_no_process_of_its_own(sandbox: Sandbox, proxy: StartProxy) -> None:
    """On one CPU it would only cost."""
    running = proxy(*sandbox.clusters, workers=1)
    assert running.client().query("SELECT key FROM system.local").rows == [("local",)]
    assert running.children() == [] and "worker=" not in running.log()


@pytest.mark.parametrize("cpus", [1, 2])
def test_by_default_there_is_a_worker_for_each_cpu_that_may_be_used(
    sandbox: Sandbox, proxy: StartProxy, cpus: int
) -> None:
    """Those of the affinity, not of the machine."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < cpus:
        pytest.skip("the machine has fewer")
    os.sched_setaffinity(0, list(allowed)[:cpus])
    try:
        running = proxy(*sandbox.clusters, workers="auto")
    finally:
        os.sched_setaffinity(0, allowed)
    assert len(running.children()) == (0 if cpus == 1 else cpus)


def test_a_statement_prepared_on_one_worker_is_executed_on_the_other(shared: Proxy, ks: str) -> None:
    """At once, and never UNPREPARED: pools prepare on one connection and execute on all."""
    one, other = (clients[0] for clients in spread_of(shared).values())
    misses, entries = (shared.metric(f"pscache_{name}_total") for name in ("miss", "entries"))
    for number in range(100):
        insert = one.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'by {number}')")
        assert other.ask(frames.execute(1, insert, [frames.integer(number)])).is_void
    assert shared.metric("pscache_miss_total") == misses
    assert other.ask(frames.execute(1, b"nobody's")).error[0] == UNPREPARED
    assert shared.metric("pscache_miss_total") == misses + 1
    assert shared.metric("pscache_entries_total") == entries + 100


def test_counters_of_both_workers_are_summed(running: Proxy, ks: str) -> None:
    """Prometheus asks one address and gets the whole."""
    for number, clients in enumerate(spread_of(running).values()):
        for key in range(5 + number):
            assert clients[0].query(f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'x')").is_void
    assert running.metric('proxy_request_duration_seconds_count{type="writes"}') == 11
    assert running.metric("worker_restarts_total") == 0


def test_one_client_too_many_is_one_too_many_for_all_workers_together(sandbox: Sandbox, proxy: StartProxy) -> None:
    """The limit is the proxy's; a place that is free in one worker is free for any client."""
    running = proxy(*sandbox.clusters, workers=2, proxy_max_client_connections=3)
    clients = [running.client() for _ in range(3)]
    running.announces(r"max clients threshold has been hit \(3\)\.")
    assert running.connect().until_closed() == []
    clients[0].close()
    until(lambda: running.metric("client_connections_total") == 2, "its place is free again")
    assert running.client().query("SELECT key FROM system.local").rows == [("local",)]


def test_a_switch_of_target_reaches_all_clients_before_it_is_answered(
    running: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """From the answer on nothing is sent to target, whoever asks."""
    clients = [client for group in spread_of(running).values() for client in group]
    running.announces("Target cluster DISABLED via API")
    running.announces("Target cluster ENABLED via API")
    for turn in range(3):
        assert running.post("/api/v1/target/disable").json()["message"] == "Target disabled"
        for number, client in enumerate(clients):
            assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES ({turn * 100 + number}, 'origin')").is_void
        assert running.post("/api/v1/target/enable").json()["message"] == "Target enabled"
        until(lambda: running.get("/api/v1/target").json()["effective"] == "DUAL", "all are attached")
        assert running.metric("target_enabled") == 1
        for number, client in enumerate(clients):
            assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES ({turn * 100 + 50 + number}, 'both')").is_void
    assert {v for (v,) in sandbox.target.query(f"SELECT v FROM {ks}.t")} == {"both"}
    assert len(sandbox.origin.query(f"SELECT k FROM {ks}.t")) == 48
    assert len(sandbox.target.query(f"SELECT k FROM {ks}.t")) == 24


def test_a_worker_that_is_killed_loses_its_own_clients_only_and_comes_back(running: Proxy, ks: str) -> None:
    """The others never notice; counters do not fall."""
    spread = spread_of(running)
    for clients in spread.values():
        for client in clients:
            assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')").is_void
    assert running.metric('proxy_request_duration_seconds_count{type="writes"}') == 8
    running.announces(KILLED)
    victim, witness = spread
    os.kill(victim, signal.SIGKILL)
    for client in spread[victim]:
        assert client.until_closed() == []
    for client in spread[witness]:
        assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES (2, 'x')").is_void
    until(lambda: len(running.children()) == 2 and running.metric("worker_restarts_total") == 1, "it is back")
    until(lambda: running.log().count(" serves, as process") == 3, "and serves")
    assert running.metric('proxy_request_duration_seconds_count{type="writes"}') == 12
    assert running.metric("client_connections_total") == 4
    assert victim not in running.children()
    again = [running.client() for _ in range(4)]
    places = [owner(running, client) for client in (*again, *spread[witness])]
    assert sorted(places.count(pid) for pid in running.children()) == [4, 4]


def test_clients_move_to_the_worker_that_has_come_back(running: Proxy, ks: str) -> None:
    """While they work, on the connections that they have: none is closed and no request fails."""
    clients = [running.client() for _ in range(20)]
    insert = clients[0].prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'x')")
    running.announces(KILLED)
    victim = running.children()[0]
    staying = [client for client in clients if owner(running, client) != victim]
    os.kill(victim, signal.SIGKILL)
    until(lambda: running.log().count(" serves, as process") == 3, "it is back")
    assert len(staying) == 10

    def is_even() -> bool:
        for number, client in enumerate(staying):
            assert client.ask(frames.execute(1, insert, [frames.integer(number)])).is_void
        places = [owner(running, client) for client in staying]
        return max(map(places.count, running.children())) <= 6

    until(is_even, "they are spread over both")
    assert running.metric("client_connections_total") == 10
    assert running.metric("pscache_miss_total") == 0


def test_a_switch_of_target_reaches_all_while_a_worker_dies(running: Proxy, sandbox: Sandbox, ks: str) -> None:
    """One that hangs is killed and comes back knowing; the answer waits for that."""
    spread = spread_of(running)
    hung, other = spread
    running.announces("Target cluster DISABLED via API")
    running.announces(r"Worker \d \(process \d+\) does not answer; it is killed\.")
    running.announces(KILLED)
    os.kill(hung, signal.SIGSTOP)
    assert running.post("/api/v1/target/disable").json()["message"] == "Target disabled"
    for client in spread[hung]:
        assert client.until_closed() == []
    clients = [*spread[other], *(running.client() for _ in range(4))]
    for number, client in enumerate(clients):
        assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES ({number}, 'origin')").is_void
    assert sandbox.target.query(f"SELECT k FROM {ks}.t") == []


def test_under_load_a_worker_is_killed_and_target_switched_off_meanwhile(
    running: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """Clients of the other worker see no error; from the answer of the switch on nothing reaches target."""
    spread = spread_of(running)
    victim, _ = spread
    running.announces("Target cluster DISABLED via API")
    running.announces(KILLED)
    is_off, is_over = threading.Event(), threading.Event()

    def work(number: int, client: CqlConnection) -> tuple[int, bool]:
        """How many writes were acknowledged, and whether the connection has held."""
        for key in itertools.count():
            if is_over.is_set():
                return key, True
            value = "origin" if is_off.is_set() else "any"
            try:
                assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES ({number * 100_000 + key}, '{value}')").is_void
            except Closed:
                return key, False
        raise AssertionError

    with ThreadPoolExecutor(8) as pool:
        working = {
            pid: [pool.submit(work, number * 10 + place, client) for place, client in enumerate(clients)]
            for number, (pid, clients) in enumerate(spread.items())
        }
        until(lambda: running.metric('proxy_request_duration_seconds_count{type="writes"}') > 200, "writes flow")
        os.kill(victim, signal.SIGKILL)
        assert running.post("/api/v1/target/disable").json()["message"] == "Target disabled"
        is_off.set()
        late = [pool.submit(work, 900 + number, running.client()) for number in range(4)]
        until(
            lambda: len(sandbox.origin.query(f"SELECT k FROM {ks}.t WHERE v = 'origin' ALLOW FILTERING")) > 200, "go on"
        )
        is_over.set()
        ended = {pid: [worked.result() for worked in working[pid]] for pid in working}
        came = [worked.result() for worked in late]
    for pid, results in ended.items():
        assert all(has_held is (pid != victim) and count > 5 for count, has_held in results), ended
    assert all(has_held and count > 5 for count, has_held in came)
    assert sandbox.target.query(f"SELECT k FROM {ks}.t WHERE v = 'origin' ALLOW FILTERING") == []


def test_the_workers_of_a_supervisor_that_is_killed_end(running: Proxy) -> None:
    """Nobody could tell them any more that target is off."""
    spread = spread_of(running)
    running.program.kill()
    running.exit_code = -signal.SIGKILL
    for clients in spread.values():
        assert clients[0].until_closed() == []
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in spread), "they are gone")


@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to all of them"])
def test_requests_in_flight_on_both_workers_are_answered_before_the_end(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str, to_all: bool
) -> None:
    """Service supervisors send SIGTERM to every process: the workers leave that to theirs."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, workers=2)
    spread = spread_of(running)
    wire.stall()
    for number, clients in enumerate(spread.values()):
        clients[0].send(frames.query(1, f"INSERT INTO {ks}.t (k, v) VALUES ({number}, 'x')"))
    until(lambda: running.metric('proxy_inflight_requests_total{type="writes"}') == 2, "both are in flight")
    running.program.signal(signal.SIGTERM)
    for pid in spread if to_all else ():
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    running.said("Draining 8 client connections")
    for clients in spread.values():
        assert clients[1].until_closed() == []
    wire.resume()
    for clients in spread.values():
        assert clients[0].answer_to(1).is_void
        assert clients[0].until_closed() == []
    assert running.program.wait() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in spread)


def test_the_drain_limit_holds_for_all_workers(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """A cluster that never answers must not keep any of them."""
    running = proxy(*sandbox.clusters, workers=2, proxy_drain_timeout_ms=300)
    text = f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')"
    sandbox.target.fault("drop", text=text)
    clients = [clients[0] for clients in spread_of(running).values()]
    for client in clients:
        client.send(frames.query(1, text))
    until(lambda: running.metric('proxy_inflight_requests_total{type="writes"}') == 2, "both are in flight")
    for number in (1, 2):
        running.announces(f"1 client connections still had requests in flight .* worker={number}$")
    running.program.signal(signal.SIGTERM)
    for client in clients:
        assert client.until_closed() == []
    assert running.program.wait() == 0


def test_a_driver_with_a_pool_over_both_workers_works(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Several sessions at a time, prepared statements, and every row on both clusters."""

    def work(number: int) -> None:
        with drivers.session(shared) as session:
            insert = session.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)")
            for key in range(number * 50, number * 50 + 50):
                session.execute(insert, (key, f"v{key}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT COUNT(*) FROM {ks}.t") == [(200,)]


def test_300_clients_at_once_are_spread_over_the_workers(running: Proxy, sandbox: Sandbox) -> None:
    """After a restart of the proxy every driver of the fleet comes back at once.

    How even it gets depends on the machine: a worker that is not heard from for a moment is passed over meanwhile.
    """
    connections = [running.connect() for _ in range(300)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda connection: connection.ready(), connections))
    assert running.metric("client_connections_total") == 300
    sockets = [sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) for pid in running.children()]
    assert len(sockets) == 2 and min(sockets) >= 75 * SOCKETS_OF_A_CLIENT, sockets
    for connection in connections:
        connection.close()
    until(lambda: running.metric("client_connections_total") == 0, "all of them are gone")
