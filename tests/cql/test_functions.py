"""Calls like now() in the text of a write: which count, and what is written in their place (section 6.4, FIX-23)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cql.texts import any_text
from zdm.cql.functions import RESULT_TYPES, Variable, calls, canonical, with_values, with_variables
from zdm.cql.lexer import TokenKind, tokens
from zdm.cql.statement import StatementKind, classify

ALL = frozenset(RESULT_TYPES)
NOW = frozenset(("now",))


def valued(text: str, wanted: frozenset[str] = ALL) -> str:
    """The text with the name of a function in place of each of its calls."""
    return with_values(text, calls(text, wanted), lambda call: call.function.upper())


def marked(text: str, wanted: frozenset[str] = ALL) -> tuple[str, str]:
    """The text with variables, and all its variables: the name of the function, `-` for the client's own."""
    found = with_variables(text, calls(text, wanted))
    assert found is not None
    return found.text, " ".join(variable.function or "-" for variable in found.variables)


# Terms of a statement, and what takes the place of the calls in each: a value, a variable, a variable with a name.
TERMS = [
    ("INSERT INTO t (k, v) VALUES (1, <now()>)", "NOW", "?/*now()*/"),
    ("INSERT INTO t (k, v) VALUES (<now()>, 1) IF NOT EXISTS", "NOW", "?/*now()*/"),
    ("UPDATE t SET v = <now()> WHERE k = 1", "NOW", "?/*now()*/"),
    ("UPDATE t SET v = 1 WHERE k = <now()> IF EXISTS", "NOW", "?/*now()*/"),
    ("UPDATE t SET v = 1 WHERE k = 1 IF v = <now()>", "NOW", "?/*now()*/"),
    ("UPDATE t SET m[<now()>] = 1 WHERE k = 1", "NOW", "?/*now()*/"),
    ('UPDATE t SET "M"[<now()>] = 1 WHERE k = 1', "NOW", "?/*now()*/"),
    ("UPDATE t SET c = c + <now()> WHERE k = 1", "NOW", "?/*now()*/"),
    ("DELETE FROM t WHERE k IN (1, <now()>)", "NOW", "?/*now()*/"),
    ("DELETE m[<now()>] FROM t WHERE k = 1", "NOW", "?/*now()*/"),
    ("DELETE FROM t WHERE k = 1 AND (a, b) > (1, <now()>)", "NOW", "?/*now()*/"),
    ("INSERT INTO t (k) VALUES ((timeuuid)<now()>)", "NOW", "?/*now()*/"),
    ("INSERT INTO t (k, u) VALUES (1, {f: <now()>, g: 1})", "NOW", "?/*now()*/"),
    ('INSERT INTO t (k, u) VALUES (1, {"F": <now()>})', "NOW", "?/*now()*/"),
    ("BEGIN BATCH INSERT INTO t (k) VALUES (<now()>); APPLY BATCH", "NOW", "?/*now()*/"),
    ("INSERT INTO t (k) VALUES (<uuid()>)", "UUID", "?/*uuid()*/"),
    ("INSERT INTO t (k) VALUES (<currentTimestamp()>)", "CURRENTTIMESTAMP", "?/*currenttimestamp()*/"),
    # an argument has no type of its own
    ("INSERT INTO t (k) VALUES (toTimestamp(<now()>))", "(timeuuid)NOW", "(timeuuid)?/*now()*/"),
    ("INSERT INTO t (k) VALUES (f(1, <uuid()>))", "(uuid)UUID", "(uuid)?/*uuid()*/"),
    ('INSERT INTO t (k) VALUES (ks."f"(<now()>))', "(timeuuid)NOW", "(timeuuid)?/*now()*/"),
    ("DELETE FROM t WHERE k = 1 AND d < <currentDate()> - 2d", "(date)CURRENTDATE", "(date)?/*currentdate()*/"),
    ("UPDATE t SET v = 1 WHERE k = 2d + <currentTime()>", "(time)CURRENTTIME", "(time)?/*currenttime()*/"),
]


@pytest.mark.parametrize(("text", "value", "variable"), TERMS)
def test_a_call_is_replaced_where_a_term_may_stand(text: str, value: str, variable: str) -> None:
    """And everything around it stays, byte for byte."""
    before, rest = text.split("<")[0], text.split("<", 1)[1] if text.count("<") == 1 else ""
    if not rest:  # a comparison is in the text
        before, rest = text.rsplit("<", 1)
    call, after = rest.split(">", 1)
    assert valued(f"{before}{call}{after}") == before + value + after
    assert marked(f"{before}{call}{after}")[0] == before + variable + after


@pytest.mark.parametrize(
    ("spelled", "function"),
    [
        *(("now()", "now"), ("NOW()", "now"), ("nOw ( )", "now"), ('"now"()', "now"), ("system.now()", "now")),
        *(('"system" . "now" ( )', "now"), ("now/* x */(/* y */)", "now"), ("now--\n()", "now"), ("now\t(\n)", "now")),
        *(("UUID()", "uuid"), ("currentTimeUUID()", "currenttimeuuid"), ("current_timeuuid()", "currenttimeuuid")),
        *(("CURRENT_TIMESTAMP()", "currenttimestamp"), ("current_date()", "currentdate")),
        *(("currentDate()", "currentdate"), ("currenttime()", "currenttime"), ("current_time()", "currenttime")),
    ],
)
def test_a_function_is_known_however_it_is_spelled(spelled: str, function: str) -> None:
    """As Cassandra takes it, those of version 5 among them."""
    text = "INSERT INTO t (k) VALUES (%s)"
    assert valued(text % spelled) == text % function.upper()


@pytest.mark.parametrize(
    "term",
    [
        *("ks.now()", '"System".now()', '"Now"()', '"NOW"()', "now", "now(1)", "now(?)", "'now()'", "$$now()$$"),
        *("/* now() */ 1", "1 -- now()\n", "1 // now()\n", "nowadays()", "notnow()", "_now()", "system.ks.now(1)"),
        *(".now()", "a.system_.now()", "now.now(1)", '"no""w"()', "random()", "current_time_uuid()"),
    ],
)
def test_what_only_looks_like_a_call_stays(term: str) -> None:
    """A function of the user's own is the user's own matter, and a text is a text."""
    text = f"INSERT INTO t (k) VALUES ({term})"
    assert calls(text, ALL) == []


@pytest.mark.parametrize(
    "text",
    [
        *("SELECT now() FROM system.local", "SELECT k FROM t WHERE k = now()", "CREATE TABLE now () ;", "USE now"),
        *("CREATE FUNCTION f() RETURNS uuid LANGUAGE java AS 'now()'", "TRUNCATE now", "now()", "", "CALL f(now())"),
    ],
)
def test_only_writes_are_changed(text: str) -> None:
    """A read has no second result that could differ; what the client sees of it is one cluster's."""
    assert calls(text, ALL) == []


@pytest.mark.parametrize(
    "collection", ["[now()]", "{now()}", "{now(): 1}", "{1: now()}", "{'a': now()}", "{true: now()}", "[(1, now())]"]
)
def test_an_element_of_a_collection_becomes_a_value_but_no_variable(collection: str) -> None:
    """Cassandra refuses to prepare a statement with a variable there."""
    text = f"UPDATE t SET c = c + {collection}, v = now() WHERE k = ?"
    assert "now()" not in valued(text)
    assert marked(text) == (text.replace("v = now()", "v = ?/*now()*/"), "now -")
    assert with_variables(f"UPDATE t SET c = {collection} WHERE k = ?", calls(text, ALL)[:1]) is None


def test_only_the_functions_that_are_wanted_are_replaced() -> None:
    text = "INSERT INTO t (a, b, c) VALUES (now(), uuid(), currentTimestamp())"
    assert valued(text, NOW) == "INSERT INTO t (a, b, c) VALUES (NOW, uuid(), currentTimestamp())"
    assert valued(text, frozenset(("uuid", "currenttimestamp"))).count("()") == 1


def test_each_call_has_a_value_of_its_own() -> None:
    """As it would have had from the cluster."""
    numbers = iter("123")
    text = "BEGIN BATCH INSERT INTO t (k) VALUES (now()); DELETE FROM t WHERE k IN (now(),now()) APPLY BATCH"
    assert "".join(with_values(text, calls(text, ALL), lambda _: next(numbers)).split("(")[2:]) == (
        "1); DELETE FROM t WHERE k IN 2,3) APPLY BATCH"
    )


def test_characters_are_counted_and_not_bytes() -> None:
    """FIX-23: what is no ASCII before a call moved the cut into the next word."""
    text = "INSERT INTO t (ключ, \"ü\", v) VALUES ('日本', '😀', now(), '🙂')"
    assert valued(text) == "INSERT INTO t (ключ, \"ü\", v) VALUES ('日本', '😀', NOW, '🙂')"
    assert marked(text)[0].encode() == text.replace("now()", "?/*now()*/").encode()


def test_what_touches_a_call_does_not_run_into_what_takes_its_place() -> None:
    """A bracket ends a word, a variable's name does not."""
    text = "UPDATE t SET v=now()WHERE k=:k"
    assert valued(text) == "UPDATE t SET v=NOW WHERE k=:k"
    assert marked(text)[0] == "UPDATE t SET v=:zdm__now WHERE k=:k"


def test_variables_are_in_the_order_of_the_text() -> None:
    """Values are put between the client's by it."""
    text = "UPDATE t USING TTL ? SET a = now(), b = ?, m[uuid()] = ? WHERE k = now() AND c = ?"
    assert marked(text)[1] == "- now - uuid - now -"


def test_a_statement_with_named_variables_gets_named_ones() -> None:
    """Drivers take all variables of a statement for named, or none (section 6.4)."""
    text = 'UPDATE t SET a = now(), b = :b WHERE k = uuid() AND c = :"C"'
    found = with_variables(text, calls(text, ALL))
    assert found is not None
    assert found.text == 'UPDATE t SET a = :zdm__now, b = :b WHERE k = :zdm__uuid AND c = :"C"'
    assert found.variables == (
        *(Variable("zdm__now", "now"), Variable("b", ""), Variable("zdm__uuid", "uuid"), Variable("C", "")),
    )


def test_the_text_with_variables_is_nobody_elses_text() -> None:
    """Clusters give one id to one text: without the comment, who asks for two variables would be shown one."""
    assert marked("INSERT INTO t (k, v) VALUES (?, now())")[0] != "INSERT INTO t (k, v) VALUES (?, ?)"
    assert calls(marked("INSERT INTO t (k, v) VALUES (?, now())")[0], ALL) == []


@pytest.mark.parametrize(
    ("name", "function"),
    [("now", "now"), (" NOW() ", "now"), ("currentTimestamp", "currenttimestamp"), ("current_date", "currentdate")],
)
def test_a_function_is_named_by_operators_as_in_cql(name: str, function: str) -> None:
    assert canonical(name) == function
    assert canonical("later") is None


@given(any_text())
def test_a_text_without_calls_is_left_as_it_is(text: str) -> None:
    """Byte for byte; and nothing raises, whatever the text."""
    found = calls(text, ALL)
    if not found:
        assert with_values(text, found, lambda call: "") == text
        assert with_variables(text, found) is None
    assert found == [] or classify(text).kind in (
        *(StatementKind.INSERT, StatementKind.UPDATE, StatementKind.DELETE, StatementKind.BATCH),
    )


PARTS = st.sampled_from(
    [
        *("?", ":name", ':"Na me"', "now()", "uuid ()", "SYSTEM.now()", "f(now())", "(1, now())", "[now()]", "'now()'"),
        *(
            "{f: ?}",
            "{f: uuid()}",
            "'é?'",
            "/* ? now() */ 1",
            "1 -- :x now()\n",
            "currentDate() - 1d",
            "'😀'",
            "ks.now()",
        ),
    ]
)


@given(st.lists(PARTS, min_size=1, max_size=8))
def test_variables_of_any_mix_of_markers_and_calls_are_those_of_the_new_text(parts: list[str]) -> None:
    """By reading it again: as many, in this order, and all else as it was."""
    text = f"INSERT INTO t (k) VALUES ({','.join(parts)})"
    found = calls(text, ALL)
    replaced = with_variables(text, found)
    if replaced is None:
        assert all(call.is_element for call in found)
        return
    read_again = [token for token in tokens(replaced.text) if token.kind is TokenKind.MARKER]
    assert len(read_again) == len(replaced.variables)
    for token, variable in zip(read_again, replaced.variables, strict=True):
        assert (token.value if token.text != "?" else "") == variable.name
        behind = replaced.text[token.end : token.end + len(variable.function) + 6]
        is_ours = behind == f"/*{variable.function}()*/" or token.value == f"zdm__{variable.function}"
        assert is_ours == bool(variable.function)
    restored = replaced.text
    for function in RESULT_TYPES:
        for type_name in ("(timeuuid)", "(uuid)", "(date)", ""):
            for marker in (f"?/*{function}()*/", f":zdm__{function}"):
                restored = restored.replace(type_name + marker, "CALL")
    expected = text
    for call in reversed([call for call in found if not call.is_element]):
        expected = expected[: call.start] + "CALL" + expected[call.end :]
    assert restored == expected
