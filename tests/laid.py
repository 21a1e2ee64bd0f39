"""How frames lie on one connection of a play, seen from the other end: bare, or in v5's segments."""

from __future__ import annotations

from tests.stage import cut
from zdm.protocol.segments import SegmentReader, encode_segments

_BEFORE_SEGMENTS = (0x02, 0x03)  # READY, AUTHENTICATE


class Laid:
    """The other end of one connection: it lays frames, and reads what the proxy has laid."""

    def __init__(self) -> None:
        self.has_lz4 = False
        self._reader: SegmentReader | None = None

    @property
    def is_segmented(self) -> bool:
        return self._reader is not None

    def lay(self, frames: tuple[bytes, ...], answers: bool = False) -> bytes:
        """The bytes of frames that are sent; segments begin behind the answer to a STARTUP."""
        laid, in_segments = b"", b""
        for frame in frames:
            if self.is_segmented:
                in_segments += frame
            else:
                laid += frame
                if answers:
                    self._passed(frame)
        return laid + encode_segments(in_segments, self.has_lz4)

    def read(self, data: bytes, answers: bool = False) -> list[bytes]:
        """The frames in what the proxy has written, which must be whole."""
        found: list[bytes] = []
        while data and self._reader is None:
            end = 9 + int.from_bytes(data[5:9], "big")
            assert len(data) >= end, f"{len(data)} bytes where a frame of {end} bytes begins"
            found.append(data[:end])
            data = data[end:]
            if answers:
                self._passed(found[-1])
        if self._reader is not None:
            found += cut(self._reader.feed(data))
            assert self._reader.is_between_frames(), "the proxy has written half a segment or frame"
        return found

    def _passed(self, frame: bytes) -> None:
        if frame[0] & 0x7F >= 5 and frame[4] in _BEFORE_SEGMENTS:
            self._reader = SegmentReader(self.has_lz4)
