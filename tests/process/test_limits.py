"""Many clients, one too many, large values, and what the open connections look like in the metrics."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import ORIGIN_LOGIN, TARGET_LOGIN, StartProxy, StartSandbox
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox


def test_one_client_too_many_is_closed_without_a_byte(sandbox: Sandbox, proxy: StartProxy) -> None:
    """Its driver takes that for a host that is down and goes to the next proxy."""
    running = proxy(*sandbox.clusters, proxy_max_client_connections=2)
    first, second = running.client(), running.client()
    third = running.connect()
    running.announces(
        rf"Refusing client connection from {third.name} because max clients threshold has been hit \(2\)\."
    )
    assert third.until_closed() == []
    assert second.query("SELECT key FROM system.local").rows == [("local",)]
    first.close()
    until(lambda: running.metric("client_connections_total") == 1, "the place is free again")
    assert running.client().query("SELECT key FROM system.local").rows == [("local",)]


def test_300_clients_log_in_at_the_same_time(own_sandbox: StartSandbox, proxy: StartProxy) -> None:
    """After a restart of the proxy every driver of the fleet comes back at once."""
    sandbox = own_sandbox(ORIGIN_LOGIN, TARGET_LOGIN)
    running = proxy(*sandbox.clusters)
    connections = [running.connect() for _ in range(300)]
    with ThreadPoolExecutor(16) as pool:
        ready = list(pool.map(lambda connection: connection.ready(*TARGET_LOGIN), connections))
    assert running.metric("client_connections_total") == 300
    for cluster in sandbox.clusters:
        assert cluster.connections() == 301, "one for each client, and the control connection"
    for connection in ready:
        connection.send(frames.query(7, "SELECT key FROM system.local"))
    assert all(connection.answer_to(7).rows == [("local",)] for connection in ready)
    for connection in connections:
        connection.close()
    until(lambda: running.metric("client_connections_total") == 0, "all of them are gone")
    until(lambda: all(cluster.connections() == 1 for cluster in sandbox.clusters), "nothing is left open")


def test_20_clients_with_many_requests_each_get_their_own_answers(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Answers are matched by stream id alone: each must reach the client, and the request, that it belongs to."""
    clients, streams = 20, 100

    def work(number: int) -> None:
        client = shared.client()
        keys = range(number * streams, (number + 1) * streams)
        insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)")
        select = client.prepare(f"SELECT v FROM {ks}.t WHERE k = ?")
        client.send(
            b"".join(
                frames.execute(key % streams, insert, [frames.integer(key), f"value {key}".encode()]) for key in keys
            )
        )
        assert all(client.answer_to(key % streams).is_void for key in keys)
        client.send(b"".join(frames.execute(key % streams, select, [frames.integer(key)]) for key in keys))
        for key in reversed(keys):
            assert client.answer_to(key % streams).rows == [(f"value {key}",)]
        client.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(work, range(clients)))
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT COUNT(*) FROM {ks}.t") == [(clients * streams,)]


def test_a_value_of_20_mb_arrives_on_both_clusters_and_comes_back(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Large frames come in many reads, and go in as many writes, without being copied for each."""
    value = "0123456789abcdef" * (20 * 1024 * 1024 // 16)
    client, other = shared.client(), shared.client()
    insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (1, ?)")
    client.send(frames.execute(1, insert, [value.encode()]))
    assert other.query("SELECT key FROM system.local").rows == [("local",)]
    assert client.answer_to(1).is_void
    assert client.query(f"SELECT v FROM {ks}.t WHERE k = 1").rows == [(value,)]
    assert sandbox.target.query(f"SELECT v FROM {ks}.t WHERE k = 1") == [(value,)]


def test_a_frame_over_the_limit_is_refused_before_it_is_sent(sandbox: Sandbox, proxy: StartProxy) -> None:
    """Nothing is kept on the sender's word: the header alone decides."""
    running = proxy(*sandbox.clusters, max_frame_bytes=100_000)
    client = running.client()
    client.send(frames.query(9, "x" * 200_000)[:9])
    (answer,) = client.until_closed()
    assert answer.stream == 9
    assert answer.error[0] == 0x0A
    assert "200007 bytes" in answer.error[1]
