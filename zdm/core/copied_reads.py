"""The connection over which one session's reads are copied to the secondary (section 10.1 of the behaviour spec).

Copies are sent and forgotten: what is answered is counted and dropped, mostly without being read. Nothing here is ever
waited for by a client, or counted in its limits. A connection that ends by itself is not opened again (section 7.6),
until the secondary's own is: then the session copies anew, as a client would that had to come again.
"""

from __future__ import annotations

from typing import Final

from zdm.core.aggregation import error_code
from zdm.core.clusters import Side
from zdm.core.commands import TendCopies
from zdm.core.connector import ClusterConnector, SideState
from zdm.core.copies_under_way import NO_STREAM, CopiesUnderWay, Copy, Kind
from zdm.core.prepared import PreparedStatement
from zdm.core.side_handshake import HandshakeFailed, SideHandshake
from zdm.core.state import Phase, SessionState
from zdm.core.topology import Endpoint
from zdm.protocol.compression import open_frame
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, HEADER, HEADER_LENGTH, encode_frame, without_flag
from zdm.protocol.opcodes import PREPARE
from zdm.protocol.requests import Prepare
from zdm.protocol.responses import Prepared, decode_response
from zdm.protocol.versions import V5

_QUIET: Final = 10.0
"""Seconds for which a session does not say again that copies are not answered."""

_OPEN: Final = (SideState.HANDSHAKING, SideState.READY)
_STREAM: Final = 0  # of the handshake: one frame at a time


class CopiedReads:
    """One session's copies. The shell opens and closes the connection as `state` says, whenever it is told to tend."""

    __slots__ = (
        "_connector",
        "_deadline",
        "_handshake",
        "_keyspace",
        "_quiet_until",
        "_skip",
        "_skipped",
        "_state",
        "_tend",
        "_under_way",
        "side",
    )

    def __init__(self, state: SessionState, side: Side) -> None:
        """`side` is the secondary."""
        self.side: Final = side
        self._state: Final = state
        self._connector: Final = ClusterConnector(side, state.now)
        self._under_way: Final = CopiesUnderWay(state, self._connector)
        self._tend: Final = TendCopies(self)
        self._handshake: SideHandshake | None = None
        self._deadline: float | None = None
        self._keyspace: str | None = None
        self._skip = self._skipped = 0
        self._quiet_until = 0.0

    @property
    def state(self) -> SideState:
        """CONNECTING: the shell is to open it. ABSENT or LOST: there is to be none."""
        return self._connector.state

    @property
    def kept_bytes(self) -> int:
        """What has come of answers that are not whole."""
        return self._connector.incoming.kept_bytes()

    def used_ids(self) -> int:
        """The stream ids in use."""
        return self._under_way.used_ids()

    # What the session says

    def follow(self) -> None:
        """Something has changed: the client was let in, target was switched, the secondary's connection is there."""
        state = self._state
        if not state.snapshot.target_enabled:
            self.drop()
        elif (
            self.state is SideState.ABSENT
            and state.phase is Phase.READY
            and state.connector(self.side).state is SideState.READY
        ):
            self._connector.state = SideState.CONNECTING
            self._keyspace = state.keyspace
            state.commands.append(self._tend)

    def drop(self) -> None:
        """No connection any more, until the secondary's own is ready."""
        if self.state is not SideState.ABSENT:
            self._end(SideState.ABSENT)

    def add(self, stream: int, frame: bytes, kind: Kind, entry: PreparedStatement | None = None) -> None:
        """A request of the client's, as the secondary is to get it; `stream` is the client's id."""
        if self.state is SideState.ABSENT:
            self.follow()
        copy = Copy(kind, self._state.now, entry)
        if self.state is SideState.ABSENT or self.state is SideState.LOST:
            self._under_way.drop(copy)
        else:
            self._under_way.add(stream, frame, copy)

    def prepare(self, entry: PreparedStatement) -> None:
        """The secondary has to know the statement; in the session's own keyspace, if its version cannot name one."""
        repairing, version = self._under_way.repairing, self._state.version
        keyspace = entry.keyspace if entry.keyspace != self._state.keyspace else None
        is_elsewhere = entry.keyspace != self._state.keyspace and (version < V5 or keyspace is None)
        if entry.origin_id in repairing or is_elsewhere:
            return
        repairing.add(entry.origin_id)
        frame = encode_frame(version, 0, PREPARE, Prepare(entry.text, keyspace).encode(version))
        self.add(NO_STREAM, frame, Kind.REPAIR, entry)

    def tend(self) -> None:
        """Have the shell write what there is to be written."""
        if self._connector.outbox:
            self._state.commands.append(self._tend)

    # What the shell says, and asks

    def count(self) -> None:
        """Add the connection, and the stream ids that are used on it, to those of its node."""
        node = self._connector.node
        if node is not None:
            node.connections += 1
            node.used_streams += self.used_ids()

    def take(self) -> bytes:
        """The bytes to be written to the connection now."""
        outbox = self._connector.outbox
        return self._connector.incoming.taken(outbox) if outbox else b""

    def attached(self, host: Endpoint, now: float) -> None:
        """The connection is open, to this host."""
        state = self._state
        state.now = now
        self._connector.node = state.shared.meter.async_nodes.named(str(host))
        self._connector.state = SideState.HANDSHAKING
        # what it was when the first of those that wait came; or what it is, if none of them changes it
        keyspace = self._keyspace if self._under_way.waits_for_use() else state.keyspace
        self._handshake = SideHandshake(self.side, state.credentials.get(self.side), keyspace)
        self._ask(*self._handshake.start(state.startup_body))

    def unreachable(self, reason: str, now: float) -> None:
        """The connection could not be opened."""
        self._state.now = now
        self._give_up(f"Async connector ({self.side.name}) could not be opened", reason)

    def lost(self, reason: str, now: float) -> None:
        """The connection has ended."""
        self._state.now = now
        if self.state is SideState.HANDSHAKING:
            self._handshake_failed(reason)
        elif self.state is SideState.READY:
            self._ended(reason)

    def feed(self, data: bytes, now: float) -> None:
        """Bytes from the secondary."""
        self._state.now = now
        try:
            self._receive(data)
        except RemoteProtocolError as fault:
            self._ended(f"it sent what cannot be read: {fault.message}")
        self._flush()

    def filled(self, is_full: bool, now: float) -> None:
        """The connection takes nothing, or takes something again."""
        self._state.now = now
        self._under_way.is_full = is_full
        self._flush()

    def next_deadline(self) -> float | None:
        """When `expire` is to be called; nothing while nothing is awaited."""
        return self._under_way.next_deadline() if self._deadline is None else self._deadline

    def expire(self, now: float) -> None:
        """Time has passed."""
        state = self._state
        state.now = now
        if self._deadline is not None and now >= self._deadline:
            self._handshake_failed(f"no answer within {state.snapshot.settings.copies_handshake_timeout:g} s")
            return
        expired = self._under_way.expire()
        if expired and now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            text = f"{self.side.name} left {expired} copied requests of client {state.client_name} unanswered"
            state.note("warn", f"{text} for {state.snapshot.settings.request_timeout:g} s.")
        self._flush()

    # Answers

    def _receive(self, data: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if self._skip:
                return
            self._arrived(self._skipped, b"")
            data = data[skipped:]
        state, incoming = self._state, self._connector.incoming
        longest = state.snapshot.settings.max_frame_bytes
        data = incoming.push(data)
        offset, size = 0, len(data)
        while size - offset >= HEADER_LENGTH and self.state in _OPEN:
            version, _, stream, opcode, length = HEADER.unpack_from(data, offset)
            if length > longest:
                raise RemoteProtocolError(f"a frame of {length} bytes is over max_frame_bytes")
            if version & 0x7F != state.version and opcode:
                raise RemoteProtocolError(f"it answered in protocol version {version & 0x7F}")
            end = offset + HEADER_LENGTH + length
            is_read = self._is_read(stream, opcode)
            if end > size and is_read:
                break
            if end > size:
                self._skip, self._skipped = end - size, stream
                return
            frame = self._opened(data[offset:end]) if is_read else b""
            if self.state is SideState.READY:
                self._arrived(stream, frame)
            elif self._handshake_answered(stream, frame):
                self._receive(data[end:])  # in segments from here on
                return
            offset = end
        if offset < size and self.state in _OPEN:
            incoming.keep_rest(data, offset)

    def _opened(self, frame: bytes) -> bytes:
        """The frame with its body open. Unlike the session's own, it counts in nobody's limit."""
        state = self._state
        if not frame[1] & COMPRESSED:
            return frame
        if state.version >= V5:
            return without_flag(frame, COMPRESSED)
        return open_frame(state.compression, frame, state.snapshot.settings.max_frame_bytes)

    def _is_read(self, stream: int, opcode: int) -> bool:
        """Somebody wants to know what is in it."""
        copy = self._under_way.sent(stream)
        return not opcode or self._handshake is not None or (copy is not None and copy.kind is Kind.REPAIR)

    def _handshake_answered(self, stream: int, frame: bytes) -> bool:
        """Whether segments begin behind the frame."""
        if self._handshake is None or stream < 0:
            return False
        incoming, outbox = self._connector.incoming, self._connector.outbox
        begins = incoming.begins_with(frame) and frame[0] & 0x7F == self._state.version
        if begins:
            self._state.begin_segments(incoming, outbox, self._state.snapshot.settings.max_frame_bytes)
        try:
            request = self._handshake.answered(frame)
        except HandshakeFailed as failure:
            self._handshake_failed(failure.reason)
            return False
        if request is not None:
            self._ask(*request)
        else:
            self._handshake = self._deadline = None
            self._connector.state = SideState.READY
            self._state.commands.append(self._tend)
        return begins

    def _ask(self, opcode: int, body: bytes) -> None:
        self._deadline = self._state.now + self._state.snapshot.settings.copies_handshake_timeout
        self._connector.outbox.append(encode_frame(self._state.version, _STREAM, opcode, body))
        self.tend()

    def _arrived(self, stream: int, frame: bytes) -> None:
        """The whole answer is there; `frame` is empty where nobody wants to know it."""
        copy = self._under_way.answered(stream)
        if copy is None or not frame:
            return
        code = error_code(frame)
        if code >= 0:
            self._under_way.failed(copy, code)
        if code == ErrorCode.PROTOCOL_ERROR:
            self._ended("it answered with a PROTOCOL_ERROR")
        elif copy.entry is None:
            return
        elif code == ErrorCode.UNPREPARED and copy.kind is not Kind.REPAIR:
            self.prepare(copy.entry)
        elif code < 0:
            self._prepared(copy.entry, frame)

    def _prepared(self, entry: PreparedStatement, frame: bytes) -> None:
        """A statement that target did not know has another id there, perhaps. Origin's is the client's own."""
        start = body_start(frame, HEADER_LENGTH, frame[1], True)
        answer = decode_response(frame[4], self._state.version, frame, start)
        if self.side is Side.TARGET and isinstance(answer, Prepared) and answer.prepared_id != entry.target_id:
            entry.moved(answer.prepared_id)

    def _flush(self) -> None:
        self._under_way.flush()
        self.tend()

    # The end

    def _handshake_failed(self, reason: str) -> None:
        name = self.side.name
        self._give_up(f"Async connector ({name}) handshake failed, async requests will not be forwarded", reason)

    def _give_up(self, what: str, reason: str) -> None:
        self._state.note("warn", f"{what}: {reason} (client {self._state.client_name}).")
        self._end(SideState.LOST)

    def _ended(self, reason: str) -> None:
        what = f"Async connector ({self.side.name}) of client {self._state.client_name} ended"
        self._state.note("info", f"{what}: {reason}; its reads are not copied any more.")
        self._end(SideState.LOST)

    def _end(self, state: SideState) -> None:
        self._under_way.clear()
        self._connector.reset(state)
        self._skip = 0
        self._handshake = self._deadline = None
        self._state.commands.append(self._tend)

    def __repr__(self) -> str:
        return f"<CopiedReads {self.side.name} {self.state.name} {self._under_way}>"
