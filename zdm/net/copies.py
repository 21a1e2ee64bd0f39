"""The shell of a session's copied reads: their connection, its timer, and nothing that anybody waits for.

What is to be done is decided in `zdm.core.copied_reads`. The connection goes to the host that the session has of the
secondary. Its opening takes its turn behind what clients wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IDelayedCall, IProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from zdm.core.connector import SideState
from zdm.core.copied_reads import CopiedReads
from zdm.core.state import Phase
from zdm.core.topology import Endpoint
from zdm.net.cluster import described
from zdm.net.given import Given

if TYPE_CHECKING:
    from zdm.net.client import ClientConnection
    from zdm.net.session_host import SessionHost

_GONE: Final = (SideState.ABSENT, SideState.LOST)


@implementer(IPushProducer)
class CopyConnection(Protocol):
    """The connection, and what its transport knows of who writes to it. `copies` is None once they have let go."""

    def __init__(self, copies: Copies) -> None:
        self.copies: Copies | None = copies

    def connectionMade(self) -> None:
        """Open. Nobody has a use for it where the client went away meanwhile."""
        if self.copies is None:
            self.abort()
        elif self.transport is not None:
            self.transport.registerProducer(self, True)  # type: ignore[attr-defined]  # every transport of ours has it

    def dataReceived(self, data: bytes) -> None:
        """Answers."""
        if self.copies is not None:
            self.copies.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It ended by itself, unless `copies` have let go."""
        copies, self.copies = self.copies, None
        if copies is not None:
            copies.has_ended(reason)

    def abort(self) -> None:
        """Close at once: nobody minds what is not sent."""
        self.copies = None
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # every transport of ours has it

    def close(self) -> None:
        """Close; with a word of goodbye, where all is sent."""
        self.copies = None
        if self.transport is None:
            return
        is_sent = not self.transport.unsent()  # type: ignore[attr-defined]  # every transport of ours has it
        self.transport.unregisterProducer()  # type: ignore[attr-defined]  # and this
        if is_sent:
            self.transport.loseConnection()
        else:
            self.abort()

    def pauseProducing(self) -> None:
        """More waits in the transport than its high-water mark. Called from within a write."""
        if self.copies is not None:
            self.copies.filled()

    def resumeProducing(self) -> None:
        """Most of it is sent."""
        if self.copies is not None:
            self.copies.drained()

    def stopProducing(self) -> None:
        """It has ended, which `connectionLost` tells."""


class Copies:
    """Does what one session's `CopiedReads` ask for."""

    def __init__(self, client: ClientConnection, worker: SessionHost, core: CopiedReads) -> None:
        self._client: Final = client
        self._worker: Final = worker
        self._core: Final = core
        self._connection: CopyConnection | None = None
        self._opening: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def tend(self) -> None:
        """Open or close the connection, write what there is to be written, and set the timer."""
        core = self._core
        if core.state in _GONE or self._client.session.phase is Phase.CLOSED:
            self.end()
            return
        if core.state is SideState.CONNECTING:
            if self._opening is None:
                self._open()
            return
        if core.state is SideState.READY:
            self._worker.turns.give_back(self)
        data = core.take()
        if data and self._connection is not None and self._connection.transport is not None:
            self._connection.transport.write(data)
        if self._timer is None:
            self._arm()

    def end(self) -> None:
        """No connection, and none under way either. Harmless when repeated."""
        self._worker.turns.give_back(self)
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def count(self) -> None:
        """Add what is open to what the nodes have."""
        self._core.count()

    # What the connection says

    def received(self, data: bytes) -> None:
        """Answers."""
        self._client.tell(self._core.feed, data)

    def has_ended(self, reason: Failure) -> None:
        """By itself."""
        self._connection = None
        self._client.tell(self._core.lost, described(reason))

    def filled(self) -> None:
        """It takes nothing more. From within a write, so nothing follows from it now."""
        self._core.filled(True, self._worker.now())

    def drained(self) -> None:
        """It takes something again."""
        self._client.tell(self._core.filled, False)

    def _open(self) -> None:
        self._opening = self._worker.turns.take(self, is_eager=True)
        self._opening.addCallback(lambda _: self._dial())
        self._opening.addErrback(self._failed)
        self._opening.addErrback(self._client.fault)

    def _dial(self) -> Deferred[None]:
        host = self._client.host_of(self._core.side)
        if host is None:
            raise ConnectError(string="the session has no connection there itself")
        connection = self._connection = CopyConnection(self)
        timeout = self._worker.shared.snapshot.settings.request_timeout
        dialling: Deferred[IProtocol] = self._worker.endpoints_of(self._core.side)(
            host.address, host.port, timeout
        ).connect(Given(connection))
        return dialling.addCallbacks(lambda _: self._opened(connection, host), lambda failed: self._count(failed, host))

    def _opened(self, connection: CopyConnection, host: Endpoint) -> None:
        self._opening = None
        if connection.copies is None or connection.transport is None:
            raise ConnectError(string="closed as soon as it was open")
        self._client.tell(self._core.attached, host)

    def _count(self, failed: Failure, host: Endpoint) -> Failure:
        if not failed.check(CancelledError):
            self._worker.shared.meter.async_nodes.named(str(host)).failed_connections += 1
        return failed

    def _failed(self, failed: Failure) -> None:
        if failed.check(CancelledError):
            return  # given up from this side
        failed.trap(ConnectError, DNSLookupError)
        self._opening = self._connection = None
        self._client.tell(self._core.unreachable, failed.getErrorMessage())

    # Time

    def _arm(self) -> None:
        deadline = self._core.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._worker.now()) + 0.001
            self._timer = self._worker.clock.callLater(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._client.tell(self._core.expire)
        if self._timer is None and self._core.state not in _GONE:
            self._arm()
