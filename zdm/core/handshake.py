"""The client's handshake: OPTIONS, STARTUP and authentication, with both clusters at once (section 3).

Client frames are taken one at a time. The answer that lets the client in is held until the other cluster has let the
proxy in on the client's behalf as well, so that no client is ever ready before both of its cluster connections are.

A handshake that began while target was off, or saw it switched off, is held with origin alone to its end, whatever is
switched meanwhile; `admission` then says who checks the client.
"""

from __future__ import annotations

from typing import Final

from zdm.core.admission import Admission
from zdm.core.aggregation import error_code
from zdm.core.clusters import BOTH, CLUSTERS, ORIGIN_BIT, TARGET_BIT, Side, other
from zdm.core.commands import Recognition
from zdm.core.connector import SideState
from zdm.core.credentials import (
    AuthenticationRule,
    Credentials,
    announces_plain,
    authentication_rule,
    sent_credentials,
)
from zdm.core.options import asked_in_startup
from zdm.core.side_handshake import HandshakeFailed, SideHandshake, is_refusal, refuses
from zdm.core.state import Phase, SessionState, Step
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import USE_BETA, with_stream, without_flag
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
from zdm.protocol.primitives import encode_bytes
from zdm.protocol.responses import Supported

MAX_EARLY_BYTES: Final = 64 * 1024
"""What a client may send, in bytes, before it is let in."""

_STREAM: Final = 0  # one frame at a time, so any id will do towards the clusters


class ClientHandshake:
    """Lives until the session is ready."""

    __slots__ = (
        "_admission",
        "_admitted_with",
        "_answers",
        "_awaits",
        "_is_two_step",
        "_refusal",
        "_rule",
        "_secondary",
        "_sides",
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
        self._sides = BOTH if state.snapshot.target_enabled else ORIGIN_BIT
        self._admission: Final = Admission(state)
        self._admitted_with = b""
        self._is_two_step = False
        self._refusal = b""
        self._secondary: SideHandshake | None = None

    def takes_frames(self) -> bool:
        """The client's next frame may be given to `client_sent`."""
        return self.step is Step.CLIENT and all(
            self._state.connector(side).state is SideState.HANDSHAKING for side in CLUSTERS if self._sides & side
        )

    def client_sent(self, frame: bytes) -> None:
        """A whole frame from the client."""
        self._stream = int.from_bytes(frame[2:4], "big", signed=True)
        opcode = frame[4]
        if opcode == OPTIONS:
            self._forward(frame, Step.OPTIONS, self._sides)
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

    def expire(self, now: float) -> None:
        """A cluster did not answer within the request timeout: the session cannot come about."""
        if self.deadline is not None and now >= self.deadline:
            silent = " and ".join(side.name for side in CLUSTERS if self._awaits & side) or "the secondary cluster"
            silent = "the check of its login" if self.step is Step.VERIFICATION else silent
            self._state.note(
                "warn", f"Handshake of client {self._state.client_name} timed out: no answer from {silent}; closing it."
            )
            self._state.close("handshake timed out")

    def _startup(self, frame: bytes) -> None:
        try:
            body, algorithm = asked_in_startup(frame, self._state.snapshot.supported)
        except RemoteProtocolError as fault:
            self._refuse(fault.message)
        else:
            self._state.startup_body, self._state.compression = body, algorithm
            self._forward(frame, Step.STARTUP, self._sides)

    def _authenticate(self, frame: bytes, rule: AuthenticationRule) -> None:
        try:
            sent = sent_credentials(frame)
        except RemoteProtocolError as fault:
            self._refuse(fault.message)
            return
        if sent is not None:
            self._admission.authorization_id, credentials = sent
            self._with_credentials(frame, rule, credentials)
        elif self._sides & rule.auth_primary:
            self._is_two_step = announces_plain(frame)
            self._forward(frame, Step.AUTHENTICATION, rule.auth_primary)
        else:
            self._relay(self._admission.challenge() if announces_plain(frame) else self._admission.refusal())

    def _with_credentials(self, frame: bytes, rule: AuthenticationRule, credentials: Credentials) -> None:
        state = self._state
        state.credentials[rule.clients] = credentials
        configured = state.snapshot.facts(other(rule.clients)).credentials
        if configured is not None:
            state.credentials[other(rule.clients)] = configured
        if self._sides == ORIGIN_BIT and rule.clients is Side.TARGET:
            self._admission.is_checked = False
            self._verify()
        elif rule.clients is not rule.auth_primary and configured is not None:
            self._log_in(rule.auth_primary, configured)
        else:
            self._forward(frame, Step.AUTHENTICATION, rule.auth_primary)

    def _log_in(self, side: Side, credentials: Credentials) -> None:
        self._await(Step.AUTHENTICATION, side)
        token = credentials.token(self._admission.authorization_id)
        self._state.request(side, _STREAM, AUTH_RESPONSE, encode_bytes(token))

    # Without target

    def leave_target(self) -> None:
        """Target was switched off: the rest is held with origin alone."""
        if not self._sides & TARGET_BIT:
            return
        self._sides = ORIGIN_BIT
        waited_for, self._awaits = self._awaits, self._awaits & ORIGIN_BIT
        if self._awaits_from_target(waited_for):
            if self.step in (Step.OPTIONS, Step.STARTUP):
                self._answered()
            else:
                self._vouch()

    def login_verified(self, login: Recognition) -> None:
        """Whether target accepted the client's credentials before."""
        if self.step is not Step.VERIFICATION:
            return
        if login is Recognition.UNSEEN:
            # without an ERROR: there are drivers that take any for a wrong password, and do not try again
            self._state.close("too many logins are to be compared")
        else:
            self._verified(login is Recognition.KNOWN)

    def _awaits_from_target(self, waited_for: int) -> bool:
        """Nothing more is to come before the next step, now that target has no say."""
        if self.step is Step.SECONDARY:
            return self._rule is not None and self._rule.auth_primary is Side.ORIGIN
        return waited_for == TARGET_BIT

    def _vouch(self) -> None:
        """Target was asked who the client is, and will not say any more."""
        assert self._rule is not None
        if self._admission.is_open(self._rule):
            self._verify()
        elif self._admitted_with:
            self._ready()
        elif self._is_two_step:
            self.step, self.deadline = Step.CLIENT, None
            self._relay(self._admission.challenge())
        else:
            self._state.close("target was switched off while it asked for the client's credentials")

    def _verify(self) -> None:
        self._await(Step.VERIFICATION, 0)
        if self._admission.is_known():
            self._verified(True)

    def _verified(self, is_known: bool) -> None:
        assert self._rule is not None
        self.step, self.deadline = Step.CLIENT, None
        if self._admitted_with and not is_known:
            self._relay(self._admission.refusal())
            self._state.close("target is off, and nobody knows the client's credentials")
        elif self._admitted_with:
            self._ready()
        elif self._rule.auth_primary is Side.ORIGIN:
            self._log_in(Side.ORIGIN, self._admission.for_origin(is_known))
        elif is_known:
            self._admitted_with = self._admission.welcome()
            self._ready()
        else:
            self._relay(self._admission.refusal())

    def _forward(self, frame: bytes, step: Step, sides: int) -> None:
        self._await(step, sides)
        for side in CLUSTERS:
            if sides & side:
                self._state.connector(side).outbox.append(with_stream(without_flag(frame, USE_BETA), _STREAM))

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
        for side in CLUSTERS:
            if side in self._answers and self._answers[side][4] == ERROR:
                self._relay(self._answers[side])
                return
        supported = Supported(self._state.snapshot.supported)
        self._state.answer(self._stream, SUPPORTED, supported.encode(self._state.version))

    def _startup_answered(self) -> None:
        self._started = True
        asks = {side: answer[4] == AUTHENTICATE for side, answer in self._answers.items()}
        snapshot = self._state.snapshot
        target_asks = asks.get(Side.TARGET, snapshot.target.auth_required)
        forward = snapshot.settings.forward_client_credentials_to_origin
        rule = authentication_rule(asks[Side.ORIGIN], target_asks, forward)
        for side in (rule.auth_primary, other(rule.auth_primary)):
            if side in self._answers and self._answers[side][4] not in (READY, AUTHENTICATE):
                self._relay(self._answers[side])
                self._state.close(f"{side.name} refused STARTUP")
                return
        self._rule = rule
        self._to_startup = self._answers
        answer = self._answers.get(rule.auth_primary) or self._admission.question()
        if answer[4] == READY:
            self._hold(answer)
        else:
            self._relay(answer)

    def _authentication_answered(self) -> None:
        assert self._rule is not None
        answer = self._answers[self._rule.auth_primary]
        if answer[4] == AUTH_SUCCESS:
            if self._rule.auth_primary is Side.TARGET:
                self._judged(True)
            self._hold(answer)
        elif answer[4] in (AUTH_CHALLENGE, ERROR):
            if self._rule.auth_primary is Side.TARGET and refuses(answer):
                self._judged(False)
            self._relay(answer)
        else:
            self._relay(answer)
            self._state.close(f"unexpected {opcode_name(answer[4])} from {self._rule.auth_primary.name}")

    def _judged(self, is_accepted: bool) -> None:
        self._admission.is_checked = is_accepted
        self._state.judged(Side.TARGET, is_accepted)

    def _hold(self, answer: bytes) -> None:
        assert self._rule is not None
        side = other(self._rule.auth_primary)
        self._admitted_with = answer
        if not self._sides & side:
            self._vouch()
            return
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
            if side is Side.TARGET and self._secondary.has_authenticated:
                self._judged(True)
            self._ready()

    def _secondary_failed(self, side: Side, failure: HandshakeFailed) -> None:
        state = self._state
        self.step, self.deadline = Step.CLIENT, None
        if failure.frame and failure.frame[4] == ERROR:
            self._relay(failure.frame)
        if is_refusal(failure):
            state.judged(side, is_accepted=False)
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
            if self._sides & side:
                state.connector(side).state = SideState.READY
                state.connector(side).last_heartbeat = state.now
        self._relay(self._admitted_with)
        state.phase = Phase.READY
        algorithm = state.compression or "none"
        state.note(
            "info", f"Handshake successful with client {state.client_name} ({state.version}, Compression: {algorithm})"
        )

    def _relay(self, frame: bytes) -> None:
        state = self._state
        state.outbox.append(with_stream(frame, self._stream))
        if state.incoming.begins_with(frame):
            state.begin_segments(state.incoming, state.outbox, MAX_EARLY_BYTES)
