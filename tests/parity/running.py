"""A whole proxy between two clusters of several nodes each, in memory: nothing but the sockets and the time are played.

Origin's nodes are 127.0.40.1 and so on, target's 127.0.40.11 and so on. What a node answers is in `tests.net.nodes`.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from twisted.internet.task import Clock

from tests import frames
from tests.at_once import at_once
from tests.net.nodes import Connection, Lines, Network, Node
from tests.net.ports import Ports
from tests.net.wires import Wire
from tests.system_rows import peer_row
from zdm.config import Config
from zdm.protocol.requests import Query
from zdm.service import ProxyService

PORT: Final = 9999
READY: Final = 2
ERROR: Final = 0


class _Reactor:
    """The clock, with an end."""

    def __init__(self, clock: Clock) -> None:
        self.callLater, self.seconds, self.getDelayedCalls = clock.callLater, clock.seconds, clock.getDelayedCalls

    def stop(self) -> None:
        """Nobody runs it."""


class Running:
    """The proxy, its two clusters and its clients. `keys` are those of the configuration."""

    def __init__(self, nodes: tuple[int, int] = (1, 1), **keys: Any) -> None:
        self.network, self.ports, self.log = Network(), Ports(), Lines()
        self.origin = self._cluster(1, nodes[0])
        self.target = self._cluster(11, nodes[1])
        wanted: dict[str, Any] = {
            "origin_contact_points": "127.0.40.1",
            "target_contact_points": "127.0.40.11",
            "proxy_listen_port": PORT,
            "metrics_port": PORT - 1,
            "control_conn_max_protocol_version": "4",
        }
        config, log = Config(**(wanted | keys)), self._log()
        reactor = _Reactor(self.network.clock)
        dial = self.network.endpoint
        self.service = ProxyService(config, log, reactor, lambda _: dial, self.ports.at, None, run=at_once)

    @property
    def listens(self) -> bool:
        """Clients can connect."""
        return PORT in self.ports.factories

    def start(self) -> Running:
        self.service.start()
        self.settle()
        return self

    def stop(self) -> None:
        self.service.stop()
        self.settle()

    def settle(self) -> None:
        """All that follows from what happened, as far as no time has to pass for it."""
        self.network.clock.pump([0] * 30)

    def connect(self) -> Wire:
        """A client whose cluster connections are open."""
        wire = Wire(self.network.clock, self.ports.factories[PORT].buildProtocol(None)).connect()
        self.settle()
        return wire

    def ask(self, client: Wire, frame: bytes) -> bytes:
        """The one answer to a request."""
        client.protocol.dataReceived(frame)
        self.settle()
        (answer,) = client.take()
        return answer

    def ready(self, version: int = 4) -> Wire:
        """A client whose handshake is done; no cluster asks for credentials."""
        client = self.connect()
        assert self.ask(client, frames.startup(1, version=version)) == frames.ready(1, version=version)
        return client

    def _cluster(self, first: int, size: int) -> list[Node]:
        nodes = [self.network.add(number) for number in range(first, first + size)]
        for node in nodes:
            node.peers.extend(peer_row(first + place) for place, other in enumerate(nodes) if other is not node)
        return nodes

    def _log(self) -> Any:
        return self.log


@contextmanager
def running(nodes: tuple[int, int] = (1, 1), **keys: Any) -> Iterator[Running]:
    """One that is not started yet, and is stopped in the end. A start raises the limit of open files: so it was."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    played = Running(nodes, **keys)
    try:
        yield played
    finally:
        played.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def asked(node: Node, text: str) -> int:
    """How often a node got a statement."""
    return sum(_texts(connection).count(text) for connection in node.connections)


def _texts(connection: Connection) -> list[str]:
    return connection.asked(Query)
