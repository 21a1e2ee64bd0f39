"""Listening at sockets that were opened elsewhere: by the process before this one, or by a service manager.

They are there before anybody may be served, so they stand behind a `Gate`: until it is opened nothing is accepted here.
Whoever knocks meanwhile waits in the kernel, or is let in by who has the same sockets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from zdm.net.accepting import HandingPort
from zdm.net.endpoints import attach_accepted
from zdm.net.reception import Reception
from zdm.net.tls import TlsError
from zdm.net.transport import SocketOptions


class Gate:
    """Opened once; what is to happen then happens at once afterwards."""

    def __init__(self, is_open: bool = False) -> None:
        self.is_open = is_open
        self._waiting: Final[list[Callable[[], None]]] = []

    def when_open(self, act: Callable[[], None]) -> None:
        """Call it when the gate is open."""
        if self.is_open:
            act()
        else:
            self._waiting.append(act)

    def open(self) -> None:
        """A second call changes nothing."""
        self.is_open = True
        waiting = list(self._waiting)
        self._waiting.clear()
        for act in waiting:
            act()


@implementer(IStreamServerEndpoint)
class AdoptedEndpoint:
    """Accepts at `listeners` as soon as `gate` is open. To be listened at once: the sockets are its own."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        gate: Gate,
        options: SocketOptions | None,
        reception: Reception | None = None,
    ) -> None:
        """`options` for the connections; None where the factory's protocols are given the bare sockets.

        With a `reception` whoever connects is to speak TLS.
        """
        self._listeners: Final = list(listeners)
        self._gate: Final = gate
        self._options: Final = options
        self._reception: Final = reception

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Fires with the port, at which nothing may be accepted yet."""
        for listener in self._listeners:
            listener.setblocking(False)
        protocolFactory.doStart()
        port = _AdoptedPort(self._listeners, self._taking(protocolFactory))
        self._gate.when_open(port.startListening)
        return succeed(cast(IListeningPort, port))

    def _taking(self, factory: IProtocolFactory) -> Any:
        return factory if self._options is None else _Attaching(factory, self._options, self._reception)


class _AdoptedPort(HandingPort):
    """One that may be closed before it was ever open."""

    def startListening(self) -> None:
        if self._is_open:
            super().startListening()


class _Attaching:
    """Has the loop read and write the connections, with a protocol of the factory on each."""

    def __init__(self, factory: IProtocolFactory, options: SocketOptions, reception: Reception | None) -> None:
        self._factory: Final = factory
        self._options: Final = options
        self._reception: Final = reception

    def buildProtocol(self, addr: object) -> _Attaching:
        return self

    def socket_accepted(self, accepted: socket.socket) -> None:
        attaching = attach_accepted(accepted, self._factory, self._options, self._reception)
        # it fails where the peer is gone again, which is nobody's concern, or for what the reception has told of
        attaching.addErrback(lambda failed: failed.trap(OSError, TlsError) and None)

    def doStop(self) -> None:
        self._factory.doStop()


def duplicates(sockets: Sequence[Any]) -> list[socket.socket]:
    """The same listening sockets once more, which stay when these are closed."""
    return [socket.socket(fileno=os.dup(each.fileno())) for each in sockets]
