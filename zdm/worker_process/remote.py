"""One worker process as the supervisor knows it, from its launch until the kernel has buried it.

Every question has a limit: a worker that does not answer is of no use to its clients either, so it is killed, and its
place is taken by a new one. A worker whose channel is closed is killed too, so that none goes on without a supervisor
that could switch target off for it.
"""

from __future__ import annotations

import signal
import socket
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure

from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.log import Log
from zdm.worker_process import commands
from zdm.worker_process.sessions import Parcel, received

PATIENCE: Final = 5.0
"""Seconds within which a worker answers."""

START_PATIENCE: Final = 60.0
"""Seconds within which a new process says that it is there: a machine that starts many programs is slow."""

_LEAVE: Final = 2.0
"""Seconds in which a worker ends by itself when it was told to, unless it has something to write before."""

SLOW: Final = 1.0
"""Seconds without a sign of life from a worker that was given clients, after which others are preferred."""

MOST_UNANSWERED: Final = 32
"""Clients on their way to one worker: the kernel holds only so many descriptors that nobody has taken yet."""


class Process(Protocol):
    """A child of this process."""

    @property
    def pid(self) -> int:
        """Its number."""

    def kill(self) -> None:
        """SIGKILL. Harmless where it has ended."""

    def ended(self) -> Deferred[int]:
        """Fires with its exit code, or the negative number of the signal that ended it. To be asked once."""


class Superior(Protocol):
    """What a worker's end of the channel asks of the supervisor."""

    def greeted(self, worker: RemoteWorker) -> None:
        """It is ready to be told what to do."""

    def relieved(self, worker: RemoteWorker) -> None:
        """It can be given clients again."""

    def ended(self, worker: RemoteWorker, code: int) -> None:
        """Its process is no more."""

    def login_judged(self, credentials: Credentials, is_accepted: bool) -> None:
        """Target has let these in, or has refused them."""

    def verify_login(self, credentials: Credentials) -> Deferred[Recognition]:
        """Whether target accepted these before."""

    def refresh_schema(self) -> None:
        """A client has changed the schema."""

    def statement_made(self, worker: RemoteWorker, statement: bytes) -> None:
        """A client of this worker has prepared a statement."""

    def statement_forgotten(self, worker: RemoteWorker, prepared_id: bytes) -> None:
        """This worker has found out that the id means nothing any more."""

    def find_statements(self, worker: RemoteWorker, wanted: bytes) -> Deferred[bytes]:
        """What the others know."""

    def pass_on(self, worker: RemoteWorker, parcel: Parcel) -> Deferred[None]:
        """A session leaves this worker: fires when another has it, or it was closed."""

    def weigh(self) -> None:
        """A worker has other figures than before."""


class RemoteWorker(AMP):
    """The supervisor's end of the channel. `process` is set by whoever launches it, before anything else happens."""

    process: Process

    def __init__(self, number: int, superior: Superior, clock: IReactorTime, log: Log) -> None:
        super().__init__()
        self.number: Final = number
        self.is_there = False
        """It has said hello, and its channel is open."""
        self.attaching = 0
        self.leave_limit = _LEAVE
        self._superior: Final = superior
        self._clock: Final = clock
        self._log: Final = log
        self._handed = self._taken = self._clients = self._unanswered = 0
        self._taken_at = 0.0
        self._starting: IDelayedCall | None = None
        self._burials: Final[list[Deferred[None]]] = []
        self._is_leaving = False

    # What the crew asks

    @property
    def clients(self) -> int:
        """How many it has, with those that are on their way to it."""
        return self._clients + self._handed - self._taken

    @property
    def takes_clients(self) -> bool:
        """Not too many are on their way already."""
        return self.is_there and self._unanswered < MOST_UNANSWERED

    @property
    def is_slow(self) -> bool:
        """Clients are on their way, and none has arrived for a while."""
        return self._unanswered > 0 and self._clock.seconds() - self._taken_at >= SLOW

    def begin(self, settings: bytes) -> None:
        """Tell it what to be."""
        self._ask(commands.Start, settings=settings).addErrback(lambda _: None)

    def configure_log(self, level: str, log_format: str) -> None:
        """Tell it what to show; one that ends meanwhile need not know."""
        self._ask(commands.ConfigureLog, level=level, log_format=log_format).addErrback(lambda _: None)

    def secure(self, setups: bytes) -> None:
        """Give it certificates. It goes on with those it has, if any, where it cannot use them, and says so."""
        self._ask(commands.Secure, setups=setups).addErrback(lambda _: None)

    def apply(self, snapshot: bytes) -> Deferred[None]:
        """Fires when no session of it is left behind: each has the generation, or has ended with the process."""
        applying = self._ask(commands.Apply, snapshot=snapshot)
        return applying.addCallbacks(self._applied, lambda _: self.buried())

    def hand(self, accepted: socket.socket) -> None:
        """A client's connection is the worker's from now on."""
        if not self._unanswered:
            self._taken_at = self._clock.seconds()
        self._handed += 1
        self._unanswered += 1
        self._ask(commands.TakeClient, descriptor=accepted.fileno()).addBoth(self._has_taken, accepted)

    def hand_session(self, parcel: Parcel) -> Deferred[None]:
        """A session is the worker's from now on; fires when it has the descriptors, fails where it never will."""
        self._handed += 1
        return self._ask(commands.TakeSession, **parcel.arguments).addCallback(lambda _: None)

    def release(self, limit: float) -> Deferred[int]:
        """Fires when its sessions have left, or the limit is over, with how many have not."""
        releasing = self._ask(commands.Release, limit + PATIENCE, limit=limit)
        return releasing.addCallbacks(lambda answer: answer["left"], lambda _: self.buried().addCallback(lambda _: 0))

    def spare(self, count: int) -> None:
        """It has too many sessions: up to so many of those at rest leave it."""
        self._ask(commands.Spare, count=count).addErrback(lambda _: None)

    def scrape(self) -> Deferred[bytes]:
        """Its counters now; fails where it ends meanwhile."""
        return self._ask(commands.Scrape).addCallback(lambda answer: answer["counters"])

    def drain(self, limit: float) -> Deferred[None]:
        """Fires when all its sessions have ended."""
        draining = self._ask(commands.Drain, limit + PATIENCE, limit=limit)
        return draining.addCallbacks(lambda _: None, lambda _: self.buried())

    def find(self, wanted: bytes) -> Deferred[bytes]:
        """What it knows of these ids; fails where it ends meanwhile."""
        return self._ask(commands.FindStatements, wanted=wanted).addCallback(lambda answer: answer["found"])

    def list_statements(self) -> Deferred[bytes]:
        """All that it knows; fails where it ends meanwhile."""
        return self._ask(commands.ListStatements).addCallback(lambda answer: answer["found"])

    def learn(self, statement: bytes) -> None:
        """Another worker has learned this."""
        self.callRemote(commands.StatementMade, statement=statement)

    def forget(self, prepared_id: bytes) -> None:
        """Another worker has found out that the id means nothing any more."""
        self.callRemote(commands.StatementForgotten, prepared_id=prepared_id)

    def leave(self) -> None:
        """Its work is done: it is to end."""
        self._is_leaving = True
        if self.transport is not None and self.is_there:
            self.transport.loseConnection()
        else:
            self.process.kill()

    def buried(self) -> Deferred[None]:
        """Fires when its process is no more. Asked before the superior is told that it has ended."""
        burial: Deferred[None] = Deferred()
        self._burials.append(burial)
        return burial

    # What the worker says

    @commands.Hello.responder
    def _hello(self, pid: int) -> dict[str, Any]:
        self._has_started()
        self.is_there = True
        self._superior.greeted(self)
        return {}

    @commands.Load.responder
    def _load(self, taken: int, clients: int, attaching: int) -> dict[str, Any]:
        self._taken, self._clients, self.attaching = taken, clients, attaching
        self._superior.weigh()
        return {}

    @commands.TakeSession.responder
    def _session_leaves(self, **arguments: Any) -> Deferred[dict[str, Any]]:
        return self._superior.pass_on(self, received(**arguments)).addCallback(lambda _: {})

    @commands.LoginJudged.responder
    def _login_judged(self, user: bytes, password: bytes, accepted: bool) -> dict[str, Any]:
        self._superior.login_judged(Credentials(user.decode(), password.decode()), accepted)
        return {}

    @commands.VerifyLogin.responder
    def _verify_login(self, user: bytes, password: bytes) -> Deferred[dict[str, Any]]:
        verifying = self._superior.verify_login(Credentials(user.decode(), password.decode()))
        return verifying.addCallback(lambda login: {"recognition": login.name})

    @commands.RefreshSchema.responder
    def _refresh_schema(self) -> dict[str, Any]:
        self._superior.refresh_schema()
        return {}

    @commands.StatementMade.responder
    def _statement_made(self, statement: bytes) -> dict[str, Any]:
        self._superior.statement_made(self, statement)
        return {}

    @commands.StatementForgotten.responder
    def _statement_forgotten(self, prepared_id: bytes) -> dict[str, Any]:
        self._superior.statement_forgotten(self, prepared_id)
        return {}

    @commands.FindStatements.responder
    def _find_statements(self, wanted: bytes) -> Deferred[dict[str, Any]]:
        return self._superior.find_statements(self, wanted).addCallback(lambda found: {"found": found})

    # Its life

    def connectionMade(self) -> None:
        """The process has been started."""
        super().connectionMade()
        self._starting = self._clock.callLater(START_PATIENCE, self._silent)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The channel is closed; the process has ended, or ends now."""
        self.is_there = False
        self._has_started()
        if self._is_leaving:
            killing = self._clock.callLater(self.leave_limit, self.process.kill)
        else:
            self.process.kill()
            killing = None
        super().connectionLost(reason)
        ending = self.process.ended()
        ending.addCallback(self._ended)
        if killing is not None:
            ending.addBoth(lambda _: killing.cancel() if killing.active() else None)

    def _has_started(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None

    def _ended(self, code: int) -> None:
        self._superior.ended(self, code)
        burials = list(self._burials)
        self._burials.clear()
        for burial in burials:
            burial.callback(None)

    # Asking

    def _ask(self, command: Any, patience: float = PATIENCE, **arguments: Any) -> Deferred[Any]:
        timer = self._clock.callLater(patience, self._silent)
        asking: Deferred[Any] = self.callRemote(command, **arguments)

        def answered(answer: Any) -> Any:
            if timer.active():
                timer.cancel()
            return answer

        return asking.addBoth(answered)

    def _silent(self) -> None:
        self._starting = None
        self._log.error(f"Worker {self.number} (process {self.process.pid}) does not answer; it is killed.")
        self.process.kill()

    def _applied(self, answer: dict[str, Any]) -> None:
        self.attaching = answer["attaching"]

    def _has_taken(self, _: object, accepted: socket.socket) -> None:
        accepted.close()
        self._unanswered -= 1
        self._taken_at = self._clock.seconds()
        self._superior.relieved(self)


def described(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
