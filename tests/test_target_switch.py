"""The switch of target: what it tells workers, files and the operator, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.at_once import at_once
from tests.net.nodes import Lines
from zdm.admin.switch import Refused, Switch, TargetState
from zdm.config import Config
from zdm.lasting_state import LastingState
from zdm.net.threads import Run
from zdm.state_file import SavedState, StateFile, TargetRecord
from zdm.target_switch import FOLLOWING, PATIENCE, TargetSwitch

NOW = 1764000000.25
DISABLED_LINE = "Target cluster DISABLED via API — no requests will be forwarded to target"
ENABLED_LINE = "Target cluster ENABLED via API — requests will be forwarded to target"
DUAL_ASYNC = (
    "cannot disable target: read_mode is DUAL_ASYNC_ON_SECONDARY, restart proxy with PRIMARY_ONLY to use target toggle"
)
FORWARDED = (
    "cannot disable target: forward_client_credentials_to_origin is enabled, restart proxy without it "
    "to use target toggle"
)
PRIMARY = "cannot disable target: primary_cluster is TARGET, restart proxy with ORIGIN to use target toggle"


class Workers:
    """What the switch turns."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.waiting = 0
        self.is_slow = False
        self.told: list[Deferred[int]] = []

    def target_switched(self) -> Deferred[int]:
        self.generation += 1
        self.told.append(Deferred())
        if not self.is_slow:
            self.told[-1].callback(self.generation)
        return self.told[-1]

    def attaching(self) -> int:
        return self.waiting


class Threads:
    """Work that is begun, and done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], Any], /) -> Deferred[Any]:
        self.begun.append((work, Deferred()))
        return self.begun[-1][1]

    def finish(self) -> None:
        """All that was begun ends, and what that begins."""
        while self.begun:
            work, over = self.begun.pop(0)
            over.callback(work())


class World:
    def __init__(
        self, directory: Path | None = None, saved: SavedState | None = None, run: Run = at_once, **keys: Any
    ) -> None:
        self.directory = directory
        if directory is not None:
            keys |= {"state_file": str(directory / "state.json"), "admin_audit_file": str(directory / "audit.jsonl")}
        self.config = Config(origin_contact_points="127.0.40.1", target_contact_points="127.0.40.11", **keys)
        self.log, self.messages, self.hurried = Lines(), list[str](), list[None]()
        log: Any = self.log
        saved = saved or SavedState()
        self.clock: Any = Clock()
        self.lasting = LastingState(saved, self.config.state_file, run, self.clock, log)
        self.workers = Workers(saved.target.generation)
        self.switch: Switch = TargetSwitch(
            self.config, self.lasting, self.workers, run, self.clock, log,
            lambda: self.hurried.append(None), lambda: NOW,
        )  # fmt: skip

        switch: Any = self.switch
        switch.is_ready = True

    def turn(self, enabled: bool, reason: str = "", actor: str = "", peer: str = "", force: bool = False) -> World:
        def failed(failure: Failure) -> None:
            failure.trap(Refused)
            self.messages.append(f"refused: {failure.getErrorMessage()}")

        self.switch.switch(enabled, reason, actor, peer, force).addCallbacks(self.messages.append, failed)
        return self

    def close(self) -> None:
        switch: Any = self.switch
        switch.close()

    @property
    def state(self) -> TargetState:
        state = self.switch.state()
        assert state is not None
        return state

    def audited(self) -> list[dict[str, str]]:
        assert self.directory is not None
        return [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]


# The state


def test_at_first_target_is_enabled_and_nobody_changed_that() -> None:
    """What an operator sees who has never heard of the switch."""
    assert World().state == TargetState(True, True, "DUAL", 0, None, "", "", 0)


def test_a_change_is_seen_in_the_state() -> None:
    """Who, when and why; and in which generation."""
    world = World().turn(False, "it is sick", "ops", "10.0.0.9:5")
    assert world.state == TargetState(True, False, "ORIGIN_ONLY", 1, NOW, "it is sick", "ops", 0)
    world.turn(True)
    assert world.state == TargetState(True, True, "DUAL", 2, NOW, "", "", 0)


def test_a_state_of_the_process_before_is_as_it_was() -> None:
    """The reason was given days ago."""
    record = TargetRecord(enabled=False, since=5.0, reason="sick", actor="ops", generation=7)
    world = World(saved=SavedState(target=record))
    assert world.state == TargetState(True, False, "ORIGIN_ONLY", 7, 5.0, "sick", "ops", 0)


def test_clients_that_attach_make_the_state_attaching() -> None:
    """Enabled, and not yet all that it means."""
    world = World().turn(False).turn(True)
    world.workers.waiting = 3
    assert (world.state.effective, world.state.attaching) == ("ATTACHING", 3)
    world.turn(False)
    assert world.state.effective == "ORIGIN_ONLY"


def test_what_is_wanted_is_effective_when_every_worker_has_it() -> None:
    """And the generation is that of a change that all have."""
    world = World()
    world.workers.is_slow = True
    world.turn(False)
    assert (world.state.enabled, world.state.effective, world.state.generation) == (False, "DUAL", 0)
    assert world.messages == []
    world.workers.told[0].callback(1)
    assert (world.state.effective, world.state.generation) == ("ORIGIN_ONLY", 1)
    assert world.messages == ["Target disabled"]


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_in_effect_before_clients_are_served(enabled: bool) -> None:
    """`enable --wait` would be told that all clients are attached, of a proxy that waits for its target."""
    world = World().turn(enabled)
    switch: Any = world.switch
    switch.is_ready = False
    assert (world.state.enabled, world.state.effective) == (enabled, None)


def test_the_state_tells_whether_a_restart_will_know(tmp_path: Path) -> None:
    """None: there is no state file, so it never will."""
    assert World().turn(False).state.stored is None
    assert World(tmp_path).turn(False).state.stored is True
    assert World(tmp_path / "gone").turn(False).state.stored is False


def test_there_is_no_state_once_shutdown_has_begun() -> None:
    """503: nothing can be said of what will be."""
    world = World()
    world.close()
    assert world.switch.state() is None


# What is refused


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, None),
        ({"read_mode": "DUAL_ASYNC_ON_SECONDARY"}, DUAL_ASYNC),
        ({"read_mode": "dual_async_on_secondary"}, DUAL_ASYNC),
        ({"forward_client_credentials_to_origin": True}, FORWARDED),
        ({"primary_cluster": "target"}, PRIMARY),
    ],
)
def test_disabling_is_refused_where_the_configuration_makes_it_wrong(keys: dict[str, Any], text: str | None) -> None:
    """Texts that the tools around the reference look for (A.1); the last one is ours (F16)."""
    world = World(**keys).turn(False)
    assert world.messages == ["Target disabled" if text is None else f"refused: {text}"]
    assert world.state.enabled is (text is not None) and len(world.log.lines) == (text is None)
    world.turn(False, force=True).turn(False).turn(True)
    assert world.messages[1:] == ["Target disabled", "Target disabled", "Target enabled"]


def test_what_is_refused_is_not_made_because_it_was_so_when_it_was_asked_for() -> None:
    """Disabled by force, an enable is under way, and a plain disable comes: it is a change by then."""
    world = World(primary_cluster="TARGET")
    world.workers.is_slow = True
    world.turn(False, force=True).turn(True).turn(False)
    for generation in (1, 2):
        world.workers.told[generation - 1].callback(generation)
    assert set(world.messages) == {"Target disabled", "Target enabled", f"refused: {PRIMARY}"} and world.state.enabled


def test_what_is_refused_can_be_forced_and_the_log_says_so() -> None:
    """The operator may know better."""
    world = World(primary_cluster="TARGET").turn(False, "", "", "10.0.0.9:5", force=True)
    assert world.state.effective == "ORIGIN_ONLY"
    assert world.log.texts("warn") == [f"{DISABLED_LINE} (from 10.0.0.9:5; forced)"]


# What is told


@pytest.mark.parametrize(
    ("reason", "actor", "peer", "told"),
    [
        ("", "", "", ""),
        ("it is sick", "ops", "10.0.0.9:5", " (reason: it is sick; by ops from 10.0.0.9:5)"),
        ("", "ops", "10.0.0.9:5", " (by ops from 10.0.0.9:5)"),
        ("it is sick", "10.0.0.9:5", "10.0.0.9:5", " (reason: it is sick; from 10.0.0.9:5)"),
        ("it is sick", "", "", " (reason: it is sick)"),
    ],
)
def test_a_change_is_one_warning_in_the_log(reason: str, actor: str, peer: str, told: str) -> None:
    """Its beginning is the reference's."""
    world = World().turn(False, reason, actor, peer)
    assert world.log.lines == [("warn", DISABLED_LINE + told)]
    world.turn(True, reason, actor, peer)
    assert world.log.lines[1:] == [("warn", ENABLED_LINE + told)]
    assert world.messages == ["Target disabled", "Target enabled"]


@pytest.mark.parametrize("enabled", [True, False])
def test_repeating_a_command_changes_and_logs_nothing(tmp_path: Path, enabled: bool) -> None:
    """Scripts say it to be sure; since and reason stay those of the change."""
    world = World(tmp_path).turn(not enabled).turn(enabled, "first")
    before, lines = world.state, list(world.log.lines)
    world.turn(enabled, "again", "somebody else", "10.0.0.9:5")
    assert (world.state, world.log.lines, len(world.audited())) == (before, lines, 1 + enabled)
    assert len(world.workers.told) == 1 + enabled
    assert world.messages[-1] == ("Target enabled" if enabled else "Target disabled")


def test_a_change_is_in_the_state_file_when_it_is_answered(tmp_path: Path) -> None:
    """A proxy that is killed the moment after starts as it was told."""
    world = World(tmp_path).turn(False, "sick", "ops")
    record = TargetRecord(enabled=False, since=NOW, reason="sick", actor="ops", generation=1)
    assert world.messages == ["Target disabled"]
    assert StateFile(world.config.state_file).read().target == record


def test_a_change_is_a_line_in_the_audit_file(tmp_path: Path) -> None:
    """Who did what is asked long after the logs are gone."""
    world = World(tmp_path).turn(False, "sick", "ops", "10.0.0.9:5").turn(True)
    assert world.audited() == [
        {
            "time": "2025-11-24T16:00:00.250Z", "peer": "10.0.0.9:5", "actor": "ops", "reason": "sick",
            "before": "ENABLED", "after": "DISABLED",
        },
        {
            "time": "2025-11-24T16:00:00.250Z", "peer": "", "actor": "", "reason": "",
            "before": "DISABLED", "after": "ENABLED",
        },
    ]  # fmt: skip


def test_files_that_cannot_be_written_do_not_stop_a_change(tmp_path: Path) -> None:
    """A full disk must not keep a sick target in the path; but whoever calls is told."""
    world = World(tmp_path / "gone").turn(False, "sick", "ops")
    assert world.state.effective == "ORIGIN_ONLY"
    (message,) = world.messages
    done, state, audit = message.split("; ")
    assert done == "Target disabled"
    assert state.startswith("the state file could not be written, so a restart will not know: [Errno 2]")
    assert audit.startswith("the audit file could not be written: [Errno 2]")
    of_state, of_audit = world.log.texts("error")
    assert of_state.startswith(f"The state file {world.config.state_file} could not be written")
    assert of_audit.startswith(f"The audit file {world.config.admin_audit_file} could not be written")
    assert "'reason': 'sick'" in of_audit


def test_a_worker_that_cannot_take_the_change_is_told_of() -> None:
    """What is effective is what was before; the next generation may get through."""
    world = World()
    world.workers.is_slow = True
    world.turn(False)
    world.workers.told[0].errback(ZeroDivisionError("a fault of ours"))
    assert world.messages == ["Target disabled; a worker could not take the change: a fault of ours"]
    assert world.log.texts("error") == ["A worker could not take the change of target's state: a fault of ours"]
    assert (world.state.enabled, world.state.effective) == (False, "DUAL")


def test_a_start_that_waits_is_told_of_a_change_at_once() -> None:
    """Not after the disk."""
    world = World()
    world.workers.is_slow = True
    world.turn(False)
    assert world.hurried == [None]


# Several at a time


def test_changes_are_made_one_after_the_other_in_their_order() -> None:
    """Whatever two operators do, all workers end with what was asked for last."""
    world = World()
    world.workers.is_slow = True
    for enabled in (False, True, False):
        world.turn(enabled)
    for generation in (1, 2, 3):
        assert len(world.workers.told) == generation and world.state.enabled is (generation == 2)
        world.workers.told[-1].callback(generation)
    assert world.messages == ["Target disabled", "Target enabled", "Target disabled"]
    assert (world.state.effective, world.state.generation) == ("ORIGIN_ONLY", 3)


def test_a_repeated_command_is_answered_when_the_first_one_is_done() -> None:
    """Its caller relies on it, too."""
    world = World()
    world.workers.is_slow = True
    world.turn(False).turn(False)
    assert world.messages == []
    world.workers.told[0].callback(1)
    assert world.messages == ["Target disabled"] * 2 and len(world.workers.told) == 1


def test_a_change_that_waited_is_not_made_after_shutdown_began() -> None:
    """Its caller is told 503: then nothing may come of it."""
    world = World()
    world.workers.is_slow = True
    world.turn(False).turn(True)
    world.close()
    world.workers.told[0].callback(1)
    assert len(world.workers.told) == 1 and len(world.log.texts("warn")) == 1
    assert not world.lasting.target.enabled


def test_a_thousand_changes_leave_what_was_asked_for_last() -> None:
    """As the reference's test of its flag."""
    world = World()
    for turn in range(1000):
        world.turn(turn % 2 == 1)
    assert world.state.enabled and world.state.generation == 1000 and len(world.log.texts("warn")) == 1000


# What takes long, and what went wrong before


def test_a_disk_that_hangs_does_not_keep_the_next_change_waiting(tmp_path: Path) -> None:
    """A network disk, or a pipe that nobody reads: the sick target would stay in the path, whatever was called."""
    world = World(tmp_path, run=Threads())
    for turn in range(1, 5):
        world.turn(turn % 2 == 0)
        assert len(world.workers.told) == turn
    assert world.state.enabled and world.state.effective == "DUAL"


def test_an_answer_does_not_wait_long_for_a_disk_and_says_so(tmp_path: Path) -> None:
    """Whoever calls would give up, and not know that it is done."""
    world = World(tmp_path, run=Threads()).turn(False)
    assert world.messages == []
    world.clock.advance(PATIENCE)
    state, audit = (
        "the state file is not written yet, so a restart may not know", "the audit file is not written yet"
    )  # fmt: skip
    assert world.messages == [f"Target disabled; {state}; {audit}"]
    assert world.log.texts("error") == [
        f"The target was switched, but after {PATIENCE:g} s {late}" for late in (state, audit)
    ]


def test_files_that_were_late_are_written_when_the_disk_goes_on(tmp_path: Path) -> None:
    """All lines of the audit file, in their order; and nobody is told a second time."""
    threads = Threads()
    world = World(tmp_path, run=threads).turn(False, "one").turn(True, "two").turn(False, "three")
    world.clock.advance(PATIENCE)
    assert len(threads.begun) == 2, "one thread for each file, however many changes wait"
    threads.finish()
    assert [line["reason"] for line in world.audited()] == ["one", "two", "three"]
    assert StateFile(world.config.state_file).read().target.reason == "three"
    assert len(world.messages) == 3 and world.clock.getDelayedCalls() == []


def test_a_repeated_command_tells_that_the_first_one_is_not_written_yet(tmp_path: Path) -> None:
    """It would hide that a restart may not know."""
    world = World(tmp_path, run=Threads()).turn(False)
    world.clock.advance(PATIENCE)
    world.turn(False)
    world.clock.advance(PATIENCE)
    assert world.messages[1] == "Target disabled; the state file is not written yet, so a restart may not know"


def test_the_end_can_wait_for_the_audit_file(tmp_path: Path) -> None:
    """The last change is the one that is asked for."""
    threads, ended = Threads(), list[None]()
    world = World(tmp_path, run=threads).turn(False)
    switch: Any = world.switch
    switch.recorded().addCallback(ended.append)
    assert ended == []
    threads.finish()
    assert ended == [None] and len(world.audited()) == 1


def test_a_worker_that_is_late_keeps_neither_the_answer_nor_the_next_change() -> None:
    """What came later counts, when it takes the first one at last."""
    world = World()
    world.workers.is_slow = True
    world.turn(False).turn(True)
    world.clock.advance(FOLLOWING - 0.1)
    assert world.messages == []
    world.clock.advance(0.1)
    assert world.messages == ["Target disabled; not every worker has taken the change yet"]
    assert len(world.workers.told) == 2
    world.workers.told[1].callback(2)
    assert world.messages[1:] == ["Target enabled"] and world.state.effective == "DUAL"
    world.workers.told[0].callback(1)
    assert (world.state.effective, world.state.generation) == ("DUAL", 2)


def test_a_repeated_command_writes_what_could_not_be_written_before(tmp_path: Path) -> None:
    """The operator frees the disk and says it again, to be sure."""
    directory = tmp_path / "full"
    world = World(directory).turn(False, "sick", "ops")
    lost = "the state file could not be written, so a restart will not know"
    assert lost in world.messages[0]
    world.turn(False)
    assert world.messages[1].startswith(f"Target disabled; {lost}"), "nothing has changed, nor may that be hidden"
    directory.mkdir()
    world.turn(False)
    assert world.messages[2] == "Target disabled"
    record = StateFile(world.config.state_file).read().target
    assert (record.enabled, record.reason, record.actor) == (False, "sick", "ops")


def test_a_worker_that_did_not_follow_gets_the_change_when_the_command_is_repeated(tmp_path: Path) -> None:
    """As the help of the command says. It is no second change: nothing is logged or audited."""
    world = World(tmp_path)
    world.workers.is_slow = True
    world.turn(False, "sick", "ops")
    world.workers.told[0].errback(ZeroDivisionError("a fault of ours"))
    world.turn(False, "again", "somebody else")
    world.workers.told[1].callback(2)
    assert world.messages[1] == "Target disabled"
    assert world.state == TargetState(True, False, "ORIGIN_ONLY", 2, NOW, "sick", "ops", 0, True)
    assert len(world.log.texts("warn")) == 1 and len(world.audited()) == 1
    assert StateFile(world.config.state_file).read().target.generation == 2
