"""Every kind of statement that writes or reads rows: what the application sees, and the same rows on both clusters."""

from __future__ import annotations

import struct
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, SimpleStatement

from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.wire import RESULT, Wire

pytestmark = pytest.mark.needs("rows")


def int_value(number: int) -> bytes:
    return struct.pack(">i", number)


def test_a_simple_statement_writes_and_reads(client: Client, both: Both, table: str) -> None:
    """The text alone decides where it goes."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'one')")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (%s, %s)", (2, "it's two"))
    client.execute(f"UPDATE {table} SET v = 'uno' WHERE k = 1")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (3, 'gone')")
    client.execute(f"DELETE FROM {table} WHERE k = 3")
    assert sorted(client.rows(f"SELECT k, v FROM {table}")) == [(1, "uno"), (2, "it's two")]
    assert both.same_table(table, writetime_of=["v"]) == [(1, "uno"), (2, "it's two")]


def test_a_prepared_statement_writes_and_reads(client: Client, both: Both, table: str) -> None:
    """The two clusters may give one text two ids; the application knows only one."""
    client.execute(f"CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = client.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    select = client.prepare(f"SELECT v FROM {table} WHERE k = ? AND c = ?")
    for number in range(50):
        client.execute(insert, (number % 5, number, f"value {number}"))
    client.execute(client.prepare(f"DELETE FROM {table} WHERE k = ? AND c = ?"), (0, 0))
    client.execute(client.prepare(f"UPDATE {table} SET v = ? WHERE k = ? AND c = ?"), ("new", 1, 1))
    assert client.rows(select, (1, 1)) == [("new",)]
    assert client.rows(select, (0, 0)) == []
    assert client.rows(select, (4, 49)) == [("value 49",)]
    assert len(both.same_table(table, writetime_of=["v"])) == 49


def test_values_by_name_and_by_position_in_one_request(client: Client, both: Both, table: str, entry: Entry) -> None:
    """Python drivers put values into the text; others send them beside it, and by name."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, a int, b text)")
    name = f"{client.session.keyspace}.{table}"
    with Wire(entry.address, entry.port, client.cluster.protocol_version, entry.credentials) as wire:
        named = {"b": b"by name", "k": int_value(1), "a": int_value(10)}
        answers = [
            wire.query(f"INSERT INTO {name} (k, a, b) VALUES (:k, :a, :b)", named, timestamp=1000),
            wire.query(f"INSERT INTO {name} (k, a, b) VALUES (?, ?, ?)", [int_value(2), None, b"x"], timestamp=1001),
        ]
        prepared = wire.prepare(f"INSERT INTO {name} (k, a, b) VALUES (:k, :a, :b)")
        again = {"a": int_value(30), "k": int_value(3), "b": b"prepared"}
        answers.append(wire.execute(prepared, again, timestamp=1002))
    assert [answer.opcode for answer in answers] == [RESULT] * 3, answers
    rows = both.same_table(table, writetime_of=["b"])
    assert rows == [(1, 10, "by name"), (2, None, "x"), (3, 30, "prepared")]


@pytest.mark.parametrize("kind", ["inline", "prepared", "mixed"])
def test_a_batch_is_applied_on_both(client: Client, both: Both, table: str, kind: str) -> None:
    """A batch carries texts and prepared ids; every id must be the cluster's own."""
    client.execute(f"CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = client.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    delete = client.prepare(f"DELETE FROM {table} WHERE k = ? AND c = ?")
    client.execute(insert, (1, 0, "to be deleted"))
    for batch_type in (BatchType.LOGGED, BatchType.UNLOGGED):
        batch = BatchStatement(batch_type)
        for number in range(1, 21):
            if kind == "inline" or (kind == "mixed" and number % 2):
                batch.add(SimpleStatement(f"INSERT INTO {table} (k, c, v) VALUES ({number % 3}, {number}, 'text')"))
            else:
                batch.add(insert, (number % 3, number, f"bound {batch_type}"))
        if kind != "inline":
            batch.add(delete, (1, 0))
        client.execute(batch)
    rows = both.same_table(table, writetime_of=["v"])
    assert len(rows) == (21 if kind == "inline" else 20)


def test_a_batch_written_in_cql_is_applied_on_both(client: Client, both: Both, table: str) -> None:
    """BEGIN BATCH is one QUERY, and one prepared statement as well."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    client.execute(
        f"BEGIN BATCH INSERT INTO {table} (k, v) VALUES (1, 'a'); UPDATE {table} SET v = 'b' WHERE k = 2; APPLY BATCH"
    )
    prepared = client.prepare(
        f"BEGIN UNLOGGED BATCH USING TIMESTAMP ? INSERT INTO {table} (k, v) VALUES (?, ?);"
        f" DELETE FROM {table} WHERE k = ?; APPLY BATCH"
    )
    client.execute(prepared, (2**52, 3, "c", 1))
    assert both.same_table(table, writetime_of=["v"]) == [(2, "b"), (3, "c")]


def test_null_and_unset_are_told_apart(client: Client, both: Both, table: str, protocol: int) -> None:
    """Null deletes a column, unset (version 4) leaves it as it is."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, a text, b text)")
    insert = client.prepare(f"INSERT INTO {table} (k, a, b) VALUES (?, ?, ?)")
    for key in (1, 2):
        client.execute(insert, (key, "a", "b"))
    client.execute(insert, (1, None, "new"))
    if protocol >= 4:
        client.execute(insert, (2, UNSET_VALUE, "new"))
    else:
        client.execute(client.prepare(f"INSERT INTO {table} (k, b) VALUES (?, ?)"), (2, "new"))
    assert sorted(client.rows(f"SELECT k, a, b FROM {table}")) == [(1, None, "new"), (2, "a", "new")]
    assert both.same_table(table, writetime_of=["a", "b"]) == [(1, None, "new"), (2, "a", "new")]


def test_ttl_and_timestamp_reach_both(client: Client, both: Both, table: str) -> None:
    """A later write with an earlier timestamp must lose on both, and what expires must expire on both."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'later') USING TIMESTAMP 2000")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'earlier') USING TIMESTAMP 1000")
    prepared = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?) USING TTL ? AND TIMESTAMP ?")
    client.execute(prepared, (2, "expires", 5000, 3000))
    assert both.same_table(table, writetime_of=["v"]) == [(1, "later"), (2, "expires")]
    assert both.same(f"SELECT writetime(v) FROM {table} WHERE k = 2") == [(3000,)]
    for rows in both.each(f"SELECT ttl(v) FROM {table} WHERE k = 2").values():
        assert 4800 < rows[0][0] <= 5000
    for rows in both.each(f"SELECT ttl(v) FROM {table} WHERE k = 1").values():
        assert rows == [(None,)]


def test_collections_keep_their_contents(client: Client, both: Both, table: str) -> None:
    """Appending, removing and replacing, in text and bound."""
    client.execute(
        f"CREATE TABLE {table} (k int PRIMARY KEY, l list<text>, s set<int>, m map<text, int>,"
        " f frozen<map<int, frozen<list<text>>>>, t tuple<int, text>)"
    )
    insert = client.prepare(f"INSERT INTO {table} (k, l, s, m, f, t) VALUES (?, ?, ?, ?, ?, ?)")
    client.execute(insert, (1, ["a", "b"], {3, 1, 2}, {"x": 1, "y": 2}, {1: ["p"], 2: []}, (7, "seven")))
    client.execute(f"INSERT INTO {table} (k, l, s, m) VALUES (2, ['a'], {{1}}, {{'x': 1}})")
    client.execute(f"UPDATE {table} SET l = l + ['c'], s = s - {{1}}, m['z'] = 3 WHERE k = 1")
    client.execute(
        client.prepare(f"UPDATE {table} SET l = ? + l, s = s + ?, m = m - ? WHERE k = 1"), (["0"], {9}, {"x"})
    )
    client.execute(f"DELETE m['y'], l[1] FROM {table} WHERE k = 1")
    rows = both.same_table(table)
    assert rows[0][0] == 1
    seen = client.rows(f"SELECT l, s, m, t FROM {table} WHERE k = 1")[0]
    assert list(seen[0]) == ["0", "b", "c"]
    assert set(seen[1]) == {2, 3, 9}
    assert dict(seen[2]) == {"z": 3}
    assert tuple(seen[3]) == (7, "seven")


def test_every_simple_type_arrives_unchanged(client: Client, both: Both, table: str) -> None:
    """Values pass as bytes; nothing may look at them."""
    columns = {
        "a": ("ascii", "plain"), "b": ("bigint", -(2**63)), "c": ("blob", bytes(range(256))), "d": ("boolean", True),
        "e": ("decimal", Decimal("-12.3400")), "f": ("double", 1.5e300), "g": ("float", 0.5), "h": ("int", -1),
        "i": ("text", "snow ☃, zero \0"), "j": ("timestamp", datetime(2024, 2, 29, 12, 0, 0, 123000)),
        "k": ("uuid", UUID(int=2**127 + 5)), "l": ("varint", 10**40), "m": ("inet", "::1"),
        "n": ("date", date(1969, 1, 1)),
        "o": ("smallint", -3), "p": ("tinyint", 4), "q": ("timeuuid", UUID("bf928f8a-4188-11ec-807b-000204060708")),
    }  # fmt: skip
    declared = ", ".join(f"{name} {cql}" for name, (cql, _) in columns.items())
    client.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, {declared})")
    marks = ", ".join("?" * len(columns))
    insert = client.prepare(f"INSERT INTO {table} (id, {', '.join(columns)}) VALUES (1, {marks})")
    values = [value for _, value in columns.values()]
    client.execute(insert, values)
    client.execute(client.prepare(f"INSERT INTO {table} (id, c) VALUES (2, ?)"), (b"\xa5" * 1_500_000,))
    assert len(both.same_table(table)) == 2
    got = client.rows(f"SELECT {', '.join(columns)} FROM {table} WHERE id = 1")[0]
    assert [str(value) for value in got] == [str(value) for value in values]
    assert client.rows(f"SELECT c FROM {table} WHERE id = 2") == [(b"\xa5" * 1_500_000,)]


@pytest.mark.needs("types")
def test_a_user_type_is_usable_on_both(client: Client, both: Both, table: str) -> None:
    """CREATE TYPE is DDL for both; its values are bound by the driver from the schema it read through the proxy."""
    client.execute(f"CREATE TYPE {table}_type (street text, number int)")
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, a frozen<{table}_type>, b list<frozen<{table}_type>>)")
    client.execute(f"INSERT INTO {table} (k, a) VALUES (1, {{street: 'High St', number: 3}})")
    insert = client.prepare(f"INSERT INTO {table} (k, a, b) VALUES (?, ?, ?)")
    client.execute(insert, (2, ("Low St", 4), [("A", 1), ("B", None)]))
    assert both.same_table(table, writetime_of=["a"]) == [
        (1, ("High St", 3), None),
        (2, ("Low St", 4), (("A", 1), ("B", None))),
    ]
    assert [tuple(row[0]) for row in client.rows(f"SELECT a FROM {table} WHERE k = 2")] == [("Low St", 4)]


def test_five_thousand_rows_are_read_page_by_page(client: Client, both: Both, table: str) -> None:
    """Paging state belongs to the cluster that made it, so every page must come from the same one."""
    client.execute(f"CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c))")
    insert = client.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    wanted = [(number % 7, number, f"row {number}") for number in range(5000)]
    execute_concurrent_with_args(client.session, insert, wanted, concurrency=64)
    for statement in (client.prepare(f"SELECT k, c, v FROM {table}"), SimpleStatement(f"SELECT k, c, v FROM {table}")):
        statement.fetch_size = 450
        result = client.execute(statement)
        pages, seen = 0, []
        while True:
            pages += 1
            seen += result.current_rows
            if not result.has_more_pages:
                break
            # an explicit state, as a stateless web application sends it
            result = client.execute(statement, paging_state=result.paging_state)
        assert pages == 12
        assert sorted(seen, key=lambda row: row[1]) == wanted
    assert len(both.same_table(table, writetime_of=["v"])) == 5000


@pytest.mark.needs("tracing")
def test_a_traced_request_has_a_trace_to_read(client: Client, both: Both, table: str) -> None:
    """The trace is on the cluster whose answer was passed on: the driver must find it there."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text)")
    write = client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'traced')", trace=True)
    read = client.execute(client.prepare(f"SELECT v FROM {table} WHERE k = ?"), (1,), trace=True)
    for result, kind in ((write, "QUERY"), (read, "")):
        trace = result.get_query_trace(max_wait_sec=10)
        assert trace.events
        assert kind in str(trace.request_type).upper() or trace.parameters
    assert both.same_table(table, writetime_of=["v"]) == [(1, "traced")]
