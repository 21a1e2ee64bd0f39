"""How frames lie in the bytes of one connection: bare, with their bodies compressed one by one, or in segments.

Every connection begins bare. STARTUP may agree on an algorithm: in v3 and v4 its answer is the first body that is
compressed. In v5 both directions change to segments right behind READY or AUTHENTICATE, which itself goes bare, and an
algorithm is the segments' matter.
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.compression import compress_body, open_body
from zdm.protocol.frames import COMPRESSED, RESPONSE_BIT, Frame, FrameReader, encode_frame
from zdm.protocol.opcodes import AUTHENTICATE, READY
from zdm.protocol.segments import SegmentReader, encode_segments
from zdm.protocol.versions import V5

_BEFORE_SEGMENTS: Final = (READY, AUTHENTICATE)


class Framing:
    """A node's end of one connection. `algorithm` is what its STARTUP agreed on, and may be set once."""

    def __init__(self) -> None:
        self.algorithm = ""
        self._frames = FrameReader()
        self._segments: SegmentReader | None = None

    @property
    def is_segmented(self) -> bool:
        """Both directions have changed to segments."""
        return self._segments is not None

    def feed(self, data: bytes) -> list[Frame]:
        """The requests that are whole now, as they came. Raises RemoteProtocolError where framing is lost."""
        return self._frames.feed(data if self._segments is None else self._segments.feed(data))

    def open(self, frame: Frame) -> Frame:
        """The same request with its body open. Raises RemoteProtocolError where it can't be.

        In segments the flag says nothing: there are drivers that set it nevertheless.
        """
        if not frame.flags & COMPRESSED:
            return frame
        body = frame.body if self.is_segmented else open_body(self.algorithm, frame.body, self._frames.max_bytes)
        return frame._replace(flags=frame.flags & ~COMPRESSED, body=body)

    def encode(self, version: int, stream: int, opcode: int, body: bytes, flags: int) -> bytes:
        """The bytes of an answer or event; an answer to STARTUP in v5 is the last that goes bare."""
        if self.algorithm and version < V5:
            flags, body = flags | COMPRESSED, compress_body(self.algorithm, body)
        frame = encode_frame(version | RESPONSE_BIT, stream, opcode, body, flags)
        if self._segments is not None:
            return encode_segments(frame, bool(self.algorithm))
        if version >= V5 and opcode in _BEFORE_SEGMENTS:
            self._segments = SegmentReader(bool(self.algorithm))
        return frame
