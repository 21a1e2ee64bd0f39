"""Connections that are accepted for others, and attached where they are to be served; on both loops.

As in `test_endpoints`, this file run as a program plays all scenarios on a running reactor, once for each loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.net import test_endpoints as harness

HOST = "127.0.50.2"

SCENARIOS: dict[str, Callable[[], Awaitable[None]]] = {}


def scenario(play: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    SCENARIOS[play.__name__] = play
    return play


class Taker:
    """A factory whose protocols take sockets; those that are refused get none."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses
        self.fault: Exception | None = None
        self.sockets: list[socket.socket] = []
        self.addresses: list[Any] = []
        self.is_running = False
        self.changed = asyncio.Event()

    def doStart(self) -> None:
        self.is_running = True

    def doStop(self) -> None:
        self.is_running = False

    def buildProtocol(self, address: Any) -> Any:
        self.addresses.append(address)
        self.changed.set()
        if self.fault is not None:
            raise self.fault
        return None if self.refuses else self

    def socket_accepted(self, accepted: socket.socket) -> None:
        self.sockets.append(accepted)

    async def nth(self, n: int) -> socket.socket:
        while len(self.sockets) < n:
            self.changed.clear()
            await self.changed.wait()
        return self.sockets[n - 1]


async def listening(taker: Taker, host: str = HOST, port: int = 0) -> Any:
    from zdm.net.accepting import HandingEndpoint

    factory: Any = taker
    return await harness.future(HandingEndpoint(host, port).listen(factory))


async def connected(port: Any) -> socket.socket:
    """A client, not blocking."""
    client = socket.socket(socket.AF_INET6 if ":" in port.getHost().host else socket.AF_INET)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (port.getHost().host, port.getHost().port))
    return client


async def heard(client: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(client, 100)


@scenario
async def a_connection_is_handed_on_with_nothing_of_it_read() -> None:
    """What the client has sent already is for its worker."""
    taker = Taker()
    port = await listening(taker)
    with await connected(port) as client:
        client.send(b"hello")
        with await taker.nth(1) as accepted:
            assert not accepted.getblocking()
            assert await heard(accepted) == b"hello"
            assert taker.addresses[0].port == client.getsockname()[1] and taker.addresses[0].host == "127.0.0.1"
    await harness.future(port.stopListening())


@scenario
async def many_that_come_together_are_all_taken() -> None:
    """More than are accepted in one turn of the loop."""
    taker = Taker()
    port = await listening(taker)
    clients = [await connected(port) for _ in range(150)]
    await taker.nth(150)
    for opened in (*clients, *taker.sockets):
        opened.close()
    await harness.future(port.stopListening())


@scenario
async def a_refused_connection_is_closed() -> None:
    """One client too many: its driver goes to the next proxy."""
    port = await listening(Taker(refuses=True))
    with await connected(port) as client:
        assert await heard(client) == b""
    await harness.future(port.stopListening())


@scenario
async def a_fault_of_the_factory_closes_that_connection_only() -> None:
    """And is told."""
    taker = Taker()
    port = await listening(taker)
    taker.fault = ZeroDivisionError("a fault of ours")
    with await connected(port) as client:
        assert await heard(client) == b""
    (line,) = harness.take_log()
    assert "could not be handed on" in line and "a fault of ours" in line
    taker.fault = None
    with await connected(port), await taker.nth(1):
        pass
    await harness.future(port.stopListening())


@scenario
async def ipv6_works() -> None:
    """And a listener for it leaves IPv4's addresses to others."""
    from twisted.internet.error import CannotListenError

    taker = Taker()
    port = await listening(taker, "::1")
    with await connected(port), await taker.nth(1):
        assert taker.addresses[0].host == "::1"
    await harness.future(port.stopListening())
    for _ in range(20):
        port = await listening(taker, "::")
        try:
            beside = await listening(taker, "0.0.0.0", port.getHost().port)
        except CannotListenError:
            await harness.future(port.stopListening())
            continue  # another program may have that port on one of IPv4's addresses, and not twenty times
        for opened in (port, beside):
            await harness.future(opened.stopListening())
        return
    raise AssertionError("a listener on :: takes the port on 0.0.0.0 as well")


@scenario
async def a_name_is_listened_at_on_each_of_its_addresses() -> None:
    """Which of them a client takes for `localhost` is its own affair."""
    taker = Taker()
    probe = await listening(Taker(), "localhost")
    number = probe.getHost().port
    await harness.future(probe.stopListening())
    port = await listening(taker, "localhost", number)
    for count, (family, address) in enumerate(
        {(found[0], found[4][0]) for found in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}, start=1
    ):
        with socket.socket(family) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (address, number))
            (await taker.nth(count)).close()
    await harness.future(port.stopListening())


@scenario
async def a_taken_address_cannot_be_listened_on() -> None:
    """The start is tried again then."""
    from twisted.internet.error import CannotListenError

    port = await listening(Taker())
    taker: Any = Taker()
    from zdm.net.accepting import HandingEndpoint

    failed = HandingEndpoint(HOST, port.getHost().port).listen(taker)
    refused = await harness.failure_of(failed, CannotListenError)
    assert str(port.getHost().port) in str(refused) and not taker.is_running
    await harness.future(port.stopListening())


@scenario
async def a_stopped_port_frees_its_address_and_keeps_what_was_accepted() -> None:
    """A drain begins with it; a second stop is harmless."""
    taker = Taker()
    port = await listening(taker)
    assert taker.is_running
    client = await connected(port)
    accepted = await taker.nth(1)
    await harness.future(port.stopListening())
    await harness.future(port.stopListening())
    assert not taker.is_running
    again = await listening(Taker(), HOST, port.getHost().port)
    client.send(b"still there")
    assert await heard(accepted) == b"still there"
    for opened in (client, accepted):
        opened.close()
    await harness.future(again.stopListening())


@scenario
async def without_free_descriptors_accepting_rests_and_goes_on() -> None:
    """The loop must not spin over a connection that cannot be taken; it waits in the kernel."""
    taker = Taker()
    port = await listening(taker)
    client = socket.socket()
    client.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    try:
        await asyncio.get_running_loop().sock_connect(client, (HOST, port.getHost().port))
        while not harness.LOGGED:
            await asyncio.sleep(0.01)
        for _ in range(20):
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (line,) = harness.take_log()
    assert "cannot be accepted for 1 s: [Errno 24]" in line and taker.sockets == []
    (await taker.nth(1)).close()
    client.close()
    await harness.future(port.stopListening())


@scenario
async def an_accepted_connection_is_attached_with_its_options() -> None:
    """As one that was accepted in the same process."""
    from twisted.internet.protocol import Factory, Protocol

    from zdm.net.endpoints import attach_accepted
    from zdm.net.transport import SocketOptions

    lost = asyncio.Event()

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data[::-1])

        def connectionLost(self, reason: Any = None) -> None:
            lost.set()

    made: list[Any] = []

    class Echoes(Factory):
        def buildProtocol(self, addr: Any) -> Any:
            made.append((addr, Echo()))
            return made[-1][1]

    taker = Taker()
    port = await listening(taker)
    for options, delays, is_probed in ((SocketOptions(), False, True), (SocketOptions(False, 0), True, False)):
        client = await connected(port)
        client.send(b"ping")
        accepted = await taker.nth(len(made) + 1)
        await harness.future(attach_accepted(accepted, Echoes(), options))
        assert await heard(client) == b"gnip"
        address, echo = made[-1]
        assert (address.host, address.port) == client.getsockname()
        assert (echo.transport.getPeer(), echo.transport.getHost().host) == (address, HOST)
        assert (echo.transport.getTcpNoDelay(), echo.transport.getTcpKeepAlive()) == (not delays, is_probed)
        client.close()
        lost.clear()
        await lost.wait()
    await harness.future(port.stopListening())


@scenario
async def a_connection_that_ended_before_it_was_attached_is_over_soon() -> None:
    """Its client was impatient."""
    from twisted.internet.protocol import Factory, Protocol

    from zdm.net.endpoints import attach_accepted

    outcome: list[str] = []
    over = asyncio.Event()

    class Unlucky(Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            outcome.append("lost")
            over.set()

    taker = Taker()
    port = await listening(taker)
    client = await connected(port)
    accepted = await taker.nth(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    attached = attach_accepted(accepted, Factory.forProtocol(Unlucky))

    def failed(failure: Any) -> None:
        failure.trap(OSError)
        outcome.append("failed")
        over.set()

    attached.addErrback(failed)
    await over.wait()
    assert len(outcome) == 1
    await harness.future(port.stopListening())


OUTCOMES: dict[str, dict[str, str]] = {}


def outcomes(loop: str) -> dict[str, str]:
    if loop not in OUTCOMES:
        environment = {**os.environ, "ZDM_LOOP": loop, "PYTHONPATH": os.getcwd()}
        command = [sys.executable, __file__]
        played = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert played.returncode == 0, played.stderr
        OUTCOMES[loop] = json.loads(played.stdout)
    return OUTCOMES[loop]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_accepting(loop: str, name: str) -> None:
    """The reason is in the scenario's own docstring."""
    assert outcomes(loop)[name] == "", f"{SCENARIOS[name].__doc__}\n{outcomes(loop)[name]}"


if __name__ == "__main__":
    harness.observe_log()
    harness.SCENARIOS.clear()
    harness.SCENARIOS.update(SCENARIOS)
    harness.play_all()
