"""One node: a listening port, and the connections that it accepted.

A connection answers OPTIONS at any time, wants STARTUP, credentials if the cluster has some, and then executes requests
through its `Coordinator`. Faults are applied here, between a request's arrival and its answer, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from zdm.protocol import opcodes
from zdm.protocol.compression import agreed_algorithm
from zdm.protocol.envelope import Envelope, body_start, encode_envelope
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import TRACING, Frame
from zdm.protocol.requests import (
    AuthResponse,
    Batch,
    Execute,
    Options,
    Prepare,
    Query,
    Register,
    Request,
    Startup,
    decode_request,
)
from zdm.protocol.responses import Authenticate, AuthSuccess, Event, Ready, Response, Supported
from zdm.sandbox import tracing
from zdm.sandbox.coordinator import Coordinator
from zdm.sandbox.failures import Failure, protocol_error
from zdm.sandbox.faults import Fault, RequestRecord
from zdm.sandbox.framing import Framing
from zdm.sandbox.secure_port import listen_with_tls

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster

AUTHENTICATOR: Final = "org.apache.cassandra.auth.PasswordAuthenticator"
_EVENTS: Final = ("TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE")
_LISTEN_BACKLOG: Final = 128
_log = Logger()


class Connection(Protocol):
    """A client's connection from accept to loss. `phase` is the opcode that comes next, or 0 when it is ready."""

    transport: Any  # Twisted's interfaces for TCP are several; this is what has them all

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cluster = node.cluster
        self.coordinator = Coordinator(node.cluster, node)
        self.framing = Framing()
        self.phase = opcodes.STARTUP
        self.version = node.cluster.protocol_versions[-1]
        self.events: set[str] = set()
        self.is_lost = False

    def connectionMade(self) -> None:
        if self.node.refuses:
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.node.connections.add(self)
        if self.node.is_stalled:
            self.transport.pauseProducing()

    def connectionLost(self, reason: TwistedFailure = connectionDone) -> None:
        self.is_lost = True
        self.node.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            frames = self.framing.feed(data)
        except RemoteProtocolError as fault:
            self._send(0, Error(fault.code, fault.message))
            self.transport.loseConnection()
            return
        for frame in frames:
            if self.is_lost:
                return
            self._receive(frame)

    def _receive(self, frame: Frame) -> None:
        """Checks the version, decodes, applies faults, answers."""
        objection = self._object_to(frame.version)
        if objection:
            self._send(frame.stream, Error(ErrorCode.PROTOCOL_ERROR, objection))
            self.transport.loseConnection()
            return
        self.version = self.coordinator.version = frame.version
        try:
            request = _decode(self.framing.open(frame))
        except RemoteProtocolError as fault:
            self._send(frame.stream, Error(fault.code, fault.message))
            return
        record = RequestRecord(self.node.index, frame.opcode, frame.stream, self._text(request))
        self._meet(self.cluster.faults.record(record), frame, request, record.text)

    def _object_to(self, version: int) -> str:
        """What is wrong with a request of this version, in Cassandra's words; nothing where it is welcome."""
        spoken = self.cluster.protocol_versions
        if version not in spoken:
            return (
                f"Invalid or unsupported protocol version ({version}); "
                f"the lowest supported version is {spoken[0]} and the greatest is {spoken[-1]}"
            )
        if self.framing.is_segmented and version != self.version:
            before = f"previous messages on this connection had version {self.version}/v{self.version}"
            return f"Invalid message version. Got {version}/v{version} but {before}"
        return ""

    def _text(self, request: Request) -> str:
        """The statement of a request; of an EXECUTE the one that was prepared, of a BATCH all."""
        if isinstance(request, Query | Prepare):
            return request.text
        if isinstance(request, Execute):
            return self._prepared_text(request.prepared_id)
        if isinstance(request, Batch):
            texts = [
                child.statement if isinstance(child.statement, str) else self._prepared_text(child.statement)
                for child in request.children
            ]
            return "; ".join(texts)
        return ""

    def _prepared_text(self, prepared_id: bytes) -> str:
        found = self.cluster.prepared.get(prepared_id)
        return "" if found is None else found.text

    def _meet(self, faults: list[Fault], frame: Frame, request: Request, text: str) -> None:
        """Answers a request as the faults it met want it: the first of error, drop and close counts, delays add up."""
        delay_ms = sum(fault.delay_ms for fault in faults)
        deed = next((fault for fault in faults if fault.action != "delay"), None)
        answer: Response | None = None
        tracing_id: UUID | None = None
        if deed is None or deed.executes:
            answer = self._answer(request)
            if frame.flags & TRACING and not isinstance(answer, Error) and self.phase == 0:
                tracing_id = tracing.record(self.cluster, self.node, self.transport.getPeer().host, text)
        if deed is not None and deed.action == "error":
            answer, tracing_id = deed.error, None
        elif deed is not None and deed.action == "drop":
            return
        elif deed is not None:
            self._later(delay_ms, self._cut)
            return
        if answer is not None:
            self._later(delay_ms, self._send, frame.stream, answer, tracing_id)

    def _later(self, delay_ms: float, call: Any, *arguments: Any) -> None:
        if delay_ms:
            self.cluster.reactor.callLater(delay_ms / 1000, call, *arguments)
        else:
            call(*arguments)

    def _cut(self) -> None:
        if not self.is_lost:
            self.transport.abortConnection()

    def _answer(self, request: Request) -> Response:
        """The answer to a request; an error of ours is SERVER_ERROR, so that no request stays without."""
        try:
            return self._execute(request)
        except Failure as failure:
            return failure.error
        except RemoteProtocolError as fault:
            return Error(ErrorCode.INVALID, fault.message)
        except Exception:
            _log.failure("sandbox could not execute {request}", request=request)
            return Error(ErrorCode.SERVER_ERROR, "The sandbox failed to execute this request; see its log")

    def _execute(self, request: Request) -> Response:
        if isinstance(request, Options):
            return self._supported()
        self._check_phase(request)
        if isinstance(request, Startup):
            return self._start_up(request)
        if isinstance(request, AuthResponse):
            return self._authenticate(request)
        if isinstance(request, Register):
            return self._register(request)
        if isinstance(request, Query):
            return self.coordinator.query(request)
        if isinstance(request, Prepare):
            return self.coordinator.prepare(request)
        if isinstance(request, Execute):
            return self.coordinator.execute(request)
        return self.coordinator.batch(request)

    def _check_phase(self, request: Request) -> None:
        name = opcodes.opcode_name(request.opcode)
        if self.phase == opcodes.STARTUP and not isinstance(request, Startup):
            raise protocol_error(f"Unexpected message {name}, expecting STARTUP or OPTIONS")
        if self.phase == opcodes.AUTH_RESPONSE and not isinstance(request, AuthResponse):
            raise protocol_error(f"Unexpected message {name}, expecting SASL_RESPONSE")
        if self.phase == 0 and isinstance(request, Startup | AuthResponse):
            raise protocol_error(f"Unexpected message {name}, connection is already initialised")

    def _supported(self) -> Supported:
        return Supported(
            {
                "PROTOCOL_VERSIONS": [f"{version}/v{version}" for version in self.cluster.protocol_versions],
                "COMPRESSION": list(self.cluster.compression),
                "CQL_VERSION": [self.cluster.cql_version],
            }
        )

    def _start_up(self, request: Startup) -> Response:
        if "CQL_VERSION" not in request.options:
            raise protocol_error("Missing value CQL_VERSION in STARTUP message")
        try:
            self.framing.algorithm = agreed_algorithm(request.options, self.version, self.cluster.compression)
        except RemoteProtocolError as fault:
            raise protocol_error(fault.message) from fault
        if self.cluster.credentials is not None:
            self.phase = opcodes.AUTH_RESPONSE
            return Authenticate(AUTHENTICATOR)
        self.phase = 0
        return Ready()

    def _authenticate(self, request: AuthResponse) -> Response:
        """SASL PLAIN: authorisation id, user and password with zero bytes between."""
        parts = (request.token or b"").split(b"\x00")
        wanted = self.cluster.credentials
        if len(parts) != 3 or wanted is None:
            return Error(ErrorCode.AUTHENTICATION_ERROR, "Password must not be null")
        user, password = parts[1].decode("utf-8", "replace"), parts[2].decode("utf-8", "replace")
        if (user, password) != (wanted.user, wanted.password):
            return Error(ErrorCode.AUTHENTICATION_ERROR, f"Provided username {user} and/or password are incorrect")
        self.phase = 0
        return AuthSuccess(None)

    def _register(self, request: Register) -> Response:
        for event_type in request.event_types:
            if event_type not in _EVENTS:
                raise protocol_error(f"Invalid value '{event_type}' for Type")
            self.events.add(event_type)
        return Ready()

    def _send(self, stream: int, response: Response, tracing_id: UUID | None = None) -> None:
        if self.is_lost:
            return
        flags, head = encode_envelope(Envelope(tracing_id, [], {}), is_response=True)
        body = head + response.encode(self.version)
        self.transport.write(self.framing.encode(self.version, stream, response.opcode, body, flags))

    def send_event(self, event_type: str, event: Event) -> None:
        """Sends an event if this connection registered for its type; events have stream -1."""
        if event_type in self.events:
            self._send(-1, event)


def _decode(frame: Frame) -> Request:
    if frame.is_response:
        raise RemoteProtocolError("Wrong protocol direction: expected a request")
    return decode_request(
        frame.opcode, frame.version, frame.body, body_start(frame.body, 0, frame.flags, is_response=False)
    )


class _Connections(Factory):
    noisy = False

    def __init__(self, node: Node) -> None:
        self.node = node

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        return Connection(self.node)


class Node:
    """A node of a cluster, at one address; it may be stopped and started again, and keeps its host id.

    `refuses` makes it accept connections and close them at once; `is_stalled` makes it read nothing more.
    """

    def __init__(self, cluster: SandboxCluster, index: int, host: str, port: int, host_id: UUID) -> None:
        self.cluster = cluster
        self.index = index
        self.host = host
        self.port = port
        self.host_id = host_id
        self.connections: set[Connection] = set()
        self.is_stalled = False
        self.refuses = False
        self._listening: Any = None

    @property
    def is_up(self) -> bool:
        return self._listening is not None

    def start(self) -> Deferred[Any]:
        """Listens (again), without refusing or stalling; fires when the port is open."""
        self.refuses = False
        self.resume()
        if self._listening is not None:
            return succeed(None)
        opened: Deferred[Any]
        if self.cluster.tls is not None:
            opened = listen_with_tls(_Connections(self), self.host, self.port, _LISTEN_BACKLOG, self.cluster.tls)
        else:
            endpoint = TCP4ServerEndpoint(self.cluster.reactor, self.port, _LISTEN_BACKLOG, self.host)
            opened = endpoint.listen(_Connections(self))
        return opened.addCallback(self._opened)

    def _opened(self, listening: Any) -> None:
        self._listening = listening
        self.port = listening.getHost().port
        self.cluster.node_changed(self)

    def stop(self) -> Deferred[Any]:
        """Closes the port and cuts all connections; fires when the port is closed."""
        listening, self._listening = self._listening, None
        self.cut()
        if listening is None:
            return succeed(None)
        self.cluster.node_changed(self)
        return maybeDeferred(listening.stopListening)

    def cut(self) -> None:
        """Ends all connections without a word; new ones are accepted."""
        for connection in list(self.connections):
            connection._cut()

    def refuse(self) -> None:
        """From now on, until `start`, accepts connections and closes them at once. Old ones are cut."""
        self.refuses = True
        self.cut()

    def stall(self) -> None:
        """Stops reading on all connections, present and to come: requests vanish, the port looks alive."""
        self.is_stalled = True
        for connection in self.connections:
            connection.transport.pauseProducing()

    def resume(self) -> None:
        """Reads again; what came meanwhile is answered."""
        if self.is_stalled:
            self.is_stalled = False
            for connection in list(self.connections):
                connection.transport.resumeProducing()

    def send_event(self, event_type: str, event: Event) -> None:
        for connection in list(self.connections):
            connection.send_event(event_type, event)
