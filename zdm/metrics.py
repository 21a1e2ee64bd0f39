"""What one worker counts: one `Meter`; `merge` makes of several workers' what one process would have counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zdm.core.clusters import Side
from zdm.core.tables import Tables
from zdm.meters import DEFAULT_BOUNDS, NodeMeter, Nodes, RequestMeter


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
