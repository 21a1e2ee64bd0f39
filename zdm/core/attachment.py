"""Opening a session's cluster connection again, after the client's handshake.

The connection gets what the first one got: the client's own STARTUP, the credentials kept for that cluster, and the
session's keyspace; then the requests held for it, in order. If the cluster lets the session in no more, the session
ends with the reason: its client would otherwise go on under rights it does not have. A cluster that is merely not up to
it yet (OVERLOADED, IS_BOOTSTRAPPING and the like) is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.core.aggregation import error_code
from zdm.core.answers import overloaded
from zdm.core.clusters import Side
from zdm.core.commands import Attached
from zdm.core.dispatch import Dispatch
from zdm.core.side_handshake import HandshakeFailed, HandshakeState, SideHandshake, is_refusal
from zdm.core.state import SHUTTING_DOWN, SessionState
from zdm.protocol.errors import ErrorCode

_STREAM: Final = 0
_TRANSIENT: Final = frozenset(
    (
        ErrorCode.SERVER_ERROR,
        ErrorCode.UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.IS_BOOTSTRAPPING,
        ErrorCode.READ_TIMEOUT,
        ErrorCode.READ_FAILURE,
    )
)


class Attachment:
    """The attachment under way, if any. Origin's loss ends a session, so only target is ever attached anew."""

    __slots__ = ("_dispatch", "_handshake", "_lose", "_side", "_state", "_take_up", "deadline")

    def __init__(
        self,
        state: SessionState,
        dispatch: Dispatch,
        take_up: Callable[[Side], None],
        lose: Callable[[Side, str], None],
    ) -> None:
        """`take_up` is called when the connection may be used, `lose` when it has to be given up."""
        self._state: Final = state
        self._dispatch: Final = dispatch
        self._take_up: Final = take_up
        self._lose: Final = lose
        self._side = Side.CLIENT
        self._handshake: SideHandshake | None = None
        self.deadline: float | None = None

    def takes(self, side: Side) -> bool:
        """Answers from this side belong to the attachment."""
        return self._handshake is not None and side == self._side

    def begin(self, side: Side) -> None:
        """The connection is open."""
        state = self._state
        self._side = side
        self._handshake = SideHandshake(side, state.credentials.get(side), state.keyspace)
        self._send(self._handshake.start(state.startup_body))

    def answered(self, frame: bytes) -> None:
        """An answer of the cluster's."""
        if self._handshake is None or frame[2] & 0x80:
            return
        try:
            request = self._handshake.answered(frame)
        except HandshakeFailed as failure:
            if self._is_passing(failure):
                self._lose(self._side, f"it is not ready: {failure.reason}")
            else:
                self._refused(failure)
            return
        if request is not None:
            self._send(request)
            return
        side, handshake = self._side, self._handshake
        self._end()
        connector = self._state.connector(side)
        connector.attempts, connector.keyspace = 0, handshake.keyspace
        if handshake.has_authenticated:
            self._state.judged(side, is_accepted=True)
        self._state.commands.append(Attached(side))
        self._take_up(side)

    def _is_passing(self, failure: HandshakeFailed) -> bool:
        """The cluster is not up to it yet."""
        assert self._handshake is not None
        is_in = self._handshake.state is HandshakeState.KEYSPACE
        is_unsure = failure.code == ErrorCode.AUTHENTICATION_ERROR and not is_refusal(failure)
        return is_in or is_unsure or bool(failure.frame and error_code(failure.frame) in _TRANSIENT)

    def expire(self, now: float) -> None:
        """The cluster does not answer: try again later."""
        if self.deadline is not None and now >= self.deadline:
            self._lose(self._side, "no answer while attaching")

    def forget(self, side: Side) -> bool:
        """The connection ended; whether it was being attached."""
        if not self.takes(side):
            return False
        self._end()
        return True

    def _send(self, request: tuple[int, bytes]) -> None:
        self.deadline = self._state.now + self._state.snapshot.settings.request_timeout
        self._state.request(self._side, _STREAM, *request)

    def _end(self) -> None:
        self._handshake = None
        self.deadline = None

    def _refused(self, failure: HandshakeFailed) -> None:
        state, side = self._state, self._side
        self._end()
        if is_refusal(failure):
            state.judged(side, is_accepted=False)
        client = state.client_name
        state.note("warn", f"{side.name} lets client {client} in no more: {failure.reason}; closing the client.")
        for request in list(state.pending.values()):
            if request.held:
                self._dispatch.let_go(request)
                state.answer_error(request.stream, overloaded(SHUTTING_DOWN))
        state.close(f"{side.name} refused the session: {failure.reason}")
