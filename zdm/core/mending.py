"""UNPREPARED from one cluster is mended inside: prepared again there, and executed again there only.

So the other cluster never applies a write twice, which is what a driver's own recovery (prepare and execute again,
everywhere) would do. A PREPARE is shared by all requests of the session that wait for the same statement on the same
cluster. In v3 and v4 PREPARE takes the connection's keyspace; where that is not the one under which the statement was
prepared, it is prepared on a connection of its own. In v5 PREPARE names the keyspace, but cannot say that there is
none. The id that comes back is checked.

A statement that was prepared while target was off is prepared there in the same way before it is first sent. Its
request is held meanwhile, so that it is executed on both clusters or on none.

If mending fails, UNPREPARED reaches the client only where no cluster executed the request; otherwise it gets the
PREPARE's error, or WRITE_FAILURE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.core.aggregation import error_code
from zdm.core.answers import NOT_EXECUTED, applied_on_one_side, overloaded, unknown_statement
from zdm.core.clusters import TARGET_BIT, Side, other
from zdm.core.commands import PrepareElsewhere
from zdm.core.connector import Internal, SideState, StreamsExhausted
from zdm.core.dispatch import Dispatch, NeverPrepared, UnknownStatement
from zdm.core.pending import PendingRequest
from zdm.core.prepared import PreparedStatement
from zdm.core.rewriting import id_spans
from zdm.core.state import SessionState
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import CONTROL_VERSIONS, HEADER_LENGTH, RESPONSE_BIT, encode_frame, with_stream
from zdm.protocol.opcodes import BATCH, ERROR, EXECUTE, PREPARE, RESULT
from zdm.protocol.requests import Prepare
from zdm.protocol.responses import Prepared, decode_response
from zdm.protocol.versions import V5


def elsewhere_version(version: int) -> int:
    """The protocol version of a connection on which a session of `version` has something prepared."""
    return min(version, CONTROL_VERSIONS[-1])


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
        dispatch.prepare_first = self.prepare_first

    def prepare_first(self, request: PendingRequest, statements: list[PreparedStatement]) -> None:
        """Hold a request until target knows its statements, or have the client prepare anew.

        That is better where rows are to come from target: the client would read them by origin's columns.
        """
        state = self._state
        if not state.snapshot.settings.mend_unprepared or request.plan.keep == TARGET_BIT and request.plan.is_read:
            state.answer_error(request.stream, unknown_statement(statements[0].origin_id))
        elif self._dispatch.hold(request, "statements to be prepared on TARGET"):
            self._repair(Repair(request, Side.TARGET, b"", {entry.origin_id for entry in statements}), statements)

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
        self._repair(Repair(request, side, unprepared, {entry.origin_id for entry in entries}), entries)
        return True

    def give_up(self, side: Side) -> list[PendingRequest]:
        """Nothing is prepared on the cluster any more; the requests that waited for it."""
        for found in [key for key in self._waiting if key[0] is side]:
            del self._waiting[found]
        for ticket in [ticket for ticket, (where, _) in self._tickets.items() if where is side]:
            del self._tickets[ticket]
        repairs = [self._repairs.pop(key) for key in list(self._repairs) if key[0] is side]
        return [repair.request for repair in repairs]

    def is_mending(self, request: PendingRequest, side: Side) -> bool:
        """The cluster owes no answer to the request at the moment: what is awaited is a PREPARE."""
        repair = self._repairs.get((side, request.stream))
        return repair is not None and repair.request is request

    def forget(self, request: PendingRequest, side: Side) -> None:
        """The cluster's part of the request is settled otherwise."""
        if self.is_mending(request, side):
            del self._repairs[(side, request.stream)]

    def prepared_elsewhere(self, ticket: int, answer: tuple[int, bytes] | None) -> None:
        """What a PREPARE on a connection of its own came to: opcode and body in `elsewhere_version`, or nothing."""
        found = self._tickets.pop(ticket, None)
        if found is not None:
            version = elsewhere_version(self._state.version)
            frame = None if answer is None else encode_frame(version | RESPONSE_BIT, 0, *answer)
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

    def _repair(self, repair: Repair, entries: list[PreparedStatement]) -> None:
        self._repairs[(repair.side, repair.request.stream)] = repair
        for entry in entries:
            waiting = self._waiting.setdefault((repair.side, entry.origin_id), [])
            waiting.append(repair)
            if len(waiting) == 1:
                self._prepare(repair.side, entry)

    def _prepare(self, side: Side, entry: PreparedStatement) -> None:
        state = self._state
        keyspace = entry.keyspace if entry.keyspace != state.keyspace else None
        if entry.keyspace != state.keyspace and (state.version < V5 or keyspace is None):
            self._ticket += 1
            self._tickets[self._ticket] = (side, entry)
            state.commands.append(PrepareElsewhere(side, entry.keyspace or "", entry.text, self._ticket))
            return
        deadline = state.now + state.snapshot.settings.request_timeout
        internal = Internal(lambda frame: self._prepared(side, entry, frame), deadline)
        try:
            self._dispatch.send_internal(side, PREPARE, Prepare(entry.text, keyspace).encode(state.version), internal)
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
                return self._in_version(frame)
            start = body_start(frame, HEADER_LENGTH, frame[1], True)
            answer = decode_response(RESULT, frame[0] & 0x7F, frame, start)
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

    def _in_version(self, error: bytes) -> bytes:
        """An ERROR as the session's version has it: what PREPARE may come to is alike in all, behind the first byte."""
        return bytes((self._state.version | RESPONSE_BIT,)) + error[1:]

    def _again(self, repair: Repair) -> None:
        request = repair.request
        del self._repairs[(repair.side, request.stream)]
        if request.held:
            self._dispatch.let_go(request)
            self._dispatch.send(request)
            self._dispatch.put_in_order()
            return
        try:
            self._dispatch.send_to(repair.side, request)
        except (UnknownStatement, NeverPrepared, StreamsExhausted):
            self._fail_with(repair, b"")

    def _fail(self, repair: Repair, failure: bytes) -> None:
        del self._repairs[(repair.side, repair.request.stream)]
        if repair.request.held:
            self._refuse(repair.request, failure)
        else:
            self._fail_with(repair, failure)

    def _refuse(self, request: PendingRequest, failure: bytes) -> None:
        """What was executed nowhere could not be prepared on target: it is told what target said."""
        if not failure and self._state.target.state is not SideState.READY:
            return  # it goes on waiting for the connection
        self._dispatch.let_go(request)
        if failure:
            self._state.outbox.append(with_stream(failure, request.stream))
        else:
            error = overloaded("a statement could not be prepared on TARGET")
            self._state.answer_error(request.stream, error)

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
        if side is Side.TARGET and request.plan.is_abandoned:
            return True
        if not request.plan.awaits & side:
            return False
        answer = request.origin if side is Side.ORIGIN else request.target
        return not request.failed & side or error_code(answer) not in NOT_EXECUTED

    def _error_frame(self, request: PendingRequest, error: Error) -> bytes:
        version = self._state.version
        assert error.code != ErrorCode.UNPREPARED
        return encode_frame(version | RESPONSE_BIT, request.stream, ERROR, error.encode(version))
