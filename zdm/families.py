"""Which families of metrics there are: the tables of their names, types, help texts and labels.

Those of the reference stand first, with its help texts to the letter (behaviour spec 8.2); those of our own follow.
Every label value is there from the start, at 0, so that a rate is right from the first event. Families of single nodes
appear with the first node that is used; those of copied reads only where reads are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from zdm.exposition import Family, Labels, Sample, render_families
from zdm.meters import ERROR_NAMES, Histogram, NodeMeter, Nodes, RequestMeter, together
from zdm.metrics import Meter

Value = float | Histogram
Samples = list[tuple[Labels, Value]]


class _Shown(NamedTuple):
    """A family of the proxy as a whole, and how to find its samples."""

    name: str
    kind: str
    help: str
    samples: Callable[[Meter], Samples]


class _NodeShown(NamedTuple):
    """A family of single nodes; its name follows that of the cluster. `helps` are by cluster."""

    name: str
    kind: str
    helps: Mapping[str, str]
    samples: Callable[[NodeMeter], Samples]


def render(
    meter: Meter,
    prefix: str,
    workers: Mapping[int, Meter] | None = None,
    seconds_left: Mapping[str, float] | None = None,
) -> str:
    """The text form 0.0.4 of all families of `meter`, each name under `prefix` and an underscore, if there is one.

    `workers` are the parts that `meter` is the sum of, where there are several; `seconds_left` is of certificates.
    """
    more = [*worker_families(workers or {}), certificate_family(seconds_left or {})]
    return render_families([*families(meter), *node_families(meter), *more], prefix)


def certificate_family(seconds_left: Mapping[str, float]) -> Family:
    """By cluster, `proxy` for the listener, how long certificates are valid: of what is under TLS."""
    return Family(
        "tls_certificate_expiry_seconds",
        "gauge",
        "Number of seconds until the certificates in use for TLS expire, negative once they have",
        [Sample((("cluster", name),), int(seconds)) for name, seconds in seconds_left.items()],
    )


def families(meter: Meter) -> list[Family]:
    """The families of the proxy as a whole, in no particular order."""
    return [
        Family(shown.name, shown.kind, shown.help, [Sample(*sample) for sample in shown.samples(meter)])
        for shown in (*_REFERENCE, *_OWN)
    ]


def node_families(meter: Meter) -> list[Family]:
    """The families of single nodes, of the clusters that have any."""
    clusters = {"origin": meter.origin_nodes, "target": meter.target_nodes, "async": meter.async_nodes}
    return [
        Family(f"{cluster}_{shown.name}", shown.kind, shown.helps[cluster], _samples_of(nodes, shown.samples))
        for shown in _NODES
        for cluster, nodes in clusters.items()
        if cluster in shown.helps and nodes.by_name
    ]


def worker_families(workers: Mapping[int, Meter]) -> list[Family]:
    """What tells the workers apart, by their numbers: whether they share the load evenly."""
    shown: list[tuple[str, str, str, Callable[[Meter], int]]] = [
        (
            "worker_client_connections",
            "gauge",
            "Number of client connections of a worker process currently open",
            lambda meter: meter.client_connections,
        ),
        (
            "worker_requests_total",
            "counter",
            "Running total of reads and writes that a worker process has sent to clusters",
            Meter.requests,
        ),
    ]
    return [
        Family(name, kind, text, [Sample((("worker", str(n)),), count(meter)) for n, meter in workers.items()])
        for name, kind, text, count in shown
    ]


def _samples_of(nodes: Nodes, samples: Callable[[NodeMeter], Samples]) -> Sequence[Sample]:
    return [
        Sample(tuple(sorted((("node", name), *labels))), value)
        for name, node in nodes.by_name.items()
        for labels, value in samples(node)
    ]


def _one(count: Callable[[Meter], float]) -> Callable[[Meter], Samples]:
    return lambda meter: [((), count(meter))]


def _by(label: str, **counts: Callable[[Meter], Value]) -> Callable[[Meter], Samples]:
    return lambda meter: [(((label, name),), count(meter)) for name, count in counts.items()]


def _by_type(value: Callable[[RequestMeter], Value]) -> Callable[[Meter], Samples]:
    return _by(
        "type",
        reads_origin=lambda m: value(together(m.reads_origin, m.reads_disabled, m.reads_attaching)),
        reads_target=lambda m: value(m.reads_target),
        writes=lambda m: value(together(m.writes, m.writes_disabled, m.writes_attaching)),
    )


def _skipped(meter: Meter) -> Samples:
    by_reason_and_type = {
        ("attaching", "reads"): meter.reads_attaching,
        ("attaching", "writes"): meter.writes_attaching,
        ("disabled", "reads"): meter.reads_disabled,
        ("disabled", "writes"): meter.writes_disabled,
    }
    return [((("reason", why), ("type", kind)), by.begun) for (why, kind), by in by_reason_and_type.items()]


def _written(meter: Meter) -> Samples:
    return [
        ((("cluster", cluster), ("keyspace", keyspace), ("table", table)), count)
        for (keyspace, table), written in meter.tables.by_name.items()
        for cluster, count in (("origin", written.origin), ("target", written.target))
    ]


_REFERENCE: Final = (
    _Shown(
        "client_connections_total",
        "gauge",
        "Number of client connections currently open",
        _one(lambda m: m.client_connections),
    ),
    _Shown(
        "proxy_failed_connections_total",
        "counter",
        "Running total of failed requests due to inability to connect to given cluster",
        _by("cluster", origin=lambda m: m.failed_connections_origin, target=lambda m: m.failed_connections_target),
    ),
    _Shown(
        "proxy_failed_reads_total",
        "counter",
        "Running total of failed reads",
        _by("cluster", origin=lambda m: m.failed_reads_origin, target=lambda m: m.failed_reads_target),
    ),
    _Shown(
        "proxy_failed_writes_total",
        "counter",
        "Running total of failed writes",
        _by(
            "failed_on",
            both=lambda m: m.failed_writes_both,
            origin=lambda m: m.failed_writes_origin,
            target=lambda m: m.failed_writes_target,
        ),
    ),
    _Shown(
        "proxy_inflight_requests_total",
        "gauge",
        "Number of requests currently in flight in the proxy",
        _by_type(lambda requests: requests.inflight),
    ),
    _Shown(
        "proxy_request_duration_seconds",
        "histogram",
        "Histogram that tracks the latency of requests at proxy entry point",
        _by_type(lambda requests: requests.duration),
    ),
    _Shown(
        "pscache_entries_total",
        "gauge",
        "Number of entries currently in the prepared statement cache",
        _one(lambda m: m.pscache_entries),
    ),
    _Shown(
        "pscache_miss_total",
        "counter",
        "Running total of prepared statement cache misses in the proxy",
        _one(lambda m: m.pscache_misses),
    ),
)

_LATENCY: Final = "Histogram that tracks the latency of requests sent to {} clusters at cluster connector level"

_NODES: Final = (
    _NodeShown(
        "requests_failed_total",
        "counter",
        {
            "origin": "Running total of requests that failed on Origin Cluster",
            "target": "Running total of requests that failed on Target Cluster",
            "async": "Running total of requests that failed on Async Connector",
        },
        lambda node: [((("error", name),), node.failed[name]) for name in ERROR_NAMES],
    ),
    _NodeShown(
        "request_duration_seconds",
        "histogram",
        {
            "origin": _LATENCY.format("origin"),
            "target": _LATENCY.format("target"),
            "async": "Histogram that tracks the latency of async requests at async cluster connector level",
        },
        lambda node: [((("type", "reads"),), node.reads), ((("type", "writes"),), node.writes)],
    ),
    _NodeShown(
        "connections_total",
        "gauge",
        {
            "origin": "Number of connections to Origin Cassandra currently open",
            "target": "Number of connections to Target Cassandra currently open",
            "async": "Number of connections currently open for async requests",
        },
        lambda node: [((), node.connections)],
    ),
    _NodeShown(
        "failed_connections_total",
        "counter",
        {
            "origin": "Number of failed connection attempts to Origin Cassandra",
            "target": "Number of failed connection attempts to Target Cassandra",
            "async": "Number of failed connection attempts for async requests",
        },
        lambda node: [((), node.failed_connections)],
    ),
    _NodeShown(
        "inflight_requests_total",
        "gauge",
        {"async": "Number of async requests currently in flight"},
        lambda node: [((), node.inflight)],
    ),
    _NodeShown(
        "used_stream_ids_total",
        "gauge",
        {
            "origin": "Number of used stream ids in Origin connections",
            "target": "Number of used stream ids in Target connections",
            "async": "Number of used stream ids in Async connections",
        },
        lambda node: [((), node.used_streams)],
    ),
)

_OWN: Final = (
    _Shown(
        "proxy_write_success_total",
        "counter",
        "Running total of writes that a cluster has answered without an error, by table",
        _written,
    ),
    _Shown(
        "target_abandoned_requests_total",
        "counter",
        "Running total of requests sent to target whose answer nobody waits for because target was disabled",
        _by("type", reads=lambda m: m.abandoned_reads, writes=lambda m: m.abandoned_writes),
    ),
    _Shown(
        "proxy_dropped_copies_total",
        "counter",
        "Running total of copies of reads that were not sent to the secondary",
        _by(
            "reason",
            limit=lambda m: m.copies_over_limit,
            stream_ids=lambda m: m.copies_without_stream,
            unconnected=lambda m: m.copies_unconnected,
        ),
    ),
    _Shown(
        "target_attaching_sessions",
        "gauge",
        "Number of client connections that still lack their target connection while target is enabled",
        _one(lambda m: m.target_attaching),
    ),
    _Shown(
        "target_enabled",
        "gauge",
        "Whether the target cluster is enabled (1) or disabled (0)",
        _one(lambda m: m.target_enabled),
    ),
    _Shown(
        "target_skipped_requests_total",
        "counter",
        "Running total of requests that target did not get because it was disabled or not attached yet",
        _skipped,
    ),
    _Shown(
        "inflight_bytes",
        "gauge",
        "Bytes kept for clients: requests not answered yet, unfinished frames, answers not sent yet",
        _one(lambda m: m.inflight_bytes),
    ),
    _Shown(
        "inflight_paused_seconds_total",
        "counter",
        "Running total of seconds in which a client was not read because it or the process had too much in flight",
        _by("limit", client=lambda m: m.paused_by_client_limit, process=lambda m: m.paused_by_process_limit),
    ),
    _Shown(
        "socket_paused_seconds_total",
        "counter",
        "Running total of seconds in which those who feed a connection were not read because its side took nothing",
        _by(
            "side",
            client=lambda m: m.paused_by_client,
            origin=lambda m: m.paused_by_origin,
            target=lambda m: m.paused_by_target,
        ),
    ),
    _Shown(
        "proxy_late_answers_total",
        "counter",
        "Running total of cluster answers dropped because their request was settled already",
        _one(lambda m: m.late_answers),
    ),
    _Shown(
        "proxy_mended_unprepared_total",
        "counter",
        "Running total of requests prepared anew on a cluster that had forgotten their statement",
        _one(lambda m: m.mended),
    ),
    _Shown(
        "proxy_rejected_requests_total",
        "counter",
        "Running total of requests answered with an error by the proxy and sent to no cluster",
        _one(lambda m: m.rejected),
    ),
    _Shown(
        "proxy_timed_out_requests_total",
        "counter",
        "Running total of requests that a cluster did not answer in time",
        _one(lambda m: m.timed_out),
    ),
    _Shown(
        "replaced_functions_total",
        "counter",
        "Running total of calls such as now() in writes that the proxy put a value in the place of",
        _one(lambda m: m.replaced_functions),
    ),
    _Shown(
        "write_timestamps_total",
        "counter",
        "Running total of writes with a timestamp of the client or the proxy, while the proxy stamps those without",
        _by("source", client=lambda m: m.timestamps_of_clients, proxy=lambda m: m.timestamps_of_proxy),
    ),
    _Shown(
        "stream_ids_limit",
        "gauge",
        "Number of stream ids that one connection to a cluster may use at a time",
        _one(lambda m: m.stream_ids_limit),
    ),
    _Shown(
        "worker_restarts_total",
        "counter",
        "Running total of worker processes that ended by themselves and were started again",
        _one(lambda m: m.worker_restarts),
    ),
)
