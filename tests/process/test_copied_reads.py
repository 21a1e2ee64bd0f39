"""`DUAL_ASYNC_ON_SECONDARY` in running programs: what each cluster gets, and that no client ever notices."""

from __future__ import annotations

import pytest

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import ORIGIN_LOGIN, TARGET_LOGIN, StartProxy, StartSandbox
from tests.process.sandbox import Sandbox, SandboxCluster

MODE = "DUAL_ASYNC_ON_SECONDARY"


def got(cluster: SandboxCluster, text: str, opcode: str, count: int) -> None:
    """A cluster has got so many requests, and no more; for a copy it may take a moment."""
    until(lambda: len(cluster.requests(text, opcode)) >= count, f"{count} {opcode} on {cluster.name}")
    assert len(cluster.requests(text, opcode)) == count, f"{opcode} on {cluster.name}"


@pytest.mark.parametrize("primary", ["ORIGIN", "TARGET"])
def test_each_cluster_gets_what_it_is_to_get(sandbox: Sandbox, proxy: StartProxy, ks: str, primary: str) -> None:
    """Reads once each, writes never twice, a PREPARE of a read twice on the secondary."""
    running = proxy(*sandbox.clusters, read_mode=MODE, primary_cluster=primary)
    first, second = sandbox.clusters if primary == "ORIGIN" else sandbox.clusters[::-1]
    client = running.client()
    insert, read = f"INSERT INTO {ks}.t (k, v) VALUES (?, '{primary}')", f"SELECT v FROM {ks}.t WHERE k = ?"
    written = client.prepare(insert)
    assert client.ask(frames.execute(1, written, [frames.integer(7)])).is_void
    asked = client.prepare(read)
    assert client.ask(frames.execute(2, asked, [frames.integer(7)])).rows == [(primary,)]
    inline = f"SELECT k FROM {ks}.t"
    assert client.query(inline).rows == [(7,)]
    assert client.ask(frames.query(3, f"USE {ks}")).kind == 3
    unqualified = f"SELECT v AS {ks}_v FROM t"
    assert client.query(unqualified).rows == [(primary,)]
    for cluster in (first, second):
        got(cluster, unqualified, "QUERY", 1)  # the last that was sent
        got(cluster, inline, "QUERY", 1)
        got(cluster, insert, "PREPARE", 1)
        got(cluster, insert, "EXECUTE", 1)
        got(cluster, read, "EXECUTE", 1)
    got(first, read, "PREPARE", 1)
    got(second, read, "PREPARE", 2)
    got(first, f"USE {ks}", "QUERY", 1)
    got(second, f"USE {ks}", "QUERY", 2)


def test_a_secondary_that_answers_nothing_delays_nobody(own_sandbox: StartSandbox, proxy: StartProxy) -> None:
    """Its ids run out, and the copies are dropped from then on."""
    sandbox = own_sandbox()
    sandbox.query("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    sandbox.query("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    running = proxy(*sandbox.clusters, read_mode=MODE)
    running.tolerates("TARGET left .* copied requests of client")
    client = running.client()
    client.query("SELECT v FROM ks.t")
    got(sandbox.target, "SELECT v FROM ks.t", "QUERY", 1)
    sandbox.target.fault("drop", text="SELECT k FROM ks.t")
    for _ in range(25):
        client.send(b"".join(frames.query(stream, "SELECT k FROM ks.t") for stream in range(100)))
        for stream in range(100):
            assert client.answer_to(stream).kind == 2
    used = until(lambda: len(sandbox.target.requests("SELECT k FROM ks.t")) >= 2047, "every id is in use")
    assert used and len(sandbox.target.requests("SELECT k FROM ks.t")) <= 2048


def test_an_error_of_the_secondary_is_nobodys(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """The client has its rows already."""
    running = proxy(*sandbox.clusters, read_mode=MODE)
    sandbox.target.fault("error", text=f"SELECT k FROM {ks}.t", code="READ_TIMEOUT")
    client = running.client()
    for _ in range(3):
        assert client.query(f"SELECT k FROM {ks}.t").rows == []
    got(sandbox.target, f"SELECT k FROM {ks}.t", "QUERY", 3)
    node = f'node="{sandbox.target.host}:{sandbox.target.port}"'
    until(lambda: running.metric(f"async_inflight_requests_total{{{node}}}") == 0, "all copies are answered")
    assert running.metric(f'async_requests_failed_total{{error="read_timeout",{node}}}') == 3
    assert running.metric(f'async_request_duration_seconds_count{{{node},type="reads"}}') == 3
    assert running.metric(f"async_connections_total{{{node}}}") == 1
    assert running.metric(f'target_request_duration_seconds_count{{{node},type="reads"}}') == 0
    assert running.metric('proxy_failed_reads_total{cluster="target"}') == 0


def test_a_forgotten_statement_is_prepared_there_again(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """By the proxy itself; the copy that found it out is not repeated."""
    running = proxy(*sandbox.clusters, read_mode=MODE)
    client = running.client()
    text = f"SELECT v FROM {ks}.t WHERE k = ?"
    asked = client.prepare(text)
    got(sandbox.target, text, "PREPARE", 2)
    sandbox.target.forget_prepared()
    assert client.ask(frames.execute(1, asked, [frames.integer(1)])).rows == []
    got(sandbox.target, text, "PREPARE", 3)
    assert client.ask(frames.execute(2, asked, [frames.integer(1)])).rows == []
    until(lambda: sandbox.target.requests(text, "EXECUTE"), "the copy after that is executed")


@pytest.mark.parametrize("primary", ["ORIGIN", "TARGET"])
def test_the_copies_log_in_as_they_should(guarded: Sandbox, proxy: StartProxy, primary: str) -> None:
    """With several workers as well."""
    user, password = TARGET_LOGIN
    guarded.query(
        "CREATE KEYSPACE IF NOT EXISTS c WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    guarded.query("CREATE TABLE IF NOT EXISTS c.t (k int PRIMARY KEY, v text)")
    assert guarded.origin.login == ORIGIN_LOGIN
    running = proxy(*guarded.clusters, read_mode=MODE, primary_cluster=primary, workers=2)
    text = f"SELECT k FROM c.t WHERE k = {1 if primary == 'ORIGIN' else 2}"
    clients = [running.client(user, password) for _ in range(4)]
    for client in clients:
        client.query(text)
    for cluster in guarded.clusters:
        got(cluster, text, "QUERY", 4)
