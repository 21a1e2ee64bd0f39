"""What is asked, what is shown, and which exit code a script gets.

Outcomes are told by exit code, so each test looks at that, and at the words that say what to do next.
"""

from __future__ import annotations

import json

import pytest

from tests.target_command.api import ADDRESS, PATH, Command, Proxy, Sent, Start


def test_the_status_of_an_enabled_target_is_0(command: Command, proxy: Proxy) -> None:
    done = command("status", "--url", proxy.url)
    assert (done.code, done.err) == (0, "")
    row = {"DESIRED": "ENABLED", "EFFECTIVE": "DUAL", "ATTACHING": "0", "GENERATION": "1"}
    assert done.rows() == [{"INSTANCE": proxy.url, **row, "SINCE": "-", "REASON": "-", "ACTOR": "-"}]
    assert proxy.requests == [Sent("GET", PATH, {}, None)]


def test_a_disable_names_reason_and_actor_and_the_status_is_3_then(command: Command, proxy: Proxy) -> None:
    """A script that asks must be able to tell off from on without reading text."""
    done = command("disable", "--url", proxy.url, "--reason", "disk full & slow", "--actor", "ops")
    assert done.code == 0
    assert f"{proxy.url}: Target disabled" in done.err
    sent = proxy.requests[0]
    assert (sent.method, sent.path) == ("POST", f"{PATH}/disable")
    assert sent.query == {"reason": ["disk full & slow"], "actor": ["ops"]}
    done = command("status", "--url", proxy.url)
    (row,) = done.rows()
    assert (done.code, done.err) == (3, "")
    assert (row["DESIRED"], row["EFFECTIVE"], row["GENERATION"]) == ("DISABLED", "ORIGIN_ONLY", "2")
    assert (row["SINCE"], row["REASON"], row["ACTOR"]) == ("2026-09-21T14:13:20Z", "disk full & slow", "ops")
    assert command("enable", "--url", proxy.url).code == 0
    assert command("status", "--url", proxy.url).code == 0


def test_the_actor_is_the_user_of_this_machine(command: Command, proxy: Proxy) -> None:
    """The audit file is of little use where everybody is called the same."""
    command("disable", "--url", proxy.url, LOGNAME="alice")
    (actor,) = proxy.requests[0].query["actor"]
    assert actor.startswith("alice@") and not actor.endswith("@")


def test_json_is_an_array_with_what_the_proxy_says_and_what_came_of_it(command: Command, proxy: Proxy) -> None:
    proxy.state |= {"reason": "\x1b[2J"}
    done = command("status", "--json", "--url", proxy.url, "--url", f"http://{ADDRESS}:1")
    assert done.code == 6
    first, second = json.loads(done.out)
    assert first == proxy.state | {"instance": proxy.url, "exit_code": 0, "error": None}
    assert (second["instance"], second["exit_code"]) == (f"http://{ADDRESS}:1", 6)
    assert "connection refused" in second["error"]
    assert second.get("enabled") is None


def test_the_text_of_others_does_not_steer_the_terminal(command: Command, proxy: Proxy) -> None:
    proxy.state |= {"reason": "\x1b[2Jx\ny"}
    assert command("status", "--url", proxy.url).rows()[0]["REASON"] == "?[2Jx?y"


def test_every_instance_is_asked_and_the_worst_code_counts(command: Command, start: Start) -> None:
    """One that was missed would go on writing to the target alone, so it must not be overlooked."""
    well, refusing, off = start(), start(), start()
    refusing.refusal = "cannot disable target: primary_cluster is TARGET"
    urls = [part for proxy in (well, refusing, off, well) for part in ("--url", proxy.url)]
    done = command("disable", *urls)
    assert done.code == 4
    assert [row["INSTANCE"] for row in done.rows()] == [well.url, refusing.url, off.url]
    assert [row["DESIRED"] for row in done.rows()] == ["DISABLED", "ENABLED", "DISABLED"]
    assert [len(proxy.requests) for proxy in (well, refusing, off)] == [1, 1, 1]


def test_an_api_that_knows_enabled_only_is_understood(command: Command, proxy: Proxy) -> None:
    """What the first proxies with such an API answer."""
    proxy.page = (200, "application/json", '{"enabled":false}')
    done = command("status", "--url", proxy.url)
    assert (done.code, done.rows()[0]["DESIRED"], done.rows()[0]["EFFECTIVE"]) == (3, "DISABLED", "-")


def test_a_409_shows_its_text_and_force_overrides_it(command: Command, proxy: Proxy) -> None:
    proxy.refusal = "cannot disable target: primary_cluster is TARGET"
    done = command("disable", "--url", proxy.url)
    assert done.code == 4
    assert proxy.refusal in done.err and "--force" in done.err
    assert command("disable", "--force", "--url", proxy.url).code == 0
    assert proxy.requests[-1].query["force"] == ["true"]


def test_a_409_in_spite_of_force_does_not_advise_it_again(command: Command, proxy: Proxy) -> None:
    proxy.page = (409, "application/json", '{"enabled":true,"message":"no"}')
    done = command("disable", "--force", "--url", proxy.url)
    assert done.code == 4 and "--force" not in done.err


def test_403_names_the_key(command: Command, proxy: Proxy) -> None:
    """And says what the proxy says: there may be no token that would do."""
    proxy.token = "right"
    done = command("disable", "--url", proxy.url)
    assert done.code == 5
    for word in ("changes need a token", "ZDM_ADMIN_TOKEN", "admin_token", "--token-file"):
        assert word in done.err
    proxy.wrong_token = ""
    assert "wants its token" in command("disable", "--url", proxy.url).err
    done = command("disable", "--url", proxy.url, ZDM_ADMIN_TOKEN="hunter")
    assert done.code == 5 and "not that proxy's" in done.err
    assert "hunter" not in done.out + done.err


def test_not_ready_is_7_and_nothing_is_claimed(command: Command, proxy: Proxy) -> None:
    """The body says enabled, whatever is so."""
    proxy.is_ready = False
    done = command("status", "--url", proxy.url)
    assert done.code == 7
    assert "proxy not ready" in done.err
    assert done.rows()[0]["DESIRED"] == "-"


@pytest.mark.parametrize("status", [200, 202])
def test_a_change_that_a_restart_will_not_know_ends_with_8(command: Command, proxy: Proxy, status: int) -> None:
    """The sick target would be in the path again, and no script would have noticed."""
    message = "Target disabled; the state file could not be written, so a restart will not know: no space"
    state = proxy.state | {"enabled": False, "effective": "ORIGIN_ONLY", "stored": False, "message": message}
    proxy.page = (status, "application/json", json.dumps(state))
    done = command("disable", "--url", proxy.url, "--json")
    (answer,) = json.loads(done.out)
    assert (done.code, answer["exit_code"], answer["error"]) == (8, 8, f"taken, but not stored: {message}")


@pytest.mark.parametrize(("action", "stored", "is_told"), [
    ("disable", None, True), ("disable", True, False), ("enable", None, False), ("status", None, False),
])  # fmt: skip
def test_a_disable_tells_where_a_restart_enables_target_again(
    command: Command, proxy: Proxy, action: str, stored: bool | None, is_told: bool
) -> None:
    """No state file is configured unless somebody thought of it."""
    proxy.state |= {"stored": stored, "enabled": False, "effective": "ORIGIN_ONLY"}
    told = "; no state file is configured there, so a restart enables it again"
    assert (told in command(action, "--url", proxy.url).err) is is_told


def test_asking_for_the_status_takes_no_token(command: Command, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file may be readable for few, and whoever listens on the way would learn it."""
    monkeypatch.setenv("ZDM_ADMIN_TOKEN_FILE", "/nowhere/token")
    assert command("status", "--url", proxy.url).code == 0
    monkeypatch.delenv("ZDM_ADMIN_TOKEN_FILE")
    monkeypatch.setenv("ZDM_ADMIN_TOKEN", "secret")
    assert command("status", "--url", proxy.url).code == 0
    assert [sent.authorization for sent in proxy.requests] == [None, None]


def test_a_disable_stored_for_the_start_is_done_and_says_so(command: Command, proxy: Proxy) -> None:
    """The one call that rescues a start against a dead target must not look like a failure."""
    proxy.is_ready = False
    done = command("disable", "--url", proxy.url)
    assert done.code == 0
    assert "Target disabled (the proxy is not ready yet, and starts so)" in done.err


def test_a_body_that_the_proxy_does_not_take_is_refused(command: Command, proxy: Proxy) -> None:
    proxy.page = (400, "application/json", '{"message":"reason is longer than 512 characters"}')
    done = command("disable", "--url", proxy.url)
    assert done.code == 4 and "longer than 512" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["off"],
        ["status", "--force"],
        ["status", "--reason", "x"],
        ["disable", "--wait", "5"],
        ["enable", "--wait", "soon"],
        ["enable", "--wait", "-1"],
        ["enable", "--wait", "nan"],
        ["status", "--config", "/nowhere/zdm.yaml"],
        ["status", "--set", "metrics_port"],
        ["status", "--set", "metrics_port=0"],
        ["status", "--set", "metrics_port=x"],
    ],
)
def test_what_makes_no_sense_is_2(command: Command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2 and done.err and not done.out


@pytest.mark.parametrize(
    "action, effective", [("disable", "DUAL"), ("disable", "ATTACHING"), ("enable", "ORIGIN_ONLY")]
)
def test_a_change_that_part_of_the_proxy_did_not_follow_is_8(
    command: Command, proxy: Proxy, action: str, effective: str
) -> None:
    """The answer is 200, since the change is taken; but a script would believe that the target is out of the path."""
    state = {"enabled": action == "enable", "effective": effective, "message": "a worker could not take the change"}
    proxy.page = (200, "application/json", json.dumps(state))
    done = command(action, "--url", proxy.url)
    assert done.code == 8 and "a worker could not take the change" in done.err
    proxy.page = (202, "application/json", json.dumps(state))
    assert command(action, "--url", proxy.url).code == 0


def test_the_actor_is_not_longer_than_the_api_takes(command: Command, proxy: Proxy) -> None:
    """A long host name must not be what keeps the target switched on."""
    command("disable", "--url", proxy.url, LOGNAME="a" * 200)
    assert proxy.requests[0].query["actor"] == ["a" * 100]
