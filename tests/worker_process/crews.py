"""A crew of workers whose processes live in this one, with channels in memory and a clock instead of time.

What an end of a channel sends arrives when `settle` is called. A process that is `stopped` reads nothing meanwhile, as
one that was sent SIGSTOP or hangs; one that is killed is gone when its burial is asked for and the clock goes on.
"""

from __future__ import annotations

import os
import random
import signal
import socket
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.net.nodes import Lines
from tests.net.wires import HOSTS, ORIGIN, TARGET, Client, Dialled, arriving
from tests.stage import SUPPORTED
from zdm.core.clusters import Side
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.core.snapshot import ClusterFacts, Settings, Snapshot, TargetMode
from zdm.metrics import Meter
from zdm.net.transport import SocketOptions
from zdm.tls_ends import TlsEnds
from zdm.worker_process.crew import Crew
from zdm.worker_process.hosted import HostedWorker, Ways
from zdm.worker_process.remote import RemoteWorker
from zdm.worker_process.snapshots import WorkerSettings
from zdm.workers import Worker

OPTIONS = SocketOptions(nodelay=False)


class End(StringTransport):
    """One end of a channel."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer: End
        self.arriving: deque[bytes | int | None] = deque()
        self.is_closed = False

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self.peer.arriving.append(data)

    def sendFileDescriptor(self, descriptor: int) -> None:
        if not self.is_closed:
            self.peer.arriving.append(os.dup(descriptor))

    def loseConnection(self) -> None:
        if not self.is_closed:
            self.vanish()
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def vanish(self) -> None:
        """Closed without a word to whoever holds it: the process is dead."""
        self.is_closed = True
        for left in self.arriving:
            if isinstance(left, int):
                os.close(left)
        self.arriving.clear()
        self.peer.arriving.append(None)

    def deliver(self) -> bool:
        """The next piece arrives, at last the end; False where there is none."""
        if not self.arriving or self.is_closed:
            return False
        piece = self.arriving.popleft()
        if piece is None:
            self.is_closed = True
            self.protocol.connectionLost(Failure(ConnectionDone()))
        elif isinstance(piece, int):
            self.protocol.fileDescriptorReceived(piece)
        else:
            self.protocol.dataReceived(piece)
        return True


class RunningProcess:
    """A worker's process, and what is on its side of the channel."""

    def __init__(self, world: World, remote: RemoteWorker, pid: int) -> None:
        self.world, self.clock, self.pid = world, world.clock, pid
        self.number = remote.number
        self.log = Lines()
        log: Any = self.log
        self.hosted = HostedWorker(self.clock, self.clock.seconds, log, self.ways, self.has_ended)
        self.attempts: list[Dialled] = []
        self.clients: list[Client] = []
        self.is_stopped = False
        self.code: int | None = None
        self._burial: Deferred[int] | None = None
        self.ours, self.theirs = End(remote), End(self.hosted)
        self.ours.peer, self.theirs.peer = self.theirs, self.ours

    @property
    def is_running(self) -> bool:
        return self.code is None

    @property
    def worker(self) -> Worker:
        worker = self.hosted._worker
        assert worker is not None
        return worker

    def begin(self, remote: RemoteWorker) -> None:
        remote.makeConnection(self.ours)
        if not self.is_stopped:
            self.hosted.makeConnection(self.theirs)

    # What the supervisor has of it

    def kill(self) -> None:
        self.end(-signal.SIGKILL)

    def ended(self) -> Deferred[int]:
        self._burial = Deferred()
        if self.code is not None:
            self.clock.callLater(0, self._bury)
        return self._burial

    def has_ended(self) -> None:
        """The worker has seen that its channel is closed."""
        self.end(0)

    def end(self, code: int) -> None:
        """The process is no more."""
        if self.code is not None:
            return
        self.code = code
        for timer in (self.hosted._telling, self.hosted._watching):
            if timer is not None and timer.active():
                timer.cancel()
        if not self.theirs.is_closed:
            self.theirs.vanish()
        if self._burial is not None:
            self.clock.callLater(0, self._bury)

    def _bury(self) -> None:
        burial, self._burial = self._burial, None
        if burial is not None:
            assert self.code is not None
            burial.callback(self.code)

    def deliver(self) -> bool:
        told = False if self.is_stopped else self.theirs.deliver()
        return self.ours.deliver() or told

    # Its clients and clusters

    def ways(self, settings: WorkerSettings, tls: TlsEnds) -> Ways:
        self.options, self.tls = settings.options, tls
        return Ways(lambda _: self.endpoint, self.attach, self.attach)

    def endpoint(self, host: str, port: int, timeout: float) -> Dialled:
        self.attempts.append(Dialled(self.clock, host, port, timeout))
        return self.attempts[-1]

    def attempt(self, side: Side) -> Dialled:
        return next(one for one in self.attempts if one.endpoint in HOSTS[side] and not one.attached.called)

    def attach(self, accepted: socket.socket, factory: Any) -> Deferred[None]:
        assert not accepted.getblocking()
        moved = arriving(accepted)
        accepted.close()
        if moved is not None:
            moved.adopt(factory.buildProtocol(None))
            return succeed(None)
        self.clients.append(Client(self, connection=factory.buildProtocol(None)).connect())
        return succeed(None)


class Judge:
    """The logins, as the supervisor keeps them."""

    def __init__(self) -> None:
        self.told: list[tuple[Credentials, bool]] = []

    def accepted(self, credentials: Credentials) -> None:
        self.told.append((credentials, True))

    def refused(self, credentials: Credentials) -> None:
        self.told.append((credentials, False))

    def verify(self, credentials: Credentials) -> Deferred[Recognition]:
        return succeed(Recognition.KNOWN if (credentials, True) in self.told else Recognition.UNSEEN)


class World:
    """A crew of `count`, and everything around it."""

    def __init__(self, count: int = 2, **settings: Any) -> None:
        self.clock = Clock()
        self.log = Lines()
        self.logins = Judge()
        self.refreshed = 0
        self.processes: list[RunningProcess] = []
        """All that were ever started."""
        self.stillborn = False
        """Processes do not come so far as to say hello."""
        self.fork_fault: OSError | None = None
        self.generation = 0
        self.settings = Settings(**settings)
        log: Any = self.log
        self.crew = Crew(
            [
                WorkerSettings(1 + n, count, 5.0, 5.0, (0.1, 1.0), (0.2,), 10, "INFO", "json", OPTIONS)
                for n in range(count)
            ],
            self.launch,
            self.clock,
            log,
            lambda: Meter((0.1, 1.0), (0.2,)),
            self.refresh,
            self.logins,
            random.Random(1),
        )

    def launch(self, remote: RemoteWorker) -> None:
        if self.fork_fault is not None:
            raise self.fork_fault
        process = RunningProcess(self, remote, 1000 + len(self.processes))
        process.is_stopped = self.stillborn
        self.processes.append(process)
        remote.process = process
        process.begin(remote)

    def refresh(self) -> None:
        self.refreshed += 1

    def snapshot(self, is_on: bool = True, **changes: Any) -> Snapshot:
        """The next generation."""
        self.generation += 1
        mode = TargetMode.DUAL if is_on else TargetMode.ORIGIN_ONLY
        origin, target = ClusterFacts(endpoints=HOSTS[ORIGIN]), ClusterFacts(endpoints=HOSTS[TARGET])
        return Snapshot(self.generation, self.settings, origin, target, SUPPORTED, mode=mode)

    def apply(self, is_on: bool = True) -> list[int]:
        """The generations that were acknowledged, later too."""
        acknowledged: list[int] = []
        self.crew.apply(self.snapshot(is_on)).addCallback(acknowledged.append)
        return acknowledged

    def opened(self) -> list[None]:
        fired: list[None] = []
        self.crew.opened().addCallback(fired.append)
        return fired

    def serve(self) -> World:
        """All workers are there and have the first generation."""
        self.crew.start()
        self.apply()
        fired = self.opened()
        self.settle()
        assert fired == [None]
        return self

    def settle(self) -> None:
        """All that was sent arrives, and what is due happens."""
        while True:
            if not any([process.deliver() for process in self.processes]):
                self.clock.advance(0)
                if not any([process.deliver() for process in self.processes]):
                    return

    def pass_time(self, seconds: float) -> None:
        self.settle()
        self.clock.advance(seconds)
        self.settle()

    @property
    def running(self) -> list[RunningProcess]:
        """By the workers' numbers."""
        return sorted((one for one in self.processes if one.is_running), key=lambda one: one.number)

    def connect(self) -> socket.socket:
        """A client connects; its end."""
        theirs, ours = socket.socketpair()
        ours.setblocking(False)
        passage: Any = self.crew.client(None)
        passage.socket_accepted(ours)
        return theirs

    def client(self, process: RunningProcess) -> Client:
        """A ready client of this worker, which has the fewest."""
        with self.connect():
            self.settle()
        return process.clients[-1].open().become_ready()

    def scrape(self) -> Meter:
        scraped: list[Meter] = []
        self.crew.scrape().addCallback(scraped.append)
        self.settle()
        return scraped[0]

    def counts(self) -> list[int]:
        return [process.worker.clients() for process in self.running]
