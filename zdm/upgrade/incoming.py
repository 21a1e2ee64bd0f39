"""The program that comes: it gets ready beside the one that runs, and then takes over from it.

Should that one vanish before, this one simply serves: it has the listening sockets.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.protocol import connectionDone
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure

from zdm.log import Log
from zdm.net.adopted import Gate
from zdm.state_file import SavedState
from zdm.upgrade import words
from zdm.upgrade.roles import Movable
from zdm.worker_process.commands import StatementMade, TakeSession
from zdm.worker_process.sessions import received


class Heir(Protocol):
    """What a takeover asks of the program that comes."""

    def workers(self) -> Movable:
        """Its workers."""

    def inherit(self, saved: SavedState) -> Deferred[None]:
        """What the old program knew last: fires when all workers know it too."""


class Incoming(AMP):
    """This end of the channel to the old program. `gate` is what its listening sockets are behind."""

    def __init__(self, gate: Gate, log: Log) -> None:
        super().__init__()
        self.gate: Final = gate
        self._log: Final = log
        self._heir: Heir
        self._is_there = True

    async def take_over(self, heir: Heir) -> None:
        """Called when clients could be served; returns when they are."""
        self._heir = heir
        try:
            answer = await self.callRemote(words.Ready)
        except ConnectionClosed:
            self._log.warn("The program that this one was to take over from has ended before that.")
        else:
            await heir.inherit(SavedState.model_validate_json(answer["state"]))
            heir.workers().learn(answer["statements"])
        self.gate.open()
        if self._is_there:
            self.callRemote(words.Serving)
            heir.workers().tell(self._tell)

    def _tell(self, statement: bytes) -> None:
        self.callRemote(StatementMade, statement=statement)

    @StatementMade.responder
    def _statement_made(self, statement: bytes) -> dict[str, Any]:
        self._heir.workers().learn(statement)
        return {}

    @TakeSession.responder
    def _take_session(self, **arguments: Any) -> Deferred[dict[str, Any]]:
        return self._heir.workers().welcome(received(**arguments)).addCallback(lambda _: {})

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The old program has ended."""
        if self._is_there and self.gate.is_open:
            self._heir.workers().tell(None)
        self._is_there = False
        super().connectionLost(reason)
