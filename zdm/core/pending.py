"""One request in flight.

The record is made for every request of the data path, so it holds no more than what settling needs: what is awaited,
since when, and where in the read buffer the request's bytes lie (they are needed again only where a cluster has
forgotten a prepared statement, or where the proxy must word an error about the request).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zdm.core.plans import Plan
    from zdm.cql.functions import Variable


class PendingRequest:
    """Made when the request arrives, gone when its answer is decided or its session ends.

    `awaits` is the set of clusters that still have to answer; `failed` those that answered with an ERROR. `origin` and
    `target` are answers kept as whole frames under the client's stream id, empty where nobody will need them.
    """

    __slots__ = (
        "awaits",
        "chunk",
        "end",
        "failed",
        "held",
        "mendings",
        "origin",
        "plan",
        "start",
        "started",
        "stream",
        "target",
    )

    def __init__(self, stream: int, plan: Plan, started: float, chunk: bytes, start: int, end: int) -> None:
        self.stream = stream
        self.plan = plan
        self.started = started
        self.chunk = chunk
        self.start = start
        self.end = end
        self.awaits = plan.awaits
        self.failed = 0
        self.origin = b""
        self.target = b""
        self.held = False
        self.mendings = 0

    def frame(self) -> bytes:
        """The request as the clusters are to get it, its body open: as the client sent it, but for what was amended."""
        return self.chunk[self.start : self.end]

    def as_sent(self) -> bytes:
        """The same, for clusters: compressed, where it came so and was not amended."""
        return self.chunk[self.start : self.end]

    def __repr__(self) -> str:
        state = "held" if self.held else f"awaits={self.awaits} failed={self.failed}"
        return f"<PendingRequest stream={self.stream} route={self.plan.route.name} {state}>"


class PackedRequest(PendingRequest):
    """One whose body came compressed (v3, v4). `chunk` is the frame as it was opened, `packed` as it came."""

    __slots__ = ("packed",)

    def __init__(self, stream: int, plan: Plan, started: float, frame: bytes, packed: bytes) -> None:
        PendingRequest.__init__(self, stream, plan, started, frame, 0, len(frame))
        self.packed = packed

    def as_sent(self) -> bytes:
        """Compressed, as it came."""
        return self.packed


def received(stream: int, plan: Plan, now: float, frame: bytes, packed: bytes) -> PendingRequest:
    """A request that came as `frame`, or compressed as `packed`, which is empty where it did not."""
    if packed:
        return PackedRequest(stream, plan, now, frame, packed)
    return PendingRequest(stream, plan, now, frame, 0, len(frame))


def packed_of(request: PendingRequest) -> bytes:
    """The compressed frame of a request; empty where it came open."""
    return request.packed if isinstance(request, PackedRequest) else b""


class PendingPrepare(PendingRequest):
    """A PREPARE with variables in place of calls. `variables` are all of its text, in order."""

    __slots__ = ("variables",)

    def __init__(self, stream: int, plan: Plan, started: float, frame: bytes, variables: tuple[Variable, ...]) -> None:
        PendingRequest.__init__(self, stream, plan, started, frame, 0, len(frame))
        self.variables = variables
