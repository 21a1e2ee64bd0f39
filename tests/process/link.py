"""A wire between the proxy and a node that can be cut, stalled, slowed, or made to lose what it carries.

Threads and blocking sockets: one that accepts, and two for each connection. Nothing here looks at the bytes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Protocol

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Node(Protocol):
    """Where the wire leads."""

    host: str
    port: int


class Link:
    """Listens on an address of its own from the start to `close`."""

    def __init__(self, node: Node, host: str) -> None:
        self.host = host
        self.login = getattr(node, "login", ("", ""))
        self._node = node
        self._listener = socket.create_server((host, 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._is_over = threading.Event()
        self.loses = False
        """What is sent to the node is thrown away while this is set, and so is what the node sends."""
        self.delay = 0.0
        """Seconds by which everything is late, in each direction."""
        self._accepting = self._start(self._accept, self._listener)

    def stall(self) -> None:
        """Nothing is read any more on either end, on any connection; new ones are accepted and stall as well."""
        self._flows.clear()

    def resume(self) -> None:
        """What was held back flows again."""
        self._flows.set()

    def cut(self) -> None:
        """End every connection with a reset; new ones are accepted."""
        with self._lock:
            cut, self._sockets = self._sockets, set()
        for opened in cut:
            _reset(opened)

    def refuse(self) -> None:
        """Cut, and let nobody connect until `accept`."""
        _shut(self._listener)
        self._accepting.join()
        self.cut()

    def accept(self) -> None:
        """Let connections in again after `refuse`, on the same port."""
        self._listener = socket.create_server((self.host, self.port), backlog=512)
        self._accepting = self._start(self._accept, self._listener)

    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._sockets) // 2

    def close(self) -> None:
        self._is_over.set()
        self._flows.set()
        self.refuse()

    def _start(self, run: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((self._node.host, self._node.port), timeout=10)
            except OSError:
                _reset(near)
                continue
            far.settimeout(None)
            with self._lock:
                self._sockets |= {near, far}
            self._start(self._carry, near, far)
            self._start(self._carry, far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flows.wait()
                if self.delay and self._is_over.wait(self.delay):
                    return
                if not self.loses:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            with self._lock:
                self._sockets -= {source, sink}
            for opened in (source, sink):
                _shut(opened)


def _shut(opened: socket.socket) -> None:
    """Wakes whoever is blocked on it, which closing alone would not."""
    with contextlib.suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    opened.close()


def _reset(opened: socket.socket) -> None:
    with contextlib.suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        opened.shutdown(socket.SHUT_RD)
    opened.close()
