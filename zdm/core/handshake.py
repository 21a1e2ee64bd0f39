"""The client's handshake: OPTIONS, STARTUP and authentication, with both clusters at once (section 3).

Client frames are taken one at a time. The answer that lets the client in is held until the other cluster has let the
proxy in on the client's behalf as well, so that no client is ever ready before both of its cluster connections are.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from zdm.core.aggregation import error_code
from zdm.core.clusters import BOTH, CLUSTERS, Side, other
from zdm.core.connector import SideState
from zdm.core.credentials import AuthenticationRule, authentication_rule, carries_credentials, parse_token
from zdm.core.side_handshake import HandshakeFailed, SideHandshake, is_refusal
from zdm.core.state import Phase, SessionState
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, RESPONSE_BIT, encode_frame, with_stream
from zdm.protocol.opcodes import (
    AUTH_CHALLENGE,
    AUTH_RESPONSE,
    AUTH_SUCCESS,
    AUTHENTICATE,
    ERROR,
    OPTIONS,
    READY,
    STARTUP,
    SUPPORTED,
    opcode_name,
)
from zdm.protocol.primitives import Reader, encode_bytes
from zdm.protocol.responses import Supported

_READABLE: Final = frozenset((3, 4, 5, 0x41, 0x42))
"""Versions of answers that can be cut and relayed: all whose header has nine bytes."""

_STREAM: Final = 0  # one frame at a time, so any id will do towards the clusters


class Step(Enum):
    """What is awaited."""

    CLIENT = 0
    """The client's next frame."""
    OPTIONS = 1
    STARTUP = 2
    AUTHENTICATION = 3
    """The auth-primary's answer to the client's credentials."""
    SECONDARY = 4


class ClientHandshake:
    """Lives until the session is ready."""

    __slots__ = (
        "_admission",
        "_answers",
        "_awaits",
        "_refusal",
        "_rule",
        "_secondary",
        "_started",
        "_state",
        "_stream",
        "_to_startup",
        "deadline",
        "step",
    )

    def __init__(self, state: SessionState) -> None:
        self._state: Final = state
        self.step = Step.CLIENT
        self.deadline: float | None = None
        self._stream = 0
        self._awaits = 0
        self._answers: dict[Side, bytes] = {}
        self._rule: AuthenticationRule | None = None
        self._started = False
        self._to_startup: dict[Side, bytes] = {}
        self._admission = b""
        self._refusal = b""
        self._secondary: SideHandshake | None = None

    def takes_frames(self) -> bool:
        """The client's next frame may be given to `client_sent`."""
        return self.step is Step.CLIENT and all(
            self._state.connector(side).state is SideState.HANDSHAKING for side in CLUSTERS
        )

    def client_sent(self, frame: bytes) -> None:
        """A whole frame from the client."""
        self._stream = int.from_bytes(frame[2:4], "big", signed=True)
        opcode = frame[4]
        if opcode == OPTIONS:
            self._forward(frame, Step.OPTIONS, BOTH)
        elif opcode == STARTUP and not self._started:
            self._startup(frame)
        elif opcode == AUTH_RESPONSE and self._rule is not None:
            self._authenticate(frame, self._rule)
        else:
            expected = "AUTH_RESPONSE" if self._rule else "STARTUP or OPTIONS"
            self._refuse(f"Unexpected message {opcode_name(opcode)}, expecting {expected}")

    def cluster_sent(self, side: Side, frame: bytes) -> None:
        """A whole frame from a cluster, during the handshake."""
        if frame[2] & 0x80:
            return  # an event: nobody has registered yet
        if not self._awaits_from(side):
            return
        if self._ends_it(frame):
            # At once, because a cluster that refuses may close its connection before the other has answered.
            self._end_with(side, frame)
        elif self.step is Step.SECONDARY:
            self._secondary_answered(frame)
        else:
            self._awaits &= ~side
            self._answers[side] = frame
            if not self._awaits:
                self._answered()

    def reads(self, side: Side, version: int) -> bool:
        """An answer whose first byte names this version can be read; if not, the client has been told (section 2.3)."""
        if version in _READABLE:
            return True
        state = self._state
        error = Error(ErrorCode.PROTOCOL_ERROR, f"Invalid or unsupported protocol version ({version})")
        known = state.snapshot.facts(side).version
        state.outbox.append(encode_frame(known | RESPONSE_BIT, 0, ERROR, error.encode(known)))
        state.close(f"{side.name} answered in protocol version {version}")
        return False

    def expire(self, now: float) -> None:
        """A cluster did not answer within the request timeout: the session cannot come about."""
        if self.deadline is not None and now >= self.deadline:
            silent = " and ".join(side.name for side in CLUSTERS if self._awaits & side) or "the secondary cluster"
            self._state.note(
                "warn", f"Handshake of client {self._state.client_name} timed out: no answer from {silent}; closing it."
            )
            self._state.close("handshake timed out")

    def _startup(self, frame: bytes) -> None:
        try:
            start = body_start(frame, HEADER_LENGTH, frame[1], False)
            options = Reader(frame, start).string_map()
        except RemoteProtocolError as fault:
            self._refuse(f"STARTUP cannot be read: {fault.message}")
            return
        algorithm = options.get("COMPRESSION", "none")
        if algorithm.lower() not in ("", "none"):
            self._refuse(f"Unknown compression algorithm: {algorithm[:80]} (this proxy offers none)")
            return
        self._state.startup_body = frame[start:]
        self._forward(frame, Step.STARTUP, BOTH)

    def _authenticate(self, frame: bytes, rule: AuthenticationRule) -> None:
        state = self._state
        try:
            token = Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], False)).bytes()
        except RemoteProtocolError as fault:
            self._refuse(f"AUTH_RESPONSE cannot be read: {fault.message}")
            return
        if token is not None and carries_credentials(token):
            parsed = parse_token(token)
            if parsed is None:
                self._refuse("AUTH_RESPONSE holds no SASL PLAIN credentials: user name and password, each after a NUL")
                return
            state.credentials[rule.clients] = parsed[1]
            configured = state.snapshot.facts(other(rule.clients)).credentials
            if configured is not None:
                state.credentials[other(rule.clients)] = configured
            if rule.clients is not rule.auth_primary and configured is not None:
                body = encode_bytes(configured.token(parsed[0]))
                self._await(Step.AUTHENTICATION, rule.auth_primary)
                state.request(rule.auth_primary, _STREAM, AUTH_RESPONSE, body)
                return
        self._forward(frame, Step.AUTHENTICATION, rule.auth_primary)

    def _forward(self, frame: bytes, step: Step, sides: int) -> None:
        self._await(step, sides)
        for side in CLUSTERS:
            if sides & side:
                self._state.connector(side).outbox.append(with_stream(frame, _STREAM))

    def _await(self, step: Step, sides: int) -> None:
        self.step = step
        self._awaits = sides
        self._answers = {}
        self.deadline = self._state.now + self._state.snapshot.settings.request_timeout

    def _refuse(self, message: str) -> None:
        self._state.answer_error(self._stream, Error(ErrorCode.PROTOCOL_ERROR, message))

    def _answered(self) -> None:
        step, self.step, self.deadline = self.step, Step.CLIENT, None
        if step is Step.OPTIONS:
            self._options_answered()
        elif step is Step.STARTUP:
            self._startup_answered()
        else:
            self._authentication_answered()

    def _awaits_from(self, side: Side) -> bool:
        if self.step is Step.SECONDARY:
            return self._rule is not None and side is not self._rule.auth_primary
        return bool(self._awaits & side)

    def _ends_it(self, frame: bytes) -> bool:
        """An ERROR to STARTUP, or a PROTOCOL_ERROR to anything."""
        code = error_code(frame)
        return code == ErrorCode.PROTOCOL_ERROR or (code >= 0 and self.step is Step.STARTUP)

    def _end_with(self, side: Side, frame: bytes) -> None:
        # Stream 0 where the version is refused, because some clusters could not even read the request's id.
        is_about_version = error_code(frame) == ErrorCode.PROTOCOL_ERROR
        self._state.outbox.append(with_stream(frame, 0 if is_about_version else self._stream))
        self._state.close(f"{side.name} answered the handshake with an ERROR")

    def _options_answered(self) -> None:
        for answer in (self._answers[Side.ORIGIN], self._answers[Side.TARGET]):
            if answer[4] == ERROR:
                self._relay(answer)
                return
        supported = Supported(self._state.snapshot.supported)
        self._state.answer(self._stream, SUPPORTED, supported.encode(self._state.version))

    def _startup_answered(self) -> None:
        self._started = True
        asks = {side: answer[4] == AUTHENTICATE for side, answer in self._answers.items()}
        forward = self._state.snapshot.settings.forward_client_credentials_to_origin
        rule = authentication_rule(asks[Side.ORIGIN], asks[Side.TARGET], forward)
        for side in (rule.auth_primary, other(rule.auth_primary)):
            if self._answers[side][4] not in (READY, AUTHENTICATE):
                self._relay(self._answers[side])
                self._state.close(f"{side.name} refused STARTUP")
                return
        self._rule = rule
        self._to_startup = self._answers
        answer = self._answers[rule.auth_primary]
        if answer[4] == READY:
            self._hold(answer)
        else:
            self._relay(answer)

    def _authentication_answered(self) -> None:
        assert self._rule is not None
        answer = self._answers[self._rule.auth_primary]
        if answer[4] == AUTH_SUCCESS:
            self._hold(answer)
        elif answer[4] in (AUTH_CHALLENGE, ERROR):
            self._relay(answer)
        else:
            self._relay(answer)
            self._state.close(f"unexpected {opcode_name(answer[4])} from {self._rule.auth_primary.name}")

    def _hold(self, answer: bytes) -> None:
        assert self._rule is not None
        side = other(self._rule.auth_primary)
        self._admission = answer
        self._secondary = SideHandshake(side, self._state.credentials.get(side))
        self._await(Step.SECONDARY, 0)
        self._secondary_answered(self._to_startup[side])

    def _secondary_answered(self, frame: bytes) -> None:
        assert self._rule is not None and self._secondary is not None
        side = other(self._rule.auth_primary)
        try:
            request = self._secondary.answered(frame)
        except HandshakeFailed as failure:
            self._secondary_failed(side, failure)
            return
        if request is not None:
            self._await(Step.SECONDARY, 0)
            self._state.request(side, _STREAM, *request)
        else:
            self._ready()

    def _secondary_failed(self, side: Side, failure: HandshakeFailed) -> None:
        state = self._state
        self.step, self.deadline = Step.CLIENT, None
        if failure.frame and failure.frame[4] == ERROR:
            self._relay(failure.frame)
        if is_refusal(failure):
            state.phase = Phase.REFUSED
            self._refusal = failure.frame
            return
        state.note(
            "error",
            f"Secondary ({side.name}) handshake failed (client: {state.client_name}), shutting down the client handler "
            f"and connectors: {failure.reason}",
        )
        state.close(f"handshake with {side.name} failed")

    def repeat_refusal(self, stream: int) -> None:
        """Answer a request of a client whose credentials the secondary refused: with that same error."""
        self._state.outbox.append(with_stream(self._refusal, stream))

    def _ready(self) -> None:
        state = self._state
        self.deadline = None
        for side in CLUSTERS:
            state.connector(side).state = SideState.READY
            state.connector(side).last_heartbeat = state.now
        self._relay(self._admission)
        state.phase = Phase.READY
        state.note("info", f"Handshake successful with client {state.client_name} ({state.version}, Compression: none)")

    def _relay(self, frame: bytes) -> None:
        self._state.outbox.append(with_stream(frame, self._stream))
