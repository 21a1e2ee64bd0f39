"""What a real driver and a real Cassandra said: all of it is understood, and said again in the same bytes."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from zdm.protocol.envelope import body_start, encode_envelope, split_envelope
from zdm.protocol.errors import AlreadyExists, Error
from zdm.protocol.frames import Frame, FrameReader
from zdm.protocol.metadata import ColumnSpec
from zdm.protocol.requests import Batch, Execute, Query, Request, decode_request
from zdm.protocol.responses import Prepared, Response, Rows, decode_response
from zdm.protocol.types import decode_cql, encode_cql

DATA = Path(__file__).parents[1] / "data"
VERSIONS = [3, 4]


def recorded(version: int, step: int | None = None) -> list[Frame]:
    """All frames of the recording, cut as TCP cut them or into pieces of `step` bytes."""
    readers: dict[tuple[int, str], FrameReader] = {}
    frames: list[Frame] = []
    with gzip.open(DATA / f"frames-cassandra-4.1-v{version}.jsonl.gz", "rt") as lines:
        for line in lines:
            read = json.loads(line)
            reader = readers.setdefault((read["conn"], read["from"]), FrameReader())
            data = bytes.fromhex(read["hex"])
            size = step or len(data)
            for start in range(0, len(data), size):
                frames += reader.feed(data[start : start + size])
    return frames


def understood(frame: Frame) -> Request | Response:
    start = body_start(frame.body, 0, frame.flags, frame.is_response)
    decode = decode_response if frame.is_response else decode_request
    return decode(frame.opcode, frame.version, frame.body, start)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_body_is_said_again_in_the_same_bytes(version: int) -> None:
    """There are no exceptions: all that driver 3.30 and Cassandra 4.1 wrote is canonical."""
    for frame in recorded(version):
        envelope, start = split_envelope(frame.body, frame.flags, frame.is_response)
        flags, before = encode_envelope(envelope, frame.is_response)
        assert before == frame.body[:start]
        assert flags == frame.flags
        assert understood(frame).encode(version) == frame.body[start:]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recording_holds_what_it_is_kept_for(version: int) -> None:
    """A recording that lost its interesting parts would let everything pass."""
    messages = [understood(frame) for frame in recorded(version)]
    kinds = Counter(type(message) for message in messages)
    assert sum(kinds.values()) > 100
    assert {Batch, Execute, Query, Rows, Prepared, Error, AlreadyExists} <= set(kinds)
    assert any(isinstance(message, Rows) and message.metadata.paging_state for message in messages)
    assert any(isinstance(message, Execute) and message.parameters.paging_state for message in messages) or any(
        isinstance(message, Query) and message.parameters.paging_state for message in messages
    )
    assert max(len(frame.body) for frame in recorded(version)) > 200_000


@pytest.mark.parametrize("version", VERSIONS)
def test_every_recorded_value_is_said_again_in_the_same_bytes(version: int) -> None:
    """Cassandra sends sets in the order of their type, which for those recorded is that of their bytes."""
    decoded = 0
    for message in map(understood, recorded(version)):
        if isinstance(message, Rows) and message.metadata.columns:
            for row in message.rows:
                decoded += _same_again(message.metadata.columns, row)
    assert decoded > 50


def _same_again(columns: list[ColumnSpec], row: list[bytes | None]) -> int:
    for column, cell in zip(columns, row, strict=True):
        assert encode_cql(column.type, decode_cql(column.type, cell)) == cell, column
    return len(row)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_recording_is_the_same_in_small_pieces(version: int) -> None:
    """Where TCP cut is chance."""
    assert Counter(map(repr, recorded(version, 101))) == Counter(map(repr, recorded(version)))
