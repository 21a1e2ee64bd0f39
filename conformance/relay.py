"""A TCP relay in front of a node: what the proxy really asks of that cluster, counted on any backend.

It listens on the node's own address, on another port, so that a proxy with ``ZDM_TARGET_PORT`` set to it passes through
it for every connection, its control connection included. It cuts frames of versions 3 to 5 (see ``wire.py``), and can
hold answers back: all of them for a time, or those to one opcode until they are released. Segments and compression are
the driver's.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from io import BytesIO
from typing import Any, Final, cast

from cassandra.connection import locally_supported_compressions, segment_codec_lz4, segment_codec_no_compression
from cassandra.segment import CRC32_LENGTH

from conformance.awaiting import await_true
from conformance.backends.interface import Node
from conformance.wire import AUTHENTICATE, EXECUTE, HEADER, PREPARE, QUERY, READY, STARTUP

BATCH: Final = 13
NAMES: Final = {QUERY: "QUERY", PREPARE: "PREPARE", EXECUTE: "EXECUTE", BATCH: "BATCH"}


class Relay:
    """Runs in a thread of its own from creation to ``close``. Whoever creates it closes it."""

    def __init__(self, node: Node, delay: float = 0.0) -> None:
        """``delay``: seconds that every answer to a statement is held back."""
        self.node = node
        self.delay = delay
        self.port = 0
        self.opened = 0
        """Connections that were ever opened through it."""
        self.held_opcode: int | None = None
        self.links: set[Link] = set()
        self._requests: list[tuple[int, str]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        await_true(lambda: self.port, "the relay listens", 10)

    def requests(self, about: str) -> Counter[str]:
        """Statements by opcode: all EXECUTE and BATCH, of QUERY and PREPARE those with this part in their text.

        Not counted is what drivers ask by themselves, about the schema of a table for example.
        """
        return Counter(
            NAMES[opcode]
            for opcode, text in list(self._requests)
            if opcode in (EXECUTE, BATCH) or (about in text and "FROM system" not in text)
        )

    @property
    def connections(self) -> int:
        """Those open now, the control connection's among them."""
        return len(self.links)

    def hold(self, opcode: int) -> None:
        """Answers to requests of this opcode stay here until ``release``."""
        self.held_opcode = opcode

    @property
    def held(self) -> int:
        """Answers that wait here."""
        return sum(len(link.kept) for link in list(self.links))

    def release(self) -> None:
        """Sends what is held on its way, and holds no more."""
        self.held_opcode = None
        for link in list(self.links):
            self._loop.call_soon_threadsafe(link.release)

    def record(self, opcode: int, text: str) -> None:
        self._requests.append((opcode, text))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(loop.create_server(lambda: Link(self), self.node.address, 0))
        self.port = server.sockets[0].getsockname()[1]
        loop.run_forever()
        server.close()
        for link in list(self.links):
            link.end()
        loop.run_until_complete(asyncio.sleep(0))  # the closed transports tell their protocols
        loop.close()


class Link(asyncio.Protocol):
    """One connection of the proxy, and the one to the node that it stands for."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.kept: list[bytes] = []
        self._near: asyncio.Transport | None = None
        self._far: asyncio.Transport | None = None
        self._early = b""
        self._asked = Frames()
        self._answered = Frames()
        self._algorithm = ""
        self._waits: set[int] = set()
        self._delayed: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._near = cast(asyncio.Transport, transport)
        self.relay.links.add(self)
        self.relay.opened += 1
        self._dialling = asyncio.ensure_future(self._dial())

    async def _dial(self) -> None:
        node = self.relay.node
        try:
            far, _ = await asyncio.get_running_loop().create_connection(lambda: Far(self), node.address, node.port)
        except OSError:
            self.end()
            return
        self._far = far
        self._far.write(self._early)

    def data_received(self, data: bytes) -> None:
        for frame in self._asked.feed(data):
            self._request(frame)
        if self._far is None:
            self._early += data
        else:
            self._far.write(data)

    def _request(self, frame: bytes) -> None:
        _, _, stream, opcode, _ = HEADER.unpack_from(frame)
        if opcode == self.relay.held_opcode:
            self._waits.add(stream)
        elif opcode in NAMES and self.relay.delay:
            self._delayed.add(stream)
        if opcode == STARTUP:
            self._algorithm = next((name for name in ("lz4", "snappy") if name.encode() in frame.lower()), "")
        if opcode not in NAMES:
            return
        frame, text = self._opened(frame), ""
        if opcode in (QUERY, PREPARE):
            (length,) = struct.unpack_from(">I", frame, HEADER.size)
            text = frame[HEADER.size + 4 : HEADER.size + 4 + length].decode(errors="replace")
        self.relay.record(opcode, text)

    def _opened(self, frame: bytes) -> bytes:
        """The same request with its body open."""
        if not frame[1] & 1 or self._asked.codec is not None:
            return frame
        decompress = locally_supported_compressions[self._algorithm][1]
        return frame[: HEADER.size] + bytes(decompress(frame[HEADER.size :]))

    def answer(self, data: bytes) -> None:
        at_once: list[bytes] = []
        for frame in self._answered.feed(data):
            version, _, stream, opcode, _ = HEADER.unpack_from(frame)
            if version == 0x85 and opcode in (READY, AUTHENTICATE) and self._answered.codec is None:
                self._write(frame)
                codec = segment_codec_lz4 if self._algorithm == "lz4" else segment_codec_no_compression
                self._asked.codec = self._answered.codec = codec
                continue
            if stream in self._waits:
                self._waits.discard(stream)
                self.kept.append(frame)
            elif stream in self._delayed:
                self._delayed.discard(stream)
                asyncio.get_running_loop().call_later(self.relay.delay, self._write, frame)
            else:
                at_once.append(frame)
        self._write(*at_once)

    def release(self) -> None:
        kept, self.kept = self.kept, []
        self._waits.clear()
        self._write(*kept)

    def _write(self, *frames: bytes) -> None:
        if self._near is not None and frames:
            self._near.write(b"".join(map(self._answered.laid, frames)))

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()

    def end(self) -> None:
        self.relay.links.discard(self)
        for transport in (self._near, self._far):
            if transport is not None:
                transport.close()
        self._near = None


class Far(asyncio.Protocol):
    """The node's end of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.end()


class Frames:
    """Cuts whole frames out of a stream of bytes; out of segments once there is a ``codec``."""

    def __init__(self) -> None:
        self._rest = b""
        self._segments = b""
        self.codec: Any = None

    def laid(self, frame: bytes) -> bytes:
        """A frame as it is sent."""
        if self.codec is None:
            return frame
        laid = BytesIO()
        self.codec.encode(laid, frame)
        return laid.getvalue()

    def _payloads(self, data: bytes) -> bytes:
        self._segments += data
        head, payloads = self.codec.header_length_with_crc, b""
        while len(self._segments) >= head:
            header = self.codec.decode_header(BytesIO(self._segments[:head]))
            end = head + header.payload_length + CRC32_LENGTH
            if len(self._segments) < end:
                break
            payloads += self.codec.decode(BytesIO(self._segments[head:end]), header).payload
            self._segments = self._segments[end:]
        return payloads

    def feed(self, data: bytes) -> list[bytes]:
        rest = self._rest + (data if self.codec is None else self._payloads(data))
        frames = []
        while len(rest) >= HEADER.size:
            end = HEADER.size + int(HEADER.unpack_from(rest)[4])
            if len(rest) < end:
                break
            frames.append(rest[:end])
            rest = rest[end:]
        self._rest = rest
        return frames
