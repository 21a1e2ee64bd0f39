"""Start-up: what HTTP says, what is tried again, and how a start is given up."""

from __future__ import annotations

import signal
import socket
from types import SimpleNamespace

from tests.process.awaiting import free_port, until
from tests.process.conftest import StartProxy, StartSandbox
from tests.process.running_proxy import PROXY
from tests.process.sandbox import ORIGIN, TARGET, Sandbox

RETRIES = (r"Couldn't start proxy: ", r"Couldn't start proxy, retrying in ")
STARTUP = '{"OriginStatus":null,"TargetStatus":null,"Status":"STARTUP"}'


def nowhere(host: str) -> SimpleNamespace:
    """A cluster that is not there."""
    return SimpleNamespace(host=host, port=free_port(host), login=("", ""))


def test_http_answers_at_once_while_no_cluster_is_there(proxy: StartProxy) -> None:
    """Probes and operators must hear from a proxy that waits: within 500 ms, and so with little work before."""
    starting = proxy(nowhere(ORIGIN), nowhere(TARGET), ready=False)
    until(starting.answers_http, "HTTP answers")
    assert starting.cpu_seconds() < 3.0
    for pattern in RETRIES:
        starting.announces(pattern)
        starting.said(pattern)
    starting.tolerates("Failed to open control connection to ORIGIN")
    readiness, metrics = starting.get("/health/readiness"), starting.get("/metrics")
    assert (readiness.status_code, readiness.text) == (503, STARTUP)
    assert (metrics.status_code, metrics.text) == (503, "Proxy metrics haven't been initialized yet.\n")
    with socket.socket() as client:
        assert client.connect_ex((PROXY, starting.port)) != 0, "the client port is open before the clusters are there"


def test_the_clusters_may_start_after_the_proxy(proxy: StartProxy, own_sandbox: StartSandbox) -> None:
    """After a power cut nobody starts machines in order."""
    origin, target = nowhere(ORIGIN), nowhere(TARGET)
    starting = proxy(origin, target, ready=False)
    for pattern in RETRIES:
        starting.announces(pattern)
    starting.tolerates("Failed to open control connection to (ORIGIN|TARGET)")
    starting.said(RETRIES[1])
    own_sandbox(ports=(origin.port, target.port))
    starting.wait_until_ready()
    assert starting.get("/health/readiness").json() == {
        "OriginStatus": {
            "Addr": f"{ORIGIN}:{origin.port}", "CurrentFailureCount": 0, "FailureCountThreshold": 1, "Status": "UP",
        },
        "TargetStatus": {
            "Addr": f"{TARGET}:{target.port}", "CurrentFailureCount": 0, "FailureCountThreshold": 1, "Status": "UP",
        },
        "Status": "UP",
    }  # fmt: skip
    starting.said("Proxy connected and ready to accept queries on ")
    assert starting.client().query("SELECT cluster_name FROM system.local").rows == [("origin",)]


def test_a_client_port_in_use_is_tried_again(sandbox: Sandbox, proxy: StartProxy) -> None:
    """The process that is being replaced may still be draining."""
    with socket.create_server((PROXY, 0)) as other:
        port = other.getsockname()[1]
        starting = proxy(*sandbox.clusters, ready=False, proxy_listen_port=port)
        for pattern in RETRIES:
            starting.announces(pattern + r".*\b" + str(port) + r"\b")
        starting.said(RETRIES[1])
        assert starting.get("/health/readiness").status_code == 503
    starting.wait_until_ready()
    starting.client().close()


def test_an_http_port_in_use_does_not_stop_the_proxy(sandbox: Sandbox, proxy: StartProxy) -> None:
    """Metrics are not worth an outage."""
    with socket.create_server((PROXY, 0)) as other:
        starting = proxy(*sandbox.clusters, ready=False, metrics_port=other.getsockname()[1])
        starting.announces("Failed to listen on the metrics endpoint")
        starting.said("Proxy started. Waiting for SIGINT/SIGTERM to shutdown.")
        assert starting.client().query("SELECT key FROM system.local").rows == [("local",)]
        starting.program.stop()
        starting.judge()


def test_an_interrupted_start_ends_well(proxy: StartProxy) -> None:
    """Ctrl-C while the clusters are not there is no failure of the program."""
    starting = proxy(nowhere(ORIGIN), nowhere(TARGET), ready=False)
    for pattern in RETRIES:
        starting.announces(pattern)
    starting.tolerates("Failed to open control connection to ORIGIN")
    starting.said(RETRIES[1])
    starting.program.signal(signal.SIGINT)
    assert starting.program.wait() == 0
    for line in ("Cancellation detected. Aborting proxy startup...", "Proxy shutdown complete."):
        assert line in starting.log()


def test_wrong_credentials_of_the_proxy_are_told_and_tried_again(guarded: Sandbox, proxy: StartProxy) -> None:
    """An operator must find the reason in the log, in the cluster's own words."""
    origin = SimpleNamespace(host=guarded.origin.host, port=guarded.origin.port, login=("origin_user", "wrong"))
    starting = proxy(origin, guarded.target, ready=False)
    for pattern in RETRIES:
        starting.announces(pattern)
    starting.announces(
        "Failed to open control connection to ORIGIN.*Provided username origin_user and/or password are incorrect"
    )
    starting.said(RETRIES[1])
