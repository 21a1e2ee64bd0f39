"""The life of the HTTP server: its log lines, a port that is taken, requests under way at the end.

Most of it without a reactor; once on real sockets, where another process runs this file's `serve`.
"""

from __future__ import annotations

import errno
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.admin.caller import FakeSwitch
from zdm.admin.app import AdminApp
from zdm.admin.health import Health
from zdm.admin.server import AdminServer

HOST = "127.0.50.3"

# Klein imports the reactor, so it is installed before this file is read.
PROGRAM = """
import runpy, sys
from zdm.net.endpoints import install_reactor
install_reactor()
runpy.run_path(sys.argv[1])["serve"]()
"""


class Proxy:
    """Answers `/metrics` when the test says so."""

    def __init__(self) -> None:
        self.text: Deferred[str | None] = Deferred()
        self.target = FakeSwitch()

    def metrics_text(self) -> Deferred[str | None]:
        return self.text

    def health(self) -> Health | None:
        return None


@implementer(IListeningPort)
class ListeningPort:
    stopped = False

    def startListening(self) -> None:
        raise AssertionError("is listening already")

    def stopListening(self) -> Deferred[None]:
        self.stopped = True
        return succeed(None)

    def getHost(self) -> Any:
        return None


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Listens in memory, or refuses to."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.port = ListeningPort()

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        if self.refusal is not None:
            return fail(self.refusal)
        self.factory = protocolFactory
        return succeed(self.port)


class Transport(StringTransport):
    """Loses the connection when it is told to, as a socket does."""

    def attach(self, factory: Any) -> Transport:
        self.attached = factory.buildProtocol(None)
        self.attached.makeConnection(self)
        return self

    def loseConnection(self) -> None:
        if self.producer is None and not self.disconnecting:
            super().loseConnection()
            self.attached.connectionLost(Failure(ConnectionDone()))

    def abortConnection(self) -> None:
        super().abortConnection()
        self.attached.connectionLost(Failure(ConnectionDone()))

    def ask(self, path: str) -> None:
        self.attached.dataReceived(f"GET {path} HTTP/1.1\r\nHost: proxy\r\n\r\n".encode())


class World:
    """A server in memory, with its proxy and its clock."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.proxy, self.clock, self.endpoint = Proxy(), Clock(), Endpoint(refusal)
        self.server = AdminServer(AdminApp(self.proxy, True).resource(), HOST, 14001, self.clock, self.endpoint)

    def stop(self) -> list[None]:
        ended: list[None] = []
        self.server.stop().addCallback(ended.append)
        return ended


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []

    def write_down(event: Any) -> None:
        lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    observer: Any = write_down
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


STARTING = f"info: Starting http server (metrics and health checks) on {HOST}:14001"
STOPPING = "info: Shutting down httpzdmproxy server, waiting up to 5 seconds."
STOPPED = "info: Http server shutdown."


def test_a_whole_life_logs_three_lines_and_none_per_request(logged: list[str]) -> None:
    """Operators look for these; probes must not fill the log."""
    world = World()
    started: list[Any] = []
    world.server.start().addCallback(started.append)
    assert started == [world.endpoint.port]
    connection = Transport().attach(world.endpoint.factory)
    connection.ask("/health/liveness")
    assert connection.value().endswith(b"OK")
    assert world.stop() == [None]
    assert logged == [STARTING, STOPPING, STOPPED]
    assert world.endpoint.port.stopped


@pytest.mark.parametrize(
    "cause, reason",
    [
        (OSError(errno.EADDRINUSE, "binding failed"), "address already in use"),
        (OSError("no address"), "no address"),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "[Errno -2] Name not known"),
    ],
)
def test_a_taken_port_is_an_error_line_and_nothing_more(logged: list[str], cause: OSError, reason: str) -> None:
    """The proxy serves CQL without its metrics."""
    world = World(CannotListenError(HOST, 14001, cause))
    started: list[Any] = []
    world.server.start().addCallback(started.append)
    assert started == [None]
    assert world.stop() == [None]
    refused = (
        f"error: Failed to listen on the metrics endpoint: listen tcp {HOST}:14001: bind: {reason}. "
        "The proxy will stay up and listen for CQL requests."
    )
    assert logged == [STARTING, refused, STOPPING, STOPPED]


def test_idle_connections_do_not_hold_up_the_end() -> None:
    """Prometheus keeps its connection open between scrapes."""
    world = World()
    world.server.start()
    idle = [Transport().attach(world.endpoint.factory) for _ in range(3)]
    idle[0].ask("/health/liveness")
    assert world.stop() == [None]
    assert all(connection.disconnecting for connection in idle)


def test_a_request_under_way_is_answered_before_the_end() -> None:
    """The last scrape has the final numbers."""
    world = World()
    world.server.start()
    connection = Transport().attach(world.endpoint.factory)
    connection.ask("/metrics")
    ended = world.stop()
    assert (ended, connection.disconnecting) == ([], False)
    world.proxy.text.callback("the last numbers\n")
    assert connection.value().endswith(b"the last numbers\n")
    assert ended == [None] and connection.disconnecting


def test_a_request_that_hangs_is_cut_off_after_five_seconds(logged: list[str]) -> None:
    """The end must not depend on a peer."""
    world = World()
    world.server.start()
    connection = Transport().attach(world.endpoint.factory)
    connection.ask("/metrics")
    ended = world.stop()
    world.clock.advance(4.9)
    assert ended == [] and not connection.disconnected
    world.clock.advance(0.1)
    assert ended == [None] and connection.disconnected
    assert logged[-1] == STOPPED


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_http_works_on_real_sockets_until_the_process_is_told_to_stop(loop: str) -> None:
    """The loop's transports must suit Twisted's HTTP, keep-alive and close included."""
    environment = {**os.environ, "ZDM_LOOP": loop, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, __file__],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None and server.stderr is not None
            port = int(server.stdout.readline())
            client = http.client.HTTPConnection(HOST, port, timeout=10)
            for path, code, text in (("/health/liveness", 200, b"OK"), ("/nowhere", 404, b"404 page not found\n")):
                client.request("GET", path)
                answer = client.getresponse()
                assert (answer.status, answer.read()) == (code, text)
            client.request("GET", "/metrics")
            answer = client.getresponse()
            assert answer.status == 200 and len(answer.read()) > 300_000
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=10) == 0
            assert server.stderr.read() == ""
            assert client.sock is not None and client.sock.recv(1) == b""
            client.close()
        finally:
            server.kill()


def serve() -> None:
    from twisted.internet import reactor

    proxy: Any = Proxy()
    proxy.text.callback("zdm_x 1\n" * 40_000)
    server = AdminServer(AdminApp(proxy, True).resource(), HOST, 0, reactor)

    def tell(port: Any) -> None:
        print(port.getHost().port, flush=True)

    reactor.callWhenRunning(lambda: server.start().addCallback(tell))
    reactor.addSystemEventTrigger("before", "shutdown", server.stop)
    reactor.run()
