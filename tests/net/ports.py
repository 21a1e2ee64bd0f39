"""Addresses to listen at that live in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer


class Ports:
    """What is listened at; `taken` are ports that somebody else has, `faults` what goes wrong at others."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.faults: dict[int, Exception] = {}
        self.factories: dict[int, Any] = {}

    def at(self, host: str, port: int) -> Listening:
        return Listening(self, host, port)


@implementer(IStreamServerEndpoint, IListeningPort)
class Listening:
    """Endpoint and port in one."""

    def __init__(self, ports: Ports, host: str, port: int) -> None:
        self._ports = ports
        self._host = host
        self._port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        if self._port in self._ports.taken:
            return fail(CannotListenError(self._host, self._port, OSError("address in use")))
        if self._port in self._ports.faults:
            return fail(self._ports.faults[self._port])
        self._ports.factories[self._port] = protocolFactory
        return succeed(self)

    def startListening(self) -> None:
        """Does nothing: `listen` has done it."""

    def stopListening(self) -> Deferred[None]:
        del self._ports.factories[self._port]
        return succeed(None)

    def getHost(self) -> Any:
        return self._host
