"""What a real driver and a real Cassandra said to each other, as frames and as v5 segments (see tests/data)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from zdm.protocol.compression import LZ4, open_body
from zdm.protocol.frames import COMPRESSED, HEADER_LENGTH, Frame, FrameReader
from zdm.protocol.opcodes import AUTHENTICATE, READY, STARTUP
from zdm.protocol.segments import SegmentReader

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = ["v3", "v4", "v4-lz4", "v4-snappy", "v5", "v5-lz4"]
SEGMENTED = ["v5", "v5-lz4"]

_LAST_BARE = (STARTUP, READY, AUTHENTICATE)


def version_of(recording: str) -> int:
    return int(recording[1])


def algorithm_of(recording: str) -> str:
    return recording.partition("-")[2]


def has_lz4(recording: str) -> bool:
    return algorithm_of(recording) == LZ4


def streams(recording: str) -> list[bytes]:
    """All that one side said on one connection, for each of them."""
    found: dict[tuple[int, str], bytearray] = {}
    with gzip.open(DATA / f"frames-cassandra-4.1-{recording}.jsonl.gz", "rt") as lines:
        for line in lines:
            read = json.loads(line)
            found.setdefault((read["conn"], read["from"]), bytearray()).extend(bytes.fromhex(read["hex"]))
    return [bytes(stream) for stream in found.values()]


def split_stream(stream: bytes) -> tuple[bytes, bytes]:
    """What goes without segments, to STARTUP or its answer, and the segments that follow in v5."""
    offset = 0
    while True:
        opcode = stream[offset + 4]
        offset += HEADER_LENGTH + int.from_bytes(stream[offset + 5 : offset + HEADER_LENGTH], "big")
        if opcode in _LAST_BARE:
            return stream[:offset], stream[offset:]


def frames_of(recording: str, step: int | None = None) -> list[Frame]:
    """Every frame, its body open, as it comes out of pieces of `step` bytes; the last of a stream may be cut off."""
    return [
        _opened(frame, algorithm_of(recording))
        for stream in streams(recording)
        for frame in _cut(recording, stream, step)
    ]


def _cut(recording: str, stream: bytes, step: int | None) -> Iterator[Frame]:
    reader, segment_reader = FrameReader(), SegmentReader(has_lz4(recording))
    bare, segments = split_stream(stream) if recording in SEGMENTED else (stream, b"")
    for piece in _pieces(bare, step):
        yield from reader.feed(piece)
    for piece in _pieces(segments, step):
        yield from reader.feed(segment_reader.feed(piece))


def _pieces(data: bytes, step: int | None) -> Iterator[bytes]:
    size = step or max(1, len(data))
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _opened(frame: Frame, algorithm: str) -> Frame:
    if not frame.flags & COMPRESSED:
        return frame
    return frame._replace(flags=frame.flags & ~COMPRESSED, body=open_body(algorithm, frame.body))
