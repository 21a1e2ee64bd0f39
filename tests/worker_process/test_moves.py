"""Sessions move from one worker to another, and what travels of them arrives as it was sent."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, TARGET, Client
from tests.worker_process.crews import World
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.handover import Handover, Kept, SideHandover
from zdm.worker_process.commands import TakeSession
from zdm.worker_process.moves import MOST_AT_ONCE, STEP
from zdm.worker_process.sessions import MOST_ON_THE_WAY, Dispatch, dumped, loaded

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


@pytest.fixture
def world() -> World:
    return World().serve()


def write(client: Client, stream: int) -> None:
    """A write through the connections that the client has now, wherever they end."""
    client.wire.protocol.dataReceived(frames.query(stream, INSERT))
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(stream)]


def crowd(world: World, size: int) -> list[Client]:
    """All of one worker, which is alone for a moment."""
    world.processes[1].end(1)
    world.settle()
    clients = [world.client(world.processes[0]) for _ in range(size)]
    world.pass_time(0.5)
    return clients


# What travels


@pytest.mark.parametrize("target", [None, SideHandover(None, (), Kept(b"", 0))])
def test_a_handover_arrives_as_it_was_sent(target: SideHandover | None) -> None:
    """Every field: bytes and texts of any kind, and what may be missing."""
    sent = Handover(
        4,
        "Käse",
        "::1",
        "10.0.0.1:5",
        b"\0\xff",
        {Side.ORIGIN: Credentials("name", "pässword")},
        Kept(b"\x04\0", 9),
        SideHandover("ks", (1, 300), Kept(b"\xfe", 12)),
        target,
        "lz4",
    )
    endpoints = {ORIGIN: HOSTS[ORIGIN][0], TARGET: None}
    came, ends = loaded(dumped(sent, endpoints))
    assert came == sent and ends == endpoints
    assert came.credentials[Side.ORIGIN].password == "pässword"


def test_only_so_many_sessions_are_on_their_way_at_once() -> None:
    """The kernel holds only so many descriptors that nobody has taken."""
    answers: list[Deferred[None]] = []
    closed: list[int] = []

    class Parcel:
        def __init__(self, number: int) -> None:
            self.number = number

        def close(self) -> None:
            closed.append(self.number)

    def send(parcel: Any) -> Deferred[None]:
        answers.append(Deferred())
        return answers[-1]

    dispatch = Dispatch(send)
    for number in range(MOST_ON_THE_WAY + 2):
        parcel: Any = Parcel(number)
        dispatch.send(parcel)
    fired: list[None] = []
    dispatch.sent().addCallback(fired.append)
    assert len(answers) == MOST_ON_THE_WAY and closed == []
    answers[0].callback(None)
    answers[1].errback(ConnectionResetError())
    assert len(answers) == MOST_ON_THE_WAY + 2 and closed == [0, 1]
    for answer in answers[2:]:
        assert fired == []
        answer.callback(None)
    assert fired == [None] and len(closed) == MOST_ON_THE_WAY + 2


# Where they go


def test_sessions_of_an_overburdened_worker_move_to_the_one_that_was_started_anew(world: World) -> None:
    """On the connections that they have; a few each second."""
    clients = crowd(world, 3 * MOST_AT_ONCE)
    assert world.counts() == [3 * MOST_AT_ONCE, 0]
    world.pass_time(STEP)
    assert world.counts() == [2 * MOST_AT_ONCE, MOST_AT_ONCE]
    assert world.crew.clients() == 3 * MOST_AT_ONCE
    for _ in range(5):
        world.pass_time(STEP)
    one, other = world.counts()
    assert one + other == 3 * MOST_AT_ONCE and one <= other * 1.1 + 3
    for number, client in enumerate(clients):
        write(client, number)


def test_even_workers_leave_their_sessions_where_they_are(world: World) -> None:
    """One client more or less is no reason."""
    clients = [world.connect() for _ in range(3)]
    world.pass_time(10 * STEP)
    assert world.counts() == [2, 1]
    for client in clients:
        client.close()


def test_a_session_under_way_does_not_move_to_even_workers_out(world: World) -> None:
    """It is not slowed down either: it is read on."""
    clients = crowd(world, 4)
    for client in clients:
        client.sends(frames.query(1, INSERT))
    world.pass_time(STEP)
    assert world.counts() == [4, 0] and all(client.wire.is_read for client in clients)
    for client in clients:
        client.answer_all(frames.void())
    world.pass_time(STEP)
    assert world.counts() == [2, 2]


def test_a_session_without_its_target_moves_and_is_attached_where_it_goes(world: World) -> None:
    """Two descriptors instead of three."""
    clients = crowd(world, 4)
    world.apply(is_on=False)
    world.pass_time(10)
    assert world.counts() == [2, 2]
    world.apply(is_on=True)
    world.settle()
    process = world.running[1]
    for client in clients:
        if client.wire.protocol not in world.running[0].worker._clients:
            client.clusters[TARGET] = process.attempt(TARGET).accept()
            client.introduce(TARGET)
            write(client, 1)


def test_a_statement_is_known_where_its_session_goes(world: World) -> None:
    """It was told on the same way before."""
    clients = crowd(world, 4)
    clients[0].sends(frames.prepare(1, "INSERT INTO ks.t (k) VALUES (?)"))
    for side in (ORIGIN, TARGET):
        (request,) = clients[0].clusters[side].take()
        clients[0].answer(side, request, frames.prepared(prepared_id=b"id"))
    world.pass_time(STEP)
    assert world.counts() == [2, 2]
    assert b"id" in world.running[1].worker.shared.prepared.entries


def test_sessions_on_their_way_to_a_worker_that_dies_are_closed(world: World) -> None:
    """Their drivers connect again; nothing is left open."""
    clients = crowd(world, 4)
    world.running[1].is_stopped = True
    world.pass_time(STEP)
    moving = [client for client in clients if client.wire.protocol is None]
    assert len(moving) == 2 and world.crew.clients() == 4
    world.running[1].end(1)
    world.settle()
    for client in moving:
        assert client.wire.is_lost and all(wire.is_lost for wire in client.clusters.values())
    assert world.crew.clients() == 2


def test_a_session_comes_back_where_no_other_worker_is_there(world: World) -> None:
    """The one that was to have it has ended meanwhile."""
    clients = crowd(world, 4)
    first, second = world.running
    first.theirs.deliver()
    world.clock.advance(STEP)
    second.end(1)
    world.settle()
    assert world.counts()[0] == 4
    for client in clients:
        write(client, 1)


def test_a_session_that_cannot_be_understood_is_closed(world: World) -> None:
    """No worker keeps a descriptor of which it does not know what it is."""
    (client,) = crowd(world, 1)
    wires = {side: client.clusters[side].fileno() for side in (ORIGIN, TARGET)}
    client_end = client.wire.fileno()
    remote: Any = world.running[1].ours.protocol
    failed: list[Any] = []
    asking = remote.callRemote(
        TakeSession, handover=b"{}", client=client_end, origin=wires[ORIGIN], target=wires[TARGET]
    )
    asking.addErrback(failed.append)
    world.settle()
    for wire in (client.wire, *client.clusters.values()):
        wire.close()
        assert wire.is_lost
    assert failed


def test_nothing_moves_any_more_when_the_crew_ends(world: World) -> None:
    """And no timer is left."""
    crowd(world, 4)
    world.crew.close()
    world.pass_time(60)
    assert world.clock.getDelayedCalls() == []
