"""Whose credentials go to which cluster (section 3.3 of the behaviour specification).

| origin asks | target asks | auth-primary | the client's credentials are for | the other cluster gets |
|---|---|---|---|---|
| no | yes | TARGET | TARGET | origin's configured ones, if it asks after all |
| yes | no | ORIGIN | ORIGIN | target's configured ones, if it asks after all |
| both or none | | ORIGIN | TARGET | origin's configured ones |
| both or none, `forward_client_credentials_to_origin` | | ORIGIN | ORIGIN | target's configured ones |

The auth-primary is the cluster with which the client's own authentication exchange is held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from zdm.core.clusters import Side
from zdm.protocol.envelope import body_start
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.primitives import Reader

DSE_AUTHENTICATOR: Final = "com.datastax.bdp.cassandra.auth.DseAuthenticator"
PLAIN: Final = b"PLAIN"
PLAIN_START: Final = b"PLAIN-START"


class Credentials(NamedTuple):
    """A user name and password; never printed."""

    username: str
    password: str

    def token(self, authorization_id: bytes = b"") -> bytes:
        """The SASL PLAIN token: authorization id, NUL, user name, NUL, password."""
        return b"\0".join((authorization_id, self.username.encode(), self.password.encode()))

    def __repr__(self) -> str:
        return "<Credentials>"


def carries_credentials(token: bytes | None) -> bool:
    """False for the first message of the DSE two-step, and for a null token: forwarded as they are."""
    return token is not None and token != PLAIN


def parse_token(token: bytes) -> tuple[bytes, Credentials] | None:
    """Authorization id and credentials of a SASL PLAIN token; nothing where it is none."""
    parts = token.split(b"\0")
    if len(parts) != 3:
        return None
    try:
        return parts[0], Credentials(parts[1].decode(), parts[2].decode())
    except UnicodeDecodeError:
        return None


def sent_credentials(frame: bytes) -> tuple[bytes, Credentials] | None:
    """Authorization id and credentials of an AUTH_RESPONSE frame; nothing where its token carries none.

    Raises RemoteProtocolError where it cannot be read.
    """
    try:
        token = Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], False)).bytes()
    except RemoteProtocolError as fault:
        raise RemoteProtocolError(f"AUTH_RESPONSE cannot be read: {fault.message}") from None
    if token is None or not carries_credentials(token):
        return None
    parsed = parse_token(token)
    if parsed is None:
        raise RemoteProtocolError(
            "AUTH_RESPONSE holds no SASL PLAIN credentials: user name and password, each after a NUL"
        )
    return parsed


def announces_plain(frame: bytes) -> bool:
    """An AUTH_RESPONSE frame that begins the DSE two-step. Raises RemoteProtocolError where it cannot be read."""
    return Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], False)).bytes() == PLAIN


@dataclass(frozen=True, slots=True)
class AuthenticationRule:
    """One row of the table above."""

    auth_primary: Side
    clients: Side
    """The cluster that gets the client's own credentials."""


def authentication_rule(origin_asks: bool, target_asks: bool, forward_to_origin: bool) -> AuthenticationRule:
    """The row that applies."""
    if origin_asks != target_asks:
        asking = Side.ORIGIN if origin_asks else Side.TARGET
        return AuthenticationRule(asking, asking)
    return AuthenticationRule(Side.ORIGIN, Side.ORIGIN if forward_to_origin else Side.TARGET)
