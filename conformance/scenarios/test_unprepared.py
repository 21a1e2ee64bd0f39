"""A cluster has forgotten a prepared statement: mended inside, executed exactly once on each cluster.

Counters and list appends tell how often a statement was executed. That the application was not bothered shows in the
number of PREPARE requests its driver sent: it must not grow, since drivers answer UNPREPARED by preparing again.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cassandra.query import BatchStatement, BatchType

from conformance.backends.interface import Clusters, Node
from conformance.client import Client
from conformance.comparison import Both
from conformance.proxy import Proxy

pytestmark = pytest.mark.needs("rows", "forgets", "proxy")

REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
FORGETFUL = {"origin": ["origin"], "target": ["target"], "both": ["origin", "target"]}


@pytest.fixture(params=FORGETFUL)
def forgetful(request: pytest.FixtureRequest, clusters: Clusters) -> list[Node]:
    """The clusters that forget."""
    return [node for node in clusters.nodes if node.name in FORGETFUL[request.param]]


def make_anew(both: Both, sides: list[Node], table: str, columns: str) -> None:
    """Drops and creates the table directly: its rows are gone there, and every statement prepared on it too."""
    for side in sides:
        both.direct(side).execute(f"DROP TABLE {table}")
        both.direct(side).execute(f"CREATE TABLE {table} ({columns})")


@pytest.mark.needs("counters")
def test_a_forgotten_update_counts_once(client: Client, both: Both, table: str, forgetful: list[Node]) -> None:
    """The cluster that still knew the statement has executed it already when the other says UNPREPARED."""
    columns = "k int PRIMARY KEY, n counter"
    client.execute(f"CREATE TABLE {table} ({columns})")
    add = client.prepare(f"UPDATE {table} SET n = n + ? WHERE k = 1")
    client.execute(add, (100,))
    prepares = client.prepares
    make_anew(both, forgetful, table, columns)
    for _ in range(3):
        client.execute(add, (1,))
    for side in both.sides:
        assert both.read(side, f"SELECT n FROM {table}") == [(3 if side in forgetful else 103,)], side
    assert client.prepares == prepares


def test_a_forgotten_append_appends_once(client: Client, both: Both, table: str, forgetful: list[Node]) -> None:
    """The same with rows, and many requests in flight that all meet the same forgotten statement."""
    columns = "k int PRIMARY KEY, l list<int>"
    client.execute(f"CREATE TABLE {table} ({columns})")
    append = client.prepare(f"UPDATE {table} SET l = l + ? WHERE k = ?")
    for key in range(30):
        client.execute(append, ([-1], key))
    prepares = client.prepares
    make_anew(both, forgetful, table, columns)
    futures = [client.session.execute_async(append, ([key], key)) for key in range(30)]
    for future in futures:
        future.result()
    for side in both.sides:
        before: tuple[int, ...] = () if side in forgetful else (-1,)
        assert both.read(side, f"SELECT k, l FROM {table}") == sorted(
            [(key, (*before, key)) for key in range(30)], key=repr
        ), side
    assert client.prepares == prepares


def test_a_forgotten_read_returns_its_rows(client: Client, both: Both, table: str, forgetful: list[Node]) -> None:
    """A read goes to one cluster only, which may be the one that forgot."""
    columns = "k int PRIMARY KEY, v text"
    client.execute(f"CREATE TABLE {table} ({columns})")
    select = client.prepare(f"SELECT v FROM {table} WHERE k = ?")
    assert client.rows(select, (1,)) == []
    prepares = client.prepares
    make_anew(both, forgetful, table, columns)
    both.run(f"INSERT INTO {table} (k, v) VALUES (1, 'here')")
    assert client.rows(select, (1,)) == [("here",)]
    assert client.prepares == prepares


def test_a_batch_of_forgotten_statements_is_applied_once(
    client: Client, both: Both, table: str, forgetful: list[Node]
) -> None:
    """UNPREPARED names one statement at a time; a batch may hold several that are forgotten."""
    columns = "k int PRIMARY KEY, l list<int>"
    for part in ("a", "b", "c"):
        client.execute(f"CREATE TABLE {table}_{part} ({columns})")
    appends = [client.prepare(f"UPDATE {table}_{part} SET l = l + ? WHERE k = 1") for part in ("a", "b", "c")]
    prepares = client.prepares
    for part in ("a", "b"):
        make_anew(both, forgetful, f"{table}_{part}", columns)
    for number in (1, 2):
        batch = BatchStatement(BatchType.LOGGED)
        for append in appends:
            batch.add(append, ([number],))
        client.execute(batch)
    for part in ("a", "b", "c"):
        assert both.same_table(f"{table}_{part}") == [(1, (1, 2))]
    assert client.prepares == prepares


def test_a_forgotten_statement_of_another_keyspace_is_mended_in_its_own(
    connect: Callable[..., Client], both: Both, table: str, forgetful: list[Node]
) -> None:
    """Before version 5 PREPARE takes the keyspace of the connection, which has moved on since."""
    client = connect(keyspace=None)
    columns = "k int PRIMARY KEY, l list<int>"
    for number in (1, 2):
        client.execute(f"CREATE KEYSPACE {table}_{number} WITH replication = {REPLICATION}")
        client.execute(f"CREATE TABLE {table}_{number}.t ({columns})")
    client.execute(f"USE {table}_1")
    append = client.prepare("UPDATE t SET l = l + ? WHERE k = 1")
    client.execute(f"USE {table}_2")
    prepares = client.prepares
    make_anew(both, forgetful, f"{table}_1.t", columns)
    for number in (1, 2):
        client.execute(append, ([number],))
    client.execute("INSERT INTO t (k, l) VALUES (7, [7])")
    assert both.same_table(f"{table}_1.t") == [(1, (1, 2))]
    assert both.same_table(f"{table}_2.t") == [(7, (7,))]
    assert client.prepares == prepares


@pytest.mark.outage
@pytest.mark.needs("stops")
def test_a_target_that_comes_back_without_its_statements_is_mended(
    client: Client, proxy: Proxy, clusters: Clusters, both: Both, table: str
) -> None:
    """Cassandra keeps its prepared statements over a restart; here they are lost on the way."""
    proxy.expect("control connection to target")
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, l list<int>)")
    append = client.prepare(f"UPDATE {table} SET l = l + ? WHERE k = 1")
    client.execute(append, ([1],))
    prepares, opened = client.prepares, client.opened
    clusters.target.forget_prepared()
    both.forget(clusters.target)
    clusters.target.kill()
    clusters.target.start()
    proxy.target.await_dual()
    client.execute(append, ([2],))
    assert both.same_table(table) == [(1, (1, 2))]
    assert (client.prepares, client.opened) == (prepares, opened)
