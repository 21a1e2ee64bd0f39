"""How Twisted protocols reach sockets: straight on the event loop's own transports.

Twisted runs on its asyncio reactor, over uvloop's loop where that is installed. The endpoints here let the loop do the
reading and writing itself (`transport.py`); a dual write costs a third less than through the reactor's own TCP classes.
With TLS (`tls.py`) a connection is there, and its protocol is built, once the handshake is done. Everything else of
Twisted (timers, HTTP, processes, signals) is used as it comes. UNIX sockets are not here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from twisted.internet import asyncioreactor, defer, error
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from zdm.net.reception import Reception
from zdm.net.tls import TlsEnd, TlsError, TlsTransport
from zdm.net.transport import USUAL, Address, LoopTransport, SocketOptions, address_of

_log = Logger()
_T = TypeVar("_T")


def install_reactor() -> None:
    """Make Twisted's reactor the asyncio one, over a uvloop loop where uvloop is installed.

    To be called before anything imports `twisted.internet.reactor`. The environment's `ZDM_LOOP=asyncio` asks for the
    standard library's loop. What the loop has to complain of goes to Twisted's log.

    Raises `ReactorAlreadyInstalledError` where a reactor is there already.
    """
    loop = _new_loop()
    loop.set_exception_handler(_log_loop_error)
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)


def _new_loop() -> asyncio.AbstractEventLoop:
    if os.environ.get("ZDM_LOOP") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop()


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    failing = context.get("exception")
    if failing is None:
        _log.error("{text}", text=context["message"])
    else:
        _log.failure("{text}", Failure(failing), text=context["message"])


@implementer(IListeningPort)
class Port:
    """A listening address, from `ServerEndpoint.listen` until `stopListening`; accepted connections outlive it."""

    def __init__(self, server: asyncio.Server, factory: IProtocolFactory) -> None:
        self._server = server
        self._factory = factory
        self._host = address_of(server.sockets[0].getsockname())
        self._stopped: defer.Deferred[None] | None = None

    def startListening(self) -> None:
        """Does nothing: `listen` has done it."""

    def stopListening(self) -> defer.Deferred[None]:
        """Stop accepting; fires when the address is free again. A second call is harmless."""
        if self._stopped is not None:
            return defer.succeed(None)
        self._stopped = defer.Deferred()
        self._server.close()
        self._factory.doStop()
        asyncio.get_event_loop().call_soon(self._stopped.callback, None)  # uvloop frees the socket a turn later
        return self._stopped

    def getHost(self) -> Address:
        return self._host

    def listeners(self) -> list[Any]:
        """The sockets, as the loop shows them."""
        return list(self._server.sockets)


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """Listens on `host`:`port` (IPv4, IPv6, or a name: then on each of its addresses). Port 0 takes a free one.

    With a `reception` whoever connects is to speak TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        backlog: int = 1024,
        options: SocketOptions = USUAL,
        reception: Reception | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._backlog = backlog
        self._options = options
        self._reception = reception

    def listen(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IListeningPort]:
        """Fires with the `Port`, or fails with `CannotListenError`."""
        return _deferred(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: self._transport(factory), self._host, self._port, backlog=self._backlog
            )
        except OSError as refused:
            raise error.CannotListenError(self._host, self._port, refused) from refused
        factory.doStart()
        return Port(server, factory)

    def _transport(self, factory: IProtocolFactory) -> LoopTransport:
        if self._reception is None:
            return LoopTransport(factory, self._options)
        return self._reception.transport(factory, self._options)


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """Connects to `host`:`port` within `timeout_s` seconds, from `local_address` (an IP address) where one is given.

    With `tls` the handshake belongs to connecting.
    """

    def __init__(
        self,
        host: str,
        port: int,
        timeout_s: float,
        local_address: str | None = None,
        options: SocketOptions = USUAL,
        tls: TlsEnd | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._options = options
        self._tls = tls
        self._local = None if local_address is None else (local_address, 0)

    def connect(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IProtocol]:
        """Fires with the connected protocol.

        Fails with `twisted.internet.error`'s `ConnectionRefusedError`, `TimeoutError` and other `ConnectError`s, with
        `DNSLookupError` for an unknown name, `TlsError` (a `ConnectError`) where no TLS comes about, `NoProtocol` where
        the factory makes none, and `CancelledError` where the Deferred is cancelled.
        """
        return _deferred(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        loop = asyncio.get_running_loop()
        handshake = None if self._tls is None else _Handshake()
        try:
            async with asyncio.timeout(self._timeout_s):
                _, attached = await loop.create_connection(
                    lambda: self._transport(factory, handshake), self._host, self._port, local_addr=self._local
                )
                if handshake is not None:
                    await handshake.done(attached)
        except OSError as failed:
            raise self._connect_error(failed) from failed
        if attached.wrapped is None:
            raise error.NoProtocol()
        return attached.wrapped

    def _transport(self, factory: IProtocolFactory, handshake: _Handshake | None) -> LoopTransport:
        if self._tls is None or handshake is None:
            return LoopTransport(factory, self._options)
        return TlsTransport(factory, self._options, self._tls, handshake.settle, self._host)

    def _connect_error(self, failed: OSError) -> Exception:
        """The loop's error in Twisted's words; `failed` of several addresses at once has no number."""
        if isinstance(failed, socket.gaierror):
            return error.DNSLookupError(f"{self._host}: {failed.strerror}")
        if failed.errno is not None:
            return cast(Exception, error.getConnectError((failed.errno, str(failed))))
        if isinstance(failed, TimeoutError):
            return error.TimeoutError(None, f"{self._host}:{self._port} did not answer within {self._timeout_s} s")
        return error.ConnectError(None, str(failed))


def attach_accepted(
    accepted: socket.socket,
    factory: IProtocolFactory,
    options: SocketOptions = USUAL,
    reception: Reception | None = None,
) -> defer.Deferred[None]:
    """Attach a protocol to a connection that was accepted elsewhere; fires when that is done, with TLS or without.

    Fails with an OSError where the connection has ended meanwhile; the socket is closed in any case, sooner or later.
    """
    return _deferred(_attach_accepted(accepted, factory, options, reception))


async def _attach_accepted(
    accepted: socket.socket, factory: IProtocolFactory, options: SocketOptions, reception: Reception | None
) -> None:
    loop = asyncio.get_running_loop()
    handshake = _Handshake()

    def transport() -> LoopTransport:
        if reception is None:
            return LoopTransport(factory, options)
        return reception.transport(factory, options, handshake.settle)

    try:
        _, attached = await loop.connect_accepted_socket(transport, accepted)
    except OSError:
        accepted.close()
        raise
    if reception is not None:
        await handshake.done(attached)


class _Handshake:
    """One that somebody waits for."""

    def __init__(self) -> None:
        self._outcome: asyncio.Future[TlsError | None] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: TlsError | None) -> None:
        """It has come to its end, well where there is no error. Harmless where nobody waits any more."""
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def done(self, attached: LoopTransport) -> None:
        """Returns when it is done. Raises its error; where the waiting is given up, so is the connection."""
        try:
            fault = await self._outcome
        except asyncio.CancelledError:
            attached.abortConnection()
            raise
        if fault is not None:
            raise fault


def _deferred(coroutine: Coroutine[Any, Any, _T]) -> defer.Deferred[_T]:
    """The Deferred of `coroutine`, run as a task of the loop; to cancel the one is to cancel the other."""

    def cancel(_result: defer.Deferred[_T]) -> None:
        task.cancel()

    result: defer.Deferred[_T] = defer.Deferred(cancel)
    task = asyncio.get_event_loop().create_task(_settle(coroutine, result))
    task.add_done_callback(lambda _: coroutine.close())  # a task cancelled before its first step never ran it
    return result


async def _settle(coroutine: Coroutine[Any, Any, _T], result: defer.Deferred[_T]) -> None:
    try:
        outcome: _T | Failure = await coroutine
    except asyncio.CancelledError:
        outcome = Failure(defer.CancelledError())
    except Exception:
        outcome = Failure()
    if not result.called:  # where it was cancelled it has failed already
        result.callback(outcome)
