"""/metrics over HTTP: that Prometheus can read it, and that it counts what happened."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.sandbox import Sandbox


def test_the_exposition_counts_what_happened(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """Dashboards of the reference are to work as they are: same names, same labels, whole numbers without decimals."""
    running = proxy(*sandbox.clusters)
    client = running.client()
    insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'x')")
    for key in range(7):
        assert client.ask(frames.execute(1, insert, [frames.integer(key)])).is_void
    for _ in range(3):
        assert client.query(f"SELECT v FROM {ks}.t WHERE k = 1").rows == [("x",)]
    client.ask(frames.execute(1, b"unknown"))
    sandbox.origin.fault("error", text=f"SELECT v  FROM {ks}.t", code="SERVER_ERROR")
    client.query(f"SELECT v  FROM {ks}.t")
    answer = running.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    for line in (
        "zdm_client_connections_total 1",
        "zdm_pscache_entries_total 1",
        "zdm_pscache_miss_total 1",
        'zdm_proxy_failed_reads_total{cluster="origin"} 1',
        'zdm_proxy_failed_reads_total{cluster="target"} 0',
        'zdm_proxy_failed_writes_total{failed_on="both"} 0',
        'zdm_proxy_inflight_requests_total{type="writes"} 0',
        'zdm_proxy_request_duration_seconds_count{type="writes"} 7',
        'zdm_proxy_request_duration_seconds_bucket{type="writes",le="+Inf"} 7',
        'zdm_proxy_request_duration_seconds_count{type="reads_origin"} 4',
        'zdm_proxy_request_duration_seconds_count{type="reads_target"} 0',
    ):
        assert line in answer.text.splitlines()
    families = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds"} <= families


def test_requests_in_flight_are_shown_while_they_are(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str
) -> None:
    """The gauge goes up when a request is sent and down when it is answered."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire)
    client = running.client()
    gauge = 'proxy_inflight_requests_total{type="writes"}'
    wire.stall()
    for stream in range(5):
        client.send(frames.query(stream, f"INSERT INTO {ks}.t (k, v) VALUES ({stream}, 'x')"))
    until(lambda: running.metric(gauge) == 5, "five in flight")
    wire.resume()
    assert all(client.answer_to(stream).is_void for stream in range(5))
    assert running.metric(gauge) == 0
