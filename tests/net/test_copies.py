"""The shell of copied reads: one more connection of a client's, for which nothing ever waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from tests import frames
from tests.net.wires import ORIGIN, TARGET, Client, Stage, Wire
from tests.stage import stream_of, under
from zdm.core.snapshot import TargetMode
from zdm.net.turns import EAGER_AT_ONCE

pytestmark = pytest.mark.usefixtures("faults")

READ = "SELECT k FROM ks.t"


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Origin is the primary; at the end no timer is left of whoever has gone."""
    yield Stage(copies_reads=True)


def open_copies(stage: Stage) -> Wire:
    """The connection that is asked for opens, and the cluster is content."""
    wire = stage.attempt(TARGET).accept()
    (startup,) = wire.take()
    wire.protocol.dataReceived(under(frames.ready(), stream_of(startup)))
    return wire


def ready_clients(stage: Stage, count: int) -> list[Client]:
    """Their own connections are there before any is asked for that takes copies."""
    clients = [stage.client().open() for _ in range(count)]
    return [client.become_ready() for client in clients]


def read(client: Client, stream: int) -> bytes:
    """A read that origin answers; its frame."""
    frame = frames.query(stream, READ)
    client.sends(frame)
    assert client.clusters[ORIGIN].take() == [frame]
    client.answer(ORIGIN, frame, frames.rows())
    assert client.wire.take() == [frames.rows(stream)]
    return frame


def test_the_copies_go_to_the_host_that_the_session_has_of_the_secondary(stage: Stage) -> None:
    """Which has the data in its caches that this client's writes have touched."""
    client = stage.ready_client()
    assert stage.attempt(TARGET).endpoint == client.connection.host_of(TARGET)
    wire = open_copies(stage)
    sent = read(client, 1)
    assert wire.take() == [sent] and client.clusters[TARGET].take() == []
    wire.protocol.dataReceived(frames.rows(1))
    assert client.wire.take() == []


def test_several_reads_of_one_chunk_are_copied_in_one_write(stage: Stage) -> None:
    """The system calls are what a copy costs."""
    client = stage.ready_client()
    wire = open_copies(stage)
    sent = [frames.query(stream, READ) for stream in range(5)]
    client.sends(*sent)
    assert wire.writes == [b"".join(sent)]


def test_a_client_is_served_before_the_connection_is_there(stage: Stage) -> None:
    """And what it reads meanwhile is copied when it is."""
    client = stage.ready_client()
    sent = read(client, 1)
    assert open_copies(stage).take() == [sent]


def test_a_connection_that_cannot_be_opened_is_counted_nowhere_but_there(stage: Stage) -> None:
    """The client's own are all right."""
    client = stage.ready_client()
    stage.attempt(TARGET).refuse()
    read(client, 1)
    assert stage.meter.failed_connections_target == 0
    assert any("Async connector (TARGET) could not be opened" in text for text in stage.log.texts("warn"))
    assert stage.worker.clients() == 1 and not client.wire.ended


def test_a_connection_that_ends_leaves_the_client_alone(stage: Stage) -> None:
    """It is not opened again."""
    client = stage.ready_client()
    open_copies(stage).end()
    attempts = len(stage.attempts)
    read(client, 1)
    assert len(stage.attempts) == attempts
    assert any("Async connector (TARGET) of client" in text for text in stage.log.texts("info"))


def test_an_answer_that_is_overdue_is_noticed_by_a_timer_of_its_own(stage: Stage) -> None:
    """The session's own is not set for it."""
    client = stage.ready_client()
    open_copies(stage)
    stage.clock.advance(11)  # whatever the handshakes had set
    read(client, 1)
    stage.clock.advance(10.1)
    assert any("left 1 copied requests" in text for text in stage.log.texts("warn"))
    stage.clock.advance(60)
    assert stage.timers() == []


def test_a_handshake_that_is_not_answered_is_given_up(stage: Stage) -> None:
    """By `async_handshake_timeout_ms`."""
    stage.ready_client()
    wire = stage.attempt(TARGET).accept()
    stage.clock.advance(4.1)
    assert any("Async connector (TARGET) handshake failed" in text for text in stage.log.texts("warn"))
    stage.settle()
    assert wire.has_ended("ConnectionDone")


def test_the_connection_goes_with_its_client(stage: Stage) -> None:
    """Also where what was written to it is not sent: nobody minds."""
    first, second, third = ready_clients(stage, 3)
    open_wire, stuck = open_copies(stage), open_copies(stage)
    stuck.waiting = 1
    dialled = stage.attempt(TARGET)
    for client in (first, second, third):
        client.wire.end()
    stage.settle()
    assert open_wire.has_ended("ConnectionDone") and stuck.has_ended("ConnectionAborted") and dialled.is_cancelled
    stage.clock.advance(60)
    assert stage.timers() == []


def test_one_that_opens_when_its_client_is_gone_is_closed(stage: Stage) -> None:
    """The socket may be open before the attempt can be cancelled."""
    client = stage.ready_client()
    wire = stage.attempt(TARGET).open()
    client.wire.end()
    stage.settle()
    assert wire.ended


def test_a_full_connection_makes_copies_wait_and_nobody_else(stage: Stage) -> None:
    """The client is read, and answered."""
    client = stage.ready_client()
    wire = open_copies(stage)
    wire.fill()
    sent = read(client, 1)
    assert wire.take() == [] and client.wire.is_read
    wire.empty()
    assert wire.take() == [sent]


def test_a_connection_that_fills_while_it_is_written_to(stage: Stage) -> None:
    """The transport says so from within the write."""
    client = stage.ready_client()
    wire = open_copies(stage)
    write = wire.write

    def fills(data: bytes) -> None:
        write(data)
        wire.fill()

    wire.write = fills  # type: ignore[method-assign]  # a transport whose buffer this write fills
    first, second = read(client, 1), read(client, 2)
    assert wire.take() == [first]
    wire.empty()
    assert wire.take() == [second]


def test_it_takes_its_turn(stage: Stage) -> None:
    """Logins cost a cluster much, and clients wait for theirs."""
    clients = ready_clients(stage, EAGER_AT_ONCE + 2)
    undecided = [one for one in stage.attempts if not one.attached.called]
    assert len(undecided) == EAGER_AT_ONCE
    open_copies(stage)
    assert len([one for one in stage.attempts if not one.attached.called]) == EAGER_AT_ONCE
    clients[-1].wire.end()  # it was waiting for its turn, or has it
    clients[1].wire.end()
    assert len([one for one in stage.attempts if not one.attached.called]) <= EAGER_AT_ONCE
    stage.clock.advance(60)


def test_target_switched_off_ends_them_at_once(stage: Stage) -> None:
    """And whichever was being opened."""
    first, second = ready_clients(stage, 2)
    wire, dialled = open_copies(stage), stage.attempt(TARGET)
    stage.worker.apply(replace(stage.worker.shared.snapshot, generation=2, mode=TargetMode.ORIGIN_ONLY))
    assert dialled.is_cancelled
    stage.settle()
    assert wire.ended
    for client in (first, second):
        read(client, 1)


def test_a_moved_client_has_another_connection_for_its_copies(stage: Stage) -> None:
    """The one it had is closed where it was; where it goes, one is opened to the same host."""
    there = Stage(copies_reads=True)
    client = stage.ready_client()
    wire = open_copies(stage)
    client.sends(frames.query(1, READ))
    wire.take()
    client.answer_all(frames.rows())
    client.wire.take()

    def attach(wire: Any, factory: Any) -> Deferred[None]:
        wire.adopt(factory.buildProtocol(None))
        return succeed(None)

    coming: list[Deferred[None]] = []
    assert stage.worker.spare(1, lambda moved: coming.append(there.worker.take_over(moved, attach))) == 1
    stage.settle()
    assert wire.ended and not client.wire.ended and stage.timers() == []
    anew = open_copies(there)
    sent = frames.query(2, READ)
    client.wire.protocol.dataReceived(sent)
    assert anew.take() == [sent]


def test_connections_and_ids_are_counted_when_somebody_asks(stage: Stage) -> None:
    """Of the node that the copies go to."""
    client = stage.ready_client()
    open_copies(stage)
    read(client, 1)
    name = str(client.connection.host_of(TARGET))
    for _ in range(2):
        stage.worker.scrape()
        node = stage.meter.async_nodes.by_name[name]
        assert (node.connections, node.used_streams, node.inflight, node.failed_connections) == (1, 1, 1, 0)
    client.wire.end()
    stage.worker.scrape()
    assert (node.connections, node.used_streams, node.inflight) == (0, 0, 0)


def test_a_connection_that_could_not_be_opened_is_counted_as_that(stage: Stage) -> None:
    """By the node."""
    client = stage.ready_client()
    stage.attempt(TARGET).refuse()
    stage.worker.scrape()
    node = stage.meter.async_nodes.by_name[str(client.connection.host_of(TARGET))]
    assert (node.failed_connections, node.connections) == (1, 0)
    assert stage.meter.failed_connections_target == 0
