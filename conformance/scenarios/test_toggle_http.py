"""The toggle's HTTP API of the running program: who may switch, what is refused, and how."""

from __future__ import annotations

import json
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from conformance.awaiting import await_true
from conformance.backends.interface import Credentials
from conformance.client import Client
from conformance.proxy import Proxy
from conformance.target import PATH
from conformance.toggling import Toggle

pytestmark = [pytest.mark.toggle, pytest.mark.http, pytest.mark.needs("proxy")]

TOKEN = "a-token-that-nobody-guesses"
FORBIDDING = {
    "ZDM_READ_MODE=DUAL_ASYNC_ON_SECONDARY": (
        "cannot disable target: read_mode is DUAL_ASYNC_ON_SECONDARY, "
        "restart proxy with PRIMARY_ONLY to use target toggle"
    ),
    "ZDM_FORWARD_CLIENT_CREDENTIALS_TO_ORIGIN=true": (
        "cannot disable target: forward_client_credentials_to_origin is enabled, "
        "restart proxy without it to use target toggle"
    ),
    "ZDM_PRIMARY_CLUSTER=TARGET": (
        "cannot disable target: primary_cluster is TARGET, restart proxy with ORIGIN to use target toggle"
    ),
}
SECONDS_FOR_A_REQUEST = 15.0


@pytest.mark.parametrize("setting", FORBIDDING)
def test_a_configuration_that_forbids_the_toggle_says_so(setting: str, own_proxy: Callable[..., Proxy]) -> None:
    """409 with the reason, and nothing changes; an operator who knows better forces it. Enabling is never refused."""
    name, _, value = setting.partition("=")
    proxy = own_proxy(5, **{"ZDM_PRIMARY_CLUSTER": "ORIGIN", name: value})
    proxy.expect(name)
    before = proxy.target.state()
    reply = proxy.target.ask("POST", "disable")
    assert (reply.status, reply.body["enabled"], reply.body["message"]) == (409, True, FORBIDDING[setting])
    assert proxy.target.state() == before
    assert proxy.metric("zdm_target_enabled") == 1
    assert proxy.target.ask("POST", "enable").status == 200
    proxy.target.disable("we know", force=True)
    assert (proxy.target.is_enabled, proxy.metric("zdm_target_enabled")) == (False, 0)
    proxy.target.enable()
    assert proxy.target.is_enabled


def test_the_answers_are_the_references(toggle: Toggle) -> None:
    """Fields, texts and types that tools rely upon."""
    target = toggle.proxy.target
    toggle.disable("planned")
    reply = target.ask("GET")
    assert (reply.status, reply.body["enabled"], "message" in reply.body) == (200, False, False)
    assert (reply.body["desired"], reply.body["effective"]) == ("DISABLED", "ORIGIN_ONLY")
    assert (reply.body["reason"], reply.body["attaching"]) == ("planned", 0)
    assert reply.body["actor"] and reply.body["since"] and reply.body["generation"] > 0
    assert toggle.enable()["message"] == "Target enabled"
    assert toggle.disable()["message"] == "Target disabled"
    toggle.enable()
    assert reply.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("method", "action", "allowed"),
    [("POST", "", {"GET", "HEAD"}), ("GET", "enable", {"POST"}), ("GET", "disable", {"POST"}),
     ("PUT", "disable", {"POST"}), ("DELETE", "", {"GET", "HEAD"})],
)  # fmt: skip
def test_a_wrong_verb_is_told_the_right_one(method: str, action: str, allowed: set[str], proxy: Proxy) -> None:
    """405 with Allow; the target stays as it is."""
    before = proxy.target.state()
    reply = proxy.target.ask(method, action)
    assert (reply.status, reply.text) == (405, "method not allowed\n")
    assert {verb.strip() for verb in reply.headers["allow"].split(",")} == allowed
    assert proxy.target.state() == before


@pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}/disabled", f"{PATH}/disable/now", "/api/v2/target", "/api"])
def test_a_wrong_path_is_not_found(path: str, proxy: Proxy) -> None:
    """A playbook with a typing error must not take its call for done."""
    before = proxy.target.state()
    for method in ("GET", "POST"):
        assert requests.request(method, proxy.url(path), timeout=20).status_code == 404
    assert proxy.target.state() == before


def test_the_api_tells_what_there_is(proxy: Proxy) -> None:
    """By hand, from a machine without the documentation."""
    listed = requests.get(proxy.url("/api/v1"), timeout=20)
    assert listed.status_code == 200
    for path in (PATH, f"{PATH}/enable", f"{PATH}/disable"):
        assert path in listed.text


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_token_is_wanted_where_one_is_configured(way: str, own_proxy: Callable[..., Proxy], tmp_path: Path) -> None:
    """Changes need it, looking does not. It is never told to anybody, the log included."""
    settings = {"ZDM_ADMIN_TOKEN": TOKEN}
    if way == "file":
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        settings = {"ZDM_ADMIN_TOKEN_FILE": str(tmp_path / "token")}
    proxy = own_proxy(5, **settings)
    force = proxy.settings["ZDM_PRIMARY_CLUSTER"] == "TARGET"
    for token in (None, "wrong", TOKEN + "x", TOKEN[:-1], ""):
        for action in ("disable", "enable"):
            reply = proxy.target.ask("POST", action, token, params={"force": "true"})
            assert reply.status == 403, (token, reply)
            assert "token" in reply.body["message"]
            assert TOKEN not in reply.text
    assert proxy.target.is_enabled
    assert requests.get(proxy.url("/health/readiness"), timeout=20).status_code == 200
    assert proxy.metric("zdm_target_enabled") == 1
    proxy.target.disable(token=TOKEN, force=force)
    assert not proxy.target.is_enabled
    proxy.target.enable(token=TOKEN)
    assert not proxy.lines(TOKEN)


@pytest.mark.parametrize("size", [1_000_000, 100_000])
def test_a_body_that_is_too_large_is_refused(size: int, proxy: Proxy) -> None:
    """It is not kept, and changes nothing."""
    before = proxy.target.state()
    reply = proxy.target.ask("POST", "disable", data=b"reason=" + b"x" * size)
    assert reply.status == 413
    assert "larger" in reply.body["message"]
    assert proxy.target.state() == before


def test_what_cannot_be_understood_is_refused(proxy: Proxy) -> None:
    """Half a JSON object, a wrong value of force: 400 that says what to send, and no change."""
    before = proxy.target.state()
    for body in ('{"reason": "half', '["a list"]', '{"force": "perhaps"}'):
        reply = proxy.target.ask("POST", "disable", data=body, headers={"Content-Type": "application/json"})
        assert reply.status == 400, (body, reply)
        assert "send" in reply.body["message"]
    assert proxy.target.ask("POST", "disable", params={"force": "perhaps"}).status == 400
    assert proxy.target.state() == before


def test_a_slow_client_is_answered_and_keeps_nobody_waiting(toggle: Toggle) -> None:
    """A byte now and then: it has 15 s for its request, and everybody else is served meanwhile."""
    proxy = toggle.proxy
    with socket.create_connection((proxy.address, proxy.metrics_port), 20) as slow:
        slow.sendall(f"POST {PATH}/disable HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode())
        slow.settimeout(0.5)
        began = time.monotonic()
        answered = b""
        while not answered:
            try:
                answered = slow.recv(1000)
                break
            except TimeoutError:
                slow.sendall(b"x")
            toggle.enable()
            assert time.monotonic() - began < 2 * SECONDS_FOR_A_REQUEST, "nothing was said to the slow client"
    assert answered.startswith(b"HTTP/1.1 408"), answered
    assert time.monotonic() - began > 0.5 * SECONDS_FOR_A_REQUEST
    assert proxy.target.is_enabled


def test_every_change_is_on_record(own_proxy: Callable[..., Proxy], tmp_path: Path) -> None:
    """Who, from where, why: one line in the log and one in the audit file, which only grows."""
    audit = tmp_path / "audit.jsonl"
    audit.write_text('{"written": "before"}\n')
    proxy = own_proxy(5, ZDM_ADMIN_AUDIT_FILE=str(audit), ZDM_PRIMARY_CLUSTER="ORIGIN")
    proxy.target.disable("disk full\non node 7")
    proxy.target.disable("said twice")
    proxy.expect("Target cluster ENABLED via API")
    assert proxy.target.ask("POST", "enable", data={"actor": "alice"}).status == 200
    before, *lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert before == {"written": "before"}
    assert [(line["reason"], line["before"], line["after"]) for line in lines] == [
        ("disk full on node 7", "ENABLED", "DISABLED"),
        ("", "DISABLED", "ENABLED"),
    ]
    assert lines[1]["actor"] == "alice"
    assert all(line["peer"].startswith("127.") and line["time"] for line in lines)
    (disabled,) = proxy.lines("Target cluster DISABLED via API — no requests will be forwarded to target")
    (enabled,) = proxy.lines("Target cluster ENABLED via API — requests will be forwarded to target")
    assert "disk full on node 7" in disabled
    assert "alice" in enabled
    assert proxy.lines("Target cluster: enabled")


def test_what_an_operator_wants_at_start(
    own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client], protocol: int
) -> None:
    """``target_enabled_at_start=false`` starts without the target though it is there."""
    proxy = own_proxy(5, ZDM_TARGET_ENABLED_AT_START="false")
    proxy.expect("Target is disabled, although the configuration forbids that: .* primary_cluster is TARGET")
    assert (proxy.target.is_enabled, proxy.target.effective) == (False, "ORIGIN_ONLY")
    assert proxy.metric("zdm_target_enabled") == 0
    assert proxy.lines("Target cluster: disabled")
    client = connect(keyspace=None, at=proxy.entry(credentials))
    client.execute("SELECT key FROM system.local")
    opened = client.opened
    proxy.target.enable()
    proxy.target.await_dual()
    client.execute("SELECT key FROM system.local")
    assert client.opened == opened


@pytest.mark.parametrize("content", ["", "{", '{"target": "perhaps"}', "\0\0\0"])
def test_a_damaged_state_file_is_named(content: str, new_proxy: Callable[..., Proxy], tmp_path: Path) -> None:
    """The proxy must not guess whether the target was off: it ends, and says which file to look at."""
    state_file = tmp_path / "state.json"
    state_file.write_text(content)
    proxy = new_proxy(5, ZDM_STATE_FILE=str(state_file))
    proxy.mark()
    proxy.start(await_ready=False)
    await_true(lambda: not proxy.is_running(), "it ends", 20)
    assert proxy.exit_code() not in (0, None)
    assert any(str(state_file) in line for line in proxy.complaints()) or str(state_file) in proxy.tail()
    assert not proxy.lines("Traceback")
    assert state_file.read_text() == content


def test_the_state_file_is_for_the_proxys_eyes_only(own_proxy: Callable[..., Proxy], tmp_path: Path) -> None:
    """It holds hashes of logins."""
    state_file = tmp_path / "state.json"
    proxy = own_proxy(5, ZDM_STATE_FILE=str(state_file), ZDM_PRIMARY_CLUSTER="ORIGIN")
    proxy.target.disable()
    assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.json"], "no temporary file is left"
