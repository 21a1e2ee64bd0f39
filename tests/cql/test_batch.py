"""The statements inside the text of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.cql.batch import batch_children


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("BEGIN BATCH INSERT INTO a (k) VALUES (1); UPDATE ks.b SET v = 1 WHERE k = 1; APPLY BATCH", ["a", "ks.b"]),
        ("BEGIN UNLOGGED BATCH USING TIMESTAMP 5 DELETE v FROM a WHERE k = 1 DELETE FROM b WHERE k = 1", ["a", "b"]),
        ("begin batch insert into a (k) values ('; UPDATE c SET v = 1') apply batch", ["a"]),
        ("BEGIN BATCH -- UPDATE c\n /* DELETE FROM d */ UPDATE a SET v = {'x': 1} WHERE k = 1 APPLY BATCH", ["a"]),
        ('BEGIN BATCH INSERT INTO a ("update", v) VALUES (1, [1]) APPLY BATCH', ["a"]),
        ("BEGIN BATCH INSERT INTO a (k) VALUES ($$ DELETE FROM b $$); APPLY BATCH", ["a"]),
        ("BEGIN BATCH APPLY BATCH", []),
        ("BEGIN BATCH INSERT", [None]),
    ],
)
def test_each_write_is_found_with_its_table(text: str, tables: list[str | None]) -> None:
    """Quotes, comments and brackets hide none and make none."""
    found = [f"{one.keyspace}.{one.table}" if one.keyspace else one.table for one in batch_children(text)]
    assert found == tables


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """What clients send is never a reason to raise."""
    batch_children(text)
    batch_children(f"BEGIN BATCH {text} APPLY BATCH")
