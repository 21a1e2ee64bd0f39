"""The session's current keyspace, the same on both clusters at any time (section 5.6).

USE goes to both. Where it succeeded on one side only, that side is set back to the keyspace the session had. Where it
had none, which CQL cannot set, or where another USE is under way, which might overtake, the side is dropped: target
attaches anew, origin's loss ends the session. A USE that origin alone got, because target was off, is replayed on
target's connection before that is used again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.core.aggregation import choose
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.connector import Internal, SideState, StreamsExhausted
from zdm.core.dispatch import Dispatch
from zdm.core.pending import PendingRequest
from zdm.core.plans import Reaction
from zdm.core.side_handshake import use_keyspace
from zdm.core.state import Phase, SessionState
from zdm.protocol.envelope import body_start
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import RESULT
from zdm.protocol.primitives import Reader
from zdm.protocol.responses import SET_KEYSPACE


class Keyspace:
    """Keeps one session's two connections on one keyspace."""

    __slots__ = ("_dispatch", "_lose", "_state")

    def __init__(self, state: SessionState, dispatch: Dispatch, lose: Callable[[Side, str], None]) -> None:
        self._state: Final = state
        self._lose: Final = lose
        self._dispatch: Final = dispatch

    def answered(self, request: PendingRequest, answer: bytes) -> None:
        """A USE is settled. Raises RemoteProtocolError where the answer can't be read."""
        if not request.failed:
            reader = Reader(choose(request), body_start(answer, HEADER_LENGTH, answer[1], True))
            if answer[4] == RESULT and reader.int() == SET_KEYSPACE:
                self._set(request, reader.string())
        else:
            for side in CLUSTERS:
                if request.plan.awaits & side and not request.failed & side:
                    self._set_back(side)

    def unreadable(self, request: PendingRequest) -> None:
        """An answer could not be read: if it was that to a USE, nobody knows the keyspace."""
        if request.plan.reaction is Reaction.KEYSPACE:
            for side in CLUSTERS:
                self._drop(side, "its answer to USE cannot be read")

    def unknown(self, request: PendingRequest) -> None:
        """A USE expired: on a side that did not answer nobody knows the keyspace."""
        if request.plan.reaction is Reaction.KEYSPACE:
            for side in CLUSTERS:
                if request.awaits & side:
                    self._drop(side, "USE was not answered in time")
                elif request.plan.awaits & side and not request.failed & side:
                    self._set_back(side)

    def take_up(self, side: Side) -> None:
        """The connection may be used: bring its keyspace up to date, then send what is held for it."""
        connector = self._state.connector(side)
        if connector.keyspace == self._state.keyspace:
            connector.state, connector.is_late = SideState.READY, False
            self._dispatch.release()
        else:
            self._replay(side)

    def _set(self, request: PendingRequest, keyspace: str) -> None:
        state = self._state
        state.keyspace = keyspace
        for side in CLUSTERS:
            if request.plan.awaits & side:
                state.connector(side).keyspace = keyspace
        if state.target.state is SideState.READY and state.target.keyspace != keyspace:
            self._replay(Side.TARGET)

    def _set_back(self, side: Side) -> None:
        state = self._state
        connector = state.connector(side)
        if state.phase is Phase.CLOSED:
            return
        if connector.state is SideState.PARKED:
            connector.is_stray = True
        elif any(other.plan.reaction is Reaction.KEYSPACE for other in state.pending.values()):
            self._drop(side, "USE succeeded there only")
        else:
            self._replay(side)

    def _replay(self, side: Side) -> None:
        state, keyspace = self._state, self._state.keyspace
        if keyspace is None:
            self._drop(side, "USE succeeded there only")
            return
        state.connector(side).state = SideState.HANDSHAKING  # requests are held until the keyspace is right again
        deadline = state.now + state.snapshot.settings.request_timeout
        internal = Internal(lambda frame: self._is_back(side, keyspace, frame), deadline)
        try:
            self._dispatch.send_internal(side, *use_keyspace(keyspace, state.version), internal)
        except StreamsExhausted:
            self._drop(side, "no stream id was free to set its keyspace")

    def _is_back(self, side: Side, keyspace: str, frame: bytes | None) -> None:
        connector = self._state.connector(side)
        if frame is None or frame[4] != RESULT:
            if connector.state is SideState.HANDSHAKING:
                self._drop(side, "its keyspace could not be set")
            return
        connector.keyspace = keyspace
        if connector.state is SideState.PARKED:
            connector.is_stray = False
        elif connector.state is SideState.HANDSHAKING:
            self.take_up(side)

    def _drop(self, side: Side, reason: str) -> None:
        self._lose(side, reason)
