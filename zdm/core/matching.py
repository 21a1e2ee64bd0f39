"""Whose an answer is: a request's of the client, one of the proxy's own, nobody's any more, or an event."""

from __future__ import annotations

from typing import Final

from zdm.core.clusters import Side
from zdm.core.commands import RefreshSchema
from zdm.core.connector import Internal, Owed
from zdm.core.pending import PendingRequest
from zdm.core.settling import Settling
from zdm.core.state import SessionState
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import EVENT
from zdm.protocol.primitives import Reader

_SCHEMA_CHANGE: Final = "SCHEMA_CHANGE"


class Matching:
    """Gives the answers of one session's clusters, on the general path, to whom they belong."""

    __slots__ = ("_settling", "_state")

    def __init__(self, state: SessionState, settling: Settling) -> None:
        self._state: Final = state
        self._settling: Final = settling

    def answered(self, side: Side, stream: int, frame: bytes) -> None:
        """An answer under a stream id, or an event. Raises RemoteProtocolError where it can't be read."""
        if stream < 0:
            self._event(side, frame)
            return
        state = self._state
        connector = state.connector(side)
        special = connector.special.pop(stream, None)
        if isinstance(special, Internal):
            special.answered(frame)
            return
        if isinstance(special, Owed):
            connector.owed -= 1
        request = special if isinstance(special, PendingRequest) else None if special else state.pending.get(stream)
        if request is None or not request.awaits & side:
            state.shared.meter.late_answers += 1
            what = f"request context for stream id {stream} received from {side.name}"
            state.note("debug", f"Could not find {what}. It either timed out or a protocol error occurred.")
            return
        self._settling.answered(request, side, frame)

    def _event(self, side: Side, frame: bytes) -> None:
        """Only schema changes on origin reach the client; topology is the proxy's own matter (section 7.7)."""
        if side is Side.ORIGIN and frame[4] == EVENT and Reader(frame, HEADER_LENGTH).string() == _SCHEMA_CHANGE:
            self._state.commands.append(RefreshSchema())
            self._state.outbox.append(frame)
