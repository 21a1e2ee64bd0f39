"""kill -9, of a client and of the proxy itself: nobody else notices, and nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading

from cassandra import DriverException
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException

from tests import frames
from tests.process import drivers
from tests.process.awaiting import PATIENCE, until
from tests.process.conftest import StartProxy
from tests.process.connection import CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

_TRAFFIC = """
import sys
from tests import frames
from tests.process.connection import CqlConnection

host, port, table = sys.argv[1], int(sys.argv[2]), sys.argv[3]
client = CqlConnection(host, port).ready()
for number in range(1_000_000):
    client.send(b"".join(frames.query(stream, f"INSERT INTO {table} (k, v) VALUES (-1, 'x')") for stream in range(50)))
    for _ in range(50):
        client.receive()  # a stream that is not answered yet must not be used again
    if number == 5:
        print("traffic", flush=True)
"""


def test_a_client_that_is_killed_in_the_middle_of_its_traffic_disturbs_nobody(
    shared: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """Its requests are cancelled and its cluster connections closed, with half a frame in every pipe."""
    witness = shared.client()
    before = {cluster.name: cluster.connections() for cluster in sandbox.clusters}
    killed = [
        subprocess.Popen(
            [sys.executable, "-c", _TRAFFIC, shared.host, str(shared.port), f"{ks}.t"], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    try:
        for process in killed:
            assert process.stdout is not None
            assert process.stdout.readline() == b"traffic\n"
        for key in range(200):
            assert witness.query(f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'v')").is_void
            if key == 100:
                for process in killed:
                    process.send_signal(signal.SIGKILL)
    finally:
        for process in killed:
            process.kill()
            process.communicate()
    until(
        lambda: all(cluster.connections() <= before[cluster.name] for cluster in sandbox.clusters),
        "their cluster connections are closed",
    )
    assert shared.metric('proxy_inflight_requests_total{type="writes"}') == 0
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT COUNT(*) FROM {ks}.t") == [(201,)]


def test_after_a_kill_of_the_proxy_drivers_recover_and_what_was_acknowledged_is_there(
    sandbox: Sandbox, proxy: StartProxy, ks: str
) -> None:
    """A new proxy knows none of the prepared statements: drivers prepare again by themselves."""
    first = proxy(*sandbox.clusters)
    acknowledged: list[int] = []
    is_over = threading.Event()

    with drivers.session(first) as session:
        insert = session.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'v')")

        def work() -> None:
            for key in itertools.count():
                if is_over.is_set():
                    return
                try:
                    session.execute(insert, (key,))
                except (DriverException, ConnectionException, NoHostAvailable):
                    is_over.wait(0.02)  # the host is gone, and comes back
                else:
                    acknowledged.append(key)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        until(lambda: len(acknowledged) > 50, "writes flow")
        first.program.kill()
        first.exit_code = -signal.SIGKILL
        proxy(*sandbox.clusters, proxy_listen_port=first.port)
        known = len(acknowledged)
        until(lambda: len(acknowledged) > known + 50, "writes flow again")
        is_over.set()
        worker.join(PATIENCE)
    for cluster in sandbox.clusters:
        found = {key for (key,) in cluster.query(f"SELECT k FROM {ks}.t")}
        assert set(acknowledged) <= found


def test_the_proxy_frees_what_a_killed_client_held(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """A hundred clients that go without a word leave neither connections nor requests behind."""
    running = proxy(*sandbox.clusters)
    before = {cluster.name: cluster.connections() for cluster in sandbox.clusters}
    sandbox.target.fault("drop", text=f"INSERT INTO {ks}.t")
    clients: list[CqlConnection] = [running.client() for _ in range(100)]
    for client in clients:
        client.send(b"".join(_insert(ks, stream) for stream in range(10)))
    until(lambda: running.metric('proxy_inflight_requests_total{type="writes"}') == 1000, "all are in flight")
    for client in clients:
        client.close()
    until(lambda: running.metric("client_connections_total") == 0, "the clients are gone")
    assert running.metric('proxy_inflight_requests_total{type="writes"}') == 0
    until(
        lambda: all(cluster.connections() <= before[cluster.name] for cluster in sandbox.clusters),
        "their cluster connections are closed",
    )


def _insert(ks: str, stream: int) -> bytes:
    return frames.query(stream, f"INSERT INTO {ks}.t (k, v) VALUES ({stream}, 'v')")
