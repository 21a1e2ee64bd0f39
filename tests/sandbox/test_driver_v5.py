"""A real driver at every version and compression that the sandbox offers, and at clusters that offer less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cassandra import ReadFailure
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import NoHostAvailable
from cassandra.connection import Connection
from cassandra.query import BatchStatement, SimpleStatement

from tests.sandbox.program import connect, running_sandbox

ORIGIN = "127.0.30.5"
TARGET = "127.0.30.6"
LOGIN = PlainTextAuthProvider("me", "secret")
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@pytest.fixture(scope="module")
def control() -> Iterator[str]:
    """Origin speaks everything, target only v5, with a login, and LZ4."""
    origin = ("--origin-protocols", "3,4,5", "--origin-compression", "snappy,lz4")
    target = ("--target-protocols", "5", "--target-compression", "lz4", "--target-auth", "me:secret")
    with running_sandbox(ORIGIN, TARGET, *origin, *target) as address:
        yield address


def connection_of(session: Any) -> Connection:
    (pool,) = session.get_pools()
    (connection,) = pool.get_connections()
    return connection


def work(session: Any, keyspace: str) -> None:
    """What an application does all day, with a value that takes several segments."""
    session.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {REPLICATION}")
    session.set_keyspace(keyspace)
    session.execute("CREATE TABLE t (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = session.prepare("INSERT INTO t (k, c, v) VALUES (?, ?, ?)")
    waits = [session.execute_async(insert, (number % 5, number, str(number))) for number in range(100)]
    for wait in waits:
        wait.result()
    pages = SimpleStatement("SELECT c FROM t", fetch_size=7)
    assert sorted(row.c for row in session.execute(pages)) == list(range(100))
    batch = BatchStatement()
    batch.add(insert, (9, 1, "long " * 60_000))
    batch.add("INSERT INTO t (k, c, v) VALUES (9, 2, 'b')")
    session.execute(batch)
    select = session.prepare("SELECT * FROM t WHERE k = ?")
    assert [row.v for row in session.execute(select, (9,))] == ["long " * 60_000, "b"]
    session.execute("ALTER TABLE t ADD more int")
    assert [row.v for row in session.execute(select, (9,))] == ["long " * 60_000, "b"]
    assert session.execute("INSERT INTO t (k, c) VALUES (9, 1) IF NOT EXISTS").was_applied is False


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("compression", [False, "lz4", "snappy"])
def test_a_driver_works_in_every_version_and_compression(control: str, version: int, compression: Any) -> None:
    """Snappy in v5 is none: the driver knows that segments have no place for it, and goes without."""
    with connect(ORIGIN, protocol_version=version, compression=compression) as cluster:
        session = cluster.connect()
        work(session, f"ks_{version}_{compression}".lower())
        agreed = connection_of(session)._compression_type
        assert agreed == (None if (version, compression) == (5, "snappy") else compression or None)


def test_a_driver_that_is_not_told_finds_v5_and_lz4(control: str) -> None:
    """The best of both."""
    with connect(ORIGIN) as cluster:
        connection = connection_of(cluster.connect())
        assert (connection.protocol_version, connection._compression_type) == (5, "lz4")


def test_a_driver_logs_in_through_segments(control: str) -> None:
    """They begin behind AUTHENTICATE."""
    with connect(TARGET, auth_provider=LOGIN) as cluster:
        session = cluster.connect()
        assert connection_of(session)._compression_type == "lz4"
        work(session, "ks")
    with (
        pytest.raises(NoHostAvailable, match="incorrect"),
        connect(TARGET, protocol_version=5, auth_provider=PlainTextAuthProvider("me", "no")) as wrong,
    ):
        wrong.connect()


def test_a_driver_is_refused_by_a_cluster_that_has_not_its_version(control: str) -> None:
    """As by an old one, or a new one that has left it behind."""
    with pytest.raises(NoHostAvailable), connect(TARGET, protocol_version=4, auth_provider=LOGIN) as cluster:
        cluster.connect()


def test_a_fault_with_failed_replicas_reaches_a_v5_driver(control: str) -> None:
    """Each by its address."""
    wanted: Any = {"action": "error", "code": "READ_FAILURE", "text": "system.local WHERE", "count": 1, "failures": 2}
    with connect(ORIGIN, protocol_version=5) as cluster:
        session = cluster.connect()
        assert requests.post(f"{control}/origin/faults", json=wanted, timeout=20).status_code == 201
        with pytest.raises(ReadFailure) as caught:
            session.execute("SELECT key FROM system.local WHERE key = 'local'")
        assert caught.value.error_code_map == {"127.0.0.1": 0, "127.0.0.2": 0}
