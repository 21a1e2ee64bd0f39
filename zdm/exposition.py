"""The text that Prometheus gets of what was counted.

Byte for byte what the reference's exposition library writes: families by name, labels by name with `le` last, numbers
as Go prints them, no `_created` series (behaviour spec 8.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import NamedTuple

from zdm.metrics import Histogram, Meter, together

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value, or one histogram, under its labels (in the order of their names)."""

    labels: Labels
    value: float | Histogram


class Family(NamedTuple):
    """A metric's name without prefix, its type and help, its samples."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def families(meter: Meter) -> list[Family]:
    """The families of the proxy as a whole, in no particular order."""
    return _reference_families(meter) + _own_families(meter)


def _reference_families(meter: Meter) -> list[Family]:
    by_type = {
        "reads_origin": together(meter.reads_origin, meter.reads_disabled, meter.reads_attaching),
        "reads_target": meter.reads_target,
        "writes": together(meter.writes, meter.writes_disabled, meter.writes_attaching),
    }
    return [
        _single(
            "client_connections_total", "gauge", "Number of client connections currently open", meter.client_connections
        ),
        Family(
            "proxy_failed_connections_total",
            "counter",
            "Running total of failed requests due to inability to connect to given cluster",
            _by("cluster", {"origin": meter.failed_connections_origin, "target": meter.failed_connections_target}),
        ),
        Family(
            "proxy_failed_reads_total",
            "counter",
            "Running total of failed reads",
            _by("cluster", {"origin": meter.failed_reads_origin, "target": meter.failed_reads_target}),
        ),
        Family(
            "proxy_failed_writes_total",
            "counter",
            "Running total of failed writes",
            _by(
                "failed_on",
                {
                    "both": meter.failed_writes_both,
                    "origin": meter.failed_writes_origin,
                    "target": meter.failed_writes_target,
                },
            ),
        ),
        Family(
            "proxy_inflight_requests_total",
            "gauge",
            "Number of requests currently in flight in the proxy",
            _by("type", {name: requests.inflight for name, requests in by_type.items()}),
        ),
        Family(
            "proxy_request_duration_seconds",
            "histogram",
            "Histogram that tracks the latency of requests at proxy entry point",
            _by("type", {name: requests.duration for name, requests in by_type.items()}),
        ),
        _single(
            "pscache_entries_total",
            "gauge",
            "Number of entries currently in the prepared statement cache",
            meter.pscache_entries,
        ),
        _single(
            "pscache_miss_total",
            "counter",
            "Running total of prepared statement cache misses in the proxy",
            meter.pscache_misses,
        ),
    ]


def _own_families(meter: Meter) -> list[Family]:
    skipped = {
        ("attaching", "reads"): meter.reads_attaching,
        ("attaching", "writes"): meter.writes_attaching,
        ("disabled", "reads"): meter.reads_disabled,
        ("disabled", "writes"): meter.writes_disabled,
    }
    return [
        Family(
            "target_abandoned_requests_total",
            "counter",
            "Running total of requests sent to target whose answer nobody waits for because target was disabled",
            _by("type", {"reads": meter.abandoned_reads, "writes": meter.abandoned_writes}),
        ),
        _single(
            "target_attaching_sessions",
            "gauge",
            "Number of client connections that still lack their target connection while target is enabled",
            meter.target_attaching,
        ),
        _single(
            "target_enabled",
            "gauge",
            "Whether the target cluster is enabled (1) or disabled (0)",
            meter.target_enabled,
        ),
        Family(
            "target_skipped_requests_total",
            "counter",
            "Running total of requests that target did not get because it was disabled or not attached yet",
            [Sample((("reason", why), ("type", kind)), by.begun) for (why, kind), by in skipped.items()],
        ),
        _single(
            "inflight_bytes",
            "gauge",
            "Bytes kept for clients: requests not answered yet, unfinished frames, answers not sent yet",
            meter.inflight_bytes,
        ),
        Family(
            "inflight_paused_seconds_total",
            "counter",
            "Running total of seconds in which a client was not read because it or the process had too much in flight",
            _by("limit", {"client": meter.paused_by_client_limit, "process": meter.paused_by_process_limit}),
        ),
        Family(
            "socket_paused_seconds_total",
            "counter",
            "Running total of seconds in which those who feed a connection were not read because its side took nothing",
            _by(
                "side",
                {
                    "client": meter.paused_by_client,
                    "origin": meter.paused_by_origin,
                    "target": meter.paused_by_target,
                },
            ),
        ),
        _single(
            "proxy_late_answers_total",
            "counter",
            "Running total of cluster answers dropped because their request was settled already",
            meter.late_answers,
        ),
        _single(
            "proxy_mended_unprepared_total",
            "counter",
            "Running total of requests prepared anew on a cluster that had forgotten their statement",
            meter.mended,
        ),
        _single(
            "proxy_rejected_requests_total",
            "counter",
            "Running total of requests answered with an error by the proxy and sent to no cluster",
            meter.rejected,
        ),
        _single(
            "proxy_timed_out_requests_total",
            "counter",
            "Running total of requests that a cluster did not answer in time",
            meter.timed_out,
        ),
        _single(
            "worker_restarts_total",
            "counter",
            "Running total of worker processes that ended by themselves and were started again",
            meter.worker_restarts,
        ),
    ]


def _single(name: str, kind: str, text: str, value: int) -> Family:
    return Family(name, kind, text, [Sample((), value)])


def _by(label: str, values: dict[str, int] | dict[str, float] | dict[str, Histogram]) -> list[Sample]:
    return [Sample(((label, name),), value) for name, value in values.items()]


def worker_families(workers: Mapping[int, Meter]) -> list[Family]:
    """What tells the workers apart, by their numbers: whether they share the load evenly."""
    labels = {number: (("worker", str(number)),) for number in workers}
    return [
        Family(
            "worker_client_connections",
            "gauge",
            "Number of client connections of a worker process currently open",
            [Sample(labels[number], meter.client_connections) for number, meter in workers.items()],
        ),
        Family(
            "worker_requests_total",
            "counter",
            "Running total of reads and writes that a worker process has sent to clusters",
            [Sample(labels[number], meter.requests()) for number, meter in workers.items()],
        ),
    ]


def render(meter: Meter, prefix: str, workers: Mapping[int, Meter] | None = None) -> str:
    """The text form 0.0.4 of all families of `meter`, each name under `prefix` and an underscore, if there is one.

    `workers` are the parts that `meter` is the sum of, where there are several.
    """
    return render_families(families(meter) + worker_families(workers or {}), prefix)


def render_families(shown: Iterable[Family], prefix: str) -> str:
    """The text form 0.0.4: families in the order of their names, samples in that of their label values."""
    lines: list[str] = []
    for family in sorted((family for family in shown if family.samples), key=lambda family: family.name):
        name = f"{prefix}_{family.name}" if prefix else family.name
        lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
        for labels, value in sorted(family.samples, key=lambda sample: [text for _, text in sample.labels]):
            if isinstance(value, Histogram):
                lines += _histogram_lines(name, labels, value)
            else:
                lines.append(f"{name}{_braced(labels)} {go_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram_lines(name: str, labels: Labels, histogram: Histogram) -> list[str]:
    lines = []
    so_far = 0
    for bound, count in zip([*histogram.bounds, inf], histogram.counts, strict=True):
        so_far += count
        lines.append(f"{name}_bucket{_braced((*labels, ('le', go_number(bound))))} {go_number(so_far)}")
    lines.append(f"{name}_sum{_braced(labels)} {go_number(histogram.total)}")
    lines.append(f"{name}_count{_braced(labels)} {go_number(so_far)}")
    return lines


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def go_number(value: float) -> str:
    """`value`, an integer or not, as Go's strconv prints a float64 with format 'g' and the shortest exact precision.

    The exponent form begins below 1e-4 and, for integers too, at 1e6. `value` is a number: there is no form for NaN.
    """
    number = float(value)
    if number in (inf, -inf):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0 or 1e-4 <= abs(number) < 1e6:
        return repr(number).removesuffix(".0")
    sign, digits, shift = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(shift, int)  # a letter only for what is no number
    fraction = "".join(map(str, digits[1:]))
    point = "." if fraction else ""
    return f"{'-' if sign else ''}{digits[0]}{point}{fraction}e{len(digits) + shift - 1:+03d}"
