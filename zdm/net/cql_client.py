"""One connection on which the proxy itself is the driver.

Used by the control connections, by the configuration check and for preparing a statement in another keyspace; never on
the data path. The proxy's own connections use no compression and CQL_VERSION 3.0.0, as the reference does (spec 7.1),
and authenticate with SASL PLAIN, with the extra step that DSE wants (spec 3.3).

A cluster's ERROR is a value where `send` is used and `Refused` everywhere else. A request that is not answered in time
ends the connection: nothing here lives long enough to make up for a lost answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from zdm.core.credentials import DSE_AUTHENTICATOR, PLAIN, PLAIN_START, Credentials
from zdm.net.given import Given
from zdm.protocol import opcodes
from zdm.protocol.consistency import Consistency
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode, decode_error
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, CONTROL_VERSIONS, TRACING, Frame, FrameReader, encode_frame
from zdm.protocol.requests import AuthResponse, Options, Prepare, Query, QueryParameters, Register, Request, Startup
from zdm.protocol.responses import (
    AuthChallenge,
    Authenticate,
    AuthSuccess,
    Prepared,
    Ready,
    Response,
    Rows,
    Supported,
    decode_response,
)

STARTUP_OPTIONS: Final = {"CQL_VERSION": "3.0.0"}
REQUEST_TIMEOUT: Final = 10.0
"""Seconds that a cluster may take to answer (spec 7.1)."""

_STREAMS: Final = 32768
_AUTHENTICATION_STEPS: Final = 6
_REFUSED_VERSION_TEXT: Final = "unsupported protocol version"  # Cassandra 2.x says it in a SERVER_ERROR
_CLOSED_BY_PEER: Final = (ConnectionDone, ConnectionLost, ConnectionAborted)

_Answer = TypeVar("_Answer")

EventListener = Callable[[Response], None]


class CqlError(Exception):
    """Why a connection or a request did not work out; the text is meant for the operator."""


class ConnectionClosed(CqlError):
    """The connection ended. `is_by_peer` is False where our own side ended it, or TLS failed."""

    def __init__(self, message: str, is_by_peer: bool = False) -> None:
        super().__init__(message)
        self.is_by_peer: Final = is_by_peer


class ConnectTimedOut(CqlError):
    """No connection came about in time."""


class RequestTimedOut(CqlError):
    """No answer in time; the connection has been closed."""


class VersionRefused(CqlError):
    """The cluster does not speak `version`: it said so, or closed the connection instead of answering (FIX-24)."""

    def __init__(self, message: str, version: int) -> None:
        super().__init__(message)
        self.version: Final = version


class AuthenticationFailed(CqlError):
    """The cluster does not accept the credentials, or asks for some where none are configured."""


class Refused(CqlError):
    """The cluster answered with an ERROR."""

    def __init__(self, error: Error) -> None:
        super().__init__(f"{error.message} (error code 0x{error.code:04X})")
        self.error: Final = error


class UnexpectedAnswer(CqlError):
    """The cluster answered something that does not belong to the request, or bytes that have no meaning."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to connect. `versions` are tried in this order, each on a connection of its own; timeouts in seconds."""

    credentials: Credentials | None = None
    versions: tuple[int, ...] = CONTROL_VERSIONS[::-1]
    connect_timeout: float = 30.0
    request_timeout: float = REQUEST_TIMEOUT


class _Waiting(NamedTuple):
    answer: Deferred[Response]
    timeout: IDelayedCall


class CqlClient(Protocol):
    """A connection in one protocol version. Made by `connect`, ended by `close` or by the peer.

    After `handshake`, `supported` holds the SUPPORTED options and `auth_required` whether the cluster asked for
    credentials. `on_event` gets each EVENT, `on_lost` is called once when the connection has ended.
    """

    transport: ITCPTransport | None

    def __init__(self, version: int, clock: IReactorTime, request_timeout: float = REQUEST_TIMEOUT) -> None:
        self.version: Final = version
        self.supported: dict[str, list[str]] = {}
        self.auth_required = False
        self.on_event: EventListener | None = None
        self.on_lost: Callable[[ConnectionClosed], None] | None = None
        self._clock: Final = clock
        self._request_timeout: Final = request_timeout
        self._reader: Final = FrameReader()
        self._waiting: Final[dict[int, _Waiting]] = {}
        self._last_stream = -1
        self._closed: ConnectionClosed | None = None

    @property
    def is_open(self) -> bool:
        """False once the connection has ended."""
        return self._closed is None

    # What the connection is used for

    async def handshake(self, credentials: Credentials | None) -> None:
        """OPTIONS, STARTUP and authentication.

        Raises VersionRefused, AuthenticationFailed, and the other CqlErrors.
        """
        self.supported = _expected(Supported, await self._introduce(Options())).options
        answer = await self._introduce(Startup(STARTUP_OPTIONS))
        if isinstance(answer, Authenticate):
            self.auth_required = True
            await self._authenticate(answer.authenticator, credentials)
        else:
            _expected(Ready, answer)

    async def register(self, event_types: list[str]) -> None:
        """Asks for events ("TOPOLOGY_CHANGE", "STATUS_CHANGE", "SCHEMA_CHANGE")."""
        _expected(Ready, await self.request(Register(event_types)))

    def query(self, text: str, consistency: int = Consistency.ONE) -> Deferred[Response]:
        """The RESULT of a statement without values, whatever its kind."""
        return Deferred.fromCoroutine(self.request(Query(text, QueryParameters(consistency=consistency))))

    async def rows(self, text: str, consistency: int = Consistency.ONE) -> Rows:
        """The rows of a SELECT, all in one page."""
        return _expected(Rows, await self.query(text, consistency))

    async def prepare(self, text: str) -> Prepared:
        """The PREPARED answer, in the keyspace that the connection is in (`query('USE "ks"')` before)."""
        return _expected(Prepared, await self.request(Prepare(text)))

    async def request(self, request: Request) -> Response:
        """The answer to a request. Raises Refused where it is an ERROR, and what `send` fails with."""
        answer = await self.send(request)
        if isinstance(answer, Error):
            raise Refused(answer)
        return answer

    def send(self, request: Request) -> Deferred[Response]:
        """Fires with the answer, ERROR included; fails with ConnectionClosed, RequestTimedOut or UnexpectedAnswer."""
        if self._closed is not None:
            return fail(self._closed)
        assert self.transport is not None, "asked before it was connected"
        stream = self._free_stream()
        answer: Deferred[Response] = Deferred()
        self._waiting[stream] = _Waiting(
            answer, self._clock.callLater(self._request_timeout, self._expire, stream, request.opcode)
        )
        self.transport.write(encode_frame(self.version, stream, request.opcode, request.encode(self.version)))
        return answer

    def close(self, reason: str = "the connection was closed by the proxy") -> None:
        """Ends the connection; requests under way fail with ConnectionClosed. Harmless when repeated."""
        self._end(ConnectionClosed(reason))

    # What Twisted calls

    def connectionMade(self) -> None:
        if self._closed is not None and self.transport is not None:  # given up while it was being opened
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except RemoteProtocolError as broken:
            self._end(ConnectionClosed(f"the cluster broke the protocol: {broken.message}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_by_peer = isinstance(reason.value, _CLOSED_BY_PEER)
        self._settle_all(ConnectionClosed(f"the connection ended: {reason.getErrorMessage()}", is_by_peer))

    # The handshake's steps

    async def _introduce(self, request: Request) -> Response:
        """The answer to OPTIONS or STARTUP, which is where a cluster refuses a version."""
        try:
            answer = await self.send(request)
        except ConnectionClosed as closed:
            if closed.is_by_peer:
                raise VersionRefused(f"version {self.version} was not answered: {closed}", self.version) from closed
            raise
        if not isinstance(answer, Error):
            return answer
        if answer.code == ErrorCode.PROTOCOL_ERROR or _REFUSED_VERSION_TEXT in answer.message.lower():
            raise VersionRefused(answer.message, self.version)
        if answer.code == ErrorCode.AUTHENTICATION_ERROR:
            raise AuthenticationFailed(answer.message)
        raise Refused(answer)

    async def _authenticate(self, authenticator: str, credentials: Credentials | None) -> None:
        if credentials is None:
            raise AuthenticationFailed(f"the cluster asks for credentials ({authenticator}), but none are configured")
        token = PLAIN if authenticator == DSE_AUTHENTICATOR else credentials.token()
        for _ in range(_AUTHENTICATION_STEPS):
            answer = await self.send(AuthResponse(token))
            if isinstance(answer, AuthSuccess):
                return
            if isinstance(answer, Error):
                raise AuthenticationFailed(answer.message)
            if _expected(AuthChallenge, answer).token != PLAIN_START:
                raise AuthenticationFailed(f"{authenticator} sent a challenge that is not {PLAIN_START.decode()}")
            token = credentials.token()
        raise AuthenticationFailed(f"{authenticator} was not content after {_AUTHENTICATION_STEPS} answers")

    # Streams

    def _free_stream(self) -> int:
        self._last_stream = next(
            stream for step in range(1, _STREAMS + 1)
            if (stream := (self._last_stream + step) % _STREAMS) not in self._waiting
        )  # fmt: skip
        return self._last_stream

    def _take(self, frame: Frame) -> None:
        if not frame.is_response:
            raise RemoteProtocolError("a request came from the cluster")
        if frame.opcode == opcodes.EVENT:
            self._take_event(frame)
            return
        waiting = self._waiting.pop(frame.stream, None)
        if waiting is None:
            return
        waiting.timeout.cancel()
        try:
            answer = self._decode(frame)
        except RemoteProtocolError as broken:
            waiting.answer.errback(UnexpectedAnswer(f"the cluster's answer cannot be read: {broken.message}"))
        else:
            waiting.answer.callback(answer)

    def _take_event(self, frame: Frame) -> None:
        if self.on_event is None:
            return
        try:
            event = self._decode(frame)
        except RemoteProtocolError:
            return  # a kind of event that is younger than this program
        self.on_event(event)

    def _decode(self, frame: Frame) -> Response:
        """The answer's meaning. A refused version is answered in a version of the cluster's choice (spec 2.3)."""
        if frame.flags & COMPRESSED:
            raise RemoteProtocolError("it is compressed, which was not asked for")
        flags = frame.flags & TRACING if self.version < 4 else frame.flags
        start = body_start(frame.body, 0, flags, True)
        if frame.opcode == opcodes.ERROR:
            return decode_error(self.version, frame.body, start)
        if frame.version != self.version:
            raise RemoteProtocolError(f"it has version {frame.version} instead of {self.version}")
        return decode_response(frame.opcode, self.version, frame.body, start)

    # The end

    def _expire(self, stream: int, opcode: int) -> None:
        name = opcodes.opcode_name(opcode)
        waiting = self._waiting.pop(stream)
        self._end(ConnectionClosed(f"the connection was closed because {name} was not answered"))
        waiting.answer.errback(RequestTimedOut(f"{name} was not answered within {self._request_timeout:g} s"))

    def _end(self, closed: ConnectionClosed) -> None:
        if self._closed is None:
            self._settle_all(closed)
            if self.transport is not None:
                self.transport.abortConnection()

    def _settle_all(self, closed: ConnectionClosed) -> None:
        if self._closed is not None:
            return
        self._closed = closed
        waiting, on_lost = list(self._waiting.values()), self.on_lost
        self._waiting.clear()
        for unanswered in waiting:
            unanswered.timeout.cancel()
            unanswered.answer.errback(closed)
        if on_lost is not None:
            on_lost(closed)


def _expected(kind: type[_Answer], answer: Response) -> _Answer:
    if isinstance(answer, kind):
        return answer
    raise UnexpectedAnswer(f"the cluster answered {type(answer).__name__} instead of {kind.__name__}")


async def connect(endpoint: IStreamClientEndpoint, settings: ClientSettings, clock: IReactorTime) -> CqlClient:
    """A connection after its handshake, in the first of `settings.versions` that the cluster speaks.

    Raises a CqlError, or what the endpoint fails with (`twisted.internet.error.ConnectError` and the like).
    """
    if not settings.versions:
        raise CqlError("there is no protocol version to try")
    refused: VersionRefused | None = None
    for version in settings.versions:
        try:
            return await _connect(endpoint, version, settings, clock)
        except VersionRefused as refusal:
            refused = refusal
    tried = ", ".join(map(str, settings.versions))
    assert refused is not None
    raise VersionRefused(f"no protocol version in common (tried {tried}): {refused}", refused.version) from refused


async def _connect(
    endpoint: IStreamClientEndpoint, version: int, settings: ClientSettings, clock: IReactorTime
) -> CqlClient:
    client = CqlClient(version, clock, settings.request_timeout)
    attached: Deferred[IProtocol] = endpoint.connect(Given(client))
    attached.addTimeout(settings.connect_timeout, clock)
    is_usable = False
    try:
        await attached
        await client.handshake(settings.credentials)
        is_usable = True
    except DeferredTimeout as slow:
        raise ConnectTimedOut(f"no connection within {settings.connect_timeout:g} s") from slow
    finally:
        if not is_usable:
            client.close()
    return client
