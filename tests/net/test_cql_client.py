"""The proxy as a driver, against a peer that the test plays byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.system_rows import local_row, local_rows
from zdm.core.credentials import Credentials
from zdm.net.cql_client import (
    AuthenticationFailed,
    ClientSettings,
    ConnectionClosed,
    ConnectTimedOut,
    CqlClient,
    CqlError,
    Refused,
    RequestTimedOut,
    UnexpectedAnswer,
    VersionRefused,
    connect,
)
from zdm.protocol import opcodes
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.frames import RESPONSE_BIT, Frame, FrameReader, encode_frame
from zdm.protocol.metadata import BindMetadata, RowsMetadata
from zdm.protocol.requests import AuthResponse, Options, Prepare, Query, Register, Request, Startup, decode_request
from zdm.protocol.responses import (
    AuthChallenge,
    Authenticate,
    AuthSuccess,
    Prepared,
    Ready,
    Response,
    SetKeyspace,
    StatusChangeEvent,
    Supported,
    TopologyChangeEvent,
    Void,
)

SUPPORTED = Supported({"CQL_VERSION": ["3.4.6"]})
USER = Credentials("cassandra", "secret")
DSE = "com.datastax.bdp.cassandra.auth.DseAuthenticator"
PASSWORD = "org.apache.cassandra.auth.PasswordAuthenticator"


class Wire(StringTransport):
    """A transport that keeps its writes apart, and tells the client of its end as a socket does."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.client: CqlClient | None = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abortConnection(self) -> None:
        self.end(ConnectionLost())

    def end(self, reason: Exception) -> None:
        if self.connected:
            self.connected = False
            assert self.client is not None
            self.client.connectionLost(Failure(reason))


class Peer:
    """The other end of one connection: what it was asked, and the answers it gives."""

    def __init__(self, client: CqlClient) -> None:
        self.client = client
        self.wire = Wire()
        self.wire.client = client
        self._reader = FrameReader()
        client.makeConnection(self.wire)

    def asked(self) -> list[tuple[Frame, Request]]:
        """The requests since the last call. One write is one frame, or this fails."""
        writes, self.wire.writes = self.wire.writes, []
        frames = []
        for write in writes:
            (frame,) = self._reader.feed(write)
            frames.append((frame, decode_request(frame.opcode, frame.version, frame.body)))
        return frames

    def expect(self, kind: type[Request]) -> Any:
        """The one request that came, which is of this kind."""
        ((self.frame, request),) = self.asked()
        assert type(request) is kind
        return request

    def answer(self, response: Response, version: int | None = None, flags: int = 0, before: bytes = b"") -> None:
        """Answers the request that `expect` gave."""
        spoken = self.client.version if version is None else version
        body = before + response.encode(self.client.version)
        header = spoken | RESPONSE_BIT
        self.client.dataReceived(encode_frame(header, self.frame.stream, response.opcode, body, flags))

    def event(self, response: Response) -> None:
        body = response.encode(self.client.version)
        self.client.dataReceived(encode_frame(self.client.version | RESPONSE_BIT, -1, opcodes.EVENT, body))

    def close(self, reason: Exception | None = None) -> None:
        self.wire.end(reason or ConnectionDone())


@implementer(IStreamClientEndpoint)
class Dialled:
    """An endpoint whose connections the test answers; `refuse` makes it fail, `is_silent` never answer."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.refuse: Exception | None = None
        self.is_silent = False

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        attached: Deferred[Any] = Deferred()
        if self.refuse is not None:
            attached.errback(self.refuse)
        elif not self.is_silent:
            client = factory.buildProtocol(IPv4Address("TCP", "127.0.40.1", 9042))
            assert isinstance(client, CqlClient)
            self.peers.append(Peer(client))
            attached.callback(client)
        return attached

    @property
    def peer(self) -> Peer:
        return self.peers[-1]


class Outcome:
    """What became of a Deferred."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        deferred.addCallbacks(self._succeeded, self._failed)

    def _succeeded(self, value: Any) -> None:
        self.value = value

    def _failed(self, failure: Failure) -> None:
        self.error = failure.value


def run(coroutine: Any) -> Outcome:
    return Outcome(Deferred.fromCoroutine(coroutine))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dialled() -> Dialled:
    return Dialled()


@pytest.fixture
def peer(clock: Clock) -> Peer:
    """A connection without a handshake."""
    return Peer(CqlClient(4, clock))


def connecting(dialled: Dialled, clock: Clock, credentials: Credentials | None = USER, **settings: Any) -> Outcome:
    return run(connect(dialled, ClientSettings(credentials, **settings), clock))


class TestHandshake:
    def test_options_then_startup_then_ready(self, dialled: Dialled, clock: Clock) -> None:
        """OPTIONS first, because its answer is what clients will be told; never compressed."""
        outcome = connecting(dialled, clock)
        dialled.peer.expect(Options)
        dialled.peer.answer(SUPPORTED)
        assert dialled.peer.expect(Startup).options == {"CQL_VERSION": "3.0.0"}
        dialled.peer.answer(Ready())
        client = outcome.value
        assert (client.version, client.supported, client.auth_required) == (4, SUPPORTED.options, False)

    def test_plain_credentials_are_sent_straight_away(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock)
        dialled.peer.expect(Options)
        dialled.peer.answer(SUPPORTED)
        dialled.peer.expect(Startup)
        dialled.peer.answer(Authenticate(PASSWORD))
        assert dialled.peer.expect(AuthResponse).token == b"\0cassandra\0secret"
        dialled.peer.answer(AuthSuccess(None))
        assert outcome.value.auth_required

    def test_dse_wants_the_mechanism_first(self, dialled: Dialled, clock: Clock) -> None:
        """Its authenticator offers several mechanisms; credentials sent at once would be refused."""
        outcome = connecting(dialled, clock)
        dialled.peer.expect(Options)
        dialled.peer.answer(SUPPORTED)
        dialled.peer.expect(Startup)
        dialled.peer.answer(Authenticate(DSE))
        assert dialled.peer.expect(AuthResponse).token == b"PLAIN"
        dialled.peer.answer(AuthChallenge(b"PLAIN-START"))
        assert dialled.peer.expect(AuthResponse).token == b"\0cassandra\0secret"
        dialled.peer.answer(AuthSuccess(None))
        assert outcome.value is dialled.peer.client

    def test_wrong_credentials_are_told_in_the_clusters_words(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock)
        authenticate(dialled.peer)
        dialled.peer.answer(Error(ErrorCode.AUTHENTICATION_ERROR, "Provided username and/or password are incorrect"))
        assert isinstance(outcome.error, AuthenticationFailed)
        assert str(outcome.error) == "Provided username and/or password are incorrect"
        assert not dialled.peer.wire.connected

    def test_without_credentials_the_operator_is_told(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock, None)
        dialled.peer.expect(Options)
        dialled.peer.answer(SUPPORTED)
        dialled.peer.expect(Startup)
        dialled.peer.answer(Authenticate(PASSWORD))
        assert isinstance(outcome.error, AuthenticationFailed)
        assert "none are configured" in str(outcome.error)

    def test_an_unknown_challenge_ends_the_attempt(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock)
        authenticate(dialled.peer)
        dialled.peer.answer(AuthChallenge(b"GSSAPI-START"))
        assert isinstance(outcome.error, AuthenticationFailed)

    def test_challenges_without_end_end(self, dialled: Dialled, clock: Clock) -> None:
        """A broken authenticator must not keep the start-up busy for ever."""
        outcome = connecting(dialled, clock)
        authenticate(dialled.peer)
        for _ in range(6):
            assert outcome.error is None
            dialled.peer.answer(AuthChallenge(b"PLAIN-START"))
            if dialled.peer.wire.writes:
                dialled.peer.expect(AuthResponse)
        assert isinstance(outcome.error, AuthenticationFailed)

    def test_an_answer_that_makes_no_sense_ends_the_attempt(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock)
        dialled.peer.expect(Options)
        dialled.peer.answer(Ready())
        assert isinstance(outcome.error, UnexpectedAnswer)
        assert str(outcome.error) == "the cluster answered Ready instead of Supported"
        assert not dialled.peer.wire.connected

    def test_any_other_error_ends_the_attempt(self, dialled: Dialled, clock: Clock) -> None:
        """A node that is starting up says so; that is no matter of versions."""
        outcome = connecting(dialled, clock)
        dialled.peer.expect(Options)
        dialled.peer.answer(Error(ErrorCode.IS_BOOTSTRAPPING, "wait"))
        assert isinstance(outcome.error, Refused)
        assert outcome.error.error == Error(ErrorCode.IS_BOOTSTRAPPING, "wait")
        assert len(dialled.peers) == 1


def authenticate(peer: Peer) -> None:
    peer.expect(Options)
    peer.answer(SUPPORTED)
    peer.expect(Startup)
    peer.answer(Authenticate(PASSWORD))
    peer.expect(AuthResponse)


class TestVersions:
    @pytest.mark.parametrize("header_version", [3, 4, 5])
    def test_a_refused_version_is_followed_by_the_next_on_a_new_connection(
        self, dialled: Dialled, clock: Clock, header_version: int
    ) -> None:
        """Clusters answer in a version of their own choice, and close afterwards."""
        outcome = connecting(dialled, clock, versions=(4, 3))
        dialled.peer.expect(Options)
        refusal = Error(ErrorCode.PROTOCOL_ERROR, "Invalid or unsupported protocol version (4)")
        dialled.peer.answer(refusal, header_version)
        assert len(dialled.peers) == 2
        assert not dialled.peers[0].wire.connected
        dialled.peer.expect(Options)
        assert dialled.peer.frame.version == 3
        dialled.peer.answer(SUPPORTED)
        dialled.peer.expect(Startup)
        dialled.peer.answer(Ready())
        assert outcome.value.version == 3

    def test_startup_may_refuse_the_version_as_well(self, dialled: Dialled, clock: Clock) -> None:
        connecting(dialled, clock, versions=(4, 3))
        dialled.peer.expect(Options)
        dialled.peer.answer(SUPPORTED)
        dialled.peer.expect(Startup)
        dialled.peer.answer(Error(ErrorCode.PROTOCOL_ERROR, "no"))
        assert len(dialled.peers) == 2

    def test_cassandra_2_says_it_in_a_server_error(self, dialled: Dialled, clock: Clock) -> None:
        connecting(dialled, clock, versions=(4, 3))
        dialled.peer.expect(Options)
        text = "io.netty.handler.codec.DecoderException: ProtocolException: Invalid or unsupported protocol version: 4"
        dialled.peer.answer(Error(ErrorCode.SERVER_ERROR, text), 3)
        assert len(dialled.peers) == 2

    @pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionLost()])
    def test_a_close_instead_of_an_answer_is_a_refusal(self, dialled: Dialled, clock: Clock, reason: Exception) -> None:
        """Some servers just hang up on a version they do not know (FIX-24)."""
        connecting(dialled, clock, versions=(4, 3))
        dialled.peer.close(reason)
        assert len(dialled.peers) == 2
        dialled.peer.expect(Options)
        assert dialled.peer.frame.version == 3

    def test_a_failed_tls_handshake_is_no_refusal(self, dialled: Dialled, clock: Clock) -> None:
        """Another version would meet the same certificate; the operator needs that reason."""
        outcome = connecting(dialled, clock, versions=(4, 3))
        dialled.peer.close(ValueError("certificate verify failed"))
        assert isinstance(outcome.error, ConnectionClosed)
        assert "certificate verify failed" in str(outcome.error)
        assert len(dialled.peers) == 1

    def test_when_all_are_refused_they_are_named(self, dialled: Dialled, clock: Clock) -> None:
        outcome = connecting(dialled, clock, versions=(4, 3))
        for _ in range(2):
            dialled.peer.expect(Options)
            dialled.peer.answer(Error(ErrorCode.PROTOCOL_ERROR, "only 2"))
        assert isinstance(outcome.error, VersionRefused)
        assert str(outcome.error) == "no protocol version in common (tried 4, 3): only 2"

    def test_no_version_to_try_is_an_error(self, dialled: Dialled, clock: Clock) -> None:
        """control_conn_max_protocol_version 2 leaves none."""
        outcome = connecting(dialled, clock, versions=())
        assert isinstance(outcome.error, CqlError)
        assert dialled.peers == []


class TestConnecting:
    def test_what_the_endpoint_fails_with_is_passed_on(self, dialled: Dialled, clock: Clock) -> None:
        dialled.refuse = ConnectionRefusedError()
        outcome = connecting(dialled, clock)
        assert isinstance(outcome.error, ConnectionRefusedError)

    def test_a_connection_that_does_not_come_about_is_given_up(self, dialled: Dialled, clock: Clock) -> None:
        dialled.is_silent = True
        outcome = connecting(dialled, clock, connect_timeout=5.0)
        clock.advance(4.9)
        assert outcome.error is None
        clock.advance(0.2)
        assert isinstance(outcome.error, ConnectTimedOut)
        assert "5 s" in str(outcome.error)

    def test_a_cancelled_attempt_leaves_no_connection(self, dialled: Dialled, clock: Clock) -> None:
        """The proxy may be stopped while it starts."""
        attempt = Deferred.fromCoroutine(connect(dialled, ClientSettings(USER), clock))
        outcome = Outcome(attempt)
        attempt.cancel()
        assert outcome.error is not None
        assert not dialled.peer.wire.connected
        assert clock.getDelayedCalls() == []

    def test_a_connection_that_comes_after_it_was_given_up_is_closed(self, clock: Clock) -> None:
        client = CqlClient(4, clock)
        client.close()
        assert not Peer(client).wire.connected


class TestRequests:
    def test_a_select_gives_its_rows(self, peer: Peer) -> None:
        outcome = run(peer.client.rows("SELECT * FROM system.local"))
        query = peer.expect(Query)
        assert (query.text, query.parameters.consistency, query.parameters.page_size) == (
            "SELECT * FROM system.local", 1, None,
        )  # fmt: skip
        peer.answer(local_rows(local_row(rack=b"r9")))
        assert outcome.value.rows[0][13] == b"r9"

    def test_a_result_without_rows_is_no_answer_to_a_select(self, peer: Peer) -> None:
        outcome = run(peer.client.rows("SELECT x FROM t"))
        peer.expect(Query)
        peer.answer(Void())
        assert isinstance(outcome.error, UnexpectedAnswer)

    def test_a_statement_may_be_prepared_in_another_keyspace(self, peer: Peer) -> None:
        """In v4 and below PREPARE takes the connection's keyspace."""
        used = Outcome(peer.client.query('USE "Ks"'))
        assert peer.expect(Query).text == 'USE "Ks"'
        peer.answer(SetKeyspace("Ks"))
        assert used.value == SetKeyspace("Ks")
        prepared = run(peer.client.prepare("SELECT v FROM t"))
        assert peer.expect(Prepare).text == "SELECT v FROM t"
        peer.answer(Prepared(b"id", BindMetadata([], []), RowsMetadata([], 0)))
        assert prepared.value.prepared_id == b"id"

    def test_an_error_is_an_exception_with_the_clusters_words(self, peer: Peer) -> None:
        outcome = Outcome(peer.client.query("USE nope"))
        peer.expect(Query)
        peer.answer(Error(ErrorCode.INVALID, "Keyspace 'nope' does not exist"))
        assert isinstance(outcome.error, Refused)
        assert str(outcome.error) == "Keyspace 'nope' does not exist (error code 0x2200)"

    def test_send_gives_an_error_as_a_value(self, peer: Peer) -> None:
        """A heartbeat takes any answer for a sign of life."""
        outcome = Outcome(peer.client.send(Options()))
        peer.expect(Options)
        peer.answer(Error(ErrorCode.SERVER_ERROR, "busy"))
        assert outcome.value == Error(ErrorCode.SERVER_ERROR, "busy")

    def test_answers_may_come_in_any_order(self, peer: Peer) -> None:
        one, two = Outcome(peer.client.query("ONE")), Outcome(peer.client.query("TWO"))
        (first, _), (second, _) = peer.asked()
        assert first.stream != second.stream
        peer.frame = second
        peer.answer(SetKeyspace("two"))
        assert (one.value, two.value) == (None, SetKeyspace("two"))
        peer.frame = first
        peer.answer(SetKeyspace("one"))
        assert one.value == SetKeyspace("one")

    def test_stream_ids_in_use_are_not_given_twice(self, peer: Peer) -> None:
        """Ids go round; one that waits for its answer is passed over."""
        waiting = Outcome(peer.client.send(Options()))
        peer.expect(Options)
        held = peer.frame
        peer.client._last_stream = 32767
        peer.client.send(Options())
        peer.expect(Options)
        assert peer.frame.stream != held.stream
        assert waiting.value is None

    @pytest.mark.parametrize("version", [3, 4])
    def test_what_precedes_the_body_is_skipped(self, clock: Clock, version: int) -> None:
        """A cluster may warn of a slow query, or trace it; in v3 the flag of warnings has no meaning."""
        peer = Peer(CqlClient(version, clock))
        outcome = Outcome(peer.client.query("x"))
        peer.expect(Query)
        if version == 4:
            peer.answer(SetKeyspace("ks"), flags=0x0A, before=bytes(16) + b"\0\1\0\4slow")
        else:
            peer.answer(SetKeyspace("ks"), flags=0x0A, before=bytes(16))
        assert outcome.value == SetKeyspace("ks")

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda peer: peer.answer(Ready(), flags=1), "compressed"),
            (lambda peer: peer.answer(Ready(), version=3), "version 3"),
            (lambda peer: peer.client.dataReceived(encode_frame(0x84, peer.frame.stream, 8, b"\0")), "cannot be read"),
        ],
    )
    def test_an_answer_that_cannot_be_read_fails_its_request(
        self, peer: Peer, change: Callable[[Peer], None], text: str
    ) -> None:
        """The framing still holds, so the connection does too."""
        outcome = Outcome(peer.client.query("x"))
        peer.expect(Query)
        change(peer)
        assert isinstance(outcome.error, UnexpectedAnswer)
        assert text in str(outcome.error)
        assert peer.client.is_open

    def test_an_answer_to_nothing_is_ignored(self, peer: Peer) -> None:
        peer.client.dataReceived(encode_frame(0x84, 99, opcodes.READY))
        assert peer.client.is_open

    @pytest.mark.parametrize("data", [encode_frame(0x04, 0, opcodes.OPTIONS), b"\x84\0\0\0\x08\xff\xff\xff\xff"])
    def test_broken_framing_ends_the_connection(self, peer: Peer, data: bytes) -> None:
        """A request from a cluster, or a body of 4 GiB: whoever is there does not speak CQL."""
        outcome = Outcome(peer.client.query("x"))
        peer.client.dataReceived(data)
        assert isinstance(outcome.error, ConnectionClosed)
        assert not peer.wire.connected

    def test_answers_cut_anywhere_are_read(self, peer: Peer) -> None:
        outcome = Outcome(peer.client.query("x"))
        peer.expect(Query)
        answer = encode_frame(0x84, peer.frame.stream, opcodes.RESULT, SetKeyspace("ks").encode(4))
        for position in range(len(answer)):
            peer.client.dataReceived(answer[position : position + 1])
        assert outcome.value == SetKeyspace("ks")


class TestEnd:
    def test_no_answer_in_time_ends_the_connection(self, peer: Peer, clock: Clock) -> None:
        """The late answer could belong to a new request; nothing here lives long enough to wait for it."""
        first, second = Outcome(peer.client.query("x")), Outcome(peer.client.send(Options()))
        clock.advance(9.9)
        assert first.error is None
        clock.advance(0.2)
        assert isinstance(first.error, RequestTimedOut)
        assert str(first.error) == "QUERY was not answered within 10 s"
        assert second.error is not None
        assert not peer.wire.connected

    def test_an_answer_in_time_leaves_no_timer(self, peer: Peer, clock: Clock) -> None:
        Outcome(peer.client.send(Options()))
        peer.expect(Options)
        peer.answer(SUPPORTED)
        assert clock.getDelayedCalls() == []

    @pytest.mark.parametrize("by_peer", [True, False])
    def test_all_requests_under_way_fail_when_it_ends(self, peer: Peer, clock: Clock, by_peer: bool) -> None:
        outcomes = [Outcome(peer.client.send(Options())) for _ in range(3)]
        lost: list[ConnectionClosed] = []
        peer.client.on_lost = lost.append
        if by_peer:
            peer.close()
        else:
            peer.client.close("enough")
            peer.client.close("again")
        assert [type(outcome.error) for outcome in outcomes] == [ConnectionClosed] * 3
        assert len(lost) == 1
        assert lost[0].is_by_peer is by_peer
        assert clock.getDelayedCalls() == []

    def test_a_request_after_the_end_fails_at_once(self, peer: Peer) -> None:
        peer.close()
        assert isinstance(Outcome(peer.client.send(Options())).error, ConnectionClosed)


class TestEvents:
    def test_asked_for_events_are_passed_on(self, peer: Peer) -> None:
        seen: list[Response] = []
        peer.client.on_event = seen.append
        outcome = run(peer.client.register(["TOPOLOGY_CHANGE"]))
        assert peer.expect(Register).event_types == ["TOPOLOGY_CHANGE"]
        peer.answer(Ready())
        assert outcome.error is None
        event = TopologyChangeEvent("NEW_NODE", "127.0.40.2", 9042)
        peer.event(event)
        assert seen == [event]

    def test_without_a_listener_they_are_dropped(self, peer: Peer) -> None:
        peer.event(StatusChangeEvent("UP", "127.0.40.2", 9042))
        assert peer.client.is_open

    def test_an_unknown_kind_of_event_is_ignored(self, peer: Peer) -> None:
        """A younger cluster may have more kinds."""
        seen: list[Response] = []
        peer.client.on_event = seen.append
        peer.client.dataReceived(encode_frame(0x84, -1, opcodes.EVENT, b"\0\4NEWS"))
        assert seen == [] and peer.client.is_open
