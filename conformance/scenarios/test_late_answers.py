"""Clusters that answer late: how long a client waits, and that an answer which comes too late harms nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials, Node
from conformance.proxy import Proxy
from conformance.wire import ERROR, QUERY, RESULT, Answer, Wire, long_string, parameters

pytestmark = pytest.mark.needs("primes", "proxy")

COLUMNS = "(k text PRIMARY KEY, v text)"
SIDES = ("origin", "target")
LATE_MS = 1000
# the limit of the proxies here, and an answer that misses it by far
LIMIT_MS = 1500
TOO_LATE_MS = 3500
# when the stream is used again: its request, which takes LATE_MS, waits when the answer to the first one comes
AGAIN_MS = 2800


def query_body(wire: Wire, text: str) -> bytes:
    return long_string(text) + parameters(wire.version, None, 1, None)


@pytest.fixture
def filled(clusters: Clusters, table: str, protocol: int) -> Iterator[str]:
    """A table on both clusters. What a scenario primes is taken back after it."""
    name = f"conformance.{table}"
    for node in clusters.nodes:
        with Wire(node.address, node.port, protocol, node.credentials) as wire:
            assert wire.query(f"CREATE TABLE {name} {COLUMNS}").opcode == RESULT
    yield name
    for node in clusters.nodes:
        node.clear_primes()


@pytest.fixture
def open_wire(protocol: int, credentials: Credentials | None) -> Iterator[Callable[[Proxy], Wire]]:
    made: list[Wire] = []

    def make(proxy: Proxy) -> Wire:
        made.append(Wire(proxy.address, proxy.port, protocol, credentials, timeout=15))
        return made[-1]

    yield make
    for wire in made:
        wire.socket.close()


OpenWire = Callable[[Proxy], Wire]


def timed(ask: Callable[[], Answer]) -> tuple[Answer, float]:
    """The answer, and how many milliseconds it took."""
    began = time.monotonic()
    answer = ask()
    return answer, (time.monotonic() - began) * 1000


def secondary_of(proxy: Proxy, clusters: Clusters) -> Node:
    return clusters.target if proxy.settings["ZDM_PRIMARY_CLUSTER"] == "ORIGIN" else clusters.origin


@pytest.mark.parametrize("late", SIDES)
def test_a_write_takes_as_long_as_the_slower_cluster(
    late: str, proxy: Proxy, open_wire: OpenWire, filled: str, clusters: Clusters
) -> None:
    """The client is told when both have it, not before."""
    text = f"INSERT INTO {filled} (k, v) VALUES ('1', 'one')"
    (clusters.origin if late == "origin" else clusters.target).delay(text, LATE_MS)
    answer, milliseconds = timed(lambda: open_wire(proxy).query(text))
    assert answer.opcode == RESULT
    assert LATE_MS * 0.95 <= milliseconds < 5 * LATE_MS


def test_a_read_does_not_wait_for_the_secondary(
    proxy: Proxy, open_wire: OpenWire, filled: str, clusters: Clusters
) -> None:
    """A slow secondary slows down writes only: what need not wait overtakes what must, on one connection."""
    write = f"INSERT INTO {filled} (k, v) VALUES ('1', 'one')"
    read = f"SELECT v FROM {filled} WHERE k = '2'"
    for text in (write, read):
        secondary_of(proxy, clusters).delay(text, LATE_MS)
    wire = open_wire(proxy)
    wire.send(QUERY, query_body(wire, write), stream=1)
    assert wire.ask(QUERY, query_body(wire, read), stream=2).opcode == RESULT, "the first answer is the read's"
    assert wire.read(stream=1).opcode == RESULT


@pytest.mark.parametrize("late", SIDES)
def test_an_answer_after_the_limit_is_an_error_at_the_limit(
    late: str, own_proxy: Callable[..., Proxy], open_wire: OpenWire, filled: str, clusters: Clusters
) -> None:
    """Where an answer is asked for: the client is not kept waiting, and the late answer is not sent after the error."""
    proxy = own_proxy(7, ZDM_PROXY_REQUEST_TIMEOUT_MS=str(LIMIT_MS), ZDM_PROXY_TIMEOUT_RESPONSE="ERROR")
    node = clusters.origin if late == "origin" else clusters.target
    wire, began = too_late(open_wire(proxy), filled, node)
    assert wire.read(stream=1).opcode == ERROR
    assert LIMIT_MS * 0.9 <= (time.monotonic() - began) * 1000 < TOO_LATE_MS * 0.9
    assert_stream_can_be_used_again(wire, began, filled, node)


@pytest.mark.parametrize("late", SIDES)
def test_a_stream_used_again_gets_its_own_answer(
    late: str, own_proxy: Callable[..., Proxy], open_wire: OpenWire, filled: str, clusters: Clusters
) -> None:
    """By default nothing is answered after the limit, and a driver uses the stream again: what comes late for the first
    request must not be taken for the answer to the second."""
    proxy = own_proxy(8, ZDM_PROXY_REQUEST_TIMEOUT_MS=str(LIMIT_MS))
    node = clusters.origin if late == "origin" else clusters.target
    wire, began = too_late(open_wire(proxy), filled, node)
    assert_stream_can_be_used_again(wire, began, filled, node)


def too_late(wire: Wire, table: str, node: Node) -> tuple[Wire, float]:
    """Sends a write that this node answers long after the limit. Returns when it was sent, too."""
    text = f"INSERT INTO {table} (k, v) VALUES ('1', 'one')"
    node.delay(text, TOO_LATE_MS)
    wire.send(QUERY, query_body(wire, text), stream=1)
    return wire, time.monotonic()


def assert_stream_can_be_used_again(wire: Wire, began: float, table: str, node: Node) -> None:
    """Nothing more comes for the first request; the second one is answered when it has been executed, not earlier."""
    second = f"INSERT INTO {table} (k, v) VALUES ('2', 'two')"
    node.delay(second, LATE_MS)
    wire.socket.settimeout(max(0.001, AGAIN_MS / 1000 - (time.monotonic() - began)))
    with pytest.raises(TimeoutError):
        wire.read(stream=1)
    wire.socket.settimeout(15)
    answer, milliseconds = timed(lambda: wire.query(second))
    assert answer.opcode == RESULT
    assert milliseconds >= LATE_MS * 0.95, "that was the answer to the first request"


def test_what_is_in_flight_when_the_proxy_is_stopped_is_answered(
    own_proxy: Callable[..., Proxy], open_wire: OpenWire, filled: str, clusters: Clusters
) -> None:
    """SIGTERM while three writes wait for a slow target: all three are answered, then the process ends with 0."""
    proxy = own_proxy(9)
    text = f"INSERT INTO {filled} (k, v) VALUES ('1', 'one')"
    clusters.target.delay(text, 2 * LATE_MS)
    wires = [open_wire(proxy) for _ in range(3)]
    for wire in wires:
        wire.send(QUERY, query_body(wire, text))
    await_true(
        lambda: proxy.metric("zdm_proxy_inflight_requests_total", type="writes") == 3, "three writes are in flight", 5
    )
    codes: list[int] = []
    stopping = threading.Thread(target=lambda: codes.append(proxy.stop()))
    stopping.start()
    assert [wire.read(stream=1).opcode for wire in wires] == [RESULT] * 3
    stopping.join(20)
    assert codes == [0]
