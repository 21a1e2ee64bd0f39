"""Taking answers and settling requests, on any path but the fast one.

The fast path (session) settles what was answered well and needs no reaction. Here are the errors, the answers that
change what the proxy knows (PREPARE, USE, schema changes, OPTIONS), requests that expire, and clusters that are lost.
"""

from __future__ import annotations

from math import inf
from typing import Final

from zdm.core.aggregation import choose, error_code, is_unprepared
from zdm.core.answers import overloaded, possibly_applied, unknown_statement
from zdm.core.clusters import BOTH, CLUSTERS, ORIGIN_BIT, TARGET_BIT, Side
from zdm.core.commands import RefreshSchema
from zdm.core.connector import ClusterConnector, SideState
from zdm.core.dispatch import Dispatch
from zdm.core.keyspace import Keyspace
from zdm.core.mending import Mending
from zdm.core.pending import PendingRequest
from zdm.core.plans import Reaction
from zdm.core.preparation import learn
from zdm.core.rewriting import id_spans
from zdm.core.state import Phase, SessionState
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode, Unprepared, decode_error
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, RESPONSE_BIT, encode_frame, with_body, with_stream
from zdm.protocol.opcodes import BATCH, ERROR, EXECUTE, SUPPORTED
from zdm.protocol.responses import Supported

SILENT_TIMEOUTS: Final = 3
"""Request timeouts for which a connection that owes answers may say nothing at all before it is given up."""

_WORTHWHILE: Final = 0.25
"""Seconds that must have gathered before the times of all requests are corrected by them."""

MAX_OWED: Final = 256
"""Answers that a connection may owe by timeout before it is given up: what a stalled host leaves in one timeout."""


class Settling:
    """Settles one session's requests."""

    __slots__ = ("_blocked", "_blocked_since", "_dispatch", "_keyspace", "_state", "mending")

    def __init__(self, state: SessionState, dispatch: Dispatch, keyspace: Keyspace) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch
        self._keyspace: Final = keyspace
        self.mending: Final = Mending(state, dispatch, self.take)
        self._blocked = 0.0
        self._blocked_since: float | None = None

    def answered(self, request: PendingRequest, side: Side, frame: bytes) -> None:
        """A cluster's answer, under whatever id it travelled. Raises RemoteProtocolError where it can't be read."""
        self._count_answer(request, side, frame)
        if not is_unprepared(frame):
            self.take(request, side, frame)
        elif self._state.connector(side).state is SideState.PARKED:
            self.abandon(request, is_owed=False)  # it was not executed there, and mending would send something
            self._dispatch.put_in_order()
        elif not self.mending.start(request, side, frame):
            self.take(request, side, frame)

    def take(self, request: PendingRequest, side: Side, frame: bytes) -> None:
        """Keep an answer, and settle the request where it was the last."""
        frame = with_stream(frame, request.stream)
        if frame[4] == ERROR:
            request.failed |= side
        if side is Side.ORIGIN:
            request.origin = frame
        else:
            request.target = frame
        request.awaits &= ~side
        if not request.awaits:
            self.settle(request)

    def settle(self, request: PendingRequest) -> None:
        """Every awaited answer is there: give the client its own."""
        del self._state.pending[request.stream]
        if request.failed:
            self._count_failure(request)
        self._count(request)
        try:
            self._state.outbox.append(self._answer(request))
        except RemoteProtocolError as fault:
            error = Error(ErrorCode.SERVER_ERROR, f"a cluster's answer cannot be read: {fault.message}")
            self._state.answer_error(request.stream, error)
            self._keyspace.unreadable(request)

    def expire(self, now: float) -> None:
        """Give up every request whose time is over."""
        for request in self._expired(now):
            if self._state.pending.get(request.stream) is not request:
                continue  # what followed from one before it has settled it
            if request.held:
                self._held_too_long(request)
                continue
            self._state.shared.meter.timed_out += 1
            self._give_up(request)
            if self._state.snapshot.settings.answer_timeouts:
                reason = f"no answer from {_names(request.awaits)} within {request.plan.timeout:g} s"
                self._state.answer_error(request.stream, self._possibly_applied(request, reason))
            self._keyspace.unknown(request)

    def abandon(self, request: PendingRequest, is_owed: bool) -> None:
        """Wait no longer for target's answer, because target was switched off; `is_owed`: it may still come."""
        state, meter = self._state, request.plan.meter
        if is_owed:
            state.target.owe(request, state.now)
        if meter is not None:
            state.shared.meter.abandoned(request.plan.is_read)
        if request.plan.reaction is Reaction.KEYSPACE:
            state.target.is_stray = True
        was_alone = request.plan.awaits == TARGET_BIT
        request.plan = request.plan.abandoned
        request.awaits &= ~TARGET_BIT
        if was_alone:
            self._ask_origin(request)
        elif not request.awaits:
            self.settle(request)

    def refuse_held(self, request: PendingRequest) -> None:
        """A request that was sent nowhere is not going to be."""
        self._dispatch.let_go(request)
        self._state.answer_error(request.stream, overloaded("the cluster connection was not ready in time"))

    def next_deadline(self) -> float | None:
        """When the next request expires; nothing while none is in flight."""
        if not self._state.pending:
            return None
        timeout = self._state.snapshot.settings.request_timeout
        deadline = inf
        for request in self._state.pending.values():
            deadline = min(deadline, self._deadline(request))
            if request.plan.timeout == timeout and not self._state.held_bytes:
                break  # requests of the usual timeout expire in the order they came
        return deadline

    def stalled(self, connector: ClusterConnector) -> bool:
        """The connection owes more late answers than it may, or owes some and has been silent for too long."""
        stalls_at = self.stalls_at(connector)
        return connector.owed > MAX_OWED or (stalls_at is not None and self._state.now >= stalls_at)

    def stalls_at(self, connector: ClusterConnector) -> float | None:
        """When a connection that owes answers has been silent for too long; nothing while it owes none."""
        if not connector.owed or self._blocked_since is not None:
            return None
        patience = SILENT_TIMEOUTS * self._state.snapshot.settings.request_timeout
        return max(connector.last_heard, connector.owed_since) + patience

    def block(self) -> None:
        """The client takes nothing, and clusters are not read because of that: nobody can answer in time."""
        self._blocked_since = self._state.now

    def unblock(self) -> None:
        """It takes answers again. What it took to do so is neither the requests' time nor the clusters' silence."""
        now = self._state.now
        if self._blocked_since is not None:
            self._blocked += now - self._blocked_since
            self._blocked_since = None
        if self._blocked < _WORTHWHILE:
            return
        for request in self._state.pending.values():
            if not request.held:
                request.started = min(now, request.started + self._blocked)
        for side in CLUSTERS:
            self._state.connector(side).last_heard = now
        self._blocked = 0.0
        self._state.sooner = True

    def lost(self, side: Side) -> None:
        """The connection to a cluster ended: no answer will come from it any more."""
        for request in list(self._state.pending.values()):
            # A USE that this side had answered well is undone there: attaching replays the keyspace it had before.
            is_use = request.plan.reaction is Reaction.KEYSPACE and request.plan.awaits & side
            if not request.awaits & side and not (request.awaits and is_use):
                continue
            mending = self.mending.is_mending(request, side)
            self.mending.forget(request, side)
            reason = f"the connection to {side.name} was lost while the request was under way"
            if mending and not request.plan.awaits & ~side:
                error: Error = overloaded(reason)  # it was executed nowhere
            else:
                error = self._possibly_applied(request, reason)
            version = self._state.version
            frame = encode_frame(version | RESPONSE_BIT, request.stream, ERROR, error.encode(version))
            self.take(request, side, frame)

    def cancel(self) -> None:
        """The client is gone: nobody waits for anything any more."""
        for request in self._state.pending.values():
            if request.plan.meter is not None and not request.held:
                request.plan.meter.inflight -= 1
                request.plan.meter.cancelled += 1
        self._state.pending.clear()

    def _ask_origin(self, request: PendingRequest) -> None:
        """Target alone was asked, and will not be heard."""
        state = self._state
        del state.pending[request.stream]
        if request.plan.meter is not None:
            request.plan.meter.inflight -= 1
        request.awaits = request.plan.awaits
        gone = self._forgotten_id(request)
        if gone is not None:
            state.answer_error(request.stream, unknown_statement(gone))
        elif request.awaits & TARGET_BIT:
            state.answer_error(request.stream, overloaded("it is for TARGET, which was switched off"))
        else:
            self._dispatch.send(request)

    def _forgotten_id(self, request: PendingRequest) -> bytes | None:
        """The id that the proxy does not know any more, if any: the client may have target's columns of it."""
        if request.frame()[4] != EXECUTE:
            return None
        known = self._state.shared.prepared.entries
        return next((one for _, one in id_spans(request.frame()) if one not in known), None)

    def _held_too_long(self, request: PendingRequest) -> None:
        """It goes to origin alone where target was only just switched on; else the client is told to retry."""
        state = self._state
        self.mending.forget(request, Side.TARGET)
        may_leave_target = state.target.is_late and not request.plan.while_attaching.awaits & TARGET_BIT
        if may_leave_target and state.origin.state is SideState.READY:
            request.plan = request.plan.while_attaching
            self._dispatch.let_go(request)
            self._dispatch.send(request)
            self._dispatch.put_in_order()
            return
        state.shared.meter.timed_out += 1
        self.refuse_held(request)

    def _expired(self, now: float) -> list[PendingRequest]:
        timeout = self._state.snapshot.settings.request_timeout
        found: list[PendingRequest] = []
        for request in self._state.pending.values():
            if self._deadline(request) <= now:
                found.append(request)
            elif request.plan.timeout == timeout and not self._state.held_bytes:
                break
        return found

    def _deadline(self, request: PendingRequest) -> float:
        """When the request expires; one held for a cluster sooner, because it may be sent elsewhere meanwhile.

        Not while the client takes nothing, because its answer may be here long since.
        """
        if request.held and request.plan.awaits:
            return request.started + min(request.plan.timeout, self._state.snapshot.settings.attach_hold)
        if self._blocked_since is not None:
            return self._state.now + request.plan.timeout
        return request.started + request.plan.timeout

    def _give_up(self, request: PendingRequest) -> None:
        del self._state.pending[request.stream]
        for side in CLUSTERS:
            connector = self._state.connector(side)
            if request.awaits & side and not self.mending.is_mending(request, side):
                connector.owe(request, self._state.now)
            if request.awaits & side and connector.node is not None and request.plan.meter is not None:
                connector.node.left_unanswered()
            self.mending.forget(request, side)
        self._count(request)

    def _possibly_applied(self, request: PendingRequest, reason: str) -> Error:
        return possibly_applied(request, self._state.version, self._state.shared.prepared, reason)

    def _count(self, request: PendingRequest) -> None:
        meter = request.plan.meter
        if meter is not None:
            meter.settle(self._state.now - request.started)

    def _count_answer(self, request: PendingRequest, side: Side, frame: bytes) -> None:
        node, plan = self._state.connector(side).node, request.plan
        if plan.meter is None:
            return
        if plan.tables is not None and frame[4] != ERROR:
            plan.tables.count(side, 1)
        if node is None:
            return
        (node.reads if plan.is_read else node.writes).observe(self._state.now - request.started)
        if frame[4] == ERROR:
            node.answered_with(error_code(frame))

    def _count_failure(self, request: PendingRequest) -> None:
        meter = self._state.shared.meter
        if request.plan.meter is None:
            return
        if request.plan.is_read:
            if request.plan.awaits == ORIGIN_BIT:
                meter.failed_reads_origin += 1
            else:
                meter.failed_reads_target += 1
        elif request.failed == BOTH:
            meter.failed_writes_both += 1
        elif request.failed == TARGET_BIT:
            meter.failed_writes_target += 1
        else:
            meter.failed_writes_origin += 1

    def _under_client_id(self, request: PendingRequest, frame: bytes) -> bytes:
        """The cluster's UNPREPARED under the id by which the client knows the statement (section 6.3)."""
        start = body_start(frame, HEADER_LENGTH, frame[1], True)
        error = decode_error(self._state.version, frame, start)
        if not isinstance(error, Unprepared):
            return frame
        if request.frame()[4] not in (EXECUTE, BATCH):
            return frame
        known = self._state.shared.prepared.entries
        ids = [prepared_id for _, prepared_id in id_spans(request.frame())]
        meant = [one for one in ids if error.prepared_id in (one, known[one].target_id if one in known else one)]
        meant += [one for one in ids if one not in known]  # it was pushed out of the cache meanwhile
        if not meant:
            return frame
        return with_body(frame, frame[HEADER_LENGTH:start] + unknown_statement(meant[0]).encode(self._state.version))

    def _answer(self, request: PendingRequest) -> bytes:
        answer = choose(request)
        if request.failed and is_unprepared(answer):
            answer = self._under_client_id(request, answer)
        return self._react(request, answer)

    def _react(self, request: PendingRequest, answer: bytes) -> bytes:
        reaction = request.plan.reaction
        if reaction is Reaction.NONE or self._state.phase is Phase.CLOSED:
            return answer
        if reaction is Reaction.KEYSPACE:
            self._keyspace.answered(request, answer)
        elif request.failed:
            return answer
        elif reaction is Reaction.PREPARED:
            return learn(self._state, request)
        elif reaction is Reaction.SCHEMA:
            self._state.commands.append(RefreshSchema())
        elif answer[4] == SUPPORTED:
            body = Supported(self._state.snapshot.supported).encode(self._state.version)
            return with_body(answer, body)
        return answer


def _names(sides: int) -> str:
    return " and ".join(side.name for side in CLUSTERS if sides & side)
