"""What is counted.

The data path adds to plain integers and lists; names, help and labels appear only when somebody asks (`exposition`).
One worker, one `Meter`; `merge` makes of several workers' meters what one process would have counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from zdm.core.clusters import Side
from zdm.core.tables import Tables
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


class Meter:
    """Everything a worker counts (spec 8.3 says when); whoever sees the event adds to the attribute.

    `origin_nodes`, `target_nodes` and `async_nodes` (those that reads are copied to) have the parts of single nodes.
    """

    __slots__ = (
        "client_connections",
        "failed_connections_origin",
        "failed_connections_target",
        "failed_reads_origin",
        "failed_reads_target",
        "abandoned_reads",
        "abandoned_writes",
        "async_nodes",
        "copies_to",
        "copies_over_limit",
        "copies_unconnected",
        "copies_without_stream",
        "failed_writes_both",
        "failed_writes_origin",
        "failed_writes_target",
        "inflight_bytes",
        "late_answers",
        "mended",
        "origin_nodes",
        "paused_by_client",
        "paused_by_client_limit",
        "paused_by_origin",
        "paused_by_process_limit",
        "paused_by_target",
        "pscache_entries",
        "pscache_misses",
        "reads_attaching",
        "reads_disabled",
        "reads_origin",
        "reads_target",
        "rejected",
        "replaced_functions",
        "stream_ids_limit",
        "tables",
        "target_attaching",
        "target_enabled",
        "target_nodes",
        "timed_out",
        "timestamps_of_clients",
        "timestamps_of_proxy",
        "worker_restarts",
        "writes",
        "writes_attaching",
        "writes_disabled",
    )

    def __init__(
        self,
        origin_bounds: Sequence[float] = DEFAULT_BOUNDS,
        target_bounds: Sequence[float] = DEFAULT_BOUNDS,
        async_bounds: Sequence[float] = DEFAULT_BOUNDS,
        copies_to: Side | None = None,
        max_tables: int = 0,
    ) -> None:
        """The bounds, in seconds, are those of the operator's three bucket lists; writes go by origin's.

        `copies_to` is the cluster that reads are copied to, where they are; `max_tables` how many tables are counted
        one by one.
        """
        self.copies_to: Final = copies_to
        self.tables: Final = Tables(max_tables)
        self.origin_nodes: Final = Nodes(origin_bounds)
        self.target_nodes: Final = Nodes(target_bounds)
        self.async_nodes: Final = Nodes(async_bounds)
        self.reads_origin: Final = RequestMeter(origin_bounds)
        self.reads_target: Final = RequestMeter(target_bounds)
        self.writes: Final = RequestMeter(origin_bounds)
        # what target should have got as well, or instead: off, or on again and not attached yet
        self.reads_disabled: Final = RequestMeter(origin_bounds)
        self.reads_attaching: Final = RequestMeter(origin_bounds)
        self.writes_disabled: Final = RequestMeter(origin_bounds)
        self.writes_attaching: Final = RequestMeter(origin_bounds)
        self.abandoned_reads: int = 0
        self.abandoned_writes: int = 0
        self.target_enabled: int = 1
        self.target_attaching: int = 0
        self.client_connections: int = 0
        # copied reads that were not sent: too many waited, there was no connection, every stream id was in use
        self.copies_over_limit: int = 0
        self.copies_unconnected: int = 0
        self.copies_without_stream: int = 0
        self.failed_connections_origin: int = 0
        self.failed_connections_target: int = 0
        self.failed_reads_origin: int = 0
        self.failed_reads_target: int = 0
        self.failed_writes_both: int = 0
        self.failed_writes_origin: int = 0
        self.failed_writes_target: int = 0
        self.inflight_bytes: int = 0
        self.late_answers: int = 0
        self.mended: int = 0
        # seconds in which somebody was not read, by who or what was the reason
        self.paused_by_client: float = 0.0
        self.paused_by_origin: float = 0.0
        self.paused_by_target: float = 0.0
        self.paused_by_client_limit: float = 0.0
        self.paused_by_process_limit: float = 0.0
        self.pscache_entries: int = 0
        self.pscache_misses: int = 0
        self.rejected: int = 0
        self.replaced_functions: int = 0
        self.stream_ids_limit: int = 0
        self.timed_out: int = 0
        # of writes that may have one from outside, while the proxy gives one to those that have none
        self.timestamps_of_clients: int = 0
        self.timestamps_of_proxy: int = 0
        self.worker_restarts: int = 0

    def abandoned(self, is_read: bool) -> None:
        """Nobody waits any more for target's answer to a request, because target was switched off."""
        if is_read:
            self.abandoned_reads += 1
        else:
            self.abandoned_writes += 1

    def node(self, side: Side, name: str) -> NodeMeter:
        """The meter of a node that a client uses or tries to use; with it come all that are shown of the node."""
        if side == self.copies_to:
            self.async_nodes.named(name)
        return (self.origin_nodes if side is Side.ORIGIN else self.target_nodes).named(name)

    def nodes(self) -> list[NodeMeter]:
        """The meters of all nodes."""
        return [meter for nodes in self._clusters() for meter in nodes.by_name.values()]

    def add(self, other: Meter) -> None:
        """Count what `other` has counted. The statement cache is shared, so its fullest copy is its size."""
        self.reads_origin.add(other.reads_origin)
        self.reads_target.add(other.reads_target)
        self.writes.add(other.writes)
        self.reads_disabled.add(other.reads_disabled)
        self.reads_attaching.add(other.reads_attaching)
        self.writes_disabled.add(other.writes_disabled)
        self.writes_attaching.add(other.writes_attaching)
        self.abandoned_reads += other.abandoned_reads
        self.abandoned_writes += other.abandoned_writes
        self.target_attaching += other.target_attaching
        self.target_enabled = min(self.target_enabled, other.target_enabled)
        self.client_connections += other.client_connections
        self.copies_over_limit += other.copies_over_limit
        self.copies_unconnected += other.copies_unconnected
        self.copies_without_stream += other.copies_without_stream
        self.failed_connections_origin += other.failed_connections_origin
        self.failed_connections_target += other.failed_connections_target
        self.failed_reads_origin += other.failed_reads_origin
        self.failed_reads_target += other.failed_reads_target
        self.failed_writes_both += other.failed_writes_both
        self.failed_writes_origin += other.failed_writes_origin
        self.failed_writes_target += other.failed_writes_target
        self.inflight_bytes += other.inflight_bytes
        self.late_answers += other.late_answers
        self.mended += other.mended
        self.paused_by_client += other.paused_by_client
        self.paused_by_origin += other.paused_by_origin
        self.paused_by_target += other.paused_by_target
        self.paused_by_client_limit += other.paused_by_client_limit
        self.paused_by_process_limit += other.paused_by_process_limit
        self.pscache_entries = max(self.pscache_entries, other.pscache_entries)
        self.pscache_misses += other.pscache_misses
        self.rejected += other.rejected
        self.replaced_functions += other.replaced_functions
        self.stream_ids_limit = max(self.stream_ids_limit, other.stream_ids_limit)
        self.timed_out += other.timed_out
        self.timestamps_of_clients += other.timestamps_of_clients
        self.timestamps_of_proxy += other.timestamps_of_proxy
        self.worker_restarts += other.worker_restarts
        for ours, theirs in zip(self._clusters(), other._clusters(), strict=True):
            ours.add(theirs)
        self.tables.add(other.tables)

    def requests(self) -> int:
        """All reads and writes that were ever sent."""
        return sum(requests.begun for requests in self._kinds())

    def _clusters(self) -> tuple[Nodes, ...]:
        return self.origin_nodes, self.target_nodes, self.async_nodes

    def _kinds(self) -> tuple[RequestMeter, ...]:
        return (
            self.reads_origin,
            self.reads_target,
            self.writes,
            self.reads_disabled,
            self.reads_attaching,
            self.writes_disabled,
            self.writes_attaching,
        )

    def retire(self) -> None:
        """Whoever counted is gone, and with it what was open; what was counted stays so."""
        for requests in self._kinds():
            requests.cancelled += requests.inflight
            requests.inflight = 0
        for node in self.nodes():
            node.retire()
        self.client_connections = self.target_attaching = self.pscache_entries = self.inflight_bytes = 0
        self.stream_ids_limit = 0
        self.target_enabled = 1


def merge(meters: Sequence[Meter]) -> Meter:
    """One meter with what all of `meters`, at least one, have counted; they are left as they are.

    Raises `ValueError` where their bounds differ.
    """
    first = meters[0]
    bounds = first.origin_nodes.bounds, first.target_nodes.bounds, first.async_nodes.bounds
    merged = Meter(*bounds, first.copies_to, first.tables.limit)
    for meter in meters:
        merged.add(meter)
    return merged
