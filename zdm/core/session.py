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
from zdm.core.clusters import Side
from zdm.core.commands import Command, Recognition
from zdm.core.connector import SideState
from zdm.core.datapath import DataPath, SegmentedDataPath
from zdm.core.dispatch import Dispatch
from zdm.core.early import EarlyFrames
from zdm.core.forwarding import Forwarding
from zdm.core.handover import Handover, handover_of, take_over
from zdm.core.heartbeat import Heartbeat
from zdm.core.matching import Matching
from zdm.core.routing import Routing
from zdm.core.sides import Sides
from zdm.core.snapshot import Shared, Snapshot
from zdm.core.state import SHUTTING_DOWN, Phase, SessionState
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, HEADER, HEADER_LENGTH, RESPONSE_BIT
from zdm.protocol.versions import V5

_CLIENT: Final = Side.CLIENT  # `take` is called for every write
_ORIGIN: Final = Side.ORIGIN
_OPEN: Final = (SideState.READY, SideState.HANDSHAKING, SideState.PARKED)


class Session:
    """Made when a client connects or is taken over; ended by `Close(CLIENT)`, `client_lost` or `hand_over`."""

    __slots__ = (
        "_dispatch",
        "_early",
        "_fast",
        "_forwarding",
        "_heartbeat",
        "_incoming",
        "_matching",
        "_routing",
        "_sides",
        "_state",
    )

    def __init__(
        self, shared: Shared, now: float, local_address: str, client_name: str, handover: Handover | None = None
    ) -> None:
        """`local_address` is the proxy's end of the client's socket, `client_name` the client's, for log lines.

        With a `handover` it goes on where another session stopped, on the connections of that.
        """
        state = SessionState(shared, now, local_address, client_name)
        self._state: Final = state
        self._dispatch: Final = Dispatch(state)
        self._heartbeat: Final = Heartbeat(state, self._dispatch)
        self._sides: Final = Sides(state, self._dispatch)
        self._routing: Final = Routing(state)
        self._fast = DataPath(state, self._routing, self._request, self._answer, self._sides.settling.settle)
        self._early: Final = EarlyFrames(state)
        self._forwarding: Final = Forwarding(state, self._routing, self._dispatch, self._heartbeat)
        self._incoming: Final = state.incoming
        self._matching: Final = Matching(state, self._sides.settling)
        if handover is not None:
            self._take_over(handover)
            return
        self._dispatch.attach(state.origin)
        if state.snapshot.target_enabled:
            self._dispatch.attach(state.target)

    # What the shell asks

    def take(self, side: Side) -> bytes:
        """The bytes to be written to a connection now; they are not kept."""
        state = self._state
        outbox = state.outbox if side is _CLIENT else state.origin.outbox if side is _ORIGIN else state.target.outbox
        if not outbox:
            return b""
        if state.version >= V5:
            return (self._incoming if side is _CLIENT else state.connector(side).incoming).taken(outbox)
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
        if self._state.phase is Phase.CLOSED:
            return None
        deadlines = (self._sides.next_deadline(), self._early.handshake.deadline)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def awaits_time(self) -> bool:
        """There is something that may expire: cheap to ask after each feed."""
        return self._state.phase is Phase.HANDSHAKE or self._sides.awaits_time()

    def expires_sooner(self) -> bool:
        """Something began that expires before what a timer may have been set for; told once."""
        sooner, self._state.sooner = self._state.sooner, False
        return sooner

    @property
    def phase(self) -> Phase:
        """Where the session is in its life."""
        return self._state.phase

    @property
    def is_attaching(self) -> bool:
        """It lacks a target connection that it should have."""
        state = self._state
        is_lacking = state.target.state is not SideState.READY
        return is_lacking and state.phase is Phase.READY and state.snapshot.target_enabled

    def kept_bytes(self) -> int:
        """What is kept for the client, counted anew: not to be asked for every request."""
        return self._state.kept_bytes()

    def take_growth(self) -> int:
        """Bytes beside those that came since it was asked last: what came compressed is kept as it was opened."""
        return self._state.take_growth()

    def missing_bytes(self) -> int:
        """What is still to come of a request that the client has begun to send; 0 where there is none."""
        return self._incoming.missing_bytes()

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
            try:
                data = self._incoming.push(data)
            except RemoteProtocolError as fault:
                self._early.refuse(0, fault.message)
                return
            if data:
                self._requests(data)
        elif state.phase is Phase.DRAINING:
            self._drained_requests(data)
        elif state.phase is not Phase.CLOSED:
            self._early.feed(data)
            self._after_early()

    def feed_cluster(self, side: Side, data: bytes, now: float) -> None:
        """Bytes from a cluster."""
        state = self._state
        state.now = now
        connector = state.connector(side)
        if state.phase is Phase.CLOSED or connector.state not in _OPEN:
            return
        connector.last_heard = now
        try:
            data = connector.incoming.push(data)
            if not data or (state.phase is Phase.HANDSHAKE and not self._early.reads(side, data[0] & ~RESPONSE_BIT)):
                return
            offset = self._fast.answers(side, data)
        except RemoteProtocolError as fault:
            self._sides.lose(side, f"it sent what cannot be read: {fault.message}")
            return
        if offset < len(data) and connector.state in _OPEN:
            if connector.incoming.reader is not None:  # what is left came behind the frame with which segments began
                self.feed_cluster(side, data[offset:], now)
                return
            connector.incoming.keep_rest(data, offset)
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
            self._sides.attachment.begin(side)

    def cluster_lost(self, side: Side, reason: str, now: float) -> None:
        """The connection to a cluster ended, or could not be opened."""
        state = self._state
        state.now = now
        if state.phase is not Phase.CLOSED:
            self._sides.lost(side, reason)
            self._close_if_drained()

    def client_full(self, now: float) -> None:
        """The client takes nothing, so the clusters are not read."""
        self._state.now = now
        self._sides.settling.block()

    def client_drained(self, now: float) -> None:
        """It takes something again."""
        self._state.now = now
        self._sides.settling.unblock()

    def prepared_elsewhere(self, ticket: int, answer: tuple[int, bytes] | None, now: float) -> None:
        """What a `PrepareElsewhere` came to: opcode and body of the answer, or nothing where there was none."""
        self._state.now = now
        if self._state.phase is not Phase.CLOSED:
            self._sides.settling.mending.prepared_elsewhere(ticket, answer)
            self._close_if_drained()

    def statements_sought(self, ticket: int, now: float) -> None:
        """What a `FindStatements` came to is in the shared cache."""
        self._state.now = now
        if self._state.phase is not Phase.CLOSED:
            self._forwarding.sought(ticket)
            self._close_if_drained()

    def login_verified(self, login: Recognition, now: float) -> None:
        """What a `VerifyLogin` came to."""
        self._state.now = now
        if self._state.phase is Phase.HANDSHAKE:
            self._early.handshake.login_verified(login)
            self._early.feed(b"")
            self._after_early()

    def expire(self, now: float) -> None:
        """Time has passed: give up what was awaited too long."""
        state = self._state
        state.now = now
        if state.phase is Phase.HANDSHAKE:
            self._early.handshake.expire(now)
        if state.phase in (Phase.HANDSHAKE, Phase.CLOSED):
            return
        self._sides.expire(now)
        self._close_if_drained()

    def apply(self, snapshot: Snapshot, now: float) -> None:
        """A new generation of what can change while the session lives. `Shared` must have it already."""
        state = self._state
        state.now = now
        before, state.snapshot = state.snapshot, snapshot
        if state.phase is Phase.CLOSED or before.mode is snapshot.mode:
            return
        if state.phase in (Phase.READY, Phase.DRAINING):
            self._sides.switched(is_on=snapshot.target_enabled)
        elif not snapshot.target_enabled:
            self._leave_target_early()
        self._close_if_drained()

    def drain(self, now: float) -> None:
        """Take no new request, and close when those in flight are answered (section 10.4)."""
        state = self._state
        state.now = now
        if state.phase is Phase.READY:
            state.phase = Phase.DRAINING
            self._close_if_drained()
        elif state.phase is not Phase.DRAINING:
            state.close("the proxy shuts down")

    def hand_over(self) -> Handover | None:
        """What another session needs to go on in this one's place; nothing while something is under way."""
        handover = handover_of(self._state)
        if handover is not None:
            self._state.phase = Phase.CLOSED
        return handover

    def client_lost(self) -> None:
        """The client is gone: what it had in flight is cancelled (section 10.5)."""
        self._sides.settling.cancel()
        self._state.phase = Phase.CLOSED

    def _take_over(self, handover: Handover) -> None:
        take_over(self._state, handover)
        self._serve_in_segments()
        if self._state.snapshot.target_enabled:
            self._sides.detachment.catch_up()
        elif handover.target is not None:
            self._sides.switched(is_on=False)

    def _serve_in_segments(self) -> None:
        """In v5 the client is served by another data path, and may send longer frames than before it was let in."""
        state, reader = self._state, self._incoming.reader
        if reader is not None:
            settle = self._sides.settling.settle
            self._fast = SegmentedDataPath(state, self._routing, self._request, self._answer, settle)
            reader.max_bytes = state.snapshot.settings.max_frame_bytes
            reader.let_go()  # a request in one segment with the handshake's last frame does not lie where it says

    def _leave_target_early(self) -> None:
        """Target was switched off before the client was let in."""
        self._sides.detachment.drop()
        if self._state.phase is Phase.HANDSHAKE:
            self._early.handshake.leave_target()
            self._early.feed(b"")
            self._after_early()

    # Requests

    def _requests(self, data: bytes) -> None:
        offset = self._fast.requests(data)
        if offset < len(data):
            self._incoming.keep_rest(data, offset)
        lone = self._fast.take_lone()
        if lone:
            self._heartbeat.keep_alive(lone)

    def _drained_requests(self, data: bytes) -> None:
        try:
            data, offset = self._incoming.push(data), 0
        except RemoteProtocolError as fault:
            self._early.refuse(0, fault.message)
            return
        while len(data) - offset >= HEADER_LENGTH and self._state.phase is Phase.DRAINING:
            length = HEADER.unpack_from(data, offset)[4]
            end = offset + HEADER_LENGTH + length
            if end > len(data) and length <= self._state.snapshot.settings.max_frame_bytes:
                break
            self._request(data[offset:end])
            offset = end
        if offset < len(data):
            self._incoming.keep_rest(data, offset)

    def _after_early(self) -> None:
        if self._state.phase is Phase.READY:
            self._serve_in_segments()
            self._sides.detachment.catch_up()
            rest = self._early.rest()
            if rest:
                self._requests(rest)

    def _request(self, frame: bytes) -> None:
        """Any request, on the general path."""
        state = self._state
        longest = state.snapshot.settings.max_frame_bytes
        came, frame = frame, self._early.opened(frame, longest) if self._early.acceptable(frame, longest) else b""
        if not frame:
            return
        stream = int.from_bytes(frame[2:4], "big")
        if stream in state.pending:
            message = f"stream id {stream} is in use by a request that is not answered yet; closing the connection"
            state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, message))
            state.close("the client used a stream id twice")
        elif state.phase is Phase.DRAINING:
            state.answer_error(stream, overloaded(SHUTTING_DOWN))
        else:
            packed = came if came[1] & COMPRESSED and state.version < V5 else b""
            self._forwarding.forward(stream, frame, packed)

    # Answers

    def _answer(self, side: Side, frame: bytes) -> None:
        """Any answer, on the general path. Raises RemoteProtocolError where it can't be read."""
        state = self._state
        version, _, stream, _, length = HEADER.unpack_from(frame)
        if length > state.snapshot.settings.max_frame_bytes:
            raise RemoteProtocolError(f"a frame of {length} bytes is over max_frame_bytes")
        frame = state.opened(frame, state.snapshot.settings.max_frame_bytes)
        connector = state.connector(side)
        if connector.incoming.begins_with(frame) and version & 0x7F == state.version:
            state.begin_segments(connector.incoming, connector.outbox, state.snapshot.settings.max_frame_bytes)
        if state.phase in (Phase.HANDSHAKE, Phase.REFUSED):
            self._early.handshake.cluster_sent(side, frame)
            self._early.feed(b"")
            self._after_early()
        elif version & 0x7F != state.version and frame[4]:
            raise RemoteProtocolError(f"it answered in protocol version {version & 0x7F} instead of {state.version}")
        elif self._sides.attachment.takes(side):
            self._sides.attachment.answered(frame)
        else:
            self._matching.answered(side, stream, frame)

    def _close_if_drained(self) -> None:
        if self._state.phase is Phase.DRAINING and not self._state.pending:
            self._state.close("drained")

    def __repr__(self) -> str:
        state = self._state
        sides = f"{state.origin} {state.target}"
        return f"<Session {state.client_name} {state.phase.name} v{state.version} pending={len(state.pending)} {sides}>"
