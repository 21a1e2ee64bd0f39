"""The channel between supervisor and worker: a pair of UNIX sockets, each end with an AMP protocol on it."""

from __future__ import annotations

import socket
from typing import Any

from zdm.net.given import Given


def adopt(reactor: Any, channel: socket.socket, protocol: Any) -> None:
    """Connect a protocol to its end of a channel, which may be closed afterwards."""
    channel.setblocking(False)
    reactor.adoptStreamConnection(channel.fileno(), socket.AF_UNIX, Given(protocol))
