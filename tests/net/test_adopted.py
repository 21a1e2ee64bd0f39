"""Listening at sockets that somebody else has opened, on both loops; see `test_accepting` for how this file is run."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.net import test_accepting as accepting
from tests.net import test_endpoints as harness

HOST = "127.0.50.3"

SCENARIOS: dict[str, Any] = {}


def scenario(play: Any) -> Any:
    SCENARIOS[play.__name__] = play
    return play


def opened() -> socket.socket:
    return socket.create_server((HOST, 0))


async def connected(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (HOST, port))
    return client


async def adopted(listener: socket.socket, gate: Any, factory: Any, options: Any = None) -> Any:
    from zdm.net.adopted import AdoptedEndpoint

    return await harness.future(AdoptedEndpoint([listener], gate, options).listen(factory))


@scenario
async def nothing_is_accepted_before_the_gate_is_open() -> None:
    """Who knocks waits, and is let in then."""
    from zdm.net.adopted import Gate

    gate, taker, listener = Gate(), accepting.Taker(), opened()
    port = await adopted(listener, gate, taker)
    with await connected(port.getHost().port) as client:
        await asyncio.sleep(0)
        assert taker.sockets == [] and taker.is_running
        gate.open()
        gate.open()
        with await taker.nth(1) as accepted:
            accepted.send(b"welcome")
            assert await accepting.heard(client) == b"welcome"
    await harness.future(port.stopListening())
    assert not taker.is_running


@scenario
async def a_port_that_was_closed_before_stays_closed() -> None:
    """The program was told to end while it waited."""
    from zdm.net.adopted import Gate

    gate, listener = Gate(), opened()
    port = await adopted(listener, gate, accepting.Taker())
    assert port.listeners() == [listener]
    await harness.future(port.stopListening())
    gate.open()
    assert listener.fileno() == -1 and port.listeners() == []


@scenario
async def connections_are_read_and_written_by_the_loop_where_that_is_asked_for() -> None:
    """As with any endpoint; the factory may still refuse them."""
    from twisted.internet.protocol import Factory, Protocol

    from zdm.net.adopted import Gate
    from zdm.net.transport import SocketOptions

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data)

    port = await adopted(opened(), Gate(is_open=True), Factory.forProtocol(Echo), SocketOptions())
    with await connected(port.getHost().port) as client:
        client.send(b"hello")
        assert await accepting.heard(client) == b"hello"
    await harness.future(port.stopListening())
    port = await adopted(opened(), Gate(is_open=True), accepting.Taker(refuses=True), SocketOptions())
    with await connected(port.getHost().port) as client:
        assert await accepting.heard(client) == b""
    await harness.future(port.stopListening())


@scenario
async def duplicates_listen_on_when_the_port_is_closed() -> None:
    """Whoever has them accepts those that have knocked; of either kind of port."""
    from twisted.internet.protocol import Factory, Protocol

    from zdm.net.adopted import Gate, duplicates
    from zdm.net.endpoints import ServerEndpoint

    for handing in (True, False):
        if handing:
            before = await accepting.listening(accepting.Taker(), HOST)
        else:
            before = await harness.future(ServerEndpoint(HOST, 0).listen(Factory.forProtocol(Protocol)))
        (listener,) = duplicates(before.listeners())
        number = before.getHost().port
        await harness.future(before.stopListening())
        with await connected(number):
            taker = accepting.Taker()
            port = await adopted(listener, Gate(is_open=True), taker)
            (await taker.nth(1)).close()
        await harness.future(port.stopListening())


OUTCOMES: dict[str, dict[str, str]] = {}


def outcomes(loop: str) -> dict[str, str]:
    if loop not in OUTCOMES:
        environment = {**os.environ, "ZDM_LOOP": loop, "PYTHONPATH": os.getcwd()}
        played = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=60)
        assert played.returncode == 0, played.stderr
        OUTCOMES[loop] = json.loads(played.stdout)
    return OUTCOMES[loop]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_adopted(loop: str, name: str) -> None:
    """The reason is in the scenario's own docstring."""
    assert outcomes(loop)[name] == "", f"{SCENARIOS[name].__doc__}\n{outcomes(loop)[name]}"


if __name__ == "__main__":
    harness.observe_log()
    harness.SCENARIOS.clear()
    harness.SCENARIOS.update(SCENARIOS)
    harness.play_all()
