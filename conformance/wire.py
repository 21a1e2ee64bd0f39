"""A CQL connection by hand, for what no Python driver sends: named values, exact error bodies, requests in one write.

It builds its frames itself, so it can check a proxy without sharing the proxy's mistakes. Versions 3, 4 and 5; the
first two have the same layout for everything here. Frame: version, flags (1 byte each), stream (2), opcode (1), length
(4), body. The checksummed segments of version 5 are the driver's.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Final, NamedTuple

from cassandra.segment import CRC32_LENGTH, SegmentCodec

from conformance.backends.interface import Credentials

HEADER: Final = struct.Struct(">BBhBI")
ERROR, STARTUP, READY, AUTHENTICATE, QUERY, RESULT, PREPARE, EXECUTE = 0, 1, 2, 3, 7, 8, 9, 10
BATCH, AUTH_RESPONSE, AUTH_SUCCESS = 13, 15, 16
OPTIONS, SUPPORTED = 5, 6
CONSISTENCY_ONE, CONSISTENCY_QUORUM = 1, 4
UNAVAILABLE, ALREADY_EXISTS = 0x1000, 0x2400


class Answer(NamedTuple):
    opcode: int
    body: bytes


class ErrorAnswer(NamedTuple):
    """An ERROR body, taken apart: ``rest`` is what follows code and message, byte by byte."""

    code: int
    message: str
    rest: bytes


class Refused(Exception):
    """The server answered the login with an ERROR; ``answer`` is that error."""

    def __init__(self, answer: ErrorAnswer) -> None:
        super().__init__(f"0x{answer.code:04x} {answer.message}")
        self.answer = answer


def string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def long_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">I", len(raw)) + raw


def value(raw: bytes | None) -> bytes:
    return struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw


def parameters(
    version: int,
    values: Sequence[bytes | None] | Mapping[str, bytes | None] | None,
    consistency: int,
    timestamp: int | None,
) -> bytes:
    """The part of QUERY and EXECUTE behind the statement: consistency, flags (1 or 4 bytes), values, timestamp (us)."""
    flags = (0x20 if timestamp is not None else 0) | (0x01 if values is not None else 0)
    body = b""
    if isinstance(values, Mapping):
        flags |= 0x40
        pairs = [string(name) + value(raw) for name, raw in values.items()]
        body = struct.pack(">H", len(pairs)) + b"".join(pairs)
    elif values is not None:
        body = struct.pack(">H", len(values)) + b"".join(value(raw) for raw in values)
    if timestamp is not None:
        body += struct.pack(">q", timestamp)
    return struct.pack(">HI" if version >= 5 else ">HB", consistency, flags) + body


def short_bytes_at(data: bytes, position: int) -> tuple[bytes, int]:
    """What is there, and where it ends."""
    (length,) = struct.unpack_from(">H", data, position)
    end = position + 2 + length
    return data[position + 2 : end], end


class Wire:
    """One logged-in connection with one request at a time. Use as a context manager: leaving it closes the socket."""

    def __init__(
        self, address: str, port: int, version: int, credentials: Credentials | None = None, timeout: float = 20.0
    ) -> None:
        self.version = version
        self._codec: SegmentCodec | None = None
        self._opened = b""
        self._metadata_ids: dict[bytes, bytes] = {}
        self.socket = socket.create_connection((address, port), timeout)
        try:
            self._log_in(credentials)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *unused: object) -> None:
        self.socket.close()

    def ask(self, opcode: int, body: bytes, stream: int = 1) -> Answer:
        self.send(opcode, body, stream)
        return self.read(stream)

    def send(self, opcode: int, body: bytes, stream: int = 1) -> None:
        """For several requests at a time, or one whose answer is not awaited."""
        frame = HEADER.pack(self.version, 0, stream, opcode, len(body)) + body
        if self._codec is not None:
            laid = BytesIO()
            self._codec.encode(laid, frame)
            frame = laid.getvalue()
        self.socket.sendall(frame)

    def query(
        self,
        text: str,
        values: Sequence[bytes | None] | Mapping[str, bytes | None] | None = None,
        *,
        consistency: int = CONSISTENCY_ONE,
        timestamp: int | None = None,
    ) -> Answer:
        return self.ask(QUERY, long_string(text) + parameters(self.version, values, consistency, timestamp))

    def prepare(self, text: str) -> bytes:
        """Returns the prepared id; raises Refused with the error."""
        answer = self.ask(PREPARE, long_string(text) + (bytes(4) if self.version >= 5 else b""))
        if answer.opcode == ERROR:
            raise Refused(error_of(answer))
        prepared_id, behind = short_bytes_at(answer.body, 4)
        if self.version >= 5:
            self._metadata_ids[prepared_id] = short_bytes_at(answer.body, behind)[0]
        return prepared_id

    def execute(
        self,
        prepared_id: bytes,
        values: Sequence[bytes | None] | Mapping[str, bytes | None],
        *,
        consistency: int = CONSISTENCY_ONE,
        timestamp: int | None = None,
    ) -> Answer:
        head = struct.pack(">H", len(prepared_id)) + prepared_id
        if self.version >= 5:
            metadata_id = self._metadata_ids.get(prepared_id, b"unknown")
            head += struct.pack(">H", len(metadata_id)) + metadata_id
        return self.ask(EXECUTE, head + parameters(self.version, values, consistency, timestamp))

    def batch(self, texts: Sequence[str], *, consistency: int = CONSISTENCY_ONE) -> Answer:
        """A logged batch of statements without values."""
        children = b"".join(b"\0" + long_string(text) + b"\0\0" for text in texts)
        rest = parameters(self.version, None, consistency, None)
        return self.ask(BATCH, b"\0" + struct.pack(">H", len(texts)) + children + rest)

    def _log_in(self, credentials: Credentials | None) -> None:
        answer = self.ask(STARTUP, struct.pack(">H", 1) + string("CQL_VERSION") + string("3.0.0"))
        if self.version >= 5 and answer.opcode in (READY, AUTHENTICATE):
            self._codec = SegmentCodec()
        if answer.opcode == AUTHENTICATE and credentials is not None:
            token = b"\0" + credentials.username.encode() + b"\0" + credentials.password.encode()
            answer = self.ask(AUTH_RESPONSE, value(token))
        if answer.opcode == ERROR:
            raise Refused(error_of(answer))
        if answer.opcode not in (READY, AUTH_SUCCESS):
            raise ConnectionError(f"login ended with opcode {answer.opcode}")

    def read(self, stream: int) -> Answer:
        """The next answer, which must be on this stream."""
        version, flags, got_stream, opcode, length = HEADER.unpack(self._exactly(HEADER.size))
        body = self._exactly(length)
        assert version == self.version | 0x80, f"version byte 0x{version:02x} in an answer to version {self.version}"
        assert got_stream == stream, f"answer on stream {got_stream}, asked on {stream}"
        if flags & 0x08:  # warnings come before the body proper
            (count,) = struct.unpack_from(">H", body)
            position = 2
            for _ in range(count):
                position += 2 + struct.unpack_from(">H", body, position)[0]
            body = body[position:]
        return Answer(opcode, body)

    def _exactly(self, count: int) -> bytes:
        """The next bytes of frames."""
        if self._codec is None:
            return self._received(count)
        while len(self._opened) < count:
            head = self._received(self._codec.header_length_with_crc)
            header = self._codec.decode_header(BytesIO(head))
            payload = BytesIO(self._received(header.payload_length + CRC32_LENGTH))
            self._opened += self._codec.decode(payload, header).payload
        taken, self._opened = self._opened[:count], self._opened[count:]
        return taken

    def _received(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self.socket.recv(count - len(parts))
            if not part:
                raise ConnectionError("closed by the other side")
            parts += part
        return bytes(parts)


def offered_versions(address: str, port: int) -> list[int]:
    """The protocol versions that a server names in SUPPORTED, asked before STARTUP; none where it names none."""
    with socket.create_connection((address, port), 20) as stream:
        stream.sendall(HEADER.pack(4, 0, 1, OPTIONS, 0))
        with stream.makefile("rb") as answers:
            _, _, _, opcode, length = HEADER.unpack(answers.read(HEADER.size))
            body = answers.read(length)
    assert opcode == SUPPORTED, f"OPTIONS were answered with opcode {opcode}: {body[:80]!r}"
    # a map of string lists, in which the names look like 4/v4; nothing else there does
    return sorted({int(found[1]) for found in re.finditer(rb"\b(\d+)/v\1\b(?!-beta)", body)})


def error_of(answer: Answer) -> ErrorAnswer:
    assert answer.opcode == ERROR, f"an ERROR was expected, opcode {answer.opcode} came: {answer.body[:80]!r}"
    code, length = struct.unpack_from(">IH", answer.body)
    return ErrorAnswer(code, answer.body[6 : 6 + length].decode(), answer.body[6 + length :])
