"""One client connection and its two cluster connections: everything revolves around this.

A `Session` does no I/O and knows no clock. Its shell (zdm.net.client) feeds it bytes and tells it what happened, and
after each call takes the bytes that are to be written (`take`) and the few other effects (`commands`). Inside, the
parts each settle one question: `handshake` who may come in, `routing` where a request goes, `dispatch` how it is sent,
`settling` what the client is answered, `mending` what becomes of forgotten prepared statements, `keyspace` and
`attachment` what keeps the two sides alike; `datapath` is the short cut through all of them that nearly every request
takes.
"""

from __future__ import annotations

from typing import Final

from zdm.core.answers import overloaded
from zdm.core.attachment import Attachment
from zdm.core.clusters import CLUSTERS, ORIGIN_BIT, TARGET_BIT, Side
from zdm.core.commands import Close, Command, RefreshSchema
from zdm.core.connector import ClusterConnector, Internal, Owed, SideState
from zdm.core.datapath import DataPath
from zdm.core.dispatch import Dispatch
from zdm.core.early import EarlyFrames
from zdm.core.heartbeat import Heartbeat
from zdm.core.intercept import Answer
from zdm.core.keyspace import Keyspace
from zdm.core.pending import PendingRequest
from zdm.core.plans import Plan
from zdm.core.routing import Routing
from zdm.core.settling import Settling
from zdm.core.snapshot import Shared, Snapshot
from zdm.core.state import SHUTTING_DOWN, Phase, SessionState
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER, HEADER_LENGTH, RESPONSE_BIT, FrameBuffer
from zdm.protocol.opcodes import EVENT
from zdm.protocol.primitives import Reader

_SCHEMA_CHANGE: Final = "SCHEMA_CHANGE"


class Session:
    """Made when a client connects, ended by `Close(CLIENT)` or by `client_lost`."""

    __slots__ = (
        "_attachment",
        "_dispatch",
        "_early",
        "_fast",
        "_heartbeat",
        "_incoming",
        "_keyspace",
        "_routing",
        "_settling",
        "_state",
    )

    def __init__(self, shared: Shared, now: float, local_address: str, client_name: str) -> None:
        """`local_address` is the proxy's end of the client's socket, `client_name` the client's, for log lines."""
        state = SessionState(shared, now, local_address, client_name)
        self._state: Final = state
        self._dispatch: Final = Dispatch(state)
        self._heartbeat: Final = Heartbeat(state, self._dispatch)
        self._keyspace: Final = Keyspace(state, self._dispatch, self._lose)
        self._settling: Final = Settling(state, self._dispatch, self._keyspace)
        self._routing: Final = Routing(state)
        self._fast: Final = DataPath(state, self._routing, self._request, self._answer, self._settling.settle)
        self._early: Final = EarlyFrames(state)
        self._attachment: Final = Attachment(state, self._dispatch, self._lose)
        self._incoming: Final = FrameBuffer()
        for connector in (state.origin, state.target):
            self._dispatch.attach(connector)

    # What the shell asks

    def take(self, side: Side) -> bytes:
        """The bytes to be written to a connection now; they are not kept."""
        state = self._state
        outbox = state.outbox if not side else state.origin.outbox if side == ORIGIN_BIT else state.target.outbox
        if not outbox:
            return b""
        taken = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        return taken

    def commands(self) -> list[Command]:
        """The effects that are asked for; each is given once."""
        commands = self._state.commands
        if commands:
            self._state.commands = []
        return commands

    def next_deadline(self) -> float | None:
        """When `expire` is to be called next, in seconds of the session's clock; nothing while nothing is awaited."""
        state = self._state
        if state.phase is Phase.CLOSED:
            return None
        deadlines = [self._settling.next_deadline(), self._early.handshake.deadline, self._attachment.deadline]
        for connector in (state.origin, state.target):
            deadlines.extend(value.deadline for value in connector.special.values() if isinstance(value, Internal))
            if connector.state is SideState.LOST and state.held_bytes:
                deadlines.append(connector.retry_at)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def awaits_time(self) -> bool:
        """There is something that may expire: cheap to ask after each feed."""
        state = self._state
        return bool(
            state.pending
            or state.phase is Phase.HANDSHAKE
            or state.origin.special
            or state.target.special
            or self._attachment.deadline is not None
        )

    def expires_sooner(self) -> bool:
        """Something began that expires before what a timer may have been set for; told once."""
        sooner, self._state.sooner = self._state.sooner, False
        return sooner

    @property
    def phase(self) -> Phase:
        """Where the session is in its life."""
        return self._state.phase

    @property
    def state(self) -> SessionState:
        """What the session knows; for tests and for the shell's log lines."""
        return self._state

    # What the shell tells

    def feed_client(self, data: bytes, now: float) -> None:
        """Bytes from the client."""
        state = self._state
        state.now = now
        if state.phase is Phase.READY:
            data = self._incoming.push(data)
            if data:
                self._requests(data)
        elif state.phase is Phase.DRAINING:
            self._drained_requests(self._incoming.push(data))
        elif state.phase is not Phase.CLOSED:
            self._early.feed(data)
            self._after_early()

    def feed_cluster(self, side: Side, data: bytes, now: float) -> None:
        """Bytes from a cluster."""
        state = self._state
        state.now = now
        connector = state.connector(side)
        if state.phase is Phase.CLOSED or connector.state not in (SideState.READY, SideState.HANDSHAKING):
            return
        connector.last_heard = now
        data = connector.incoming.push(data)
        if not data or (
            state.phase is Phase.HANDSHAKE and not self._early.handshake.reads(side, data[0] & ~RESPONSE_BIT)
        ):
            return
        try:
            offset = self._fast.answers(side, data)
        except RemoteProtocolError as fault:
            self._lose(side, f"it sent what cannot be read: {fault.message}")
            return
        if offset < len(data) and connector.state in (SideState.READY, SideState.HANDSHAKING):
            _keep(connector.incoming, data, offset)
        self._close_if_drained()

    def attached(self, side: Side, now: float) -> None:
        """The connection to a cluster is open."""
        state = self._state
        state.now = now
        connector = state.connector(side)
        connector.last_heartbeat = connector.last_heard = now
        connector.state = SideState.HANDSHAKING
        if state.phase is Phase.HANDSHAKE:
            self._early.feed(b"")
            self._after_early()
        else:
            self._attachment.begin(side)

    def cluster_lost(self, side: Side, reason: str, now: float) -> None:
        """The connection to a cluster ended, or could not be opened."""
        state = self._state
        state.now = now
        connector = state.connector(side)
        if state.phase is Phase.CLOSED:
            return
        attaching = connector.state is SideState.CONNECTING or self._attachment.forget(side)
        orphans = connector.reset(SideState.LOST)
        if side is Side.ORIGIN or state.phase in (Phase.HANDSHAKE, Phase.REFUSED) or not self._reattaches():
            state.note(
                "info", f"The {side.name} connection of {state.client_name} ended ({reason}); closing the client."
            )
            state.close(f"{side.name} connection ended: {reason}")
            return
        if attaching:
            self._dispatch.postpone(connector)
        self._settling.lost(side)
        for internal in orphans:
            internal.answered(None)
        state.note(
            "info", f"The {side.name} connection of {state.client_name} ended ({reason}); it is reopened on demand."
        )
        if state.held_bytes:
            self._dispatch.attach(connector)
        self._close_if_drained()

    def prepared_elsewhere(self, ticket: int, answer: tuple[int, bytes] | None, now: float) -> None:
        """What a `PrepareElsewhere` came to: opcode and body of the answer, or nothing where there was none."""
        self._state.now = now
        if self._state.phase is not Phase.CLOSED:
            self._settling.mending.prepared_elsewhere(ticket, answer)
            self._close_if_drained()

    def expire(self, now: float) -> None:
        """Time has passed: give up what was awaited too long."""
        state = self._state
        state.now = now
        if state.phase is Phase.HANDSHAKE:
            self._early.handshake.expire(now)
        if state.phase in (Phase.HANDSHAKE, Phase.CLOSED):
            return
        self._settling.expire(now)
        self._attachment.expire(now)
        for side in CLUSTERS:
            self._expire_side(side, state.connector(side))
        self._close_if_drained()

    def apply(self, snapshot: Snapshot) -> None:
        """A new generation of what can change while the session lives."""
        self._state.snapshot = snapshot

    def drain(self, now: float) -> None:
        """Take no new request, and close when those in flight are answered (section 10.4)."""
        state = self._state
        state.now = now
        if state.phase is Phase.READY:
            state.phase = Phase.DRAINING
            self._close_if_drained()
        elif state.phase is not Phase.DRAINING:
            state.close("the proxy shuts down")

    def client_lost(self) -> None:
        """The client is gone: what it had in flight is cancelled (section 10.5)."""
        self._settling.cancel()
        self._state.phase = Phase.CLOSED

    # Requests

    def _requests(self, data: bytes) -> None:
        offset = self._fast.requests(data)
        if offset < len(data):
            _keep(self._incoming, data, offset)
        lone = self._fast.take_lone()
        if lone:
            self._heartbeat.keep_alive(lone)

    def _drained_requests(self, data: bytes) -> None:
        offset = 0
        while len(data) - offset >= HEADER_LENGTH and self._state.phase is Phase.DRAINING:
            length = HEADER.unpack_from(data, offset)[4]
            end = offset + HEADER_LENGTH + length
            if end > len(data) and length <= self._state.snapshot.settings.max_frame_bytes:
                break
            self._request(data[offset:end])
            offset = end
        if offset < len(data):
            _keep(self._incoming, data, offset)

    def _after_early(self) -> None:
        if self._state.phase is Phase.READY:
            rest = self._early.rest()
            if rest:
                self._requests(rest)

    def _request(self, frame: bytes) -> None:
        """Any request, on the general path."""
        state = self._state
        if not self._early.acceptable(frame, state.snapshot.settings.max_frame_bytes):
            return
        stream = int.from_bytes(frame[2:4], "big")
        if stream in state.pending:
            message = f"stream id {stream} is in use by a request that is not answered yet; closing the connection"
            state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, message))
            state.close("the client used a stream id twice")
        elif state.phase is Phase.DRAINING:
            state.answer_error(stream, overloaded(SHUTTING_DOWN))
        else:
            self._planned(stream, frame)

    def _planned(self, stream: int, frame: bytes) -> None:
        state = self._state
        try:
            planned = self._routing.plan(frame)
            if isinstance(planned, Plan):
                self._dispatch.send(PendingRequest(stream, planned, state.now, frame, 0, len(frame)))
            elif isinstance(planned, Answer):
                state.answer(stream, planned.opcode, planned.body)
        except RemoteProtocolError as fault:
            state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, fault.message))
            return
        if isinstance(planned, Plan) and planned.awaits != ORIGIN_BIT | TARGET_BIT:
            self._heartbeat.keep_alive(planned.awaits)

    # Answers

    def _answer(self, side: Side, frame: bytes) -> None:
        """Any answer, on the general path. Raises RemoteProtocolError where it can't be read."""
        state = self._state
        version, _, stream, _, length = HEADER.unpack_from(frame)
        if length > state.snapshot.settings.max_frame_bytes:
            raise RemoteProtocolError(f"a frame of {length} bytes is over max_frame_bytes")
        if state.phase in (Phase.HANDSHAKE, Phase.REFUSED):
            self._early.handshake.cluster_sent(side, frame)
            self._early.feed(b"")
            self._after_early()
        elif self._attachment.takes(side):
            self._attachment.answered(frame)
        elif stream < 0:
            self._event(side, frame)
        elif version & 0x7F != state.version and frame[4]:
            raise RemoteProtocolError(f"it answered in protocol version {version & 0x7F} instead of {state.version}")
        else:
            self._match(side, stream, frame)

    def _match(self, side: Side, stream: int, frame: bytes) -> None:
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
            return
        self._settling.answered(request, side, frame)

    def _event(self, side: Side, frame: bytes) -> None:
        """Only schema changes on origin reach the client; topology is the proxy's own matter (section 7.7)."""
        if side is Side.ORIGIN and frame[4] == EVENT and Reader(frame, HEADER_LENGTH).string() == _SCHEMA_CHANGE:
            self._state.commands.append(RefreshSchema())
            self._state.outbox.append(frame)

    # Sides

    def _reattaches(self) -> bool:
        return self._state.snapshot.settings.reattach_target

    def _lose(self, side: Side, reason: str) -> None:
        """Give a cluster connection up from this side."""
        state = self._state
        if state.phase is not Phase.CLOSED and state.connector(side).state is not SideState.LOST:
            state.commands.append(Close(side, reason))
            self.cluster_lost(side, reason, state.now)

    def _expire_side(self, side: Side, connector: ClusterConnector) -> None:
        state = self._state
        if state.phase is Phase.CLOSED:
            return  # what expired on the other side has ended the session
        for stream, value in list(connector.special.items()):
            is_here = connector.special.get(stream) is value  # what follows from one may have ended the connection
            if is_here and isinstance(value, Internal) and value.deadline <= state.now:
                connector.owe_on(stream, state.now)
                value.answered(None)
        if self._settling.stalled(connector):
            client = state.client_name
            state.note("warn", f"{side.name} leaves requests of {client} unanswered; its connection is opened anew.")
            self._lose(side, "too many requests timed out")
        elif connector.state is SideState.LOST and state.held_bytes:
            self._dispatch.attach(connector)

    def _close_if_drained(self) -> None:
        if self._state.phase is Phase.DRAINING and not self._state.pending:
            self._state.close("drained")

    def __repr__(self) -> str:
        state = self._state
        sides = f"{state.origin} {state.target}"
        return f"<Session {state.client_name} {state.phase.name} v{state.version} pending={len(state.pending)} {sides}>"


def _keep(buffer: FrameBuffer, data: bytes, offset: int) -> None:
    """Keep what is not a whole frame yet, with the length that its header announces."""
    rest = data[offset:]
    needed = HEADER_LENGTH
    if len(rest) >= HEADER_LENGTH:
        needed += HEADER.unpack_from(rest)[4]
    buffer.keep(rest, needed)
