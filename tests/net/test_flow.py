"""Which of a session's connections are read."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from zdm.core.clusters import CLUSTERS, Side
from zdm.net.flow import Flow, Limit, PausedTime

CLIENT, ORIGIN, TARGET = Side.CLIENT, Side.ORIGIN, Side.TARGET
PATIENCE = 10.0


class Transport(StringTransport):
    """One that a test fills."""

    waiting = 0

    def unsent(self) -> int:
        return self.waiting


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.stalled: list[Side] = []
        self.pauses = PausedTime()
        self.told: list[bool] = []
        self.flow = Flow(self.clock, self.stalled.append, self.told.append, self.pauses)
        self.transports: dict[Side, Any] = {side: Transport() for side in Side}
        self.flow.watch(CLIENT, self.transports[CLIENT])
        for side in CLUSTERS:
            self.flow.watch(side, self.transports[side], PATIENCE)

    def fill(self, side: Side) -> None:
        self.transports[side].producer.pauseProducing()

    def empty(self, side: Side) -> None:
        self.transports[side].producer.resumeProducing()

    def end(self, side: Side) -> None:
        self.transports[side].producer.stopProducing()

    def paused(self) -> tuple[float, ...]:
        """Seconds by the client, origin and target."""
        return tuple(self.pauses.sides[side].seconds(self.clock.seconds()) for side in Side)

    def read(self) -> set[Side]:
        return {side for side, transport in self.transports.items() if transport.producerState == "producing"}


@pytest.fixture
def world() -> World:
    return World()


def test_everything_is_read_while_nothing_is_full(world: World) -> None:
    """The usual state costs nothing."""
    assert world.read() == {CLIENT, ORIGIN, TARGET}
    assert world.clock.getDelayedCalls() == []


def test_nothing_is_read_while_the_client_is_full(world: World) -> None:
    """Neither answers nor what would bring more of them."""
    world.fill(CLIENT)
    assert world.read() == set() and world.told == [True]
    world.empty(CLIENT)
    assert world.read() == {CLIENT, ORIGIN, TARGET} and world.told == [True, False]


def test_the_client_is_not_read_until_both_clusters_are_drained(world: World) -> None:
    """What it sends may go to either."""
    world.fill(ORIGIN)
    world.fill(TARGET)
    world.empty(ORIGIN)
    assert world.read() == {ORIGIN, TARGET}
    world.empty(TARGET)
    assert world.read() == {CLIENT, ORIGIN, TARGET}


def test_saying_it_twice_changes_nothing(world: World) -> None:
    """A transport may say what it said before."""
    for _ in range(2):
        world.fill(TARGET)
    assert len(world.clock.getDelayedCalls()) == 1
    for _ in range(2):
        world.empty(TARGET)
    assert world.read() == {CLIENT, ORIGIN, TARGET} and world.clock.getDelayedCalls() == []


def test_a_cluster_that_stays_full_is_told_of_once(world: World) -> None:
    """Who waits for it would wait for ever."""
    world.fill(TARGET)
    world.clock.advance(PATIENCE - 0.1)
    assert world.stalled == []
    world.clock.advance(0.1)
    world.clock.advance(PATIENCE)
    assert world.stalled == [TARGET]


def test_a_cluster_that_drains_now_and_then_is_only_slow(world: World) -> None:
    """Patience begins anew with each time that it fills."""
    for _ in range(5):
        world.fill(TARGET)
        world.clock.advance(PATIENCE - 0.1)
        world.empty(TARGET)
    assert world.stalled == []


def test_a_cluster_that_takes_a_large_request_slowly_is_not_given_up(world: World) -> None:
    """It may not be drained once in all that time, and yet every look finds less."""
    world.transports[TARGET].waiting = 100 << 20
    world.fill(TARGET)
    for _ in range(5):
        world.transports[TARGET].waiting -= 10 << 20
        world.clock.advance(PATIENCE)
    assert world.stalled == []
    world.clock.advance(PATIENCE)
    assert world.stalled == [TARGET]


def test_a_client_may_stay_full_for_as_long_as_it_likes(world: World) -> None:
    """It holds up nobody but itself."""
    world.fill(CLIENT)
    world.clock.advance(1000 * PATIENCE)
    assert world.stalled == [] and world.read() == set()


def test_a_connection_that_ended_holds_up_nobody_and_is_left_alone(world: World) -> None:
    """A transport that has ended can be neither paused nor resumed."""
    world.fill(TARGET)
    world.end(TARGET)
    world.transports[TARGET].producerState = "ended"
    assert world.read() == {CLIENT, ORIGIN} and world.clock.getDelayedCalls() == []
    world.fill(CLIENT)
    world.empty(CLIENT)
    assert world.transports[TARGET].producerState == "ended"


def test_a_connection_that_is_forgotten_can_be_closed(world: World) -> None:
    """A transport does not close while a producer is registered with it."""
    world.fill(ORIGIN)
    world.flow.forget(ORIGIN)
    assert world.transports[ORIGIN].producer is None
    assert CLIENT in world.read() and world.clock.getDelayedCalls() == []
    world.flow.forget(ORIGIN)


def test_a_connection_that_comes_while_the_client_is_full_is_not_read(world: World) -> None:
    """Attached anew, it may have answers at once."""
    world.fill(CLIENT)
    world.end(TARGET)
    world.transports[TARGET] = Transport()
    world.flow.watch(TARGET, world.transports[TARGET], PATIENCE)
    assert world.read() == set()
    world.empty(CLIENT)
    assert world.read() == {CLIENT, ORIGIN, TARGET}


def test_the_time_is_counted_for_the_side_that_took_nothing(world: World) -> None:
    """That is where the operator has to look, whoever was not read because of it."""
    world.fill(TARGET)
    world.clock.advance(2)
    world.fill(CLIENT)
    world.clock.advance(3)
    world.empty(TARGET)
    world.clock.advance(1)
    assert world.paused() == (4, 0, 5), "the client is full still"
    world.empty(CLIENT)
    world.fill(ORIGIN)
    world.clock.advance(1)
    world.end(ORIGIN)
    world.clock.advance(10)
    assert world.paused() == (4, 1, 5)


def test_a_client_over_a_limit_is_not_read_and_its_clusters_are(world: World) -> None:
    """Their answers are what brings it below."""
    world.flow.brake(Limit.CLIENT)
    world.flow.brake(Limit.CLIENT)
    assert world.read() == {ORIGIN, TARGET}
    world.flow.brake(Limit.PROCESS)
    world.clock.advance(2)
    world.flow.release(Limit.CLIENT)
    world.clock.advance(1)
    assert world.read() == {ORIGIN, TARGET}
    world.flow.release(Limit.PROCESS)
    assert world.read() == {CLIENT, ORIGIN, TARGET}
    world.clock.advance(1)
    assert [world.pauses.limits[limit].seconds(world.clock.seconds()) for limit in Limit] == [2, 3]


def test_the_brakes_end_with_the_client(world: World) -> None:
    """Nobody waits any more, and nobody may be braked anew."""
    world.flow.brake(Limit.CLIENT)
    world.clock.advance(1)
    world.end(CLIENT)
    world.flow.brake(Limit.PROCESS)
    world.clock.advance(1)
    assert [world.pauses.limits[limit].seconds(world.clock.seconds()) for limit in Limit] == [1, 0]
