"""What is no protocol at all: refused or closed, without harm to anybody else and without keeping memory.

The corpus comes from a generator with a fixed seed, so that a failure here fails everywhere.
"""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import frames
from tests.process.answers import ERROR, PROTOCOL_ERROR, Answer
from tests.process.awaiting import PATIENCE, until
from tests.process.conftest import StartProxy
from tests.process.connection import Closed, CqlConnection
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

MEGABYTE = 1 << 20
TLS_HELLO = bytes.fromhex("160301020001fc0303") + bytes(503)


@contextmanager
def witness(running: Proxy, ks: str) -> Iterator[None]:
    """Another client whose traffic goes on all the while, and must not notice anything."""
    client = running.client()
    is_over = threading.Event()
    failures: list[str] = []
    rounds = [0]

    def work() -> None:
        try:
            while not is_over.is_set() or not rounds[0]:
                value = f"round {rounds[0]}"
                assert client.query(f"INSERT INTO {ks}.t (k, v) VALUES (1, '{value}')").is_void
                assert client.query(f"SELECT v FROM {ks}.t WHERE k = 1").rows == [(value,)]
                rounds[0] += 1
        except (AssertionError, Closed, TimeoutError) as failed:
            failures.append(repr(failed))

    working = threading.Thread(target=work, daemon=True)
    working.start()
    try:
        yield
    finally:
        is_over.set()
        working.join(PATIENCE)
    assert not failures and rounds[0], failures


def whole_frames() -> list[bytes]:
    """Something of everything that a client may say."""
    return [
        frames.options(1),
        frames.startup(2),
        frames.auth_response(3),
        frames.register(4),
        frames.query(5, "SELECT key FROM system.local", page_size=10, values=[b"x", None], names=["a", "b"]),
        frames.query(6, "USE system", timestamp=5, serial_consistency=8),
        frames.prepare(7, "SELECT key FROM system.local"),
        frames.execute(8, b"0123456789abcdef", [b"1", frames.UNSET], page_size=3, paging_state=b"state"),
        frames.batch(9, [("INSERT INTO x.y (k) VALUES (1)", [b"1"]), (b"0123456789abcdef", [None])], timestamp=1),
        frames.query(10, "SELECT 1", payload={"key": b"value"}, tracing=True),
    ]


def mutated(chance: random.Random) -> bytes:
    """A frame with some bytes changed, cut out or put in; noise behind a header that fits; or mere noise."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 60))
    if kind == 1:
        body = chance.randbytes(chance.randrange(60))
        opcode = chance.choice([0x01, 0x05, 0x07, 0x09, 0x0A, 0x0B, 0x0D, 0x0F, chance.randrange(256)])
        flags = chance.choice([0, 0, 0, chance.randrange(256)])
        return struct.pack(">BBhBi", 4, flags, chance.randrange(100), opcode, len(body)) + body
    spoilt = bytearray(chance.choice(whole_frames()))
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(spoilt))
        if kind == 2:
            spoilt[place] = chance.randrange(256)
        elif chance.random() < 0.5:
            del spoilt[place : place + chance.randrange(1, 8)]
            spoilt = spoilt or bytearray(b"\x04")
        else:
            spoilt[place:place] = chance.randbytes(chance.randrange(1, 8))
    return bytes(spoilt)


def ends_well(client: CqlConnection, data: bytes) -> list[Answer]:
    """The client says that and leaves; what it hears until the proxy has closed the connection, which it must."""
    try:
        client.send(data)
        client.finish_writing()
    except (Closed, OSError):
        pass
    answers = client.until_closed()
    client.close()
    return answers


def storm(running: Proxy, number: int, is_ready: bool, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(number):
        client = running.client() if is_ready else running.connect()
        for answer in ends_well(client, b"".join(mutated(chance) for _ in range(chance.randrange(1, 4)))):
            assert answer.version in (3, 4, 5)


@pytest.mark.parametrize("is_ready", [False, True], ids=["in the handshake", "when ready"])
def test_noise_hurts_nobody_and_is_not_kept(sandbox: Sandbox, proxy: StartProxy, ks: str, is_ready: bool) -> None:
    """Anybody who reaches the port may send anything; memory must not grow with it."""
    running = proxy(*sandbox.clusters)
    with witness(running, ks):
        storm(running, 500, is_ready, seed=1)
        before = running.resident_bytes()
        storm(running, 2000, is_ready, seed=2)
        assert running.resident_bytes() - before < 8 * MEGABYTE
    until(lambda: running.metric("client_connections_total") <= 1, "every connection of the noise is closed")


def with_bad_bodies(stream: int) -> list[bytes]:
    """Frames whose header is in order and whose body is not."""
    return [
        frames.request(0x07, stream, b"\x00\x00\x00\xffSELECT"),
        frames.request(0x07, stream, frames.long_string("INSERT INTO x.y (k) VALUES (1)") + b"\0\1\x01\xff\xff"),
        frames.request(0x07, stream, b""),
        frames.request(0x07, stream, b"\xff\xff\xff\xff"),
        frames.request(0x09, stream, b"\x00"),
        frames.request(0x0A, stream, b"\xff\xffabc"),
        frames.request(0x0A, stream, b""),
        frames.request(0x0B, stream, b"\x00\x02\x00\x01"),
        frames.request(0x0D, stream, b"\x00\x00\x05\x02"),
        frames.request(0x0D, stream, b"\x09"),
        struct.pack(">BBhBi", 4, 0x04, stream, 0x07, 4) + b"\xff\xff\xff\xff",
        struct.pack(">BBhBi", 4, 0x01, stream, 0x07, 4) + b"\xff\xff\xff\xff",
    ]


def test_a_bad_body_in_a_whole_frame_is_that_requests_error_alone(shared: Proxy) -> None:
    """Framing is intact: the connection, with all that is in flight on it, goes on."""
    client = shared.client()
    for stream, bad in enumerate(with_bad_bodies(0), 11):
        client.send(frames.query(500, "SELECT key FROM system.local"))
        answer = client.ask(bad[:2] + frames.short(stream) + bad[4:])
        assert answer.opcode == ERROR, f"{bad!r}"
        assert answer.error[1]
        assert client.answer_to(500).rows == [("local",)]


def test_random_bodies_are_each_answered_on_their_own_stream(shared: Proxy) -> None:
    """5,000 bodies of noise in whole frames, on one connection."""
    client = shared.client()
    chance = random.Random(3)
    for _ in range(100):
        block = b""
        for stream in range(50):
            body = chance.randbytes(chance.randrange(80))
            opcode = chance.choice([0x07, 0x09, 0x0A, 0x0D])
            block += struct.pack(">BBhBi", 4, 0, stream, opcode, len(body)) + body
        client.send(block)
        for stream in range(50):
            assert client.answer_to(stream).opcode == ERROR
    assert client.query("SELECT key FROM system.local").rows == [("local",)]


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n", b"POST /metrics HTTP/1.0\r\n\r\n", TLS_HELLO],
    ids=["GET", "POST", "TLS hello"],
)
def test_another_protocol_is_told_once_and_closed(shared: Proxy, data: bytes) -> None:
    """A browser, a probe or a driver with TLS switched on came to the wrong port."""
    client = shared.connect()
    client.send(data)
    (answer,) = client.until_closed()
    assert answer.stream == 0
    assert answer.error == (PROTOCOL_ERROR, f"Invalid or unsupported protocol version ({data[0]})")


@pytest.mark.parametrize("is_ready", [False, True], ids=["in the handshake", "when ready"])
@pytest.mark.parametrize("length", [0x7FFFFFFF, -1])
def test_a_header_that_announces_2_gib_is_refused_at_once(shared: Proxy, is_ready: bool, length: int) -> None:
    """Nothing is reserved on the sender's word. A negative length is more than 2 GiB to who reads it unsigned."""
    client = shared.client() if is_ready else shared.connect()
    before = shared.resident_bytes()
    client.send(struct.pack(">BBhBi", 4, 0, 3, 0x07, length))
    (answer,) = client.until_closed()
    assert (answer.stream, answer.error[0]) == (3, PROTOCOL_ERROR)
    assert shared.resident_bytes() - before < 8 * MEGABYTE


@pytest.mark.parametrize("is_ready", [False, True], ids=["in the handshake", "when ready"])
def test_clients_that_leave_in_the_middle_of_a_frame_leave_nothing_behind(
    sandbox: Sandbox, proxy: StartProxy, is_ready: bool
) -> None:
    """Half a frame of a megabyte each, and gone."""
    running = proxy(*sandbox.clusters)
    half = struct.pack(">BBhBi", 4, 0, 3, 0x07, 2 * MEGABYTE) + bytes(MEGABYTE if is_ready else 32_000)

    def leave(number: int) -> None:
        for _ in range(number):
            client = running.client() if is_ready else running.connect()
            client.send(half)
            client.close()
        until(lambda: running.metric("client_connections_total") == 0, "all are gone")

    leave(50)  # what the allocator keeps for the next ones is no loss
    before = running.resident_bytes()
    leave(150)
    assert running.resident_bytes() - before < 40 * MEGABYTE


def test_a_frame_in_single_bytes_is_a_frame(shared: Proxy) -> None:
    """TCP promises no more than the order."""
    client = shared.connect()
    for data in (frames.startup(1), frames.query(2, "SELECT key FROM system.local")):
        for place in range(len(data)):
            client.send(data[place : place + 1])
        answer = client.receive()
    assert answer.rows == [("local",)]


def test_a_frame_of_another_version_in_the_middle_is_refused_and_closed(shared: Proxy) -> None:
    """The clusters would answer in that version, which nobody could match."""
    client = shared.client()
    client.send(frames.query(7, "SELECT key FROM system.local", version=3))
    (answer,) = client.until_closed()
    assert (answer.stream, answer.error[0]) == (7, PROTOCOL_ERROR)


def test_an_id_that_is_in_use_is_refused_and_closed(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Two answers under one id would help nobody."""
    client = shared.client()
    sandbox.target.fault("delay", text=f"INSERT INTO {ks}.t", delay_ms=300)
    insert = frames.query(7, f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')")
    client.send(insert + insert)
    (answer,) = client.until_closed()
    assert (answer.stream, answer.error[0]) == (7, PROTOCOL_ERROR)
    assert "in use" in answer.error[1]
