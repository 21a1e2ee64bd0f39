"""The keyspace that a request of v5 names for itself, instead of the connection's.

QUERY and BATCH have it among their parameters (v5 section 4.1.4), PREPARE behind its flags (4.1.5). It decides where an
unqualified table is, and so where the request goes.
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.envelope import body_start
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import PREPARE, QUERY
from zdm.protocol.requests import Prepare, Query, decode_request
from zdm.protocol.versions import V5

_QUERY_FLAGS: Final = 2  # behind the text, after the consistency
_KEYSPACE: Final = 0x80


def names_keyspace(data: bytes, text_end: int, end: int) -> bool:
    """A QUERY of v5, whose text ends at `text_end` and whose frame ends at `end`, names one, or is cut off."""
    flags_end = text_end + _QUERY_FLAGS + 4
    return flags_end > end or data[flags_end - 1] & _KEYSPACE != 0


def named_keyspace(frame: bytes) -> str | None:
    """The keyspace that a QUERY or PREPARE frame names; nothing where it is the connection's.

    Raises RemoteProtocolError where the body is bad.
    """
    version = frame[0] & 0x7F
    if version < V5 or frame[4] not in (QUERY, PREPARE):
        return None
    start = body_start(frame, HEADER_LENGTH, frame[1], False)
    if frame[4] == QUERY and not names_keyspace(frame, _text_end(frame, start), len(frame)):
        return None
    request = decode_request(frame[4], version, frame, start)
    if isinstance(request, Prepare):
        return request.keyspace or None
    if isinstance(request, Query):
        return request.parameters.keyspace or None
    raise RemoteProtocolError(f"opcode {frame[4]} names no keyspace")


def _text_end(frame: bytes, start: int) -> int:
    return start + 4 + int.from_bytes(frame[start : start + 4], "big")
