"""A client that says exactly what a test wants it to: a blocking socket with deadlines."""

from __future__ import annotations

import socket
import ssl
import struct
import time

from tests import frames
from tests.process.answers import AUTH_SUCCESS, AUTHENTICATE, READY, Answer
from tests.process.awaiting import PATIENCE

_HEADER = struct.Struct(">BBhBi")


class Closed(Exception):
    """The other end has closed the connection, with an end of file or a reset."""


class CqlConnection:
    """One connection to the proxy, or straight to a node. Streams are the test's own business."""

    def __init__(self, host: str, port: int, version: int = 4, tls: ssl.SSLContext | None = None) -> None:
        """With `tls` OSError where the handshake fails."""
        self.version = version
        self._socket = socket.create_connection((host, port), timeout=PATIENCE)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._received = b""
        self._early: list[Answer] = []

    @property
    def name(self) -> str:
        """Its own address, as the proxy's log lines have it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def send(self, data: bytes) -> None:
        """Raises Closed."""
        try:
            self._socket.settimeout(PATIENCE)
            self._socket.sendall(data)
        except ConnectionError as ended:
            raise Closed from ended

    def receive(self, seconds: float = PATIENCE) -> Answer:
        """The next answer. Raises Closed, and TimeoutError where none comes."""
        if self._early:
            return self._early.pop(0)
        deadline = time.monotonic() + seconds
        while True:
            if len(self._received) >= _HEADER.size:
                version, flags, stream, opcode, length = _HEADER.unpack_from(self._received)
                end = _HEADER.size + length
                if len(self._received) >= end:
                    body, self._received = self._received[_HEADER.size : end], self._received[end:]
                    return Answer(version & 0x7F, flags, stream, opcode, body)
                self._fill(deadline, end - len(self._received))
            else:
                self._fill(deadline, 1)

    def answer_to(self, stream: int, seconds: float = PATIENCE) -> Answer:
        """The next answer on this stream; those on others are kept for later."""
        for place, answer in enumerate(self._early):
            if answer.stream == stream:
                return self._early.pop(place)
        others, self._early = self._early, []
        try:
            while (answer := self.receive(seconds)).stream != stream:
                others.append(answer)
        finally:
            self._early = others
        return answer

    def ask(self, frame: bytes, seconds: float = PATIENCE) -> Answer:
        """Send a request and take its answer."""
        self.send(frame)
        return self.answer_to(int.from_bytes(frame[2:4], "big", signed=True), seconds)

    def query(self, text: str, stream: int = 0, consistency: int = 1) -> Answer:
        return self.ask(frames.query(stream, text, version=self.version, consistency=consistency))

    def prepare(self, text: str, stream: int = 0) -> bytes:
        """The prepared id."""
        return self.ask(frames.prepare(stream, text, version=self.version)).prepared_id

    def handshake(self, user: str = "", password: str = "") -> Answer:
        """STARTUP, and credentials where they are asked for and there are some; the last answer."""
        answer = self.ask(frames.startup(0, version=self.version))
        if answer.opcode == AUTHENTICATE and user:
            token = f"\0{user}\0{password}".encode()
            answer = self.ask(frames.auth_response(0, token, version=self.version))
        return answer

    def ready(self, user: str = "", password: str = "") -> CqlConnection:
        """A handshake that succeeds."""
        answer = self.handshake(user, password)
        assert answer.opcode in (READY, AUTH_SUCCESS), answer
        return self

    def is_silent(self, seconds: float) -> bool:
        """Nothing comes for so long, and the connection stays open."""
        try:
            self._early.append(self.receive(seconds))
        except TimeoutError:
            return True
        return False

    def is_cut(self) -> bool:
        """The other end has closed it already."""
        try:
            return not self.is_silent(0.001)
        except Closed:
            return True

    def until_closed(self, seconds: float = PATIENCE) -> list[Answer]:
        """What still comes before the connection closes. TimeoutError where it does not close."""
        answers = []
        deadline = time.monotonic() + seconds
        try:
            while True:
                answers.append(self.receive(deadline - time.monotonic()))
        except Closed:
            return answers

    def finish_writing(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def _fill(self, deadline: float, wanted: int) -> None:
        """At least one byte more; up to `wanted` in large pieces, so that 20 MB cost no more than they must."""
        pieces = [self._received]
        while wanted > 0:
            left = deadline - time.monotonic()
            if left <= 0:
                self._received = b"".join(pieces)
                raise TimeoutError("no answer")
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(max(65536, min(wanted, 1 << 20)))
            except TimeoutError:
                piece = None
            except ConnectionError as ended:
                raise Closed from ended
            if piece == b"":
                raise Closed
            if piece:
                pieces.append(piece)
                wanted -= len(piece)
        self._received = b"".join(pieces)
