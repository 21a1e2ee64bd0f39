from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.protocol.errors import ErrorCode
from zdm.sandbox.failures import Failure
from zdm.sandbox.grammar import parse
from zdm.sandbox.statements import (
    BatchText,
    CreateTable,
    Delete,
    Insert,
    Literal,
    LiteralKind,
    Marker,
    Select,
    TableName,
    Update,
)


def test_names_are_lower_case_unless_they_are_quoted() -> None:
    """Two spellings of one table must meet in one table."""
    statement, _ = parse('SELECT "Key", VALUE FROM Ks."T"')
    assert isinstance(statement, Select)
    assert statement.table == TableName("ks", "T")
    assert [selector.text for selector in statement.selectors] == ['"Key"', "VALUE"]


def test_markers_are_counted_in_the_order_of_the_text() -> None:
    """Values come in that order, wherever a clause belongs."""
    statement, markers = parse("UPDATE t USING TTL ? SET v = ?, m[?] = :value WHERE k = ? IF v = ?")
    assert isinstance(statement, Update)
    assert markers == 6
    assert statement.ttl == Marker(0, None)
    assert statement.assignments[1].key == Marker(2, None)
    assert statement.assignments[1].value == Marker(3, "value")
    assert statement.conditions[0].value == Marker(5, None)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1", LiteralKind.INTEGER),
        ("-1", LiteralKind.INTEGER),
        ("1.5e3", LiteralKind.FLOAT),
        ("'it''s'", LiteralKind.STRING),
        ("$$a'b$$", LiteralKind.STRING),
        ("true", LiteralKind.BOOLEAN),
        ("null", LiteralKind.NULL),
        ("0xCAFE", LiteralKind.HEX),
        ("123e4567-e89b-12d3-a456-426614174000", LiteralKind.UUID),
        ("1h30m", LiteralKind.DURATION),
    ],
)
def test_a_constant_is_known_by_its_look(text: str, kind: LiteralKind) -> None:
    """Which types it fits is decided by its kind."""
    statement, _ = parse(f"INSERT INTO t (k) VALUES ({text})")
    assert isinstance(statement, Insert)
    (value,) = statement.values
    assert isinstance(value, Literal) and value.kind is kind


def test_a_batch_holds_its_statements_with_or_without_semicolons() -> None:
    """Both are allowed between them."""
    statement, _ = parse("BEGIN UNLOGGED BATCH DELETE v FROM t WHERE k = 1; INSERT INTO t (k) VALUES (2) APPLY BATCH;")
    assert isinstance(statement, BatchText)
    assert statement.kind == 1
    assert [type(child) for child in statement.children] == [Delete, Insert]


def test_a_table_has_its_keys_and_their_order() -> None:
    """They decide where rows are and how they are sorted."""
    statement, _ = parse(
        "CREATE TABLE t (a int, b int, c frozen<map<text, int>>, PRIMARY KEY ((a, b), c)) "
        "WITH CLUSTERING ORDER BY (c DESC) AND comment = 'x' AND compaction = {'class': 'y'}"
    )
    assert isinstance(statement, CreateTable)
    assert (statement.partition_key, statement.clustering, statement.order) == (("a", "b"), ("c",), (("c", True),))
    assert statement.options == {"comment": "x", "compaction": {"class": "y"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELEKT", "line 1:0 no viable alternative at input 'SELEKT' ([SELEKT])"),
        ("SELECT * FROM t\nWHERE", "line 2:5 no viable alternative at input '<EOF>'"),
        ("INSERT INTO t (a) VALUES (1) junk", None),
        ("SELECT select FROM t", None),
        ("", None),
    ],
)
def test_text_that_is_no_cql_is_a_syntax_error_with_its_place(text: str, message: str | None) -> None:
    """People read line and column; drivers read the code."""
    with pytest.raises(Failure) as caught:
        parse(text)
    assert caught.value.error.code == ErrorCode.SYNTAX_ERROR
    assert message is None or caught.value.error.message == message


_WORDS = "select insert into update set where and in ( ) , = + - ? :x t k 'a' 1 { } [ ] from values if * token".split()


@given(st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join))
def test_any_words_are_a_statement_or_a_refusal(text: str) -> None:
    """A request must never end a connection by surprise."""
    try:
        parse(text)
    except Failure as failure:
        assert failure.error.code in (ErrorCode.SYNTAX_ERROR, ErrorCode.INVALID)
