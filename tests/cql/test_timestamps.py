"""Which writes may be given a timestamp."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.cql.texts import any_text
from zdm.cql.statement import StatementKind, classify
from zdm.cql.timestamps import takes_timestamp


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (k) VALUES (1)",
        "INSERT INTO t (k) VALUES (1) USING TTL 5",
        "insert into t (k, timestamp) values (1, 'using timestamp 1')",
        "UPDATE t USING TTL 5 SET timestamp = 1 WHERE k = 1",
        "UPDATE t SET v = 1 WHERE k = -1",
        "UPDATE t SET l = l + [1], s = s - {1}, m = {'a': 1} + m WHERE k = 1",
        "UPDATE t SET l = l + ? WHERE k = ?",
        "UPDATE t SET l += [1] WHERE k = 1",
        "UPDATE t SET v = a - 1 WHERE k = 1",
        "DELETE v FROM t WHERE k = 1",
        "DELETE v FROM timestamp WHERE k = 1",
        'UPDATE "using" SET v = "using" WHERE k = \'timestamp\'',
        "BEGIN BATCH INSERT INTO t (k) VALUES (1) USING TIMESTAMP 1; DELETE FROM t WHERE k = 2; APPLY BATCH",
        "BEGIN UNLOGGED BATCH DELETE FROM t WHERE k = 2; APPLY BATCH",
    ],
)
def test_a_write_without_a_timestamp_can_be_given_one(text: str) -> None:
    """What a statement within a batch says for itself counts for it, whatever the batch is given."""
    assert takes_timestamp(text, classify(text))


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (k) VALUES (1) USING TIMESTAMP 5",
        "INSERT INTO t (k) VALUES (1) using ttl ? and timestamp ?",
        "UPDATE t USING/**/TIMESTAMP 5 SET v = 1 WHERE k = 1",
        "DELETE v FROM t USING TIMESTAMP :t WHERE k = 1",
        "BEGIN BATCH USING TIMESTAMP 5 INSERT INTO t (k) VALUES (1); APPLY BATCH",
        "BEGIN UNLOGGED BATCH USING TIMESTAMP ? INSERT INTO t (k) VALUES (1); APPLY BATCH",
        "INSERT INTO t (k) VALUES (1) IF NOT EXISTS",
        "UPDATE t SET v = 1 WHERE k = 1 IF v = 2",
        "BEGIN BATCH UPDATE t SET v = 1 WHERE k = 1 IF v = 2; APPLY BATCH",
        "BEGIN COUNTER BATCH UPDATE t SET c = c + ? WHERE k = 1; APPLY BATCH",
        "UPDATE t SET c = c + 1 WHERE k = 1",
        'UPDATE t SET "C"="C"-1 WHERE k = 1',
        "UPDATE t SET c = C + -1 WHERE k = 1",
        "UPDATE t SET c += 1 WHERE k = 1",
        "UPDATE t SET c -= -2 WHERE k = 1",
        "SELECT k FROM t",
        "TRUNCATE t",
        "",
    ],
)
def test_what_has_a_timestamp_or_must_not_have_one_is_left_alone(text: str) -> None:
    """Conditions and counters are Cassandra's own: it orders them by itself."""
    assert not takes_timestamp(text, classify(text))


@given(any_text())
def test_any_text_has_an_answer(text: str) -> None:
    """And a timestamp is for writes without conditions only."""
    statement = classify(text)
    if takes_timestamp(text, statement):
        assert not statement.is_conditional
        assert statement.kind in (
            *(StatementKind.INSERT, StatementKind.UPDATE, StatementKind.DELETE, StatementKind.BATCH),
        )
