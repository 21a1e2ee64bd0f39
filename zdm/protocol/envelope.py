"""What stands between a frame's header and its body proper, as the header's flags say.

    answers   <tracing id [uuid]          flag TRACING>
              <warnings [string list]     flag WARNING, v4 and later>
    both      <payload [bytes map]        flag CUSTOM_PAYLOAD, v4 and later>
              <body proper>

v4 section 2.2. A request's TRACING flag asks for a trace and brings no bytes. In v3 the two flags younger than it have
no meaning: who reads v3 clears them first. A compressed body must be opened before it comes here.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from zdm.protocol.frames import CUSTOM_PAYLOAD, TRACING, WARNING
from zdm.protocol.primitives import Reader, encode_bytes_map, encode_string_list, encode_uuid

_TRACING_ID_LENGTH: Final = 16


class Envelope(NamedTuple):
    """What came, or is to be sent, before the body proper. Empty fields are not sent."""

    tracing_id: UUID | None
    warnings: list[str]
    payload: dict[str, bytes | None]


def body_start(data: bytes, position: int, flags: int, is_response: bool) -> int:
    """The offset of the body proper in `data`, where the frame's body begins at `position`.

    Reads only lengths: names and texts are not decoded. Raises `RemoteProtocolError` where bytes are missing.
    """
    if is_response:
        if not flags & (TRACING | WARNING | CUSTOM_PAYLOAD):
            return position
    elif not flags & CUSTOM_PAYLOAD:
        return position
    reader = Reader(data, position)
    if is_response and flags & TRACING:
        reader.take(_TRACING_ID_LENGTH)
    if is_response and flags & WARNING:
        for _ in range(reader.short()):
            reader.short_bytes()
    if flags & CUSTOM_PAYLOAD:
        for _ in range(reader.short()):
            reader.short_bytes()
            reader.bytes()
    return reader.position


def split_envelope(body: bytes, flags: int, is_response: bool) -> tuple[Envelope, int]:
    """What precedes the body proper, decoded, and the offset of the body proper in `body`."""
    reader = Reader(body)
    tracing_id = reader.uuid() if is_response and flags & TRACING else None
    warnings = reader.string_list() if is_response and flags & WARNING else []
    payload = reader.bytes_map() if flags & CUSTOM_PAYLOAD else {}
    return Envelope(tracing_id, warnings, payload), reader.position


def encode_envelope(envelope: Envelope, is_response: bool) -> tuple[int, bytes]:
    """The header flags and the bytes to send before the body proper; a request has its payload only."""
    flags, parts = 0, []
    if is_response and envelope.tracing_id is not None:
        flags |= TRACING
        parts.append(encode_uuid(envelope.tracing_id))
    if is_response and envelope.warnings:
        flags |= WARNING
        parts.append(encode_string_list(envelope.warnings))
    if envelope.payload:
        flags |= CUSTOM_PAYLOAD
        parts.append(encode_bytes_map(envelope.payload))
    return flags, b"".join(parts)
