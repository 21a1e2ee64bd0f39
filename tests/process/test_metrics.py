"""/metrics over HTTP: that Prometheus can read it, and that it counts what happened."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.sandbox import Sandbox

RECORDED = Path(__file__).parents[1] / "data" / "metrics-reference-primary-only.txt"


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


def test_the_same_requests_give_the_series_of_the_go_proxy(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """One write, then two connections with two writes and two reads, all of them closed, as it was recorded."""
    running = proxy(*sandbox.clusters)
    write = f"INSERT INTO {ks}.t (k, v) VALUES (1, 'x')"
    for clients in ([running.client()], [running.client(), running.client()]):
        for client in clients:
            assert client.query(write).is_void
        for client in clients if len(clients) == 2 else ():
            assert client.query(f"SELECT v FROM {ks}.t WHERE k = 1").rows == [("x",)]
        for client in clients:
            client.close()
    until(lambda: running.metric("client_connections_total") == 0, "all clients are gone")
    text = running.get("/metrics").text
    for cluster, recorded_node in zip(sandbox.clusters, ("127.0.0.1:9041", "127.0.0.2:9041"), strict=True):
        text = text.replace(f"{cluster.host}:{cluster.port}", recorded_node)
    recorded = _timeless(RECORDED.read_text())
    wanted = {_series(line) for line in recorded}
    assert [line for line in _timeless(text) if _series(line) in wanted] == recorded


def _series(line: str) -> str:
    """Name and labels; a line of HELP or TYPE as it is."""
    return line if line.startswith("#") else line.rpartition(" ")[0]


def _timeless(text: str) -> list[str]:
    """Without what differs from run to run: the times themselves, and how many statements were prepared before."""
    lines = [line for line in text.splitlines() if not re.match("zdm_pscache_entries_total|.*_bucket{", line)]
    return [re.sub(r"(_seconds_sum\{.*\}) .*", r"\1 0", line) for line in lines]


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
