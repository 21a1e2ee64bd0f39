"""One program takes over from another, both in memory: what passes between them, and what becomes of it if one ends."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from tests import frames
from tests.net.nodes import Lines
from tests.net.wires import ORIGIN, TARGET, Client, Stage, arriving
from tests.worker_process.crews import End
from zdm.net.adopted import Gate
from zdm.state_file import SavedState, TargetRecord
from zdm.upgrade.estate import Estate
from zdm.upgrade.incoming import Incoming
from zdm.upgrade.outgoing import READY_WITHIN, Successor, Upgrade, UpgradeFailed
from zdm.upgrade.roles import Movable, OwnWorker
from zdm.worker_process.commands import TakeSession

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
SICK = SavedState(target=TargetRecord(enabled=False, reason="sick", generation=3))


class Program:
    """One of both: what an upgrade asks of it, in the order of the questions."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.worker = OwnWorker(self.stage.worker, self.attach)
        self.asked: list[str] = []
        self.inherited: list[SavedState] = []
        self.is_serving = False

    def attach(self, moved: socket.socket, factory: Any) -> Deferred[None]:
        wire = arriving(moved)
        moved.close()
        assert wire is not None
        wire.adopt(factory.buildProtocol(None))
        return succeed(None)

    # The program that goes

    def listeners(self) -> dict[str, list[socket.socket]]:
        return {"localhost:1": [socket.socket()]}

    def saved(self) -> SavedState:
        return SICK

    def workers(self) -> Movable:
        return self.worker

    async def settle(self) -> None:
        self.asked.append("settle")

    def go_on(self) -> None:
        self.asked.append("go on")

    async def stop_accepting(self) -> None:
        self.asked.append("stop accepting")

    def drain_limit(self) -> float:
        return 3.0

    def handed_over(self, pid: int) -> None:
        self.asked.append(f"handed over to {pid}")

    # The program that comes

    def inherit(self, saved: SavedState) -> Deferred[None]:
        self.inherited.append(saved)
        return succeed(None)


class World:
    """Both, with the channel between them, and the process of the one that comes."""

    pid = 77

    def __init__(self) -> None:
        self.old, self.new = Program(), Program()
        self.clock = self.old.stage.clock
        self.callLater, self.seconds = self.clock.callLater, self.clock.seconds
        self.log, self.new_log = Lines(), Lines()
        self.gate = Gate()
        self.gate.when_open(self.serve)
        log: Any = self.new_log
        self.incoming = Incoming(self.gate, log)
        self.given: list[Estate] = []
        self.fork_fault: OSError | None = None
        self.burial: Deferred[int] = Deferred()
        self.is_killed = False
        self.outcome: list[Any] = []
        self.theirs = End(self.incoming)
        self.ours: End
        log = self.log
        self.upgrade = Upgrade(self.old, self.begin, self, log)

    # What starts the new program, its process, and the reactor

    def begin(self, given: Estate, successor: Successor) -> None:
        if self.fork_fault is not None:
            raise self.fork_fault
        process: Any = self
        successor.process = process
        self.given.append(given)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        protocol = factory.buildProtocol(None)
        self.ours = End(protocol)
        self.ours.peer, self.theirs.peer = self.theirs, self.ours
        protocol.makeConnection(self.ours)
        self.incoming.makeConnection(self.theirs)

    def kill(self) -> None:
        self.is_killed = True
        self.end(-signal.SIGKILL)

    def ended(self) -> Deferred[int]:
        return self.burial

    # What happens

    def serve(self) -> None:
        self.new.is_serving = True

    def end(self, code: int) -> None:
        """The new program is no more."""
        if not self.burial.called:
            self.theirs.vanish()
            self.burial.callback(code)

    def run(self) -> World:
        Deferred.fromCoroutine(self.upgrade.run()).addBoth(self.outcome.append)
        return self

    def get_ready(self) -> World:
        """The new program could serve."""
        taking = Deferred.fromCoroutine(self.incoming.take_over(self.new))
        taking.addErrback(lambda failed: pytest.fail(str(failed)))
        return self

    def settle(self) -> None:
        while self.theirs.deliver() or self.ours.deliver():
            pass
        for program in (self.old, self.new):
            program.stage.settle()
        if self.theirs.arriving or self.ours.arriving:
            self.settle()


@pytest.fixture
def world() -> World:
    return World()


def write(client: Client, stream: int) -> None:
    """A write through the connections that the client has now, wherever they end."""
    client.wire.protocol.dataReceived(frames.query(stream, INSERT))
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(stream)]


def prepare(client: Client, prepared_id: bytes) -> None:
    client.wire.protocol.dataReceived(frames.prepare(1, "INSERT INTO ks.t (k) VALUES (?)"))
    for side in (ORIGIN, TARGET):
        (request,) = client.clusters[side].take()
        client.answer(side, request, frames.prepared(prepared_id=prepared_id))
    client.wire.take()


def test_a_new_program_takes_over(world: World) -> None:
    """It knows all before it serves; sessions come when it does, and the old one accepts nobody then."""
    clients = [world.old.stage.ready_client() for _ in range(50)]
    prepare(clients[0], b"id")
    world.run().get_ready()
    world.settle()
    assert world.outcome == [True] and world.new.is_serving
    assert world.old.asked == ["settle", "stop accepting", "handed over to 77"]
    assert world.new.inherited == [SICK]
    assert b"id" in world.new.stage.worker.shared.prepared.entries
    assert (world.old.stage.worker.clients(), world.new.stage.worker.clients()) == (0, 50)
    for client in clients:
        write(client, 1)
    assert world.log.texts("error") == [] and world.new_log.lines == []
    assert world.clock.getDelayedCalls() == []


def test_the_old_program_keeps_no_descriptor_of_what_it_gave(world: World) -> None:
    """Its channel would not be seen to close; its listening sockets are its own still."""
    world.run()
    (given,) = world.given
    assert given.channel.fileno() == -1 and given.listeners["localhost:1"][0].fileno() == -1
    assert given.saved == SICK


def test_nothing_changes_before_the_new_program_is_ready(world: World) -> None:
    """However long it takes to start."""
    client = world.old.stage.ready_client()
    world.run()
    world.settle()
    world.clock.advance(READY_WITHIN - 1)
    write(client, 1)
    assert world.outcome == [] and world.old.asked == [] and not world.is_killed


@pytest.mark.parametrize("moment", ["starting", "ready"])
def test_a_new_program_that_ends_too_early_changes_nothing(world: World, moment: str) -> None:
    """Its exit code is told."""
    client = world.old.stage.ready_client()
    world.run()
    if moment == "ready":
        world.get_ready()
        world.theirs.peer.deliver()
        assert world.old.asked == ["settle"]
    world.end(255)
    world.settle()
    assert world.outcome == [False] and world.old.asked[-1] == "go on"
    assert world.log.texts("error") == [
        "The upgrade failed, this process goes on serving: the new program ended with exit code 255."
    ]
    assert world.old.stage.worker.shared.prepared.others is None
    write(client, 1)
    world.clock.advance(READY_WITHIN)
    assert len(world.outcome) == len(world.log.texts("error")) == 1


def test_a_new_program_that_is_not_ready_in_time_is_killed(world: World) -> None:
    """A cluster that only it cannot reach, or an import that hangs."""
    world.run()
    world.clock.advance(READY_WITHIN)
    world.settle()
    assert world.is_killed and world.outcome == [False] and world.old.asked == ["go on"]
    (line,) = world.log.texts("error")
    assert line.endswith("the new program does not serve after 60 s.")


def test_a_program_that_cannot_be_started_changes_nothing(world: World) -> None:
    """The machine is out of processes."""
    world.fork_fault = OSError(11, "Resource temporarily unavailable")
    world.run()
    assert world.outcome == [False] and world.old.asked == ["go on"]
    assert "Resource temporarily unavailable" in world.log.texts("error")[0]


def test_a_program_that_is_to_end_takes_the_new_one_with_it(world: World) -> None:
    """And that is no failure."""
    world.run()
    world.upgrade.give_up()
    world.settle()
    assert world.is_killed and world.outcome == [False]
    assert world.log.lines == [] and world.old.asked == []


def test_a_program_that_is_to_end_leaves_a_new_one_that_serves_alone(world: World) -> None:
    """The clients are there."""
    world.run().get_ready()
    world.settle()
    world.upgrade.give_up()
    assert not world.is_killed


def test_a_new_program_serves_though_the_old_one_vanishes_before_it_is_ready(world: World) -> None:
    """It has the listening sockets."""
    world.run()
    world.ours.vanish()
    world.theirs.deliver()
    world.get_ready()
    assert world.new.is_serving
    assert world.new_log.texts("warn") == ["The program that this one was to take over from has ended before that."]
    world.clock.advance(READY_WITHIN)


def test_sessions_on_their_way_to_a_new_program_that_dies_are_closed(world: World) -> None:
    """And the old one, which accepts nobody any more, says that it has failed."""
    client = world.old.stage.ready_client()
    world.run().get_ready()
    while client.wire.protocol is not None:
        assert world.ours.deliver() or world.theirs.deliver()
    world.end(-signal.SIGSEGV)
    world.settle()
    assert client.wire.is_lost and all(wire.is_lost for wire in client.clusters.values())
    (failed,) = world.outcome
    assert failed.check(UpgradeFailed) and "has ended while sessions moved" in failed.getErrorMessage()


def test_who_is_not_at_rest_in_time_stays(world: World) -> None:
    """To be drained; it is told how many there are."""
    stuck, other = world.old.stage.ready_client(), world.old.stage.ready_client()
    stuck.sends(frames.query(1, INSERT))
    world.run().get_ready()
    world.settle()
    assert world.outcome == []
    write(other, 1)
    for _ in range(2000):
        world.clock.advance(0.002)
    assert world.outcome == [True]
    assert world.log.texts("info") == ["All sessions at rest are with the new program; 1 are not at rest."]
    assert (world.old.stage.worker.clients(), world.new.stage.worker.clients()) == (1, 1)


def test_statements_made_while_sessions_move_are_known_to_both(world: World) -> None:
    """A driver's pool has connections to both programs for a moment."""
    late, moved = world.old.stage.ready_client(), world.old.stage.ready_client()
    late.sends(frames.prepare(1, "INSERT INTO ks.t (k) VALUES (?)"))
    world.run().get_ready()
    world.settle()
    prepare(moved, b"made by the new")
    for side in (ORIGIN, TARGET):
        (request,) = late.clusters[side].take()
        late.answer(side, request, frames.prepared(prepared_id=b"made by the old"))
    world.settle()
    for program in (world.old, world.new):
        assert set(program.stage.worker.shared.prepared.entries) == {b"made by the old", b"made by the new"}
    world.clock.advance(1)
    world.settle()
    late.wire.take()
    write(late, 2)
    assert world.outcome == [True]


def test_a_session_that_cannot_be_understood_is_closed(world: World) -> None:
    """The other program may be of any version."""
    client = world.old.stage.ready_client()
    world.run().get_ready()
    world.new.worker = OwnWorker(world.new.stage.worker, world.new.attach)
    wires = [client.wire, client.clusters[ORIGIN], client.clusters[TARGET]]
    ends = dict(zip(("client", "origin", "target"), (wire.fileno() for wire in wires), strict=True))
    failed: list[Any] = []
    world.ours.protocol.callRemote(TakeSession, handover=b"{}", **ends).addErrback(failed.append)
    while not failed:
        assert world.theirs.deliver() or world.ours.deliver()
    for wire in wires:
        wire.close()
        assert wire.is_lost
