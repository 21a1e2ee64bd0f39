"""`enable --wait`: until every client has its target connection, on a clock of the test's."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable

import pytest

from tests.target_command.api import Proxy, Sent, Start
from zdm.target_command import commands


class Clock:
    """Time that passes when somebody waits; `later` is what happens then, one entry per pause."""

    def __init__(self, *later: Callable[[], object]) -> None:
        self.now = 100.0
        self.later = list(later)

    def read(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        if self.later:
            self.later.pop(0)()


def enable(clock: Clock, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    options = parser.parse_args(["enable", *arguments], argparse.Namespace(config=None, set=[], set_after=[]))
    return commands.run(options, clock=clock.read, pause=clock.pause)


def attach(proxy: Proxy, left: int) -> Callable[[], None]:
    return lambda: proxy.state.update(attaching=left, effective="ATTACHING" if left else "DUAL")


def test_waiting_ends_when_every_client_has_its_target(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.attaching = 7
    clock = Clock(attach(proxy, 3), attach(proxy, 0), lambda: pytest.fail("it goes on asking"))
    assert enable(clock, "--url", proxy.url, "--wait", "30") == 0
    out, err = capsys.readouterr()
    assert "DUAL" in out and "Target enabled" in err
    assert [sent.method for sent in proxy.requests] == ["POST", "GET", "GET"]


def test_waiting_ends_with_3_when_the_time_is_over(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """The target is enabled and goes on attaching; only the promise of the option is not kept."""
    proxy.attaching = 7
    clock = Clock()
    assert enable(clock, "--url", proxy.url, "--wait", "12") == 3
    out, err = capsys.readouterr()
    assert clock.now == 112.0
    assert "ATTACHING" in out
    assert "not attached after 12 s (7 clients without target)" in err
    assert [line.split(" s left")[0] for line in err.splitlines() if "left" in line] == [
        "attaching, 12", "attaching, 7", "attaching, 2"
    ]  # fmt: skip


def test_an_outage_while_waiting_is_waited_out(proxy: Proxy) -> None:
    """One poll that gets no answer is no reason to give up."""
    proxy.attaching = 1

    def ends() -> None:
        proxy.page = None
        attach(proxy, 0)()

    clock = Clock(lambda: setattr(proxy, "page", (500, "text/plain", "")), ends)
    assert enable(clock, "--url", proxy.url, "--wait", "30") == 0


def test_a_target_disabled_again_ends_the_wait(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.attaching = 1
    clock = Clock(lambda: proxy._switch(False, Sent("", "", {"actor": ["bob"]}, None)))
    assert enable(clock, "--url", proxy.url, "--wait", "30") == 3
    assert "disabled again meanwhile, by bob" in capsys.readouterr().err
    assert clock.now < 102


def test_nobody_waits_for_an_instance_that_refused(start: Start) -> None:
    refusing, attaching = start(), start()
    refusing.token, attaching.attaching = "x", 1
    clock = Clock(attach(attaching, 0))
    assert enable(clock, "--url", refusing.url, "--url", attaching.url, "--wait", "30") == 5
    assert (len(refusing.requests), len(attaching.requests)) == (1, 2)


def test_a_warning_of_the_proxy_survives_the_wait(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """That the state could not be saved is told in the answer to the command, and not again."""
    proxy.page = (200, "application/json", json.dumps(proxy.state | {"attaching": 1, "message": "not saved"}))
    clock = Clock(lambda: setattr(proxy, "page", None))
    assert enable(clock, "--url", proxy.url, "--wait", "30") == 0
    assert "not saved" in capsys.readouterr().err


@pytest.mark.parametrize("effective", [None, "DUAL"])
def test_an_enable_that_is_only_taken_for_the_start_is_waited_for(proxy: Proxy, effective: str | None) -> None:
    """A proxy that still waits for its target has attached nobody."""
    proxy.page = (202, "application/json", json.dumps(proxy.state | {"effective": effective}))
    clock = Clock(lambda: setattr(proxy, "page", (503, "application/json", '{"enabled":true}')), lambda: None)
    assert enable(clock, "--url", proxy.url, "--wait", "5") == 3
    proxy.page = (202, "application/json", json.dumps(proxy.state | {"effective": effective}))
    assert enable(Clock(lambda: setattr(proxy, "page", None)), "--url", proxy.url, "--wait", "5") == 0


def test_no_token_is_sent_with_the_questions(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading needs none."""
    monkeypatch.setenv("ZDM_ADMIN_TOKEN", "secret")
    proxy.attaching = 1
    assert enable(Clock(attach(proxy, 0)), "--url", proxy.url, "--wait", "30") == 0
    assert [sent.authorization for sent in proxy.requests] == ["Bearer secret", None]


def test_an_api_that_knows_enabled_only_is_not_waited_for(proxy: Proxy) -> None:
    """It has nothing that could be waited for."""
    proxy.page = (200, "application/json", '{"enabled":true,"message":"Target enabled"}')
    assert enable(Clock(), "--url", proxy.url, "--wait", "30") == 0
    assert len(proxy.requests) == 1


def test_a_terminal_sees_one_line_that_changes(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    proxy.attaching = 7
    assert enable(Clock(attach(proxy, 3), attach(proxy, 0)), "--url", proxy.url, "--wait", "30") == 0
    shown = terminal.getvalue().split("\r")
    assert "7 clients without target" in shown[1] and "3 clients without target" in shown[2]
    assert shown[3].startswith("\x1b[K") and "Target enabled" in shown[3]
