"""What is counted, and the text that Prometheus gets of it.

The data path adds to plain integers and lists; names, help and labels appear only when somebody asks (`render`). The
text is byte for byte what the reference's exposition library writes: families by name, labels by name with `le` last,
numbers as Go prints them, no `_created` series (behaviour spec 8.2).

One worker, one `Meter`; `merge` makes of several workers' meters what one process would have counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import inf
from typing import Final, NamedTuple

DEFAULT_BOUNDS: Final[Sequence[float]] = (
    0.001, 0.004, 0.007, 0.01, 0.025, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 15,
)  # fmt: skip

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Durations by bucket: `counts[i]` is how many were at most `bounds[i]` seconds and over `bounds[i - 1]`.

    The last of `counts` has no bound. `total` is the sum of all, in seconds.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` are seconds, rising."""
        self.bounds: Final[list[float]] = [float(bound) for bound in bounds]
        self.counts: list[int] = [0] * (len(self.bounds) + 1)
        self.total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def add(self, other: Histogram) -> None:
        """Count what `other` has counted; raises `ValueError` where its bounds are not ours."""
        if other.bounds != self.bounds:
            raise ValueError(f"bounds {other.bounds} can't be added to {self.bounds}")
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


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

    def add(self, other: RequestMeter) -> None:
        self.inflight += other.inflight
        self.cancelled += other.cancelled
        self.duration.add(other.duration)


def together(*meters: RequestMeter) -> RequestMeter:
    """What several meters, of the same bounds, have counted."""
    total = RequestMeter(meters[0].duration.bounds)
    for meter in meters:
        total.add(meter)
    return total


class Meter:
    """Everything a worker counts (spec 8.3 says when); whoever sees the event adds to the attribute."""

    __slots__ = (
        "client_connections",
        "failed_connections_origin",
        "failed_connections_target",
        "failed_reads_origin",
        "failed_reads_target",
        "abandoned_reads",
        "abandoned_writes",
        "failed_writes_both",
        "failed_writes_origin",
        "failed_writes_target",
        "late_answers",
        "mended",
        "pscache_entries",
        "pscache_misses",
        "reads_attaching",
        "reads_disabled",
        "reads_origin",
        "reads_target",
        "rejected",
        "target_attaching",
        "target_enabled",
        "timed_out",
        "writes",
        "writes_attaching",
        "writes_disabled",
    )

    def __init__(
        self, origin_bounds: Sequence[float] = DEFAULT_BOUNDS, target_bounds: Sequence[float] = DEFAULT_BOUNDS
    ) -> None:
        """The bounds, in seconds, are those of the operator's two bucket lists; writes go by origin's."""
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
        self.failed_connections_origin: int = 0
        self.failed_connections_target: int = 0
        self.failed_reads_origin: int = 0
        self.failed_reads_target: int = 0
        self.failed_writes_both: int = 0
        self.failed_writes_origin: int = 0
        self.failed_writes_target: int = 0
        self.late_answers: int = 0
        self.mended: int = 0
        self.pscache_entries: int = 0
        self.pscache_misses: int = 0
        self.rejected: int = 0
        self.timed_out: int = 0

    def abandoned(self, is_read: bool) -> None:
        """Nobody waits any more for target's answer to a request, because target was switched off."""
        if is_read:
            self.abandoned_reads += 1
        else:
            self.abandoned_writes += 1

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
        self.failed_connections_origin += other.failed_connections_origin
        self.failed_connections_target += other.failed_connections_target
        self.failed_reads_origin += other.failed_reads_origin
        self.failed_reads_target += other.failed_reads_target
        self.failed_writes_both += other.failed_writes_both
        self.failed_writes_origin += other.failed_writes_origin
        self.failed_writes_target += other.failed_writes_target
        self.late_answers += other.late_answers
        self.mended += other.mended
        self.pscache_entries = max(self.pscache_entries, other.pscache_entries)
        self.pscache_misses += other.pscache_misses
        self.rejected += other.rejected
        self.timed_out += other.timed_out


def merge(meters: Sequence[Meter]) -> Meter:
    """One meter with what all of `meters`, at least one, have counted; they are left as they are.

    Raises `ValueError` where their bounds differ.
    """
    first = meters[0]
    merged = Meter(first.reads_origin.duration.bounds, first.reads_target.duration.bounds)
    for meter in meters:
        merged.add(meter)
    return merged


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
    ]


def _single(name: str, kind: str, text: str, value: int) -> Family:
    return Family(name, kind, text, [Sample((), value)])


def _by(label: str, values: dict[str, int] | dict[str, Histogram]) -> list[Sample]:
    return [Sample(((label, name),), value) for name, value in values.items()]


def render(meter: Meter, prefix: str) -> str:
    """The text form 0.0.4 of all families of `meter`, each name under `prefix` and an underscore, if there is one."""
    return render_families(families(meter), prefix)


def render_families(shown: Iterable[Family], prefix: str) -> str:
    """The text form 0.0.4: families in the order of their names, samples in that of their label values."""
    lines: list[str] = []
    for family in sorted(shown, key=lambda family: family.name):
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
