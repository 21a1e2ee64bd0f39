"""Accepting connections for others: the socket itself is handed on, and nothing of it is read here.

`HandingEndpoint` is used as any server endpoint is, but the protocols that its factory builds are given the socket
(`TakesSocket`) instead of a transport.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from twisted.internet import defer, error
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from zdm.net.transport import Address, address_of

_log = Logger()

_AT_ONCE: Final = 64
"""Connections accepted in one turn of the loop, so that many that come together do not keep it from all else."""

_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE: Final = 1.0


class TakesSocket(Protocol):
    """What the factory builds for a connection."""

    def socket_accepted(self, accepted: socket.socket) -> None:
        """The socket, not blocking, is the receiver's from now on."""


@implementer(IListeningPort)
class HandingPort:
    """Listening sockets, until `stopListening`."""

    def __init__(self, listeners: list[socket.socket], factory: IProtocolFactory) -> None:
        self._listeners: Final = listeners
        self._factory: Final = factory
        self._host: Final = address_of(listeners[0].getsockname())
        self._loop: Final = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._is_open = True

    def startListening(self) -> None:
        """`listen` of the endpoint calls it."""
        self._resting = None
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def stopListening(self) -> defer.Deferred[None]:
        """Stop accepting; the address is free again when this returns. A second call is harmless."""
        if self._is_open:
            self._is_open = False
            self._pause()
            for listener in self._listeners:
                listener.close()
            self._factory.doStop()
        return defer.succeed(None)

    def getHost(self) -> Address:
        return self._host

    def listeners(self) -> list[Any]:
        """The sockets."""
        return list(self._listeners) if self._is_open else []

    def _pause(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failed:
                self._rest(failed)
                return
            accepted.setblocking(False)
            try:
                self._hand_on(accepted, peer)
            except Exception:
                _log.failure("A connection from {peer} could not be handed on", peer=peer)
                accepted.close()

    def _hand_on(self, accepted: socket.socket, peer: Any) -> None:
        built = self._factory.buildProtocol(address_of(peer))
        if built is None:
            accepted.close()
        else:
            cast(TakesSocket, built).socket_accepted(accepted)

    def _rest(self, failed: OSError) -> None:
        """Nothing can be accepted now: those who knock wait in the kernel meanwhile."""
        if failed.errno not in _FULL:
            raise failed
        _log.error("Connections cannot be accepted for {pause:g} s: {why}", pause=_PAUSE, why=str(failed))
        self._pause()
        self._resting = self._loop.call_later(_PAUSE, self.startListening)


@implementer(IStreamServerEndpoint)
class HandingEndpoint:
    """Listens on `host`:`port` (IPv4, IPv6, or a name: then on each of its addresses). Port 0 takes a free one."""

    def __init__(self, host: str, port: int, backlog: int = 1024) -> None:
        self._host = host
        self._port = port
        self._backlog = backlog

    def listen(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IListeningPort]:
        """Fires with the port, or fails with `CannotListenError`."""
        return defer.Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        try:
            found = await defer.Deferred.fromFuture(asyncio.ensure_future(self._addresses()))
            listeners = _listening(found, self._backlog)
        except OSError as refused:
            raise error.CannotListenError(self._host, self._port, refused) from refused
        factory.doStart()
        port = HandingPort(listeners, factory)
        port.startListening()
        return port

    async def _addresses(self) -> list[tuple[int, Any]]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host or None, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listening(addresses: Iterable[tuple[int, Any]], backlog: int) -> list[socket.socket]:
    """A socket for each. Raises OSError, with none left open."""
    listeners: list[socket.socket] = []
    try:
        for family, address in addresses:
            try:
                listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            except OSError:
                continue  # a name that has an address of a kind that this machine does not speak
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(backlog)
            listener.setblocking(False)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    if not listeners:
        raise OSError(errno.EADDRNOTAVAIL, "no address that can be listened on")
    return listeners
