"""Connections under TLS, on both loops: who is let through, what is said of those who are not, and what bytes do.

As in `test_endpoints`, this file run as a program plays all scenarios on a running reactor, once for each loop. The
other side is the loop's own TLS or the standard library's on a blocking socket, not ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.authority import Authority, Identity
from tests.net import test_endpoints as harness
from zdm.net.adopted import AdoptedEndpoint
from zdm.net.adopted import Gate as OpenGate
from zdm.net.endpoints import ClientEndpoint, ServerEndpoint, attach_accepted
from zdm.net.given import Given
from zdm.net.reception import Reception
from zdm.net.tls import TlsEnd, TlsError, TlsTransport
from zdm.net.tls_files import TlsMaterial, _as_file, client_context, cluster_context
from zdm.net.transport import SocketOptions

HOST = "127.0.50.5"
PATIENCE_S = 300
MEGABYTE = harness.MEGABYTE

CA, OTHER_CA, EXPIRED_CA = Authority("ca"), Authority("other"), Authority("expired", days=-1)
NODE = CA.sign(HOST)
APPLICATION = CA.sign()

SCENARIOS: dict[str, Callable[[], Awaitable[None]]] = {}


def scenario(play: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    SCENARIOS[play.__name__] = play
    return play


class Recorder(harness.Recorder, Protocol):
    """Remembers what happened to it."""


class Recorders(harness.Recorders, Factory):
    """Makes them, and keeps them in order."""


def material(authority: Authority, identity: Identity | None = None) -> TlsMaterial:
    text = authority.pem().decode()
    return TlsMaterial(text) if identity is None else TlsMaterial(text, identity.pem(), identity.key_pem())


def listener(identity: Identity = NODE, asks: bool = False, authority: Authority = CA) -> ssl.SSLContext:
    """What the proxy meets its clients with."""
    return client_context(material(authority, identity), asks)


def dialler(authority: Authority = CA, identity: Identity | None = None, names: bool = False) -> ssl.SSLContext:
    """What the proxy goes to a cluster with."""
    return cluster_context(material(authority, identity), names)


def application(authority: Authority = CA, identity: Identity | None = None) -> ssl.SSLContext:
    """A driver's, made as a driver makes it."""
    context = ssl.create_default_context(cadata=authority.pem().decode())
    context.check_hostname = False
    if identity is not None:
        load(context, identity)
    return context


def node(identity: Identity = NODE, client_ca: Authority | None = None) -> ssl.SSLContext:
    """A cluster's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, identity)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.pem().decode())
    return context


def load(context: ssl.SSLContext, identity: Identity) -> None:
    with _as_file(identity.pem() + identity.key_pem()) as path:
        context.load_cert_chain(path)


class Told:
    """The operator's log."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.debugs: list[str] = []

    def debug(self, text: str) -> None:
        self.debugs.append(text)

    def info(self, text: str) -> None:
        raise AssertionError(text)

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    def error(self, text: str) -> None:
        self.errors.append(text)


class Gate:
    """A listening port with TLS, and what is known of it."""

    def __init__(
        self, context: ssl.SSLContext | None = None, make: Any = None, limit: int = 100, patience: float = 60.0
    ) -> None:
        self.clock, self.told = Clock(), Told()
        self.end = TlsEnd(context or listener())
        self.reception = Reception(self.end, cast(Any, self.told), cast(Any, self.clock), limit, patience)
        self.accepted = Recorders(make or Recorder)
        self.port: Any = None

    async def open(self) -> Gate:
        endpoint = ServerEndpoint(HOST, 0, reception=self.reception)
        self.port = await harness.future(endpoint.listen(self.accepted))
        return self

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port.getHost().port

    async def connect(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, ssl=context or application())

    async def refusal(self, context: ssl.SSLContext) -> str:
        """What a driver hears that is not let in."""
        return await asyncio.get_running_loop().run_in_executor(None, refused, self.address, context)

    async def line(self) -> str:
        """The one error that was told."""
        while not self.told.errors:
            await asyncio.sleep(0)
        (line,) = self.told.errors
        return line

    async def close(self, *writers: asyncio.StreamWriter) -> None:
        await harness.close(self.port, *writers)


def refused(address: tuple[str, int], context: ssl.SSLContext) -> str:
    """In a thread: connect, try to read, and tell what became of it."""
    with socket.create_connection(address, timeout=harness.DEADLINE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=HOST) as secured:
                return repr(secured.recv(1))
        except OSError as failed:
            return str(failed)


async def dialled(port: int, context: ssl.SSLContext, timeout: float = 60.0) -> Any:
    """A protocol connected to a cluster."""
    endpoint = ClientEndpoint(HOST, port, timeout, tls=TlsEnd(context))
    return await harness.future(endpoint.connect(Recorders(Recorder)))


async def dial_fault(port: int, context: ssl.SSLContext) -> str:
    try:
        await dialled(port, context)
    except TlsError as failed:
        return str(failed)
    raise AssertionError("it was let in")


async def cluster(context: ssl.SSLContext) -> tuple[asyncio.Server, int]:
    """A node, by the loop's own TLS: it echoes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


# Bytes


@scenario
async def bytes_go_both_ways_between_the_two_endpoints() -> None:
    """With everything that a transport tells of itself."""
    gate = await Gate(listener(asks=True)).open()
    client = await dialled(gate.address[1], dialler(identity=APPLICATION, names=True))
    server = await gate.accepted.nth(1)
    client.transport.write(b"to the server")
    await server.until(lambda: server.received == b"to the server")
    server.transport.writeSequence([b"to ", b"the ", b"client"])
    await client.until(lambda: client.received == b"to the client")
    for interface in (ITCPTransport, IConsumer, IPushProducer):
        assert verifyObject(interface, client.transport)
    assert server.transport.getPeer() == gate.accepted.addresses[0] == client.transport.getHost()
    assert client.transport.getPeer() == server.transport.getHost() == gate.port.getHost()
    assert client.transport.getTcpNoDelay() and client.transport.getTcpKeepAlive()
    assert not client.transport.can_detach
    client.transport.loseConnection()
    assert type(await client.until_lost()) is error.ConnectionDone
    assert type(await server.until_lost()) is error.ConnectionDone
    await gate.close()


@scenario
async def both_versions_are_spoken_and_older_ones_are_not() -> None:
    """Some drivers have nothing newer than 1.2; 1.1 is broken."""
    gate = await Gate().open()
    for number, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3), start=1):
        context = application()
        context.minimum_version = context.maximum_version = version
        reader, writer = await gate.connect(context)
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        writer.write(b"hello")
        accepted = await gate.accepted.nth(number)
        await accepted.until(lambda accepted=accepted: accepted.received == b"hello")
        accepted.transport.write(b"hello yourself")
        assert await reader.readexactly(14) == b"hello yourself"
        writer.transport.abort()
        await accepted.until_lost()
    old = application()
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    assert "protocol version" in await gate.refusal(old)
    assert "tls: unsupported protocol" in await gate.line()
    await gate.close()


@scenario
async def much_goes_through_in_both_directions_at_once() -> None:
    """A frame may have 256 MB, and a record has 16 KB."""
    server, port = await cluster(node())
    client = await dialled(port, dialler())
    for _ in range(3):
        client.transport.write(MEGABYTE)
    await client.until(lambda: len(client.received) == 3 << 20)
    assert client.received == MEGABYTE * 3
    client.transport.abortConnection()
    await client.until_lost()
    server.close()


@scenario
async def what_comes_with_the_end_of_the_handshake_is_not_lost() -> None:
    """A driver's first request may be in the packet that ends the handshake."""
    gate = await Gate().open()
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = application().wrap_bio(incoming, outgoing)
    with socket.create_connection(gate.address) as plain:
        plain.setblocking(False)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(plain, outgoing.read())
                incoming.write(await loop.sock_recv(plain, 1 << 16))
        tls.write(b"at once")
        await loop.sock_sendall(plain, outgoing.read())
        accepted = await gate.accepted.nth(1)
        await accepted.until(lambda: accepted.received == b"at once")
    await accepted.until_lost()
    await gate.close()


@scenario
async def nothing_is_delivered_between_pause_and_resume() -> None:
    """The session pauses a client while it holds too much for it."""
    gate = await Gate().open()
    _, writer = await gate.connect()
    accepted = await gate.accepted.nth(1)
    _, other_writer = await gate.connect()
    other = await gate.accepted.nth(2)
    accepted.transport.pauseProducing()
    writer.write(b"wait")
    other_writer.write(b"a later write on another connection")
    await other.until(lambda: bool(other.received))
    assert accepted.received == b""
    accepted.transport.resumeProducing()
    await accepted.until(lambda: accepted.received == b"wait")
    await gate.close(writer, other_writer)
    await accepted.until_lost()


@scenario
async def what_the_socket_has_not_taken_is_known_and_pauses_who_writes() -> None:
    """One answer of many megabytes is enough, if nobody takes it: memory has to be bounded, and the client closed."""
    gate = await Gate().open()
    reader, writer = await gate.connect()
    accepted = await gate.accepted.nth(1)
    harness.pause_reading(writer)
    producer = harness.Obedient()
    accepted.transport.registerProducer(producer, True)
    assert accepted.transport.unsent() == 0
    accepted.transport.write(MEGABYTE * 32)
    await producer.until_told("pause")
    before = accepted.transport.unsent()
    assert 8 << 20 < before < 33 << 20
    cast(asyncio.Transport, writer.transport).resume_reading()
    await reader.readexactly(16 << 20)
    assert accepted.transport.unsent() < before
    await reader.readexactly(16 << 20)
    await producer.until_told("resume")
    assert producer.told == ["pause", "resume"]
    await gate.close(writer)
    await accepted.until_lost()
    assert accepted.transport.unsent() == 0


# The end


class ClosesWhenAsked(Recorder):
    """Answers, and closes."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        transport: Any = self.transport
        for _ in range(16):
            transport.write(MEGABYTE)
        transport.loseConnection()
        transport.write(b"too late")


def end_of(address: tuple[str, int]) -> bytes:
    """In a thread: ask, and read up to a goodbye. Raises ssl.SSLEOFError where there is none."""
    with socket.create_connection(address, timeout=harness.DEADLINE_S) as plain:
        with application().wrap_socket(plain, server_hostname=HOST, suppress_ragged_eofs=False) as secured:
            secured.sendall(b"go")
            pieces = []
            while piece := secured.recv(1 << 20):
                pieces.append(piece)
    return b"".join(pieces)


@scenario
async def closing_sends_what_was_written_and_then_a_goodbye() -> None:
    """The last answers belong to the client, which can tell this end from a cut line."""
    gate = await Gate(make=ClosesWhenAsked).open()
    received = await asyncio.get_running_loop().run_in_executor(None, end_of, gate.address)
    assert received == MEGABYTE * 16
    accepted = await gate.accepted.nth(1)
    assert type(await accepted.until_lost()) is error.ConnectionDone
    await gate.close()


@scenario
async def aborting_resets_the_peer_and_drops_what_is_not_sent() -> None:
    """A peer that must not take the end for a clean one sees a reset."""
    gate = await Gate().open()
    reader, writer = await gate.connect()
    accepted = await gate.accepted.nth(1)
    for _ in range(16):
        accepted.transport.write(MEGABYTE)
    accepted.transport.abortConnection()
    accepted.transport.write(b"too late")
    assert type(await accepted.until_lost()) is error.ConnectionAborted
    try:
        received = await reader.read(-1)
    except ConnectionResetError:
        received = b""
    else:
        raise AssertionError("no reset")
    assert len(received) < 16 << 20
    await gate.close(writer)


@scenario
async def the_peers_goodbye_ends_the_connection() -> None:
    """As the end of a plain one does; what it said last is heard."""
    gate = await Gate().open()
    reader, writer = await gate.connect()
    accepted = await gate.accepted.nth(1)
    writer.write(b"last words")
    writer.close()
    assert type(await accepted.until_lost()) is error.ConnectionDone
    assert accepted.received == b"last words"
    await gate.close()


@scenario
async def records_that_make_no_sense_end_the_connection_with_the_reason() -> None:
    """Somebody on the way has changed them; it is no fault of ours, and no other connection's."""
    gate = await Gate().open()
    _, other_writer = await gate.connect()
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = application().wrap_bio(incoming, outgoing)
    with socket.create_connection(gate.address) as plain:
        plain.setblocking(False)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await loop.sock_sendall(plain, outgoing.read())
                incoming.write(await loop.sock_recv(plain, 1 << 16))
        tls.write(b"changed on the way")
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        await loop.sock_sendall(plain, bytes(record))
        accepted = await gate.accepted.nth(2)
        reason = await accepted.until_lost()
    assert isinstance(reason, TlsError) and "bad record mac" in str(reason)
    other = await gate.accepted.nth(1)
    other_writer.write(b"fine")
    await other.until(lambda: other.received == b"fine")
    await gate.close(other_writer)
    await other.until_lost()


@scenario
async def a_factory_that_makes_no_protocol_refuses_the_connection() -> None:
    """The client limit does so; it is no failed handshake."""
    gate = await Gate(make=lambda: None).open()
    assert await gate.refusal(application()) in ("b''", "[Errno 104] Connection reset by peer")
    assert gate.told.errors == [] and gate.reception.under_way == 0
    await gate.close()


@scenario
async def an_exception_in_connection_made_is_logged_and_ends_that_connection() -> None:
    """Without this it would stay open with nobody behind it."""

    class Failing(Recorder):
        def connectionMade(self) -> None:
            raise ValueError("cannot begin")

    gate = await Gate(make=Failing).open()
    _, writer = await gate.connect()
    await (await gate.accepted.nth(1)).until_lost()
    (logged,) = harness.take_log()
    assert "cannot begin" in logged
    await gate.close(writer)


@scenario
async def an_exception_in_data_received_is_logged_and_ends_that_connection_only() -> None:
    """A fault in one session must be seen, and must not be another's."""
    gate = await Gate().open()
    _, writer = await gate.connect()
    accepted = await gate.accepted.nth(1)

    def fail(data: bytes) -> None:
        raise ValueError("a fault of ours")

    accepted.on_data = fail
    writer.write(b"poison")
    await accepted.until_lost()
    (logged,) = harness.take_log()
    assert "a fault of ours" in logged
    await gate.close(writer)


# Whom clusters are taken for


@scenario
async def a_cluster_that_another_authority_has_signed_is_not_connected_to() -> None:
    """The words are those that operators search for."""
    server, port = await cluster(node(OTHER_CA.sign(HOST)))
    assert (await dial_fault(port, dialler())).startswith("x509: certificate signed by unknown authority")
    server.close()


@scenario
async def a_certificate_that_is_in_the_file_itself_is_trusted() -> None:
    """As by the reference: clusters have trust stores of each node's own certificate."""
    server, port = await cluster(node())
    context = cluster_context(TlsMaterial(NODE.pem().decode()), True)
    client = await dialled(port, context)
    client.transport.abortConnection()
    await client.until_lost()
    server.close()


@scenario
async def the_name_is_checked_where_that_is_asked_for() -> None:
    """`chain` is the reference's way and takes any host's certificate, `full` only one for the address dialled."""
    server, port = await cluster(node(CA.sign("127.0.50.99", "elsewhere.example")))
    client = await dialled(port, dialler(names=False))
    client.transport.abortConnection()
    await client.until_lost()
    assert await dial_fault(port, dialler(names=True)) == f"x509: certificate is not valid for {HOST}"
    server.close()


@scenario
async def what_is_out_of_date_is_not_connected_to() -> None:
    """Be it the node's own certificate or the authority's."""
    for authority, identity in ((CA, CA.sign(HOST, days=-1)), (EXPIRED_CA, EXPIRED_CA.sign(HOST))):
        server, port = await cluster(node(identity))
        assert await dial_fault(port, dialler(authority)) == "x509: certificate has expired or is not yet valid"
        server.close()


@scenario
async def a_cluster_that_wants_a_certificate_and_gets_none_says_so() -> None:
    """In TLS 1.3 after the handshake is done for us: the reason arrives with the end of the connection."""
    listening = socket.create_server((HOST, 0))
    serving = asyncio.get_running_loop().run_in_executor(None, demand, listening)
    client = await dialled(listening.getsockname()[1], dialler())
    reason = await client.until_lost()
    assert isinstance(reason, TlsError), reason
    assert "certificate required" in str(reason), reason
    await serving
    listening.close()


def demand(listening: socket.socket) -> None:
    """In a thread: be a node that wants a certificate. The standard library sends alerts, the loops do not."""
    accepted, _ = listening.accept()
    accepted.settimeout(harness.DEADLINE_S)
    with accepted, suppress(ssl.SSLError):
        node(client_ca=CA).wrap_socket(accepted, server_side=True)


@scenario
async def a_cluster_that_wants_a_certificate_gets_it() -> None:
    """Mutual TLS."""
    server, port = await cluster(node(client_ca=CA))
    client = await dialled(port, dialler(identity=APPLICATION))
    client.transport.write(b"it is me")
    await client.until(lambda: client.received == b"it is me")
    client.transport.abortConnection()
    await client.until_lost()
    server.close()


@scenario
async def a_cluster_without_tls_is_not_spoken_to() -> None:
    """Nothing goes out in plain text because somebody forgot a setting."""

    async def say_something_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read(1)
        writer.write(b"\x84\x00\x00\x00\x00\x00\x00\x00\x00")

    server = await asyncio.start_server(say_something_else, HOST, 0)
    fault = await dial_fault(server.sockets[0].getsockname()[1], dialler())
    assert fault == "tls: first record does not look like a TLS handshake"
    server.close()


@scenario
async def an_end_amid_the_handshake_is_an_error_of_that_attempt() -> None:
    """The next host is tried."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, HOST, 0)
    fault = await dial_fault(server.sockets[0].getsockname()[1], dialler())
    assert fault == "tls: the connection was closed during the handshake"
    server.close()


@scenario
async def a_cluster_that_does_not_go_on_with_the_handshake_is_given_up_in_time() -> None:
    """A host that takes connections and hangs is as good as none."""
    gone = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            await reader.read(-1)
        gone.set()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    try:
        await dialled(server.sockets[0].getsockname()[1], dialler(), 0.1)
    except error.TimeoutError:
        await gone.wait()
    else:
        raise AssertionError("it was waited for")
    server.close()


@scenario
async def an_attempt_that_is_cancelled_amid_the_handshake_leaves_no_connection() -> None:
    """A client that leaves takes its attempts with it."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        with suppress(ConnectionResetError):
            await reader.read(-1)
        gone.set()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    endpoint = ClientEndpoint(HOST, server.sockets[0].getsockname()[1], 60, tls=TlsEnd(dialler()))
    attempt = endpoint.connect(Recorders(Recorder))
    await arrived.wait()
    attempt.cancel()
    await harness.failure_of(attempt, CancelledError)
    await gone.wait()
    server.close()


@scenario
async def without_certificates_nothing_is_connected() -> None:
    """What is to be under TLS is never plain, not for a moment of the start."""
    server, port = await cluster(node())
    endpoint = ClientEndpoint(HOST, port, 60, tls=TlsEnd())
    failed = await harness.failure_of(endpoint.connect(Recorders(Recorder)), TlsError)
    assert str(failed) == "tls: the certificates are not loaded yet"
    server.close()


# Who is let in


@scenario
async def a_client_without_a_certificate_is_refused_where_one_is_asked_for() -> None:
    """And is told so by an alert, in the words of the reference in the log."""
    gate = await Gate(listener(asks=True)).open()
    assert "certificate required" in await gate.refusal(application())
    line = await gate.line()
    assert line.startswith("[CLIENT-CONNECTOR] error reading: tls: client didn't provide a certificate (TLS handshake")
    assert gate.accepted.built == []
    await gate.close()


@scenario
async def a_clients_certificate_is_checked_with_the_given_authority() -> None:
    """Not with those that the system trusts: anybody can have one of those."""
    gate = await Gate(listener(asks=True)).open()
    for identity, reason, seen in (
        (OTHER_CA.sign(), "x509: certificate signed by unknown authority", "unknown ca"),
        (CA.sign(days=-1), "x509: certificate has expired or is not yet valid", "expired"),
    ):
        assert seen in await gate.refusal(application(identity=identity))
        assert reason in await gate.line()
        gate.told.errors.clear()
        gate.clock.advance(10)
    reader, writer = await gate.connect(application(identity=APPLICATION))
    writer.write(b"let in")
    accepted = await gate.accepted.nth(1)
    await accepted.until(lambda: accepted.received == b"let in")
    await gate.close(writer)
    await accepted.until_lost()


@scenario
async def a_client_that_does_not_trust_the_proxy_leaves_and_that_is_told() -> None:
    """Its alert says what is wrong, and the operator of the proxy is who can mend it."""
    gate = await Gate().open()
    assert "certificate verify failed" in await gate.refusal(application(OTHER_CA))
    assert "remote error: tls: unknown ca" in await gate.line()
    await gate.close()


@scenario
async def a_plain_client_is_closed_and_told_of() -> None:
    """It has sent a STARTUP, and waits for an answer that it would not understand."""
    gate = await Gate().open()
    reader, writer = await asyncio.open_connection(*gate.address)
    writer.write(bytes.fromhex("0400000005 00000000"))
    await harness.read_to_the_end(reader)
    assert (await gate.line()).startswith(
        "[CLIENT-CONNECTOR] error reading: tls: first record does not look like a TLS handshake "
        f"(TLS handshake with client {':'.join(map(str, writer.get_extra_info('sockname')))}; it is closed)."
    )
    assert gate.accepted.built == [] and gate.reception.under_way == 0
    await gate.close(writer)


@scenario
async def whoever_only_looks_whether_the_port_is_open_is_no_failure() -> None:
    """Load balancers do so every few seconds."""
    gate = await Gate().open()
    _, writer = await asyncio.open_connection(*gate.address)
    writer.close()
    while not gate.told.debugs:
        await asyncio.sleep(0)
    assert gate.told.errors == [] and gate.reception.under_way == 0
    await gate.close()


@scenario
async def a_handshake_that_never_ends_is_ended() -> None:
    """And harms nobody meanwhile."""
    gate = await Gate(patience=0.2).open()
    reader, writer = await asyncio.open_connection(*gate.address)
    writer.write(b"\x16\x03\x01")
    assert await harness.read_to_the_end(reader) == b""
    assert "tls: the handshake was not done within 0.2 s" in await gate.line()
    await gate.close(writer)


@scenario
async def so_many_handshakes_are_under_way_at_most() -> None:
    """One more is closed, and once there is room the next is let in."""
    gate = await Gate(limit=2).open()
    idle = [await asyncio.open_connection(*gate.address) for _ in range(2)]
    while gate.reception.under_way < 2:
        await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection(*gate.address)
    assert await harness.read_to_the_end(reader) == b""
    assert "tls: 2 handshakes are under way already" in await gate.line()
    for _, each in idle:
        each.transport.abort()
    while gate.reception.under_way:
        await asyncio.sleep(0)
    _, served = await gate.connect()
    accepted = await gate.accepted.nth(1)
    await gate.close(writer, served)
    await accepted.until_lost()


@scenario
async def many_failures_are_one_line() -> None:
    """Whoever reaches the port can make them; the next line says how many there were."""
    gate = await Gate().open()
    for number in range(5):
        if number == 4:
            gate.clock.advance(10)
        reader, writer = await asyncio.open_connection(*gate.address)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await harness.read_to_the_end(reader)
        writer.transport.abort()
    while len(gate.told.errors) < 2:
        await asyncio.sleep(0)
    assert len(gate.told.errors) == 2
    assert gate.told.errors[1].endswith("There were 3 more since the last such line.")
    await gate.close()


@scenario
async def new_connections_use_the_new_certificates() -> None:
    """Those that are there go on with what they have."""
    gate = await Gate().open()
    reader, writer = await gate.connect()
    gate.end.replace(listener(OTHER_CA.sign(HOST)))
    assert "certificate verify failed" in await gate.refusal(application())
    _, new_writer = await gate.connect(application(OTHER_CA))
    accepted = await gate.accepted.nth(1)
    writer.write(b"still here")
    await accepted.until(lambda: accepted.received == b"still here")
    await gate.close(writer, new_writer)
    await accepted.until_lost()


@scenario
async def a_connection_that_was_accepted_elsewhere_is_attached_after_its_handshake() -> None:
    """A worker is given the plain descriptor, and the one who waits for it counts the client until then."""
    gate = Gate()
    with socket.create_server((HOST, 0)) as listening:
        address = listening.getsockname()
        connecting = asyncio.ensure_future(asyncio.open_connection(*address, ssl=application()))
        accepted = await accept(listening)
        await harness.future(attach_accepted(accepted, gate.accepted, reception=gate.reception))
        assert gate.accepted.built[0].made
        _, writer = await connecting
        plain = socket.create_connection(address)
        accepted = await accept(listening)
        attaching = attach_accepted(accepted, gate.accepted, reception=gate.reception)
        plain.send(b"\x04\x00\x00\x00\x05\x00\x00\x00\x00")
        await harness.failure_of(attaching, TlsError)
        plain.close()
    assert len(gate.accepted.built) == 1
    writer.transport.abort()
    await gate.accepted.built[0].until_lost()


@scenario
async def sockets_that_were_opened_elsewhere_are_under_tls_too() -> None:
    """A service manager's, or those of the program before an upgrade."""
    gate = Gate()
    endpoint = AdoptedEndpoint([socket.create_server((HOST, 0))], OpenGate(True), SocketOptions(), gate.reception)
    gate.port = await harness.future(endpoint.listen(gate.accepted))
    _, writer = await gate.connect()
    writer.write(b"hello")
    accepted = await gate.accepted.nth(1)
    await accepted.until(lambda: accepted.received == b"hello")
    reader, plain = await asyncio.open_connection(*gate.address)
    plain.write(b"\x04\x00\x00\x00\x05\x00\x00\x00\x00")
    await harness.read_to_the_end(reader)
    assert "does not look like a TLS handshake" in await gate.line()
    await gate.close(writer, plain)
    await accepted.until_lost()


async def accept(listening: socket.socket) -> socket.socket:
    listening.setblocking(False)
    accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
    accepted.setblocking(False)
    return accepted


OUTCOMES: dict[str, dict[str, str]] = {}


def outcomes(loop: str) -> dict[str, str]:
    if loop not in OUTCOMES:
        path = os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH", ""))))
        environment = {**os.environ, "ZDM_LOOP": loop, "PYTHONPATH": path}
        command = [sys.executable, __file__]
        played = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
        assert played.returncode == 0, played.stderr
        OUTCOMES[loop] = json.loads(played.stdout)
    return OUTCOMES[loop]


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_tls(loop: str, name: str) -> None:
    """The reason is in the scenario's own docstring."""
    assert outcomes(loop)[name] == "", f"{SCENARIOS[name].__doc__}\n{outcomes(loop)[name]}"


# How bytes are passed on, which no loop is needed for


class Socket:
    """What the loop's transport is to ours: all that is written to it, in pieces as they came."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def get_extra_info(self, name: str) -> Any:
        return socket.socket() if name == "socket" else (HOST, 1)


class Deliveries(Protocol):
    """Keeps apart what arrives."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)


Ends = tuple[TlsTransport, Socket, Deliveries, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]


@pytest.fixture
def ends() -> Ends:
    """An accepted connection whose handshake is done, and the driver's end of it."""
    plain, protocol = Socket(), Deliveries()
    transport = TlsTransport(Given(protocol), SocketOptions(), TlsEnd(listener()), lambda _: None)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    driver = application().wrap_bio(incoming, outgoing)
    transport.connection_made(cast(Any, plain))
    while not protocol.connected:
        with suppress(ssl.SSLWantReadError):
            driver.do_handshake()
        transport.data_received(outgoing.read())
        incoming.write(b"".join(plain.writes))
        plain.writes.clear()
    return transport, plain, protocol, driver, incoming, outgoing


def test_a_write_is_one_write_to_the_socket_however_many_records_it_takes(ends: Ends) -> None:
    """One system call for each turn: that is where the time goes."""
    transport, plain, _, driver, incoming, _ = ends
    transport.write(MEGABYTE)
    assert len(plain.writes) == 1
    incoming.write(plain.writes[0])
    read = b""
    while len(read) < len(MEGABYTE):
        read += driver.read(1 << 16)
    assert read == MEGABYTE


def test_what_one_read_has_brought_is_delivered_in_one_piece(ends: Ends) -> None:
    """A session does its work once for all frames of a read, and not once for each record."""
    transport, _, protocol, driver, _, outgoing = ends
    for number in range(5):
        driver.write(b"%d" % number * 20000)
    transport.data_received(outgoing.read())
    assert [len(piece) for piece in protocol.pieces] == [100000]


def test_half_a_record_waits_for_the_other_half(ends: Ends) -> None:
    """The kernel cuts where it likes."""
    transport, _, protocol, driver, _, outgoing = ends
    driver.write(b"cut")
    record = outgoing.read()
    for at in range(len(record)):
        assert protocol.pieces == []
        transport.data_received(record[at : at + 1])
    assert protocol.pieces == [b"cut"]


if __name__ == "__main__":
    harness.DEADLINE_S = 60  # a handshake takes ten times as long as a connection
    harness.observe_log()
    harness.SCENARIOS.clear()
    harness.SCENARIOS.update(SCENARIOS)
    harness.play_all()
