"""What is read from query and body; the errors are for whoever typed the command."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.admin.change import ACTOR_LIMIT, REASON_LIMIT, WHAT_TO_SEND, Change, Unreadable, read_change

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"


@pytest.mark.parametrize(
    "query, content_type, body, change",
    [
        (b"", b"", b"", Change()),
        (b"", JSON, b"", Change()),
        (b"", JSON, b" \r\n", Change()),
        (b"", JSON, b"{}", Change()),
        (b"", b"Application/JSON;charset=utf-8", b'{"reason":"a"}', Change("a")),
        (b"", FORM, b"", Change()),
        (b"", FORM, b"reason=a+b%26c&actor=d\r\n", Change("a b&c", "d")),
        (b"", FORM, b'{"reason": "curl -d"}', Change("curl -d")),
        (b"", b"", b'{"force": true}', Change(force=True)),
        (b"reason=a", FORM, b"actor=b&force=true", Change("a", "b", True)),
        (b"_=1600&verbose&reason=a", JSON, b'{"ticket": [1]}', Change("a")),
        ("reason=müde".encode(), b"", b"", Change("müde")),
        (b"reason=m%C3%BCde", b"", b"", Change("müde")),
        (b"", JSON, rb'{"reason": "m\u00fcde"}', Change("müde")),
        (b"reason=", b"", b"", Change()),
    ],
)
def test_what_can_be_sent(query: bytes, content_type: bytes, body: bytes, change: Change) -> None:
    """No body is fine, and so is what curl makes of `-d`."""
    assert read_change(query, content_type, body) == change


@pytest.mark.parametrize(
    "query, content_type, body, why",
    [
        (b"", JSON, b"{", "the body is not JSON"),
        (b"", JSON, b"reason=a", "the body is not JSON"),
        (b"", JSON, b"[" * 60_000, "the body is not JSON"),
        (b"", JSON, b'{"reason": ' + b"9" * 60_000 + b"}", "the body is not JSON"),
        (b"", JSON, b"[]", "the body is JSON, but not an object"),
        (b"", JSON, b"null", "the body is JSON, but not an object"),
        (b"", JSON, b'[["reason", "a"]]', "the body is JSON, but not an object"),
        (b"", JSON, b'{"reason": "\xff"}', "the body is not UTF-8"),
        (b"", JSON, b'{"reason": null}', "reason must be text"),
        (b"", JSON, b'{"reason": {"a": 1}}', "reason must be text"),
        (b"", JSON, b'{"actor": 7}', "actor must be text"),
        (b"", JSON, b'{"force": 1}', "force must be true or false"),
        (b"", JSON, b'{"force": "true"}', "force must be true or false"),
        (b"force=TRUE", b"", b"", "force must be true or false"),
        (b"", JSON, b'{"force": true, "force": false}', "force is given twice"),
        (b"reason=a", FORM, b"reason=b", "reason is given twice"),
        (b"reason=a&reason=b", b"", b"", "reason is given twice"),
        (b"reason=%FF", b"", b"", "the query is not UTF-8"),
        (b"reason=\xff", b"", b"", "the query is not UTF-8"),
        (b"", FORM, b"reason=%FF", "the body is not UTF-8"),
        (b"", b"text/plain", b"target is sick", "the body is neither a form nor JSON"),
        (b"", b"multipart/form-data; boundary=x", b"--x\r\n", "the body is neither a form nor JSON"),
        (b"&".join([b"a=1"] * 51), b"", b"", "the query has more than 50 fields"),
    ],
)
def test_what_cannot_be_understood(query: bytes, content_type: bytes, body: bytes, why: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read_change(query, content_type, body)
    assert str(raised.value) == f"{why}; {WHAT_TO_SEND}"


@pytest.mark.parametrize("name, limit", [("reason", REASON_LIMIT), ("actor", ACTOR_LIMIT)])
def test_texts_have_a_length_that_a_log_line_can_bear(name: str, limit: int) -> None:
    assert getattr(read_change(f"{name}={'x' * limit}".encode(), b"", b""), name) == "x" * limit
    with pytest.raises(Unreadable, match=f"{name} is longer than {limit} characters"):
        read_change(f"{name}={'x' * (limit + 1)}".encode(), b"", b"")


@pytest.mark.parametrize("between", ["\n", "\r\n", "\t", "\v", "\x1e", "\x85", "\u2028", "\u2029", "\xa0", "   "])
def test_a_text_becomes_one_line(between: str) -> None:
    """Whoever pastes two lines is understood, and nobody forges a line of the log."""
    query = urlencode({"reason": f" disk{between}full \n"}).encode()
    assert read_change(query, b"", b"").reason == "disk full"


@pytest.mark.parametrize("hidden", ["\0", "\x07", "\x1b[2K", "\x7f", "\x9b", "\u202e", "\u2066", "\ud800"])
def test_a_text_that_would_not_show_what_it_is_is_refused(hidden: str) -> None:
    """Terminals obey some of these, and a lone surrogate cannot even be written to a file."""
    with pytest.raises(Unreadable, match="reason has control characters"):
        read_change(b"", JSON, json.dumps({"reason": f"disk{hidden}full"}).encode())


def is_plain(text: str) -> bool:
    """One line that obeys nobody, as the Unicode tables have it."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


@given(st.binary(max_size=80), st.sampled_from([b"", FORM, JSON, b"x/y", b"\xff"]), st.binary(max_size=80))
def test_whatever_is_sent_is_read_or_refused_and_what_is_read_is_one_plain_line(
    query: bytes, content_type: bytes, body: bytes
) -> None:
    try:
        change = read_change(query, content_type, body)
    except Unreadable:
        return
    for text in (change.reason, change.actor):
        assert is_plain(text) and len(text) <= REASON_LIMIT


@given(st.text(max_size=200))
def test_any_json_text_is_one_plain_line_or_refused(reason: str) -> None:
    try:
        change = read_change(b"", JSON, json.dumps({"reason": reason}).encode())
    except Unreadable:
        return
    assert is_plain(change.reason) and change.reason.split() == reason.split()
