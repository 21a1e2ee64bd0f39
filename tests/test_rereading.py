"""SIGHUP: what is told of each key, what is applied, and what becomes of a configuration that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from twisted.internet.defer import Deferred

from tests.at_once import at_once
from tests.net.nodes import Lines
from zdm.config import Config, ConfigurationError, Fault
from zdm.net.threads import Run
from zdm.rereading import Rereading


class World:
    """A proxy that only knows what is to be applied; `found` is what the next reading finds."""

    def __init__(self, run: Run = at_once, **keys: Any) -> None:
        self.found: Config | Exception = Config(**keys)
        self.applied: list[Config] = []
        self.log = Lines()
        log: Any = self.log
        self.rereading = Rereading(Config(**keys), self.read, self.apply, run, log)
        self.readings = 0

    def read(self) -> Config:
        self.readings += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def apply(self, config: Config) -> None:
        self.applied.append(config)
        self.log.debug("applied")

    def hang_up(self, **keys: Any) -> list[tuple[str, str]]:
        """SIGHUP, where the configuration holds these keys now; what was said."""
        self.found = Config(**keys)
        self.log.lines.clear()
        self.rereading.again()
        assert self.log.lines.pop(0) == ("info", "SIGHUP: the configuration is read again.")
        return self.log.lines


def test_nothing_changed_is_told_and_nothing_applied() -> None:
    """A terminal that closes sends the signal, too."""
    world = World(log_level="WARN")
    assert world.hang_up(log_level="WARN") == [("info", "SIGHUP: nothing has changed.")]
    assert world.applied == []


def test_each_key_is_told_of_as_applied_or_as_waiting_for_a_restart() -> None:
    """In the order of their declaration; what waits is a warning, because somebody expects it."""
    world = World()
    said = world.hang_up(
        proxy_request_timeout_ms=5, proxy_listen_port=9042, read_max_workers=3, primary_cluster="TARGET"
    )
    assert said == [
        ("warn", 'SIGHUP: primary_cluster has changed from "ORIGIN" to "TARGET": not applied, it needs a restart.'),
        ("warn", "SIGHUP: proxy_listen_port has changed from 14002 to 9042: not applied, it needs a restart."),
        ("info", "SIGHUP: proxy_request_timeout_ms has changed from 10000 to 5: applied."),
        ("info", "SIGHUP: read_max_workers has changed from -1 to 3: it has no effect."),
        ("debug", "applied"),
    ]
    (config,) = world.applied
    assert (config.proxy_request_timeout_ms, config.proxy_listen_port, config.primary) == (5, 14002, "origin")


def test_what_waits_for_a_restart_is_told_of_every_time() -> None:
    """Until it is the proxy's, or taken back; what was applied is news once."""
    world = World()
    keys: dict[str, Any] = {"proxy_listen_port": 1, "attach_hold_ms": 7}
    assert [level for level, _ in world.hang_up(**keys)] == ["warn", "info", "debug"]
    assert [level for level, _ in world.hang_up(**keys)] == ["warn", "debug"]
    assert world.hang_up(attach_hold_ms=7) == [("info", "SIGHUP: nothing has changed.")]


@pytest.mark.parametrize("key", ["origin_password", "target_password", "admin_token"])
def test_a_secret_is_applied_and_never_told(key: str) -> None:
    """Neither the old one nor the new one: it may be in use elsewhere."""
    before: dict[str, Any] = {key: SecretStr("hunter-1")}
    world = World(**before)
    assert world.hang_up(**{key: SecretStr("hunter-2")})[0] == ("info", f"SIGHUP: {key} has changed: applied.")
    assert getattr(world.applied[0], key).get_secret_value() == "hunter-2"


def test_where_a_secret_comes_from_is_no_change() -> None:
    """The secret is; a path is not told of twice."""
    world = World(origin_password=SecretStr("x"), origin_password_file="/a")
    assert world.hang_up(origin_password=SecretStr("x"), origin_password_file="/b") == [
        ("info", "SIGHUP: nothing has changed.")
    ]


@pytest.mark.parametrize(("before", "after", "is_first"), [("ERROR", "DEBUG", True), ("DEBUG", "ERROR", False)])
def test_the_change_is_told_under_the_level_that_shows_more(before: str, after: str, is_first: bool) -> None:
    """Or nobody would see whether it was applied."""
    world = World(log_level=before)
    said = world.hang_up(log_level=after)
    told = ("info", f'SIGHUP: log_level has changed from "{before}" to "{after}": applied.')
    assert said == ([("debug", "applied"), told] if is_first else [told, ("debug", "applied")])


def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    """One error, with all that is wrong; the next signal is compared with what is in force."""
    world = World()
    world.found = ConfigurationError([Fault("one"), Fault("two")])
    world.rereading.again()
    assert world.log.texts("error") == ["Error loading configuration: one; also: two. Nothing has been changed."]
    assert world.applied == []
    assert world.hang_up() == [("info", "SIGHUP: nothing has changed.")]


def test_a_fault_of_ours_is_told_with_its_traceback() -> None:
    world = World()
    world.found = ZeroDivisionError("a fault of ours")
    world.rereading.again()
    assert world.log.texts("error") == ["SIGHUP: reading the configuration again failed: a fault of ours"]


def test_signals_during_a_reading_make_one_more() -> None:
    """The file may have been written after the first reading has begun."""
    waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def later(work: Callable[[], Any], /) -> Deferred[Any]:
        waiting.append((Deferred(), work))
        return waiting[-1][0]

    world = World(later)
    for _ in range(3):
        world.rereading.again()
    assert len(waiting) == 1
    for reading, work in waiting:
        reading.callback(work())
    assert (len(waiting), world.readings) == (2, 2)
