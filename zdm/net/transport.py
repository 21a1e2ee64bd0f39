"""One connection between the loop's transport and a Twisted protocol.

The loop reads and writes; between a socket and `dataReceived` stands no Python of Twisted's or of ours. The interface
is Twisted's `ITCPTransport`, with two narrowings: nothing written after `loseConnection` is sent, and a peer that
shuts down its writing half has ended the connection (`IHalfCloseableProtocol` is not asked).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from twisted.internet import error
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_log = Logger()

Address = IPv4Address | IPv6Address

UNKNOWN_ADDRESS: Final = IPv4Address("TCP", "0.0.0.0", 0)
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() answers the peer with RST
NETWORK_ERRORS: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENETRESET, errno.ENOTCONN}
)


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What is asked of the system for each connection.

    `nodelay`: small writes are sent at once. `keep_alive_s`: seconds of silence after which the other end is probed,
    and between two probes, of which `probes` may go unanswered; 0: no probes. So a peer that vanished without a word is
    found out. The defaults are those of the reference's platform.
    """

    nodelay: bool = True
    keep_alive_s: int = 15
    probes: int = 9

    def apply(self, opened: socket.socket) -> None:
        """Raises OSError where the peer is gone already."""
        if not self.nodelay:  # both loops have set it
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        if not self.keep_alive_s:
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keep_alive_s)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.keep_alive_s)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, self.probes)


USUAL: Final = SocketOptions()


def address_of(name: Sequence[Any] | None) -> Address:
    """The address in a socket's own form, `(host, port)` or IPv6's four; unknown where the peer was gone already."""
    if not name:
        return UNKNOWN_ADDRESS
    return IPv6Address("TCP", *name) if ":" in name[0] else IPv4Address("TCP", *name)


@implementer(ITCPTransport, IConsumer, IPushProducer)
class LoopTransport(asyncio.BaseProtocol):
    """One connection: a protocol in the loop's eyes, a transport in the Twisted protocol's.

    Made by an endpoint for each connection and of no use after `connectionLost`. `data_received` and `write` are
    attributes, bound to the Twisted protocol and to the loop's transport, so that neither direction passes through
    this class.
    """

    __slots__ = (
        "_aborted", "_congested", "_ended", "_factory", "_host", "_loop_transport", "_options", "_peer", "_producer",
        "data_received", "disconnecting", "wrapped", "write",
    )  # fmt: skip

    data_received: Callable[[bytes], None]
    write: Callable[[bytes], None]

    def __init__(self, factory: IProtocolFactory, options: SocketOptions = USUAL) -> None:
        self._options = options
        self.data_received = self.write = discard
        self.disconnecting = False
        self.wrapped: IProtocol | None = None
        self._factory = factory
        self._producer: IPushProducer | _PulledProducer | None = None
        self._aborted = self._congested = self._ended = False
        self._host: Address = UNKNOWN_ADDRESS
        self._peer: Address = UNKNOWN_ADDRESS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._loop_transport = cast(asyncio.Transport, transport)  # uvloop's are not subclasses
        self._host = address_of(transport.get_extra_info("sockname"))
        self._peer = address_of(transport.get_extra_info("peername"))
        try:
            self._open()
        except Exception:
            _log.failure("No protocol for the connection with {peer}", peer=self._peer)
            self.abortConnection()

    def _open(self) -> None:
        """There is a connection: now, or once more than that is agreed on, it is the Twisted protocol's."""
        self.write = self._loop_transport.write
        built = self._attached()
        if built is not None:
            self.data_received = built.dataReceived
            self._loop_transport.set_protocol(self)  # uvloop looks `data_received` up here, once
            built.makeConnection(self)

    def _attached(self) -> IProtocol | None:
        """What the factory has built, which is not told yet; None where it refuses, and the connection ends."""
        built = self._factory.buildProtocol(self._peer)
        if built is None:
            self._refuse()
            return None
        with suppress(OSError):  # the peer may be gone already, which is about to be told
            self._options.apply(self._socket())
        self.wrapped = built
        return built

    def _refuse(self) -> None:
        """Close without a byte, and without a reset: that may overtake the end of the peer's own connect."""
        self.disconnecting = True
        self._silence()
        self._loop_transport.abort()

    def _silence(self) -> None:
        """Nothing is passed on any more, in either direction."""
        self.data_received = self.write = discard

    def eof_received(self) -> None:
        self._loop_transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silence()
        self._ended = self.disconnecting = True
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        if self.wrapped is not None:
            self.wrapped.connectionLost(self._reason(exc))

    def _reason(self, exc: Exception | None) -> Failure:
        if exc is None:
            return Failure(error.ConnectionAborted() if self._aborted else error.ConnectionDone())
        if not isinstance(exc, OSError):
            return Failure(exc)  # the protocol's own; the loop has reported it
        if not (isinstance(exc, (ConnectionError, TimeoutError)) or exc.errno in NETWORK_ERRORS):
            # The loop takes any OSError for the socket's and says nothing: this may be the protocol's.
            _log.failure("Connection with {peer} ended", Failure(exc), peer=self._peer)
        return Failure(error.ConnectionLost(str(exc)))

    def pause_writing(self) -> None:
        self._congested = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        self._congested = False
        if self._producer is not None:
            self._producer.resumeProducing()

    # ITransport, IConsumer, ITCPTransport

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when all that was written is sent, and a registered producer has been unregistered."""
        self.disconnecting = True
        if self._producer is None:
            self.write = discard
            self._close()
        else:
            self._loop_transport.pause_reading()

    def _close(self) -> None:
        self._loop_transport.close()

    def abortConnection(self) -> None:
        """Close now, throw away what is not sent, and let the peer see a reset."""
        if self._ended:
            return
        if not self._loop_transport.is_closing():
            self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._aborted = self.disconnecting = True
        self._silence()
        self._loop_transport.abort()

    def loseWriteConnection(self) -> None:
        if not self.disconnecting:
            self.write = discard
            self._loop_transport.write_eof()

    def pauseProducing(self) -> None:
        self._loop_transport.pause_reading()

    def resumeProducing(self) -> None:
        if not self.disconnecting:
            self._loop_transport.resume_reading()

    @property
    def can_detach(self) -> bool:
        """All there is to the connection is its socket."""
        return True

    def detach(self) -> socket.socket:
        """Let go of the connection without ending it: it is whoever's has the socket. Nothing may be unsent.

        The protocol hears nothing more, not even that it has lost its connection.
        """
        self._loop_transport.pause_reading()
        detached = socket.socket(fileno=os.dup(self._socket().fileno()))
        self._ended = self.disconnecting = True
        self._producer = self.wrapped = None
        self._silence()
        self._loop_transport.abort()
        return detached

    def unsent(self) -> int:
        """Bytes that were written and that the socket has not taken yet."""
        return 0 if self._ended else self._loop_transport.get_write_buffer_size()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let `producer` write at the socket's pace; `streaming` tells a push producer from one to be asked.

        Raises `RuntimeError` where one is registered already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already, {producer!r} can't be as well")
        if self.disconnecting:
            producer.stopProducing()
            return
        pushing = cast(IPushProducer, producer) if streaming else _PulledProducer(cast(IPullProducer, producer), self)
        self._producer = pushing
        if self._congested:
            pushing.pauseProducing()
        elif not streaming:
            pushing.resumeProducing()

    def unregisterProducer(self) -> None:
        if isinstance(self._producer, _PulledProducer):
            self._producer.pauseProducing()
        self._producer = None
        if self.disconnecting:
            self.loseConnection()

    def getHost(self) -> Address:
        return self._host

    def getPeer(self) -> Address:
        return self._peer

    def getTcpNoDelay(self) -> bool:
        return bool(self._socket().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, bool(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket().getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, bool(enabled))

    def _socket(self) -> socket.socket:
        found: socket.socket = self._loop_transport.get_extra_info("socket")
        return found


@implementer(IPushProducer)
class _PulledProducer:
    """Asks a pull producer for more, once a turn of the loop, while the socket takes it."""

    __slots__ = ("_producer", "_transport", "_turn")

    def __init__(self, producer: IPullProducer, transport: LoopTransport) -> None:
        self._producer = producer
        self._transport = transport
        self._turn: asyncio.Handle | None = None

    def resumeProducing(self) -> None:
        if self._turn is None:
            self._turn = asyncio.get_event_loop().call_soon(self._ask)

    def pauseProducing(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._producer.stopProducing()

    def _ask(self) -> None:
        self._turn = asyncio.get_event_loop().call_soon(self._ask)  # first, so that what is asked can pause us
        try:
            self._producer.resumeProducing()
        except Exception:
            _log.failure("{producer!r} failed", producer=self._producer)
            self.pauseProducing()
            self._transport.abortConnection()


def discard(_data: bytes) -> None:
    """Where bytes go before a connection is made and after it is closed."""
