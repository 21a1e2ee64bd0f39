"""What kind of body a frame carries (v4 section 2.4).

An opcode belongs to one direction: a request's never comes in an answer.
"""

from __future__ import annotations

from typing import Final

ERROR: Final = 0x00
STARTUP: Final = 0x01
READY: Final = 0x02
AUTHENTICATE: Final = 0x03
OPTIONS: Final = 0x05
SUPPORTED: Final = 0x06
QUERY: Final = 0x07
RESULT: Final = 0x08
PREPARE: Final = 0x09
EXECUTE: Final = 0x0A
REGISTER: Final = 0x0B
EVENT: Final = 0x0C
BATCH: Final = 0x0D
AUTH_CHALLENGE: Final = 0x0E
AUTH_RESPONSE: Final = 0x0F
AUTH_SUCCESS: Final = 0x10

REQUESTS: Final[frozenset[int]] = frozenset({STARTUP, OPTIONS, QUERY, PREPARE, EXECUTE, REGISTER, BATCH, AUTH_RESPONSE})
RESPONSES: Final[frozenset[int]] = frozenset(
    {ERROR, READY, AUTHENTICATE, SUPPORTED, RESULT, EVENT, AUTH_CHALLENGE, AUTH_SUCCESS}
)

_NAMES: Final[dict[int, str]] = {
    ERROR: "ERROR",
    STARTUP: "STARTUP",
    READY: "READY",
    AUTHENTICATE: "AUTHENTICATE",
    OPTIONS: "OPTIONS",
    SUPPORTED: "SUPPORTED",
    QUERY: "QUERY",
    RESULT: "RESULT",
    PREPARE: "PREPARE",
    EXECUTE: "EXECUTE",
    REGISTER: "REGISTER",
    EVENT: "EVENT",
    BATCH: "BATCH",
    AUTH_CHALLENGE: "AUTH_CHALLENGE",
    AUTH_RESPONSE: "AUTH_RESPONSE",
    AUTH_SUCCESS: "AUTH_SUCCESS",
}


def opcode_name(opcode: int) -> str:
    """The specification's name of an opcode, or its number in hexadecimal where it has none."""
    return _NAMES.get(opcode) or f"0x{opcode:02X}"
