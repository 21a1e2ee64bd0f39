"""What a start needs, and what it survives: credentials, partitioners, clusters that come later, lost connections."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests import frames
from tests.net.nodes import USER, Connection
from tests.parity.running import Running, running
from zdm.protocol.requests import Register

SIDES = ("origin", "target")
INSERT = "INSERT INTO ks.t (k) VALUES (1)"
MURMUR3 = b"org.apache.cassandra.dht.Murmur3Partitioner"
RANDOM = b"org.apache.cassandra.dht.RandomPartitioner"
ORDERED = b"org.apache.cassandra.dht.ByteOrderedPartitioner"
CREDENTIALS = {
    "right": {"username": USER.username, "password": USER.password},
    "wrong": {"username": USER.username, "password": "wrong"},
    "none": {},
}


def credentials(side: str, kind: str) -> dict[str, str]:
    return {f"{side}_{key}": text for key, text in CREDENTIALS[kind].items()}


@pytest.mark.parametrize("asking", [(), ("origin",), ("target",), SIDES], ids=lambda sides: "+".join(sides) or "nobody")
@pytest.mark.parametrize(("of_origin", "of_target"), list(itertools.product(CREDENTIALS, repeat=2)))
def test_a_start_needs_the_credentials_of_each_cluster_that_asks(
    asking: tuple[str, ...], of_origin: str, of_target: str
) -> None:
    """Unused ones are harmless. What started is UP at both clusters, and no heartbeat has failed."""
    given = {"origin": of_origin, "target": of_target}
    keys: dict[str, Any] = credentials("origin", of_origin) | credentials("target", of_target)
    with running(**keys) as played:
        for side in asking:
            getattr(played, side)[0].authenticator = "org.apache.cassandra.auth.PasswordAuthenticator"
        played.start()
        assert played.listens == all(given[side] == "right" for side in asking)
        health = played.service.health()
        assert (health is not None) == played.listens
        if health is not None:
            for control in (health.origin, health.target):
                assert (control.status, control.failures) == ("UP", 0)


@pytest.mark.parametrize(("of_origin", "of_target"), list(itertools.product([MURMUR3, RANDOM, ORDERED], repeat=2)))
def test_tokens_can_be_laid_over_two_partitioners_and_over_no_other(of_origin: bytes, of_target: bytes) -> None:
    """Clients are shown Murmur3 whatever the clusters have: the tokens are the proxy's."""
    with running() as played:
        played.origin[0].local["partitioner"], played.target[0].local["partitioner"] = of_origin, of_target
        played.start()
        assert played.listens == (ORDERED not in (of_origin, of_target))
        if played.listens:
            answer = played.ask(played.ready(), frames.query(2, "SELECT partitioner FROM system.local"))
            assert answer.endswith(frames.long_bytes(MURMUR3))
            return
        refused = "ORIGIN" if of_origin == ORDERED else "TARGET"
        reason = f"virtualization is enabled and partitioner is not Murmur3 or Random but instead {ORDERED.decode()}"
        (told, *_) = [text for text in played.log.texts("warn") if reason in text]
        assert refused in told


def test_a_start_waits_for_both_clusters() -> None:
    """One of them is not enough: half of what clients write would be missing."""
    with running() as played:
        played.origin[0].is_down = played.target[0].is_down = True
        played.start()
        for _ in range(10):
            played.network.clock.advance(1)
        assert not played.listens
        played.origin[0].is_down = False
        for _ in range(30):
            played.network.clock.advance(1)
        assert not played.listens
        played.target[0].is_down = False
        for _ in range(11):
            played.network.clock.advance(1)
        assert played.listens


def test_clients_come_while_control_connections_are_opened_again() -> None:
    """They need no control connection: with what was known last they are served meanwhile."""
    with running(heartbeat_retry_interval_max_ms=1000) as played:
        played.start()
        cut = 0
        for _ in range(100):
            for control in _control_connections(played):
                control.cut()
                cut += 1
            client = played.connect()
            assert played.ask(client, frames.startup(1)) == frames.ready(1)
            assert played.ask(client, frames.query(2, INSERT)) == frames.void(2)
            client.end()
            played.network.clock.advance(0.5)
        assert cut >= 20
        played.network.clock.pump([1] * 60)
        health = played.service.health()
        assert health is not None and (health.origin.status, health.target.status) == ("UP", "UP")


def _control_connections(played: Running) -> list[Connection]:
    """Those that are open: only they are told of topology."""
    nodes = played.origin + played.target
    return [one for node in nodes for one in node.connections if one.connected and one.asked(Register)]
