"""Finding and exchanging prepared ids inside EXECUTE and BATCH frames, without decoding the rest.

EXECUTE (v4 section 4.1.6) begins with the id; BATCH (4.1.7) is::

    <type: byte> <n: short> then n times  <kind: byte> <text: long string | id: short bytes> <values: short + n values>
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.envelope import body_start
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, with_body
from zdm.protocol.opcodes import BATCH

_PREPARED_CHILD: Final = 1


def prepared_id_at(data: bytes, position: int, end: int) -> bytes:
    """The short-bytes id at `position`. Raises RemoteProtocolError where it does not lie before `end`."""
    if position + 2 > end:
        raise RemoteProtocolError("the prepared id is missing")
    length = int.from_bytes(data[position : position + 2], "big")
    if position + 2 + length > end:
        raise RemoteProtocolError(f"the prepared id of {length} bytes is cut off")
    return data[position + 2 : position + 2 + length]


def id_spans(frame: bytes) -> list[tuple[int, bytes]]:
    """Offset and value of each prepared id in a request frame that is an EXECUTE or a BATCH.

    The offset is that of the two length bytes before the id. Raises RemoteProtocolError where the body is bad.
    """
    position = body_start(frame, HEADER_LENGTH, frame[1], False)
    if frame[4] != BATCH:
        return [(position, prepared_id_at(frame, position, len(frame)))]
    return _batch_spans(frame, position)


def _batch_spans(frame: bytes, position: int) -> list[tuple[int, bytes]]:
    spans: list[tuple[int, bytes]] = []
    try:
        children = int.from_bytes(_exactly(frame, position + 1, 2), "big")
        position += 3
        for _ in range(children):
            kind = frame[position]
            position += 1
            if kind == _PREPARED_CHILD:
                prepared_id = prepared_id_at(frame, position, len(frame))
                spans.append((position, prepared_id))
                position += 2 + len(prepared_id)
            elif kind == 0:
                position += 4 + int.from_bytes(_exactly(frame, position, 4), "big")
            else:
                raise RemoteProtocolError(f"a child of a BATCH is of the unknown kind {kind}")
            position = _after_values(frame, position)
    except IndexError:
        raise RemoteProtocolError("the BATCH is cut off") from None
    return spans


def _after_values(frame: bytes, position: int) -> int:
    count = int.from_bytes(_exactly(frame, position, 2), "big")
    position += 2
    size = len(frame)
    for _ in range(count):
        if position + 4 > size:
            raise RemoteProtocolError("the BATCH is cut off in its values")
        length = int.from_bytes(frame[position : position + 4], "big", signed=True)
        position += 4
        if length > 0:
            position += length
    if position > size:
        raise RemoteProtocolError("the BATCH is cut off in its values")
    return position


def _exactly(frame: bytes, position: int, length: int) -> bytes:
    piece = frame[position : position + length]
    if len(piece) < length:
        raise RemoteProtocolError("the BATCH is cut off")
    return piece


def exchange_ids(frame: bytes, spans: list[tuple[int, bytes]], replacements: list[bytes]) -> bytes:
    """The frame with the id of each span replaced, its length put right."""
    pieces: list[bytes] = []
    copied = HEADER_LENGTH
    for (position, old), new in zip(spans, replacements, strict=True):
        pieces.append(frame[copied:position])
        pieces.append(len(new).to_bytes(2, "big"))
        pieces.append(new)
        copied = position + 2 + len(old)
    pieces.append(frame[copied:])
    return with_body(frame, b"".join(pieces))
