"""What the endpoints promise, on both loops.

A process has one reactor, so each loop gets a process: this file run as a program plays all scenarios on a running
reactor and prints what became of each as JSON. The other side of a connection is the standard library's, not ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

HOST = "127.0.50.1"
DEADLINE_S = 5
MEGABYTE = b"x" * (1 << 20)

Scenario = Callable[[], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[play.__name__] = play
    return play


def play_all() -> None:
    """Run every scenario, then wait to be stopped by a signal, then tell."""
    from zdm.net.endpoints import install_reactor

    install_reactor()
    from twisted.internet import reactor

    outcomes: dict[str, Any] = {"loop": type(asyncio.get_event_loop()).__module__.partition(".")[0]}
    reactor.callWhenRunning(lambda: asyncio.get_event_loop().create_task(play_each(outcomes)))
    reactor.addSystemEventTrigger("during", "shutdown", lambda: outcomes.update(stopped="by signal"))
    reactor.run()
    print(json.dumps(outcomes))


async def play_each(outcomes: dict[str, Any]) -> None:
    for name, play in SCENARIOS.items():
        LOGGED.clear()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await play()
            assert not LOGGED, f"logged: {LOGGED}"
            outcomes[name] = ""
        except BaseException:
            outcomes[name] = traceback.format_exc()
    os.kill(os.getpid(), signal.SIGTERM)


LOGGED: list[str] = []


def observe_log() -> None:
    """Collect errors from Twisted's log and warnings from the loop's."""
    import logging

    from twisted.logger import LogLevel, formatEvent, globalLogPublisher

    def twisted_observer(event: Any) -> None:
        if event["log_level"] >= LogLevel.error:
            failed = event.get("log_failure")
            LOGGED.append(f"{formatEvent(event)} | {'' if failed is None else failed.getErrorMessage()}")

    class LoopLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            LOGGED.append(record.getMessage())

    globalLogPublisher.addObserver(cast(Any, twisted_observer))  # any callable is one
    logging.getLogger("asyncio").addHandler(LoopLog(logging.WARNING))


def hang_up(connected: Any) -> None:
    connected.transport.loseConnection()


def pause_reading(writer: asyncio.StreamWriter) -> None:
    """Be a peer that takes nothing."""
    cast(asyncio.Transport, writer.transport).pause_reading()


def take_log() -> list[str]:
    taken = LOGGED[:]
    LOGGED.clear()
    return taken


if TYPE_CHECKING or __name__ == "__main__":
    from twisted.internet import error
    from twisted.internet.defer import CancelledError
    from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
    from twisted.internet.protocol import Factory, Protocol
    from zope.interface.verify import verifyObject

    from zdm.net.endpoints import ClientEndpoint, Port, ServerEndpoint
    from zdm.net.transport import USUAL, SocketOptions
else:
    Protocol = Factory = object


class Recorder(Protocol):
    """Remembers what happened to it; `until` awaits a condition on that."""

    def __init__(self) -> None:
        self.received = b""
        self.made = False
        self.lost: list[Any] = []
        self._changed = asyncio.Event()
        self.on_data: Callable[[bytes], object] = lambda data: None

    def connectionMade(self) -> None:
        self.made = True
        self._changed.set()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._changed.set()
        self.on_data(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.value)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def until_lost(self) -> Any:
        await self.until(lambda: bool(self.lost))
        assert len(self.lost) == 1
        return self.lost[0]


class Recorders(Factory):
    """Makes Recorders and keeps them in order."""

    noisy = False

    def __init__(self, make: Callable[[], Any] = Recorder) -> None:
        self.make = make
        self.built: list[Any] = []
        self.addresses: list[Any] = []
        self._changed = asyncio.Event()

    def buildProtocol(self, addr: Any) -> Any:
        self.addresses.append(addr)
        self.built.append(self.make())
        self._changed.set()
        return self.built[-1]

    async def nth(self, n: int) -> Any:
        while len(self.built) < n:
            self._changed.clear()
            await self._changed.wait()
        return self.built[n - 1]


class Obedient:
    """A producer that counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.changed = asyncio.Event()

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self.changed.set()

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.changed.set()

    def stopProducing(self) -> None:
        self.told.append("stop")
        self.changed.set()

    async def until_told(self, word: str) -> None:
        while word not in self.told:
            self.changed.clear()
            await self.changed.wait()


class Chunks:
    """A pull producer of `count` megabytes."""

    def __init__(self, transport: Any, count: int) -> None:
        self.transport, self.left, self.stopped = transport, count, False

    def resumeProducing(self) -> None:
        if self.left == 0:
            self.transport.unregisterProducer()
            return
        self.left -= 1
        self.transport.write(MEGABYTE)

    def stopProducing(self) -> None:
        self.stopped = True


async def future(deferred: Any) -> Any:
    return await deferred.asFuture(asyncio.get_running_loop())


async def failure_of(deferred: Any, kind: type[BaseException]) -> BaseException:
    try:
        await future(deferred)
    except kind as failed:
        return failed
    raise AssertionError(f"no {kind.__name__}")


async def served(factory: Any = None, host: str = HOST) -> tuple[Any, Any, asyncio.StreamReader, asyncio.StreamWriter]:
    """A port, the accepted protocol, and a plain client connected to it."""
    factory = factory or Recorders()
    port = await future(ServerEndpoint(host, 0).listen(factory))
    reader, writer = await asyncio.open_connection(host, port.getHost().port)
    accepted = await factory.nth(len(factory.built) or 1)
    if accepted is not None and hasattr(accepted, "made"):
        await accepted.until(lambda: accepted.made)
    return port, accepted, reader, writer


async def close(port: Any, *writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.transport.abort()
    await future(port.stopListening())


def unanswering() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket whose queue is full, so that a further connection hangs."""
    listening = socket.create_server((HOST, 0), backlog=0)
    waiting = []
    for _ in range(3):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listening.getsockname())
    return listening, waiting


@scenario
async def bytes_go_both_ways_between_the_two_endpoints() -> None:
    """The two are used together on the data path."""
    servers, clients = Recorders(), Recorders()
    port = await future(ServerEndpoint(HOST, 0).listen(servers))
    assert isinstance(port, Port)
    client = await future(ClientEndpoint(HOST, port.getHost().port, 5, local_address="127.0.50.2").connect(clients))
    server = await servers.nth(1)
    client.transport.write(b"to the server")
    await server.until(lambda: server.received == b"to the server")
    server.transport.writeSequence([b"to ", b"the ", b"client"])
    await client.until(lambda: client.received == b"to the client")
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(interface, client.transport)
    assert server.transport.getPeer() == servers.addresses[0] == client.transport.getHost()
    assert client.transport.getPeer() == clients.addresses[0] == server.transport.getHost() == port.getHost()
    assert client.transport.getHost().host == "127.0.50.2"
    client.transport.loseConnection()
    assert type(await client.until_lost()) is error.ConnectionDone
    assert type(await server.until_lost()) is error.ConnectionDone
    await close(port)


@scenario
async def ipv6_works() -> None:
    """Clusters and clients may be on IPv6 only."""
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6") or not open("/proc/net/if_inet6").read():
        return
    port, accepted, _, writer = await served(host="::1")
    assert accepted.transport.getHost() == port.getHost()
    assert (port.getHost().host, accepted.transport.getPeer().host) == ("::1", "::1")
    client = await future(ClientEndpoint("::1", port.getHost().port, 5).connect(Recorders()))
    assert client.transport.getPeer() == port.getHost()
    client.transport.loseConnection()
    await client.until_lost()
    await close(port, writer)


@scenario
async def a_refused_connection_fails_with_connection_refused() -> None:
    """Callers tell a dead host from a slow one by type."""
    with socket.create_server((HOST, 0)) as taken:
        number = taken.getsockname()[1]
    failed = await failure_of(ClientEndpoint(HOST, number, 5).connect(Recorders()), error.ConnectionRefusedError)
    assert failed.osError == 111  # type: ignore[attr-defined]  # Twisted's ConnectError


@scenario
async def a_host_that_does_not_answer_fails_with_timeout() -> None:
    """A filtered port must not hold a session for minutes."""
    listening, waiting = unanswering()
    endpoint = ClientEndpoint(HOST, listening.getsockname()[1], 0.05)
    await failure_of(endpoint.connect(Recorders()), error.TimeoutError)
    for each in (listening, *waiting):
        each.close()


@scenario
async def an_attempt_can_be_cancelled() -> None:
    """A client that leaves during the connect takes its attempts with it."""
    listening, waiting = unanswering()
    before = asyncio.all_tasks()
    attempt = ClientEndpoint(HOST, listening.getsockname()[1], 60).connect(Recorders())
    (task,) = asyncio.all_tasks() - before
    asyncio.get_running_loop().call_soon(attempt.cancel)
    await failure_of(attempt, CancelledError)
    await asyncio.wait([task])
    for each in (listening, *waiting):
        each.close()


@scenario
async def a_cancelled_attempt_leaves_no_connection() -> None:
    """Cancelled one turn after another: at whatever point, what was opened is closed."""
    servers = Recorders()
    port = await future(ServerEndpoint(HOST, 0).listen(servers))
    for turns in range(8):
        before = asyncio.all_tasks()
        attempt = ClientEndpoint(HOST, port.getHost().port, 60).connect(Recorders())
        attempt.addErrback(lambda failed: failed.trap(CancelledError))
        (task,) = asyncio.all_tasks() - before
        for _ in range(turns):
            if not attempt.called:
                await asyncio.wait([task, asyncio.ensure_future(asyncio.sleep(0))], return_when="FIRST_COMPLETED")
        if attempt.called:
            attempt.addCallback(hang_up)
        attempt.cancel()
        await asyncio.wait([task])
    _, marker = await asyncio.open_connection(HOST, port.getHost().port)
    last = marker.get_extra_info("sockname")[1]
    while not any(address.port == last for address in servers.addresses):
        servers._changed.clear()
        await servers._changed.wait()
    for address, accepted in zip(servers.addresses, servers.built, strict=True):
        if address.port != last:
            await accepted.until(lambda accepted=accepted: bool(accepted.lost))
    await close(port, marker)


@scenario
async def an_unknown_name_fails_with_a_lookup_error() -> None:
    """A typing error in the configuration must read as one."""
    await failure_of(ClientEndpoint("no such host", 9042, 5).connect(Recorders()), error.DNSLookupError)


@scenario
async def a_taken_address_cannot_be_listened_on() -> None:
    """The start sequence retries on this."""
    with socket.create_server((HOST, 0)) as taken:
        number = taken.getsockname()[1]
        failed = await failure_of(ServerEndpoint(HOST, number).listen(Recorders()), error.CannotListenError)
        assert f"{HOST}:{number}" in str(failed)


@scenario
async def a_stopped_port_frees_its_address_and_keeps_its_connections() -> None:
    """Shutdown stops accepting first, and lets the sessions drain."""
    port, accepted, reader, writer = await served()
    number = port.getHost().port
    await future(port.stopListening())
    await future(port.stopListening())
    again = await future(ServerEndpoint(HOST, number).listen(Recorders()))
    writer.write(b"still here")
    await accepted.until(lambda: accepted.received == b"still here")
    accepted.transport.write(b"yes")
    assert await reader.readexactly(3) == b"yes"
    await close(again, writer)
    await accepted.until_lost()
    await failure_of(ClientEndpoint(HOST, number, 5).connect(Recorders()), error.ConnectionRefusedError)


@scenario
async def closing_sends_what_was_written_and_drops_what_comes_after() -> None:
    """The last answers before a close belong to the client."""
    port, accepted, reader, writer = await served()
    for _ in range(16):
        accepted.transport.write(MEGABYTE)
    accepted.transport.loseConnection()
    for _ in range(10):
        accepted.transport.write(b"too late")
    assert accepted.transport.disconnecting
    assert await reader.read(-1) == MEGABYTE * 16
    assert type(await accepted.until_lost()) is error.ConnectionDone
    for _ in range(10):
        accepted.transport.write(b"far too late")
    accepted.transport.loseConnection()
    accepted.transport.abortConnection()
    accepted.transport.pauseProducing()
    accepted.transport.resumeProducing()
    accepted.transport.loseWriteConnection()
    await close(port, writer)


@scenario
async def aborting_resets_the_peer_and_drops_what_is_not_sent() -> None:
    """A peer that must not take the end for a clean one sees a reset."""
    port, accepted, reader, writer = await served()
    for _ in range(16):
        accepted.transport.write(MEGABYTE)
    accepted.transport.abortConnection()
    accepted.transport.abortConnection()
    accepted.transport.write(b"too late")
    assert type(await accepted.until_lost()) is error.ConnectionAborted
    try:
        received = await reader.read(-1)
    except ConnectionResetError:
        received = b""
    else:
        raise AssertionError("no reset")
    assert len(received) < 16 * len(MEGABYTE)
    await close(port, writer)


@scenario
async def a_flush_that_hangs_can_be_aborted() -> None:
    """The peer that never reads may not hold a closing connection for ever."""
    port, accepted, _, writer = await served()
    pause_reading(writer)
    for _ in range(32):
        accepted.transport.write(MEGABYTE)
    accepted.transport.loseConnection()
    accepted.transport.abortConnection()
    assert type(await accepted.until_lost()) is error.ConnectionAborted
    await close(port, writer)


@scenario
async def the_peers_eof_ends_the_connection_even_with_bytes_unsent() -> None:
    """A client that has gone cancels what it asked for; nobody waits for it to read."""
    port, accepted, _, writer = await served()
    pause_reading(writer)
    for _ in range(32):
        accepted.transport.write(MEGABYTE)
    writer.write(b"last words")
    writer.write_eof()
    assert type(await accepted.until_lost()) is error.ConnectionDone
    assert accepted.received == b"last words"
    await close(port, writer)


@scenario
async def the_peers_reset_is_a_lost_connection() -> None:
    """Lost and done are told apart in the operator's log."""
    port, accepted, _, writer = await served()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    assert type(await accepted.until_lost()) is error.ConnectionLost
    await close(port)


@scenario
async def our_eof_reaches_the_peer_and_we_go_on_reading() -> None:
    """Half a close is a close of that half only."""
    port, accepted, reader, writer = await served()
    accepted.transport.write(b"all I have")
    accepted.transport.loseWriteConnection()
    accepted.transport.write(b"too late")
    assert await reader.read(-1) == b"all I have"
    writer.write(b"still listening?")
    await accepted.until(lambda: accepted.received == b"still listening?")
    await close(port, writer)
    await accepted.until_lost()


async def fails_with(failing: Exception) -> None:
    factory = Recorders()
    port, accepted, reader, writer = await served(factory)
    _, other_writer = await asyncio.open_connection(HOST, port.getHost().port)
    other = await factory.nth(2)

    def fail(data: bytes) -> None:
        raise failing

    accepted.on_data = fail
    writer.write(b"poison")
    await accepted.until_lost()
    assert len(await read_to_the_end(reader)) == 0
    logged = take_log()
    assert len(logged) == 1 and str(failing) in logged[0], logged
    other_writer.write(b"fine")
    await other.until(lambda: other.received == b"fine")
    await close(port, writer, other_writer)
    await other.until_lost()


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(-1)
    except ConnectionResetError:
        return b""


@scenario
async def an_exception_in_data_received_is_logged_and_ends_that_connection_only() -> None:
    """A fault in one session must be seen, and must not be another's."""
    await fails_with(ValueError("a fault of ours"))


@scenario
async def an_os_error_in_data_received_is_logged_too() -> None:
    """The loops take any OSError for the socket's, and keep silent."""
    await fails_with(FileNotFoundError(2, "no journal"))


@scenario
async def an_exception_in_connection_made_is_logged_and_ends_that_connection() -> None:
    """Without this the connection would stay open with nobody behind it."""

    class Failing(Recorder):
        def connectionMade(self) -> None:
            raise ValueError("cannot begin")

    port, accepted, reader, writer = await served_by(Failing)
    assert await read_to_the_end(reader) == b""
    await accepted.until_lost()
    (logged,) = take_log()
    assert "cannot begin" in logged
    await close(port, writer)


async def served_by(kind: Callable[[], Any]) -> Any:
    factory = Recorders(kind)
    port = await future(ServerEndpoint(HOST, 0).listen(factory))
    reader, writer = await asyncio.open_connection(HOST, port.getHost().port)
    return port, await factory.nth(1), reader, writer


@scenario
async def an_exception_in_connection_lost_is_logged() -> None:
    """Nothing a protocol raises goes unseen."""
    port, accepted, _, writer = await served()

    def fail(reason: Any) -> None:
        Recorder.connectionLost(accepted, reason)
        raise ValueError("cannot end")

    accepted.connectionLost = fail
    await close(port, writer)
    await accepted.until_lost()
    await asyncio.sleep(0)
    (logged,) = take_log()
    assert "cannot end" in logged


@scenario
async def a_factory_that_makes_no_protocol_refuses_the_connection() -> None:
    """Twisted's way to say no: the client limit uses it."""
    port, _, reader, writer = await served_by(lambda: None)
    assert await read_to_the_end(reader) == b""
    await failure_of(ClientEndpoint(HOST, port.getHost().port, 5).connect(Recorders(lambda: None)), error.NoProtocol)
    await close(port, writer)


@scenario
async def a_push_producer_is_paused_while_the_peer_does_not_read() -> None:
    """Back-pressure: memory is bounded by the slower side."""
    port, accepted, reader, writer = await served()
    pause_reading(writer)
    producer = Obedient()
    accepted.transport.registerProducer(producer, True)
    for _ in range(32):
        accepted.transport.write(MEGABYTE)
    await producer.until_told("pause")
    assert producer.told == ["pause"]
    cast(asyncio.Transport, writer.transport).resume_reading()
    await reader.readexactly(32 << 20)
    await producer.until_told("resume")
    assert producer.told == ["pause", "resume"]
    await close(port, writer)
    await producer.until_told("stop")
    await accepted.until_lost()


@scenario
async def a_push_producer_that_comes_late_to_a_full_socket_is_paused_at_once() -> None:
    """Otherwise the first write of many would go unchecked."""
    port, accepted, _, writer = await served()
    pause_reading(writer)
    for _ in range(32):
        accepted.transport.write(MEGABYTE)
    producer = Obedient()
    accepted.transport.registerProducer(producer, True)
    assert producer.told == ["pause"]
    accepted.transport.unregisterProducer()
    await close(port, writer)
    await accepted.until_lost()


@scenario
async def one_producer_at_a_time() -> None:
    """Two would interleave their bytes; one that comes to a closing connection is stopped."""
    port, accepted, _, writer = await served()
    accepted.transport.registerProducer(Obedient(), True)
    try:
        accepted.transport.registerProducer(Obedient(), True)
    except RuntimeError:
        pass
    else:
        raise AssertionError("a second one was taken")
    accepted.transport.unregisterProducer()
    accepted.transport.loseConnection()
    late = Obedient()
    accepted.transport.registerProducer(late, True)
    assert late.told == ["stop"]
    await accepted.until_lost()
    await close(port, writer)


@scenario
async def a_pull_producer_is_asked_until_it_has_no_more() -> None:
    """HTTP answers and files come this way; the close waits for them."""
    port, accepted, reader, writer = await served()
    accepted.transport.registerProducer(Chunks(accepted.transport, 12), False)
    accepted.transport.loseConnection()
    assert await reader.read(-1) == MEGABYTE * 12
    assert type(await accepted.until_lost()) is error.ConnectionDone
    await close(port, writer)


@scenario
async def a_pull_producer_is_not_asked_while_the_peer_does_not_read() -> None:
    """Or a slow reader would have the whole file in our memory."""
    port, accepted, reader, writer = await served()
    pause_reading(writer)
    producer = Chunks(accepted.transport, 200)
    accepted.transport.registerProducer(producer, False)
    while not accepted.transport._congested:
        await asyncio.sleep(0)
    left = producer.left
    for _ in range(20):
        await asyncio.sleep(0)
    assert producer.left == left > 100
    await close(port, writer)
    await accepted.until_lost()
    assert producer.stopped


@scenario
async def a_pull_producer_that_fails_ends_the_connection() -> None:
    """Half an answer must not look like a whole one."""
    port, accepted, reader, writer = await served()
    producer = Chunks(None, 1)
    accepted.transport.registerProducer(producer, False)
    assert type(await accepted.until_lost()) is error.ConnectionAborted
    (logged,) = take_log()
    assert "NoneType" in logged
    await close(port, writer)


@scenario
async def nothing_is_delivered_between_pause_and_resume() -> None:
    """The session pauses a client while it holds too much for it."""
    factory = Recorders()
    port, accepted, _, writer = await served(factory)
    _, other_writer = await asyncio.open_connection(HOST, port.getHost().port)
    other = await factory.nth(2)
    accepted.transport.pauseProducing()
    writer.write(b"wait")
    other_writer.write(b"a later write on another connection")
    await other.until(lambda: bool(other.received))
    assert accepted.received == b""
    accepted.transport.resumeProducing()
    await accepted.until(lambda: accepted.received == b"wait")
    await close(port, writer, other_writer)
    await accepted.until_lost()
    await other.until_lost()


@scenario
async def small_writes_leave_at_once_by_default() -> None:
    """Nagle's algorithm would add 40 ms to an answer; both options can be changed."""
    port, accepted, _, writer = await served()
    client = await future(ClientEndpoint(HOST, port.getHost().port, 5).connect(Recorders()))
    for transport in (accepted.transport, client.transport):
        assert transport.getTcpNoDelay()
        transport.setTcpNoDelay(False)
        assert not transport.getTcpNoDelay()
        assert transport.getTcpKeepAlive()
        transport.setTcpKeepAlive(False)
        assert not transport.getTcpKeepAlive()
    client.transport.abortConnection()
    await client.until_lost()
    await close(port, writer)
    await accepted.until_lost()


def probes_of(opened: socket.socket) -> tuple[int, ...]:
    """Seconds of silence before the first, between two, and how many."""
    return tuple(
        opened.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )


@scenario
async def sockets_are_as_the_options_say() -> None:
    """On either end, whatever the loop's own defaults are."""
    cases = ((USUAL, (15, 15, 9)), (SocketOptions(False, 7, 3), (7, 7, 3)), (SocketOptions(keep_alive_s=0), None))
    for options, expected in cases:
        servers = Recorders()
        port = await future(ServerEndpoint(HOST, 0, options=options).listen(servers))
        client = await future(ClientEndpoint(HOST, port.getHost().port, 5, options=options).connect(Recorders()))
        for transport in (client.transport, (await servers.nth(1)).transport):
            assert transport.getTcpNoDelay() == options.nodelay
            assert transport.getTcpKeepAlive() == (expected is not None)
            assert expected is None or probes_of(transport._socket()) == expected
        client.transport.abortConnection()
        await client.until_lost()
        await close(port)


@scenario
async def what_the_socket_has_not_taken_is_known() -> None:
    """A slow peer is told by it from one that takes nothing."""
    port, accepted, reader, writer = await served()
    pause_reading(writer)
    assert accepted.transport.unsent() == 0
    for _ in range(32):
        accepted.transport.write(MEGABYTE)
    while (before := accepted.transport.unsent()) == 32 << 20:
        await asyncio.sleep(0)
    assert 0 < before < 32 << 20
    cast(asyncio.Transport, writer.transport).resume_reading()
    await reader.readexactly(16 << 20)
    assert 0 <= accepted.transport.unsent() <= 16 << 20
    await reader.readexactly(16 << 20)
    while accepted.transport.unsent():
        await asyncio.sleep(0)
    await close(port, writer)
    await accepted.until_lost()
    assert accepted.transport.unsent() == 0


class Waiting(asyncio.Protocol):
    """Another owner of a connection: what has come, in all."""

    def __init__(self) -> None:
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data


@scenario
async def a_detached_connection_goes_on_with_whoever_has_its_socket() -> None:
    """Nothing that was sent before, meanwhile or afterwards is lost, and nobody is told of an end."""
    port, accepted, reader, writer = await served()
    writer.write(b"before")
    await accepted.until(lambda: accepted.received == b"before")
    accepted.transport.write(b"answer, ")
    assert accepted.transport.unsent() == 0
    writer.write(b"meanwhile, ")
    await writer.drain()
    detached = accepted.transport.detach()
    detached.setblocking(False)
    accepted.transport.write(b"never sent")
    transport, owner = await asyncio.get_running_loop().connect_accepted_socket(Waiting, detached)
    writer.write(b"afterwards")
    while owner.received != b"meanwhile, afterwards":
        await asyncio.sleep(0)
    transport.write(b"and more")
    assert await reader.readexactly(16) == b"answer, and more"
    assert accepted.received == b"before" and accepted.lost == []
    transport.close()
    await close(port, writer)


OUTCOMES: dict[str, dict[str, str]] = {}


def outcomes(loop: str) -> dict[str, str]:
    if loop not in OUTCOMES:
        played = subprocess.run(
            [sys.executable, __file__],
            env={**os.environ, "ZDM_LOOP": loop, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert played.returncode == 0, played.stderr
        OUTCOMES[loop] = json.loads(played.stdout)
    return OUTCOMES[loop]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_endpoints(loop: str, name: str) -> None:
    """The reason is in the scenario's own docstring."""
    assert outcomes(loop)[name] == "", f"{SCENARIOS[name].__doc__}\n{outcomes(loop)[name]}"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_reactor_runs_on_the_loop_that_was_asked_for(loop: str) -> None:
    """ZDM_LOOP is how an operator rules uvloop out."""
    assert outcomes(loop)["loop"] == loop


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_signal_stops_the_reactor(loop: str) -> None:
    """uvloop and Twisted both want the process's signals."""
    assert outcomes(loop)["stopped"] == "by signal"


if __name__ == "__main__":
    observe_log()
    play_all()
