"""cassandra-driver as applications use it, through the proxy; every value is then read from both clusters directly.

Short on purpose: the conformance suite does the same with more drivers, statements and versions.
"""

from __future__ import annotations

import time

import pytest
from cassandra.cluster import NoHostAvailable
from cassandra.query import BatchStatement, BatchType, SimpleStatement

from tests.process import drivers
from tests.process.conftest import REPLICATION, TARGET_LOGIN, StartProxy
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox


@pytest.mark.parametrize(("asked", "spoken"), [(3, 3), (4, 4), (None, 4)])
def test_a_driver_writes_to_both_clusters(
    shared: Proxy, sandbox: Sandbox, ks: str, asked: int | None, spoken: int
) -> None:
    """A driver that was told no version begins with the newest, is refused, and falls back by itself."""
    with drivers.session(shared, protocol_version=asked) as session:
        assert session.cluster.protocol_version == spoken
        session.execute(f"INSERT INTO {ks}.t (k, v) VALUES (1, 'simple')")
        session.execute(f"INSERT INTO {ks}.t (k, v) VALUES (%s, %s)", (2, "bound"))
        session.execute(session.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)"), (3, "prepared"))
        assert {row.k for row in session.execute(f"SELECT k FROM {ks}.t")} == {1, 2, 3}
    for cluster in sandbox.clusters:
        assert sorted(cluster.query(f"SELECT k, v FROM {ks}.t")) == [(1, "simple"), (2, "bound"), (3, "prepared")]


def test_batches_counters_conditions_and_pages(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """One of each kind of request that takes its own way through the proxy."""
    with drivers.session(shared) as session:
        session.set_keyspace(ks)
        insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
        batch = BatchStatement(BatchType.UNLOGGED)
        for key in range(25):
            batch.add(insert, (key, f"v{key}"))
        batch.add("UPDATE t SET v = 'text child' WHERE k = 99")
        session.execute(batch)
        counters = BatchStatement(BatchType.COUNTER)
        counters.add(session.prepare("UPDATE c SET n = n + ? WHERE k = 1"), (5,))
        session.execute(counters)
        session.execute("UPDATE c SET n = n - 2 WHERE k = 1")
        take = session.prepare("INSERT INTO t (k, v) VALUES (200, ?) IF NOT EXISTS")
        assert [session.execute(take, (value,)).was_applied for value in ("first", "second")] == [True, False]
        pages = session.execute(SimpleStatement("SELECT k FROM t", fetch_size=4))
        assert len(list(pages.current_rows)) == 4
        assert {row.k for row in pages} | {99, 200} == {*range(25), 99, 200}
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT COUNT(*) FROM {ks}.t") == [(27,)]
        assert cluster.query(f"SELECT n FROM {ks}.c WHERE k = 1") == [(3,)]
        assert cluster.query(f"SELECT v FROM {ks}.t WHERE k IN (99, 200)") == [("text child",), ("first",)]


def test_schema_changes_reach_both_clusters_and_drivers_need_not_wait_for_agreement(
    shared: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """Drivers poll schema_version after each DDL, for ten seconds where local and peers do not agree."""
    name = f"{ks}_made"
    with drivers.session(shared, schema_metadata_enabled=True) as session:
        begun = time.monotonic()
        result = session.execute(f"CREATE KEYSPACE {name} WITH replication = {REPLICATION}")
        assert result.response_future.is_schema_agreed
        session.execute(f"CREATE TABLE {name}.made (k int PRIMARY KEY, v text)")
        session.execute(f"ALTER TABLE {name}.made ADD w int")
        session.execute(f"INSERT INTO {name}.made (k, v, w) VALUES (1, 'one', 11)")
        assert time.monotonic() - begun < 5.0
        assert set(session.cluster.metadata.keyspaces[name].tables["made"].columns) == {"k", "v", "w"}
    for cluster in sandbox.clusters:
        assert cluster.query(f"SELECT w FROM {name}.made") == [(11,)]


def test_a_driver_with_credentials_logs_in(guarded: Sandbox, proxy: StartProxy) -> None:
    """SASL PLAIN as the driver speaks it."""
    running = proxy(*guarded.clusters)
    with drivers.session(running, TARGET_LOGIN) as session:
        assert session.execute("SELECT key FROM system.local").one().key == "local"
    with pytest.raises(NoHostAvailable, match="password are incorrect"), drivers.session(running, ("x", "y")):
        pass
