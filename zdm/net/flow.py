"""Which of a session's three connections are read.

What is read from one connection is written to others, so where an end takes nothing, the reading that fills its
connection has to stop, or its bytes pile up here:

| full | not read meanwhile |
|---|---|
| the client's connection | both clusters', so that no more answers come; its own, so that no more are asked for |
| a cluster's connection | the client's |
| a limit of `in_flight` | the client's |

A transport is full when more waits in it than its high-water mark, and drained below the low one; Twisted says this to
the producer that is registered with a transport. So none of this is on the path of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from zdm.core.clusters import Side
from zdm.meters import Spans


class Limit(Enum):
    """Whose bytes in flight are too many."""

    CLIENT = 0
    PROCESS = 1


class PausedTime:
    """The time in which somebody was not read, in all sessions: by the side that took nothing, or by the limit."""

    def __init__(self) -> None:
        self.sides: Final = {side: Spans() for side in Side}
        self.limits: Final = {limit: Spans() for limit in Limit}


class Flow:
    """The connections of one session; each from `watch` until `forget` or until its transport has ended."""

    __slots__ = (
        "_brakes", "_client_full", "_clock", "_full", "_pauses", "_rests", "_stalled", "_transports", "_unread",
    )  # fmt: skip

    def __init__(
        self,
        clock: IReactorTime,
        stalled: Callable[[Side], None],
        client_full: Callable[[bool], None],
        pauses: PausedTime,
    ) -> None:
        """`stalled` is called when a full connection has taken nothing for longer than its patience.

        `client_full` is called when the client's connection is full, from within a write, and when it is drained.
        """
        self._clock: Final = clock
        self._client_full: Final = client_full
        self._stalled: Final = stalled
        self._pauses: Final = pauses
        self._transports: Final[dict[Side, Any]] = {}
        self._full: Final[dict[Side, IDelayedCall | None]] = {}
        self._unread: Final[set[Side]] = set()
        self._brakes: tuple[Limit, ...] = ()
        self._rests = False

    def watch(self, side: Side, transport: Any, patience: float | None = None) -> None:
        """`transport` is a `LoopTransport`; `patience` in seconds, for ever where it is None.

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

    def unsent(self, side: Side) -> int:
        """Bytes that wait in the connection's transport."""
        transport = self._transports.get(side)
        return 0 if transport is None else int(transport.unsent())

    def rest(self, is_on: bool) -> None:
        """Do not read the client, or do so again: it is about to leave."""
        self._rests = is_on
        self._settle()

    # What the limits say

    def brake(self, limit: Limit) -> None:
        """Do not read the client until `release`."""
        if limit not in self._brakes and Side.CLIENT in self._transports:
            self._brakes += (limit,)
            self._pauses.limits[limit].begin(self._clock.seconds())
            self._settle()

    def release(self, limit: Limit) -> None:
        """As far as this limit goes the client may be read."""
        if limit in self._brakes:
            self._brakes = tuple(other for other in self._brakes if other is not limit)
            self._pauses.limits[limit].end(self._clock.seconds())
            self._settle()

    # What the transports say

    def filled(self, side: Side, patience: float | None) -> None:
        """More waits in the transport than its high-water mark."""
        if side not in self._full:
            self._full[side] = None
            self._pauses.sides[side].begin(self._clock.seconds())
            if patience is not None:
                self._wait(side, patience)
            self._settle()

    def drained(self, side: Side) -> None:
        """Most of it is sent."""
        if side in self._full:
            timer = self._full.pop(side)
            if timer is not None and timer.active():
                timer.cancel()
            self._pauses.sides[side].end(self._clock.seconds())
            self._settle()

    def tell(self, side: Side, is_full: bool) -> None:
        """How the client is; what follows from a full cluster is settled here."""
        if side is Side.CLIENT:
            self._client_full(is_full)

    def ended(self, side: Side) -> None:
        """There is no connection any more."""
        self._transports.pop(side, None)
        self._unread.discard(side)
        self.drained(side)
        if side is Side.CLIENT:
            for limit in self._brakes:
                self.release(limit)

    def _wait(self, side: Side, patience: float) -> None:
        self._full[side] = self._clock.callLater(patience, self._look, side, patience, self.unsent(side))

    def _look(self, side: Side, patience: float, before: int) -> None:
        """A transport that is full may be slow, as long as something of it goes out."""
        if self.unsent(side) < before:
            self._wait(side, patience)
        else:
            self._stalled(side)

    def _settle(self) -> None:
        for side, transport in self._transports.items():
            is_unread = Side.CLIENT in self._full
            if side is Side.CLIENT:
                is_unread = self._rests or bool(self._full or self._brakes)
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
        self._flow.tell(self._side, is_full=True)

    def resumeProducing(self) -> None:
        self._flow.drained(self._side)
        self._flow.tell(self._side, is_full=False)

    def stopProducing(self) -> None:
        self._flow.ended(self._side)
