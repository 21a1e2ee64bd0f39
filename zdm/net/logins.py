"""The logins that target has accepted, so that somebody checks clients while target is off (design of the toggle)."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from zdm.core.credentials import Credentials


class AcceptedLogins:
    """Knows them by a salted hash."""

    def accepted(self, credentials: Credentials) -> None:
        """Target has let these in."""

    def refused(self, credentials: Credentials) -> None:
        """Target has refused these."""

    def verify(self, credentials: Credentials) -> Deferred[bool]:
        """Whether target accepted these before."""
        return succeed(False)
