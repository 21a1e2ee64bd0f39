"""The parts of a meter: durations by bucket, time spans, requests of one kind, single nodes.

The data path adds to plain integers and lists; names, help and labels appear only when somebody asks (`families`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from zdm.protocol.errors import ErrorCode

DEFAULT_BOUNDS: Final[Sequence[float]] = (
    0.001, 0.004, 0.007, 0.01, 0.025, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 15,
)  # fmt: skip

CLIENT_TIMEOUT: Final = "client_timeout"
_OTHER: Final = "other"
_ERRORS: Final = {
    int(ErrorCode.READ_TIMEOUT): "read_timeout",
    int(ErrorCode.READ_FAILURE): "read_failure",
    int(ErrorCode.WRITE_TIMEOUT): "write_timeout",
    int(ErrorCode.WRITE_FAILURE): "write_failure",
    int(ErrorCode.OVERLOADED): "overloaded",
    int(ErrorCode.UNAVAILABLE): "unavailable",
    int(ErrorCode.UNPREPARED): "unprepared",
}
ERROR_NAMES: Final = (CLIENT_TIMEOUT, *_ERRORS.values(), _OTHER)
"""How a node can fail a request, by the names that the reference gives them."""


class Histogram:
    """Durations by bucket: `counts[i]` is how many were at most `bounds[i]` seconds and over `bounds[i - 1]`.

    The last of `counts` has no bound. `total` is the sum of all, in seconds.
    """

    __slots__ = ("_first", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are seconds, rising."""
        self.bounds: Final[list[float]] = [float(bound) for bound in bounds]
        self._first: Final[float] = self.bounds[0] if self.bounds else -1.0
        self.counts: list[int] = [0] * (len(self.bounds) + 1)
        self.total: float = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """What lasted so long, as often as it did."""
        self.counts[0 if seconds <= self._first else bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times

    def add(self, other: Histogram) -> None:
        """Count what `other` has counted; raises `ValueError` where its bounds are not ours."""
        if other.bounds != self.bounds:
            raise ValueError(f"bounds {other.bounds} can't be added to {self.bounds}")
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Spans:
    """How many seconds things of one kind have lasted together, those that last still among them.

    Nothing is kept for each: whoever tells of a beginning tells of its end, once.
    """

    __slots__ = ("_going", "_seconds")

    def __init__(self) -> None:
        self._going = 0
        self._seconds = 0.0

    def begin(self, now: float) -> None:
        self._going += 1
        self._seconds -= now

    def end(self, now: float) -> None:
        self._going -= 1
        self._seconds += now

    def seconds(self, now: float) -> float:
        return max(0.0, self._seconds + self._going * now)


class RequestMeter:
    """The requests of one forward decision: `inflight` now, `cancelled` because their client went, the rest by time."""

    __slots__ = ("cancelled", "duration", "inflight")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.inflight: int = 0
        self.cancelled: int = 0
        self.duration: Final = Histogram(bounds)

    @property
    def begun(self) -> int:
        """All that were ever sent."""
        return self.inflight + self.cancelled + sum(self.duration.counts)

    def settle(self, seconds: float, times: int = 1) -> None:
        """So many are settled after that time."""
        self.inflight -= times
        self.duration.observe(seconds, times)

    def add(self, other: RequestMeter) -> None:
        self.inflight += other.inflight
        self.cancelled += other.cancelled
        self.duration.add(other.duration)


class NodeMeter:
    """What one node of a cluster has answered: every reply in time, by how long after the request's arrival it came.

    `failed` has the replies that were errors, by ERROR_NAMES, and the requests that it left unanswered. `connections`
    and `used_streams` are of the moment, and filled in when somebody asks. `inflight` is kept of copied reads only.
    """

    __slots__ = ("connections", "failed", "failed_connections", "inflight", "reads", "used_streams", "writes")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.reads: Final = Histogram(bounds)
        self.writes: Final = Histogram(bounds)
        self.failed: Final[dict[str, int]] = dict.fromkeys(ERROR_NAMES, 0)
        self.connections: int = 0
        self.failed_connections: int = 0
        self.used_streams: int = 0
        self.inflight: int = 0

    def answered_with(self, error_code: int) -> None:
        """An ERROR came in time."""
        self.failed[_ERRORS.get(error_code, _OTHER)] += 1

    def left_unanswered(self) -> None:
        """No answer came in time."""
        self.failed[CLIENT_TIMEOUT] += 1

    def add(self, other: NodeMeter) -> None:
        self.reads.add(other.reads)
        self.writes.add(other.writes)
        for name, count in other.failed.items():
            self.failed[name] += count
        self.connections += other.connections
        self.failed_connections += other.failed_connections
        self.used_streams += other.used_streams
        self.inflight += other.inflight

    def retire(self) -> None:
        """Whoever counted is gone, and with it what was open."""
        self.connections = self.used_streams = self.inflight = 0


class Nodes:
    """The nodes of one cluster that clients have used or tried to use, by `host:port`. None is ever removed."""

    __slots__ = ("bounds", "by_name")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final[Sequence[float]] = tuple(bounds)
        self.by_name: Final[dict[str, NodeMeter]] = {}

    def named(self, name: str) -> NodeMeter:
        """The node's meter; the first use of the name makes it."""
        meter = self.by_name.get(name)
        if meter is None:
            meter = self.by_name[name] = NodeMeter(self.bounds)
        return meter

    def add(self, other: Nodes) -> None:
        for name, meter in other.by_name.items():
            self.named(name).add(meter)


def together(*meters: RequestMeter) -> RequestMeter:
    """What several meters, of the same bounds, have counted."""
    total = RequestMeter(meters[0].duration.bounds)
    for meter in meters:
        total.add(meter)
    return total
