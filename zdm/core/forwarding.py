"""A request on the general path: planned and sent, answered here, or held until it can be planned.

Held are those whose prepared statements this worker does not know, while the other workers are asked for them. A
driver's pool has connections to several workers; it prepares on one and executes on any. Only what none of them knows
is UNPREPARED.
"""

from __future__ import annotations

from typing import Final

from zdm.core.clusters import BOTH
from zdm.core.commands import FindStatements
from zdm.core.dispatch import Dispatch
from zdm.core.heartbeat import Heartbeat
from zdm.core.intercept import Answer
from zdm.core.pending import PendingRequest, packed_of, received
from zdm.core.plans import Plan
from zdm.core.routing import Routing, Unknown
from zdm.core.state import SessionState
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError


class Forwarding:
    """Forwards one session's requests."""

    __slots__ = ("_dispatch", "_heartbeat", "_routing", "_state", "_ticket", "_waiting")

    def __init__(self, state: SessionState, routing: Routing, dispatch: Dispatch, heartbeat: Heartbeat) -> None:
        self._state: Final = state
        self._routing: Final = routing
        self._dispatch: Final = dispatch
        self._heartbeat: Final = heartbeat
        self._waiting: Final[dict[int, PendingRequest]] = {}
        self._ticket = 0

    def forward(self, stream: int, frame: bytes, packed: bytes = b"", is_sought: bool = False) -> None:
        """Do what its plan says. `packed` is the frame as it came, where its body was compressed.

        `is_sought`: the other workers were asked, and what they know is known.
        """
        state = self._state
        try:
            planned = self._routing.plan(frame)
            if isinstance(planned, Unknown):
                if not is_sought:
                    self._seek(stream, frame, packed, planned.prepared_ids)
                    return
                planned = self._routing.unprepared(planned.prepared_ids[0])
            if isinstance(planned, Plan):
                self._dispatch.send(self._request(stream, planned, frame, packed))
            elif isinstance(planned, Answer):
                state.answer(stream, planned.opcode, planned.body)
        except RemoteProtocolError as fault:
            state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, fault.message))
            return
        if isinstance(planned, Plan) and planned.awaits != BOTH:
            self._heartbeat.keep_alive(planned.awaits)

    def sought(self, ticket: int) -> None:
        """The other workers have answered a `FindStatements`; its request may have expired meanwhile."""
        request = self._waiting.pop(ticket, None)
        if request is not None and self._state.pending.get(request.stream) is request:
            self._dispatch.let_go(request)
            self.forward(request.stream, request.frame(), packed_of(request), is_sought=True)

    def _request(self, stream: int, plan: Plan, frame: bytes, packed: bytes) -> PendingRequest:
        state = self._state
        amending = state.shared.amending
        if amending is None:
            return received(stream, plan, state.now, frame, packed)
        return amending.request(stream, plan, state.now, frame, packed, state.version, state.shared.prepared)

    def _seek(self, stream: int, frame: bytes, packed: bytes, prepared_ids: tuple[bytes, ...]) -> None:
        state = self._state
        request = received(stream, state.shared.plans.lookup, state.now, frame, packed)
        if self._dispatch.hold(request, "a prepared statement to be found"):
            self._ticket += 1
            self._waiting[self._ticket] = request
            state.commands.append(FindStatements(prepared_ids, self._ticket))
