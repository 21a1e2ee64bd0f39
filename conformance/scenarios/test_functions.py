"""What a cluster makes up by itself, values and write times, is the same on both where the proxy is told to do so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cassandra import InvalidRequest
from cassandra.query import BatchStatement, SimpleStatement

from conformance.backends.interface import Clusters, Credentials
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.proxy import Proxy

pytestmark = pytest.mark.needs("rows", "proxy")

MADE = "k int PRIMARY KEY, n timeuuid, u uuid, t timestamp, d date, c time, b bigint"
COLUMNS = "n, u, t, d, c, b"
# the second and third are in another function, of which there are several
TERMS = "now(), UUID( ), toTimestamp(system.now()), toDate(now()), currentTime(), toUnixTimestamp(now())"


@pytest.fixture(scope="module")
def amending(new_proxy: Callable[..., Proxy]) -> Iterator[Proxy]:
    """A proxy with both keys on, for all of these scenarios; its log is judged at their end."""
    proxy = new_proxy(3, ZDM_REPLACE_CQL_FUNCTIONS="true", ZDM_STAMP_WRITE_TIMESTAMPS="true")
    proxy.mark()
    proxy.start()
    yield proxy
    proxy.end()
    assert not proxy.complaints(), "the proxy logged:\n" + "\n".join(proxy.complaints()[:20])


@pytest.fixture
def replacing(amending: Proxy, connect: Callable[..., Client], credentials: Credentials | None) -> Client:
    """An application that sends the timestamps of its driver."""
    return connect(at=amending.entry(credentials))


@pytest.fixture
def timeless(amending: Proxy, connect: Callable[..., Client], credentials: Credentials | None) -> Client:
    """An application that sends none."""
    client = connect(at=amending.entry(credentials))
    client.session.use_client_timestamp = False
    return client


def same_values(both: Both, table: str, rows: int) -> None:
    """As many rows on both, the same, with no two values alike and none missing."""
    found = both.same(f"SELECT k, {COLUMNS} FROM {table}")
    assert len(found) == rows
    assert all(value is not None for row in found for value in row)
    for column in (1, 2):
        assert len({row[column] for row in found}) == rows


def test_calls_in_text_store_the_same_on_both(replacing: Client, both: Both, table: str) -> None:
    """INSERT, UPDATE, batches in CQL and of the protocol; on clusters that lack a function, too."""
    replacing.execute(f"CREATE TABLE {table} ({MADE}, l list<timeuuid>, m map<timeuuid, text>)")
    insert = f"INSERT INTO {table} (k, {COLUMNS}) VALUES"
    replacing.execute(f"{insert} (1, {TERMS})")
    replacing.execute(f"{insert} (2, {TERMS}) IF NOT EXISTS")
    replacing.execute(f"BEGIN BATCH {insert} (3, {TERMS}); {insert} (4, {TERMS}); APPLY BATCH")
    batch = BatchStatement()
    for key in (5, 6):
        batch.add(SimpleStatement(f"{insert} ({key}, {TERMS})"))
    replacing.execute(batch)
    replacing.execute(
        f"UPDATE {table} SET n = now(), u = uuid(), t = currentTimestamp(), d = current_date(), c = current_time(),"
        f" b = toUnixTimestamp(currentTimestamp()), l = l + [now(), now()], m[now()] = 'ключ 😀' WHERE k = 7"
    )
    same_values(both, table, 7)
    ((stored, by_key),) = both.same(f"SELECT l, m FROM {table} WHERE k = 7")
    assert len(set(stored)) == 2 and len(by_key["map"]) == 1


def test_calls_in_prepared_statements_store_the_same_on_both(replacing: Client, both: Both, table: str) -> None:
    """By position and by name, in batches, with conditions."""
    replacing.execute(f"CREATE TABLE {table} ({MADE}, v text)")
    insert = replacing.prepare(f"INSERT INTO {table} (k, {COLUMNS}, v) VALUES (?, {TERMS}, ?)")
    for key in range(5):
        replacing.execute(insert, (key, f"é{key}"))
    named = replacing.prepare(
        f"UPDATE {table} SET n = now(), v = :v, u = uuid(), t = currentTimestamp(), d = currentDate(), "
        "c = currentTime(), b = toUnixTimestamp(now()) WHERE k = :zebra"
    )
    replacing.execute(named, {"zebra": 5, "v": "ü"})
    replacing.execute(named, ("ü", 6))
    batch = BatchStatement()
    batch.add(insert, (7, "x"))
    batch.add(named, ("y", 8))
    batch.add(SimpleStatement(f"INSERT INTO {table} (k, {COLUMNS}) VALUES (9, {TERMS})"))
    replacing.execute(batch)
    once = replacing.prepare(f"INSERT INTO {table} (k, {COLUMNS}, v) VALUES (?, {TERMS}, ?) IF NOT EXISTS")
    assert [replacing.execute(once, (10, "first")).was_applied for _ in range(2)] == [True, False]
    same_values(both, table, 11)
    assert (6, "ü") in both.same(f"SELECT k, v FROM {table}")


def test_calls_wherever_a_term_may_stand(replacing: Client, both: Both, table: str) -> None:
    """Keys, elements of maps, user types and tuples, conditions and relations; prepared, and as text."""
    replacing.execute(f"CREATE TYPE {table}_type (made timeuuid, what text)")
    replacing.execute(
        f"CREATE TABLE {table} (k int, c timeuuid, m map<timeuuid, int>, p frozen<{table}_type>,"
        " t frozen<tuple<timeuuid, int>>, v int, PRIMARY KEY (k, c))"
    )
    for text in (
        f"INSERT INTO {table} (k, c, p, t) VALUES (1, now(), {{made: now(), what: 'x'}}, (now(), 1))",
        f"UPDATE {table} SET m[now()] = 1, v = 1 WHERE k = 2 AND c = now()",
        f"UPDATE {table} SET v = 2 WHERE k = 3 AND c IN (now(), now())",
        f"INSERT INTO {table} (k, c, v) VALUES (4, (timeuuid) now(), 4)",
        f"DELETE m[now()] FROM {table} WHERE k = 1 AND c = now()",
        f"DELETE FROM {table} WHERE k = 9 AND c > now()",
    ):
        replacing.execute(text)
        replacing.execute(replacing.prepare(text))
    found = both.same_table(table)
    assert len(found) == 2 + 2 + 4 + 2
    replacing.execute(f"CREATE TABLE {table}_if (k int PRIMARY KEY, n timeuuid)")
    replacing.execute(f"INSERT INTO {table}_if (k, n) VALUES (1, now())")
    change = replacing.prepare(f"UPDATE {table}_if SET n = now() WHERE k = ? IF n < now()")
    assert replacing.execute(change, (1,)).was_applied
    both.same_table(f"{table}_if")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} (a, n, b, v) VALUES (?, now(), ?, now())",
        "INSERT INTO {} (n, b, v, a) VALUES (now(), ?, ?, ?)",
        "INSERT INTO {} (a, b, n, v) VALUES (1, 'x', now(), now())",
        "INSERT INTO {} (a, b, n, v) VALUES (:aa, :zz, now(), :v)",
        "UPDATE {} USING TTL ? SET v = now() WHERE n = now() AND b = ? AND a = ?",
        "DELETE FROM {} WHERE a = ? AND b = :b AND n = now()",
        "INSERT INTO {}_half (n, b) VALUES (now(), ?)",
        "BEGIN BATCH INSERT INTO {0} (a, n, b) VALUES (?, now(), ?);"
        " DELETE FROM {0}_half WHERE n = now() AND b = ?; APPLY BATCH",
    ],
)
def test_the_application_sees_the_variables_it_would_see(
    replacing: Client, connect: Callable[..., Client], clusters: Clusters, table: str, statement: str
) -> None:
    """Names, types and the key's indexes are those of the cluster without a proxy, in the same protocol version."""
    origin = clusters.origin
    replacing.execute(f"CREATE TABLE {table} (a int, n timeuuid, b text, v timeuuid, PRIMARY KEY ((a, b), n))")
    replacing.execute(f"CREATE TABLE {table}_half (n timeuuid, b text, PRIMARY KEY ((n, b)))")
    # where the version does not tell the indexes the driver finds them in the schema, so that must have the table
    direct = connect(at=Entry(origin.address, origin.port, origin.credentials))

    def seen(client: Client) -> tuple[list[tuple[Any, ...]], list[int]]:
        prepared = client.prepare(statement.format(f"conformance.{table}"))
        variables = [(one.keyspace_name, one.table_name, one.name, str(one.type)) for one in prepared.column_metadata]
        return variables, prepared.routing_key_indexes or []

    assert seen(replacing) == seen(direct)


def test_what_the_cluster_refuses_is_refused(replacing: Client, both: Both, table: str) -> None:
    """A variable takes what a function's result is not."""
    replacing.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text, b blob)")
    with pytest.raises(InvalidRequest, match="cannot assign result of function system.now"):
        replacing.prepare(f"INSERT INTO {table} (k, v) VALUES (?, now())")
    with pytest.raises(InvalidRequest):
        replacing.execute(f"INSERT INTO {table} (k, v) VALUES (1, now())")
    replacing.execute(replacing.prepare(f"INSERT INTO {table} (k, b) VALUES (?, now())"), (1,))
    assert len(both.same_table(table)) == 1


def test_two_statements_that_differ_by_a_call_stay_two(replacing: Client, both: Both, table: str) -> None:
    """Clusters know a statement by its text: with a mere variable in place of the call it would be the other's."""
    replacing.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, n timeuuid)")
    with_call = replacing.prepare(f"INSERT INTO {table} (k, n) VALUES (?, now())")
    without = replacing.prepare(f"INSERT INTO {table} (k, n) VALUES (?, ?)")
    assert with_call.query_id != without.query_id
    replacing.execute(with_call, (1,))
    replacing.execute(without, (2, None))
    assert [row[1] is None for row in both.same_table(table)] == [False, True]


@pytest.mark.needs("forgets")
@pytest.mark.parametrize("name", ["origin", "target"])
def test_a_forgotten_statement_is_executed_with_the_values_it_had(
    replacing: Client, both: Both, clusters: Clusters, table: str, name: str
) -> None:
    """The other cluster has stored them already."""
    replacing.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, n timeuuid)")
    insert = replacing.prepare(f"INSERT INTO {table} (k, n) VALUES (?, now())")
    prepares = replacing.prepares
    forgetful = next(node for node in clusters.nodes if node.name == name)
    both.direct(forgetful).execute(f"DROP TABLE {table}")
    both.direct(forgetful).execute(f"CREATE TABLE {table} (k int PRIMARY KEY, n timeuuid)")
    replacing.execute(insert, (1,))
    assert len(both.same_table(table)) == 1
    assert replacing.prepares == prepares


def test_writes_without_timestamps_get_the_same_on_both(timeless: Client, both: Both, table: str) -> None:
    """Text, prepared, batches; later writes win, and a deletion covers what was before it."""
    timeless.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    insert = timeless.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    for key in range(4):
        timeless.execute(f"INSERT INTO {table} (k, v) VALUES ({key}, 'text')")
        timeless.execute(insert, (key, "bound"))
        batch = BatchStatement()
        batch.add(insert, (key, f"batch{key}"))
        batch.add(SimpleStatement(f"DELETE FROM {table} WHERE k = {key + 100}"))
        timeless.execute(batch)
    timeless.execute(f"DELETE FROM {table} WHERE k = 3")
    timeless.execute(f"INSERT INTO {table} (k, v) VALUES (4, 'own') USING TIMESTAMP 77")
    found = both.same_table(table, ["v"])
    assert found == [(0, "batch0"), (1, "batch1"), (2, "batch2"), (4, "own")]
    times = [when for (when,) in both.same(f"SELECT writetime(v) FROM {table}")]
    assert len(set(times)) == 4 and 77 in times


def test_conditions_and_counters_work_as_without_timestamps(timeless: Client, both: Both, table: str) -> None:
    """Cassandra keeps their time itself, and refuses some of another's."""
    timeless.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    timeless.execute(f"CREATE TABLE {table}_n (k int PRIMARY KEY, n counter)")
    take = timeless.prepare(f"INSERT INTO {table} (k, v) VALUES (?, 'x') IF NOT EXISTS")
    assert [timeless.execute(take, (1,)).was_applied for _ in range(2)] == [True, False]
    add = timeless.prepare(f"UPDATE {table}_n SET n = n + ? WHERE k = 1")
    for number in range(3):
        timeless.execute(add, (number,))
        timeless.execute(f"UPDATE {table}_n SET n = n + 10 WHERE k = 1")
        timeless.execute(f"UPDATE {table}_n SET n = n + %s WHERE k = 1", (100,))
    timeless.execute(f"BEGIN COUNTER BATCH UPDATE {table}_n SET n = n + 1000 WHERE k = 1; APPLY BATCH")
    assert both.same_table(f"{table}_n") == [(1, 1333)]
    assert both.same_table(table) == [(1, "x")]
