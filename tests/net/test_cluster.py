"""How a connection to a cluster is opened, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from tests.net.wires import ORIGIN, Dialled, Wire
from zdm.core.clusters import Side
from zdm.core.topology import Endpoint
from zdm.net.cluster import LINGER, ClusterConnection, ClusterFactory, Dialer, NoHostAnswered, described

A, B, C = (Endpoint(f"127.0.90.{number}", 9042) for number in (1, 2, 3))
TIMEOUT = 5.0


class Told:
    """Stands where a client's connection stands."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.received: list[bytes] = []

    def cluster_received(self, side: Side, data: bytes) -> None:
        self.received.append(data)

    def cluster_disconnected(self, side: Side, reason: str) -> None:
        self.lost.append(reason)


class World:
    def __init__(self, *hosts: Endpoint, timeout: float = TIMEOUT) -> None:
        self.clock = Clock()
        self.attempts: list[Dialled] = []
        self.dialer = Dialer(self.endpoint, self.clock, timeout)
        self.dialer.replace(hosts)
        self.client: Any = Told()

    def endpoint(self, host: str, port: int, timeout: float) -> Dialled:
        self.attempts.append(Dialled(self.clock, host, port, timeout))
        return self.attempts[-1]

    def dial(self) -> Dialling:
        return Dialling(self)

    @property
    def tried(self) -> list[Endpoint]:
        return [attempt.endpoint for attempt in self.attempts]


class Dialling:
    """One call of `dial`, and what came of it."""

    def __init__(self, world: World) -> None:
        self.connection = ClusterConnection(world.client, ORIGIN)
        self.failed: Failure | None = None
        self.opened = False
        self.deferred: Deferred[None] = world.dialer.dial(self.connection)
        self.deferred.addCallbacks(self._opened, self._failed)

    def _opened(self, _: None) -> None:
        self.opened = True

    def _failed(self, failed: Failure) -> None:
        self.failed = failed

    def failed_with(self, kind: type[Exception]) -> str:
        assert self.failed is not None and self.failed.type is kind, self.failed
        return self.failed.getErrorMessage()


def connection_on(clock: Clock, is_stuck: bool = False) -> tuple[ClusterConnection, Wire, Told]:
    told: Any = Told()
    connection = ClusterConnection(told, ORIGIN)
    return connection, Wire(clock, connection, is_stuck).connect(), told


# Dialling


def test_connections_take_the_hosts_in_turn_beginning_with_the_second() -> None:
    """As the reference does it (section 7.5)."""
    world = World(A, B, C)
    for _ in range(4):
        world.dial()
    assert world.tried == [B, C, A, B]


def test_a_dial_that_succeeds_says_which_host_it_was() -> None:
    """Draining a host's clients and preparing elsewhere both ask."""
    world = World(A, B)
    dialling = world.dial()
    wire = world.attempts[0].accept()
    assert dialling.opened and dialling.connection.endpoint == B
    assert wire.protocol is dialling.connection and world.clock.getDelayedCalls() == []


def test_a_host_that_does_not_answer_is_followed_by_the_next() -> None:
    """FIX-27: the reference drops the client instead."""
    world = World(A, B, C)
    dialling = world.dial()
    world.attempts[0].refuse()
    world.attempts[1].refuse(DNSLookupError("no such name"))
    assert world.tried == [B, C, A]
    world.attempts[2].accept()
    assert dialling.opened and dialling.connection.endpoint == A


def test_each_host_gets_its_share_of_what_time_is_left() -> None:
    """A host that swallows packets must not use up the time of those that would answer."""
    world = World(A, B)
    world.dial()
    assert world.attempts[0].timeout == pytest.approx(2.5)
    world.clock.advance(1)
    world.attempts[0].refuse()
    assert world.attempts[1].timeout == pytest.approx(4)


def test_pauses_between_rounds_grow_until_the_time_is_over() -> None:
    """A cluster that restarts is found soon, and one that is gone is not hammered."""
    world = World(A, timeout=10.0)
    dialling = world.dial()
    pauses = []
    while dialling.failed is None:
        world.attempts[-1].refuse()
        for call in world.clock.getDelayedCalls():
            pauses.append(round(call.getTime() - world.clock.seconds(), 3))
            world.clock.advance(pauses[-1])
    assert pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert "127.0.90.1:9042: Connection was refused" in dialling.failed_with(NoHostAnswered)
    assert world.clock.getDelayedCalls() == []


def test_a_pause_is_never_longer_than_a_second() -> None:
    """A client may be waiting for a host that is back, however long the connection timeout is."""
    world = World(A, timeout=100.0)
    dialling = world.dial()
    longest = 0.0
    while dialling.failed is None:
        world.attempts[-1].refuse()
        for call in world.clock.getDelayedCalls():
            longest = max(longest, call.getTime() - world.clock.seconds())
            world.clock.advance(call.getTime() - world.clock.seconds())
    assert longest == pytest.approx(1.0)


def test_a_new_round_uses_the_hosts_that_are_known_then() -> None:
    """The control connection may have learnt better meanwhile."""
    world = World(A)
    dialling = world.dial()
    world.attempts[0].refuse()
    world.dialer.replace((C,))
    world.clock.advance(0.1)
    assert world.tried == [A, C]
    world.attempts[1].accept()
    assert dialling.connection.endpoint == C


def test_without_any_host_a_dial_fails_and_says_so() -> None:
    """Not with an index that is out of range."""
    world = World()
    dialling = world.dial()
    world.clock.pump([0.1] * 60)
    assert dialling.failed_with(NoHostAnswered) == "no host is known"


def test_a_fault_in_an_attempt_is_not_taken_for_a_host_that_is_down() -> None:
    """Trying again would hide it."""
    world = World(A, B)
    dialling = world.dial()
    world.attempts[0].refuse(ZeroDivisionError("a fault of ours"))
    assert dialling.failed_with(ZeroDivisionError) == "a fault of ours"


def test_cancelling_a_dial_cancels_the_attempt_under_way() -> None:
    """And no other is begun."""
    world = World(A, B)
    dialling = world.dial()
    dialling.deferred.cancel()
    dialling.failed_with(CancelledError)
    assert [attempt.is_cancelled for attempt in world.attempts] == [True]
    world.clock.pump([1] * 10)
    assert len(world.attempts) == 1 and world.clock.getDelayedCalls() == []


def test_cancelling_a_dial_in_its_second_attempt_cancels_that_one() -> None:
    """A coroutine that was resumed once is cancelled like one that was not."""
    world = World(A, B)
    dialling = world.dial()
    world.attempts[0].refuse()
    dialling.deferred.cancel()
    dialling.failed_with(CancelledError)
    assert [attempt.is_cancelled for attempt in world.attempts] == [False, True]


def test_cancelling_a_dial_in_a_pause_ends_the_pause() -> None:
    """Nothing is left on the clock."""
    world = World(A)
    dialling = world.dial()
    world.attempts[0].refuse()
    assert len(world.clock.getDelayedCalls()) == 1
    dialling.deferred.cancel()
    dialling.failed_with(CancelledError)
    assert world.clock.getDelayedCalls() == [] and len(world.attempts) == 1


# One connection


def test_bytes_and_the_end_reach_the_client() -> None:
    """With the reason in words."""
    connection, wire, told = connection_on(Clock())
    connection.dataReceived(b"frame")
    wire.end(ConnectionLost("reset"))
    assert told.received == [b"frame"] and "reset" in told.lost[0]
    assert connection.client is None


def test_a_connection_that_was_let_go_of_tells_nobody_any_more() -> None:
    """The session has moved on, perhaps to another connection of the same side."""
    clock = Clock()
    connection, wire, told = connection_on(clock)
    connection.let_go(clock)
    connection.dataReceived(b"late")
    clock.advance(0)
    assert wire.ended == "ConnectionDone" and (told.received, told.lost) == ([], [])
    assert clock.getDelayedCalls() == []


def test_a_connection_that_does_not_close_is_cut() -> None:
    """What was written may still be taken, but not for ever."""
    clock = Clock()
    connection, wire, _ = connection_on(clock, is_stuck=True)
    connection.let_go(clock)
    clock.advance(LINGER - 0.1)
    assert wire.has_ended("")
    clock.pump([0.1, 0])
    assert wire.has_ended("ConnectionAborted")


def test_a_connection_that_opens_when_it_was_let_go_of_is_cut() -> None:
    """Nobody will ever read it."""
    clock, told = Clock(), Told()
    client: Any = told
    connection = ClusterConnection(client, ORIGIN)
    connection.let_go(clock)
    built = ClusterFactory(connection).buildProtocol(IPv4Address("TCP", "127.0.90.1", 9042))
    wire = Wire(clock, built).connect()
    clock.advance(0)
    assert wire.ended == "ConnectionAborted" and told.lost == []


def test_an_orderly_end_is_told_in_plain_words() -> None:
    """`Connection was closed cleanly.` says less to an operator."""
    assert described(Failure(ConnectionDone())) == "closed by the other end"
