"""Clients that are slow, many or huge: each gets a clear answer or a closed connection, and nobody else is harmed.

Without sockets; the time is the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from tests.admin.caller import Answer, FakeSwitch, Proxy
from tests.admin.test_server import Endpoint
from zdm.admin.app import AdminApp
from zdm.admin.change import BODY_LIMIT
from zdm.admin.channel import REQUEST_WITHIN_S
from zdm.admin.server import MAX_CONNECTIONS, AdminServer

PROBE = b"GET /health/liveness HTTP/1.1\r\nHost: p\r\n\r\n"
DISABLE = b"POST /api/v1/target/disable HTTP/1.1\r\nHost: p\r\n"
IDLE_S = 60


class Client(StringTransport):
    """A connection to the server in memory; `reads` is False where the client takes nothing."""

    def __init__(self, factory: Any, reads: bool = True) -> None:
        super().__init__()
        self.reads = reads
        self.attached = factory.buildProtocol(None)
        if self.attached is not None:
            self.attached.makeConnection(self)

    def send(self, data: bytes) -> Client:
        self.attached.dataReceived(data)
        return self

    @property
    def is_closed(self) -> bool:
        return self.attached is None or self.disconnected

    def answer(self) -> Answer:
        return Answer(self.value())

    def loseConnection(self) -> None:
        if self.producer is None and self.reads:
            self._lost()

    def abortConnection(self) -> None:
        self._lost()

    def _lost(self) -> None:
        if not self.disconnected:
            self.disconnected = True
            self.attached.connectionLost(Failure(ConnectionDone()))


class World:
    """A server that listens in memory, with its proxy and its clock."""

    def __init__(self) -> None:
        self.clock, self.endpoint, self.switch = Clock(), Endpoint(), FakeSwitch()
        self.numbers: Deferred[str] = Deferred()
        resource = AdminApp(Proxy(self.numbers, target=self.switch), True).resource()
        self.server = AdminServer(resource, "127.0.40.3", 14001, self.clock, self.endpoint)
        self.started: list[IListeningPort | None] = []
        self.server.start().addCallback(self.started.append)

    def client(self, reads: bool = True) -> Client:
        return Client(self.endpoint.factory, reads)

    def probe(self) -> int:
        return self.client().send(PROBE).answer().code


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def logged(world: World) -> Iterator[list[str]]:
    """What is logged once the server has started."""
    lines: list[str] = []

    def write_down(event: Any) -> None:
        lines.append(formatEvent(event))

    observer: Any = write_down
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


HALVES = {
    "the request line": b"POST /api/v1/tar",
    "headers": DISABLE + b"Content-Le",
    "a body": DISABLE + b"Content-Length: 100\r\n\r\nreason=x",
    "chunks": DISABLE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nrea",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES.keys())
def test_a_request_that_stops_half_way_is_answered_408_and_closed(world: World, half: bytes, logged: list[str]) -> None:
    """It harms nobody meanwhile, changes nothing, and leaves no line in the log."""
    slow = world.client().send(half)
    world.clock.advance(REQUEST_WITHIN_S - 0.1)
    assert not slow.is_closed and slow.value() == b"" and world.probe() == 200
    world.clock.advance(0.1)
    assert slow.is_closed
    answer = slow.answer()
    assert (answer.code, answer.body, answer.headers["connection"]) == (408, b"request timeout\n", "close")
    assert (world.switch.calls, logged) == ([], [])


def test_a_request_that_trickles_is_cut_off_all_the_same(world: World) -> None:
    """A byte now and then would otherwise keep the connection for ever."""
    slow = world.client()
    for number in range(REQUEST_WITHIN_S):
        slow.send(PROBE[number : number + 1])
        world.clock.advance(1)
    assert slow.is_closed and slow.answer().code == 408


def test_a_connection_between_two_requests_is_not_a_slow_one(world: World, logged: list[str]) -> None:
    """Prometheus keeps its connection between scrapes; after a minute it is closed, quietly."""
    client = world.client()
    for _ in range(3):
        client.send(PROBE)
        world.clock.advance(IDLE_S - 1)
        assert not client.is_closed and client.answer().code == 200
    world.clock.advance(1)
    assert client.is_closed and b"408" not in client.value()
    assert logged == []


def test_a_second_request_has_its_own_time(world: World) -> None:
    client = world.client().send(PROBE)
    world.clock.advance(REQUEST_WITHIN_S - 1)
    client.clear()
    client.send(PROBE[:10])
    world.clock.advance(REQUEST_WITHIN_S - 1)
    client.send(PROBE[10:])
    assert client.answer().code == 200


def test_an_answer_may_take_longer_than_a_request(world: World) -> None:
    """With many workers the numbers may be slow to come, and that is not the client's fault."""
    client = world.client().send(b"GET /metrics HTTP/1.1\r\nHost: p\r\n\r\n")
    world.clock.advance(10 * REQUEST_WITHIN_S)
    assert not client.is_closed
    world.numbers.callback("late\n")
    assert client.answer().body.endswith(b"late\n")


@pytest.mark.parametrize("sent", [PROBE[:10], PROBE])
def test_a_client_that_takes_no_bytes_is_cut_off_in_the_end(world: World, sent: bytes, logged: list[str]) -> None:
    """A close that waits for such a client would wait for ever."""
    client = world.client(reads=False).send(sent)
    world.clock.advance(IDLE_S)
    assert not client.is_closed
    world.clock.advance(IDLE_S)
    assert client.is_closed and logged == []


def test_nothing_is_left_in_the_clock_by_a_client_that_went_away(world: World) -> None:
    """Timers of dead connections would keep them in memory."""
    before = len(world.clock.getDelayedCalls())
    world.client().send(PROBE[:10]).abortConnection()
    assert len(world.clock.getDelayedCalls()) == before


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_huge_body_is_a_413_and_is_not_kept(world: World, is_chunked: bool) -> None:
    """The answer comes when the body is over, as clients that read only then need it; what is too much is dropped."""
    block, blocks = b"x" * 0x10000, 100
    length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % (blocks * len(block))
    client = world.client().send(DISABLE + length + b"\r\n\r\n")
    (request,) = client.attached.wrappedProtocol.requests
    for number in range(1, blocks + 1):
        client.send(b"10000\r\n" + block + b"\r\n" if is_chunked else block)
        assert number == blocks or len(request.content.getvalue()) <= BODY_LIMIT + 1
    if is_chunked:
        client.send(b"0\r\n\r\n")
    assert (client.answer().code, world.switch.calls) == (413, [])
    client.clear()
    assert client.send(PROBE).answer().code == 200


def test_a_huge_body_does_not_keep_others_from_their_answer(world: World) -> None:
    """The reference ignores bodies, so probes that send one are answered."""
    body = b"x" * (BODY_LIMIT + 5)
    client = world.client()
    client.send(b"POST /health/liveness HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert client.answer().code == 200


def test_a_form_with_files_is_refused_before_it_is_taken_apart(world: World) -> None:
    """A parser of those would be one more thing to feed with rubbish."""
    head = DISABLE + b"Content-Type: multipart/form-data\r\nContent-Length: 5\r\n\r\n"
    answer = world.client().send(head + b"--x\r\n").answer()
    assert answer.code == 400 and "neither a form nor JSON" in answer.json()["message"]


def test_a_probe_gets_through_however_many_connections_are_idle(world: World) -> None:
    """The oldest gives way, so that nobody can lock out probes and operators by just connecting."""
    idle = [world.client() for _ in range(MAX_CONNECTIONS)]
    assert not any(client.is_closed for client in idle)
    assert world.probe() == 200
    assert [client.is_closed for client in idle] == [True] + [False] * (MAX_CONNECTIONS - 1)


def test_requests_that_are_being_answered_do_not_give_way(world: World) -> None:
    """Their number is bounded instead: one too many is closed without a byte."""
    asking = [world.client().send(b"GET /metrics HTTP/1.1\r\nHost: p\r\n\r\n") for _ in range(MAX_CONNECTIONS)]
    assert world.client().is_closed
    world.numbers.callback("numbers\n")
    assert [client.answer().code for client in asking[:1]] == [200] and all(client.value() for client in asking)
    assert world.probe() == 200


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /api/v1/target/disable?reason=café HTTP/1.1".encode(),
        b"POST /api/v1/target/disable?reason=out of disk HTTP/1.1",
    ],
)
def test_a_request_that_is_no_http_is_told_how_to_send_a_reason(request_line: bytes) -> None:
    """An answer without text looks like done to who calls with `curl -s`, and the sick target stays in the path."""
    world = World()
    client = world.client().send(request_line + b"\r\nHost: p\r\nContent-Length: 0\r\n\r\n")
    answer = client.answer()
    assert answer.code == 400 and b"nothing was done" in answer.body and b"--data-urlencode" in answer.body
    assert world.switch.calls == [] and client.is_closed
