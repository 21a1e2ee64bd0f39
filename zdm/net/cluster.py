"""Connections to a cluster's hosts: the Twisted half of a session's cluster side, and how one is opened.

A session never knows which host it has. `Dialer` takes the hosts in turn; where one does not answer it goes on to the
next within the cluster's connection timeout (FIX-27), and over all of them again with growing pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from zdm.core.clusters import Side
from zdm.core.topology import Endpoint, HostRing
from zdm.net.anteroom import Anteroom
from zdm.net.given import Given

if TYPE_CHECKING:
    from zdm.net.client import ClientConnection

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0  # a client may be waiting: a host that is back must be found soon
_SHORTEST_ATTEMPT: Final = 0.5

LINGER: Final = 10.0
"""Seconds in which the other end may take what was written to it before the close; then it is thrown away."""

EndpointFactory = Callable[[str, int, float], IStreamClientEndpoint]
"""Makes the endpoint for a host, a port and a timeout in seconds."""


class NoHostAnswered(Exception):
    """No host of the cluster could be connected to within the connection timeout."""


class ClusterConnection(Protocol):
    """One connection of a client to one host. `client` is None once it has ended, or the session has let go of it."""

    def __init__(self, client: ClientConnection, side: Side) -> None:
        self.client: ClientConnection | None = client
        self.side: Final = side
        self.endpoint: Endpoint | None = None
        self.anteroom: Anteroom | None = None
        """Where the connection was taken over: what is written to it before it has its transport."""
        self._lingering: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Open. Where the client went away meanwhile, nobody has a use for it."""
        if self.anteroom is not None and self.transport is not None:
            anteroom, self.anteroom = self.anteroom, None
            anteroom.leave(self.transport)
        if self.client is None:
            self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Three steps: feed the session, run its commands, flush."""
        client = self.client
        if client is not None:
            client.cluster_received(self.side, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the session, unless it was the session that let go."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        client, self.client = self.client, None
        if client is not None:
            client.cluster_disconnected(self.side, described(reason))

    def let_go(self, clock: IReactorTime) -> None:
        """Close once what was written is sent, within LINGER: the session takes nothing from it any more."""
        self.client = None
        if self.transport is not None:
            self._lingering = clock.callLater(LINGER, self.abort)
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once, and throw away what is not sent."""
        self.client = None
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # every transport of ours has it


class ClusterFactory(Given[ClusterConnection]):
    """Gives the endpoint the one connection it is to attach."""


class Dialer:
    """Opens connections to one cluster."""

    def __init__(
        self,
        endpoint_factory: EndpointFactory,
        clock: IReactorTime,
        timeout: float,
        failed: Callable[[Endpoint], None] = lambda _: None,
    ) -> None:
        """`timeout` is what opening one connection may take in all, in seconds.

        `failed` is told of each host that could not be connected to, once in each dial.
        """
        self._endpoint_factory: Final = endpoint_factory
        self._clock: Final = clock
        self._timeout: Final = timeout
        self._failed: Final = failed
        self._ring: Final[HostRing[Endpoint]] = HostRing()

    def replace(self, endpoints: tuple[Endpoint, ...]) -> None:
        """The hosts to use from now on; the turn goes on where it was."""
        self._ring.replace(endpoints)

    def dial(self, connection: ClusterConnection) -> Deferred[None]:
        """Connect; fails with NoHostAnswered. May be cancelled."""
        return Deferred.fromCoroutine(self._dial(connection))

    async def _dial(self, connection: ClusterConnection) -> None:
        give_up = self._clock.seconds() + self._timeout
        pause = _FIRST_PAUSE
        failed: set[Endpoint] = set()
        while True:
            reason = await self._try_each(connection, give_up, failed)
            if not reason:
                return
            left = give_up - self._clock.seconds()
            if left <= pause:
                raise NoHostAnswered(reason)
            await deferLater(self._clock, pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _try_each(self, connection: ClusterConnection, give_up: float, failed: set[Endpoint]) -> str:
        """Try every host once, in turn; why none answered, or nothing where one did. `failed` have been told of."""
        endpoints = self._ring.candidates()
        reasons: list[str] = []
        for step, endpoint in enumerate(endpoints):
            left = give_up - self._clock.seconds()
            share = max(left / (len(endpoints) - step), min(left, _SHORTEST_ATTEMPT))
            if share <= 0:
                break
            try:
                await self._endpoint_factory(endpoint.address, endpoint.port, share).connect(ClusterFactory(connection))
            except (ConnectError, DNSLookupError) as refused:
                reasons.append(f"{endpoint}: {refused}")
                if endpoint not in failed:
                    failed.add(endpoint)
                    self._failed(endpoint)
                continue
            connection.endpoint = endpoint
            return ""
        return "; ".join(reasons) or "no host is known"


def described(reason: Failure) -> str:
    """Why a connection ended, in few words."""
    if reason.check(ConnectionDone):
        return "closed by the other end"
    return reason.getErrorMessage()
