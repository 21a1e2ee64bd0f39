"""A factory for one connection, where the protocol is there before its transport."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

_Given = TypeVar("_Given", bound=Protocol)


class Given(Factory, Generic[_Given]):
    """Gives the endpoint the one protocol that it is to attach."""

    noisy = False

    def __init__(self, protocol: _Given) -> None:
        self._protocol: Final = protocol

    def buildProtocol(self, addr: IAddress | None) -> _Given:
        return self._protocol
