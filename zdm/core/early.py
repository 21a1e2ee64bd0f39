"""A client's frames before its session is ready.

They come from anybody who can reach the port, so they are taken one at a time, at most 64 KiB are kept, and the version
is judged by the first byte alone: what follows it may not even be a frame of ours.
"""

from __future__ import annotations

from typing import Final

from zdm.core.clusters import Side
from zdm.core.handshake import MAX_EARLY_BYTES, ClientHandshake
from zdm.core.state import Phase, SessionState
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER, HEADER_LENGTH, RESPONSE_BIT, encode_frame
from zdm.protocol.opcodes import ERROR, REQUESTS, opcode_name

_READABLE: Final = frozenset((3, 4, 5, 0x41, 0x42))
"""Versions of answers that can be cut and relayed: all whose header has nine bytes."""


class EarlyFrames:
    """Judges every frame's header, and feeds the handshake while that lasts."""

    __slots__ = ("_is_segmented", "_kept", "_state", "handshake")

    def __init__(self, state: SessionState) -> None:
        self._state: Final = state
        self._kept = b""
        self._is_segmented = False
        self.handshake: Final = ClientHandshake(state)

    def feed(self, data: bytes) -> None:
        """Bytes from the client; none when the handshake may have become ready for the next frame."""
        state = self._state
        if state.incoming.reader is not None:
            data = self._out_of_segments(data)
        if len(self._kept) + len(data) > MAX_EARLY_BYTES + HEADER_LENGTH:
            self.refuse(0, f"more than {MAX_EARLY_BYTES} bytes before the handshake is over")
            return
        self._kept += data
        while state.phase in (Phase.HANDSHAKE, Phase.REFUSED):
            frame = self._next()
            if not frame:
                return
            if state.phase is Phase.REFUSED:
                self.handshake.repeat_refusal(int.from_bytes(frame[2:4], "big"))
            else:
                self.handshake.client_sent(frame)

    def rest(self) -> bytes:
        """What came after the handshake's last frame; it is not kept any more."""
        rest, self._kept = self._kept, b""
        return rest

    def reads(self, side: Side, version: int) -> bool:
        """An answer whose first byte names this version can be read; if not, the client has been told (section 2.3)."""
        if version in _READABLE:
            return True
        state = self._state
        error = Error(ErrorCode.PROTOCOL_ERROR, f"Invalid or unsupported protocol version ({version})")
        known = state.version if state.incoming.reader is not None else state.snapshot.facts(side).version
        state.outbox.append(encode_frame(known | RESPONSE_BIT, 0, ERROR, error.encode(known)))
        state.close(f"{side.name} answered in protocol version {version}")
        return False

    def acceptable(self, frame: bytes, longest: int) -> bool:
        """The frame's header is in order; if not, the client has been told, and is closed where it must be."""
        state = self._state
        version, _, stream, opcode, length = HEADER.unpack_from(frame)
        if version & RESPONSE_BIT:
            self.refuse(stream, f"{opcode_name(opcode)} came as an answer, not as a request")
        elif version != state.version:
            self.refuse(stream, f"the connection speaks protocol version {state.version}, not {version}")
        elif length > longest:
            self.refuse(stream, f"a frame of {length} bytes is over the limit of {longest} bytes")
        elif opcode not in REQUESTS:
            self.refuse(stream, f"{opcode_name(opcode)} is no request")
        elif stream < 0:
            state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, f"negative stream id: {stream}"))
        else:
            return True
        return False

    def opened(self, frame: bytes, longest: int) -> bytes:
        """The frame with its body open; nothing where it cannot be read, and the client has been told."""
        try:
            return self._state.opened(frame, longest)
        except RemoteProtocolError as fault:
            stream = int.from_bytes(frame[2:4], "big")
            self._state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, fault.message))
            return b""

    def refuse(self, stream: int, message: str) -> None:
        """One PROTOCOL_ERROR, then the end: framing is lost, or nothing good is to be expected."""
        state = self._state
        state.version = state.version or min(state.snapshot.origin.version, state.snapshot.target.version)
        state.answer_error(stream, Error(ErrorCode.PROTOCOL_ERROR, message))
        state.close(message)

    def _out_of_segments(self, data: bytes) -> bytes:
        """The frames in what came behind the answer to STARTUP."""
        if not self._is_segmented:
            self._is_segmented = True
            data, self._kept = self._kept + data, b""
        try:
            return self._state.incoming.push(data)
        except RemoteProtocolError as fault:
            self.refuse(0, fault.message)
            return b""

    def _next(self) -> bytes:
        """The next whole frame, if it is there, in order, and its turn."""
        state = self._state
        while state.phase is not Phase.CLOSED:
            kept = self._kept
            if not kept or not self._version_is_spoken(kept[0]) or len(kept) < HEADER_LENGTH:
                break
            length = HEADER.unpack_from(kept)[4]
            if length > MAX_EARLY_BYTES:
                self.acceptable(kept[:HEADER_LENGTH], MAX_EARLY_BYTES)
                break
            end = HEADER_LENGTH + length
            if len(kept) < end or (state.phase is Phase.HANDSHAKE and not self.handshake.takes_frames()):
                break
            frame, self._kept = kept[:end], kept[end:]
            opened = self.opened(frame, MAX_EARLY_BYTES) if self.acceptable(frame, MAX_EARLY_BYTES) else b""
            if opened:
                return opened
        return b""

    def _version_is_spoken(self, version: int) -> bool:
        state = self._state
        if state.version:
            return True  # a change of version in the middle is told with the frame's stream id
        snapshot = state.snapshot
        if version in snapshot.settings.versions:
            state.version = version
            return True
        state.version = min(snapshot.origin.version, snapshot.target.version)
        named = version & ~RESPONSE_BIT
        error = Error(ErrorCode.PROTOCOL_ERROR, f"Invalid or unsupported protocol version ({named})")
        state.outbox.append(encode_frame(state.version | RESPONSE_BIT, 0, ERROR, error.encode(state.version)))
        state.close(f"the client asked for protocol version {named}")
        return False
