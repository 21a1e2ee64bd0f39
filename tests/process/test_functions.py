"""What a cluster would make up by itself is made by the proxy: both clusters then hold the same (6.4)."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from cassandra.cluster import Session
from cassandra.query import BatchStatement, SimpleStatement

from tests.process import drivers
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox


@pytest.fixture(scope="module")
def _amending_proxy(_open_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    settings = {"workers": 2, "replace_cql_functions": "true", "stamp_write_timestamps": "true"}
    running = Proxy(*_open_sandbox.clusters, tmp_path_factory.mktemp("amending"), settings).wait_until_ready()
    yield running
    running.stop()


@pytest.fixture
def amending(_amending_proxy: Proxy, sandbox: Sandbox) -> Iterator[Proxy]:
    """A proxy with both keys on, and two workers."""
    yield _amending_proxy
    _amending_proxy.judge()


@pytest.fixture
def table(sandbox: Sandbox, ks: str) -> str:
    """With a column of each type that is made up."""
    columns = "k int PRIMARY KEY, n timeuuid, u uuid, t timestamp, d date, m timestamp, l list<timeuuid>, v text"
    sandbox.query(f"CREATE TABLE {ks}.made ({columns})")
    return f"{ks}.made"


COLUMNS = "n, u, t, d, m"
TERMS = "now(), UUID( ), currentTimestamp(), current_date(), toTimestamp(system.now())"


def same_on_both(sandbox: Sandbox, text: str, rows: int) -> list[tuple[object, ...]]:
    """The rows, which must be there, the same on both clusters, and without nulls."""
    origin, target = (sorted(cluster.query(text), key=repr) for cluster in sandbox.clusters)
    assert origin == target
    assert len(origin) == rows
    assert all(value is not None for row in origin for value in row)
    return origin


@pytest.mark.parametrize("version", [3, 4])
def test_a_driver_writes_the_same_values_to_both_clusters(
    amending: Proxy, sandbox: Sandbox, table: str, version: int
) -> None:
    """As text, prepared, and in batches of both; prepared by one connection, executed by any."""
    with drivers.session(amending, protocol_version=version) as session:
        session.execute(f"INSERT INTO {table} (k, {COLUMNS}) VALUES (1, {TERMS})")
        insert = session.prepare(f"INSERT INTO {table} (k, {COLUMNS}) VALUES (?, {TERMS})")
        named = session.prepare(f"UPDATE {table} SET n = now(), u = :u, t = currentTimestamp(), d = current_date(), "
                                "m = toTimestamp(now()) WHERE k = :key")  # fmt: skip
        assert [column.name for column in insert.column_metadata] == ["k"]
        assert [column.name for column in named.column_metadata] == ["u", "key"]
        for key in range(2, 10):
            session.execute(insert, (key,))
        session.execute(named, {"key": 10, "u": UUID(int=10)})
        batch = BatchStatement()
        batch.add(insert, (11,))
        batch.add(f"INSERT INTO {table} (k, {COLUMNS}) VALUES (12, {TERMS})")
        batch.add(insert, (13,))
        session.execute(batch)
    found = same_on_both(sandbox, f"SELECT k, {COLUMNS} FROM {table}", 13)
    assert len({row[1] for row in found}) == len({row[2] for row in found}) == 13
    stamps = same_on_both(sandbox, f"SELECT writetime(n) FROM {table}", 13)
    assert len(set(stamps)) == 11, "a batch has one timestamp"


def test_the_driver_sees_the_partition_key_that_it_would_have_seen(
    amending: Proxy, shared: Proxy, sandbox: Sandbox, ks: str
) -> None:
    """It computes tokens from it (FIX-22)."""
    sandbox.query(f"CREATE TABLE {ks}.key (a int, n timeuuid, b int, v timeuuid, PRIMARY KEY ((a, b), n))")
    sandbox.query(f"CREATE TABLE {ks}.half (n timeuuid, b int, PRIMARY KEY ((n, b)))")
    texts = [
        f"INSERT INTO {ks}.key (a, n, b, v) VALUES (?, now(), ?, now())",
        f"INSERT INTO {ks}.key (n, b, v, a) VALUES (now(), ?, ?, ?)",
        f"INSERT INTO {ks}.half (n, b) VALUES (now(), ?)",
        f"UPDATE {ks}.key USING TTL ? SET v = now() WHERE n = now() AND b = ? AND a = ?",
    ]

    def seen(session: Session, text: str) -> tuple[list[tuple[str, str]], list[int]]:
        prepared = session.prepare(text)
        columns = [(column.name, column.type.typename) for column in prepared.column_metadata]
        return columns, prepared.routing_key_indexes or []

    with drivers.session(amending) as with_values, drivers.session(shared) as without:
        for text in texts:
            assert seen(with_values, text) == seen(without, text), text
        assert seen(with_values, texts[0])[1] == [0, 1]


def test_a_forgotten_statement_is_mended_with_the_values_it_had(amending: Proxy, sandbox: Sandbox, table: str) -> None:
    """One cluster has stored them already."""
    with drivers.session(amending) as session:
        insert = session.prepare(f"INSERT INTO {table} (k, n, v) VALUES (?, now(), ?)")
        for key, cluster in enumerate(sandbox.clusters):
            cluster.forget_prepared()
            session.execute(insert, (key, "é"))
    same_on_both(sandbox, f"SELECT k, n, v, writetime(v) FROM {table}", 2)


def test_a_list_gets_its_value_in_text(amending: Proxy, sandbox: Sandbox, table: str) -> None:
    with drivers.session(amending) as session:
        session.execute(f"UPDATE {table} SET l = l + [now()], v = 'ünï' WHERE k = 1")
    same_on_both(sandbox, f"SELECT l, v FROM {table}", 1)


def test_a_driver_that_sends_timestamps_keeps_its_own(amending: Proxy, sandbox: Sandbox, table: str) -> None:
    """And one that does not gets the proxy's: counted by who gave them."""
    sources = ["client", "proxy"]
    before = [amending.metric(f'write_timestamps_total{{source="{source}"}}') for source in sources]
    with drivers.session(amending) as session:
        session.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'own') USING TIMESTAMP 77")
        session.execute(SimpleStatement(f"INSERT INTO {table} (k, v) VALUES (2, 'drivers')"))
        session.use_client_timestamp = False
        session.execute(SimpleStatement(f"INSERT INTO {table} (k, v) VALUES (3, 'proxys')"))
        session.execute(SimpleStatement(f"INSERT INTO {table} (k, v) VALUES (4, 'lwt') IF NOT EXISTS"))
    assert (77,) in same_on_both(sandbox, f"SELECT writetime(v) FROM {table} WHERE k IN (1, 2, 3)", 3)
    after = [amending.metric(f'write_timestamps_total{{source="{source}"}}') for source in sources]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]


def test_without_the_keys_each_cluster_makes_its_own(shared: Proxy, sandbox: Sandbox, table: str) -> None:
    """As with the reference: it is off by default, and a statement reaches the clusters as it is."""
    with drivers.session(shared) as session:
        session.execute(f"INSERT INTO {table} (k, n) VALUES (1, now())")
    origin, target = (cluster.query(f"SELECT n FROM {table}") for cluster in sandbox.clusters)
    assert origin != target
