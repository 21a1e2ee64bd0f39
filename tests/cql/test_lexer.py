"""Where tokens begin and end, and what they stand for."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given

from tests.cql.texts import any_text
from zdm.cql.lexer import Token, TokenKind, scan, tokens

IDENTIFIER, QUOTED, STRING, NUMBER, UUID, BLOB, MARKER, SYMBOL = TokenKind
AN_UUID = "DEADBEEF-0000-1000-8000-00805f9b34fb"


def kinds(text: str) -> list[tuple[TokenKind, str]]:
    return [(token.kind, token.text) for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Name_1", IDENTIFIER, "name_1"),
        ("_name", IDENTIFIER, "_name"),
        ('"Name"', QUOTED, "Name"),
        ('"a""b"', QUOTED, 'a"b'),
        ('""""', QUOTED, '"'),
        ('""', QUOTED, ""),
        ('"a -- b /* $$ \' \n"', QUOTED, "a -- b /* $$ ' \n"),
        ("'it''s'", STRING, "it's"),
        ("''", STRING, ""),
        ("''''''", STRING, "''"),
        ("'a -- /* \"$$ \n'", STRING, 'a -- /* "$$ \n'),
        ("$$it's -- $ /*$$", STRING, "it's -- $ /*"),
        ("$$$$", STRING, ""),
        ("10", NUMBER, "10"),
        ("1.50", NUMBER, "1.50"),
        ("1e5", NUMBER, "1e5"),
        ("1.5E-30", NUMBER, "1.5E-30"),
        ("1h30m", NUMBER, "1h30m"),
        ("1Y2mo3w4d5h6m7s8ms9us10\u00b5s11ns", NUMBER, "1Y2mo3w4d5h6m7s8ms9us10\u00b5s11ns"),
        (AN_UUID, UUID, AN_UUID),
        ("deadbeef-cafe-1000-8000-00805F9B34FB", UUID, "deadbeef-cafe-1000-8000-00805F9B34FB"),
        ("12345678-0000-1000-8000-00805f9b34fb", UUID, "12345678-0000-1000-8000-00805f9b34fb"),
        ("0xCAFE", BLOB, "0xCAFE"),
        ("0X", BLOB, "0X"),
        ("?", MARKER, ""),
        ("?1", MARKER, "1"),
        (":Name", MARKER, "name"),
        (':"Na""me"', MARKER, 'Na"me'),
        ("<=", SYMBOL, "<="),
        ("!=", SYMBOL, "!="),
        (";", SYMBOL, ";"),
        ("$", SYMBOL, "$"),
        ("\u00e9", SYMBOL, "\u00e9"),
        ("\ud800", SYMBOL, "\ud800"),
        ("\x00", SYMBOL, "\x00"),
        ("\x0b", SYMBOL, "\x0b"),
    ],
)
def test_each_kind_of_token_is_whole_and_has_its_value(text: str, kind: TokenKind, value: str) -> None:
    """Escapes are undone and unquoted names lower-cased, as Cassandra does before it compares."""
    assert tokens(text) == [Token(kind, text, 0, len(text))]
    assert tokens(text)[0].value == value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("'abc", STRING, "abc"),
        ("'abc''", STRING, "abc'"),
        ("'", STRING, ""),
        ('"Abc', QUOTED, "Abc"),
        ("$$abc$", STRING, "abc$"),
        ("$$", STRING, ""),
        ("$$$", STRING, "$"),
        (':"Abc', MARKER, "Abc"),
    ],
)
def test_what_has_no_end_goes_up_to_the_end_of_the_text(text: str, kind: TokenKind, value: str) -> None:
    """The cluster will refuse it; a lexer that raised would take the client's request away from it."""
    assert tokens(f"a {text}")[1:] == [Token(kind, text, 2, 2 + len(text))]
    assert tokens(text)[0].value == value


@pytest.mark.parametrize(
    "skipped",
    [
        " ",
        "\t\r\n ",
        "--\n",
        "-- it's\n",
        "//x\r",
        "/**/",
        "/* -- ' \n */",
        "/*/ */",
        "/***/",
        "--a\n--b\n//c\n",
        "/**//**/",
    ],
)
def test_comments_and_white_space_part_tokens_and_vanish(skipped: str) -> None:
    """A keyword behind a comment decides as any other."""
    assert kinds(f"{skipped}a{skipped}b{skipped}") == [(IDENTIFIER, "a"), (IDENTIFIER, "b")]


@pytest.mark.parametrize("comment", ["-- c", "// c", "/* c", "/*/", "--"])
def test_a_comment_may_end_with_the_text(comment: str) -> None:
    """Cassandra wants a newline behind `--`; that the statement before is still the same is enough for us."""
    assert kinds(f"a {comment}") == [(IDENTIFIER, "a")]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("1IF", ["1", "IF"]),
        ("1dIF", ["1d", "IF"]),
        ("0xabIF", ["0xab", "IF"]),
        (AN_UUID + "IF", [AN_UUID, "IF"]),
        ("1e5if", ["1e5", "if"]),
        ("1e", ["1", "e"]),
        ("1..2", ["1", ".", ".", "2"]),
        ("1.x", ["1.", "x"]),
        ("a.b", ["a", ".", "b"]),
        ("a-1", ["a", "-", "1"]),
        ("deadbeef-0000-1", ["deadbeef", "-", "0000", "-", "1"]),
        ("a'b'\"c\"", ["a", "'b'", '"c"']),
        ("a/b", ["a", "/", "b"]),
        ("nam\u00e9s", ["nam", "\u00e9", "s"]),
        ("<>", ["<", ">"]),
        ("?::n", ["?", ":", ":n"]),
        (": n", [":", "n"]),
    ],
)
def test_tokens_without_space_between_are_cut_as_cassandra_cuts_them(text: str, cut: list[str]) -> None:
    """An IF that we took for the rest of a number would turn a lightweight transaction into a plain write."""
    assert [token.text for token in tokens(text)] == cut


@pytest.mark.parametrize(
    ("text", "markers"),
    [
        ("{1:now()}", []),
        ("{'a':now(), 'b':now()}", []),
        ('{field:now(), "F":g}', []),
        ("{f(x):now(), [1]:g, {1}:h}", []),
        ("{:k::v}", [":k", ":v"]),
        ("{?:?}", ["?", "?"]),
        ("{1:f(2, :a), 2: :b}", [":a", ":b"]),
        ("{1:deadbeef-0000-1000-8000-00805f9b34fb}", []),
        ("k = :k LIMIT :n", [":k", ":n"]),
        ("{1:2} :a", [":a"]),
        ("}{1:x}", []),
        ("{(1:x)}", [":x"]),
    ],
)
def test_a_colon_between_key_and_value_begins_no_marker(text: str, markers: list[str]) -> None:
    """Else `{1:now()}` would be a statement with the named marker `:now`."""
    assert [token.text for token in tokens(text) if token.kind is MARKER] == markers


def test_positions_count_characters() -> None:
    """Text is cut by these offsets: counting bytes would break every statement with a non-ASCII value (FIX-23)."""
    text = "v = '\u00e9\U0001f600' + now()"
    now = tokens(text)[4]
    assert (now.text, text[now.start : now.end]) == ("now", "now")
    assert now.start == 11


def test_scan_begins_where_it_is_told() -> None:
    """A reader that knows the first part of a statement goes on from there."""
    assert list(scan("a b c", 2)) == [(IDENTIFIER, 2, 3), (IDENTIFIER, 4, 5)]


@given(any_text())
def test_tokens_and_what_is_skipped_give_the_text_back(text: str) -> None:
    """Nothing is lost, invented or out of order, whatever the text is."""
    position = 0
    pieces = []
    for token in tokens(text):
        gap = text[position : token.start]
        assert tokens(gap) == []
        assert token.text
        assert isinstance(token.value, str)
        pieces += [gap, token.text]
        position = token.end
    assert tokens(text[position:]) == []
    assert "".join(pieces) + text[position:] == text


@given(any_text(), any_text())
def test_a_quoted_text_is_one_token_whatever_is_in_it(before: str, inside: str) -> None:
    """What a client writes into a value must never be read as part of the statement."""
    doubled = inside.replace("'", "''")
    assert tokens(f"'{doubled}'")[0].value == inside
    assert len(tokens(f"'{doubled}' x")) == 2
    name = before.replace('"', '""')
    assert tokens(f'"{name}"')[0].value == before


@pytest.mark.parametrize(
    "piece",
    ["(", "()", "''", "'", '""', "/*", "/**/", "--\n", "$$", "1", "1d", "a", "{1:x", " ", ":", "deadbeef-", "\ud800"],
)
def test_long_texts_are_lexed_in_linear_time(piece: str) -> None:
    """Quadratic time would take minutes and meet the test's time limit: one request must not stop all others."""
    text = piece * (300_000 // len(piece))
    assert sum(end - start for _, start, end in scan(text)) <= len(text)


def test_doubled_quotes_take_no_memory() -> None:
    """A regular expression that repeats a group keeps something for each time: gigabytes for a large value."""
    text = "'" + "''" * 200_000 + "'"
    tracemalloc.start()
    try:
        assert list(scan(text)) == [(STRING, 0, len(text))]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
