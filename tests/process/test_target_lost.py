"""The target goes away and comes back: sessions stay, and nothing that was acknowledged is missing anywhere."""

from __future__ import annotations

import re
import threading
import time
from functools import partial

from cassandra import WriteTimeout
from cassandra.cluster import Session
from cassandra.query import PreparedStatement

from tests import frames
from tests.process import drivers
from tests.process.answers import OVERLOADED, WRITE_TIMEOUT
from tests.process.awaiting import PATIENCE, until
from tests.process.conftest import LayLink, NewKeyspace, StartProxy, StartSandbox
from tests.process.connection import CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox


def insert(ks: str, key: int) -> str:
    return f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'v{key}')"


def keys(sandbox: Sandbox, ks: str) -> list[set[int]]:
    """What each cluster has."""
    return [{key for (key,) in cluster.query(f"SELECT k FROM {ks}.t")} for cluster in sandbox.clusters]


def test_a_cut_target_connection_is_opened_again_under_the_same_client(
    shared: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """What was in flight may have been applied or not, and says so; what follows waits for the new connection."""
    client = shared.client()
    assert client.query(insert(ks, 1)).is_void
    sandbox.target.fault("close", text=insert(ks, 2), count=1)
    code, message = client.query(insert(ks, 2)).error
    assert (code, "connection to TARGET was lost" in message) == (WRITE_TIMEOUT, True)
    assert client.query(insert(ks, 3)).is_void
    assert keys(sandbox, ks) == [{1, 2, 3}, {1, 3}]


def test_writes_flow_on_while_target_closes_connections(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Every acknowledged write is on both clusters, and no client connection was given up."""
    clients = [shared.client() for _ in range(4)]
    acknowledged: set[int] = set()
    failed: list[tuple[int, str]] = []

    def work(number: int, client: CqlConnection) -> None:
        for key in range(number * 1000, number * 1000 + 200):
            answer = client.query(insert(ks, key))
            if answer.opcode == 0:
                failed.append(answer.error)
            else:
                acknowledged.add(key)

    workers = [threading.Thread(target=work, args=pair) for pair in enumerate(clients)]
    for number in range(4):
        sandbox.target.fault("close", text=insert(ks, number * 1000 + 50), count=1)
        sandbox.target.fault("close", text=insert(ks, number * 1000 + 150), count=1, executes=True)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
    assert {code for code, _ in failed} == {WRITE_TIMEOUT}
    assert len(acknowledged) + len(failed) == 800
    assert len(failed) == 8
    for found in keys(sandbox, ks):
        assert acknowledged <= found
    for client in clients:
        assert client.query("SELECT key FROM system.local").rows == [("local",)]


def succeeds(session: Session, write: PreparedStatement, key: int) -> bool:
    """Whether this try does: it may still meet the end of the connection that was cut before."""
    try:
        session.execute(write, (key,))
    except WriteTimeout:
        return False
    return True


def clients_of(running: Proxy) -> list[str]:
    """The clients that the log has told of."""
    return re.findall(r"Handshake successful with client (\S+)", running.log())


def test_a_driver_keeps_its_connections_while_the_wire_to_target_is_cut(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str
) -> None:
    """An application sees some write timeouts, and never a host that is down."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire)
    running.tolerates("(control connection|Failed to open)")
    acknowledged: set[int] = set()
    with drivers.session(running) as session:
        # the log is read by a thread of its own: its last line may not be here yet
        until(lambda: len(clients_of(running)) == running.metric("client_connections_total"), "a line for each client")
        names = clients_of(running)
        write = session.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'v')")
        for cut in range(5):
            waiting = [(key, session.execute_async(write, (key,))) for key in range(cut * 50, cut * 50 + 50)]
            wire.cut()
            for key, result in waiting:
                try:
                    result.result()
                except WriteTimeout as late:
                    assert "connection to TARGET was lost" in str(late)
                else:
                    acknowledged.add(key)
            until(partial(succeeds, session, write, 1000 + cut), "a write after the cut")
        assert clients_of(running) == names
        assert running.metric("client_connections_total") == len(names)
    for found in keys(sandbox, ks):
        assert acknowledged | {1000, 1001, 1002, 1003, 1004} <= found


def test_a_target_that_is_away_briefly_is_waited_for(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str
) -> None:
    """A write that comes in between is held, sent to no cluster, and answered late instead of failing."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, attach_hold_ms=10_000)
    running.tolerates("(control connection|Failed to open)")
    client = running.client()
    wire.refuse()
    running.said(f"The TARGET connection of {client.name} ended")
    client.send(frames.query(1, insert(ks, 1)))
    assert client.is_silent(0.3)
    assert not sandbox.origin.requests(insert(ks, 1)), "it went to origin before target was there"
    wire.accept()
    assert client.answer_to(1).is_void
    assert keys(sandbox, ks) == [{1}, {1}]


def test_a_target_that_stays_away_overloads_and_comes_back_on_the_same_connection(
    own_sandbox: StartSandbox, proxy: StartProxy, keyspace: NewKeyspace
) -> None:
    """Held writes give up after attach_hold_ms, executed nowhere; reads go on; nobody has to reconnect."""
    sandbox = own_sandbox()
    ks = keyspace(sandbox)
    running = proxy(*sandbox.clusters, attach_hold_ms=300, heartbeat_interval_ms=200)
    client = running.client()
    assert client.query(insert(ks, 1)).is_void
    sandbox.target.node("stop")
    running.said(f"The TARGET connection of {client.name} ended")
    running.announces(r"The control connection to TARGET \(.*\) ended")
    running.tolerates("TARGET")
    begun = time.monotonic()
    code, message = client.query(insert(ks, 2)).error
    assert code == OVERLOADED, message
    assert time.monotonic() - begun >= 0.25
    assert client.query(f"SELECT v FROM {ks}.t WHERE k = 1").rows == [("v1",)]
    until(lambda: running.get("/health/readiness").json()["Status"] == "DOWN", "readiness says DOWN")
    assert running.get("/health/readiness").json()["OriginStatus"]["Status"] == "UP"
    sandbox.target.node("start")
    until(lambda: client.query(insert(ks, 3)).opcode != 0, "writes succeed again")
    until(running.is_ready, "readiness says UP")
    assert keys(sandbox, ks) == [{1, 3}, {1, 3}]
    assert not sandbox.origin.requests(insert(ks, 2))


def test_a_client_that_comes_while_target_is_away_is_let_go_after_the_connection_timeout(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink
) -> None:
    """Nobody could check its credentials; its driver tries again."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, target_connection_timeout_ms=400)
    running.tolerates("(control connection|Failed to open)")
    wire.refuse()
    client = running.connect()
    running.announces("Client Handler could not be created: no connection to TARGET for client " + client.name)
    assert client.until_closed() == []
    assert running.metric('proxy_failed_connections_total{cluster="target"}') == 1


def test_with_close_the_loss_of_target_ends_the_client_connection(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """The reference's way, for comparison."""
    running = proxy(*sandbox.clusters, on_target_connection_lost="CLOSE")
    client = running.client()
    sandbox.target.fault("close", text=insert(ks, 1), count=1)
    client.send(frames.query(1, insert(ks, 1)))
    assert client.until_closed() == []


def test_the_loss_of_origin_ends_the_client_connection(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Origin holds the truth: without it there is nothing to offer, and the driver reconnects."""
    client, other = shared.client(), shared.client()
    sandbox.origin.fault("close", text=insert(ks, 1), count=1)
    client.send(frames.query(1, insert(ks, 1)))
    assert client.until_closed() == []
    assert other.query(insert(ks, 2)).is_void
    assert shared.client().query(insert(ks, 3)).is_void
