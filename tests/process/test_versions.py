"""cassandra-driver in every version that clusters offer, with and without credentials.

Every value is then read from both clusters, past the proxy.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cassandra.cluster import Session
from cassandra.query import BatchStatement, SimpleStatement

from tests.process import drivers
from tests.process.conftest import ORIGIN_LOGIN, REPLICATION, TARGET_LOGIN
from tests.process.running_proxy import Proxy
from tests.process.sandbox import NOBODY, Sandbox

LONG = "x" * 300_000
"""Longer than two segments of v5."""

OFFERS = ("protocols=3,4,5", "compression=snappy,lz4")


class Stand(tuple[Sandbox, Proxy, tuple[str, str]]):
    """Two clusters, the proxy in front of them, and what clients log in with."""


@pytest.fixture(scope="module", params=[False, True], ids=["open", "guarded"])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    logins = (ORIGIN_LOGIN, TARGET_LOGIN) if request.param else (NOBODY, NOBODY)
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"), *logins, offers=OFFERS)
    proxy = Proxy(*sandbox.clusters, tmp_path_factory.mktemp("proxy"), {})
    try:
        proxy.wait_until_ready()
        sandbox.query(f"CREATE KEYSPACE ks WITH replication = {REPLICATION}")
        yield Stand((sandbox, proxy, logins[1]))
    finally:
        proxy.stop()
        sandbox.close()


def use_everything(session: Session, table: str) -> None:
    """Each kind of request that has a shape of its own."""
    insert = session.prepare(f"INSERT INTO ks.{table} (k, v) VALUES (?, ?)")
    session.execute(f"INSERT INTO ks.{table} (k, v) VALUES (1, 'text')")
    session.execute(f"INSERT INTO ks.{table} (k, v) VALUES (%s, %s)", (2, "bound"))
    session.execute(insert, (3, LONG))
    batch = BatchStatement()
    for key in range(4, 40):
        batch.add(insert, (key, "batch"))
    session.execute(batch)
    answers = [session.execute_async(insert, (key, "pipelined")) for key in range(40, 200)]
    for answer in answers:
        answer.result()
    read = session.prepare(f"SELECT v FROM ks.{table} WHERE k = ?")
    assert session.execute(read, (3,)).one().v == LONG
    assert len(list(session.execute(SimpleStatement(f"SELECT k FROM ks.{table}", fetch_size=30)))) == 199
    session.set_keyspace("ks")
    session.execute(f"DELETE FROM {table} WHERE k = 1")


def check(sandbox: Sandbox, table: str) -> None:
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT COUNT(*) FROM ks.{table}") == [(198,)]
        assert cluster.query(f"SELECT v FROM ks.{table} WHERE k IN (2, 3, 4, 199)") == [
            ("bound",),
            (LONG,),
            ("batch",),
            ("pipelined",),
        ]


@pytest.mark.parametrize(
    ("asked", "spoken", "compression"),
    [(3, 3, False), (5, 5, False), (None, 5, "lz4"), (3, 3, "snappy"), (4, 4, "lz4"), (4, 4, "snappy")],
)
def test_a_driver_works_in_every_version(stand: Stand, asked: int | None, spoken: int, compression: str | bool) -> None:
    """One that was told no version comes down to the highest that all speak."""
    sandbox, proxy, login = stand
    table = f"t{asked}_{compression}"
    sandbox.query(f"CREATE TABLE ks.{table} (k int PRIMARY KEY, v text)")
    with drivers.session(proxy, login, protocol_version=asked, compression=compression) as session:
        assert session.cluster.protocol_version == spoken
        use_everything(session, table)
    check(sandbox, table)
    assert f"({spoken}, Compression: {compression or 'none'})" in proxy.log()


def test_a_statement_that_target_forgets_is_prepared_there_again_in_v5(stand: Stand) -> None:
    """Under the keyspace it was prepared under, which PREPARE names."""
    sandbox, proxy, login = stand
    sandbox.query("CREATE TABLE ks.forgotten (k int PRIMARY KEY, v text)")
    with drivers.session(proxy, login, protocol_version=5, compression=False) as session:
        insert = session.prepare("INSERT INTO forgotten (k, v) VALUES (?, ?)", keyspace="ks")
        session.execute(insert, (1, "before"))
        sandbox.target.forget_prepared()
        session.execute(insert, (2, "after"))
    for cluster in sandbox.clusters:
        assert cluster.query("SELECT COUNT(*) FROM ks.forgotten") == [(2,)]


def test_a_request_may_name_its_keyspace(stand: Stand) -> None:
    """Of v5 only."""
    sandbox, proxy, login = stand
    sandbox.query("CREATE TABLE ks.named (k int PRIMARY KEY, v text)")
    with drivers.session(proxy, login, protocol_version=5, compression=False) as session:
        session.execute(SimpleStatement("INSERT INTO named (k, v) VALUES (1, 'x')", keyspace="ks"))
        assert session.execute(SimpleStatement("SELECT v FROM named", keyspace="ks")).one().v == "x"
    for cluster in sandbox.clusters:
        assert cluster.query("SELECT v FROM ks.named") == [("x",)]
