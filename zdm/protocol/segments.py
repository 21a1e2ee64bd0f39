"""v5's outer units: checksummed segments, with frames in them (v5 section 2; that text calls them frames).

    plain       <length 17 bits><self-contained 1><padding 6><CRC24 3 bytes> payload <CRC32 4 bytes>
    with LZ4    <length 17 bits><opened length 17><self-contained 1><padding 5><CRC24 3 bytes> payload <CRC32 4 bytes>

Integers have their lowest byte first. `length` is that of the payload as it is sent, and so is what the CRC32 covers.
An opened length of 0 says that the payload is not compressed, which is so where compressing does not make it shorter.
A self-contained segment holds one or more whole frames; a frame longer than `MAX_PAYLOAD` is cut into segments that are
not, and that hold nothing else.

Both peers begin with segments right behind READY or AUTHENTICATE, which itself goes without. This file cuts and makes
them; who is where in a handshake is not its matter.
"""

from __future__ import annotations

from bisect import bisect_left
from struct import Struct
from typing import Final
from zlib import crc32

from zdm.protocol.checksums import CRC24_LENGTH, CRC32_INITIAL, CRC32_LENGTH, crc24_of_3, crc24_of_5
from zdm.protocol.compression import compress_block, open_block
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.frames import DEFAULT_MAX_BYTES, HEADER_LENGTH, FrameBuffer

MAX_PAYLOAD: Final = 131071
"""Longest payload of a segment in bytes, opened: 17 bits of length."""

PLAIN_HEADER_LENGTH: Final = 3 + CRC24_LENGTH
LZ4_HEADER_LENGTH: Final = 5 + CRC24_LENGTH

_BODY_LENGTH: Final = Struct(">I")  # at the end of a frame's header
_CRC32: Final = Struct("<I")
_PLAIN_SELF_CONTAINED: Final = 1 << 17
_LZ4_SELF_CONTAINED: Final = 1 << 34


def encode_segment(payload: bytes, is_self_contained: bool, has_lz4: bool = False) -> bytes:
    """One segment with at most `MAX_PAYLOAD` bytes; `has_lz4` says what the connection agreed on."""
    if len(payload) > MAX_PAYLOAD:
        raise LocalProtocolError(f"{len(payload)} bytes do not fit one segment")
    if has_lz4:
        opened_length = len(payload)
        block = compress_block(payload)
        if len(block) < opened_length:
            payload = block
        else:
            opened_length = 0
        header = len(payload) | opened_length << 17 | (_LZ4_SELF_CONTAINED if is_self_contained else 0)
        head = (header | crc24_of_5(header) << 40).to_bytes(LZ4_HEADER_LENGTH, "little")
    else:
        header = len(payload) | (_PLAIN_SELF_CONTAINED if is_self_contained else 0)
        head = (header | crc24_of_3(header) << 24).to_bytes(PLAIN_HEADER_LENGTH, "little")
    return b"".join((head, payload, _CRC32.pack(crc32(payload, CRC32_INITIAL))))


def encode_segments(frames: bytes, has_lz4: bool = False) -> bytes:
    """Whole frames, one behind the other, in as few segments as hold them."""
    size = len(frames)
    if size <= MAX_PAYLOAD:
        return encode_segment(frames, True, has_lz4) if size else b""
    segments: list[bytes] = []
    start = end = 0
    while end < size:
        begin = end
        end = begin + HEADER_LENGTH + _BODY_LENGTH.unpack_from(frames, begin + 5)[0]
        if end - start > MAX_PAYLOAD and start < begin:
            segments.append(encode_segment(frames[start:begin], True, has_lz4))
            start = begin
        if end - start > MAX_PAYLOAD:
            for piece in range(start, end, MAX_PAYLOAD):
                segments.append(encode_segment(frames[piece : min(piece + MAX_PAYLOAD, end)], False, has_lz4))
            start = end
    if end != size:
        raise LocalProtocolError(f"frames of {size} bytes announce {end} bytes")
    if start < size:
        segments.append(encode_segment(frames[start:], True, has_lz4))
    return b"".join(segments)


class SegmentReader:
    """Whole frames out of segments that come in chunks cut anywhere. Lives as long as the connection has segments.

    What is kept of a frame or segment that is not whole is bounded by `max_bytes`, the longest frame body taken, which
    may be changed at any time, and by the length of a segment. How the peer laid frames into segments is not judged:
    cut anywhere, they are read. But `as_it_came` gives none that was laid otherwise than a cluster would accept.
    """

    __slots__ = (
        "_body",
        "_broken",
        "_ends",
        "_frames",
        "_group",
        "_groups",
        "_has_lz4",
        "_header_length",
        "_places",
        "_segments",
        "_self_contained",
        "_whole",
        "max_bytes",
        "source",
    )

    def __init__(self, has_lz4: bool = False, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.source = b""
        """The segments that the last `feed` read: what had been kept of them, and what was fed."""
        self._has_lz4: Final = has_lz4
        self._header_length: Final[int] = LZ4_HEADER_LENGTH if has_lz4 else PLAIN_HEADER_LENGTH
        self._self_contained: Final[int] = _LZ4_SELF_CONTAINED if has_lz4 else _PLAIN_SELF_CONTAINED
        self._segments: Final = FrameBuffer()
        self._frames: Final = FrameBuffer()
        self._body = 0  # where the frames end that this feed has found
        self._whole: list[bytes] = []
        # Where a segment's end is the end of a frame too: in the frames and in `source`. Between two such places of one
        # group there are only segments as they should be.
        self._ends: list[int] = []
        self._places: list[int] = []
        self._groups: list[int] = []
        self._group = 0
        self._broken = False  # since the last such place something lay otherwise

    def feed(self, data: bytes) -> bytes:
        """The frames that are whole now, one behind the other; what comes behind them is kept.

        Raises RemoteProtocolError where a checksum is wrong, a payload cannot be opened, or a frame is announced that
        is longer than `max_bytes`. Nothing that comes later can be read then, and what came whole before it in the same
        chunk is lost with it.
        """
        source = self._segments.push(data)
        self._begin(source)
        head, size, offset = self._header_length, len(source), 0
        while size - offset >= head:
            header = self._header(source, offset)
            payload_start = offset + head
            payload_end = payload_start + (header & MAX_PAYLOAD)
            end = payload_end + CRC32_LENGTH
            if end > size:
                self._segments.keep(source[offset:], end - offset)
                break
            payload = source[payload_start:payload_end]
            if crc32(payload, CRC32_INITIAL) != _CRC32.unpack_from(source, payload_end)[0]:
                raise RemoteProtocolError(f"CRC32 mismatch in the payload of {len(payload)} bytes of a segment")
            if self._has_lz4 and header >> 17 & MAX_PAYLOAD:
                payload = open_block(payload, header >> 17 & MAX_PAYLOAD)
            self._take(payload, header & self._self_contained != 0, end)
            offset = end
        else:
            if offset < size:
                self._segments.keep(source[offset:], head)
        whole, self._whole = self._whole, []
        return whole[0] if len(whole) == 1 else b"".join(whole)

    def as_it_came(self, start: int, end: int) -> tuple[int, int]:
        """Where in `source` the segments are that hold just the bytes from `start` to `end` of what `feed` returned.

        An empty range where none do: those frames shared a segment with others, came in pieces, or oddly laid. True
        until the next `feed` or `let_go`.
        """
        first, last = self._place(start), self._place(end)
        if start >= end or first < 0 or last < 0 or self._groups[first] != self._groups[last]:
            return 0, 0
        return self._places[first], self._places[last]

    def let_go(self) -> None:
        """Forget what the last `feed` read, so that an idle connection keeps nothing but what is not whole."""
        self._begin(b"")

    def is_between_frames(self) -> bool:
        """Nothing is kept: neither a part of a segment nor one of a frame."""
        return not self._segments.needed and not self._frames.needed

    def kept_bytes(self) -> int:
        """How much is kept of a segment and of a frame that are not whole."""
        return self._segments.size + self._frames.size

    def missing_bytes(self) -> int:
        """How much is still to come, as far as headers have told; 0 between frames."""
        missing = self._frames.needed - self._frames.size if self._frames.needed else 0
        return max(missing, self._segments.needed - self._segments.size) if self._segments.needed else missing

    def _place(self, end: int) -> int:
        """The index of a place in the frames where a segment ends; -1 where none does."""
        index = bisect_left(self._ends, end)
        return index if index < len(self._ends) and self._ends[index] == end else -1

    def _begin(self, source: bytes) -> None:
        self.source = source
        self._body = 0
        self._whole = []
        self._broken = self._frames.needed > 0
        self._group = 0
        self._ends, self._places, self._groups = ([], [], []) if self._broken else ([0], [0], [0])

    def _header(self, source: bytes, offset: int) -> int:
        """The header at `offset` as an integer, without its checksum, which is right."""
        number = int.from_bytes(source[offset : offset + self._header_length], "little")
        if self._has_lz4:
            header, announced = number & 0xFFFFFFFFFF, number >> 40
            is_right = crc24_of_5(header) == announced
        else:
            header, announced = number & 0xFFFFFF, number >> 24
            is_right = crc24_of_3(header) == announced
        if not is_right:
            raise RemoteProtocolError(f"CRC24 mismatch in the header of a segment, 0x{header:x}")
        return header

    def _take(self, payload: bytes, is_self_contained: bool, place: int) -> None:
        """Adds one segment's payload to the frames; the segment ends at `place` in the source."""
        is_inside = self._frames.needed > 0
        known = self._frames.needed > HEADER_LENGTH if is_inside else len(payload) >= HEADER_LENGTH
        data = self._frames.push(payload) if is_inside else payload
        offset, count, size = 0, 0, len(data)
        needed = HEADER_LENGTH
        while size - offset >= HEADER_LENGTH:
            length: int = _BODY_LENGTH.unpack_from(data, offset + 5)[0]
            if length > self.max_bytes:
                raise RemoteProtocolError(f"frame body of {length} bytes is over the limit of {self.max_bytes} bytes")
            needed = HEADER_LENGTH + length
            if needed > size - offset:
                break
            offset, count, needed = offset + needed, count + 1, HEADER_LENGTH
        if offset < size:
            self._frames.keep(data[offset:], needed)
        if offset:
            self._whole.append(data if offset == size else data[:offset])
            self._body += offset
        if is_self_contained and offset == size and offset and not is_inside:
            self._ends.append(self._body)
            self._places.append(place)
            self._groups.append(self._group)
        else:
            self._mark(payload, is_self_contained, is_inside, known, count, place)

    def _mark(
        self, payload: bytes, is_self_contained: bool, is_inside: bool, known: bool, count: int, place: int
    ) -> None:
        """Notes how a segment lies to the frames: it began inside one, whose header was `known`, and ended `count`."""
        is_aligned = self._frames.needed == 0
        if is_self_contained:
            is_fit = is_aligned and not is_inside
        else:
            is_fit = known and (count == 0 or (is_inside and is_aligned and count == 1))
        self._broken = self._broken or not is_fit or not payload
        if is_aligned:
            self._group += self._broken
            self._ends.append(self._body)
            self._places.append(place)
            self._groups.append(self._group)
            self._broken = False
