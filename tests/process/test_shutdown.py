"""SIGTERM: what is under way is finished, nothing new is begun, and the program ends in time."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import frames
from tests.process.answers import OVERLOADED
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.connection import Closed, CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

SHUTTING_DOWN = (OVERLOADED, "Shutting down, please retry on next host.")


def insert(ks: str, key: int) -> str:
    return f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'v{key}')"


def in_flight(running: Proxy, kind: str) -> float:
    return running.metric(f'proxy_inflight_requests_total{{type="{kind}"}}')


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_answered_and_new_ones_refused(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str, number: signal.Signals
) -> None:
    """A rolling restart must cost the application nothing: drivers take OVERLOADED to the next proxy."""
    wires = [link(cluster) for cluster in sandbox.clusters]
    running = proxy(*wires)
    client, idle = running.client(), running.client()
    for wire in wires:
        wire.stall()
    client.send(frames.query(1, insert(ks, 1)) + frames.query(2, f"SELECT v FROM {ks}.t WHERE k = 7"))
    until(lambda: in_flight(running, "writes") == in_flight(running, "reads_origin") == 1, "both are in flight")
    running.program.signal(number)
    assert idle.until_closed() == []
    assert client.query(insert(ks, 2), stream=3).error == SHUTTING_DOWN
    assert client.query("SELECT key FROM system.local", stream=4).error == SHUTTING_DOWN
    with socket.socket() as late:
        assert late.connect_ex((running.host, running.port)) != 0
    for wire in wires:
        wire.resume()
    assert client.answer_to(1).is_void
    assert client.answer_to(2).rows == []
    assert client.until_closed() == []
    assert running.program.wait() == 0
    assert not sandbox.origin.requests(insert(ks, 2))


def test_a_drain_ends_at_its_limit(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """A cluster that never answers must not keep the process from ending."""
    running = proxy(*sandbox.clusters, proxy_drain_timeout_ms=300)
    sandbox.target.fault("drop", text=insert(ks, 1))
    client = running.client()
    client.send(frames.query(1, insert(ks, 1)))
    until(lambda: in_flight(running, "writes") == 1, "it is in flight")
    running.announces("1 client connections still had requests in flight at the end of the drain limit")
    begun = time.monotonic()
    running.program.signal(signal.SIGTERM)
    assert client.until_closed() == []
    assert running.program.wait() == 0
    assert time.monotonic() - begun >= 0.3


def test_a_second_signal_changes_nothing(sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str) -> None:
    """An impatient supervisor must not turn a clean end into a crash; nor must a probe, so HTTP goes on."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire)
    client = running.client()
    wire.stall()
    client.send(frames.query(1, insert(ks, 1)))
    until(lambda: in_flight(running, "writes") == 1, "it is in flight")
    running.program.signal(signal.SIGTERM)
    running.said("Draining 1 client connections")
    running.program.signal(signal.SIGTERM)
    running.program.signal(signal.SIGINT)
    assert running.get("/health/liveness").text == "OK"
    wire.resume()
    assert client.answer_to(1).is_void
    assert running.program.wait() == 0
    assert running.log().count("Initiating proxy shutdown...") == 1


def test_a_hangup_ends_nothing(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """A terminal that closes sends it to what was started there."""
    running = proxy(*sandbox.clusters)
    client = running.client()
    running.program.signal(signal.SIGHUP)
    running.said("SIGHUP: nothing has changed")
    client.send(frames.query(1, insert(ks, 1)))
    assert client.answer_to(1).is_void


def test_a_shutdown_under_load_loses_no_answer(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """Every request gets its result or OVERLOADED, or its connection was closed before it was read."""
    running = proxy(*sandbox.clusters)
    clients = [running.client() for _ in range(8)]
    busy = threading.Barrier(len(clients) + 1)

    def work(number: int, client: CqlConnection) -> list[int]:
        acknowledged: list[int] = []
        for key in range(number * 100_000, number * 100_000 + 100_000):
            if len(acknowledged) == 20:
                busy.wait(20)
            try:
                answer = client.query(insert(ks, key))
            except Closed:
                return acknowledged
            if answer.opcode == 0:
                assert answer.error == SHUTTING_DOWN
            else:
                acknowledged.append(key)
        return acknowledged

    with ThreadPoolExecutor(len(clients)) as pool:
        working = [pool.submit(work, number, client) for number, client in enumerate(clients)]
        busy.wait(20)
        running.program.signal(signal.SIGTERM)
        acknowledged = {key for worked in working for key in worked.result()}
    assert running.program.wait() == 0
    for cluster in sandbox.clusters:
        assert acknowledged <= {key for (key,) in cluster.query(f"SELECT k FROM {ks}.t")}
