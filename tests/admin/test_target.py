"""The target's switch over HTTP: codes, texts and the first keys are the reference's (neighbours, A.1)."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from tests.admin.caller import DISABLED, READY, STARTING, Call, FakeSwitch, Proxy, ask_switch
from zdm.admin.access import NO_TOKEN_SET, TOKEN_MISSING, TOKEN_WRONG, Access
from zdm.admin.change import BODY_LIMIT

STATUS, ENABLE, DISABLE = "/api/v1/target", "/api/v1/target/enable", "/api/v1/target/disable"
BLOCKED = (
    "cannot disable target: read_mode is DUAL_ASYNC_ON_SECONDARY, restart proxy with PRIMARY_ONLY to use target toggle"
)
SENDER = "127.0.40.9:50123"
PLAIN_TEXT = "text/plain; charset=utf-8"
ELSEWHERE = "10.1.2.3"


def disable(switch: FakeSwitch, body: bytes = b"", query: str = "", **more: Any) -> Any:
    return ask_switch(switch, "POST", DISABLE + query, body=body, **more)


# The state


@pytest.mark.parametrize("state, enabled", [(READY, True), (DISABLED, False)])
def test_status_tells_whether_the_target_is_enabled(state: Any, enabled: bool) -> None:
    answer = ask_switch(FakeSwitch(state), "GET", STATUS)
    assert (answer.code, answer.json()["enabled"]) == (200, enabled)


def test_status_tells_who_changed_it_when_and_why() -> None:
    """The next operator on duty must not have to search the logs. The order of keys is kept, `enabled` first."""
    answer = ask_switch(FakeSwitch(DISABLED), "GET", STATUS)
    assert answer.body == (
        b'{"enabled":false,"desired":"DISABLED","effective":"ORIGIN_ONLY","generation":4,'
        b'"since":"2026-09-21T14:13:20.250Z","reason":"it is sick","actor":"ann","attaching":0,"stored":null}'
    )


def test_status_of_a_target_that_was_never_switched() -> None:
    assert ask_switch(FakeSwitch(), "GET", STATUS).body == (
        b'{"enabled":true,"desired":"ENABLED","effective":"DUAL","generation":0,'
        b'"since":null,"reason":"","actor":"","attaching":0,"stored":null}'
    )


def test_status_tells_of_clients_that_still_attach() -> None:
    answer = ask_switch(FakeSwitch(READY._replace(effective="ATTACHING", attaching=7)), "GET", STATUS)
    assert (answer.json()["effective"], answer.json()["attaching"]) == ("ATTACHING", 7)


def test_head_is_get_without_the_body() -> None:
    got, head = (ask_switch(FakeSwitch(), method, STATUS) for method in ("GET", "HEAD"))
    assert (head.code, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(got.body))


# Changes


def test_disable_takes_the_target_out() -> None:
    switch = FakeSwitch()
    answer = disable(switch)
    assert (answer.code, answer.type) == (200, "application/json")
    assert answer.body.startswith(b'{"enabled":false,"message":"Target disabled","desired":"DISABLED",')
    assert switch.now is not None and not switch.now.enabled


def test_enable_brings_the_target_back() -> None:
    switch = FakeSwitch(DISABLED)
    answer = ask_switch(switch, "POST", ENABLE)
    assert answer.code == 200
    assert answer.body.startswith(b'{"enabled":true,"message":"Target enabled","desired":"ENABLED",')
    assert switch.now is not None and switch.now.enabled


def test_disable_and_enable_are_seen_in_the_status() -> None:
    switch = FakeSwitch()
    seen = []
    for path in (DISABLE, ENABLE):
        ask_switch(switch, "POST", path)
        seen.append(ask_switch(switch, "GET", STATUS).json()["enabled"])
    assert seen == [False, True]


def test_enable_answers_with_the_number_of_clients_that_attach() -> None:
    """A script can wait until it is 0."""
    switch = FakeSwitch(DISABLED._replace(attaching=3))
    assert ask_switch(switch, "POST", ENABLE).json()["attaching"] == 3


def test_the_answer_is_sent_when_all_workers_have_the_change() -> None:
    """Who reads `Target disabled` may stop the target at once."""
    switch = FakeSwitch()
    switch.hold = Deferred()
    call = Call(Proxy(target=switch), "POST", DISABLE)
    assert not call.is_answered
    switch.hold.callback("Target disabled; the state could not be saved: disk full")
    assert call.answer().json()["message"] == "Target disabled; the state could not be saved: disk full"


def test_a_change_goes_on_when_its_caller_hangs_up() -> None:
    """A change in half of the workers would be worse than one nobody heard of."""
    switch = FakeSwitch()
    cancelled: list[object] = []
    switch.hold = Deferred(cancelled.append)
    call = Call(Proxy(target=switch), "POST", DISABLE)
    call.connection.connectionLost(Failure(ConnectionDone()))
    assert cancelled == []
    switch.hold.callback("Target disabled")


@pytest.mark.parametrize("hangs_up", [False, True])
def test_a_change_that_fails_is_in_the_log_whether_or_not_the_caller_is_there(hangs_up: bool) -> None:
    switch = FakeSwitch()
    switch.hold = Deferred()
    call = Call(Proxy(target=switch), "POST", DISABLE)
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        if hangs_up:
            call.connection.connectionLost(Failure(ConnectionDone()))
        switch.hold.errback(Failure(RuntimeError("no worker answers")))
    finally:
        globalLogPublisher.removeObserver(observer)
    (event,) = [event for event in events if event["log_level"] >= LogLevel.warn]
    assert event["log_failure"].getErrorMessage() == "no worker answers"
    if not hangs_up:
        assert call.answer().code == 500


# What is asked along with it


@pytest.mark.parametrize(
    "query, content_type, body",
    [
        ("?reason=disk+full&actor=bob", "", b""),
        ("", "application/x-www-form-urlencoded", b"reason=disk%20full&actor=bob"),
        ("", "application/json", b'{"reason": "disk full", "actor": "bob"}'),
        ("?actor=bob", "application/json; charset=utf-8", b'{"reason": "disk full"}'),
    ],
)
def test_reason_and_actor_are_handed_on(query: str, content_type: str, body: bytes) -> None:
    switch = FakeSwitch()
    assert disable(switch, body, query, headers={"Content-Type": content_type}).code == 200
    assert switch.calls == [(False, "disk full", "bob", SENDER)]


def test_the_actor_is_the_peer_where_nobody_says_who_it_is() -> None:
    switch = FakeSwitch()
    disable(switch)
    assert switch.calls == [(False, "", SENDER, SENDER)]


def test_a_body_that_cannot_be_understood_is_a_400_that_says_what_to_send() -> None:
    """Nothing may change on a request that was not understood."""
    switch = FakeSwitch()
    answer = disable(switch, b'{"reason": ', headers={"Content-Type": "application/json"})
    assert (answer.code, switch.calls) == (400, [])
    assert '{"reason": "TEXT", "actor": "TEXT", "force": true}' in answer.json()["message"]
    assert answer.json()["enabled"] is True


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    for extra, code in ((0, 200), (1, 413)):
        body = b"{" + b" " * (BODY_LIMIT - 2 + extra) + b"}"
        assert disable(FakeSwitch(), body, headers={"Content-Type": "application/json"}).code == code


# What the configuration forbids


def test_a_disable_that_the_configuration_forbids_is_a_409_with_its_reason() -> None:
    switch = FakeSwitch(refused=BLOCKED)
    answer = disable(switch)
    assert answer.code == 409
    assert (answer.json()["enabled"], answer.json()["message"]) == (True, BLOCKED)
    assert switch.calls == [] and switch.now == READY


def test_an_enable_is_not_forbidden_by_what_forbids_to_disable() -> None:
    """Or a configuration that was changed in between would lock the target out."""
    assert ask_switch(FakeSwitch(DISABLED, BLOCKED), "POST", ENABLE).code == 200


@pytest.mark.parametrize(
    "query, body, code",
    [
        ("?force=true", b"", 200),
        ("", b"force=true", 200),
        ("", b'{"force": true}', 200),
        ("?force=false", b"", 409),
        ("", b'{"force": false}', 409),
        ("?force=yes", b"", 400),
        ("?force=", b"", 400),
        ("", b'{"force": "true"}', 400),
        ("?force=true", b'{"force": false}', 400),
    ],
)
def test_only_force_true_overrides_a_409(query: str, body: bytes, code: int) -> None:
    switch = FakeSwitch(refused=BLOCKED)
    content_type = "application/json" if body.startswith(b"{") else "application/x-www-form-urlencoded"
    assert disable(switch, body, query, headers={"Content-Type": content_type}).code == code
    assert bool(switch.calls) == (code == 200)


def test_repeating_what_was_forced_is_a_quiet_200() -> None:
    """There is nothing left to refuse."""
    switch = FakeSwitch(DISABLED, BLOCKED)
    assert disable(switch).code == 200


# Before the start, after the end


@pytest.mark.parametrize("desired", [True, False])
def test_status_before_the_proxy_serves_is_503_and_tells_what_is_wanted(desired: bool) -> None:
    """A poller that reads the body only must not take an unready proxy with a disabled target for an enabled one."""
    answer = ask_switch(FakeSwitch(STARTING._replace(enabled=desired)), "GET", STATUS)
    told = answer.json()
    assert (answer.code, told["message"]) == (503, "proxy not ready")
    assert (told["enabled"], told["desired"]) == (desired, "ENABLED" if desired else "DISABLED")


@pytest.mark.parametrize("method, path", [("GET", STATUS), ("POST", ENABLE), ("POST", DISABLE)])
def test_nothing_is_claimed_while_the_proxy_shuts_down(method: str, path: str) -> None:
    switch = FakeSwitch(None)
    answer = ask_switch(switch, method, path)
    told = answer.json()
    assert (answer.code, told.pop("message"), switch.calls) == (503, "proxy not ready", [])
    assert set(told.values()) == {None} and "enabled" in told


def test_a_disable_before_the_proxy_serves_is_taken() -> None:
    """The one call that rescues a start against a dead target."""
    switch = FakeSwitch(STARTING)
    answer = disable(switch, query="?reason=target+is+down")
    assert (answer.code, answer.json()["enabled"]) == (202, False)
    assert switch.calls == [(False, "target is down", SENDER, SENDER)]


def test_a_disable_before_the_proxy_serves_can_be_taken_back_once() -> None:
    switch = FakeSwitch(STARTING._replace(enabled=False))
    taken, again = (ask_switch(switch, "POST", ENABLE) for _ in range(2))
    assert (taken.code, taken.json()["enabled"]) == (202, True)
    assert (again.code, again.json()["message"], len(switch.calls)) == (503, "proxy not ready", 1)


def test_a_forbidden_disable_is_forbidden_before_the_proxy_serves_too() -> None:
    switch = FakeSwitch(STARTING, BLOCKED)
    assert disable(switch).code == 409
    assert disable(switch, query="?force=true").code == 202


# Verbs and paths


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("POST", STATUS, "GET, HEAD"),
        ("DELETE", STATUS, "GET, HEAD"),
        ("OPTIONS", STATUS, "GET, HEAD"),
        ("GET", ENABLE, "POST"),
        ("GET", DISABLE, "POST"),
        ("HEAD", DISABLE, "POST"),
        ("PUT", DISABLE, "POST"),
        ("OPTIONS", DISABLE, "POST"),
    ],
)
def test_a_wrong_verb_is_told_the_right_one(method: str, path: str, allowed: str) -> None:
    """A link that is followed, or a preflight of a browser, must change nothing and be allowed nothing."""
    switch = FakeSwitch()
    answer = ask_switch(switch, method, path)
    assert (answer.code, answer.type, answer.headers["allow"]) == (405, PLAIN_TEXT, allowed)
    assert answer.body == (b"" if method == "HEAD" else b"method not allowed\n")
    assert switch.calls == []


@pytest.mark.parametrize("state", [STARTING, None])
@pytest.mark.parametrize("method, path", [("DELETE", STATUS), ("GET", ENABLE), ("GET", DISABLE)])
def test_a_wrong_verb_before_the_proxy_serves_is_503_like_the_others(state: Any, method: str, path: str) -> None:
    """As the reference: its paths are routed by verb only once it is up."""
    assert ask_switch(FakeSwitch(state), method, path).code == 503


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path", [STATUS + "/", ENABLE + "/", DISABLE + "/", STATUS + "/toggle", "/api", "/api/v1/", "/api/v2/target"]
)
def test_other_paths_are_not_found(method: str, path: str) -> None:
    switch = FakeSwitch()
    answer = ask_switch(switch, method, path)
    assert (answer.code, answer.body, switch.calls) == (404, b"404 page not found\n", [])


# Who may


@pytest.mark.parametrize("path", [ENABLE, DISABLE])
@pytest.mark.parametrize(
    "token, sent, refused",
    [
        ("", None, NO_TOKEN_SET),
        ("", "Bearer ", NO_TOKEN_SET),
        ("s3cret", None, TOKEN_MISSING),
        ("s3cret", "Basic s3cret", TOKEN_MISSING),
        ("s3cret", "Bearer other", TOKEN_WRONG),
        ("s3cret", b"Bearer \xff\xfe", TOKEN_WRONG),
    ],
)
def test_elsewhere_a_change_without_the_token_is_a_403_that_says_so(
    path: str, token: str, sent: Any, refused: str
) -> None:
    """Whoever can scrape the metrics must not be able to split the two clusters' contents."""
    switch = FakeSwitch(DISABLED)
    headers = {} if sent is None else {"Authorization": sent}
    answer = ask_switch(switch, "POST", path, headers=headers, access=Access(ELSEWHERE, token))
    assert (answer.code, answer.json()["message"], switch.calls) == (403, refused, [])


def test_elsewhere_a_change_with_the_token_is_made() -> None:
    switch = FakeSwitch()
    headers = {"Authorization": "Bearer s3cret"}
    assert disable(switch, headers=headers, access=Access(ELSEWHERE, "s3cret")).code == 200


@pytest.mark.parametrize("token", ["", "s3cret"])
@pytest.mark.parametrize("path", [STATUS, "/api/v1", "/api/v1/openapi.json", "/health/liveness", "/metrics"])
def test_reading_needs_no_token_anywhere(path: str, token: str) -> None:
    """Probes and Prometheus have none."""
    answer = Call(Proxy("x"), "GET", path, access=Access(ELSEWHERE, token)).answer()
    assert answer.code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:14001"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_change_from_a_web_page_is_refused(headers: dict[str, str]) -> None:
    """Any page that an operator opens can post to a loopback address, where the API is open."""
    switch = FakeSwitch()
    answer = disable(switch, headers=headers)
    assert (answer.code, switch.calls) == (403, [])
    assert "web pages" in answer.json()["message"]


def test_a_change_typed_into_a_browser_tool_is_taken() -> None:
    """`none` means that no page is behind it."""
    assert disable(FakeSwitch(), headers={"Sec-Fetch-Site": "none"}).code == 200


@pytest.mark.parametrize("method, path", [("GET", STATUS), ("POST", DISABLE), ("OPTIONS", DISABLE), ("GET", "/api/v1")])
def test_no_answer_has_cors_headers(method: str, path: str) -> None:
    answer = ask_switch(FakeSwitch(), method, path, headers={"Origin": "http://evil.example"})
    assert [name for name in answer.headers if name.startswith("access-control")] == []
