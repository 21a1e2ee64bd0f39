"""Who may change what the proxy does: the decision, without HTTP.

On a loopback address whoever can connect may already stop the process, so the API is open there, unless a token is
configured. Anywhere else a token is needed, and without one nothing can be changed at all. Reading is open everywhere.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

NO_TOKEN_SET: Final = (
    "changes are refused: the metrics address is not a loopback one and no token is configured; "
    "set ZDM_ADMIN_TOKEN or ZDM_ADMIN_TOKEN_FILE and restart the proxy"
)
SHUT: Final = (
    "Target cannot be switched off over HTTP: the metrics address is not a loopback one and no token is configured. "
    "Set ZDM_ADMIN_TOKEN or ZDM_ADMIN_TOKEN_FILE, so that it can be when it must."
)
"""For the operator who starts the proxy: later it may be too late."""

TOKEN_MISSING: Final = "changes need a token: send the header 'Authorization: Bearer TOKEN'"
TOKEN_WRONG: Final = "changes need a token: the one sent is not the one configured"


class Access:
    """The rule for one metrics address and one token; an empty token is none."""

    __slots__ = ("_is_loopback", "_token")

    def __init__(self, address: str, token: str) -> None:
        """`address` is a name or an IP address; an empty one stands for all interfaces."""
        self._is_loopback: Final = is_loopback(address)
        self.replace_token(token)

    def replace_token(self, token: str) -> None:
        """From now on this one is asked for."""
        self._token = token.encode("utf-8", "surrogateescape")

    @property
    def is_shut(self) -> bool:
        """Nothing can be changed, whoever asks."""
        return not self._token and not self._is_loopback

    def refusal(self, authorization: bytes | None) -> str | None:
        """Why a change with this Authorization header is refused; None if it may be made. Takes any bytes."""
        if not self._token:
            return NO_TOKEN_SET if self.is_shut else None
        scheme, _, sent = (authorization or b"").strip().partition(b" ")
        if scheme.lower() != b"bearer" or not sent.strip():
            return TOKEN_MISSING
        return None if hmac.compare_digest(sent.strip(), self._token) else TOKEN_WRONG


def is_loopback(address: str) -> bool:
    """Whether only this host can reach it. A name other than `localhost` may mean any, so it counts as reachable."""
    if address.lower() == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
