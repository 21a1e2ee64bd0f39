"""Sending a planned request to the clusters it needs, on any path but the fast one.

The fast path (session) forwards runs of frames as they came. This is where everything else goes: a stream id that is
taken on one side, a prepared id that target knows by another name, a side that is not ready. A request that needs a
side that is not READY is held whole: nothing of it is sent anywhere until every side it needs is there, so that what
expires while held was executed nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.core.answers import overloaded, unknown_statement
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.commands import Connect
from zdm.core.connector import ClusterConnector, Internal, SideState, StreamsExhausted
from zdm.core.pending import PendingRequest, packed_of
from zdm.core.prepared import PreparedStatement
from zdm.core.rewriting import exchange_ids, id_spans
from zdm.core.state import SHUTTING_DOWN, SessionState
from zdm.protocol.compression import compress_frame
from zdm.protocol.frames import encode_frame, with_stream
from zdm.protocol.opcodes import BATCH, EXECUTE

_FIRST_RETRY: Final = 0.1
_LONGEST_RETRY: Final = 1.0  # a held request must see at least one attempt while it waits

_QUIET: Final = 10.0
"""Seconds for which a session that ran out of stream ids does not say so again: it may happen at every request."""


class UnknownStatement(Exception):
    """A prepared id of the request is not known any more."""

    def __init__(self, prepared_id: bytes) -> None:
        Exception.__init__(self)
        self.prepared_id = prepared_id


class NeverPrepared(Exception):
    """Statements of the request were prepared while target was off: target has no id for them yet."""

    def __init__(self, statements: list[PreparedStatement]) -> None:
        Exception.__init__(self)
        self.statements = statements


Preparing = Callable[[PendingRequest, list[PreparedStatement]], None]


class Dispatch:
    """Sends one session's requests."""

    __slots__ = ("_quiet_until", "_state", "prepare_first")

    def __init__(self, state: SessionState) -> None:
        self._state: Final = state
        self._quiet_until = 0.0
        self.prepare_first: Preparing | None = None
        """Takes a request with statements that target has never prepared; set by mending."""

    def send(self, request: PendingRequest) -> None:
        """Forward the request, or hold it; it is answered at once where it can be neither.

        Raises RemoteProtocolError where the body is bad.
        """
        state = self._state
        sides = self._sides(request)
        absent = self._absent(request)
        if absent:
            self._hold(request, absent)
        elif not all(self._has_room(connector) for connector in sides):
            self._reject(request)
        else:
            try:
                self._forward(request, sides)
            except UnknownStatement as unknown:
                state.answer_error(request.stream, unknown_statement(unknown.prepared_id))
            except NeverPrepared as never:
                assert self.prepare_first is not None
                self.prepare_first(request, never.statements)

    def send_to(self, side: Side, request: PendingRequest) -> None:
        """Forward the request's frame to one cluster (again). Raises UnknownStatement, NeverPrepared."""
        connector = self._state.connector(side)
        frame = self._frame_for(side, request)  # before the id, which would be lost where this raises
        self._write(connector, request, self._reserve(connector, request), frame)

    def send_internal(self, side: Side, opcode: int, body: bytes, internal: Internal) -> None:
        """Send a request of the proxy's own under a high id. Raises StreamsExhausted."""
        state = self._state
        connector = state.connector(side)
        stream = connector.free_id(state.pending, state.snapshot.settings.top_stream)
        connector.special[stream] = internal
        connector.outbox.append(encode_frame(state.version, stream, opcode, body))

    def release(self) -> None:
        """A side became ready: send what was held for it, in order."""
        pending = self._state.pending
        for request in [request for request in pending.values() if request.held and request.plan.awaits]:
            if not self._absent(request):
                self.let_go(request)
                self.send(request)
        self.put_in_order()

    def put_in_order(self) -> None:
        """Requests were sent that came before others that are in flight already: `pending` is ordered by arrival."""
        pending = self._state.pending
        in_order = sorted(pending.values(), key=lambda request: request.started)
        pending.clear()
        pending.update((request.stream, request) for request in in_order)

    def let_go(self, request: PendingRequest) -> None:
        """The request is not held any more, and not pending either."""
        request.held, request.awaits = False, request.plan.awaits
        self._state.held_bytes -= request.end - request.start
        del self._state.pending[request.stream]

    def attach(self, connector: ClusterConnector, is_eager: bool = False) -> None:
        """Ask for a connection where there is none and the last failure is long enough ago."""
        if connector.state in (SideState.ABSENT, SideState.LOST) and self._state.now >= connector.retry_at:
            connector.state = SideState.CONNECTING
        elif connector.state is not SideState.CONNECTING or is_eager or not connector.is_eager:
            return
        connector.is_eager = is_eager
        self._state.commands.append(Connect(connector.side, is_eager))

    def postpone(self, connector: ClusterConnector) -> None:
        """An attempt to attach failed: wait longer each time before the next."""
        delay = min(_LONGEST_RETRY, _FIRST_RETRY * 2.0 ** min(connector.attempts, 10))
        connector.attempts += 1
        connector.retry_at = self._state.now + delay
        self._state.sooner = True

    def _sides(self, request: PendingRequest) -> list[ClusterConnector]:
        return [self._state.connector(side) for side in CLUSTERS if request.plan.awaits & side]

    def _absent(self, request: PendingRequest) -> list[ClusterConnector]:
        return [connector for connector in self._sides(request) if connector.state is not SideState.READY]

    def _hold(self, request: PendingRequest, absent: list[ClusterConnector]) -> None:
        names = " and ".join(connector.side.name for connector in absent)
        if self.hold(request, f"the connection to {names}"):
            for connector in absent:
                self.attach(connector)

    def hold(self, request: PendingRequest, awaited: str) -> bool:
        """Keep the request; False, and answered, where too much is held already. `awaited` is for that answer."""
        state = self._state
        size = request.end - request.start
        if state.held_bytes + size > state.snapshot.settings.held_bytes:
            state.answer_error(request.stream, overloaded(f"too much is waiting for {awaited}"))
            return False
        request.held, request.awaits = True, 0
        # The read buffer may hold much more than this request, and a held one may wait for seconds.
        request.chunk, request.start, request.end = request.frame(), 0, size
        state.held_bytes += size
        state.sooner = True
        state.pending[request.stream] = request
        return True

    def _has_room(self, connector: ClusterConnector) -> bool:
        state = self._state
        limit = state.snapshot.settings.stream_limit
        if len(state.pending) + len(connector.special) < limit:
            return True
        return connector.used_ids(state.pending) < limit

    def _reject(self, request: PendingRequest) -> None:
        state = self._state
        state.shared.meter.rejected += 1
        if state.now >= self._quiet_until:
            self._quiet_until = state.now + _QUIET
            state.note(
                "error", f"no stream id available for a request of client {state.client_name}; it is told to retry."
            )
        state.answer_error(request.stream, overloaded(SHUTTING_DOWN))

    def _forward(self, request: PendingRequest, sides: list[ClusterConnector]) -> None:
        frames = [self._frame_for(connector.side, request) for connector in sides]
        taken: list[tuple[ClusterConnector, int]] = []
        try:
            for connector in sides:
                taken.append((connector, self._reserve(connector, request)))
        except StreamsExhausted:
            for connector, stream in taken:
                connector.special.pop(stream, None)
            self._reject(request)
            return
        self._state.pending[request.stream] = request
        for (connector, stream), frame in zip(taken, frames, strict=True):
            self._write(connector, request, stream, frame)
        if request.plan.meter is not None:
            request.plan.meter.inflight += 1

    def _reserve(self, connector: ClusterConnector, request: PendingRequest) -> int:
        top = self._state.snapshot.settings.top_stream
        if request.stream not in connector.special and request.stream <= top:
            return request.stream
        stream = connector.free_id(self._state.pending, top)
        connector.special[stream] = request
        return stream

    def _write(self, connector: ClusterConnector, request: PendingRequest, stream: int, frame: bytes) -> None:
        connector.outbox.append(frame if stream == request.stream else with_stream(frame, stream))

    def _frame_for(self, side: Side, request: PendingRequest) -> bytes:
        frame = request.frame()
        if side is Side.ORIGIN or frame[4] not in (EXECUTE, BATCH):
            return request.as_sent()
        spans = id_spans(frame)
        entries = self._state.shared.prepared.entries
        replacements: list[bytes] = []
        never: list[PreparedStatement] = []
        for _, prepared_id in spans:
            entry = entries.get(prepared_id)
            if entry is None:
                raise UnknownStatement(prepared_id)
            if not entry.target_id:
                never.append(entry)
            replacements.append(entry.target_id)
        if never:
            raise NeverPrepared(never)
        if all(old == new for (_, old), new in zip(spans, replacements, strict=True)):
            return request.as_sent()
        exchanged = exchange_ids(frame, spans, replacements)
        return compress_frame(self._state.compression, exchanged) if packed_of(request) else exchanged
