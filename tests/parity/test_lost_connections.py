"""Clusters that are lost under a client, where that is to end it as with the reference (section 7.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import frames
from tests.net.nodes import Connection
from tests.net.wires import Wire
from tests.parity.running import Running, running
from zdm.core.state import SHUTTING_DOWN
from zdm.protocol.requests import Startup

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


@pytest.fixture
def played() -> Iterator[Running]:
    with running(on_target_connection_lost="CLOSE") as played:
        yield played.start()


def of_clients(played: Running, side: str) -> list[Connection]:
    """The open connections that a cluster has for clients: its first one is the control connection."""
    (node,) = getattr(played, side)
    return [one for one in node.connections[1:] if one.connected and not one.disconnecting and one.asked(Startup)]


def is_refused(client: Wire) -> bool:
    """Closed, maybe after one answer that says that another host is to be tried."""
    told = client.take()
    return bool(client.ended) and all(SHUTTING_DOWN.encode() in frame for frame in told)


@pytest.mark.parametrize("lost", [("origin",), ("target",), ("origin", "target")], ids="+".join)
def test_the_old_client_is_closed_and_a_new_one_is_served_at_once(played: Running, lost: tuple[str, ...]) -> None:
    """Its driver reconnects, and nothing is left of the old connection."""
    client = played.ready()
    assert played.ask(client, frames.query(2, INSERT)) == frames.void(2)
    for side in lost:
        for connection in of_clients(played, side):
            connection.cut()
    if not client.ended:
        client.protocol.dataReceived(frames.query(3, INSERT))
    played.settle()
    assert is_refused(client)
    assert not of_clients(played, "origin") and not of_clients(played, "target")
    assert played.ask(played.ready(), frames.query(2, INSERT)) == frames.void(2)


@pytest.mark.parametrize("side", ["origin", "target"])
def test_a_client_whose_cluster_cannot_be_reached_is_counted(played: Running, side: str) -> None:
    """Operators see by it why clients cannot connect."""
    getattr(played, side)[0].is_down = True
    client = played.connect()
    for _ in range(40):
        played.network.clock.advance(1)
    assert client.ended and not client.take()
    texts: list[str] = []
    text: Any = played.service.metrics_text()
    text.addCallback(texts.append)
    for cluster in ("origin", "target"):
        line = f'zdm_proxy_failed_connections_total{{cluster="{cluster}"}} {int(cluster == side)}'
        assert line in texts[0].splitlines()
    node = "127.0.40.1" if side == "origin" else "127.0.40.11"
    assert f'zdm_{side}_failed_connections_total{{node="{node}:9042"}} 1' in texts[0].splitlines()
