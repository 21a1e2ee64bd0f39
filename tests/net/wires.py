"""A worker with wires instead of sockets, and a clock instead of time.

`Stage` is a worker whose dials the test accepts or refuses; `Stage.client()` connects a client to it. A `Wire` is one
connection as a Twisted protocol sees its transport: it keeps writes apart, and ends as `zdm.net.transport` ends, a turn
of the clock after it was asked to and not while a producer is registered. `is_stuck` is an end that takes nothing.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Protocol

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests import frames
from tests.at_once import at_once
from tests.net.nodes import Lines
from tests.stage import SUPPORTED, cut, stream_of, under
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.prepared import PreparedCache
from zdm.core.snapshot import ClusterFacts, Settings, Snapshot
from zdm.core.topology import Endpoint
from zdm.metrics import Meter
from zdm.net.client import ClientConnection
from zdm.net.logins import AcceptedLogins
from zdm.workers import Worker

ORIGIN, TARGET = Side.ORIGIN, Side.TARGET
HOSTS = {
    ORIGIN: (Endpoint("127.0.90.1", 9042), Endpoint("127.0.90.2", 9042)),
    TARGET: (Endpoint("127.0.90.11", 9042), Endpoint("127.0.90.12", 9042)),
}


class Wire(StringTransport):
    """One connection, with `protocol` at its near end."""

    def __init__(self, clock: Clock, protocol: Any, is_stuck: bool = False) -> None:
        super().__init__(IPv4Address("TCP", "127.0.90.100", 14002), IPv4Address("TCP", "127.0.90.200", 50000), True)
        self.clock = clock
        self.protocol = protocol
        self.is_stuck = is_stuck
        self.writes: list[bytes] = []
        self.ended = ""
        self.is_closing = False
        self.waiting = 0
        """Bytes that the socket has not taken."""
        self._ticket: tuple[socket.socket, socket.socket] | None = None
        self._travelled = False
        self.can_detach = True

    def connect(self) -> Wire:
        self.protocol.makeConnection(self)
        return self

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        if not self.is_closing:
            self.writes.append(data)

    def unsent(self) -> int:
        return self.waiting

    def detach(self) -> Wire:
        """Whoever has it can connect it to another protocol; this one hears nothing more."""
        assert not self.ended and self.producer is None
        self.protocol = None
        return self

    def fileno(self) -> int:
        """A descriptor that stands for it on its way to another process; `arriving` gives it back."""
        if self._ticket is None:
            self._ticket, self._travelled = socket.socketpair(), True
            _travelling[os.fstat(self._ticket[0].fileno()).st_ino] = self
        return self._ticket[0].fileno()

    def close(self) -> None:
        """Nobody has taken it; or somebody else has by now."""
        if self._ticket is not None:
            self._ticket[0].close()
        elif not self._travelled:
            self.ended = "closed"

    @property
    def is_lost(self) -> bool:
        """It is on its way, and nobody has a descriptor of it."""
        assert self._ticket is not None
        try:
            return self._ticket[1].recv(1, socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False

    def landed(self) -> None:
        if self._ticket is not None:
            for each in self._ticket:
                each.close()
            self._ticket = None

    def adopt(self, protocol: Any) -> None:
        """It has another protocol from now on."""
        self.landed()
        self.producerState = "producing"
        self.protocol = protocol
        self.connect()

    def take(self) -> list[bytes]:
        """The frames written since the last call."""
        writes, self.writes = self.writes, []
        return cut(b"".join(writes))

    def has_ended(self, reason: str) -> bool:
        return self.ended == reason

    @property
    def is_read(self) -> bool:
        return self.producerState == "producing"

    def loseConnection(self) -> None:
        if self.producer is None and not self.is_closing:
            self.is_closing = True
            if not self.is_stuck:
                self.clock.callLater(0, self.end, ConnectionDone())

    def abortConnection(self) -> None:
        if not self.ended and not self.disconnected:
            self.is_closing = self.disconnected = True
            self.clock.callLater(0, self.end, ConnectionAborted())

    def end(self, reason: Exception | None = None) -> None:
        """The connection is over, by whoever's doing."""
        if not self.ended:
            self.ended = type(reason or ConnectionDone()).__name__
            if self.producer is not None:
                self.producer.stopProducing()
                self.producer = None
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    # What LoopTransport says to the registered producer

    def fill(self) -> None:
        if self.producer is not None:
            self.producer.pauseProducing()

    def empty(self) -> None:
        if self.producer is not None:
            self.producer.resumeProducing()


_travelling: dict[int, Wire] = {}


def arriving(descriptor: socket.socket) -> Wire | None:
    """The wire that the descriptor stands for, where it is one's."""
    return _travelling.pop(os.fstat(descriptor.fileno()).st_ino, None)


@implementer(IStreamClientEndpoint)
class Dialled:
    """One attempt to connect, which the test decides on."""

    def __init__(self, clock: Clock, host: str, port: int, timeout: float) -> None:
        self.clock = clock
        self.endpoint = Endpoint(host, port)
        self.timeout = timeout
        self.is_cancelled = False
        self.attached: Deferred[Any] = Deferred(self._cancelled)
        self.factory: IProtocolFactory
        self.wire: Wire

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self.factory = factory
        return self.attached

    def _cancelled(self, attached: Deferred[Any]) -> None:
        self.is_cancelled = True
        attached.errback(CancelledError())

    def open(self, is_stuck: bool = False) -> Wire:
        """The socket is open; who dialled does not know yet."""
        address = IPv4Address("TCP", self.endpoint.address, self.endpoint.port)
        self.wire = Wire(self.clock, self.factory.buildProtocol(address), is_stuck)
        return self.wire.connect()

    def succeed(self) -> Wire:
        """Who dialled learns of it, or of nothing where the attempt was cancelled meanwhile."""
        if not self.attached.called:
            self.attached.callback(self.wire.protocol)
        return self.wire

    def accept(self, is_stuck: bool = False) -> Wire:
        self.open(is_stuck)
        return self.succeed()

    def refuse(self, reason: Exception | None = None) -> None:
        self.attached.errback(reason or ConnectionRefusedError())


class Host(Protocol):
    """A worker whose dials the test decides on."""

    clock: Clock

    @property
    def worker(self) -> Worker: ...

    def attempt(self, side: Side) -> Dialled: ...


class Client:
    """One client of a stage, and the wires to its clusters."""

    def __init__(self, stage: Host, is_stuck: bool = False, connection: ClientConnection | None = None) -> None:
        """`connection` is the proxy's end of it, where that is there already."""
        self.stage = stage
        self.connection = connection or ClientConnection(stage.worker)
        self.wire = Wire(stage.clock, self.connection, is_stuck)
        self.clusters: dict[Side, Wire] = {}

    def connect(self) -> Client:
        self.wire.connect()
        return self

    def attach(self, side: Side, is_stuck: bool = False) -> Wire:
        """The cluster accepts."""
        self.clusters[side] = self.stage.attempt(side).accept(is_stuck)
        return self.clusters[side]

    def open(self, is_stuck: bool = False) -> Client:
        for side in CLUSTERS:
            self.attach(side, is_stuck)
        return self

    def become_ready(self) -> Client:
        """A handshake with clusters that ask for no credentials."""
        self.sends(frames.startup(1))
        for side in CLUSTERS:
            self.introduce(side)
        assert self.wire.take() == [frames.ready(1)]
        return self

    def introduce(self, side: Side) -> None:
        """The cluster is content with the STARTUP that it got."""
        (startup,) = self.clusters[side].take()
        self.answer(side, startup, frames.ready())

    def sends(self, *sent: bytes) -> None:
        self.connection.dataReceived(b"".join(sent))

    def answer(self, side: Side, request: bytes, answer: bytes) -> None:
        self.clusters[side].protocol.dataReceived(under(answer, stream_of(request)))

    def answer_all(self, answer: bytes) -> None:
        """Each cluster answers alike all that it got since the last look."""
        for side in CLUSTERS:
            for request in self.clusters[side].take():
                self.answer(side, request, answer)


class Stage:
    """A worker; `settings` are fields of `Settings`."""

    def __init__(
        self, known: frozenset[Endpoint] = frozenset(), tables: Any = None, others: Any = None, **settings: Any
    ) -> None:
        """`others` are the other workers, where there are some."""
        self.clock = Clock()
        self.log = Lines()
        self.attempts: list[Dialled] = []
        self.refreshed: list[None] = []
        self.sought: list[tuple[tuple[bytes, ...], Deferred[None]]] = []
        self.changes = 0
        self.meter = Meter()
        self.settings = Settings(**settings)
        self.tables = tables
        log: Any = self.log
        self.worker = Worker(
            self.snapshot(1, known),
            self.meter,
            PreparedCache(others=others),
            self.clock,
            self.clock.seconds,
            lambda _: self.endpoint,
            {ORIGIN: 5.0, TARGET: 5.0},
            log,
            lambda: self.refreshed.append(None),
            AcceptedLogins(at_once, log),
            self.find,
            on_change=self.count_change,
        )

    def find(self, prepared_ids: tuple[bytes, ...]) -> Deferred[None]:
        """The question to the other workers; the test answers it."""
        self.sought.append((prepared_ids, Deferred()))
        return self.sought[-1][1]

    def count_change(self) -> None:
        self.changes += 1

    def snapshot(self, generation: int, known: frozenset[Endpoint] = frozenset()) -> Snapshot:
        """`known` are the hosts that are part of origin; empty where hosts are not assigned."""
        origin = ClusterFacts(endpoints=HOSTS[ORIGIN], known=known)
        return Snapshot(
            generation, self.settings, origin, ClusterFacts(endpoints=HOSTS[TARGET]), SUPPORTED, self.tables
        )

    def endpoint(self, host: str, port: int, timeout: float) -> Dialled:
        self.attempts.append(Dialled(self.clock, host, port, timeout))
        return self.attempts[-1]

    def attempt(self, side: Side) -> Dialled:
        """The oldest attempt to reach a cluster that is not decided yet."""
        return next(one for one in self.attempts if one.endpoint in HOSTS[side] and not one.attached.called)

    def client(self, is_stuck: bool = False) -> Client:
        """Connected, with both cluster connections being dialled."""
        return Client(self, is_stuck).connect()

    def ready_client(self, is_stuck: bool = False, stuck_clusters: bool = False) -> Client:
        return self.client(is_stuck).open(stuck_clusters).become_ready()

    def settle(self) -> None:
        """Let all that is due now happen."""
        self.clock.advance(0)

    def timers(self) -> list[float]:
        """When what is scheduled is due, in seconds from now."""
        return sorted(round(call.getTime() - self.clock.seconds(), 3) for call in self.clock.getDelayedCalls())
