"""What a SELECT asks for."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.cql.texts import any_text
from zdm.cql.selectors import Selector, SelectorKind, select_list

ALL, COLUMN, COUNT = SelectorKind


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ("*", [Selector(ALL, "*")]),
        ("rack", [Selector(COLUMN, "rack")]),
        ("Rack", [Selector(COLUMN, "rack")]),
        ('"Rack"', [Selector(COLUMN, "Rack")]),
        ("rack as R", [Selector(COLUMN, "rack", "r")]),
        ('rack AS "R""s"', [Selector(COLUMN, "rack", 'R"s')]),
        ("key, asd", [Selector(COLUMN, "key"), Selector(COLUMN, "asd")]),
        ("count(*)", [Selector(COUNT, "count")]),
        ("COUNT ( * )", [Selector(COUNT, "COUNT")]),
        ("peer, Count(*)", [Selector(COLUMN, "peer"), Selector(COUNT, "Count")]),
        (
            "rack as r, count(*) as c, rack",
            [Selector(COLUMN, "rack", "r"), Selector(COUNT, "count", "c"), Selector(COLUMN, "rack")],
        ),
        (
            "count, as, json AS ttl",
            [Selector(COLUMN, "count"), Selector(COLUMN, "as"), Selector(COLUMN, "json", "ttl")],
        ),
        ('"from", "token"', [Selector(COLUMN, "from"), Selector(COLUMN, "token")]),
        ("/* a, */ rack -- b,\n", [Selector(COLUMN, "rack")]),
    ],
)
def test_supported_selectors_are_read_in_order(selectors: str, expected: list[Selector]) -> None:
    """The proxy answers these itself for system.local and system.peers (4.4)."""
    assert select_list(f"SELECT {selectors} FROM system.local") == expected


@pytest.mark.parametrize(
    "selectors",
    [
        *(
            "",
            ",",
            "a,",
            ",a",
            "*, a",
            "a, *",
            "* as b",
            "**",
            "JSON *",
            "JSON a",
            "DISTINCT a",
            "a b",
            "a as",
            "a as 1",
        ),
        *("a as b c", "now()", "count(a)", "count(1)", "count()", "count(*", '"count"(*)', "system.count(*)", "max(*)"),
        *("count(*) b", "count(*) as", "CAST(a AS text)", "'a'", "1", "true", "NULL", "NaN", "?", ":a", "a.b", "a[0]"),
        *("(a)", "(int) a", "a + b", "writetime(a)", "token(a)", "token", "0xab", '""', "a as from", "$$a$$", "a -"),
    ],
)
def test_unsupported_selectors_have_no_list(selectors: str) -> None:
    """The caller lets a cluster answer, where the Go program left the client without any answer (FIX-16)."""
    assert select_list(f"SELECT {selectors} FROM system.local") is None


@pytest.mark.parametrize(
    "text", ["", "SELECT a", "SELECT", "SELECT 'a FROM t", '"SELECT" a FROM t', "DELETE a FROM t", "a SELECT a FROM t"]
)
def test_what_is_no_select_from_a_table_has_no_list(text: str) -> None:
    """The function may be asked about any text."""
    assert select_list(text) is None


def test_the_alias_names_the_result() -> None:
    """Drivers find a value by the name that the statement gave it."""
    listed = select_list("SELECT rack AS r, rack, COUNT(*) FROM system.peers")
    assert listed is not None
    assert [selector.result_name for selector in listed] == ["r", "rack", "COUNT"]


@given(any_text())
def test_any_text_has_a_list_or_none(text: str) -> None:
    """Never an error, never an empty list; `*` is alone."""
    for listed in (select_list(text), select_list(f"SELECT {text} FROM t")):
        assert listed is None or len(listed) > 0
        assert listed is None or len(listed) == 1 or all(selector.kind is not ALL for selector in listed)


def test_a_long_list_takes_linear_time() -> None:
    """Quadratic time would take minutes here and the test's time limit ends it."""
    listed = select_list("SELECT " + "a, " * 100_000 + "a FROM t")
    assert listed is not None and len(listed) == 100_001
    assert select_list("SELECT " + "a " * 100_000) is None
