"""SIGHUP to a running proxy that is configured by a file."""

from __future__ import annotations

import signal

import pytest

from tests import frames
from tests.process.awaiting import until
from tests.process.conftest import StartProxy
from tests.process.sandbox import Sandbox

pytestmark = pytest.mark.timeout(120)  # a start that is tried again, on a busy machine

SECRETS = ("origin_secret", "target_secret", "hunter")


def test_another_level_reaches_the_workers(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """They serve the clients, so it is their lines that are wanted. What needs a restart is told."""
    running = proxy(*sandbox.clusters, in_file=True, workers=2, heartbeat_interval_ms=1)
    client = running.client()
    running.rewrite(log_level="debug", proxy_max_stream_ids=100)
    running.announces("SIGHUP: proxy_max_stream_ids has changed from 2048 to 100: not applied, it needs a restart")
    running.program.signal(signal.SIGHUP)
    running.said("SIGHUP: log_level has changed from .* to .*: applied")

    def shows_debug() -> bool:
        assert client.query(f"SELECT * FROM {ks}.t").rows == []
        return 'level=debug msg="Sending heartbeat to cluster TARGET" worker=' in running.log()

    until(shows_debug, "a worker shows its debugging lines")


def test_a_password_is_mended_while_the_proxy_waits_for_its_cluster(guarded: Sandbox, proxy: StartProxy) -> None:
    """Without a restart; and no password is ever in the log."""
    starting = proxy(*guarded.clusters, ready=False, in_file=True, origin_password="hunter", workers=2)
    for pattern in (r"Couldn't start proxy: ", r"Couldn't start proxy, retrying in ", "Failed to open control"):
        starting.announces(pattern)
    starting.said("retrying in ")
    starting.rewrite(origin_password="origin_secret")
    starting.program.signal(signal.SIGHUP)
    starting.said("SIGHUP: origin_password has changed: applied")
    starting.wait_until_ready()
    assert starting.client(*guarded.target.login).query("SELECT key FROM system.local").rows == [("local",)]
    assert not any(secret in starting.log() for secret in SECRETS)


def test_a_file_that_cannot_be_used_changes_nothing(sandbox: Sandbox, proxy: StartProxy) -> None:
    """One error, and clients are served as before."""
    running = proxy(*sandbox.clusters, in_file=True)
    client = running.client()
    running.rewrite(proxy_request_timeout_ms=0, primary_cluster="NONE", log_level="error")
    running.announces("Error loading configuration: .*ZDM_PRIMARY_CLUSTER.*TIMEOUT_MS.* Nothing has been changed")
    running.program.signal(signal.SIGHUP)
    running.said("Nothing has been changed")
    assert client.ask(frames.query(1, "SELECT key FROM system.local")).rows == [("local",)]
    running.rewrite(proxy_request_timeout_ms=10000, primary_cluster="ORIGIN", log_level="INFO")
    running.program.signal(signal.SIGHUP)
    running.said("SIGHUP: nothing has changed")
