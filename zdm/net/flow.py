"""Which of a session's three connections are read.

What is read from one connection is written to others, so where an end takes nothing, the reading that fills its
connection has to stop, or its bytes pile up here:

| full | not read meanwhile |
|---|---|
| the client's connection | both clusters', so that no more answers come; its own, so that no more are asked for |
| a cluster's connection | the client's |

A transport is full when more waits in it than its high-water mark, and drained below the low one; Twisted says this to
the producer that is registered with a transport. So none of this is on the path of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from zdm.core.clusters import Side


class Flow:
    """The connections of one session; each from `watch` until `forget` or until its transport has ended."""

    __slots__ = ("_clock", "_full", "_stalled", "_transports", "_unread")

    def __init__(self, clock: IReactorTime, stalled: Callable[[Side], None]) -> None:
        """`stalled` is called when a connection has been full for longer than its patience."""
        self._clock: Final = clock
        self._stalled: Final = stalled
        self._transports: Final[dict[Side, Any]] = {}
        self._full: Final[dict[Side, IDelayedCall | None]] = {}
        self._unread: Final[set[Side]] = set()

    def watch(self, side: Side, transport: Any, patience: float | None = None) -> None:
        """`transport` is an IConsumer and an IPushProducer; `patience` in seconds, for ever where it is None.

        Harmless where it is watched already.
        """
        if self._transports.get(side) is transport:
            return
        self._transports[side] = transport
        transport.registerProducer(_Brake(self, side, patience), True)
        self._settle()

    def forget(self, side: Side) -> None:
        """The connection is about to be closed. A transport closes only where no producer is registered."""
        transport = self._transports.get(side)
        if transport is not None:
            self.ended(side)
            transport.unregisterProducer()

    # What the transports say

    def filled(self, side: Side, patience: float | None) -> None:
        """More waits in the transport than its high-water mark."""
        if side not in self._full:
            self._full[side] = None if patience is None else self._clock.callLater(patience, self._stalled, side)
            self._settle()

    def drained(self, side: Side) -> None:
        """Most of it is sent."""
        if side in self._full:
            timer = self._full.pop(side)
            if timer is not None and timer.active():
                timer.cancel()
            self._settle()

    def ended(self, side: Side) -> None:
        """There is no connection any more."""
        self._transports.pop(side, None)
        self._unread.discard(side)
        self.drained(side)

    def _settle(self) -> None:
        for side, transport in self._transports.items():
            is_unread = bool(self._full) if side is Side.CLIENT else Side.CLIENT in self._full
            if is_unread and side not in self._unread:
                self._unread.add(side)
                transport.pauseProducing()
            elif side in self._unread and not is_unread:
                self._unread.remove(side)
                transport.resumeProducing()


@implementer(IPushProducer)
class _Brake:
    """What a transport knows of the flow."""

    __slots__ = ("_flow", "_patience", "_side")

    def __init__(self, flow: Flow, side: Side, patience: float | None) -> None:
        self._flow: Final = flow
        self._side: Final = side
        self._patience: Final = patience

    def pauseProducing(self) -> None:
        self._flow.filled(self._side, self._patience)

    def resumeProducing(self) -> None:
        self._flow.drained(self._side)

    def stopProducing(self) -> None:
        self._flow.ended(self._side)
