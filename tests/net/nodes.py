"""Cluster nodes that live in this process and in a clock's time, as far as a control connection asks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.system_rows import LOCAL_TYPES, Values, local_row, local_rows, peers_rows
from zdm.core.credentials import Credentials
from zdm.protocol import opcodes
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.frames import RESPONSE_BIT, Frame, FrameReader, encode_frame
from zdm.protocol.requests import AuthResponse, Query, Request, decode_request
from zdm.protocol.responses import Authenticate, AuthSuccess, Ready, Response, Supported, TopologyChangeEvent, Void

USER = Credentials("cassandra", "secret")
LOCAL = "SELECT * FROM system.local"
PEERS = "SELECT * FROM system.peers"


class Lines:
    """The operator's log, one (level, text) each."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.shown = ("INFO", "logfmt")

    def debug(self, text: str) -> None:
        self.lines.append(("debug", text))

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warn(self, text: str) -> None:
        self.lines.append(("warn", text))

    def configure(self, level: str, log_format: str) -> None:
        self.shown = (level, log_format)

    def error(self, text: str, failure: Failure | None = None) -> None:
        self.lines.append(("error", text if failure is None else f"{text}: {failure.getErrorMessage()}"))

    def texts(self, level: str) -> list[str]:
        return [text for found, text in self.lines if found == level]


class Connection(StringTransport):
    """The node's end of a connection. Answers arrive when the clock is advanced, even by nothing."""

    def __init__(self, node: Node, client: Any) -> None:
        super().__init__()
        self.node = node
        self.client = client
        self.requests: list[Request] = []
        self._reader = FrameReader()

    def write(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self.node.network.clock.callLater(0, self._receive, frame)

    def _receive(self, frame: Frame) -> None:
        if self.connected and not self.node.is_hung:
            self.requests.append(decode_request(frame.opcode, max(3, min(frame.version, 5)), frame.body))
            self.node.answer(self, frame)

    def send(self, frame: Frame, response: Response, version: int | None = None) -> None:
        header = (frame.version if version is None else version) | RESPONSE_BIT
        self.client.dataReceived(encode_frame(header, frame.stream, response.opcode, response.encode(4)))

    def event(self, change: str = "NEW_NODE") -> None:
        """An EVENT, which in a cluster's eyes is a frame like any other, but on stream -1."""
        body = TopologyChangeEvent(change, "127.0.40.9", 9042).encode(4)
        self.client.dataReceived(encode_frame(4 | RESPONSE_BIT, -1, opcodes.EVENT, body))

    def asked(self, kind: type[Request] | None = None) -> list[str]:
        """The requests so far: query texts, names of the others."""
        kept = [request for request in self.requests if kind is None or isinstance(request, kind)]
        return [request.text if isinstance(request, Query) else type(request).__name__.upper() for request in kept]

    def cut(self, reason: Exception | None = None) -> None:
        if self.connected:
            self.connected = False
            self.client.connectionLost(Failure(reason or ConnectionDone()))

    def abortConnection(self) -> None:
        self.cut(ConnectionLost())


class Node:
    """One node: what it answers, and who is connected to it."""

    def __init__(self, network: Network, local: Values, peers: list[Values]) -> None:
        self.network = network
        self.local = local
        self.peers = peers
        self.local_types = LOCAL_TYPES
        self.versions = {3, 4}
        self.authenticator = ""
        self.login = USER
        self.is_down = self.is_hung = self.hangs_up = False
        self.heartbeat: Response = Supported({"CQL_VERSION": ["3.4.6"]})
        self.connections: list[Connection] = []
        self.answers: dict[str, Response] = {}
        """By the texts of other queries."""
        self.on_query: Callable[[Connection, str], None] = lambda connection, text: None

    def answer(self, connection: Connection, frame: Frame) -> None:
        if frame.version in self.versions:
            response = self.response(connection)
            if connection.connected and response is not None:
                connection.send(frame, response)
        elif self.hangs_up:
            connection.cut()
        else:
            refusal = Error(ErrorCode.PROTOCOL_ERROR, f"Invalid or unsupported protocol version ({frame.version})")
            connection.send(frame, refusal, max(self.versions))

    def response(self, connection: Connection) -> Response | None:
        request = connection.requests[-1]
        if isinstance(request, Query):
            self.on_query(connection, request.text)
            if request.text == LOCAL:
                return local_rows(self.local, self.local_types)
            return peers_rows(*self.peers) if request.text == PEERS else self.answers.get(request.text, Void())
        if isinstance(request, AuthResponse):
            accepted = request.token == self.login.token()
            return AuthSuccess(None) if accepted else Error(ErrorCode.AUTHENTICATION_ERROR, "bad credentials")
        if type(request).__name__ == "Options":
            return self.heartbeat
        if type(request).__name__ == "Startup" and self.authenticator:
            return Authenticate(self.authenticator)
        return Ready()

    @property
    def connection(self) -> Connection:
        return self.connections[-1]

    @property
    def open_connections(self) -> int:
        return sum(connection.connected for connection in self.connections)


class Network:
    """Addresses and the nodes behind them; `dialled` is what was tried, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.nodes: dict[str, Node] = {}
        self.dialled: list[str] = []

    def add(self, number: int, peers: list[Values] | None = None, datacenter: str = "dc1") -> Node:
        node = Node(self, local_row(number, datacenter), peers or [])
        self.nodes[f"127.0.40.{number}"] = node
        return node

    def endpoint(self, address: str, port: int, timeout: float = 0.0) -> Dialled:
        return Dialled(self, address)

    def settle(self) -> None:
        """Lets all that is due now happen."""
        self.clock.advance(0)


@implementer(IStreamClientEndpoint)
class Dialled:
    def __init__(self, network: Network, address: str) -> None:
        self._network = network
        self._address = address

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        self._network.dialled.append(self._address)
        node = self._network.nodes.get(self._address)
        attached: Deferred[Any] = Deferred(lambda _: due.cancel())
        due = self._network.clock.callLater(0, self._attach, node, factory, attached)
        return attached

    def _attach(self, node: Node | None, factory: IProtocolFactory, attached: Deferred[Any]) -> None:
        if node is None or node.is_down:
            attached.errback(ConnectionRefusedError())
            return
        client: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.40.1", 9042))
        connection = Connection(node, client)
        node.connections.append(connection)
        client.makeConnection(connection)
        attached.callback(client)
