"""Every state of the proxy, as HTTP tells it. The bytes are the reference's (behaviour spec 8.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher

from tests.admin.caller import Call, Proxy, ask
from zdm.admin.health import ControlHealth, Health
from zdm.families import render
from zdm.metrics import Meter

UP = ControlHealth("127.0.0.40:9042", 0, 1)
DOWN = ControlHealth("127.0.0.41:9042", 3, 3)
NEVER_CONNECTED = ControlHealth(None, 1, 1)

PLAIN_TEXT = "text/plain; charset=utf-8"


def test_readiness_of_a_proxy_whose_clusters_are_up() -> None:
    """Automation reads this text; the order of keys is part of it."""
    answer = ask(Proxy(health=Health(UP, UP)), "GET", "/health/readiness")
    cluster = '{"Addr":"127.0.0.40:9042","CurrentFailureCount":0,"FailureCountThreshold":1,"Status":"UP"}'
    assert answer.body.decode() == f'{{"OriginStatus":{cluster},"TargetStatus":{cluster},"Status":"UP"}}'
    assert (answer.code, answer.type) == (200, "application/json")


def test_readiness_before_the_start_and_after_the_stop() -> None:
    """503 holds back traffic; the text tells a start from a failure."""
    answer = ask(Proxy(health=None), "GET", "/health/readiness")
    assert answer.body == b'{"OriginStatus":null,"TargetStatus":null,"Status":"STARTUP"}'
    assert (answer.code, answer.type) == (503, "application/json")


@pytest.mark.parametrize(
    "health, statuses",
    [
        (Health(DOWN, UP), ("DOWN", "UP")),
        (Health(UP, DOWN), ("UP", "DOWN")),
        (Health(DOWN, NEVER_CONNECTED), ("DOWN", "DOWN")),
    ],
)
def test_one_cluster_down_is_down(health: Health, statuses: tuple[str, str]) -> None:
    """A proxy that can't write to both is not ready; the address is kept while disconnected."""
    answer = ask(Proxy(health=health), "GET", "/health/readiness")
    report = json.loads(answer.body)
    assert (answer.code, report["Status"]) == (503, "DOWN")
    assert (report["OriginStatus"]["Status"], report["TargetStatus"]["Status"]) == statuses
    shown = [report[f"{cluster}Status"]["Addr"] for cluster in ("Origin", "Target")]
    assert shown == [each.address or "NOT_CONNECTED" for each in health[:2]]


@pytest.mark.parametrize("target", [DOWN, NEVER_CONNECTED])
def test_a_target_that_is_switched_off_does_not_make_the_proxy_unready(target: ControlHealth) -> None:
    """Or an orchestrator would remove the very proxies that the switch is to save; the target's own status is told."""
    answer = ask(Proxy(health=Health(UP, target, target_required=False)), "GET", "/health/readiness")
    report = json.loads(answer.body)
    assert (answer.code, report["Status"], report["TargetStatus"]["Status"]) == (200, "UP", "DOWN")


def test_a_target_that_is_switched_off_does_not_hide_that_origin_is_down() -> None:
    answer = ask(Proxy(health=Health(DOWN, UP, target_required=False)), "GET", "/health/readiness")
    assert (answer.code, json.loads(answer.body)["Status"]) == (503, "DOWN")


def test_failures_below_the_threshold_are_shown_and_still_up() -> None:
    """One lost heartbeat is no outage."""
    answer = ask(Proxy(health=Health(ControlHealth("a:1", 2, 3), UP)), "GET", "/health/readiness")
    assert b'{"Addr":"a:1","CurrentFailureCount":2,"FailureCountThreshold":3,"Status":"UP"}' in answer.body
    assert answer.code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_readiness_is_for_get_only(method: str) -> None:
    """The reference answers 404 even to HEAD."""
    answer = ask(Proxy(health=Health(UP, UP)), method, "/health/readiness")
    assert (answer.code, answer.type) == (404, PLAIN_TEXT)
    assert answer.body == (b"" if method == "HEAD" else b"404 page not found\n")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("path", ["/health/liveness", "/health/liveliness"])
def test_liveness_is_ok_by_any_method_and_in_any_state(method: str, path: str) -> None:
    """It says that the process answers, and no more. The vendor's automation has the second spelling."""
    answer = ask(Proxy(), method, path)
    assert (answer.code, answer.type, answer.headers["content-length"]) == (200, PLAIN_TEXT, "2")
    assert answer.body == (b"" if method == "HEAD" else b"OK")


@pytest.mark.parametrize("path", ["/", "/health", "/metrics/", "/health/readiness/", "/x?y=1", "/metricsx"])
def test_anything_else_is_not_found(path: str) -> None:
    """Go's text, which probes written for the reference may compare."""
    answer = ask(Proxy("x"), "GET", path)
    assert (answer.code, answer.type, answer.body) == (404, PLAIN_TEXT, b"404 page not found\n")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_metrics_of_a_running_proxy(method: str) -> None:
    """One text: the process's families, which the vendor's dashboards use, and the proxy's."""
    answer = ask(Proxy(render(Meter(), "zdm")), method, "/metrics")
    assert (answer.code, answer.type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = answer.body.decode()
    assert text.endswith(render(Meter(), "zdm"))
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert names[:6] == [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
    ]
    assert names == sorted(names)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6
    assert families["process_cpu_seconds"].type == "counter"


def test_metrics_that_take_time_are_waited_for() -> None:
    """With several workers their numbers come from other processes."""
    text: Deferred[str] = Deferred()
    call = Call(Proxy(text), "GET", "/metrics")
    assert not call.is_answered
    text.callback("from workers\n")
    answer = call.answer()
    assert answer.code == 200 and answer.body.endswith(b"from workers\n")


def test_metrics_before_the_start_and_after_the_stop() -> None:
    """No numbers is not the same as zeros."""
    answer = ask(Proxy(None), "GET", "/metrics")
    assert (answer.code, answer.type) == (503, PLAIN_TEXT)
    assert answer.body == b"Proxy metrics haven't been initialized yet.\n"


@pytest.mark.parametrize("metrics", [None, "zdm_x 1\n"])
def test_metrics_that_are_switched_off(metrics: str | None) -> None:
    """`metrics_enabled: false` is told to whoever asks, started or not."""
    answer = ask(Proxy(metrics), "GET", "/metrics", metrics_enabled=False)
    assert (answer.code, answer.type) == (404, PLAIN_TEXT)
    assert answer.body == b"Metrics are disabled on this proxy instance.\n"


def test_an_error_in_a_route_is_a_500_and_one_line_in_the_log() -> None:
    """The operator sees the cause, the caller does not."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        answer = ask(Proxy(ValueError("secret cause")), "GET", "/metrics")
    finally:
        globalLogPublisher.removeObserver(observer)
    assert (answer.code, answer.body) == (500, b"500 internal server error\n")
    (event,) = [event for event in events if event["log_level"] >= LogLevel.warn]
    assert event["log_failure"].getErrorMessage() == "secret cause"
    assert (event["method"], event["uri"]) == ("GET", "/metrics")


@pytest.mark.parametrize(
    "path, host",
    [("/health/liveness", b"\xff"), ("/health/liveness", b"a..b"), ("/health/liveness", b"x" * 300), ("/%FF", b"p")],
)
def test_bytes_that_routing_cannot_take_are_no_fault_of_the_proxy(path: str, host: bytes) -> None:
    """Whoever can connect could otherwise fill the log with tracebacks."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        answer = ask(Proxy(), "GET", path, headers={"Host": host})
    finally:
        globalLogPublisher.removeObserver(observer)
    assert answer.code == (404 if path == "/%FF" else 200)
    assert [event for event in events if event["log_level"] >= LogLevel.warn] == []
