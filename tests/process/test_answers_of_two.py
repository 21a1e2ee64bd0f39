"""Which of two answers the client gets, and how the two sessions behind it are kept alike (sections 5.5, 5.6)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.process.answers import INVALID, SET_KEYSPACE, SYNTAX_ERROR, WRITE_TIMEOUT
from tests.process.conftest import NewKeyspace, StartProxy
from tests.process.connection import CqlConnection
from tests.process.running_proxy import PROXY, Proxy
from tests.process.sandbox import Sandbox


def insert(ks: str, key: int) -> str:
    return f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'v{key}')"


@pytest.mark.parametrize(
    ("failing", "counted", "told"),
    [(["origin"], "origin", "origin"), (["target"], "target", "target"), (["origin", "target"], "both", "origin")],
)
def test_a_write_that_fails_on_one_cluster_fails_for_the_client(
    shared: Proxy, sandbox: Sandbox, ks: str, failing: list[str], counted: str, told: str
) -> None:
    """Durability on both is the promise. Where both fail origin's error is told, as with the reference."""
    sample = f'proxy_failed_writes_total{{failed_on="{counted}"}}'
    before = shared.metric(sample)
    for side in failing:
        getattr(sandbox, side).fault(
            "error", text=insert(ks, 1), code="WRITE_TIMEOUT", message=f"late on {side}", required=2, received=1
        )
    answer = shared.client().query(insert(ks, 1))
    assert answer.error == (WRITE_TIMEOUT, f"late on {told}")
    assert answer.body.endswith(frames.integer(1) + frames.integer(2) + frames.string("SIMPLE"))
    assert shared.metric(sample) == before + 1


@pytest.mark.parametrize("side", ["origin", "target"])
@pytest.mark.parametrize(
    "code",
    ["SERVER_ERROR", "UNAVAILABLE", "OVERLOADED", "IS_BOOTSTRAPPING", "WRITE_FAILURE", "UNAUTHORIZED", "INVALID"],
)
def test_every_error_of_one_cluster_reaches_the_client_as_it_is(
    shared: Proxy, sandbox: Sandbox, ks: str, side: str, code: str
) -> None:
    """Drivers and applications decide by code what to do; the other cluster's success does not soften it."""
    cluster = getattr(sandbox, side)
    cluster.fault("error", text=insert(ks, 1), code=code, message="said so", count=2)
    answer = shared.client().query(insert(ks, 1), stream=77)
    straight = CqlConnection(cluster.host, cluster.port).ready().query(insert(ks, 1), stream=77)
    assert answer == straight
    assert answer.error[1] == "said so"


def test_reads_come_from_the_primary_alone(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """That is what makes target the primary: nothing else changes."""
    sandbox.origin.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'origin')")
    sandbox.target.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'target')")
    running = proxy(*sandbox.clusters, primary_cluster="TARGET")
    client = running.client()
    question = f"SELECT v  FROM {ks}.t WHERE k = 1"
    assert client.query(question).rows == [("target",)]
    assert not sandbox.origin.requests(question)
    assert client.query(insert(ks, 1)).is_void
    assert [cluster.query(question) for cluster in sandbox.clusters] == [[("v1",)], [("v1",)]]


def test_use_holds_on_both_clusters(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Unqualified tables must mean the same on both."""
    client = shared.client()
    assert client.query(f"USE {ks}").kind == SET_KEYSPACE
    assert client.query("INSERT INTO t (k, v) VALUES (1, 'used')").is_void
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT v FROM {ks}.t") == [("used",)]


def test_a_use_that_one_cluster_refuses_changes_nothing(shared: Proxy, sandbox: Sandbox, keyspace: NewKeyspace) -> None:
    """Origin would otherwise write to another keyspace than target."""
    first, second = keyspace(sandbox), keyspace(sandbox)
    sandbox.target.query(f"DROP KEYSPACE {second}")
    client = shared.client()
    assert client.query(f"USE {first}").kind == SET_KEYSPACE
    assert client.query(f"USE {second}").error[0] == INVALID
    assert client.query("INSERT INTO t (k, v) VALUES (1, 'first')").is_void
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT v FROM {first}.t") == [("first",)]


def test_the_keyspace_is_set_again_on_a_new_target_connection(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """A client does not know that it was opened anew."""
    client = shared.client()
    assert client.query(f"USE {ks}").kind == SET_KEYSPACE
    sandbox.target.fault("close", text="INSERT INTO t (k, v) VALUES (1, 'x')", count=1)
    assert client.query("INSERT INTO t (k, v) VALUES (1, 'x')").error[0] == WRITE_TIMEOUT
    assert client.query("INSERT INTO t (k, v) VALUES (2, 'y')").is_void
    assert sandbox.target.query(f"SELECT k FROM {ks}.t") == [(2,)]


def test_an_error_of_the_statement_is_the_clusters_own(shared: Proxy) -> None:
    """The proxy judges no CQL."""
    client = shared.client()
    assert client.query("SELEC * FROM nowhere").error[0] == SYNTAX_ERROR
    code, message = client.query("SELECT * FROM nowhere.nothing").error
    assert (code, "nowhere" in message) == (INVALID, True)


def test_a_proxy_on_every_address_shows_the_one_that_the_client_came_by(sandbox: Sandbox, proxy: StartProxy) -> None:
    """In a container 0.0.0.0 is listened on, and a driver must be able to connect to what system.local says."""
    running = proxy(*sandbox.clusters, proxy_listen_address="0.0.0.0")
    for address in (PROXY, "127.0.80.77"):
        client = CqlConnection(address, running.port).ready()
        (row,) = client.query("SELECT rpc_address, listen_address FROM system.local").rows
        assert row == (address, address)
        assert client.query("SELECT * FROM system.peers").rows == []


def test_compression_is_neither_offered_nor_accepted(shared: Proxy) -> None:
    """A driver that finds none on offer sends none; one that insists is told why."""
    client = shared.connect()
    supported = client.ask(frames.options(1)).body
    assert b"COMPRESSION\x00\x00" in supported or b"COMPRESSION" not in supported
    refused = client.ask(frames.startup(2, {"CQL_VERSION": "3.0.0", "COMPRESSION": "lz4"}))
    assert "Unknown compression algorithm: lz4" in refused.error[1]
    assert client.ready().query("SELECT key FROM system.local").rows == [("local",)]
