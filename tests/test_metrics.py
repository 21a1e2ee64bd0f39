"""The text that Prometheus gets must be the reference's, down to the form of a number."""

from __future__ import annotations

import re
from bisect import bisect_left

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zdm.exposition import Family, Sample, go_number, render, render_families
from zdm.metrics import DEFAULT_BOUNDS, Histogram, Meter, Spans, merge

# What the Go proxy 2.4.2 exposes of itself after one write, then two connections with two writes and two reads, without
# its per-node families and all but the first and last buckets.
REFERENCE = """\
# HELP zdm_client_connections_total Number of client connections currently open
# TYPE zdm_client_connections_total gauge
zdm_client_connections_total 0
# HELP zdm_proxy_failed_connections_total Running total of failed requests due to inability to connect to given cluster
# TYPE zdm_proxy_failed_connections_total counter
zdm_proxy_failed_connections_total{cluster="origin"} 0
zdm_proxy_failed_connections_total{cluster="target"} 0
# HELP zdm_proxy_failed_reads_total Running total of failed reads
# TYPE zdm_proxy_failed_reads_total counter
zdm_proxy_failed_reads_total{cluster="origin"} 0
zdm_proxy_failed_reads_total{cluster="target"} 0
# HELP zdm_proxy_failed_writes_total Running total of failed writes
# TYPE zdm_proxy_failed_writes_total counter
zdm_proxy_failed_writes_total{failed_on="both"} 0
zdm_proxy_failed_writes_total{failed_on="origin"} 0
zdm_proxy_failed_writes_total{failed_on="target"} 0
# HELP zdm_proxy_inflight_requests_total Number of requests currently in flight in the proxy
# TYPE zdm_proxy_inflight_requests_total gauge
zdm_proxy_inflight_requests_total{type="reads_origin"} 0
zdm_proxy_inflight_requests_total{type="reads_target"} 0
zdm_proxy_inflight_requests_total{type="writes"} 0
# HELP zdm_proxy_request_duration_seconds Histogram that tracks the latency of requests at proxy entry point
# TYPE zdm_proxy_request_duration_seconds histogram
zdm_proxy_request_duration_seconds_bucket{type="reads_origin",le="0.001"} 2
zdm_proxy_request_duration_seconds_bucket{type="reads_origin",le="+Inf"} 2
zdm_proxy_request_duration_seconds_sum{type="reads_origin"} 0.000356519
zdm_proxy_request_duration_seconds_count{type="reads_origin"} 2
zdm_proxy_request_duration_seconds_bucket{type="reads_target",le="0.001"} 0
zdm_proxy_request_duration_seconds_bucket{type="reads_target",le="+Inf"} 0
zdm_proxy_request_duration_seconds_sum{type="reads_target"} 0
zdm_proxy_request_duration_seconds_count{type="reads_target"} 0
zdm_proxy_request_duration_seconds_bucket{type="writes",le="0.001"} 3
zdm_proxy_request_duration_seconds_bucket{type="writes",le="+Inf"} 3
zdm_proxy_request_duration_seconds_sum{type="writes"} 0.0009527240000000001
zdm_proxy_request_duration_seconds_count{type="writes"} 3
# HELP zdm_pscache_entries_total Number of entries currently in the prepared statement cache
# TYPE zdm_pscache_entries_total gauge
zdm_pscache_entries_total 2
# HELP zdm_pscache_miss_total Running total of prepared statement cache misses in the proxy
# TYPE zdm_pscache_miss_total counter
zdm_pscache_miss_total 0
"""
OWN = re.compile(
    "zdm_(proxy_(late_answers|mended_unprepared|rejected_requests|timed_out_requests)_total"
    "|target_|inflight_|socket_|worker_)"
)
INNER_BUCKET = re.compile(r'_bucket\{.*le="(?!0\.001"|\+Inf")')


def after_the_reference_run() -> Meter:
    meter = Meter()
    for requests, durations in ((meter.reads_origin, (0.0002, 0.000156519)), (meter.writes, (0.0005, 0.0002, 0.0))):
        for seconds in durations:
            requests.duration.observe(seconds)
    meter.writes.duration.total = 0.0009527240000000001
    meter.pscache_entries = 2
    return meter


def test_the_same_events_give_the_text_of_the_reference() -> None:
    """Dashboards, alerts and the peer's tests compare whole lines."""
    lines = render(after_the_reference_run(), "zdm").splitlines()
    shown = [line for line in lines if not OWN.search(line) and not INNER_BUCKET.search(line)]
    assert shown == REFERENCE.splitlines()


def test_bucket_bounds_read_as_go_prints_them() -> None:
    """A bound written `1.0` would be another series than `1`."""
    bounds = re.findall(r'_bucket\{type="writes",le="([^"]+)"\}', render(Meter(), "zdm"))
    assert bounds == "0.001 0.004 0.007 0.01 0.025 0.04 0.06 0.08 0.1 0.15 0.25 0.5 1 2.5 5 10 15 +Inf".split()


def test_every_family_stands_in_the_order_of_its_name_ours_too() -> None:
    """The reference sorts; a diff of two scrapes stays readable."""
    names = re.findall(r"# HELP (\S+)", render(Meter(), "zdm"))
    assert names == sorted(names) and len(names) == 20


def test_the_prefix_is_the_operators() -> None:
    """`metrics_prefix` tells several proxies apart."""
    lines = render(Meter(), "blue").splitlines()
    assert all(re.match(r"(# (HELP|TYPE) )?blue_", line) for line in lines)


def test_without_a_prefix_no_underscore_is_left_over() -> None:
    """As the reference's library joins an empty name space."""
    assert render(Meter(), "").splitlines()[0].startswith("# HELP client_connections_total ")


def test_prometheus_reads_the_text() -> None:
    """Its own parser has the last word on the format."""
    meter = after_the_reference_run()
    meter.client_connections = 7
    found = {family.name: family for family in text_string_to_metric_families(render(meter, "zdm"))}
    assert found["zdm_client_connections_total"].samples[0].value == 7
    assert found["zdm_proxy_request_duration_seconds"].type == "histogram"
    assert found["zdm_proxy_failed_writes"].type == "counter"


@pytest.mark.parametrize(
    "attribute, line",
    [
        ("client_connections", "client_connections_total"),
        ("failed_connections_origin", 'proxy_failed_connections_total{cluster="origin"}'),
        ("failed_connections_target", 'proxy_failed_connections_total{cluster="target"}'),
        ("failed_reads_origin", 'proxy_failed_reads_total{cluster="origin"}'),
        ("failed_reads_target", 'proxy_failed_reads_total{cluster="target"}'),
        ("failed_writes_both", 'proxy_failed_writes_total{failed_on="both"}'),
        ("failed_writes_origin", 'proxy_failed_writes_total{failed_on="origin"}'),
        ("failed_writes_target", 'proxy_failed_writes_total{failed_on="target"}'),
        ("inflight_bytes", "inflight_bytes"),
        ("late_answers", "proxy_late_answers_total"),
        ("mended", "proxy_mended_unprepared_total"),
        ("paused_by_client", 'socket_paused_seconds_total{side="client"}'),
        ("paused_by_origin", 'socket_paused_seconds_total{side="origin"}'),
        ("paused_by_target", 'socket_paused_seconds_total{side="target"}'),
        ("paused_by_client_limit", 'inflight_paused_seconds_total{limit="client"}'),
        ("paused_by_process_limit", 'inflight_paused_seconds_total{limit="process"}'),
        ("pscache_entries", "pscache_entries_total"),
        ("pscache_misses", "pscache_miss_total"),
        ("rejected", "proxy_rejected_requests_total"),
        ("timed_out", "proxy_timed_out_requests_total"),
        ("worker_restarts", "worker_restarts_total"),
    ],
)
def test_each_number_has_its_line_and_is_merged(attribute: str, line: str) -> None:
    """One attribute shown under another's name would mislead in the worst hour."""
    one, two = Meter(), Meter()
    setattr(one, attribute, 41)
    assert f"zdm_{line} 41\n" in render(one, "zdm")
    setattr(two, attribute, 100)
    merged = 100 if attribute == "pscache_entries" else 141
    assert f"zdm_{line} {merged}\n" in render(merge([one, two]), "zdm")
    assert getattr(one, attribute) == 41


@pytest.mark.parametrize("kind", ["reads_origin", "reads_target", "writes"])
def test_requests_of_each_kind_have_their_lines_and_are_merged(kind: str) -> None:
    """The three differ in what they say about a migration."""
    one, two = Meter([0.1, 1], [0.1, 1]), Meter([0.1, 1], [0.1, 1])
    for meter in (one, two):
        getattr(meter, kind).inflight = 3
        for seconds in (0.05, 0.1, 0.5, 4):
            getattr(meter, kind).duration.observe(seconds)
    lines = render(merge([one, two]), "zdm").splitlines()
    assert f'zdm_proxy_inflight_requests_total{{type="{kind}"}} 6' in lines
    assert [line.rpartition(" ")[2] for line in lines if f'seconds_bucket{{type="{kind}"' in line] == ["4", "6", "8"]
    assert f'zdm_proxy_request_duration_seconds_sum{{type="{kind}"}} 9.3' in lines
    assert f'zdm_proxy_request_duration_seconds_count{{type="{kind}"}} 8' in lines


def test_reads_on_target_use_targets_buckets_and_writes_origins() -> None:
    """The two lists are two configuration keys (spec 8.2)."""
    meter = Meter([1], [2])
    assert (meter.reads_origin.duration.bounds, meter.writes.duration.bounds) == ([1], [1])
    assert meter.reads_target.duration.bounds == [2]
    assert merge([meter]).reads_target.duration.bounds == [2]


def test_several_workers_can_be_told_apart() -> None:
    """Whether the load is shared evenly; one worker alone has nothing to be compared with."""
    one, other = Meter(), Meter()
    one.client_connections, other.client_connections = 3, 4
    for kind in ("reads_origin", "reads_target", "writes", "reads_disabled", "writes_attaching"):
        getattr(one, kind).inflight = 1
        getattr(other, kind).duration.observe(0.1)
    other.writes_disabled.cancelled = other.reads_attaching.cancelled = 1
    text = render(merge([one, other]), "zdm", {1: one, 2: other})
    shown = [line for line in text.splitlines() if line.startswith(("zdm_worker_client", "zdm_worker_requests"))]
    assert shown == [
        'zdm_worker_client_connections{worker="1"} 3',
        'zdm_worker_client_connections{worker="2"} 4',
        'zdm_worker_requests_total{worker="1"} 5',
        'zdm_worker_requests_total{worker="2"} 7',
    ]
    assert "worker=" not in render(one, "zdm") and "worker_requests" not in render(one, "zdm")


def test_what_a_worker_counted_outlives_it() -> None:
    """A counter that falls is taken for one that began anew: its rate would jump. What was open ended with it."""
    meter, other = Meter(), Meter()
    for kind in ("reads_origin", "reads_target", "writes", "reads_disabled", "reads_attaching", "writes_disabled"):
        getattr(meter, kind).inflight = 2
    meter.writes_attaching.inflight = 3
    meter.writes.duration.observe(0.1)
    meter.client_connections, meter.target_attaching, meter.pscache_entries, meter.target_enabled = 4, 5, 6, 0
    meter.timed_out, meter.inflight_bytes, meter.paused_by_client = 7, 8, 9.5
    begun = meter.writes.begun
    meter.retire()
    other.add(meter)
    assert (other.writes.begun, other.timed_out, other.paused_by_client, other.inflight_bytes) == (begun, 7, 9.5, 0)
    text = render(other, "zdm")
    assert {line.rpartition(" ")[2] for line in text.splitlines() if "inflight_requests_total{" in line} == {"0"}
    assert 'zdm_target_skipped_requests_total{reason="attaching",type="writes"} 3' in text
    for gauge in ("client_connections_total 0", "target_attaching_sessions 0", "pscache_entries_total 0"):
        assert f"zdm_{gauge}\n" in text
    assert "zdm_target_enabled 1\n" in text
    assert all(getattr(meter, kind).inflight == 0 for kind in Meter.__slots__ if hasattr(getattr(meter, kind), "begun"))


def test_meters_with_other_bounds_cannot_be_merged() -> None:
    """Adding bucket to bucket would invent durations."""
    with pytest.raises(ValueError, match="bounds"):
        merge([Meter([1], [1]), Meter([2], [2])])


@pytest.mark.parametrize("seconds, bucket", [(0.0, 0), (0.001, 0), (0.0011, 1), (15, 16), (15.1, 17)])
def test_a_duration_equal_to_a_bound_is_within_it(seconds: float, bucket: int) -> None:
    """`le` says: less or equal. The data path adds to the list itself, with the same bisect."""
    histogram = Histogram(DEFAULT_BOUNDS)
    histogram.observe(seconds)
    assert histogram.counts.index(1) == bucket == bisect_left(histogram.bounds, seconds)
    assert (sum(histogram.counts), histogram.total) == (1, seconds)


def test_seconds_of_what_lasts_still_count() -> None:
    """A pause that never ends is the one to be told of."""
    spans = Spans()
    spans.begin(10.0)
    spans.begin(11.0)
    assert spans.seconds(12.0) == 3.0
    spans.end(12.0)
    assert spans.seconds(13.0) == 4.0
    spans.end(13.0)
    assert spans.seconds(100.0) == 4.0


def test_samples_stand_in_the_order_of_their_label_values_and_are_escaped() -> None:
    """Families with a label per node join later; a host id is free text."""
    family = Family("x_total", "counter", "X", [Sample((("node", "b"),), 1), Sample((("node", 'a"\\\n'),), 2)])
    assert render_families([family], "zdm").splitlines()[2:] == [
        'zdm_x_total{node="a\\"\\\\\\n"} 2',
        'zdm_x_total{node="b"} 1',
    ]


# Printed by Go 1.26: strconv.FormatFloat(v, 'g', -1, 64)
GO_NUMBERS = [
    (0, "0"),
    (1, "1"),
    (-1, "-1"),
    (100, "100"),
    (999999, "999999"),
    (1000000, "1e+06"),
    (1234567, "1.234567e+06"),
    (12345678.5, "1.23456785e+07"),
    (123456789012, "1.23456789012e+11"),
    (1e20, "1e+20"),
    (1e21, "1e+21"),
    (0.1, "0.1"),
    (0.0001, "0.0001"),
    (0.00012, "0.00012"),
    (0.00001, "1e-05"),
    (-0.000012345, "-1.2345e-05"),
    (0.0009527240000000001, "0.0009527240000000001"),
    (33.333333333333336, "33.333333333333336"),
    (100000.5, "100000.5"),
    (1000000.5, "1.0000005e+06"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (float("inf"), "+Inf"),
    (float("-inf"), "-Inf"),
]


@pytest.mark.parametrize("value, text", GO_NUMBERS)
def test_numbers_read_as_go_prints_them(value: float, text: str) -> None:
    """Some peer tests compare lines as text; Prometheus itself would take any form."""
    assert go_number(value) == text
