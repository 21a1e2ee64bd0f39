"""The program that goes: it starts the new one, and when that is ready hands everything over and ends.

Until the new program accepts clients nothing has changed for anybody: where it fails before, this one goes on as if
nothing had happened, with one ERROR line that says why. Afterwards the clients are the new one's: each session leaves
when nothing of it is under way, and those that do not come to rest in time are drained as at a shutdown.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure

from zdm.log import Log
from zdm.net.threads import Run
from zdm.state_file import SavedState
from zdm.upgrade import estate, words
from zdm.upgrade.roles import Movable
from zdm.worker_process.channel import adopt
from zdm.worker_process.commands import StatementMade, TakeSession
from zdm.worker_process.launch import Child
from zdm.worker_process.remote import Process, described
from zdm.worker_process.sessions import Parcel

READY_WITHIN: Final = 60.0
"""Seconds in which a new program must accept clients."""


class UpgradeFailed(Exception):
    """Nothing has changed; the text says why."""


class Outgoing(Protocol):
    """What an upgrade asks of the program that goes."""

    def listeners(self) -> dict[str, list[socket.socket]]:
        """The sockets that it listens at, once more, by the configured address."""

    def saved(self) -> SavedState:
        """What it knows now."""

    def workers(self) -> Movable:
        """Its workers."""

    async def settle(self) -> None:
        """From now on nothing changes that the new program must know; returns when no file is being written."""

    def go_on(self) -> None:
        """The new program has failed: all is as before."""

    async def stop_accepting(self) -> None:
        """The new program accepts clients and HTTP; what this one has accepted it serves on."""

    def drain_limit(self) -> float:
        """Seconds in which sessions are to come to rest."""

    def handed_over(self, pid: int) -> None:
        """The new program serves."""


class Successor(AMP):
    """This end of the channel to the new program. `process` is set by whoever starts it, before anything else."""

    process: Process

    def __init__(self, outgoing: Outgoing, clock: IReactorTime) -> None:
        super().__init__()
        self._outgoing: Final = outgoing
        self._serving: Final[Deferred[None]] = Deferred()
        self._clock: Final = clock
        self._limit: IDelayedCall | None = None
        self.is_there = True
        self._is_serving = False

    def serving(self) -> Deferred[None]:
        """Fires when the new program accepts clients; fails with UpgradeFailed. To be asked once."""
        return self._serving

    def give_up(self, why: str) -> None:
        """It is not wanted any more, unless it serves already."""
        if not self._serving.called:
            self.process.kill()
            self._fail(why)

    def give(self, parcel: Parcel) -> Deferred[None]:
        """A session is the new program's: fires when that has the descriptors."""
        giving: Deferred[Any] = self.callRemote(TakeSession, **parcel.arguments)
        return giving.addCallback(lambda _: None)

    @words.Ready.responder
    def _ready(self) -> Deferred[dict[str, bytes]]:
        return Deferred.fromCoroutine(self._testament())

    async def _testament(self) -> dict[str, bytes]:
        await self._outgoing.settle()
        self._outgoing.workers().tell(self._tell)
        known = await self._outgoing.workers().statements()
        return {"state": self._outgoing.saved().model_dump_json().encode(), "statements": known}

    def _tell(self, statement: bytes) -> None:
        self.callRemote(StatementMade, statement=statement)

    @StatementMade.responder
    def _statement_made(self, statement: bytes) -> dict[str, Any]:
        self._outgoing.workers().learn(statement)
        return {}

    @words.Serving.responder
    def _serves(self) -> dict[str, Any]:
        if not self._serving.called:
            self._is_serving = True
            self._wait_no_longer()
            self._serving.callback(None)
        return {}

    def connectionMade(self) -> None:
        """The program has been started."""
        super().connectionMade()
        self._limit = self._clock.callLater(READY_WITHIN, self._late)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The new program has ended, or it is killed: one that serves is not this one's any more."""
        self.is_there = False  # before those are told who wait for an answer
        super().connectionLost(reason)
        self._outgoing.workers().tell(None)
        if not self._is_serving:
            self.process.kill()
            self.process.ended().addCallback(lambda code: self._fail(f"the new program {described(code)}"))

    def _late(self) -> None:
        self.give_up(f"the new program does not serve after {READY_WITHIN:g} s")

    def _fail(self, why: str) -> None:
        if not self._serving.called:
            self._wait_no_longer()
            self._serving.errback(UpgradeFailed(why))

    def _wait_no_longer(self) -> None:
        if self._limit is not None and self._limit.active():
            self._limit.cancel()


Begin = Callable[[estate.Estate, Successor], None]
"""Starts a program that is given the estate, and makes it known to the successor. Raises OSError."""


class Upgrade:
    """One try."""

    def __init__(self, outgoing: Outgoing, begin: Begin, reactor: Any, log: Log) -> None:
        self._outgoing: Final = outgoing
        self._begin: Final = begin
        self._reactor: Final = reactor
        self._log: Final = log
        self._successor: Successor | None = None
        self._is_given_up = False

    async def run(self) -> bool:
        """Whether the new program has taken over: then all is done but to end.

        Raises UpgradeFailed where it has ended too early for some sessions, and this one accepts no clients any more.
        """
        try:
            successor = self._start()
            await successor.serving()
        except (OSError, UpgradeFailed) as failed:
            if self._is_given_up:
                return False
            self._log.error(f"The upgrade failed, this process goes on serving: {failed}.")
            self._outgoing.go_on()
            return False
        outgoing = self._outgoing
        await outgoing.stop_accepting()
        outgoing.handed_over(successor.process.pid)
        left = await outgoing.workers().release(outgoing.drain_limit(), successor.give)
        if not successor.is_there:
            raise UpgradeFailed("the new program has ended while sessions moved there")
        self._log.info(f"All sessions at rest are with the new program; {left} are not at rest.")
        return True

    def give_up(self) -> None:
        """This program ends: the new one is not to take over any more, unless it has."""
        self._is_given_up = True
        if self._successor is not None:
            self._successor.give_up("this process was told to end")

    def _start(self) -> Successor:
        outgoing = self._outgoing
        ours, theirs = socket.socketpair()
        given = estate.Estate(theirs, outgoing.listeners(), outgoing.saved())
        successor = Successor(outgoing, self._reactor)
        try:
            self._begin(given, successor)
        except OSError:
            ours.close()
            raise
        finally:
            given.close()
        self._successor = successor
        with ours:
            adopt(self._reactor, ours, successor)
        return successor


def beginner(run: Run, environment: Mapping[str, str] = os.environ) -> Begin:
    """Starts this program again, as it was started; `run` is where its end is waited for."""

    def begin(given: estate.Estate, successor: Successor) -> None:
        successor.process = Child(estate.start(given, estate.command(), environment), run)

    return begin
