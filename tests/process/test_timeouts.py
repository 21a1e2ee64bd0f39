"""Clusters that do not answer: silence as with the reference, or errors on request, and no answer that strays."""

from __future__ import annotations

import time

import pytest

from tests import frames
from tests.process.answers import READ_TIMEOUT, WRITE_TIMEOUT
from tests.process.awaiting import until
from tests.process.conftest import LayLink, StartProxy
from tests.process.sandbox import Sandbox


def insert(ks: str, key: int) -> str:
    return f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'v{key}')"


def select(ks: str, key: int) -> str:
    return f"SELECT v FROM {ks}.t WHERE k = {key}"


def test_a_request_that_a_cluster_does_not_answer_is_never_answered(
    sandbox: Sandbox, proxy: StartProxy, ks: str
) -> None:
    """As with the reference, so that the driver's own timeout decides what the application sees."""
    running = proxy(*sandbox.clusters, proxy_request_timeout_ms=400)
    client = running.client()
    sandbox.target.fault("drop", text=insert(ks, 1))
    client.send(frames.query(1, insert(ks, 1)))
    until(lambda: running.metric("proxy_timed_out_requests_total") == 1, "the request has timed out")
    assert client.is_silent(0.1)
    assert client.query(insert(ks, 2), stream=1).is_void, "its id can be used again"
    assert running.metric('proxy_inflight_requests_total{type="writes"}') == 0


@pytest.mark.parametrize("side", ["origin", "target"])
def test_with_error_a_timeout_says_what_may_have_happened(
    sandbox: Sandbox, proxy: StartProxy, ks: str, side: str
) -> None:
    """A write may have been applied, so the error is one after which no driver repeats what cannot be repeated."""
    running = proxy(
        *sandbox.clusters, proxy_request_timeout_ms=400, proxy_timeout_response="ERROR", primary_cluster=side.upper()
    )
    client = running.client()
    slow = getattr(sandbox, side)
    slow.fault("drop", text=f"{ks}.")
    code, message = client.query(insert(ks, 1)).error
    assert (code, f"no answer from {side.upper()} within 0.4 s" in message) == (WRITE_TIMEOUT, True)
    assert client.query(select(ks, 1)).error[0] == READ_TIMEOUT


def test_late_answers_never_reach_another_request(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """The ids of requests that timed out are used again at once, while their answers are still under way."""
    running = proxy(*sandbox.clusters, proxy_request_timeout_ms=500)
    client = running.client()
    ids = range(50)
    for key in ids:
        sandbox.origin.query(f"INSERT INTO {ks}.t (k, v) VALUES ({key}, 'late')")
        sandbox.origin.query(f"INSERT INTO {ks}.t (k, v) VALUES ({key + 100}, 'other{key}')")
    sandbox.origin.fault("delay", text=f"SELECT v  FROM {ks}.t", delay_ms=1200)
    client.send(b"".join(frames.query(key, f"SELECT v  FROM {ks}.t WHERE k = {key}") for key in ids))
    until(lambda: running.metric("proxy_timed_out_requests_total") == len(ids), "all have timed out")
    rounds = 0
    while running.metric("proxy_late_answers_total") < len(ids):
        rounds += 1
        client.send(b"".join(frames.query(key, select(ks, key + 100)) for key in ids))
        for key in ids:
            assert client.answer_to(key).rows == [(f"other{key}",)]
    assert rounds > 1, "the ids were not used while their answers were late"
    assert client.is_silent(0.1)


def test_a_target_that_stalls_heals_by_itself(sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str) -> None:
    """The connection may be dead for all the proxy knows: it is opened anew once too much is owed on it."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, proxy_request_timeout_ms=600)
    running.tolerates("(control connection|Failed to open)")
    client, other = running.client(), running.client()
    assert client.query(insert(ks, 1)).is_void
    wire.stall()
    for stream in range(300):
        client.send(frames.query(stream, insert(ks, stream + 10)))
    other.send(frames.query(1, insert(ks, 2)))
    stalls = rf"TARGET leaves requests of .*{client.name} unanswered; its connection is opened anew\."
    running.announces(stalls)
    running.said(stalls)
    assert client.query(select(ks, 1), stream=400).rows == [("v1",)], "reads from origin go on"
    wire.resume()
    assert client.query(insert(ks, 3), stream=5).is_void
    assert other.query(insert(ks, 4), stream=1).is_void
    assert sandbox.target.query(select(ks, 3)) == [("v3",)]


def test_answers_that_a_link_loses_are_no_answers(sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str) -> None:
    """A firewall that forgets a connection drops its packets without a word."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, proxy_request_timeout_ms=400, proxy_timeout_response="ERROR")
    client = running.client()
    wire.loses = True
    assert client.query(insert(ks, 1)).error[0] == WRITE_TIMEOUT
    wire.loses = False
    assert client.query(insert(ks, 2)).is_void


def test_a_slow_link_delays_answers_and_mixes_up_nothing(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink, ks: str
) -> None:
    """A target across the ocean: many requests are under way before the first answer comes."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire)
    client = running.client()
    wire.delay = 0.15
    begun = time.monotonic()
    client.send(b"".join(frames.query(key, insert(ks, key)) for key in range(200)))
    assert all(client.answer_to(key).is_void for key in range(200))
    assert time.monotonic() - begun >= 0.3
    assert sandbox.target.query(f"SELECT COUNT(*) FROM {ks}.t") == [(200,)]
    wire.delay = 0.0


def test_a_handshake_that_target_does_not_answer_is_given_up(
    sandbox: Sandbox, proxy: StartProxy, link: LayLink
) -> None:
    """A client must not hang for ever on a cluster that accepts and says nothing."""
    wire = link(sandbox.target)
    running = proxy(sandbox.origin, wire, proxy_request_timeout_ms=600)
    wire.stall()
    client = running.connect()
    running.announces(rf"Handshake of client {client.name} timed out: no answer from TARGET; closing it\.")
    client.send(frames.startup(1))
    assert client.until_closed() == []
    wire.resume()
    assert running.client().query("SELECT key FROM system.local").rows == [("local",)]
