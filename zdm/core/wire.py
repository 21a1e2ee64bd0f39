"""How frames lie in the bytes of one connection of a session: bare, or in v5's segments.

Every connection begins bare. In v5 both directions change to segments right behind READY or AUTHENTICATE, which itself
goes bare. The rest of the session knows frames only: they are taken out of their segments as they come, and put into
segments when the shell takes what is to be written, as many frames in one as there are.

What the client has laid in segments that go to a cluster as they are is not laid anew.
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.frames import HEADER, HEADER_LENGTH, FrameBuffer
from zdm.protocol.opcodes import AUTHENTICATE, READY
from zdm.protocol.segments import SegmentReader, encode_segments
from zdm.protocol.versions import V5

_BEFORE_SEGMENTS: Final = (READY, AUTHENTICATE)


class Wire(FrameBuffer):
    """One connection: what has come on it and is not whole yet, and how much of its outbox is laid already.

    An outbox is a list of frames. Here its first `_laid` items are bytes as they are to be written.
    """

    __slots__ = ("_has_lz4", "_laid", "grown", "reader")

    def __init__(self) -> None:
        FrameBuffer.__init__(self)
        self.reader: SegmentReader | None = None
        """Takes frames out of segments; nothing while the connection is bare."""
        self._has_lz4 = False
        self._laid = 0
        self.grown = 0
        """Bytes that what came is longer now that it is open; whoever takes note of them sets it to 0."""

    def push(self, data: bytes) -> bytes:
        """As for a `FrameBuffer`; from segments come whole frames only. Raises RemoteProtocolError for bad segments."""
        if self.reader is not None:
            return self.reader.feed(data) if not self._has_lz4 else self._opened(self.reader, data)
        return FrameBuffer.push(self, data) if self.needed else data

    def keep_rest(self, data: bytes, offset: int) -> None:
        """Keep what is not a whole frame yet, with the length that its header announces."""
        rest = data[offset:]
        needed = HEADER_LENGTH
        if len(rest) >= HEADER_LENGTH:
            needed += HEADER.unpack_from(rest)[4]
        self.keep(rest, needed)

    def begins_with(self, frame: bytes) -> bool:
        """Segments begin right behind this answer to a STARTUP."""
        return self.reader is None and frame[4] in _BEFORE_SEGMENTS and frame[0] & 0x7F >= V5

    def begin(self, outbox: list[bytes], has_lz4: bool, max_bytes: int) -> None:
        """Segments from here on; what is in the outbox goes bare. `max_bytes` is the longest frame body taken."""
        self.reader = SegmentReader(has_lz4, max_bytes)
        self._has_lz4 = has_lz4
        self._laid = len(outbox)

    def reset(self) -> None:
        """The connection is gone; the next one begins bare."""
        self.clear()
        self.reader = None
        self._laid = 0

    def taken(self, outbox: list[bytes]) -> bytes:
        """The bytes to be written for an outbox, which is empty then."""
        self._lay(outbox)
        written = outbox[0] if len(outbox) == 1 else b"".join(outbox)
        outbox.clear()
        self._laid = 0
        return written

    def add_laid(self, outbox: list[bytes], segments: bytes) -> None:
        """Segments as they came are to go behind what is in the outbox."""
        self._lay(outbox)
        outbox.append(segments)
        self._laid = len(outbox)

    def lay_for_both(self, outbox: list[bytes], other: Wire, others: list[bytes]) -> None:
        """Lay an outbox, and another with the same frames by the way."""
        if not self._laid and not other._laid and outbox == others and self._is_like(other):
            self._lay(outbox)
            others[:] = outbox
            other._laid = self._laid

    def is_between_frames(self) -> bool:
        """In segments nothing is kept; bare, what is kept may travel."""
        return self.reader is None or self.reader.is_between_frames()

    def kept_bytes(self) -> int:
        """How much is kept of what is not whole."""
        return self.size if self.reader is None else self.reader.kept_bytes()

    def missing_bytes(self) -> int:
        """How much is still to come, as far as that is known; 0 where nothing is kept."""
        if self.reader is not None:
            return self.reader.missing_bytes()
        return self.needed - self.size if self.needed else 0

    def _opened(self, reader: SegmentReader, data: bytes) -> bytes:
        kept = reader.kept_bytes() + len(data)
        frames = reader.feed(data)
        self.grown += max(0, len(frames) + reader.kept_bytes() - kept)
        return frames

    def _is_like(self, other: Wire) -> bool:
        """Both lay frames alike."""
        return self.reader is not None and other.reader is not None and self._has_lz4 == other._has_lz4

    def _lay(self, outbox: list[bytes]) -> None:
        if self.reader is None or self._laid == len(outbox):
            return
        frames = b"".join(outbox[self._laid :])
        del outbox[self._laid :]
        outbox.append(encode_segments(frames, self._has_lz4))
        self._laid = len(outbox)
