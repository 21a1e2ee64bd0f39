"""Cutting a byte stream into frames.

A frame is a 9-byte header and a body (native protocol v3/v4, section 2; the v5 text calls it an envelope and keeps
"frame" for what the rest of the field, and this project, call a segment)::

    +---------+---------+---------+---------+---------+---------+ ... +
    | version |  flags  |      stream       | opcode  |  body length  | body
    +---------+---------+---------+---------+---------+---------+ ... +
      1 byte    1 byte     2, signed          1 byte     4, signed

The high bit of `version` is set in answers. Only the header is looked at here; what a body means is settled in
`requests`, `responses` and `errors`. Bytes that do not yet make a whole frame are kept as they came and joined once,
so a frame of 256 MiB in small reads costs linear time, and nothing is reserved on the sender's word.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from zdm.protocol.exceptions import RemoteProtocolError

HEADER: Final = Struct(">BBhBI")
HEADER_LENGTH: Final = 9
RESPONSE_BIT: Final = 0x80

COMPRESSED: Final = 0x01
TRACING: Final = 0x02
CUSTOM_PAYLOAD: Final = 0x04
WARNING: Final = 0x08
USE_BETA: Final = 0x10
"""Lets a cluster speak a version of which it knows a beta only."""

DEFAULT_MAX_BYTES: Final = 256 * 1024 * 1024
"""Longest body taken, in bytes: Cassandra's own native_transport_max_frame_size of old."""

_SMALL: Final = 4096  # reads below this are gathered, so that a trickle does not cost an object for each byte
_GATHERED: Final = 65536

SUPPORTED_VERSIONS: Final = (3, 4, 5)
"""Protocol versions that clients may speak through this proxy, lowest first."""

CONTROL_VERSIONS: Final = (3, 4)
"""Those of the proxy's own connections."""


class Frame(NamedTuple):
    """One whole frame; `version` without the response bit."""

    version: int
    is_response: bool
    flags: int
    stream: int
    opcode: int
    body: bytes


def encode_frame(version: int, stream: int, opcode: int, body: bytes = b"", flags: int = 0) -> bytes:
    """The bytes of a frame. `version` is written as given: an answer's has `RESPONSE_BIT` set."""
    return HEADER.pack(version, flags, stream, opcode, len(body)) + body


def with_stream(frame: bytes, stream: int) -> bytes:
    """The same frame under another stream id."""
    return b"".join((frame[:2], stream.to_bytes(2, "big", signed=True), frame[4:]))


def without_flag(frame: bytes, flag: int) -> bytes:
    """The same frame without one of its flags."""
    return frame if not frame[1] & flag else b"".join((frame[:1], bytes((frame[1] & ~flag,)), frame[2:]))


def with_body(frame: bytes, body: bytes) -> bytes:
    """The same header with another body."""
    return b"".join((frame[:5], len(body).to_bytes(4, "big"), body))


class FrameBuffer:
    """Bytes of one direction that wait for the rest of their frame.

    `push` gives bytes that begin with a frame header, or nothing while the frame known to be coming is not whole;
    who cut what was whole gives the rest back with `keep`, naming how many bytes its first frame needs in all.
    """

    __slots__ = ("_chunks", "_small", "needed", "size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._small = bytearray()
        self.size = 0
        self.needed = 0

    def push(self, data: bytes) -> bytes:
        """What was kept and `data` as one piece; empty while that is less than `needed` bytes."""
        if not self.needed:
            return data
        self._append(data)
        if self.size < self.needed:
            return b""
        if self._small:
            self._chunks.append(bytes(self._small))
        joined = b"".join(self._chunks)
        self.clear()
        return joined

    def keep(self, rest: bytes, needed: int) -> None:
        """Keep `rest`, the start of a frame that is `needed` bytes long in all (header length while unknown)."""
        self.needed = needed
        self._append(rest)

    def kept(self) -> tuple[bytes, int]:
        """What is kept, and how many bytes its first frame needs: the arguments for another buffer's `keep`."""
        return b"".join((*self._chunks, self._small)), self.needed

    def clear(self) -> None:
        """Forget everything that is kept."""
        self._chunks = []
        self._small = bytearray()
        self.size = self.needed = 0

    def _append(self, data: bytes) -> None:
        self.size += len(data)
        if len(data) < _SMALL:
            self._small += data
            if len(self._small) < _GATHERED:
                return
            data = b""
        if self._small:
            self._chunks.append(bytes(self._small))
            self._small = bytearray()
        if data:
            self._chunks.append(data)


class FrameReader:
    """Whole frames out of chunks cut anywhere. `max_bytes` is the longest body taken and may be changed at any time."""

    __slots__ = ("_buffer", "max_bytes")

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._buffer = FrameBuffer()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now.

        Raises RemoteProtocolError where a header announces more than `max_bytes`: framing is lost then.
        """
        data = self._buffer.push(data)
        frames: list[Frame] = []
        offset, size = 0, len(data)
        while size - offset >= HEADER_LENGTH:
            version, flags, stream, opcode, length = HEADER.unpack_from(data, offset)
            if length > self.max_bytes:
                raise RemoteProtocolError(f"frame body of {length} bytes is over the limit of {self.max_bytes} bytes")
            end = offset + HEADER_LENGTH + length
            if end > size:
                self._buffer.keep(data[offset:], end - offset)
                return frames
            body = data[offset + HEADER_LENGTH : end]
            frames.append(Frame(version & 0x7F, version >= RESPONSE_BIT, flags, stream, opcode, body))
            offset = end
        if offset < size:
            self._buffer.keep(data[offset:], HEADER_LENGTH)
        return frames
