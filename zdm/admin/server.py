"""The HTTP server of the metrics address: from its first log line to its last (behaviour spec 8.1, 9.2, 9.3).

It listens before anything slow begins and ends after everything else, and a port that cannot be bound is no reason for
the proxy to stop. What is served is a resource made elsewhere.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from zdm.admin.channel import BoundedRequest, Channel
from zdm.net.endpoints import ServerEndpoint

_log = Logger()

STOP_WITHIN_S: Final = 5
MAX_CONNECTIONS: Final = 200


class AdminServer:
    """Serves `resource` on `address`:`port` from `start` to `stop`; both are called once."""

    def __init__(
        self,
        resource: IResource,
        address: str,
        port: int,
        clock: IReactorTime,
        endpoint: IStreamServerEndpoint | None = None,
    ) -> None:
        """`clock` times the end; `endpoint` takes the place of the TCP one."""
        self._site = _QuietSite(resource, clock)
        self._connections = _Connections(self._site)
        self._address = address
        self._port = port
        self._clock = clock
        self._endpoint = ServerEndpoint(address, port) if endpoint is None else endpoint
        self._listening: IListeningPort | None = None

    def start(self) -> Deferred[IListeningPort | None]:
        """Fires with the port when requests are answered, or with None when the address cannot be had: logged."""
        _log.info(
            "Starting http server (metrics and health checks) on {address}:{port}",
            address=self._address,
            port=self._port,
        )
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> IListeningPort | None:
        try:
            self._listening = await self._endpoint.listen(self._connections)
        except CannotListenError as refused:
            _log.error(
                "Failed to listen on the metrics endpoint: listen tcp {address}:{port}: bind: {reason}. "
                "The proxy will stay up and listen for CQL requests.",
                address=self._address,
                port=self._port,
                reason=_reason(refused),
            )
        return self._listening

    def listeners(self) -> list[Any]:
        """The sockets that it listens at."""
        return [] if self._listening is None else cast(Any, self._listening).listeners()

    async def stop_listening(self) -> None:
        """Accept no more connections; those that are open get one answer each."""
        self._site.is_leaving = True
        if self._listening is not None:
            await (self._listening.stopListening() or succeed(None))

    def stop(self) -> Deferred[None]:
        """Fires when requests under way are answered and all connections closed, after 5 seconds in any case."""
        _log.info("Shutting down httpzdmproxy server, waiting up to 5 seconds.")
        ending = Deferred.fromCoroutine(self._end())
        ending.addTimeout(STOP_WITHIN_S, self._clock, onTimeoutCancel=lambda _result, _s: self._connections.abort_all())
        ending.addCallback(lambda _: _log.info("Http server shutdown."))
        return ending

    async def _end(self) -> None:
        await self.stop_listening()
        await self._site.until_idle()
        await self._connections.close_all()


class _QuietSite(Site):
    """A site that logs no requests and knows how many are being answered."""

    noisy = False
    protocol = Channel  # type: ignore[assignment]  # made for HTTP/2 as well, which needs TLS

    def __init__(self, resource: IResource, clock: IReactorTime) -> None:
        super().__init__(resource, BoundedRequest, reactor=clock, parsePOSTFormSubmission=False)
        self.is_leaving = False
        """A connection is closed after its next answer, so that who asks again asks the next process."""
        self._open = 0
        self._idle: Deferred[None] | None = None

    def log(self, request: Request) -> None:
        """Probes come every few seconds for months."""

    def getResourceFor(self, request: Any) -> IResource:
        self._open += 1
        request.notifyFinish().addBoth(self._answered)
        if self.is_leaving:
            request.channel.persistent = False
            request.setHeader(b"connection", b"close")
        found: IResource = super().getResourceFor(request)
        return found

    def _answered(self, _result: object) -> None:
        self._open -= 1
        self._settle()

    def until_idle(self) -> Deferred[None]:
        self._idle = Deferred()
        waiting = self._idle
        self._settle()
        return waiting

    def _settle(self) -> None:
        if self._open == 0 and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)


class _Connections(WrappingFactory):
    """Knows the open connections, idle ones of HTTP's keep-alive among them."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._gone: Deferred[None] | None = None

    def buildProtocol(self, addr: Any) -> ProtocolWrapper | None:  # type: ignore[override]  # as the interface
        """Where there are too many, the oldest that awaits no answer gives way, so that probes always get through."""
        if len(self.protocols) >= MAX_CONNECTIONS:
            spare = next((each.wrappedProtocol for each in self.protocols if each.wrappedProtocol.is_spare), None)
            if spare is None:
                return None
            spare.give_up()
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        super().unregisterProtocol(p)
        self._settle()

    def close_all(self) -> Deferred[None]:
        """Fires when every connection has sent what it has and is closed."""
        for connection in list(self.protocols):
            connection.unregisterProducer()  # HTTP keeps one registered, and would hold up the close
            connection.loseConnection()
        self._gone = Deferred()
        waiting = self._gone
        self._settle()
        return waiting

    def abort_all(self) -> None:
        for connection in list(self.protocols):
            connection.abortConnection()

    def _settle(self) -> None:
        if not self.protocols and self._gone is not None:
            gone, self._gone = self._gone, None
            gone.callback(None)


def _reason(refused: CannotListenError) -> str:
    code = getattr(refused.socketError, "errno", None)
    if code is None or isinstance(refused.socketError, socket.gaierror):  # whose codes are of another table
        return str(refused.socketError)
    return os.strerror(code).lower()
