"""The text that Prometheus gets must be the reference's, down to the form of a number."""

from __future__ import annotations

import re
from bisect import bisect_left
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zdm.core.clusters import Side
from zdm.exposition import Family, Sample, go_number, render_families
from zdm.families import render
from zdm.meters import DEFAULT_BOUNDS, Histogram, Spans
from zdm.metrics import Meter, merge

DATA = Path(__file__).parent / "data"
ORIGIN_NODE, TARGET_NODE = "127.0.0.1:9041", "127.0.0.2:9041"
OWN = re.compile(
    "zdm_(proxy_(dropped_copies|late_answers|mended_unprepared|rejected_requests|timed_out_requests)_total"
    "|stream_ids_limit|target_(abandoned_requests|attaching|enabled|skipped_requests)|inflight_|socket_|worker_"
    "|replaced_functions_|write_timestamps_)"
)


def recorded(read_mode: str) -> list[str]:
    """What the Go proxy showed of itself."""
    return (DATA / f"metrics-reference-{read_mode}.txt").read_text().splitlines()


def durations(histogram: Histogram, lines: list[str], name: str, labels: str) -> None:
    """So many within the first bucket, and their sum, as it was recorded."""
    values = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in lines}
    for _ in range(int(values[f"zdm_{name}_count{{{labels}}}"])):
        histogram.observe(0.0005)
    histogram.total = float(values[f"zdm_{name}_sum{{{labels}}}"])


def after_the_reference_run(lines: list[str], copies_to: Side | None = None) -> Meter:
    meter = Meter(copies_to=copies_to)
    for kind in ("reads_origin", "reads_target", "writes"):
        durations(getattr(meter, kind).duration, lines, "proxy_request_duration_seconds", f'type="{kind}"')
    for side, name in ((Side.ORIGIN, ORIGIN_NODE), (Side.TARGET, TARGET_NODE)):
        node = meter.node(side, name)
        for kind in ("reads", "writes"):
            family = f"{side.name.lower()}_request_duration_seconds"
            durations(getattr(node, kind), lines, family, f'node="{name}",type="{kind}"')
    meter.pscache_entries = 2
    return meter


@pytest.mark.parametrize(
    ("read_mode", "copies_to"),
    [("primary-only", None), ("dual-async", Side.TARGET)],
)
def test_the_same_events_give_the_text_of_the_reference(read_mode: str, copies_to: Side | None) -> None:
    """Dashboards, alerts and the peer's tests compare whole lines: family by family, label by label, in this order."""
    lines = recorded(read_mode)
    shown = render(after_the_reference_run(lines, copies_to), "zdm").splitlines()
    assert [line for line in shown if not OWN.match(line.removeprefix("# HELP ").removeprefix("# TYPE "))] == lines


def test_the_reference_has_24_families_with_copied_reads_and_18_without() -> None:
    """What the comparison is worth: the recorded text is all that section 8.2 names."""
    assert len([line for line in recorded("dual-async") if line.startswith("# HELP")]) == 24
    assert len([line for line in recorded("primary-only") if line.startswith("# HELP")]) == 18


def test_bucket_bounds_read_as_go_prints_them() -> None:
    """A bound written `1.0` would be another series than `1`."""
    bounds = re.findall(r'_bucket\{type="writes",le="([^"]+)"\}', render(Meter(), "zdm"))
    assert bounds == "0.001 0.004 0.007 0.01 0.025 0.04 0.06 0.08 0.1 0.15 0.25 0.5 1 2.5 5 10 15 +Inf".split()


def test_every_family_stands_in_the_order_of_its_name_ours_too() -> None:
    """The reference sorts; a diff of two scrapes stays readable."""
    meter = Meter(copies_to=Side.TARGET)
    assert len(re.findall("# HELP", render(meter, "zdm"))) == 24
    meter.node(Side.ORIGIN, ORIGIN_NODE)
    meter.node(Side.TARGET, TARGET_NODE)
    names = re.findall(r"# HELP (\S+)", render(meter, "zdm"))
    assert names == sorted(names) and len(names) == 40


def test_the_prefix_is_the_operators() -> None:
    """`metrics_prefix` tells several proxies apart."""
    lines = render(Meter(), "blue").splitlines()
    assert all(re.match(r"(# (HELP|TYPE) )?blue_", line) for line in lines)


def test_without_a_prefix_no_underscore_is_left_over() -> None:
    """As the reference's library joins an empty name space."""
    assert render(Meter(), "").splitlines()[0].startswith("# HELP client_connections_total ")


def test_prometheus_reads_the_text() -> None:
    """Its own parser has the last word on the format."""
    meter = after_the_reference_run(recorded("dual-async"), Side.TARGET)
    meter.client_connections = 7
    found = {family.name: family for family in text_string_to_metric_families(render(meter, "zdm"))}
    assert found["zdm_client_connections_total"].samples[0].value == 7
    assert found["zdm_proxy_request_duration_seconds"].type == "histogram"
    assert found["zdm_proxy_failed_writes"].type == "counter"
    assert found["zdm_origin_requests_failed"].samples[0].labels == {"error": "client_timeout", "node": ORIGIN_NODE}


@pytest.mark.parametrize(
    "attribute, line",
    [
        ("client_connections", "client_connections_total"),
        ("copies_over_limit", 'proxy_dropped_copies_total{reason="limit"}'),
        ("copies_unconnected", 'proxy_dropped_copies_total{reason="unconnected"}'),
        ("copies_without_stream", 'proxy_dropped_copies_total{reason="stream_ids"}'),
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
        ("stream_ids_limit", "stream_ids_limit"),
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
    merged = 100 if attribute in ("pscache_entries", "stream_ids_limit") else 141
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


def test_nodes_are_merged_by_name_and_what_they_counted_outlives_their_worker() -> None:
    """Two workers use the same hosts, and a host that is gone keeps its counters."""
    one, two = Meter(), Meter()
    for meter, name in ((one, "a:1"), (two, "a:1"), (two, "b:1")):
        node = meter.node(Side.TARGET, name)
        node.connections, node.used_streams, node.failed_connections = 2, 3, 4
        node.writes.observe(0.002)
        node.answered_with(0x1100)
        node.left_unanswered()
    two.retire()
    lines = render(merge([one, two]), "zdm").splitlines()
    for line in (
        'connections_total{node="a:1"} 2',
        'connections_total{node="b:1"} 0',
        'used_stream_ids_total{node="a:1"} 3',
        'failed_connections_total{node="a:1"} 8',
        'request_duration_seconds_count{node="a:1",type="writes"} 2',
        'request_duration_seconds_count{node="b:1",type="writes"} 1',
        'requests_failed_total{error="write_timeout",node="a:1"} 2',
        'requests_failed_total{error="client_timeout",node="b:1"} 1',
    ):
        assert f"zdm_target_{line}" in lines
    assert one.node(Side.TARGET, "a:1").failed_connections == 4


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x1000, "unavailable"),
        (0x1001, "overloaded"),
        (0x1100, "write_timeout"),
        (0x1200, "read_timeout"),
        (0x1300, "read_failure"),
        (0x1500, "write_failure"),
        (0x2500, "unprepared"),
        (0x0000, "other"),
        (0x2200, "other"),
    ],
)
def test_errors_are_counted_by_their_class(code: int, name: str) -> None:
    """Those without one of their own together (section 8.2)."""
    meter = Meter()
    meter.node(Side.ORIGIN, "a:1").answered_with(code)
    found = [line for line in render(meter, "zdm").splitlines() if "requests_failed_total{" in line]
    assert [line for line in found if not line.endswith(" 0")] == [
        f'zdm_origin_requests_failed_total{{error="{name}",node="a:1"}} 1'
    ]


def test_writes_by_table_have_a_line_for_each_cluster() -> None:
    """The gap between the two is what an operator looks for."""
    meter = Meter(max_tables=1)
    assert "write_success" not in render(Meter(), "zdm")
    place = meter.tables.places[meter.tables.place([("ks", "t")])]
    place.count(Side.ORIGIN, 3)
    place.count(Side.TARGET, 2)
    shown = [line for line in render(meter, "zdm").splitlines() if line.startswith("zdm_proxy_write_success")]
    assert shown == [
        'zdm_proxy_write_success_total{cluster="origin",keyspace="ks",table="t"} 3',
        'zdm_proxy_write_success_total{cluster="origin",keyspace="other",table="other"} 0',
        'zdm_proxy_write_success_total{cluster="target",keyspace="ks",table="t"} 2',
        'zdm_proxy_write_success_total{cluster="target",keyspace="other",table="other"} 0',
    ]


def test_nodes_use_the_buckets_of_their_cluster() -> None:
    """Three lists of bounds, three configuration keys."""
    meter = Meter([1], [2], [3], Side.ORIGIN)
    assert meter.node(Side.ORIGIN, "a:1").reads.bounds == [1]
    assert meter.node(Side.TARGET, "b:1").writes.bounds == [2]
    assert {name: node.reads.bounds for name, node in meter.async_nodes.by_name.items()} == {"a:1": [3]}
    assert list(merge([meter]).async_nodes.by_name) == ["a:1"]


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


def test_certificates_are_shown_by_how_long_they_last() -> None:
    """An alert on less than a week costs nothing; nothing is shown where nothing is under TLS."""
    text = render(Meter(), "zdm", seconds_left={"proxy": 86400.7, "origin": -5.2})
    assert "# TYPE zdm_tls_certificate_expiry_seconds gauge\n" in text
    assert (
        'zdm_tls_certificate_expiry_seconds{cluster="origin"} -5\n'
        'zdm_tls_certificate_expiry_seconds{cluster="proxy"} 86400\n'
    ) in text
    assert "tls_certificate" not in render(Meter(), "zdm")
