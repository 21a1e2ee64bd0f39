"""TLS on one connection, between the loop's transport and a Twisted protocol.

Bytes go through an `ssl.SSLObject` right here, over the same plain transport that connections without TLS have: so what
the socket has not taken, when it is full, and how it is reset, are known of both kinds alike. The loops' own TLS
transports keep what is below them to themselves, on uvloop out of reach: 16 MB that nobody takes look like none there.

Each write is one write to the socket, and what one read has brought is delivered in one piece. Whoever closes says so
(`close_notify`) and does not wait for the same; a connection that ends without it has ended all the same, because
frames have lengths and nothing is taken for whole that is not.

Which certificates are used is settled by a `TlsEnd` when a connection begins; `reception` limits how many clients may
be at it, and for how long.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from zdm.net.transport import LoopTransport, SocketOptions

_log = Logger()

_RECORD: Final = 16384
"""Most bytes of a record (RFC 8446, 5.1): more are never read at a time."""

_HANDSHAKE: Final = 0x16
_ALERT: Final = 0x15
"""The kinds of record that can come first."""

_LAST_WORDS: Final = 5.0
"""Seconds in which the other end may take the alert that tells it why."""

# X509_V_ERR_*, of OpenSSL
_OUT_OF_DATE: Final = frozenset({9, 10})
_UNKNOWN_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME: Final = frozenset({62, 64})


class TlsError(ConnectError):
    """TLS did not come about, or ended in the middle; the text is meant for the operator."""

    def __init__(self, text: str) -> None:
        super().__init__(None, text)  # type: ignore[no-untyped-call]  # Twisted's errors are not typed
        self.text: Final = text

    def __str__(self) -> str:
        return self.text


class NothingSaid(TlsError):
    """The other end has left without a byte, as those do who look whether a port is open."""


class TlsEnd:
    """This proxy's end of the connections of one kind: new ones use the certificates that it was given last."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context

    def replace(self, context: ssl.SSLContext) -> None:
        """What has begun goes on with what it has."""
        self._context = context

    def begin(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, host: str) -> ssl.SSLObject:
        """TLS with `host`, whose name is told and checked only where the context asks for that. Raises TlsError."""
        context = self._context
        if context is None:
            raise TlsError("tls: the certificates are not loaded yet")
        is_server = context.protocol is ssl.PROTOCOL_TLS_SERVER
        try:
            return context.wrap_bio(incoming, outgoing, is_server, host if context.check_hostname else None)
        except ValueError as failed:  # a name that cannot be one
            raise TlsError(f"tls: {failed}") from failed


class TlsTransport(LoopTransport):
    """A connection whose protocol is attached once the handshake is done."""

    __slots__ = (
        "_advance", "_end", "_fault", "_first", "_hostname", "_incoming", "_outgoing", "_patience", "_settled",
        "_timer", "_tls",
    )  # fmt: skip

    _advance: Callable[[], None]

    def __init__(
        self,
        factory: IProtocolFactory,
        options: SocketOptions,
        end: TlsEnd,
        settled: Callable[[TlsError | None], None],
        hostname: str = "",
        patience: float | None = None,
    ) -> None:
        """`settled` is called once: when a protocol is attached or refused, or with why there will be none.

        `hostname` is the other end's, as it was dialled; `patience` in seconds is the limit of the handshake, where
        nobody else has set one.
        """
        super().__init__(factory, options)
        self._end: Final = end
        self._settled: Callable[[TlsError | None], None] = settled
        self._hostname: Final = hostname
        self._patience: Final = patience
        self._incoming: Final = ssl.MemoryBIO()
        self._outgoing: Final = ssl.MemoryBIO()
        self._tls: ssl.SSLObject
        self._first = -1
        self._fault: TlsError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._advance = _stay
        self.data_received = self._received  # uvloop looks it up before there is a connection

    # The handshake

    def _open(self) -> None:
        try:
            self._tls = self._end.begin(self._incoming, self._outgoing, self._hostname)
        except TlsError as failed:
            self._fail(failed)
            return
        if self._patience is not None:
            self._timer = asyncio.get_event_loop().call_later(self._patience, self._too_late)
        self._advance = self._shake_hands
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as failed:
            self._fail(TlsError(self._handshake_fault(failed)))
        else:
            self._flush()
            self._stop_timer()
            self._agreed()

    def _agreed(self) -> None:
        """The connection is the protocol's from now on; what has come with the handshake is its first."""
        self._advance, self.write = self._read, self._encrypt
        try:
            built = self._attached()
            self._settle(None)
            if built is not None:
                built.makeConnection(self)
        except Exception:
            _log.failure("No protocol for the connection with {peer}", peer=self._peer)
            self.abortConnection()
        self._advance()

    def _handshake_fault(self, failed: ssl.SSLError) -> str:
        if self._first not in (_HANDSHAKE, _ALERT):
            return "tls: first record does not look like a TLS handshake"
        return described(failed, self._hostname)

    def _too_late(self) -> None:
        self._timer = None
        self._fault = TlsError(f"tls: the handshake was not done within {self._patience:g} s")
        self._loop_transport.abort()

    def _settle(self, failed: TlsError | None) -> None:
        settled, self._settled = self._settled, _ignore
        settled(failed)

    # What comes and goes

    def _received(self, data: bytes) -> None:
        if self._first < 0:
            self._first = data[0]
        self._incoming.write(data)
        self._advance()

    def _read(self) -> None:
        tls, incoming = self._tls, self._incoming
        pieces: list[bytes] = []
        is_over, fault = False, None
        try:
            while incoming.pending or tls.pending():  # cheaper than to be told by an exception
                piece = tls.read(_RECORD)
                if not piece:
                    is_over = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as failed:
            fault = failed
        if self._outgoing.pending:  # an answer of the protocol's own, to new keys or to nonsense
            self._flush()
        if pieces and self.wrapped is not None:
            self.wrapped.dataReceived(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if is_over:
            self._part()
        elif fault is not None:
            self._fail(TlsError(described(fault, self._hostname)))

    def _encrypt(self, data: bytes) -> None:
        tls = self._tls
        try:
            sent = tls.write(data)
            if sent < len(data):  # OpenSSL may be built to take a record at a time
                left = memoryview(data)[sent:]
                while left:
                    left = left[tls.write(left) :]
        except ssl.SSLError as failed:
            self._fail(TlsError(described(failed, self._hostname)))
        else:
            self._loop_transport.write(self._outgoing.read())

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._loop_transport.write(self._outgoing.read())

    # The end

    @property
    def can_detach(self) -> bool:
        """The keys are in this process, and cannot leave it."""
        return False

    def loseWriteConnection(self) -> None:
        """Say that nothing follows, and go on reading."""
        if not self.disconnecting:
            self._say_goodbye()
            super().loseWriteConnection()

    def _close(self) -> None:
        self._advance = _stay
        self._say_goodbye()
        super()._close()

    def _part(self) -> None:
        """The other end has said goodbye: it takes nothing more but the same."""
        if self.unsent():
            self.eof_received()
            return
        self.disconnecting = True
        self._silence()
        self._say_goodbye()
        self._loop_transport.close()

    def _say_goodbye(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # the other end's goodbye is not there, of course, and not awaited
        self._flush()

    def _fail(self, fault: TlsError) -> None:
        """TLS cannot go on: the other end is told by an alert, where there is one, and the connection ends."""
        self._fault = fault
        self.disconnecting = True
        self._silence()
        self._stop_timer()
        self._flush()
        self._loop_transport.close()
        self._timer = asyncio.get_event_loop().call_later(_LAST_WORDS, self._loop_transport.abort)

    def _silence(self) -> None:
        super()._silence()
        self._advance = _stay

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._fault is None and self.wrapped is None:
            text = "tls: the connection was closed during the handshake"
            self._fault = NothingSaid(text) if self._first < 0 else TlsError(text)
        self._settle(self._fault)
        super().connection_lost(exc)

    def _reason(self, exc: Exception | None) -> Failure:
        return super()._reason(exc) if self._fault is None else Failure(self._fault)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def described(failed: ssl.SSLError, hostname: str = "") -> str:
    """Why, in the words that operators of the reference look for (spec section 9.4)."""
    if isinstance(failed, ssl.SSLCertVerificationError):
        return _certificate_fault(failed, hostname)
    reason = failed.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "tls: client didn't provide a certificate"
    _, is_alert, name = reason.partition("_ALERT_")
    words = (name or reason or str(failed)).lower().replace("_", " ")
    return f"remote error: tls: {words}" if is_alert else f"tls: {words}"


def _certificate_fault(failed: ssl.SSLCertVerificationError, hostname: str) -> str:
    code = failed.verify_code
    if code in _OUT_OF_DATE:
        return "x509: certificate has expired or is not yet valid"
    if code in _UNKNOWN_AUTHORITY:
        return f"x509: certificate signed by unknown authority ({failed.verify_message})"
    if code in _WRONG_NAME:
        return f"x509: certificate is not valid for {hostname}"
    return f"x509: {failed.verify_message}"


def _stay() -> None:
    """There is nothing to do with what has come."""


def _ignore(_: TlsError | None) -> None:
    """It has been told."""
