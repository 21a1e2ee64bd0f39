"""The handshake that the proxy holds with one cluster on the client's behalf.

Used twice: on the secondary connection once the auth-primary has let the client in (section 3.4), there starting from
the STARTUP answer that is already known; and on a connection opened later, there from STARTUP on and with the session's
keyspace replayed at the end. One frame at a time, so the stream id does not matter here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from zdm.core.clusters import Side
from zdm.core.credentials import DSE_AUTHENTICATOR, PLAIN, PLAIN_START, Credentials
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import ErrorCode, decode_error
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import (
    AUTH_CHALLENGE,
    AUTH_RESPONSE,
    AUTH_SUCCESS,
    AUTHENTICATE,
    ERROR,
    QUERY,
    READY,
    RESULT,
    STARTUP,
    opcode_name,
)
from zdm.protocol.primitives import Reader, encode_bytes, encode_long_string, encode_short
from zdm.protocol.versions import V5

_MAX_STEPS: Final = 6

_NOT_LOOKED_UP: Final = ("Unable to perform authentication", "Error performing internal authentication")
"""How Cassandra's AUTHENTICATION_ERROR begins where reading its table of roles failed (PasswordAuthenticator)."""

_NO_SUCH_KEYSPACE: Final = frozenset((ErrorCode.INVALID, ErrorCode.UNAUTHORIZED, ErrorCode.SYNTAX_ERROR))


class HandshakeFailed(Exception):
    """The cluster did not let us in. `code` is its ERROR's, 0 where it said something else; `frame` its answer."""

    def __init__(self, reason: str, code: int = 0, frame: bytes = b"") -> None:
        Exception.__init__(self, reason)
        self.reason = reason
        self.code = code
        self.frame = frame


class HandshakeState(Enum):
    """What was sent last."""

    STARTUP = 0
    PLAIN = 1
    CREDENTIALS = 2
    KEYSPACE = 3
    DONE = 4


Request = tuple[int, bytes]
"""Opcode and body of the next frame to send."""


class SideHandshake:
    """One cluster's handshake. `answered` takes each answer frame, and says what to send next, or that all is done."""

    __slots__ = ("_credentials", "_side", "_steps", "has_authenticated", "keyspace", "state")

    def __init__(self, side: Side, credentials: Credentials | None, keyspace: str | None = None) -> None:
        self._side: Final = side
        self._credentials: Final = credentials
        self.keyspace: Final = keyspace
        self._steps = 0
        self.has_authenticated = False
        """The cluster asked for credentials, and took them."""
        self.state = HandshakeState.STARTUP

    def start(self, startup_body: bytes) -> Request:
        """The first frame of a new connection: the client's own STARTUP."""
        return STARTUP, startup_body

    def answered(self, frame: bytes) -> Request | None:
        """What to send next; nothing when the connection is ready. Raises HandshakeFailed."""
        self._steps += 1
        opcode = frame[4]
        step = _STEPS.get((self.state, opcode))
        if step is None or self._steps > _MAX_STEPS:
            raise self._failure(frame)
        try:
            return step(self, frame)
        except RemoteProtocolError as fault:
            raise HandshakeFailed(f"{self._side.name} answered badly: {fault.message}", 0, frame) from None

    def _authenticate(self, frame: bytes) -> Request:
        if self._credentials is None:
            raise HandshakeFailed(
                f"secondary cluster ({self._side.name}) requested authentication but primary did not, "
                "can not proceed with secondary handshake"
            )
        authenticator = Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], True)).string()
        if authenticator == DSE_AUTHENTICATOR:
            self.state = HandshakeState.PLAIN
            return AUTH_RESPONSE, encode_bytes(PLAIN)
        self.state = HandshakeState.CREDENTIALS
        return AUTH_RESPONSE, encode_bytes(self._credentials.token())

    def _challenged(self, frame: bytes) -> Request:
        challenge = Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], True)).bytes()
        if challenge != PLAIN_START or self._credentials is None:
            raise self._failure(frame)
        self.state = HandshakeState.CREDENTIALS
        return AUTH_RESPONSE, encode_bytes(self._credentials.token())

    def _let_in(self, frame: bytes) -> Request | None:
        self.has_authenticated = frame[4] == AUTH_SUCCESS
        if self.keyspace is None:
            return self._finished(frame)
        self.state = HandshakeState.KEYSPACE
        return use_keyspace(self.keyspace, frame[0] & 0x7F)

    def _finished(self, _: bytes) -> Request | None:
        self.state = HandshakeState.DONE
        return None

    def _without_keyspace(self, frame: bytes) -> Request | None:
        """The keyspace may be missing there: then that is the error of the requests that need it.

        Any other ERROR says nothing about the keyspace, and to go on would be to leave the two sides unlike for good.
        """
        failure = self._failure(frame)
        if failure.code in _NO_SUCH_KEYSPACE:
            return self._finished(frame)
        raise failure

    def _failure(self, frame: bytes) -> HandshakeFailed:
        opcode = frame[4]
        if opcode != ERROR:
            return HandshakeFailed(f"unexpected {opcode_name(opcode)} from {self._side.name}", 0, frame)
        try:
            error = decode_error(frame[0] & 0x7F, frame, body_start(frame, HEADER_LENGTH, frame[1], True))
        except RemoteProtocolError as fault:
            return HandshakeFailed(f"an ERROR from {self._side.name} that cannot be read: {fault.message}", 0, frame)
        return HandshakeFailed(error.message, error.code, frame)


_STEPS: Final[dict[tuple[HandshakeState, int], Callable[[SideHandshake, bytes], Request | None]]] = {
    (HandshakeState.STARTUP, READY): SideHandshake._let_in,
    (HandshakeState.STARTUP, AUTHENTICATE): SideHandshake._authenticate,
    (HandshakeState.PLAIN, AUTH_CHALLENGE): SideHandshake._challenged,
    (HandshakeState.PLAIN, AUTH_SUCCESS): SideHandshake._let_in,
    (HandshakeState.CREDENTIALS, AUTH_SUCCESS): SideHandshake._let_in,
    (HandshakeState.KEYSPACE, RESULT): SideHandshake._finished,
    (HandshakeState.KEYSPACE, ERROR): SideHandshake._without_keyspace,
}


def use_text(keyspace: str) -> str:
    """The statement that makes `keyspace`, a name as it is stored, the connection's own."""
    name = keyspace.replace('"', '""')
    return f'USE "{name}"'


def use_keyspace(keyspace: str, version: int) -> Request:
    """A QUERY of that statement (section 4.1.4, consistency ONE, no flags, of which v5 has four bytes)."""
    no_flags = bytes(4) if version >= V5 else b"\0"
    return QUERY, encode_long_string(use_text(keyspace)) + encode_short(1) + no_flags


def is_refusal(failure: HandshakeFailed) -> bool:
    """The cluster refused the credentials; a cluster that could not look them up says nothing about them."""
    return failure.code == ErrorCode.AUTHENTICATION_ERROR and not failure.reason.startswith(_NOT_LOOKED_UP)


def refuses(frame: bytes) -> bool:
    """The answer refuses the credentials. Raises RemoteProtocolError where it cannot be read."""
    if frame[4] != ERROR:
        return False
    error = decode_error(frame[0] & 0x7F, frame, body_start(frame, HEADER_LENGTH, frame[1], True))
    return is_refusal(HandshakeFailed(error.message, error.code, frame))
