"""UNPREPARED from one cluster is mended inside: prepared again there, and executed again there only.

So the other cluster never applies a write twice, which is what a driver's own recovery (prepare and execute again,
everywhere) would do. A PREPARE is shared by all requests of the session that wait for the same statement on the same
cluster. In v3 and v4 PREPARE takes the connection's keyspace; where that is not the one under which the statement was
prepared, it is prepared on a connection of its own. The id that comes back is checked.

If mending fails, UNPREPARED reaches the client only where no cluster executed the request; otherwise it gets the
PREPARE's error, or WRITE_FAILURE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.core.aggregation import error_code
from zdm.core.answers import NOT_EXECUTED, applied_on_one_side
from zdm.core.clusters import Side, other
from zdm.core.commands import PrepareElsewhere
from zdm.core.connector import Internal, StreamsExhausted
from zdm.core.dispatch import Dispatch, UnknownStatement
from zdm.core.pending import PendingRequest
from zdm.core.prepared import PreparedStatement
from zdm.core.rewriting import id_spans
from zdm.core.state import SessionState
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, RESPONSE_BIT, encode_frame
from zdm.protocol.opcodes import BATCH, ERROR, EXECUTE, PREPARE, RESULT
from zdm.protocol.requests import Prepare
from zdm.protocol.responses import Prepared, decode_response


class Repair:
    """One request that waits on one cluster until `missing` statements are prepared there again."""

    __slots__ = ("missing", "request", "side", "unprepared")

    def __init__(self, request: PendingRequest, side: Side, unprepared: bytes, missing: set[bytes]) -> None:
        self.request: Final = request
        self.side: Final = side
        self.unprepared: Final = unprepared
        self.missing: Final = missing


Answered = Callable[[PendingRequest, Side, bytes], None]
"""Called with a request, a cluster and the ERROR that takes the place of that cluster's answer."""


class Mending:
    """The repairs under way in one session."""

    __slots__ = ("_answered", "_dispatch", "_repairs", "_state", "_ticket", "_tickets", "_waiting")

    def __init__(self, state: SessionState, dispatch: Dispatch, answered: Answered) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch
        self._answered: Final = answered
        self._repairs: dict[tuple[Side, int], Repair] = {}
        self._waiting: dict[tuple[Side, bytes], list[Repair]] = {}
        self._tickets: dict[int, tuple[Side, PreparedStatement]] = {}
        self._ticket = 0

    def start(self, request: PendingRequest, side: Side, unprepared: bytes) -> bool:
        """Begin to mend, or fail at it; False where there is nothing to mend: it is then an error as any other."""
        if not self._state.snapshot.settings.mend_unprepared:
            return False
        if request.chunk[request.start + 4] not in (EXECUTE, BATCH):
            return False
        entries = self._statements(request)
        if not entries or request.mendings > len(entries):
            self._fail_with(Repair(request, side, unprepared, set()), b"")
            return True
        request.mendings += 1
        self._state.shared.meter.mended += 1
        repair = Repair(request, side, unprepared, {entry.origin_id for entry in entries})
        self._repairs[(side, request.stream)] = repair
        for entry in entries:
            waiting = self._waiting.setdefault((side, entry.origin_id), [])
            waiting.append(repair)
            if len(waiting) == 1:
                self._prepare(side, entry)
        return True

    def is_mending(self, request: PendingRequest, side: Side) -> bool:
        """The cluster owes no answer to the request at the moment: what is awaited is a PREPARE."""
        repair = self._repairs.get((side, request.stream))
        return repair is not None and repair.request is request

    def forget(self, request: PendingRequest, side: Side) -> None:
        """The cluster's part of the request is settled otherwise."""
        if self.is_mending(request, side):
            del self._repairs[(side, request.stream)]

    def prepared_elsewhere(self, ticket: int, answer: tuple[int, bytes] | None) -> None:
        """What a PREPARE on a connection of its own came to: opcode and body in the session's version, or nothing."""
        found = self._tickets.pop(ticket, None)
        if found is not None:
            frame = None if answer is None else encode_frame(self._state.version | RESPONSE_BIT, 0, *answer)
            self._prepared(*found, frame)

    def _statements(self, request: PendingRequest) -> list[PreparedStatement]:
        """The distinct prepared statements of the request; none where the proxy does not know them all."""
        entries: dict[bytes, PreparedStatement] = {}
        try:
            spans = id_spans(request.frame())
        except RemoteProtocolError:
            return []
        for _, prepared_id in spans:
            entry = self._state.shared.prepared.get(prepared_id)
            if entry is None:
                return []
            entries[prepared_id] = entry
        return list(entries.values())

    def _prepare(self, side: Side, entry: PreparedStatement) -> None:
        state = self._state
        if entry.keyspace != state.keyspace:
            self._ticket += 1
            self._tickets[self._ticket] = (side, entry)
            state.commands.append(PrepareElsewhere(side, entry.keyspace or "", entry.text, self._ticket))
            return
        deadline = state.now + state.snapshot.settings.request_timeout
        internal = Internal(lambda frame: self._prepared(side, entry, frame), deadline)
        try:
            self._dispatch.send_internal(side, PREPARE, Prepare(entry.text).encode(state.version), internal)
        except StreamsExhausted:
            self._prepared(side, entry, None)

    def _prepared(self, side: Side, entry: PreparedStatement, frame: bytes | None) -> None:
        failure = self._check(side, entry, frame)
        for repair in self._waiting.pop((side, entry.origin_id), []):
            if self._repairs.get((side, repair.request.stream)) is not repair:
                continue
            repair.missing.discard(entry.origin_id)
            if failure is not None:
                self._fail(repair, failure)
            elif not repair.missing:
                self._again(repair)

    def _check(self, side: Side, entry: PreparedStatement, frame: bytes | None) -> bytes | None:
        """Nothing where the statement is prepared now; else the ERROR frame that tells why not, or an empty one."""
        if frame is None:
            return b""
        try:
            if error_code(frame) >= 0:
                return frame
            start = body_start(frame, HEADER_LENGTH, frame[1], True)
            answer = decode_response(RESULT, self._state.version, frame, start)
        except RemoteProtocolError:
            return b""
        if not isinstance(answer, Prepared):
            return b""
        if answer.prepared_id == (entry.origin_id if side is Side.ORIGIN else entry.target_id):
            return None
        if side is Side.ORIGIN:
            # The client's id means nothing to origin any more: only the client can prepare anew, and it will once the
            # proxy does not know the id either.
            self._state.shared.prepared.remove(entry.origin_id)
            return b""
        entry.moved(answer.prepared_id)
        return None

    def _again(self, repair: Repair) -> None:
        request = repair.request
        del self._repairs[(repair.side, request.stream)]
        try:
            self._dispatch.send_to(repair.side, request)
        except (UnknownStatement, StreamsExhausted):
            self._fail_with(repair, b"")

    def _fail(self, repair: Repair, failure: bytes) -> None:
        del self._repairs[(repair.side, repair.request.stream)]
        self._fail_with(repair, failure)

    def _fail_with(self, repair: Repair, failure: bytes) -> None:
        request, state = repair.request, self._state
        if not self._may_be_executed_by(other(repair.side), request):
            answer = repair.unprepared
        elif failure:
            answer = failure
        else:
            name = repair.side.name
            reason = f"{name} has forgotten the prepared statement, and it could not be prepared there again"
            error = applied_on_one_side(request, state.version, state.shared.prepared, reason)
            answer = self._error_frame(request, error)
        self._answered(request, repair.side, answer)

    def _may_be_executed_by(self, side: Side, request: PendingRequest) -> bool:
        if not request.plan.awaits & side:
            return False
        answer = request.origin if side is Side.ORIGIN else request.target
        return not request.failed & side or error_code(answer) not in NOT_EXECUTED

    def _error_frame(self, request: PendingRequest, error: Error) -> bytes:
        version = self._state.version
        assert error.code != ErrorCode.UNPREPARED
        return encode_frame(version | RESPONSE_BIT, request.stream, ERROR, error.encode(version))
