"""What stands for a transport until there is one: the connection is open, and about to be attached here."""

from __future__ import annotations

from typing import Any, Final


class Anteroom:
    """Keeps what is written, and whether the connection is to be closed, for the transport that comes."""

    disconnecting = False

    def __init__(self) -> None:
        self._written: Final[list[bytes]] = []
        self._is_over = self._is_aborted = False

    def write(self, data: bytes) -> None:
        self._written.append(data)

    def loseConnection(self) -> None:
        self._is_over = True

    def abortConnection(self) -> None:
        self._is_aborted = True

    def unsent(self) -> int:
        """Bytes that wait."""
        return sum(map(len, self._written))

    def leave(self, transport: Any) -> None:
        """The transport is there: what was asked of this is asked of that."""
        if self._written:
            transport.write(b"".join(self._written))
        if self._is_aborted:
            transport.abortConnection()
        elif self._is_over:
            transport.loseConnection()
