"""Counters: not idempotent, so what was executed twice shows."""

from __future__ import annotations

import pytest
from cassandra.query import BatchStatement, BatchType

from conformance.client import Client
from conformance.comparison import Both

pytestmark = pytest.mark.needs("rows", "counters")


def test_counters_count_the_same_on_both(client: Client, both: Both, table: str) -> None:
    """Text, bound, up and down."""
    client.execute(f"CREATE TABLE {table} (k text PRIMARY KEY, n counter, m counter)")
    add = client.prepare(f"UPDATE {table} SET n = n + ?, m = m - ? WHERE k = ?")
    for step in range(1, 11):
        client.execute(f"UPDATE {table} SET n = n + 1 WHERE k = 'text'")
        client.execute(add, (step, 2, "bound"))
    assert both.same_table(table) == [("bound", -20, 55), ("text", None, 10)]
    assert client.rows(f"SELECT n FROM {table} WHERE k = 'bound'") == [(55,)]


def test_a_counter_batch_counts_once_on_both(client: Client, both: Both, table: str) -> None:
    """A counter batch has a type of its own on the wire."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, n counter)")
    add = client.prepare(f"UPDATE {table} SET n = n + ? WHERE k = ?")
    for _ in range(3):
        batch = BatchStatement(BatchType.COUNTER)
        for key in range(5):
            batch.add(add, (key, key))
        batch.add(f"UPDATE {table} SET n = n + 100 WHERE k = 1")
        client.execute(batch)
    client.execute(f"BEGIN COUNTER BATCH UPDATE {table} SET n = n + 1 WHERE k = 9; APPLY BATCH")
    assert both.same_table(table) == [(0, 0), (1, 303), (2, 6), (3, 9), (4, 12), (9, 1)]
