"""Who checks a client while target is off.

Usually the client's credentials are target's, and origin gets the configured ones: with target off nobody would check
the client, and any password would get origin's rights. So it is let in only if its credentials are the configured ones
of target, or some that target accepted before, or if origin itself accepts them.

| origin asks | target would ask | the client's credentials go to |
|---|---|---|
| no | yes | nobody: the proxy asks for them, and they must be known |
| yes | yes | origin, unless they are known: then origin gets the configured ones |
| yes | no | origin |
| no | no | nobody: everybody is let in |
"""

from __future__ import annotations

from typing import Final

from zdm.core.clusters import Side
from zdm.core.commands import VerifyLogin
from zdm.core.credentials import PLAIN_START, AuthenticationRule, Credentials
from zdm.core.state import SessionState
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.frames import RESPONSE_BIT, encode_frame
from zdm.protocol.opcodes import AUTH_CHALLENGE, AUTH_SUCCESS, AUTHENTICATE, ERROR
from zdm.protocol.responses import AuthChallenge, Authenticate, AuthSuccess

PASSWORD_AUTHENTICATOR: Final = "org.apache.cassandra.auth.PasswordAuthenticator"


class Admission:
    """Whether somebody vouches for one client."""

    __slots__ = ("_state", "authorization_id", "is_checked")

    def __init__(self, state: SessionState) -> None:
        self._state: Final = state
        self.authorization_id = b""
        self.is_checked = False

    def is_open(self, rule: AuthenticationRule) -> bool:
        """The client's credentials are target's, and nobody has checked them yet."""
        return rule.clients is Side.TARGET and Side.TARGET in self._state.credentials and not self.is_checked

    def is_known(self) -> bool:
        """The credentials are the configured ones; if not, the shell is asked whether target accepted them before."""
        state = self._state
        credentials = state.credentials[Side.TARGET]
        if credentials == state.snapshot.target.credentials:
            return True
        state.commands.append(VerifyLogin(credentials))
        return False

    def for_origin(self, is_known: bool) -> Credentials:
        """What origin gets: the configured credentials for a client that is known, else its own, to be judged there."""
        state = self._state
        self.is_checked = True
        own = state.credentials[Side.TARGET]
        credentials = (state.snapshot.origin.credentials or own) if is_known else own
        state.credentials[Side.ORIGIN] = credentials
        return credentials

    def question(self) -> bytes:
        """AUTHENTICATE of the proxy's own."""
        return self._frame(AUTHENTICATE, Authenticate(PASSWORD_AUTHENTICATOR).encode(self._state.version))

    def challenge(self) -> bytes:
        """AUTH_CHALLENGE of the proxy's own: the second question of the DSE two-step."""
        return self._frame(AUTH_CHALLENGE, AuthChallenge(PLAIN_START).encode(self._state.version))

    def welcome(self) -> bytes:
        """AUTH_SUCCESS of the proxy's own."""
        return self._frame(AUTH_SUCCESS, AuthSuccess(None).encode(self._state.version))

    def refusal(self) -> bytes:
        """AUTHENTICATION_ERROR of the proxy's own, in Cassandra's words."""
        credentials = self._state.credentials.get(Side.TARGET)
        name = credentials.username if credentials is not None else ""
        message = f"Provided username {name} and/or password are incorrect"
        return self._frame(ERROR, Error(ErrorCode.AUTHENTICATION_ERROR, message).encode(self._state.version))

    def _frame(self, opcode: int, body: bytes) -> bytes:
        return encode_frame(self._state.version | RESPONSE_BIT, 0, opcode, body)
