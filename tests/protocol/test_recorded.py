"""What a real driver and a real Cassandra said: all of it is understood, and said again in the same bytes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.protocol.recorded import (
    RECORDINGS,
    SEGMENTED,
    algorithm_of,
    frames_of,
    has_lz4,
    split_stream,
    streams,
    version_of,
)
from zdm.protocol.compression import compress_body
from zdm.protocol.envelope import body_start, encode_envelope, split_envelope
from zdm.protocol.errors import AlreadyExists, Error
from zdm.protocol.frames import COMPRESSED, HEADER_LENGTH, Frame, FrameReader
from zdm.protocol.metadata import ColumnSpec
from zdm.protocol.requests import Batch, Execute, Query, Request, decode_request
from zdm.protocol.responses import Prepared, Response, Rows, decode_response
from zdm.protocol.segments import SegmentReader, encode_segments
from zdm.protocol.types import decode_cql, encode_cql

each_recording = pytest.mark.parametrize("recording", RECORDINGS)
COMPRESSED_RECORDINGS = ["v4-lz4", "v4-snappy"]


def understood(frame: Frame) -> Request | Response:
    start = body_start(frame.body, 0, frame.flags, frame.is_response)
    decode = decode_response if frame.is_response else decode_request
    return decode(frame.opcode, frame.version, frame.body, start)


@each_recording
def test_every_recorded_body_is_said_again_in_the_same_bytes(recording: str) -> None:
    """There are no exceptions: all that driver 3.30 and Cassandra 4.1 wrote is canonical."""
    for frame in frames_of(recording):
        envelope, start = split_envelope(frame.body, frame.flags, frame.is_response)
        flags, before = encode_envelope(envelope, frame.is_response)
        assert before == frame.body[:start]
        assert flags == frame.flags
        assert understood(frame).encode(version_of(recording)) == frame.body[start:]


@each_recording
def test_the_recording_holds_what_it_is_kept_for(recording: str) -> None:
    """A recording that lost its interesting parts would let everything pass."""
    messages = [understood(frame) for frame in frames_of(recording)]
    kinds = Counter(type(message) for message in messages)
    assert sum(kinds.values()) > 100
    assert {Batch, Execute, Query, Rows, Prepared, Error, AlreadyExists} <= set(kinds)
    assert any(isinstance(message, Rows) and message.metadata.paging_state for message in messages)
    assert any(isinstance(message, Execute) and message.parameters.paging_state for message in messages) or any(
        isinstance(message, Query) and message.parameters.paging_state for message in messages
    )
    assert max(len(frame.body) for frame in frames_of(recording)) > 200_000


@each_recording
def test_every_recorded_value_is_said_again_in_the_same_bytes(recording: str) -> None:
    """Cassandra sends sets in the order of their type, which for those recorded is that of their bytes."""
    decoded = 0
    for message in map(understood, frames_of(recording)):
        if isinstance(message, Rows) and message.metadata.columns:
            for row in message.rows:
                decoded += _same_again(message.metadata.columns, row)
    assert decoded > 50


def _same_again(columns: list[ColumnSpec], row: list[bytes | None]) -> int:
    for column, cell in zip(columns, row, strict=True):
        assert encode_cql(column.type, decode_cql(column.type, cell)) == cell, column
    return len(row)


@each_recording
def test_the_recording_is_the_same_in_small_pieces(recording: str) -> None:
    """Where TCP cut is chance."""
    assert Counter(map(repr, frames_of(recording, 101))) == Counter(map(repr, frames_of(recording)))


@pytest.mark.parametrize("recording", COMPRESSED_RECORDINGS)
def test_most_recorded_bodies_are_compressed_into_the_same_bytes(recording: str) -> None:
    """The libraries differ from Cassandra's in what they find worth a copy, and may."""
    algorithm, alike = algorithm_of(recording), 0
    raw = [frame for stream in streams(recording) for frame in FrameReader().feed(stream)]
    for frame, opened in zip(raw, frames_of(recording), strict=True):
        if frame.flags & COMPRESSED:
            alike += compress_body(algorithm, opened.body) == frame.body
    assert alike > 60


@pytest.mark.parametrize("recording", SEGMENTED)
def test_recorded_segments_are_passed_on_as_they_came(recording: str) -> None:
    """Driver and Cassandra lay their frames so that a cluster takes every segment as it is."""
    for stream in streams(recording):
        _, segments = split_stream(stream)
        reader = SegmentReader(has_lz4(recording))
        frames = reader.feed(segments)
        assert reader.is_between_frames()
        assert reader.as_it_came(0, len(frames)) == (0, len(segments))
        again = SegmentReader(has_lz4(recording))
        assert again.feed(encode_segments(frames, has_lz4(recording))) == frames


@pytest.mark.parametrize("recording", SEGMENTED)
def test_a_recorded_segment_of_one_frame_is_written_in_the_same_bytes(recording: str) -> None:
    """But for two frames that shared one, and a large one that Cassandra cut 17 bytes before it had to.

    With LZ4 the driver has the library that we have; Cassandra finds other matches.
    """
    for stream in streams(recording):
        _, segments = split_stream(stream)
        reader = SegmentReader(has_lz4(recording))
        frames = reader.feed(segments)
        alike, start, cut = 0, 0, FrameReader().feed(frames)
        for frame in cut:
            end = start + HEADER_LENGTH + len(frame.body)
            first, last = reader.as_it_came(start, end)
            alike += first < last and encode_segments(frames[start:end], has_lz4(recording)) == segments[first:last]
            start = end
        is_exact = recording == "v5" or not cut[0].is_response
        assert alike >= (len(cut) - 3 if is_exact else len(cut) // 2)
