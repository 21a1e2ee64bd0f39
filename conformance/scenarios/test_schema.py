"""Keyspaces and schema: USE, DDL, and how long the driver waits for the clusters to agree."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from conformance.backends.interface import Credentials
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.proxy import Proxy

pytestmark = pytest.mark.needs("rows")

REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
# the driver gives up waiting for agreement after 10 s; a schema change itself takes a second or two
AGREEMENT_SECONDS = 5.0


def timed(client: Client, statement: str) -> float:
    """Seconds until the driver was content, agreement included."""
    began = time.monotonic()
    result = client.execute(statement)
    assert result.response_future.is_schema_agreed, statement
    return time.monotonic() - began


def test_use_holds_for_all_that_follows(connect: Callable[..., Client], both: Both, table: str) -> None:
    """Unqualified names go where USE said, on both clusters, in the proxy's eyes too."""
    client = connect(keyspace=None)
    for number in (1, 2):
        client.execute(f"CREATE KEYSPACE {table}_{number} WITH replication = {REPLICATION}")
        client.execute(f"CREATE TABLE {table}_{number}.t (k int PRIMARY KEY, v text)")
    for number in (1, 2, 1):
        client.execute(f"USE {table}_{number}")
        client.execute(f"INSERT INTO t (k, v) VALUES ({number}, 'in {number}')")
        assert client.rows("SELECT k, v FROM t") == [(number, f"in {number}")]
    for number in (1, 2):
        assert both.same_table(f"{table}_{number}.t", writetime_of=["v"]) == [(number, f"in {number}")]


def test_a_statement_prepared_in_one_keyspace_is_used_in_another(
    connect: Callable[..., Client], both: Both, table: str
) -> None:
    """A prepared statement belongs to the keyspace it was prepared in, whatever USE came later."""
    client = connect(keyspace=None)
    for number in (1, 2):
        client.execute(f"CREATE KEYSPACE {table}_{number} WITH replication = {REPLICATION}")
        client.execute(f"CREATE TABLE {table}_{number}.t (k int PRIMARY KEY, v text)")
    client.execute(f"USE {table}_1")
    insert = client.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    select = client.prepare("SELECT v FROM t WHERE k = ?")
    client.execute(insert, (1, "before"))
    client.execute(f"USE {table}_2")
    client.execute(insert, (2, "after"))
    assert client.rows(select, (2,)) == [("after",)]
    assert both.same_table(f"{table}_1.t", writetime_of=["v"]) == [(1, "before"), (2, "after")]
    assert both.same_table(f"{table}_2.t") == []


def test_schema_changes_reach_both_and_are_agreed_at_once(client: Client, both: Both, table: str) -> None:
    """Drivers wait until all nodes show one schema version, 10 s at most: the proxy must show one."""
    statements = [
        f"CREATE KEYSPACE {table} WITH replication = {REPLICATION}",
        f"CREATE TYPE {table}.u (a int)",
        f"CREATE TABLE {table}.t (k int PRIMARY KEY, v text, o text)",
        f"ALTER TABLE {table}.t ADD w frozen<u>".replace("<u>", f"<{table}.u>"),
        f"CREATE INDEX by_v ON {table}.t (v)",
        f"ALTER TABLE {table}.t WITH comment = 'changed'",
        f"CREATE TABLE {table}.gone (k int PRIMARY KEY)",
        f"DROP TABLE {table}.gone",
        f"INSERT INTO {table}.t (k, v, o) VALUES (1, 'one', 'x')",
        f"TRUNCATE {table}.t",
        f"INSERT INTO {table}.t (k, v) VALUES (2, 'two')",
    ]
    slow = {text: seconds for text in statements if (seconds := timed(client, text)) > AGREEMENT_SECONDS}
    assert not slow
    columns = both.same(f"SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = '{table}'")
    assert columns == [("k", "int"), ("o", "text"), ("v", "text"), ("w", "frozen<u>")]
    assert both.same(f"SELECT table_name, comment FROM system_schema.tables WHERE keyspace_name = '{table}'") == [
        ("t", "changed")
    ]
    assert both.same(f"SELECT index_name FROM system_schema.indexes WHERE keyspace_name = '{table}'") == [("by_v",)]
    assert client.rows(f"SELECT k FROM {table}.t WHERE v = 'two'") == [(2,)]
    assert both.same(f"SELECT k, v FROM {table}.t") == [(2, "two")]
    assert sorted(client.cluster.metadata.keyspaces[table].tables) == ["t"]
    assert timed(client, f"DROP KEYSPACE {table}") < AGREEMENT_SECONDS
    assert both.same(f"SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{table}'") == []


@pytest.mark.needs("proxy")
def test_two_proxies_agree_on_the_schema(
    own_proxy: Callable[..., Proxy],
    credentials: Credentials | None,
    protocol: int,
    both: Both,
    table: str,
    network: str,
) -> None:
    """The driver compares the schema version of the proxy it asks with that of the other one: its peer."""
    addresses = f"{network}111,{network}112"
    first = own_proxy(11, ZDM_PROXY_TOPOLOGY_ADDRESSES=addresses, ZDM_PROXY_TOPOLOGY_INDEX="0")
    # a driver dials all proxies on one port
    own_proxy(12, ZDM_PROXY_TOPOLOGY_ADDRESSES=addresses, ZDM_PROXY_TOPOLOGY_INDEX="1", port=first.port)
    with Client(Entry(first.address, first.port, credentials), protocol, both.keyspace) as client:
        assert len(client.cluster.metadata.all_hosts()) == 2
        statements = [f"CREATE TABLE {table} (k int PRIMARY KEY, v int)", f"ALTER TABLE {table} ADD w int"]
        slow = {text: seconds for text in statements if (seconds := timed(client, text)) > AGREEMENT_SECONDS}
        assert not slow
        for number in range(20):  # round robin: half of them by each proxy
            client.execute(f"INSERT INTO {table} (k, v, w) VALUES ({number}, {number}, 1)")
    assert len(both.same_table(table, writetime_of=["v"])) == 20
