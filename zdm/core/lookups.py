"""Requests whose prepared statements this worker does not know, while the other workers are asked for them.

A driver's pool has connections to several workers; it prepares on one and executes on any. Such a request is held, and
planned once the others have answered: only what none of them knows is UNPREPARED.
"""

from __future__ import annotations

from typing import Final

from zdm.core.commands import FindStatements
from zdm.core.dispatch import Dispatch
from zdm.core.pending import PendingRequest
from zdm.core.state import SessionState


class Lookups:
    """Those under way in one session."""

    __slots__ = ("_dispatch", "_state", "_ticket", "_waiting")

    def __init__(self, state: SessionState, dispatch: Dispatch) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch
        self._waiting: Final[dict[int, PendingRequest]] = {}
        self._ticket = 0

    def begin(self, stream: int, frame: bytes, prepared_ids: tuple[bytes, ...]) -> None:
        """Hold the request and ask; it is answered at once where too much is held already."""
        state = self._state
        request = PendingRequest(stream, state.shared.plans.lookup, state.now, frame, 0, len(frame))
        if self._dispatch.hold(request, "a prepared statement to be found"):
            self._ticket += 1
            self._waiting[self._ticket] = request
            state.commands.append(FindStatements(prepared_ids, self._ticket))

    def end(self, ticket: int) -> PendingRequest | None:
        """The others have answered: the request, held no more; nothing where it has expired meanwhile."""
        request = self._waiting.pop(ticket, None)
        if request is None or self._state.pending.get(request.stream) is not request:
            return None
        self._dispatch.let_go(request)
        return request
