"""A worker: what it is told and asked, and the sessions it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, TARGET, Stage, Wire
from zdm.core.commands import Note
from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement
from zdm.core.snapshot import ClusterFacts
from zdm.core.topology import Endpoint
from zdm.metrics import Meter

READ = "SELECT k FROM ks.t"


@pytest.fixture
def stage() -> Stage:
    return Stage()


def drained(stage: Stage, limit: float = 30.0) -> list[None]:
    fired: list[None] = []
    stage.worker.drain(limit).addCallback(fired.append)
    return fired


def test_clients_are_counted_from_accept_to_their_end(stage: Stage) -> None:
    """The limit of clients is about sockets, not about sessions that are ready."""
    protocol = stage.worker.client(None)
    assert stage.worker.clients() == 0
    wire = Wire(stage.clock, protocol).connect()
    assert stage.worker.clients() == 1
    stage.client()
    assert stage.worker.clients() == 2
    wire.end()
    assert stage.worker.clients() == 1


def test_whoever_counts_clients_is_told_of_each_change(stage: Stage) -> None:
    """The supervisor of several workers hands each client to the one that has the fewest."""
    client = stage.client()
    assert stage.changes == 1
    client.wire.end()
    assert stage.changes == 2


def test_a_scrape_has_the_counters_of_the_moment(stage: Stage) -> None:
    """Gauges are not kept up to date in between."""
    stage.ready_client()
    stage.worker.shared.prepared.put(PreparedStatement(b"id", b"id", READ, None, Route.READ))
    scraped: list[Meter] = []
    stage.worker.scrape().addCallback(scraped.append)
    assert scraped[0].client_connections == 1 and scraped[0].pscache_entries == 1
    assert scraped[0].stream_ids_limit == 2048


def test_failed_connections_are_counted_for_their_cluster(stage: Stage) -> None:
    """Once for each client whose connection could not be opened (section 8.3)."""
    client = stage.client()
    for side in (ORIGIN, TARGET, TARGET):
        stage.worker.unreachable(side, "refused", client.connection.session)
    assert (stage.meter.failed_connections_origin, stage.meter.failed_connections_target) == (1, 2)
    assert stage.log.texts("error")[0] == (
        "Client Handler could not be created: no connection to ORIGIN for client 127.0.90.200:50000: refused"
    )


def test_a_client_that_stays_without_target_is_not_said_to_be_refused(stage: Stage) -> None:
    """Its session lives on, and target is tried again on demand: the operator must not look for a closed client."""
    client = stage.ready_client()
    stage.worker.unreachable(TARGET, "refused", client.connection.session)
    assert stage.log.lines[-1] == (
        "warn",
        "The TARGET connection of client 127.0.90.200:50000 could not be opened again: refused. "
        "Clients without it now: 0.",
    )


def test_a_sessions_notes_are_logged_at_their_level(stage: Stage) -> None:
    """Sessions know no logger."""
    for level in ("debug", "info", "warn", "error"):
        stage.worker.note(Note(level, f"a {level}"))
    assert stage.log.lines == [(level, f"a {level}") for level in ("debug", "info", "warn", "error")]


def test_a_new_generation_is_acknowledged_and_is_what_is_dialled_from(stage: Stage) -> None:
    """A client that comes later must not be sent to a host that is gone."""
    acknowledged: list[int] = []
    stage.worker.apply(stage.snapshot(5)).addCallback(acknowledged.append)
    assert acknowledged == [5] and stage.worker.shared.snapshot.generation == 5
    new = Endpoint("127.0.90.9", 9042)
    stage.worker.apply(replace(stage.snapshot(6), origin=ClusterFacts(endpoints=(new,))))
    stage.client()
    assert stage.attempts[0].endpoint == new and stage.attempts[1].endpoint in HOSTS[TARGET]


def test_without_clients_a_drain_is_over_at_once(stage: Stage) -> None:
    """Nobody is waited for."""
    assert drained(stage) == [None] and stage.timers() == []


def test_a_drain_answers_what_is_in_flight_and_is_then_over(stage: Stage) -> None:
    """Section 10.4: new requests are refused, those under way are answered."""
    busy, idle = stage.ready_client(), stage.ready_client()
    busy.sends(frames.query(1, READ))
    fired = drained(stage)
    stage.settle()
    assert idle.wire.ended == "ConnectionDone" and busy.wire.has_ended("")
    busy.sends(frames.query(2, READ))
    assert b"Shutting down, please retry on next host." in busy.wire.take()[0] and fired == []
    busy.answer_all(frames.void())
    stage.settle()
    assert busy.wire.take() == [frames.void(1)] and busy.wire.has_ended("ConnectionDone")
    assert fired == [None] and stage.timers() == []


def test_a_client_in_its_handshake_is_not_waited_for(stage: Stage) -> None:
    """It has nothing in flight that it could lose."""
    client = stage.client()
    fired = drained(stage)
    stage.settle()
    assert client.wire.ended == "ConnectionDone" and fired == [None]
    assert all(attempt.is_cancelled for attempt in stage.attempts)


def test_a_drain_ends_at_its_limit_in_any_case(stage: Stage) -> None:
    """A request may take longer than an operator is willing to wait."""
    busy = stage.ready_client()
    busy.sends(frames.query(1, READ))
    fired = drained(stage, 3.0)
    stage.clock.advance(2.9)
    assert fired == [] and busy.wire.has_ended("")
    stage.clock.advance(0.1)
    stage.settle()
    assert busy.wire.has_ended("ConnectionAborted") and fired == [None]
    assert stage.log.texts("warn") == [
        "1 client connections still had requests in flight at the end of the drain limit."
    ]


@pytest.mark.parametrize("while_one_is_there", [True, False])
def test_a_client_that_comes_during_a_drain_is_closed(while_one_is_there: bool, stage: Stage) -> None:
    """It was in the queue of the socket that does not listen any more."""
    if while_one_is_there:
        stage.ready_client().sends(frames.query(1, READ))
    drained(stage)
    dialled = len(stage.attempts)
    late = stage.client()
    stage.settle()
    assert late.wire.ended == "ConnectionDone" and len(stage.attempts) == dialled
