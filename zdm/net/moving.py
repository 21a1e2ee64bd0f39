"""Moving clients to another process: the sockets of their connections, and what the sessions need to go on.

A client that is to leave is not read any more once it was let in, so that it comes to rest; it is looked at every few
milliseconds until nothing of it is under way. Its connections stay as they are: only the descriptors change hands, and
what is sent meanwhile waits in the kernel. Where a session goes to, its clusters are attached before the client. A
client with TLS on one of its connections stays where the keys are, and goes on being read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.handover import Handover
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.net.given import Given

if TYPE_CHECKING:
    from zdm.net.client import ClientConnection

LOOK_AGAIN: Final = 0.002
"""Seconds between two looks at clients that are not at rest yet."""

Attach = Callable[[socket.socket, Factory], Deferred[None]]
"""Attaches a protocol of the factory to a connection; fails with an OSError where that has ended."""


class Moved(NamedTuple):
    """A client on its way. `sockets` are by side; `endpoints` are those of the clusters' hosts."""

    handover: Handover
    sockets: dict[Side, socket.socket]
    endpoints: dict[Side, Endpoint | None]

    def close(self) -> None:
        """Nobody takes it: its connections end."""
        for each in self.sockets.values():
            each.close()


class Departures:
    """The clients that are to leave a worker, those too that come meanwhile, until the last has gone."""

    def __init__(
        self,
        clients: Callable[[], Iterable[ClientConnection]],
        clock: IReactorTime,
        limit: float,
        give: Callable[[Moved], None],
        expects: Callable[[], bool] = lambda: False,
    ) -> None:
        """`give` gets each; `limit` is in seconds, after which those who are not at rest stay, and are read again.

        `clients` are those who are there, `expects` whether one is about to come.
        """
        self._clients: Final = clients
        self._clock: Final = clock
        self._until: Final = clock.seconds() + limit
        self._give: Final = give
        self._expects: Final = expects
        self._done: Final[Deferred[int]] = Deferred()

    def begin(self) -> Deferred[int]:
        """Fires with the number of those who stay."""
        self._look()
        return self._done

    def _look(self) -> None:
        for client in list(self._clients()):
            if client.session.phase is Phase.READY and client.can_leave:
                client.rest(True)
                moved = client.hand_over()
                if moved is not None:
                    self._give(moved)
        staying = [client for client in self._clients() if client.session.phase is not Phase.CLOSED]
        are_leaving = any(client.can_leave for client in staying)
        if (are_leaving or self._expects()) and self._clock.seconds() < self._until:
            self._clock.callLater(LOOK_AGAIN, self._look)
            return
        for client in staying:
            client.rest(False)
        self._done.callback(len(staying))


async def settle_in(client: ClientConnection, moved: Moved, attach: Attach) -> None:
    """Attach the connections of a client that comes from elsewhere: the clusters', then its own."""
    client.take_over(moved.handover)
    for side in CLUSTERS:
        if side in moved.sockets and client.session.phase is Phase.CLOSED:
            moved.sockets[side].close()
        elif side in moved.sockets:
            connection = client.expect(side, moved.endpoints.get(side))
            try:
                await attach(moved.sockets[side], Given(connection))
            except OSError as failed:
                client.cluster_disconnected(side, str(failed))
    try:
        await attach(moved.sockets[Side.CLIENT], Given(client))
    except OSError:
        client.connectionLost()
    else:
        client.go_on()
