"""TLS handshakes with clients: limited in time and in number, so that those that fail or never end harm nobody else.

A handshake under way is no client yet: it has a socket and a timer, and nothing was opened for it. Failures are told of
at a bounded rate, because whoever can reach the port can make them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory

from zdm.net.control_link import Log
from zdm.net.tls import NothingSaid, TlsEnd, TlsError, TlsTransport
from zdm.net.transport import Address, LoopTransport, SocketOptions

PATIENCE: Final = 10.0
"""Seconds in which a client's handshake is to be done."""

QUIET: Final = 10.0
"""Seconds in which one failure is told of, however many there are."""


class Reception:
    """Where clients with TLS come in: one for each process that has clients."""

    def __init__(self, end: TlsEnd, log: Log, clock: IReactorTime, limit: int, patience: float = PATIENCE) -> None:
        """At most `limit` handshakes are under way at a time, each for at most `patience` seconds."""
        self._end: Final = end
        self._log: Final = log
        self._clock: Final = clock
        self._limit: Final = limit
        self._patience: Final = patience
        self._quiet_until = 0.0
        self._untold = 0
        self.under_way = 0

    def transport(
        self,
        factory: IProtocolFactory,
        options: SocketOptions,
        then: Callable[[TlsError | None], None] = lambda _: None,
    ) -> LoopTransport:
        """For a connection that was just accepted; `then` is called once the handshake has come to its end."""
        if self.under_way >= self._limit:
            full = TlsError(f"tls: {self._limit} handshakes are under way already")
            self._tell(str(full), "one more client")
            then(full)
            return LoopTransport(_NOBODY, options)
        self.under_way += 1

        def settled(failed: TlsError | None) -> None:
            self.under_way -= 1
            if failed is not None:
                self._failed(failed, transport.getPeer())
            then(failed)

        transport = TlsTransport(factory, options, self._end, settled, patience=self._patience)
        return transport

    def _failed(self, failed: TlsError, peer: Address) -> None:
        who = f"client {peer.host}:{peer.port}"
        if isinstance(failed, NothingSaid):
            self._log.debug(f"TLS handshake: {who} has left without a byte.")
        else:
            self._tell(str(failed), who)

    def _tell(self, why: str, who: str) -> None:
        now = self._clock.seconds()
        if now < self._quiet_until:
            self._untold += 1
            return
        more = f" There were {self._untold} more since the last such line." if self._untold else ""
        self._quiet_until, self._untold = now + QUIET, 0
        self._log.error(f"[CLIENT-CONNECTOR] error reading: {why} (TLS handshake with {who}; it is closed).{more}")


class _Nobody(Factory):
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        """Refuses."""


_NOBODY: Final = _Nobody()
