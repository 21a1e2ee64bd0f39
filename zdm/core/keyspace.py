"""The session's current keyspace, the same on both clusters at any time (section 5.6).

USE goes to both. Where it succeeded on one side only, that side is set back to the keyspace the session had. Where it
had none, which CQL cannot set, or where another USE is under way, which might overtake, the side is dropped: target
attaches anew, origin's loss ends the session.
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
                self._state.keyspace = reader.string()
        else:
            for side in CLUSTERS:
                if not request.failed & side:
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
                elif not request.failed & side:
                    self._set_back(side)

    def _set_back(self, side: Side) -> None:
        state = self._state
        connector = state.connector(side)
        if state.phase is Phase.CLOSED:
            return
        if state.keyspace is None or any(other.plan.reaction is Reaction.KEYSPACE for other in state.pending.values()):
            self._drop(side, "USE succeeded there only")
            return
        connector.state = SideState.HANDSHAKING  # requests are held until the keyspace is right again
        deadline = state.now + state.snapshot.settings.request_timeout
        internal = Internal(lambda frame: self._is_back(side, frame), deadline)
        try:
            self._dispatch.send_internal(side, *use_keyspace(state.keyspace), internal)
        except StreamsExhausted:
            self._drop(side, "no stream id was free to set its keyspace back")

    def _is_back(self, side: Side, frame: bytes | None) -> None:
        if frame is None or frame[4] != RESULT:
            self._drop(side, "its keyspace could not be set back")
            return
        self._state.connector(side).state = SideState.READY
        self._dispatch.release()

    def _drop(self, side: Side, reason: str) -> None:
        self._lose(side, reason)
