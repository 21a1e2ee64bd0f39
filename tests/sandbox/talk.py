"""A client's end of a sandbox connection without a network: bytes in, bytes out, one decoded answer per request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport

from zdm.protocol import opcodes
from zdm.protocol.compression import compress_frame, open_body
from zdm.protocol.consistency import Consistency
from zdm.protocol.envelope import split_envelope
from zdm.protocol.errors import Error
from zdm.protocol.frames import COMPRESSED, FrameReader, encode_frame
from zdm.protocol.primitives import Unset, Value
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import Execute, Prepare, Query, Request, Startup
from zdm.protocol.responses import Prepared, Response, Rows, decode_response
from zdm.protocol.segments import SegmentReader, encode_segments
from zdm.protocol.types import decode_cql, encode_cql
from zdm.protocol.versions import V5
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

    def __init__(
        self, cluster: SandboxCluster, node: int = 0, version: int = 4, ready: bool = True, algorithm: str = ""
    ) -> None:
        self.cluster = cluster
        self.version = version
        self.transport: Any = TcpTransport()
        connection: Any = Connection(cluster.nodes[node])
        self.connection = connection
        self.connection.makeConnection(self.transport)
        self.reader = FrameReader()
        self.algorithm = algorithm
        self.segments: SegmentReader | None = None
        self.tracing_id: Any = None
        if ready:
            options = {"CQL_VERSION": "3.4.6"} | ({"COMPRESSION": algorithm} if algorithm else {})
            self.ask(Startup(options))
            self.begin_segments()

    def send(self, request: Request, flags: int = 0, stream: int = 1) -> None:
        frame = encode_frame(self.version, stream, request.opcode, request.encode(self.version), flags)
        if self.segments is not None:
            frame = encode_segments(frame, bool(self.algorithm))
        elif self.algorithm and self.version < V5 and request.opcode != opcodes.STARTUP:
            frame = compress_frame(self.algorithm, frame)
        self.connection.dataReceived(frame)

    def begin_segments(self) -> None:
        """What a client does after READY or AUTHENTICATE; in v3 and v4 nothing."""
        if self.version >= V5:
            self.segments = SegmentReader(bool(self.algorithm))

    def received(self) -> list[Response]:
        """The answers and events that came since the last look."""
        data = self.transport.value()
        self.transport.clear()
        found = []
        for frame in self.reader.feed(data if self.segments is None else self.segments.feed(data)):
            body = open_body(self.algorithm, frame.body) if frame.flags & COMPRESSED else frame.body
            envelope, position = split_envelope(body, frame.flags, is_response=True)
            self.tracing_id = envelope.tracing_id
            found.append(decode_response(frame.opcode, frame.version, body, position))
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
        result_id = prepared.result_metadata_id
        encoded = [
            value if isinstance(value, Unset) else encode_cql(column.type, value)
            for column, value in zip(prepared.bind.columns, values, strict=True)
        ]
        return plain(
            self.ask(Execute(prepared.prepared_id, QueryParameters(Consistency.ONE, encoded, **more), result_id))
        )


def plain(answer: Response) -> Any:
    if not isinstance(answer, Rows) or answer.metadata.columns is None:
        return answer
    types = [column.type for column in answer.metadata.columns]
    return [tuple(decode_cql(kind, value) for kind, value in zip(types, row, strict=True)) for row in answer.rows]


def refused(answer: Any) -> tuple[int, str]:
    """Code and message of an ERROR; fails for any other answer."""
    assert isinstance(answer, Error), answer
    return int(answer.code), answer.message


def make_cluster(nodes: int = 1, credentials: Credentials | None = None, **offered: Any) -> SandboxCluster:
    """A started cluster whose reactor and clock are the test's: `cluster.reactor.advance(seconds)` moves both."""
    reactor = MemoryReactorClock()
    addresses = [(f"127.0.30.{index + 1}", 9042) for index in range(nodes)]
    cluster = SandboxCluster(
        "origin", addresses, reactor, clock=lambda: START + reactor.seconds(), credentials=credentials, **offered
    )
    cluster.start()
    return cluster
