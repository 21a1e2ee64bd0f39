"""Clients of several workers: who gets which, how many there are, and what they may prepare where."""

from __future__ import annotations

import socket

import pytest

from tests import frames
from tests.net.wires import ORIGIN, TARGET, Client
from tests.stage import UNPREPARED
from tests.worker_process.crews import RunningProcess, World
from zdm.worker_process.hosted import FIND_LIMIT
from zdm.worker_process.remote import MOST_UNANSWERED, SLOW

WRITE = "INSERT INTO ks.t (k) VALUES (?)"


@pytest.fixture
def world() -> World:
    return World().serve()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def prepare(client: Client, prepared_id: bytes, target_id: bytes | None = None) -> None:
    client.sends(frames.prepare(1, WRITE))
    for side, known_as in ((ORIGIN, prepared_id), (TARGET, target_id or prepared_id)):
        (request,) = client.clusters[side].take()
        client.answer(side, request, frames.prepared(prepared_id=known_as))
    client.wire.take()


def executed(client: Client, prepared_id: bytes) -> list[bytes]:
    """What each cluster gets of an EXECUTE, at once."""
    client.sends(frames.execute(1, prepared_id))
    return [frame for side in (ORIGIN, TARGET) for frame in client.clusters[side].take()]


# Who gets which


def test_clients_are_given_to_the_worker_that_has_the_fewest(world: World) -> None:
    """However fast they come: those on their way count."""
    clients = [world.connect() for _ in range(10)]
    world.settle()
    assert world.counts() == [5, 5] and world.crew.clients() == 10
    for client in world.processes[0].clients[:3]:
        client.wire.end()
    world.settle()
    assert world.crew.clients() == 7
    clients += [world.connect() for _ in range(4)]
    world.settle()
    assert [len(process.clients) for process in world.processes] == [9, 5]
    assert world.counts() == [6, 5]
    for end in clients:
        end.close()


def test_a_client_counts_from_accept_until_its_worker_says_that_it_is_gone(world: World) -> None:
    """The limit is the whole proxy's, and must hold while clients are on their way."""
    client = world.connect()
    assert world.crew.clients() == 1
    world.settle()
    assert world.crew.clients() == 1
    world.processes[0].clients[0].wire.end()
    assert world.crew.clients() == 1
    world.settle()
    assert world.crew.clients() == 0
    client.close()


def test_many_clients_that_go_together_are_told_of_together(world: World) -> None:
    """A fleet that is stopped must not cost a message for each of its connections."""
    clients = [world.connect() for _ in range(20)]
    world.settle()
    process = world.processes[0]
    timers = len(world.clock.getDelayedCalls())
    for client in process.clients:
        client.wire.end()
    assert len(world.clock.getDelayedCalls()) <= timers + 1
    world.clock.advance(0)
    assert len(process.ours.arriving) == 1
    world.settle()
    assert world.crew.clients() == 10
    for end in clients:
        end.close()


def test_a_scrape_brings_the_number_of_clients_up_to_date(world: World) -> None:
    """Who sees in the metrics that a client is gone expects its place to be free."""
    world.client(world.processes[0]).wire.end()
    scraped: list[object] = []
    world.crew.scrape().addCallback(scraped.append)
    for process in world.processes:
        while process.deliver():
            pass
    assert scraped and world.crew.clients() == 0


def test_the_supervisor_keeps_no_socket_of_a_client_that_it_handed_on(world: World) -> None:
    """Else the client would not see that its worker has closed the connection."""
    client = world.connect()
    assert not is_closed(client)
    world.settle()
    assert is_closed(client)  # the workers of these tests keep none either
    client.close()


def test_clients_wait_while_no_worker_is_there(world: World) -> None:
    """They are served as soon as one is again."""
    for process in world.running:
        process.end(1)
    world.settle()
    with world.connect() as client:
        world.settle()
        assert world.crew.clients() == 1 and not is_closed(client)
        world.pass_time(1)
        assert sum(world.counts()) == 1


def test_only_so_many_clients_are_on_their_way_to_one_worker() -> None:
    """The kernel holds only so many descriptors that nobody has taken, and then the channel would break."""
    world = World(1).serve()
    process = world.processes[0]
    process.is_stopped = True
    clients = [world.connect() for _ in range(MOST_UNANSWERED + 5)]
    assert sum(isinstance(piece, int) for piece in process.theirs.arriving) == MOST_UNANSWERED
    assert world.crew.clients() == MOST_UNANSWERED + 5
    process.is_stopped = False
    world.settle()
    assert world.counts() == [MOST_UNANSWERED + 5]
    for client in clients:
        client.close()


def test_a_crowd_is_spread_evenly_though_one_worker_is_slower(world: World) -> None:
    """For a moment: whoever takes its clients late gets as many."""
    first, second = world.processes
    first.is_stopped = True
    clients = [world.connect() for _ in range(6 * MOST_UNANSWERED)]
    world.settle()
    assert len(second.clients) <= MOST_UNANSWERED + 1
    first.is_stopped = False
    world.settle()
    assert world.counts() == [3 * MOST_UNANSWERED] * 2
    for client in clients:
        client.close()


def test_a_worker_that_takes_nothing_for_a_second_does_not_keep_clients_from_the_other(world: World) -> None:
    """It is killed some seconds later; they are served meanwhile."""
    first, second = world.processes
    first.is_stopped = True
    clients = [world.connect() for _ in range(4 * MOST_UNANSWERED)]
    world.settle()
    world.pass_time(SLOW)
    assert first.is_running and len(second.clients) == 3 * MOST_UNANSWERED
    clients.append(world.connect())
    world.settle()
    assert len(second.clients) == 3 * MOST_UNANSWERED + 1
    for client in clients:
        client.close()


def test_a_worker_that_had_no_clients_for_long_is_not_slow(world: World) -> None:
    """Those that come together after a quiet night go where there are the fewest."""
    clients = [world.connect() for _ in range(4)]
    world.settle()
    for client in world.processes[0].clients:
        client.wire.end()
    world.pass_time(10)
    clients += [world.connect(), world.connect()]
    world.settle()
    assert world.counts() == [2, 2]
    for end in clients:
        end.close()


def test_clients_on_their_way_to_a_worker_that_dies_are_closed(world: World) -> None:
    """Their drivers connect again."""
    world.processes[0].is_stopped = True
    client = world.connect()
    world.processes[0].end(1)
    world.settle()
    assert is_closed(client) and world.crew.clients() == 0
    client.close()


@pytest.mark.parametrize("how", ["drain", "close"])
def test_clients_that_wait_or_come_while_the_crew_ends_are_closed(world: World, how: str) -> None:
    """There is nobody any more to serve them."""
    for process in world.running:
        process.is_stopped = True
    clients = [world.connect() for _ in range(2 * MOST_UNANSWERED + 1)]
    if how == "drain":
        world.crew.drain(1.0)
    else:
        world.crew.close()
    late = world.connect()
    assert is_closed(clients[-1]) and is_closed(late)
    for client in (*clients, late):
        client.close()
    world.pass_time(60)


# What they prepare


def pair(world: World) -> tuple[Client, Client, RunningProcess]:
    """A client of each worker, and the process of the second."""
    return world.client(world.processes[0]), world.client(world.processes[1]), world.processes[1]


def test_a_statement_prepared_on_one_worker_is_known_to_the_others(world: World) -> None:
    """The pool of a driver has connections to all of them."""
    one, other, _ = pair(world)
    prepare(one, b"id", b"target's")
    world.processes[0].ours.deliver()
    assert not world.processes[0].theirs.arriving, "who made it is not told"
    world.settle()
    assert executed(other, b"id") == [frames.execute(1, b"id"), frames.execute(1, b"target's")]


def test_a_statement_that_has_not_arrived_yet_is_asked_for(world: World) -> None:
    """The client is faster than the news: it must not be told UNPREPARED."""
    one, other, _ = pair(world)
    prepare(one, b"id")
    assert executed(other, b"id") == []
    world.settle()
    assert [other.clusters[side].take() for side in (ORIGIN, TARGET)] == [[frames.execute(1, b"id")]] * 2


def test_a_worker_that_is_started_anew_learns_statements_as_they_are_needed(world: World) -> None:
    """The others know them."""
    one = world.client(world.processes[0])
    prepare(one, b"id")
    world.processes[1].end(1)
    world.pass_time(1)
    other = world.client(world.running[1])
    other.sends(frames.execute(1, b"id"))
    world.settle()
    assert other.clusters[ORIGIN].take() == [frames.execute(1, b"id")]


def test_what_no_worker_knows_is_unprepared(world: World) -> None:
    """After one question for all who ask the same."""
    one, other, second = pair(world)
    for client in (other, other):
        client.sends(frames.execute(1 + len(client.connection.session.state.pending), b"nobody's"))
    pieces = len(second.ours.arriving)
    world.settle()
    answers = other.wire.take()
    assert [frame[9:13] for frame in answers] == [UNPREPARED.to_bytes(4, "big")] * 2
    assert pieces == 1 and one.wire.take() == []


def test_a_question_to_a_worker_that_hangs_does_not_keep_a_request_for_long(world: World) -> None:
    """It is then as unknown as any."""
    one, other, _ = pair(world)
    prepare(one, b"id")
    world.processes[0].is_stopped = True
    world.processes[0].ours.arriving.clear()
    other.sends(frames.execute(1, b"id"))
    world.pass_time(FIND_LIMIT - 0.1)
    assert other.wire.take() == []
    world.pass_time(0.2)
    assert other.wire.take()[0][9:13] == UNPREPARED.to_bytes(4, "big")


def test_a_question_to_a_worker_that_dies_is_answered_by_the_others() -> None:
    """It is not waited for."""
    world = World(3).serve()
    one, other, _ = (world.client(process) for process in world.processes)
    other.sends(frames.execute(1, b"nobody's"))
    world.processes[1].ours.deliver()
    world.processes[0].end(1)
    assert not one.wire.ended
    world.settle()
    assert other.wire.take()[0][9:13] == UNPREPARED.to_bytes(4, "big")


def test_an_id_that_means_nothing_any_more_is_forgotten_everywhere(world: World) -> None:
    """Else the worker that has found out would be taught it again."""
    one, other, _ = pair(world)
    prepare(one, b"id")
    world.settle()
    world.processes[0].worker.shared.prepared.remove(b"id")
    world.settle()
    other.sends(frames.execute(1, b"id"))
    world.settle()
    assert other.wire.take()[0][9:13] == UNPREPARED.to_bytes(4, "big")


def test_statements_are_forgotten_and_asked_for_before_there_is_a_generation() -> None:
    """A worker that has just been started knows nothing."""
    world = World()
    world.crew.start()
    world.settle()
    hosted = world.processes[0].hosted
    assert hosted._statement_made(b"[]") == hosted._statement_forgotten(b"id") == {}
    assert hosted._find_statements(b'["00"]') == {"found": b"[]"}
