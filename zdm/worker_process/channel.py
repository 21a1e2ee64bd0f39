"""The channel between supervisor and worker: a pair of UNIX sockets, each end with an AMP protocol on it."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.protocol import Factory


class _Given(Factory):
    """The one protocol that is there already."""

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol: Final = protocol

    def buildProtocol(self, addr: object) -> Any:
        return self._protocol


def adopt(reactor: Any, channel: socket.socket, protocol: Any) -> None:
    """Connect a protocol to its end of a channel, which may be closed afterwards."""
    channel.setblocking(False)
    reactor.adoptStreamConnection(channel.fileno(), socket.AF_UNIX, _Given(protocol))
