"""The shell around a session, with wires instead of sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, TARGET, Client, Stage, Wire
from tests.stage import under
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.state import Phase
from zdm.net.cluster import LINGER

pytestmark = pytest.mark.usefixtures("faults")

WRITE = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"
TIMEOUT = 10.0


# Turns


def test_both_clusters_are_dialled_as_soon_as_a_client_connects(stage: Stage) -> None:
    """A driver waits for the slower of the two, not for their sum."""
    stage.client()
    assert [attempt.endpoint for attempt in stage.attempts] == [HOSTS[ORIGIN][1], HOSTS[TARGET][1]]


def test_what_arrives_together_leaves_in_one_write_for_each_connection(stage: Stage) -> None:
    """The system calls are what a request costs."""
    client = stage.ready_client()
    requests = [frames.query(stream, WRITE) for stream in range(5)]
    client.sends(*requests)
    for side in CLUSTERS:
        assert client.clusters[side].writes == [b"".join(requests)]
    answers = b"".join(frames.void(stream) for stream in range(5))
    client.clusters[ORIGIN].protocol.dataReceived(answers)
    assert client.wire.writes == []
    client.clusters[TARGET].protocol.dataReceived(answers)
    assert client.wire.writes == [answers]


def test_a_turn_with_nothing_to_write_writes_nothing(stage: Stage) -> None:
    """Half a frame is no reason for a system call."""
    client = stage.ready_client()
    request = frames.query(1, WRITE)
    client.sends(request[:20])
    assert all(wire.writes == [] for wire in (client.wire, *client.clusters.values()))
    client.sends(request[20:])
    assert client.clusters[TARGET].take() == [request]


def test_notes_and_schema_changes_reach_the_worker(stage: Stage) -> None:
    """Rare effects are commands; each has its receiver."""
    client = stage.ready_client()
    client.sends(frames.query(1, "CREATE TABLE ks.u (k int PRIMARY KEY)"))
    client.answer_all(frames.schema_change())
    assert stage.refreshed == [None]
    client.clusters[TARGET].end()
    assert any("TARGET" in text and "127.0.90.200:50000" in text for _, text in stage.log.lines)


# The timer


def test_the_timer_is_set_once_for_many_requests(stage: Stage) -> None:
    """A timer for each request would cost more than the request."""
    client = stage.ready_client()
    stage.clock.advance(TIMEOUT + 1)
    assert stage.timers() == []  # that of the handshake is over
    client.sends(frames.query(1, READ))
    due = stage.timers()
    stage.clock.advance(0)
    for stream in range(2, 20):
        client.sends(frames.query(stream, READ))
    assert stage.timers() == due == [pytest.approx(TIMEOUT, abs=0.01)]


def test_a_request_that_is_held_sets_the_timer_sooner() -> None:
    """It may be sent elsewhere for as long as it was sent nowhere, so it waits less."""
    stage = Stage(attach_hold=2.0)
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    client.clusters[TARGET].end()
    client.sends(frames.query(2, WRITE))
    assert stage.timers()[0] == pytest.approx(2.0, abs=0.01)
    stage.clock.advance(2.1)
    (answer,) = client.wire.take()
    assert answer[2:5] == b"\x00\x02\x00" and b"not ready in time" in answer


def test_a_request_without_an_answer_expires() -> None:
    """Nobody waits for ever; the one timer is set anew for the request that is left."""
    stage = Stage(answer_timeouts=True)
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    stage.clock.advance(4)
    client.sends(frames.query(2, READ))
    stage.clock.advance(6.01)
    assert [answer[2:5] for answer in client.wire.take()] == [b"\x00\x01\x00"]
    assert stage.timers() == [pytest.approx(4.0, abs=0.02)]
    stage.clock.advance(4)
    assert [answer[2:5] for answer in client.wire.take()] == [b"\x00\x02\x00"]


# Faults


class _Broken:
    """Stands in for something that a session relies on."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError("a fault of ours")

    def __contains__(self, item: object) -> bool:
        raise ZeroDivisionError("a fault of ours")


@pytest.mark.parametrize("by", ["client", "cluster", "timer", "lost", "snapshot"])
def test_a_fault_ends_one_session_and_is_logged(by: str, stage: Stage, faults: list[str]) -> None:
    """One client's trouble is not the others', and the operator learns of it."""
    broken, other = stage.ready_client(), stage.ready_client()
    broken.sends(frames.query(1, READ))
    (request,) = broken.clusters[ORIGIN].take()
    wrong: Any = _Broken()
    if by == "snapshot":
        broken.connection.apply(stage.snapshot(2, wrong))
    else:
        broken.connection.session.state.snapshot = wrong
    if by == "timer":
        stage.clock.advance(TIMEOUT + 1)
    elif by == "client":
        broken.sends(frames.query(2, READ))
    elif by == "cluster":
        broken.answer(ORIGIN, request, frames.void())
    elif by == "lost":
        broken.clusters[TARGET].end()
    stage.settle()
    assert broken.wire.ended == "ConnectionAborted"
    assert {wire.ended for wire in broken.clusters.values()} == {"ConnectionDone"}
    assert stage.worker.clients() == 1
    other.sends(frames.query(5, READ))
    other.answer_all(frames.void())
    assert other.wire.take() == [frames.void(5)]
    assert faults == ["A fault in the session of one client; its connection is closed. a fault of ours"]
    faults.clear()


def test_a_fault_at_the_very_start_ends_that_client(stage: Stage, faults: list[str]) -> None:
    """The first turn is outside of what the event loop's transport can blame on a session."""
    stage.worker._dialers.clear()
    client = stage.client()
    stage.settle()
    assert client.wire.ended == "ConnectionAborted" and stage.worker.clients() == 0
    assert len(faults) == 1
    faults.clear()


def test_a_dial_that_fails_for_a_reason_of_ours_is_a_fault(stage: Stage, faults: list[str]) -> None:
    """An operator who reads `could not be opened` looks for the cause in the network."""
    client = stage.client()
    stage.attempt(ORIGIN).refuse(ZeroDivisionError("a fault of ours"))
    stage.settle()
    assert client.wire.ended == "ConnectionAborted"
    assert stage.meter.failed_connections_origin == 0
    assert faults == ["A fault in the session of one client; its connection is closed. a fault of ours"]
    faults.clear()


# Opening


@pytest.mark.parametrize("side", CLUSTERS)
def test_a_cluster_that_cannot_be_reached_costs_the_client_its_connection(side: Side, stage: Stage) -> None:
    """Counted for the cluster, said once, and the other connection is not left behind."""
    client = stage.client()
    other = client.attach(TARGET if side is ORIGIN else ORIGIN)
    for _ in range(20):
        for attempt in [one for one in stage.attempts if not one.attached.called]:
            attempt.refuse()
        stage.clock.advance(0.5)
    assert client.wire.ended == other.ended == "ConnectionDone"
    counted = stage.meter.failed_connections_origin, stage.meter.failed_connections_target
    assert counted == ((1, 0) if side is ORIGIN else (0, 1))
    (line,) = stage.log.texts("error")
    assert line.startswith(f"Client Handler could not be created: no connection to {side.name} for client 127.0.90.200")
    assert stage.timers() == []


def test_a_client_that_goes_away_cancels_what_is_being_dialled(stage: Stage) -> None:
    """It is nobody's failure, so it is neither counted nor told."""
    client = stage.client()
    client.wire.end()
    assert [attempt.is_cancelled for attempt in stage.attempts] == [True, True]
    assert stage.meter.failed_connections_origin == stage.meter.failed_connections_target == 0
    assert stage.log.texts("error") == [] and stage.timers() == [] and stage.worker.clients() == 0


def test_a_client_that_goes_away_between_two_attempts_cancels_the_next(stage: Stage) -> None:
    """The pause of a dial is a timer, which would otherwise outlive the client."""
    client = stage.client()
    for attempt in stage.attempts[:2]:
        attempt.refuse()
    for attempt in stage.attempts[2:4]:
        attempt.refuse()
    assert len(stage.timers()) == 2
    client.wire.end()
    assert stage.timers() == []


def test_a_cluster_connection_that_opens_after_the_client_is_gone_is_closed(stage: Stage) -> None:
    """An attempt may be past cancelling; the socket must not be leaked."""
    client = stage.client()
    attempt = stage.attempt(ORIGIN)
    client.wire.end()
    late = attempt.accept()
    stage.settle()
    assert late.ended == "ConnectionAborted"


def test_a_cluster_connection_that_ends_before_it_is_attached_is_lost_once(stage: Stage) -> None:
    """Between the open socket and the session's use of it lies a turn of the loop."""
    client = stage.client()
    attempt = stage.attempt(ORIGIN)
    attempt.open().end()
    attempt.succeed()
    stage.settle()
    assert client.wire.ended == "ConnectionDone"
    assert len([text for _, text in stage.log.lines if "closed as soon as it was open" in text]) == 1


def test_target_is_dialled_again_after_it_was_lost(stage: Stage) -> None:
    """The next write asks for it and waits for it."""
    client = stage.ready_client()
    client.clusters[TARGET].end()
    client.sends(frames.query(7, WRITE))
    assert client.clusters[ORIGIN].take() == []
    client.attach(TARGET)
    client.introduce(TARGET)
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(7)]


# The end


def test_what_was_opened_for_a_client_is_closed_with_it(stage: Stage) -> None:
    """Three connections and a timer, for each of thousands of clients."""
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    client.wire.end()
    stage.settle()
    assert {wire.ended for wire in client.clusters.values()} == {"ConnectionDone"}
    assert stage.timers() == [] and stage.worker.clients() == 0
    assert stage.meter.reads_origin.inflight == 0


def test_cluster_connections_are_closed_at_once_when_a_session_ends_by_itself(stage: Stage) -> None:
    """The client may take its time to read the last answer."""
    client = stage.client(is_stuck=True).open().become_ready()
    client.clusters[ORIGIN].end()
    stage.settle()
    assert client.clusters[TARGET].ended and not client.wire.ended
    assert client.connection.session.phase is Phase.CLOSED


def test_a_client_that_does_not_read_its_last_answer_is_cut_off(stage: Stage) -> None:
    """A close waits for the other end, which may be gone without a word."""
    client = stage.client(is_stuck=True).open().become_ready()
    client.clusters[ORIGIN].end()
    stage.clock.advance(LINGER - 0.1)
    assert client.wire.has_ended("")
    stage.clock.advance(0.1)
    stage.settle()
    assert client.wire.has_ended("ConnectionAborted")
    assert stage.timers() == [] and stage.worker.clients() == 0


def test_a_cluster_that_takes_nothing_does_not_keep_a_dead_clients_connection(stage: Stage) -> None:
    """Each reconnect of the client would leak a socket for as long as the host hangs."""
    client = stage.ready_client(stuck_clusters=True)
    client.wire.end()
    stage.clock.advance(LINGER)
    stage.settle()
    assert {wire.ended for wire in client.clusters.values()} == {"ConnectionAborted"}
    assert stage.timers() == []


def test_bytes_after_the_end_are_of_no_consequence(stage: Stage) -> None:
    """What was on its way when the session ended still arrives."""
    client = stage.ready_client()
    client.clusters[ORIGIN].end()
    client.sends(frames.query(1, READ))
    client.clusters[TARGET].protocol.dataReceived(frames.void(1))
    stage.settle()
    assert client.wire.take() == []


# Snapshots and draining


def test_a_new_snapshot_reaches_every_session(stage: Stage) -> None:
    """Clients live for weeks, and what is known changes."""
    clients = [stage.ready_client(), stage.client()]
    told: list[int] = []
    stage.worker.apply(stage.snapshot(2)).addCallback(told.append)
    assert told == [2]
    assert [client.connection.session.state.snapshot.generation for client in clients] == [2, 2]


def test_a_host_that_is_gone_drains_its_clients() -> None:
    """In flight is answered, then the driver connects anew and gets a host that is there."""
    stage = Stage(known=frozenset(HOSTS[ORIGIN]))
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    stage.worker.apply(stage.snapshot(2, frozenset(HOSTS[ORIGIN][:1])))
    stage.settle()
    assert client.wire.has_ended("")
    client.sends(frames.query(2, READ))
    assert b"Shutting down, please retry on next host." in client.wire.take()[0]
    client.answer_all(frames.void())
    stage.settle()
    assert client.wire.take() == [frames.void(1)] and client.wire.has_ended("ConnectionDone")
    assert stage.log.texts("info").count("ORIGIN host 127.0.90.2:9042 is gone; draining its client connections.") == 1


def test_clients_of_hosts_that_stay_are_left_alone() -> None:
    """And so are all where hosts are not assigned."""
    stage = Stage(known=frozenset(HOSTS[ORIGIN]))
    client = stage.ready_client()
    stage.worker.apply(stage.snapshot(2, frozenset(HOSTS[ORIGIN][1:])))
    stage.worker.apply(stage.snapshot(3))
    assert client.connection.session.phase is Phase.READY


def test_a_host_that_went_while_it_was_dialled_drains_too() -> None:
    """Nobody would look at it again before the next change."""
    stage = Stage(known=frozenset(HOSTS[ORIGIN]))
    client = stage.client()
    stage.worker.apply(stage.snapshot(2, frozenset(HOSTS[ORIGIN][:1])))
    client.attach(ORIGIN)
    stage.settle()
    assert client.wire.ended == "ConnectionDone"


# Connections that are full


def full(client: Client, side: Side) -> Wire:
    wire = client.wire if side is Side.CLIENT else client.clusters[side]
    wire.fill()
    return wire


def read(client: Client) -> tuple[bool, bool, bool]:
    """Which are read: the client, origin, target."""
    return client.wire.is_read, client.clusters[ORIGIN].is_read, client.clusters[TARGET].is_read


def test_a_client_that_does_not_read_is_not_read_for_and_not_read(stage: Stage) -> None:
    """Its answers would pile up here, and so would those to what it goes on asking."""
    client = stage.ready_client()
    assert read(client) == (True, True, True)
    wire = full(client, Side.CLIENT)
    assert read(client) == (False, False, False)
    wire.empty()
    assert read(client) == (True, True, True)


def test_a_client_that_is_slow_loses_neither_answers_nor_its_clusters() -> None:
    """Nobody reads the answers that are there: that is not the clusters' silence, and not the requests' time."""
    stage = Stage(answer_timeouts=True, client_stall=None)
    client = stage.ready_client()
    client.sends(*(frames.query(stream, READ) for stream in range(300)))
    stage.clock.advance(TIMEOUT - 1)
    full(client, Side.CLIENT)
    for _ in range(50):
        stage.clock.advance(TIMEOUT / 5)
    assert len(stage.timers()) == 1 and stage.timers()[0] > 1, "nothing can expire, so nobody looks all the time"
    client.wire.empty()
    assert stage.timers() == [pytest.approx(1, abs=0.01)], "what was left of the requests' time"
    for request in client.clusters[ORIGIN].take()[:299]:
        client.answer(ORIGIN, request, frames.void())
    assert client.wire.take() == [frames.void(stream) for stream in range(299)]
    stage.clock.advance(1.1)
    assert [answer[2:5] for answer in client.wire.take()] == [b"\x01\x2b\x00"]
    assert stage.log.texts("warn") == [] and client.wire.is_read


def test_a_cluster_that_owes_an_answer_is_not_given_up_while_nobody_reads_it() -> None:
    """It may have sent it long since."""
    stage = Stage(client_stall=None)
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    stage.clock.advance(TIMEOUT + 0.1)
    full(client, Side.CLIENT)
    for _ in range(10):
        stage.clock.advance(TIMEOUT)
    client.wire.empty()
    stage.clock.advance(TIMEOUT)
    assert not client.wire.ended and stage.log.texts("warn") == []
    stage.clock.advance(3 * TIMEOUT)
    stage.settle()
    assert client.wire.ended, "it is silent indeed"


def test_short_waits_for_a_client_gather() -> None:
    """One that is drained many times a second is slow as well."""
    stage = Stage(answer_timeouts=True)
    client = stage.ready_client()
    client.sends(frames.query(1, READ))
    for _ in range(200):
        full(client, Side.CLIENT)
        stage.clock.advance(0.1)
        client.wire.empty()
        stage.clock.advance(0.01)
    assert client.wire.take() == []
    stage.clock.advance(TIMEOUT)
    assert [answer[2:5] for answer in client.wire.take()] == [b"\x00\x01\x00"]


@pytest.mark.parametrize("side", CLUSTERS)
def test_a_cluster_that_takes_nothing_stops_its_client(side: Side, stage: Stage) -> None:
    """Answers are still read: they are what lets the cluster go on."""
    client = stage.ready_client()
    before = stage.timers()
    wire = full(client, side)
    assert len(stage.timers()) == len(before) + 1
    assert read(client) == (False, True, True)
    wire.empty()
    assert read(client) == (True, True, True)
    assert stage.timers() == before


def test_a_cluster_connection_that_opens_while_the_client_is_full_waits_too(stage: Stage) -> None:
    """Attached anew, it may bring answers as well as any other."""
    client = stage.ready_client()
    client.clusters[TARGET].end()
    client.sends(frames.query(7, WRITE))
    full(client, Side.CLIENT)
    client.attach(TARGET)
    assert read(client) == (False, False, False)
    client.wire.empty()
    assert read(client) == (True, True, True)


def test_target_that_takes_nothing_for_a_requests_time_is_given_up(stage: Stage) -> None:
    """The client that is not read meanwhile could not even be seen leaving."""
    client = stage.ready_client(stuck_clusters=True)
    full(client, TARGET)
    stage.clock.advance(TIMEOUT + 0.1)
    stage.settle()
    assert client.clusters[TARGET].ended == "ConnectionAborted"
    assert client.wire.is_read and not client.wire.ended
    client.sends(frames.query(1, WRITE))
    client.attach(TARGET)
    client.introduce(TARGET)
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(1)]


def test_origin_that_takes_nothing_for_a_requests_time_ends_the_session(stage: Stage) -> None:
    """As its loss does."""
    client = stage.ready_client(stuck_clusters=True)
    full(client, ORIGIN)
    stage.clock.advance(TIMEOUT + 0.1)
    stage.settle()
    assert client.clusters[ORIGIN].ended == "ConnectionAborted"
    assert client.wire.ended == "ConnectionDone"


def test_a_full_target_that_is_lost_lets_the_client_be_read_again(stage: Stage) -> None:
    """What made it wait is gone."""
    client = stage.ready_client()
    before = stage.timers()
    full(client, TARGET).end()
    assert client.wire.is_read and stage.timers() == before


def test_a_client_that_leaves_while_everything_is_full_leaves_nothing_behind(stage: Stage) -> None:
    """A connection with a registered producer does not close."""
    client = stage.ready_client()
    for side in (Side.CLIENT, ORIGIN, TARGET):
        full(client, side)
    client.wire.end()
    stage.settle()
    assert {wire.ended for wire in client.clusters.values()} == {"ConnectionDone"}
    assert stage.timers() == []


def test_a_full_client_whose_session_ends_can_be_closed(stage: Stage) -> None:
    """What it was sent before is still delivered."""
    client = stage.ready_client()
    full(client, Side.CLIENT)
    client.clusters[ORIGIN].end()
    stage.settle()
    assert client.wire.ended == "ConnectionDone"


def test_a_statement_is_prepared_elsewhere_on_a_connection_of_its_own(stage: Stage) -> None:
    """Cancelled with the client, like all that is done for it."""
    client = stage.ready_client()
    client.sends(frames.prepare(1, "INSERT INTO t (k) VALUES (?)"))
    client.answer_all(frames.prepared(prepared_id=b"id"))
    client.wire.take()
    client.sends(frames.query(2, "USE other"))
    client.answer_all(frames.set_keyspace(keyspace="other"))
    client.wire.take()
    client.sends(frames.execute(3, b"id"))
    (request,) = client.clusters[ORIGIN].take()
    client.answer(ORIGIN, request, frames.unprepared(prepared_id=b"id"))
    errand = stage.attempts[-1]
    assert errand.endpoint == HOSTS[ORIGIN][1] and not errand.attached.called
    client.wire.end()
    assert errand.is_cancelled and stage.log.texts("warn") == []


def test_a_second_use_of_an_id_closes_the_client_after_the_error(stage: Stage) -> None:
    """What a session says last is written before the close."""
    client = stage.ready_client()
    client.sends(frames.query(1, READ), frames.query(1, READ))
    (error,) = client.wire.take()
    assert under(error, 0)[4] == 0 and b"in use" in error
    stage.settle()
    assert client.wire.ended == "ConnectionDone"
