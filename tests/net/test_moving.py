"""Clients move from one worker to another: their connections stay, and nothing of them is lost or closed."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from tests import frames
from tests.net.wires import ORIGIN, TARGET, Client, Stage, Wire
from zdm.core.clusters import Side
from zdm.core.topology import Endpoint
from zdm.net.moving import LOOK_AGAIN, Moved

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


class Way:
    """From one stage to another; `broken` are the sides whose connections end on the way."""

    def __init__(self, **settings: Any) -> None:
        self.before, self.after = Stage(**settings), Stage(**settings)
        self.on_the_way: list[Moved] = []
        self.left_behind: list[int] = []
        self.broken: set[Wire] = set()

    def release(self, limit: float = 5.0) -> None:
        releasing = self.before.worker.release(limit, self.on_the_way.append)
        releasing.addCallback(self.left_behind.append)

    def arrive(self) -> None:
        for moved in self.on_the_way:
            arriving = self.after.worker.take_over(moved, self._attach)
            arriving.addErrback(lambda failed: pytest.fail(str(failed)))
        self.on_the_way.clear()

    def settle(self) -> None:
        """Let all that is due now happen; a wire keeps the clock of where it was made."""
        for stage in (self.before, self.after):
            stage.settle()

    def _attach(self, wire: Any, factory: Any) -> Deferred[None]:
        if wire in self.broken:
            return fail(ConnectionResetError("reset"))
        wire.adopt(factory.buildProtocol(None))
        return succeed(None)


@pytest.fixture
def way() -> Way:
    return Way()


def write(client: Client, stream: int) -> None:
    """A write through the connections that the client has now, wherever they end."""
    client.wire.protocol.dataReceived(frames.query(stream, INSERT))
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(stream)]


def test_a_client_goes_on_where_it_has_moved_to(way: Way) -> None:
    """On the same three connections; the worker before knows nothing of it any more."""
    client = way.before.ready_client()
    write(client, 1)
    way.release()
    way.arrive()
    write(client, 2)
    assert way.left_behind == [0]
    assert (way.before.worker.clients(), way.after.worker.clients()) == (0, 1)
    assert [sum(node.writes.counts) for node in way.after.meter.nodes()] == [1, 1]
    assert way.before.timers() == []
    assert not any(wire.ended for wire in (client.wire, *client.clusters.values()))


def test_a_client_under_way_moves_when_it_is_answered(way: Way) -> None:
    """It is not read meanwhile, or it might never come to rest."""
    client = way.before.ready_client()
    client.sends(frames.query(1, INSERT))
    way.release()
    assert way.on_the_way == [] and not client.wire.is_read
    client.answer_all(frames.void())
    way.before.clock.advance(LOOK_AGAIN)
    way.arrive()
    assert client.wire.take() == [frames.void(1)] and client.wire.is_read
    write(client, 2)


def test_a_client_with_unsent_answers_waits_until_they_are_sent(way: Way) -> None:
    """They are in the transport, which stays behind."""
    client = way.before.ready_client()
    client.wire.waiting = 100
    way.release()
    assert way.on_the_way == []
    client.wire.waiting = 0
    way.before.clock.advance(LOOK_AGAIN)
    assert len(way.on_the_way) == 1


def test_who_does_not_come_to_rest_in_time_stays_and_is_read_again(way: Way) -> None:
    """A request that a cluster never answers keeps its client."""
    client = way.before.ready_client()
    client.sends(frames.query(1, INSERT))
    way.release(limit=1.0)
    for _ in range(600):
        way.before.clock.advance(LOOK_AGAIN)
    assert way.left_behind == [1] and way.on_the_way == []
    assert client.wire.is_read and way.before.worker.clients() == 1


def test_a_client_is_read_until_it_was_let_in(way: Way) -> None:
    """Its handshake would wait for the time to be over, and be too late then."""
    client = way.before.client()
    way.release()
    assert client.wire.is_read
    client.open().become_ready()
    way.before.clock.advance(LOOK_AGAIN)
    way.arrive()
    write(client, 1)
    assert way.left_behind == [0]


def test_clients_that_come_meanwhile_leave_as_well(way: Way) -> None:
    """They were accepted a moment before, and are about to be attached."""
    expected = [True]
    releasing = way.before.worker.release(5.0, way.on_the_way.append, lambda: bool(expected))
    releasing.addCallback(way.left_behind.append)
    assert way.left_behind == []
    client = way.before.ready_client()
    expected.clear()
    way.before.clock.advance(LOOK_AGAIN)
    way.arrive()
    write(client, 1)
    assert way.left_behind == [0]


def test_a_target_connection_that_is_still_in_its_handshake_stays_behind(way: Way) -> None:
    """It is closed, and another is opened where the client goes to."""
    client = way.before.ready_client()
    client.clusters[TARGET].end()
    way.settle()
    client.clusters[TARGET] = half_open = way.before.attempt(TARGET).accept()
    way.release()
    way.arrive()
    way.settle()
    assert half_open.ended
    client.clusters[TARGET] = way.after.attempt(TARGET).accept()
    client.introduce(TARGET)
    write(client, 1)


def test_a_client_that_goes_meanwhile_is_waited_for_no_longer(way: Way) -> None:
    """It has nothing to move."""
    client = way.before.ready_client()
    client.sends(frames.query(1, INSERT))
    way.release()
    client.wire.end()
    way.before.clock.advance(LOOK_AGAIN)
    assert way.left_behind == [0] and way.on_the_way == []


def test_an_origin_connection_that_broke_on_the_way_ends_the_client(way: Way) -> None:
    """As it would have anywhere."""
    client = way.before.ready_client()
    way.release()
    way.broken.add(client.clusters[ORIGIN])
    way.arrive()
    way.settle()
    assert client.wire.ended and way.after.worker.clients() == 0


def test_a_target_connection_that_broke_on_the_way_is_opened_anew(way: Way) -> None:
    """And the client notices nothing."""
    client = way.before.ready_client()
    way.release()
    way.broken.add(client.clusters[TARGET])
    way.arrive()
    client.clusters[TARGET] = way.after.attempt(TARGET).accept()
    client.introduce(TARGET)
    write(client, 1)


def test_a_client_that_broke_on_the_way_leaves_nothing_behind(way: Way) -> None:
    """Its clusters' connections are closed."""
    client = way.before.ready_client()
    way.release()
    way.broken.add(client.wire)
    way.arrive()
    way.settle()
    assert all(client.clusters[side].ended for side in (ORIGIN, TARGET))
    assert way.after.worker.clients() == 0


def test_what_a_cluster_sends_before_the_client_is_there_waits_for_it(way: Way) -> None:
    """An event that came while the connections were between two processes."""
    client = way.before.ready_client()
    way.release()
    event = frames.event_schema_change()
    arrived: list[Deferred[None]] = []

    def attach(wire: Any, factory: Any) -> Deferred[None]:
        if wire is client.wire:
            arrived.append(Deferred())
            return arrived[0].addCallback(lambda _: wire.adopt(factory.buildProtocol(None)))
        wire.adopt(factory.buildProtocol(None))
        return succeed(None)

    way.after.worker.take_over(way.on_the_way.pop(), attach)
    client.clusters[ORIGIN].protocol.dataReceived(event)
    arrived[0].callback(None)
    assert client.wire.take() == [event]


def test_a_host_that_is_gone_where_the_client_comes_to_drains_it(way: Way) -> None:
    """The two processes may know different topologies for a moment."""
    client = way.before.ready_client()
    way.release()
    way.after.worker.apply(way.after.snapshot(2, frozenset({Endpoint("127.0.90.9", 1)})))
    way.arrive()
    way.settle()
    assert client.wire.ended == "ConnectionDone"
    assert any("is gone; draining" in line for line in way.after.log.texts("info"))


def test_whom_nobody_takes_is_closed(way: Way) -> None:
    """The process that was to take it has ended."""
    closed: list[Side] = []

    class Socket:
        def __init__(self, side: Side) -> None:
            self.side = side

        def close(self) -> None:
            closed.append(self.side)

    way.before.ready_client()
    way.release()
    (moved,) = way.on_the_way
    sockets: Any = {side: Socket(side) for side in moved.sockets}
    moved._replace(sockets=sockets).close()
    assert sorted(closed) == [Side.CLIENT, ORIGIN, TARGET]


@pytest.mark.parametrize("side", [Side.CLIENT, Side.ORIGIN, Side.TARGET])
def test_a_client_with_tls_on_one_of_its_connections_stays_and_goes_on_being_read(way: Way, side: Side) -> None:
    """The keys are in this process; to keep it from being read would be for nothing."""
    client, other = way.before.ready_client(), way.before.ready_client()
    wire = client.wire if side is Side.CLIENT else client.clusters[side]
    wire.can_detach = False
    way.release()
    assert way.left_behind == [1] and len(way.on_the_way) == 1
    assert client.wire.is_read and way.before.worker.clients() == 1
    write(client, 1)
    way.arrive()
    write(other, 1)
