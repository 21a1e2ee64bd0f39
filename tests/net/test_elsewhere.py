"""Preparing a statement under another keyspace, against a host that the test plays."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, DNSLookupError
from twisted.python.failure import Failure

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, Stage, Wire
from tests.stage import cut, stream_of, under
from zdm.core.commands import PrepareElsewhere
from zdm.core.credentials import Credentials
from zdm.net.elsewhere import Errands, Outcome
from zdm.protocol.opcodes import ERROR, RESULT

TEXT = "INSERT INTO t (k) VALUES (?)"
USER = Credentials("cassandra", "cassandra")


class World:
    """One errand to origin's first host."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.done: list[tuple[int, Outcome]] = []
        self.failed: list[Failure] = []
        self.errands = Errands(self.stage.worker, self._done, self.failed.append)
        self.wire: Wire

    def _done(self, ticket: int, outcome: Outcome) -> None:
        self.done.append((ticket, outcome))

    def start(self, keyspace: str = "ks", credentials: Credentials | None = None) -> World:
        command = PrepareElsewhere(ORIGIN, keyspace, TEXT, 7)
        self.errands.start(HOSTS[ORIGIN][0], credentials, 4, command)
        return self

    def accept(self) -> World:
        self.wire = self.stage.attempts[-1].accept()
        return self

    def answer(self, answer: bytes) -> bytes:
        """Answers the one request that came; the request."""
        (request,) = cut(b"".join(self.wire.writes))
        self.wire.writes.clear()
        self.wire.protocol.dataReceived(under(answer, stream_of(request)))
        return under(request, 0)

    def introduce(self) -> World:
        self.answer(frames.supported())
        self.answer(frames.ready())
        return self

    def is_over(self) -> bool:
        self.stage.settle()
        return bool(self.wire.ended) and self.stage.timers() == []


@pytest.fixture
def world() -> World:
    return World()


def test_the_statement_is_prepared_in_its_keyspace_on_the_same_host(world: World) -> None:
    """What a host has prepared holds for all connections to it."""
    world.start("ks").accept().introduce()
    assert world.stage.attempts[0].endpoint == HOSTS[ORIGIN][0]
    assert b'USE "ks"' in world.answer(frames.set_keyspace())
    assert world.answer(frames.prepared(prepared_id=b"id")) == frames.prepare(text=TEXT)
    ((ticket, outcome),) = world.done
    assert ticket == 7 and outcome is not None and outcome[0] == RESULT
    assert outcome[1] == frames.prepared(prepared_id=b"id")[9:]
    assert world.is_over() and world.failed == []


def test_a_keyspace_is_quoted(world: World) -> None:
    """Names may have capitals and quotes."""
    world.start('Ks"x').accept().introduce()
    assert b'USE "Ks""x"' in world.answer(frames.set_keyspace())


def test_without_a_keyspace_there_is_no_use(world: World) -> None:
    """The client had chosen none when it prepared the statement."""
    world.start("").accept().introduce()
    assert world.answer(frames.prepared()) == frames.prepare(text=TEXT)


def test_the_sessions_credentials_are_used(world: World) -> None:
    """The errand has the rights that its client has."""
    world.start(credentials=USER).accept()
    world.answer(frames.supported())
    world.answer(frames.authenticate())
    assert world.answer(frames.auth_success()) == frames.auth_response(token=USER.token())


@pytest.mark.parametrize("step", ["use", "prepare"])
def test_an_error_of_the_cluster_is_the_outcome(step: str, world: World) -> None:
    """The client is to read why the statement cannot be prepared any more."""
    world.start().accept().introduce()
    if step == "prepare":
        world.answer(frames.set_keyspace())
    refusal = frames.error(code=0x2200, message="gone")
    world.answer(refusal)
    assert world.done == [(7, (ERROR, refusal[9:]))]
    assert world.is_over()


@pytest.mark.parametrize("reason", [None, DNSLookupError("no such name")])
def test_a_host_that_cannot_be_reached_gives_no_outcome(reason: Exception | None, world: World) -> None:
    """A line tells the operator; the session settles the request as one that could not be mended."""
    world.start()
    world.stage.attempts[0].refuse(reason)
    assert world.done == [(7, None)] and world.failed == []
    (line,) = world.stage.log.texts("warn")
    assert line.startswith("ORIGIN host 127.0.90.1:9042: could not prepare a statement again there: ")


def test_a_host_that_goes_away_gives_no_outcome(world: World) -> None:
    """In the middle, as at the start."""
    world.start().accept().introduce()
    world.wire.end(ConnectionDone())
    assert world.done == [(7, None)] and len(world.stage.log.texts("warn")) == 1


def test_a_host_that_is_silent_gives_no_outcome_after_a_requests_time(world: World) -> None:
    """The client's request waits for it."""
    world.start().accept().introduce()
    world.stage.clock.advance(10.1)
    assert world.done == [(7, None)] and world.is_over()


@pytest.mark.parametrize("moment", ["dialling", "asking"])
def test_cancelled_errands_leave_nothing_and_say_nothing(moment: str, world: World) -> None:
    """Their client is gone."""
    world.start()
    if moment == "asking":
        world.accept().introduce()
    world.errands.cancel()
    assert (world.done, world.failed, world.stage.log.texts("warn")) == ([], [], [])
    if moment == "asking":
        assert world.is_over()
    else:
        assert world.stage.attempts[0].is_cancelled and world.stage.timers() == []


def test_a_fault_of_ours_is_told_as_one(world: World) -> None:
    """A Deferred that fails where nobody looks is told by the garbage collector, some day."""

    def fail(ticket: int, outcome: Outcome) -> Any:
        raise ZeroDivisionError("a fault of ours")

    world.errands = Errands(world.stage.worker, fail, world.failed.append)
    world.start()
    world.stage.attempts[0].refuse()
    assert [failed.getErrorMessage() for failed in world.failed] == ["a fault of ours"]
