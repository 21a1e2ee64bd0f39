"""Lightweight transactions: each cluster decides for itself, and the application is told what the primary decided."""

from __future__ import annotations

import pytest
from cassandra import ConsistencyLevel
from cassandra.query import BatchStatement

from conformance.client import Client
from conformance.comparison import Both

pytestmark = pytest.mark.needs("rows", "conditions")


def test_conditions_hold_or_not_on_both(client: Client, both: Both, table: str) -> None:
    """Disjoint keys and no rivals: both clusters must decide alike. The answer names the row that was in the way."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text, n int)")
    insert = client.prepare(f"INSERT INTO {table} (k, v, n) VALUES (?, ?, ?) IF NOT EXISTS")
    update = client.prepare(f"UPDATE {table} SET v = ? WHERE k = ? IF n = ?")
    for key in range(5):
        assert client.rows(insert, (key, "first", key)) == [(True,)]
    assert client.rows(insert, (1, "second", 9)) == [(False, 1, 1, "first")]
    assert client.rows(update, ("changed", 2, 2)) == [(True,)]
    assert client.rows(update, ("changed", 3, 99)) == [(False, 3)]
    assert client.rows(f"DELETE FROM {table} WHERE k = 4 IF EXISTS") == [(True,)]
    assert client.rows(f"DELETE FROM {table} WHERE k = 4 IF EXISTS") == [(False,)]
    assert both.same_table(table) == [(0, 0, "first"), (1, 1, "first"), (2, 2, "changed"), (3, 3, "first")]


def test_a_conditional_batch_is_applied_whole_or_not_at_all(client: Client, both: Both, table: str) -> None:
    """One partition, one condition: all of its statements or none."""
    client.execute(f"CREATE TABLE {table} (k int, c int, v text, PRIMARY KEY (k, c))")
    once = client.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?) IF NOT EXISTS")
    plain = client.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")
    for text, applied in (("first", True), ("second", False)):
        batch = BatchStatement(consistency_level=ConsistencyLevel.ONE)
        batch.add(once, (1, 1, text))
        batch.add(plain, (1, 2, text))
        assert client.execute(batch).one()[0] is applied
    assert both.same_table(table) == [(1, 1, "first"), (1, 2, "first")]


def test_a_serial_read_sees_the_last_condition(client: Client, both: Both, table: str) -> None:
    """SERIAL is a consistency of its own, carried unchanged."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v int)")
    select = client.prepare(f"SELECT v FROM {table} WHERE k = 1")
    select.consistency_level = ConsistencyLevel.SERIAL
    for number in range(5):
        condition = "IF NOT EXISTS" if number == 0 else f"IF v = {number - 1}"
        text = (
            f"INSERT INTO {table} (k, v) VALUES (1, 0) {condition}"
            if number == 0
            else f"UPDATE {table} SET v = {number} WHERE k = 1 {condition}"
        )
        assert client.execute(text).one()[0] is True
        assert client.rows(select) == [(number,)]
    assert both.same_table(table) == [(1, 4)]
