"""One HTTP connection: how long a request may take to arrive, and how much of it is kept.

Twisted limits the size of headers and the time without any byte; a client that sends a byte now and then would stay for
ever, and a body of any size would be kept.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from zdm.admin.change import BODY_LIMIT

REQUEST_WITHIN_S: Final = 15
"""From a request's first byte to its last."""

_TOO_SLOW: Final = b"request timeout\n"
_UNREADABLE: Final = (
    b"bad request: nothing was done. Whatever is not ASCII, and every space, must be percent-encoded; "
    b"curl does that with --data-urlencode 'reason=TEXT'\n"
)


class Channel(HTTPChannel):
    """Closes a connection whose request is not there in time. Logs nothing: clients come and go."""

    transport: Any
    _deadline: IDelayedCall | None = None
    _is_given_up = False

    @property
    def is_spare(self) -> bool:
        """It can be closed without anybody missing an answer."""
        return not self._handlingRequest and not self._is_given_up

    def give_up(self) -> None:
        """Close it now."""
        self._is_given_up = True
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self._handlingRequest:
            self._deadline = self.callLater(REQUEST_WITHIN_S, self._too_slow)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        self._disarm()
        super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._disarm()
        super().connectionLost(reason)

    def timeoutConnection(self) -> None:
        """Called after a time without any byte, and when a request was too slow."""
        self._is_given_up = True
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """It did not even take what was left to send."""
        self._abortingCall = None
        self.transport.abortConnection()

    def _too_slow(self) -> None:
        self._deadline = None
        self.setTimeout(None)
        self._tell(b"408 Request Timeout", _TOO_SLOW)
        self.timeoutConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        """In place of Twisted's answer, which has no text: who calls with `curl -s` would take it for done."""
        self._tell(b"400 Bad Request", _UNREADABLE)
        self.loseConnection()

    def _tell(self, status: bytes, text: bytes) -> None:
        head = b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.transport.write(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedRequest(Request):
    """Keeps one byte more than may be sent, from which a body that is too large is known; what follows is dropped."""

    content: Any

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        room = BODY_LIMIT + 1 - self.content.tell()
        self.content.write(data[:room])
