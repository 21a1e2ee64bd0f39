"""What a client connection asks of the worker that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from zdm.core.clusters import Side
from zdm.core.commands import Note, Recognition
from zdm.core.credentials import Credentials
from zdm.core.session import Session
from zdm.core.snapshot import Shared
from zdm.log import Log
from zdm.net.cluster import ClusterConnection, EndpointFactory
from zdm.net.in_flight import InFlight
from zdm.net.turns import AttachTurns

if TYPE_CHECKING:
    from zdm.net.client import ClientConnection


EndpointsOf = Callable[[Side], EndpointFactory]
"""The way to the hosts of a cluster: each may be under TLS of its own."""


class Logins(Protocol):
    """The logins that target has accepted: who may come in while target is off and cannot be asked."""

    def accepted(self, credentials: Credentials) -> None:
        """Target has let these in. Called for every login, so it must be cheap for those that are known."""

    def refused(self, credentials: Credentials) -> None:
        """Target has refused these: they are not to be let in any more."""

    def verify(self, credentials: Credentials) -> Deferred[Recognition]:
        """Whether target accepted these before. May be cancelled."""


class SessionHost(Protocol):
    """Where sessions live: their clock, what they share, and the way to both clusters."""

    @property
    def shared(self) -> Shared:
        """Snapshot, prepared statements and counters."""

    @property
    def clock(self) -> IReactorTime:
        """For timers."""

    @property
    def in_flight(self) -> InFlight:
        """What the clients have in flight."""

    @property
    def endpoints_of(self) -> EndpointsOf:
        """The way to the hosts of a cluster."""

    @property
    def logins(self) -> Logins:
        """The logins that target has accepted."""

    @property
    def log(self) -> Log:
        """The operator's log."""

    @property
    def turns(self) -> AttachTurns:
        """Whose turn it is to be attached."""

    @property
    def now(self) -> Callable[[], float]:
        """The sessions' clock, in seconds."""

    @property
    def refresh_schema(self) -> Callable[[], None]:
        """To be called when a client has changed the schema."""

    @property
    def find(self) -> Callable[[tuple[bytes, ...]], Deferred[None]]:
        """Asks the other workers for prepared statements; fires when what they know is in the shared cache."""

    def dial(self, connection: ClusterConnection) -> Deferred[None]:
        """Open a cluster connection."""

    def joined(self, connection: ClientConnection) -> None:
        """A client connected."""

    def left(self, connection: ClientConnection) -> None:
        """A client is gone."""

    def unreachable(self, side: Side, reason: str, session: Session) -> None:
        """A cluster connection could not be opened for a client."""

    def note(self, note: Note) -> None:
        """A line of a session's."""
