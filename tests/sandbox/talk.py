"""A client's end of a sandbox connection without a network: bytes in, bytes out, one decoded answer per request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport

from zdm.protocol import opcodes
from zdm.protocol.consistency import Consistency
from zdm.protocol.envelope import split_envelope
from zdm.protocol.errors import Error
from zdm.protocol.frames import FrameReader, encode_frame
from zdm.protocol.primitives import Unset, Value
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import Execute, Prepare, Query, Request, Startup
from zdm.protocol.responses import Prepared, Response, Rows, decode_response
from zdm.protocol.types import decode_cql, encode_cql
from zdm.sandbox.clusters import Credentials, SandboxCluster
from zdm.sandbox.node import Connection

START = 1_700_000_000.0


class TcpTransport(StringTransport):
    """What a TCP connection has beside what `StringTransport` has."""

    is_aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def abortConnection(self) -> None:
        self.is_aborted = True


class Talk:
    """A connection to a node of a cluster; `clock` is the reactor's, and the cluster's time runs with it."""

    def __init__(self, cluster: SandboxCluster, node: int = 0, version: int = 4, ready: bool = True) -> None:
        self.cluster = cluster
        self.version = version
        self.transport: Any = TcpTransport()
        connection: Any = Connection(cluster.nodes[node])
        self.connection = connection
        self.connection.makeConnection(self.transport)
        self.reader = FrameReader()
        self.tracing_id: Any = None
        if ready:
            self.ask(Startup({"CQL_VERSION": "3.4.6"}))

    def send(self, request: Request, flags: int = 0, stream: int = 1) -> None:
        body = request.encode(self.version)
        self.connection.dataReceived(encode_frame(self.version, stream, request.opcode, body, flags))

    def received(self) -> list[Response]:
        """The answers and events that came since the last look."""
        frames = self.reader.feed(self.transport.value())
        self.transport.clear()
        found = []
        for frame in frames:
            envelope, position = split_envelope(frame.body, frame.flags, is_response=True)
            self.tracing_id = envelope.tracing_id
            found.append(decode_response(frame.opcode, frame.version, frame.body, position))
        return found

    def ask(self, request: Request, flags: int = 0) -> Response:
        self.send(request, flags)
        (answer,) = [answer for answer in self.received() if answer.opcode != opcodes.EVENT]
        return answer

    def cql(self, text: str, values: Sequence[Value] = (), level: int = Consistency.ONE, **more: Any) -> Any:
        """The answer to a QUERY: rows as a list of tuples of Python values, anything else as the message."""
        parameters = QueryParameters(level, list(values) if values else None, **more)
        return plain(self.ask(Query(text, parameters)))

    def prepare(self, text: str) -> Prepared:
        answer = self.ask(Prepare(text))
        assert isinstance(answer, Prepared), answer
        return answer

    def execute(self, prepared: Prepared, *values: Any, **more: Any) -> Any:
        """EXECUTE with Python values, encoded as the PREPARE's answer says."""
        encoded = [
            value if isinstance(value, Unset) else encode_cql(column.type, value)
            for column, value in zip(prepared.bind.columns, values, strict=True)
        ]
        return plain(self.ask(Execute(prepared.prepared_id, QueryParameters(Consistency.ONE, encoded, **more))))


def plain(answer: Response) -> Any:
    if not isinstance(answer, Rows) or answer.metadata.columns is None:
        return answer
    types = [column.type for column in answer.metadata.columns]
    return [tuple(decode_cql(kind, value) for kind, value in zip(types, row, strict=True)) for row in answer.rows]


def refused(answer: Any) -> tuple[int, str]:
    """Code and message of an ERROR; fails for any other answer."""
    assert isinstance(answer, Error), answer
    return int(answer.code), answer.message


def make_cluster(nodes: int = 1, credentials: Credentials | None = None) -> SandboxCluster:
    """A started cluster whose reactor and clock are the test's: `cluster.reactor.advance(seconds)` moves both."""
    reactor = MemoryReactorClock()
    addresses = [(f"127.0.30.{index + 1}", 9042) for index in range(nodes)]
    cluster = SandboxCluster(
        "origin", addresses, reactor, clock=lambda: START + reactor.seconds(), credentials=credentials
    )
    cluster.start()
    return cluster
