"""Readiness over HTTP while a cluster goes and comes back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.sandbox import Sandbox


@pytest.mark.parametrize("lost", ["origin", "target"])
def test_readiness_goes_down_after_the_threshold_and_up_again(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, lost: str
) -> None:
    """One missed heartbeat is no outage; a load balancer acts on this, and must see the recovery too."""
    wires = {name: link(getattr(sandbox, name)) for name in ("origin", "target")}
    running = proxy(
        wires["origin"],
        wires["target"],
        heartbeat_interval_ms=100,
        heartbeat_retry_interval_min_ms=100,
        heartbeat_retry_interval_max_ms=200,
        heartbeat_failure_threshold=4,
    )
    running.announces(rf"The control connection to {lost.upper()} \(.*\) ended")
    running.announces(f"Failed to open control connection to {lost.upper()}")
    running.tolerates(f"{lost.upper()}")
    seen: dict[str, set[int]] = {"UP": set(), "DOWN": set()}

    def state() -> Any:
        answer = running.get("/health/readiness")
        report = answer.json()
        assert (answer.status_code == 200) == (report["Status"] == "UP")
        mine = report[f"{lost.capitalize()}Status"]
        assert mine["Addr"] == f"{wires[lost].host}:{wires[lost].port}"
        assert mine["FailureCountThreshold"] == 4
        seen[mine["Status"]].add(mine["CurrentFailureCount"])
        return report

    wires[lost].refuse()
    until(lambda: state()["Status"] == "DOWN", "readiness says DOWN")
    assert max(seen["UP"]) < 4 <= min(seen["DOWN"])
    other = "Target" if lost == "origin" else "Origin"
    assert state()[f"{other}Status"]["Status"] == "UP"
    assert state()[f"{other}Status"]["CurrentFailureCount"] == 0
    assert running.get("/health/liveness").text == "OK"
    assert running.get("/metrics").status_code == 200
    wires[lost].accept()
    until(lambda: state()["Status"] == "UP", "readiness says UP again")
    assert state()[f"{lost.capitalize()}Status"]["CurrentFailureCount"] == 0
