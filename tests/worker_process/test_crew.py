"""Workers in processes of their own: how they are started, told, replaced and ended."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from tests import frames
from tests.net.wires import ORIGIN, TARGET
from tests.worker_process.crews import OPTIONS, World
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.target_switch import FOLLOWING
from zdm.worker_process.crew import FIRST_PAUSE, LONGEST_PAUSE, STEADY
from zdm.worker_process.remote import PATIENCE, START_PATIENCE, described

WRITE = "INSERT INTO ks.t (k) VALUES (1)"


@pytest.fixture
def world() -> World:
    return World().serve()


def test_clients_are_served_when_every_worker_is_there() -> None:
    """Else the first one to come would get all the clients that have waited."""
    world = World()
    world.crew.start()
    fired = world.opened()
    world.settle()
    assert fired == [] and len(world.processes) == 2
    client = world.connect()
    world.processes[1].is_stopped = True
    world.apply()
    world.settle()
    assert fired == [] and world.processes[0].clients == []
    world.processes[1].is_stopped = False
    world.settle()
    assert fired == [None] and sum(world.counts()) == 1
    assert world.log.texts("info") == ["Worker 1 serves, as process 1000.", "Worker 2 serves, as process 1001."]
    assert [process.log.shown for process in world.processes] == [("INFO", "json")] * 2
    assert [process.options for process in world.processes] == [OPTIONS] * 2
    assert world.opened() == [None]
    client.close()


def test_a_worker_that_cannot_start_does_not_keep_the_others_from_serving() -> None:
    """One that serves is better than none, and the other is tried again."""
    world = World()
    world.crew.start()
    world.apply()
    fired = world.opened()
    world.processes[0].end(1)
    world.settle()
    assert fired == [None] and [process.number for process in world.running] == [2]
    assert world.log.texts("error") == [
        "Worker 1 (process 1000) ended with exit code 1, with 0 client connections. It is started again in 0.1 s."
    ]
    world.pass_time(FIRST_PAUSE)
    assert [process.number for process in world.running] == [1, 2]


def test_without_any_worker_nobody_is_told_that_clients_are_served() -> None:
    """The proxy is ready when the first one is."""
    world = World()
    world.stillborn = True
    world.crew.start()
    world.apply()
    fired = world.opened()
    for process in list(world.processes):
        process.end(-signal.SIGSEGV)
    world.settle()
    assert fired == [] and "was ended by SIGSEGV" in world.log.texts("error")[0]
    world.stillborn = False
    world.pass_time(1)
    assert fired == [None]


def test_a_process_that_says_nothing_is_killed_and_tried_again() -> None:
    """An interpreter that hangs in an import."""
    world = World(1)
    world.stillborn = True
    world.crew.start()
    world.pass_time(START_PATIENCE - 1)
    assert world.log.texts("error") == []
    world.pass_time(1.5)
    assert world.log.texts("error")[0] == "Worker 1 (process 1000) does not answer; it is killed."
    world.pass_time(1)
    assert len(world.processes) == 2


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    """The machine is out of processes for a while."""
    world = World(1)
    world.fork_fault = OSError(11, "Resource temporarily unavailable")
    world.crew.start()
    world.apply()
    fired = world.opened()
    assert "Worker 1 cannot be started: [Errno 11] Resource temp" in world.log.texts("error")[0]
    world.fork_fault = None
    world.pass_time(FIRST_PAUSE)
    assert fired == [None] and world.scrape().worker_restarts == 0


def test_a_generation_is_acknowledged_when_all_workers_have_it(world: World) -> None:
    """The switch of target is answered then, and not before."""
    world.processes[1].is_stopped = True
    acknowledged = world.apply(is_on=False)
    world.settle()
    assert [process.worker.shared.snapshot.target_enabled for process in world.processes] == [False, True]
    assert acknowledged == []
    world.processes[1].is_stopped = False
    world.settle()
    assert acknowledged == [2] and not world.processes[1].worker.shared.snapshot.target_enabled


def test_a_worker_that_does_not_answer_is_killed_and_has_reached_the_generation_so(world: World) -> None:
    """Its sessions send nothing any more, and who takes its place begins with the newest generation."""
    hung = world.processes[1]
    hung.is_stopped = True
    acknowledged = world.apply(is_on=False)
    world.pass_time(PATIENCE - 0.1)
    assert acknowledged == [] and hung.is_running
    world.pass_time(0.1)
    assert acknowledged == [2] and not hung.is_running
    assert world.log.texts("error")[0] == "Worker 2 (process 1001) does not answer; it is killed."
    assert len(world.log.texts("info")) == 2 and world.scrape().worker_restarts == 1
    world.pass_time(1)
    new = world.running[1]
    assert new.pid == 1002 and not new.worker.shared.snapshot.target_enabled


def test_the_switch_waits_longer_than_for_a_worker_that_hangs() -> None:
    """Its answer is then that target is off for all, and not that somebody may be left."""
    assert FOLLOWING > PATIENCE + 2


def test_a_generation_has_not_reached_a_worker_that_is_killed_but_not_buried(world: World) -> None:
    """Until the kernel says so, it may still send something."""
    dying = world.processes[1]
    acknowledged = world.apply(is_on=False)
    dying.end(-9)
    while any([process.deliver() for process in world.processes]):
        pass
    assert acknowledged == []
    world.settle()
    assert acknowledged == [2]


def test_a_generation_given_while_a_worker_starts_is_the_one_it_begins_with() -> None:
    """It says hello after the switch was answered."""
    world = World().serve()
    world.stillborn = True
    world.processes[0].end(1)
    world.pass_time(1)
    late = world.processes[2]
    acknowledged = world.apply(is_on=False)
    world.settle()
    assert acknowledged == [2]
    late.is_stopped = False
    late.hosted.makeConnection(late.theirs)
    world.settle()
    assert not late.worker.shared.snapshot.target_enabled and late.worker.shared.snapshot.generation == 2


def test_a_worker_that_dies_takes_its_own_clients_only(world: World) -> None:
    """And is counted."""
    first, second = world.processes
    one, other = world.client(first), world.client(second)
    second.end(-signal.SIGKILL)
    world.settle()
    assert world.crew.clients() == 1
    assert world.log.texts("error") == [
        "Worker 2 (process 1001) was ended by SIGKILL, with 1 client connections. It is started again in 0.1 s."
    ]
    one.sends(frames.query(1, WRITE))
    one.answer_all(frames.void())
    assert one.wire.take() == [frames.void(1)] and other.wire.take() == []
    assert world.crew.pids() == [1000]
    world.pass_time(1)
    assert world.scrape().worker_restarts == 1 and world.crew.pids() == [1000, 1002]


def test_the_pauses_before_a_new_start_grow_until_a_worker_serves_steadily() -> None:
    """One that cannot start must not use up the machine."""
    world = World(1).serve()
    for _ in range(20):
        world.running[-1].end(1)
        world.pass_time(LONGEST_PAUSE)
    pauses = [float(line.rpartition(" in ")[2].removesuffix(" s.")) for line in world.log.texts("error")]
    assert pauses[0] == FIRST_PAUSE and max(pauses) > 10 and max(pauses) <= LONGEST_PAUSE
    world.pass_time(STEADY)
    world.running[-1].end(1)
    world.settle()
    assert world.log.texts("error")[-1].endswith("in 0.1 s.")


def test_counters_are_summed_and_outlive_their_worker(world: World) -> None:
    """One /metrics for all; a counter never falls."""
    for process in world.processes:
        client = world.client(process)
        client.sends(frames.query(1, WRITE))
        client.answer_all(frames.void())
        client.sends(frames.query(2, WRITE))
    world.client(world.processes[0])
    meter = world.scrape()
    assert (meter.client_connections, meter.writes.inflight, meter.writes.begun) == (3, 2, 4)
    each = world.crew.by_worker()
    assert {number: (one.client_connections, one.requests()) for number, one in each.items()} == {1: (2, 2), 2: (1, 2)}
    world.processes[0].end(1)
    world.settle()
    meter = world.scrape()
    assert (meter.client_connections, meter.writes.inflight, meter.writes.begun) == (1, 1, 4)
    world.pass_time(1)
    assert world.scrape().writes.begun == 4 and world.scrape().worker_restarts == 1
    assert [one.requests() for one in world.crew.by_worker().values()] == [2, 2]


def test_a_scrape_does_not_wait_for_a_worker_that_hangs(world: World) -> None:
    """What it had counted when it was asked last is shown."""
    world.client(world.processes[0]).sends(frames.query(1, WRITE))
    assert world.scrape().writes.begun == 1
    world.processes[0].is_stopped = True
    scraped: list[Any] = []
    world.crew.scrape().addCallback(scraped.append)
    world.pass_time(PATIENCE)
    assert scraped[0].writes.begun == 1 and scraped[0].writes.inflight == 1
    meter = world.scrape()
    assert (meter.writes.begun, meter.writes.inflight, meter.worker_restarts) == (1, 0, 1)


def test_attaching_clients_of_all_workers_are_counted(world: World) -> None:
    """The API says ATTACHING until there are none."""
    clients = [world.client(process) for process in world.processes]
    world.apply(is_on=False)
    world.pass_time(10)
    acknowledged = world.apply()
    world.settle()
    assert acknowledged == [3] and world.crew.attaching() == 2
    for client in clients:
        client.attach(TARGET)
        client.introduce(TARGET)
        world.pass_time(0.11)
    assert world.crew.attaching() == 0


def test_a_client_that_loses_its_target_is_seen_to_attach_again(world: World) -> None:
    """Not at once, because nobody waits for it: within a second."""
    client = world.client(world.processes[0])
    client.clusters[TARGET].end()
    world.pass_time(1)
    assert world.crew.attaching() == 1
    world.processes[0].end(1)
    world.settle()
    assert world.crew.attaching() == 0


def test_logins_are_known_to_the_supervisor_alone(world: World) -> None:
    """What one worker has learned of them holds for all, and for the state file."""
    one, other = (process.hosted for process in world.processes)
    good, bad = Credentials("user", "päss\0word" * 20_000), Credentials("user", "wrong")
    one.accepted(good)
    one.refused(bad)
    world.settle()
    assert world.logins.told == [(good, True), (bad, False)]
    known: list[Recognition] = []
    for credentials in (good, bad):
        other.verify(credentials).addCallback(known.append)
    world.settle()
    assert known == [Recognition.KNOWN, Recognition.UNSEEN]


def test_whoever_asks_for_a_login_may_go_before_the_answer(world: World) -> None:
    """His client has closed its connection."""
    hosted, failed = world.processes[0].hosted, []
    verifying = hosted.verify(Credentials("user", "password"))
    verifying.addErrback(lambda failure: failed.append(failure.type))
    verifying.cancel()
    world.settle()
    assert failed == [CancelledError] and world.processes[0].is_running


def test_changes_of_the_schema_reach_the_supervisor_once_for_all_sessions(world: World) -> None:
    """Every session of a worker hears of each."""
    hosted = world.processes[0].hosted
    for _ in range(100):
        hosted._refresh_schema()
    world.settle()
    assert world.refreshed == 1
    hosted._refresh_schema()
    world.settle()
    assert world.refreshed == 2


def test_a_drain_is_over_when_all_workers_are_through(world: World) -> None:
    """Requests in flight are answered; nobody is started again meanwhile."""
    first, second = world.processes
    busy, idle = world.client(first), world.client(second)
    busy.sends(frames.query(1, WRITE))
    drained: list[None] = []
    world.crew.drain(30.0).addCallback(drained.append)
    world.settle()
    assert idle.wire.ended and not busy.wire.ended and drained == []
    second.end(1)
    world.pass_time(1)
    assert len(world.processes) == 2 and world.log.texts("error") == []
    busy.answer_all(frames.void())
    world.settle()
    assert busy.wire.take() == [frames.void(1)] and drained == [None]


def test_a_drain_ends_with_a_worker_that_hangs(world: World) -> None:
    """The limit holds, with a little for the answer to travel."""
    world.processes[0].is_stopped = True
    drained: list[None] = []
    world.crew.drain(3.0).addCallback(drained.append)
    world.pass_time(3.0 + PATIENCE - 0.1)
    assert drained == []
    world.pass_time(0.1)
    assert drained == [None]


def test_a_close_ends_all_processes_and_waits_for_their_end(world: World) -> None:
    """In good order where they let themselves be told."""
    hung = world.processes[1]
    hung.is_stopped = True
    closed: list[None] = []
    world.crew.close().addCallback(closed.append)
    world.settle()
    assert world.processes[0].code == 0 and hung.is_running and closed == []
    assert len(world.clock.getDelayedCalls()) == 2, "those of the one that hangs: its own, and its end"
    world.pass_time(2.0)
    assert hung.code == -9 and closed == [None]
    assert len(world.processes) == 2 and world.log.texts("error") == []
    assert world.clock.getDelayedCalls() == []


def test_a_close_leaves_nothing_that_is_about_to_start() -> None:
    """A worker that waits for its turn is not started, one that starts is killed, one that was late is sent away."""
    world = World(3)
    world.crew.start()
    waits, starts, late = world.processes
    waits.end(1)
    starts.is_stopped = True
    starts.ours.arriving.clear()
    while waits.deliver():
        pass
    world.clock.advance(0)
    assert len(world.log.texts("error")) == 1
    closed: list[None] = []
    world.crew.close().addCallback(closed.append)
    world.pass_time(LONGEST_PAUSE)
    assert not world.running and closed == [None] and len(world.processes) == 3
    assert world.clock.getDelayedCalls() == []


def test_a_worker_whose_channel_breaks_is_killed(world: World) -> None:
    """Nobody could tell it any more that target is off: it must not go on."""
    process = world.processes[0]
    process.is_stopped = True
    process.theirs.vanish()
    while process.deliver():
        pass
    assert process.code == -signal.SIGKILL


def test_a_worker_that_serves_is_not_taken_for_one_that_does_not_start(world: World) -> None:
    """Long after its start."""
    world.pass_time(START_PATIENCE + 1)
    assert [process.pid for process in world.running] == [1000, 1001] and world.log.texts("error") == []


def test_a_worker_ends_with_its_supervisor(world: World) -> None:
    """Its channel is closed: nobody could tell it that target is off."""
    process = world.processes[0]
    process.ours.vanish()
    process.deliver()
    assert process.code == 0


@pytest.mark.parametrize(
    ("code", "text"),
    [(3, "ended with exit code 3"), (-9, "was ended by SIGKILL"), (-1000, "was ended by signal 1000")],
)
def test_the_end_of_a_process_is_told_in_words(code: int, text: str) -> None:
    """Operators search for the signal's name."""
    assert described(code) == text


def test_a_session_of_each_worker_dials_both_clusters(world: World) -> None:
    """It has the hosts of the generation."""
    for process in world.processes:
        with world.connect():
            world.settle()
        assert {process.attempt(side).endpoint.port for side in (ORIGIN, TARGET)} == {9042}


def test_what_is_shown_is_told_to_all_workers_and_to_those_to_come(world: World) -> None:
    """SIGHUP is the supervisor's; each worker writes lines of its own."""
    world.crew.configure_log("DEBUG", "logfmt")
    world.settle()
    assert [process.log.shown for process in world.running] == [("DEBUG", "logfmt")] * 2
    world.running[0].end(1)
    world.settle()
    world.pass_time(FIRST_PAUSE)
    assert world.processes[-1].pid == 1002 and world.processes[-1].log.shown == ("DEBUG", "logfmt")
