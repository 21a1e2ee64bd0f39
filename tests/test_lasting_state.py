"""What the running proxy knows that is to survive it: when it is written, and who is told."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.at_once import at_once
from tests.net.nodes import Lines, Network
from zdm.config import Config
from zdm.core.topology import ClusterView
from zdm.lasting_state import PATIENCE, RETRY, LastingState, at_start, check_places, read_state
from zdm.net.control import ControlConnection, ControlSettings
from zdm.state_file import KnownTarget, LoginRecord, SavedState, StateFile, TargetRecord, UnusableFileError

LOGIN = LoginRecord(user="app", salt="00" * 16, digest="ff" * 32)
DISABLED = TargetRecord(enabled=False, since=1.0, reason="sick", actor="ops", generation=4)


class Threads:
    """Work that is begun, and done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.begun.append((work, done))
        return done

    def finish(self, fault: Exception | None = None) -> None:
        """The oldest work ends."""
        work, done = self.begun.pop(0)
        if fault is not None:
            done.errback(fault)
        else:
            work()
            done.callback(None)


class World:
    def __init__(self, path: Path | None, saved: SavedState | None = None) -> None:
        self.clock, self.log, self.threads = Clock(), Lines(), Threads()
        log: Any = self.log
        self.path = path
        self.state = LastingState(saved or SavedState(), str(path or ""), self.threads, self.clock, log)
        self.outcomes: list[str] = []

    def save(self, name: str) -> None:
        def failed(failure: Failure) -> None:
            self.outcomes.append(f"{name}: {failure.getErrorMessage()}")

        self.state.save().addCallbacks(lambda _: self.outcomes.append(name), failed)

    def on_disk(self) -> SavedState:
        return StateFile(str(self.path)).read()


def config(**keys: Any) -> Config:
    return Config(origin_contact_points="127.0.40.1", target_contact_points="127.0.40.11", **keys)


def started(wall_clock: Callable[[], float] = time.time, log: Lines | None = None, **keys: Any) -> SavedState:
    """What a process with this configuration begins with."""
    lines: Any = log or Lines()
    return at_start(config(**keys), lines, wall_clock)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes names, and no content."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def view() -> ClusterView:
    """What a control connection finds."""
    network = Network()
    network.add(1)
    control = ControlConnection(
        ControlSettings("TARGET", ("127.0.40.1",), 9042), network.endpoint, network.clock, Lines()
    )
    control.open()
    network.settle()
    assert control.view is not None
    return control.view


# Writing


def test_a_save_is_over_when_all_is_on_disk(path: Path) -> None:
    """The operator's call is answered then."""
    world = World(path)
    world.state.target, world.state.logins = DISABLED, lambda: (LOGIN,)
    world.save("one")
    assert world.outcomes == [] and not path.exists()
    world.threads.finish()
    assert world.outcomes == ["one"]
    assert world.on_disk() == SavedState(target=DISABLED, logins=(LOGIN,))


def test_what_changes_during_a_write_is_written_after_it_once(path: Path) -> None:
    """Two writers would undo each other; a hundred changes are no hundred writes."""
    world = World(path)
    world.save("one")
    world.state.target = DISABLED
    world.save("two")
    world.save("three")
    assert len(world.threads.begun) == 1
    world.threads.finish()
    assert world.outcomes == ["one"] and len(world.threads.begun) == 1
    world.threads.finish()
    assert world.outcomes == ["one", "two", "three"] and world.threads.begun == []
    assert world.on_disk().target == DISABLED


def test_a_write_has_what_was_so_when_it_began(path: Path) -> None:
    """Not what changes while the thread runs."""
    world = World(path, SavedState(target=DISABLED))
    world.save("one")
    world.state.target = TargetRecord(generation=9)
    world.threads.finish()
    assert world.on_disk().target == DISABLED


def test_a_save_that_fails_is_told_to_who_asked_and_to_the_operator(path: Path) -> None:
    """The next one is made as if nothing had been."""
    world = World(path)
    world.save("one")
    world.threads.finish(OSError(28, "No space left on device"))
    assert world.outcomes == ["one: [Errno 28] No space left on device"]
    (line,) = world.log.texts("error")
    assert line == f"The state file {path} could not be written: [Errno 28] No space left on device"
    world.save("two")
    world.threads.finish()
    assert world.outcomes[1:] == ["two"]


def test_a_write_that_failed_is_tried_again_from_time_to_time(path: Path) -> None:
    """Nobody says it a second time where a restart is to know it: the disk may be free again in an hour."""
    world = World(path)
    world.state.target = DISABLED
    world.save("one")
    for _ in range(3):
        world.threads.finish(OSError(28, "No space left on device"))
        assert world.state.is_stored is False and world.threads.begun == []
        world.clock.advance(RETRY)
    world.threads.finish()
    assert world.on_disk().target == DISABLED and world.state.is_stored
    assert len(world.log.texts("error")) == 3
    assert world.log.texts("info") == [f"The state file {path} could be written again."]
    assert world.clock.getDelayedCalls() == []


def test_a_disk_that_fails_is_not_asked_for_each_login(path: Path) -> None:
    """A thousand clients come; but who waits for a write gets one, and the one that was due is made by it."""
    world = World(path)
    world.save("one")
    world.threads.finish(OSError("no"))
    for _ in range(100):
        world.state.save_soon()
    world.clock.advance(PATIENCE)
    assert world.threads.begun == []
    world.save("two")
    world.threads.finish()
    assert world.outcomes[1:] == ["two"] and world.clock.getDelayedCalls() == []


def test_what_is_wanted_is_stored_when_a_write_of_it_has_ended(path: Path) -> None:
    """One that hangs has not failed, and yet a restart would not know. Logins that are not written do not matter."""
    world = World(path)
    assert world.state.is_stored
    world.save("one")
    world.state.target = DISABLED
    world.save("two")
    world.threads.finish()
    assert world.state.is_stored is False
    world.threads.finish()
    assert world.state.is_stored
    world.save("three")
    world.threads.finish(OSError("no"))
    assert world.state.is_stored and World(None).state.is_stored is None


def test_changes_that_nobody_waits_for_are_written_together(path: Path) -> None:
    """A thousand clients log in: few writes, and soon."""
    world = World(path)
    for _ in range(100):
        world.state.save_soon()
    assert world.threads.begun == [] and len(world.clock.getDelayedCalls()) == 1
    world.clock.advance(PATIENCE)
    assert len(world.threads.begun) == 1
    world.state.save_soon()
    world.clock.advance(PATIENCE)
    assert len(world.threads.begun) == 1
    world.threads.finish()
    assert len(world.threads.begun) == 1
    world.threads.finish()
    assert world.threads.begun == [] and world.clock.getDelayedCalls() == []


def test_the_end_waits_for_what_is_to_be_written(path: Path) -> None:
    """Both what is being written and what was to be written soon."""
    world = World(path)
    world.save("one")
    world.state.target = DISABLED
    world.state.save_soon()
    ended: list[None] = []
    world.state.close().addCallback(ended.append)
    world.threads.finish()
    assert ended == []
    world.threads.finish()
    assert ended == [None] and world.on_disk().target == DISABLED and world.clock.getDelayedCalls() == []


def test_the_end_does_not_wait_for_nothing(path: Path) -> None:
    """Nor does it write what is written, or fail where a write does."""
    world = World(path)
    ended: list[None] = []
    world.state.close().addCallback(ended.append)
    assert ended == [None] and world.threads.begun == []
    world.save("one")
    world.state.close().addCallback(ended.append)
    for _ in range(2):
        world.threads.finish(OSError("no"))
    assert ended == [None, None] and world.clock.getDelayedCalls() == []


def test_without_a_state_file_nothing_is_written() -> None:
    """And nobody waits."""
    world = World(None)
    world.save("one")
    world.state.save_soon()
    world.state.close()
    assert world.outcomes == ["one"] and world.threads.begun == [] and world.clock.getDelayedCalls() == []


def test_what_is_found_of_target_is_kept_where_it_is_new(path: Path, view: ClusterView) -> None:
    """Control connections find the same again and again."""
    world = World(path)
    world.state.learn(view)
    world.clock.advance(PATIENCE)
    world.threads.finish()
    assert world.on_disk().known == KnownTarget(auth_required=False, version=4, supported={"CQL_VERSION": ["3.4.6"]})
    world.state.learn(view)
    assert world.clock.getDelayedCalls() == []


def test_logins_of_the_process_before_are_kept_until_somebody_knows_better(path: Path) -> None:
    """A write at the wrong moment must not lose them."""
    world = World(path, SavedState(logins=(LOGIN,)))
    world.save("one")
    world.threads.finish()
    assert world.on_disk().logins == (LOGIN,)


# The start


@pytest.mark.parametrize("before", [True, False, None])
@pytest.mark.parametrize("word", ["true", "False", "LAST"])
def test_target_starts_as_configured_or_as_it_was_last(path: Path, word: str, before: bool | None) -> None:
    """Where nothing was, it is enabled."""
    if before is not None:
        StateFile(str(path)).write(SavedState(target=TargetRecord(enabled=before, generation=4)))
    state = started(state_file=str(path), target_enabled_at_start=word)
    assert state.target.enabled is (word == "true" or (word == "LAST" and before is not False))
    is_changed = state.target.enabled is (before is False)
    assert state.target.generation == (4 if before is not None else 0) + is_changed
    assert StateFile(str(path)).read() == state


def test_who_wants_target_otherwise_at_the_start_is_the_configuration(path: Path) -> None:
    """`status` tells since when and why; what was known of target is known still."""
    StateFile(str(path)).write(SavedState(target=TargetRecord(), logins=(LOGIN,)))
    state = started(lambda: 1764000000.0, state_file=str(path), target_enabled_at_start="false")
    assert state.target == TargetRecord(
        enabled=False,
        since=1764000000.0,
        reason="target_enabled_at_start is false",
        actor="configuration",
        generation=1,
    )
    assert state.logins == (LOGIN,)


def test_a_start_that_agrees_with_what_was_keeps_who_said_so(path: Path) -> None:
    """The reason is still the operator's."""
    StateFile(str(path)).write(SavedState(target=DISABLED))
    assert started(state_file=str(path), target_enabled_at_start="false").target == DISABLED


def test_without_a_state_file_a_start_needs_no_disk() -> None:
    """Most deployments have none."""
    assert started() == SavedState()
    assert not started(target_enabled_at_start="false").target.enabled


def test_a_state_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """It would fail at the first disable otherwise, at the worst of times."""
    missing = tmp_path / "missing" / "state.json"
    with pytest.raises(UnusableFileError) as caught:
        started(state_file=str(missing))
    assert str(caught.value).startswith(f"the state file {missing} cannot be written: No such file or directory.")


def test_a_full_disk_keeps_no_proxy_from_starting_that_has_its_state(path: Path, full_disk: None) -> None:
    """Else all proxies of a host are gone with it, the next time they are restarted."""
    path.write_text(SavedState(target=DISABLED).model_dump_json())
    log = Lines()
    assert started(log=log, state_file=str(path)).target == DISABLED
    assert log.lines == [
        ("error", f"The state file {path} could not be written: [Errno 28] No space left on device. "
        "The proxy starts, and tries it again.")
    ]  # fmt: skip


def test_a_full_disk_stops_the_first_start(path: Path, full_disk: None) -> None:
    """There is no state yet, and somebody is there who has just set this up."""
    with pytest.raises(UnusableFileError, match="cannot be written: No space left on device"):
        started(state_file=str(path))


def test_an_audit_file_on_a_full_disk_keeps_no_proxy_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes are in the log as well."""
    path, log, opened = str(tmp_path / "audit.jsonl"), Lines(), os.open

    def full(name: Any, *others: Any, **named: Any) -> int:
        if name == path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(name, *others, **named)

    monkeypatch.setattr(os, "open", full)
    started(log=log, admin_audit_file=path)
    ((level, text),) = log.lines
    assert level == "error" and text.startswith(f"The audit file {path} could not be opened: [Errno 28]")


def test_a_key_that_overrides_the_state_file_is_warned_of_and_recorded(tmp_path: Path, path: Path) -> None:
    """Left over from the last outage, it takes a sick target in again; then who did that must be seen."""
    audit, log = tmp_path / "audit.jsonl", Lines()
    StateFile(str(path)).write(SavedState(target=DISABLED))
    keys = {"state_file": str(path), "admin_audit_file": str(audit), "target_enabled_at_start": "true"}
    for _ in range(2):
        assert started(lambda: 1764000000.0, log, **keys).target.generation == 5
    assert log.lines == [
        ("warn", f"ZDM_TARGET_ENABLED_AT_START=true overrides the state file {path}, which had target DISABLED "
        "since 1970-01-01T00:00:01.000Z, by ops, sick.")
    ]  # fmt: skip
    (line,) = audit.read_text().splitlines()
    assert json.loads(line) == {
        "time": "2025-11-24T16:00:00.000Z", "peer": "", "actor": "configuration",
        "reason": "target_enabled_at_start is true", "before": "DISABLED", "after": "ENABLED",
    }  # fmt: skip


def test_a_key_that_there_is_no_state_file_for_overrides_nothing(path: Path) -> None:
    """It is what whoever set this up wants."""
    log = Lines()
    started(log=log, state_file=str(path), target_enabled_at_start="false")
    assert log.lines == []


def test_an_audit_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Changes that leave no trace are what it was to prevent."""
    missing = tmp_path / "missing" / "audit.jsonl"
    with pytest.raises(UnusableFileError) as caught:
        started(admin_audit_file=str(missing))
    assert str(caught.value).startswith(f"the audit file {missing} cannot be written: No such file or directory.")


def test_an_audit_file_is_only_looked_at_by_a_start(tmp_path: Path) -> None:
    """What is in it stays."""
    audit = tmp_path / "audit.jsonl"
    audit.write_text("a line\n")
    started(admin_audit_file=str(audit))
    assert audit.read_text() == "a line\n"


def test_reading_the_state_writes_nothing(path: Path) -> None:
    """`zdm-proxy check` may run beside the proxy whose file it is."""
    read_state(config(state_file=str(path), target_enabled_at_start="false"))
    assert not path.exists()


@pytest.mark.parametrize(("key", "kind"), [("state_file", "state"), ("admin_audit_file", "audit")])
def test_places_can_be_checked_without_writing(tmp_path: Path, key: str, kind: str) -> None:
    """By `zdm-proxy check`, before the proxy is started."""
    check_places(config())
    check_places(config(**{key: str(tmp_path / "file")}))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    check_places(config(**{key: str(tmp_path / "file")}))
    missing = tmp_path / "missing" / "file"
    with pytest.raises(UnusableFileError) as caught:
        check_places(config(**{key: str(missing)}))
    assert str(caught.value).startswith(f"the {kind} file {missing} cannot be written: {missing.parent} must be there")


def test_work_can_be_done_at_once() -> None:
    """Where there is no reactor yet."""
    results: list[int] = []
    at_once(lambda: 7).addCallback(results.append)
    failures: list[Failure] = []
    at_once(lambda: 1 // 0).addErrback(failures.append)
    assert results == [7] and failures[0].check(ZeroDivisionError)
