"""Ends that are slower than those who feed them: memory stays bounded, and the others notice nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.connection import Closed, CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

MEGABYTE = 1 << 20
VALUE = b"x" * MEGABYTE
SIDES = ("client", "origin", "target")


class Watched:
    """The memory that a proxy has in use beyond what it had, at its highest."""

    def __init__(self, running: Proxy) -> None:
        self._running = running
        self._before = running.resident_bytes()
        self.most = 0

    def look(self) -> None:
        self.most = max(self.most, self._running.resident_bytes() - self._before)

    def until(self, fact: Callable[[], object]) -> None:
        """Look until it is so."""

        def looked() -> object:
            self.look()
            return fact()

        until(looked, "the end of the watch")


def writes(client: CqlConnection, ks: str, count: int) -> bytes:
    insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)")
    return b"".join(frames.execute(stream, insert, [frames.integer(stream), VALUE]) for stream in range(count))


def send_but_for_the_end(client: CqlConnection, request: bytes, may_end: Event) -> None:
    """And the end when it may be."""
    client.send(request[:-1])
    may_end.wait()
    client.send(request[-1:])


def serves(client: CqlConnection) -> bool:
    """A request like any other is answered, and soon."""
    start = time.monotonic()
    answer = client.query("SELECT key FROM system.local")
    return answer.rows == [("local",)] and time.monotonic() - start < 8


def test_a_client_that_reads_nothing_stops_its_clusters(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """Large rows are asked for by small requests: what is not taken must wait in the clusters."""
    running = proxy(*sandbox.clusters)
    lazy, other = running.client(), running.client()
    assert lazy.ask(writes(lazy, ks, 1)).is_void
    watched = Watched(running)
    lazy.send(b"".join(frames.query(stream, f"SELECT v FROM {ks}.t WHERE k = 0") for stream in range(100)))
    until(lambda: running.metric('socket_paused_seconds_total{side="client"}') > 0.3, "the client is waited for")
    watched.until(lambda: serves(other))
    assert 0 < running.metric("inflight_bytes") < 16 * MEGABYTE
    assert watched.most < 64 * MEGABYTE  # of 100 that are asked for
    for stream in range(100):
        assert lazy.answer_to(stream).rows == [(VALUE.decode(),)]
    assert running.metric('socket_paused_seconds_total{side="origin"}') == 0
    assert running.metric('socket_paused_seconds_total{side="target"}') == 0
    assert running.metric("inflight_bytes") == 0


def test_a_client_that_never_reads_loses_its_connection(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """Else what is kept for it would be kept for as long as its machine stays up."""
    running = proxy(*sandbox.clusters, client_stall_timeout_ms=700)
    lazy = running.client()
    assert lazy.ask(writes(lazy, ks, 1)).is_void
    running.announces(rf"Closing client {lazy.name}: it has taken nothing of its answers for 0\.7 s\.")
    lazy.send(b"".join(frames.query(stream, f"SELECT v FROM {ks}.t WHERE k = 0") for stream in range(100)))
    until(lambda: running.metric("client_connections_total") == 0, "it is closed")
    assert running.metric("inflight_bytes") == 0
    with pytest.raises(Closed):
        for stream in range(100):
            lazy.answer_to(stream)


@pytest.mark.parametrize("name", ["origin", "target"])
def test_a_cluster_that_reads_nothing_stops_its_clients(
    name: str, sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str
) -> None:
    """Whichever it is: a client faster than its slower cluster is slowed down by not being read."""
    slow = sandbox.origin if name == "origin" else sandbox.target
    wire = link(slow)
    running = proxy(*(wire if each is slow else each for each in sandbox.clusters))
    client, other = running.client(), running.client()
    sent = writes(client, ks, 60)
    wire.stall()
    watched = Watched(running)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.send, sent)
        paused = f'socket_paused_seconds_total{{side="{name}"}}'
        watched.until(lambda: running.metric(paused) > 0.3)
        assert serves(other)
        assert not sending.done() and watched.most < 52 * MEGABYTE  # of 60 that are to be sent
        by_side = {each: running.metric(f'socket_paused_seconds_total{{side="{each}"}}') for each in SIDES}
        assert max(by_side, key=by_side.__getitem__) == name
        wire.resume()
        sending.result()
        assert all(client.answer_to(stream).is_void for stream in range(60))
    assert slow.query(f"SELECT COUNT(*) FROM {ks}.t") == [(60,)]


def test_clusters_that_read_and_do_not_answer_stop_their_client(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """No socket is full then, and each of 2,048 requests in flight may be large."""
    running = proxy(*sandbox.clusters, max_inflight_bytes_per_client=8 * MEGABYTE)
    client, other = running.client(), running.client()
    sent = writes(client, ks, 60)
    sandbox.target.fault("delay", text=f"INSERT INTO {ks}.t", delay_ms=400)
    watched = Watched(running)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.send, sent)
        watched.until(lambda: running.metric('inflight_paused_seconds_total{limit="client"}') > 0.3)
        assert serves(other)
        assert not sending.done()
        watched.until(sending.done)
    assert all(client.answer_to(stream).is_void for stream in range(60))
    assert watched.most < 52 * MEGABYTE  # of 60 that are sent
    assert running.metric('inflight_paused_seconds_total{limit="process"}') == 0


def test_many_clients_with_half_a_request_each_do_not_fill_the_memory(
    sandbox: Sandbox, proxy: StartProxy, ks: str
) -> None:
    """Nothing of them can be answered, so they are finished one by one; small requests pass all the while."""
    running = proxy(*sandbox.clusters, max_inflight_bytes=16 * MEGABYTE)
    running.announces(r"bytes are in flight \(max_inflight_bytes: 16777216\); the \d+ clients")
    clients, other = [running.client() for _ in range(16)], running.client()
    insert = clients[0].prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)")
    large = [frames.execute(1, insert, [frames.integer(place), VALUE * 8]) for place in range(len(clients))]
    watched, may_end = Watched(running), Event()
    with ThreadPoolExecutor(len(clients)) as pool:
        sending = [pool.submit(send_but_for_the_end, *each, may_end) for each in zip(clients, large, strict=True)]
        try:
            watched.until(lambda: running.metric('inflight_paused_seconds_total{limit="process"}') > 1)
            assert serves(other)
        finally:
            may_end.set()
        watched.until(lambda: all(sent.done() for sent in sending))
    for client in clients:
        assert client.answer_to(1).is_void
    assert watched.most < 96 * MEGABYTE  # of 128 that are sent
