"""Which nodes the connections of many clients go to (7.3, 7.5)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.net.nodes import Node
from tests.parity.running import asked, running

CLIENTS = 90
INSERT = "INSERT INTO ks.t (k) VALUES (1)"


def shares(nodes: list[Node]) -> list[int]:
    return [asked(node, INSERT) for node in nodes]


@pytest.mark.parametrize(
    ("instances", "index", "positions"),
    [
        (1, 0, {0, 1, 2}),
        (2, 0, {0, 2}),
        (2, 1, {1}),
        (3, 1, {1}),
        (4, 1, {1}),
        (4, 3, {0}),
        (4, 0, {0}),
        (12, 10, {1}),
    ],
)
def test_each_assigned_node_gets_the_same_share(instances: int, index: int, positions: set[int]) -> None:
    """Of 90 clients with one write each; the other nodes are for the other instances."""
    addresses = ",".join(f"127.0.40.{100 + number}" for number in range(instances))
    keys = {"proxy_topology_addresses": addresses, "proxy_topology_index": index, "proxy_max_client_connections": 1000}
    with running((3, 3), **keys) as played:
        played.start()
        for _ in range(CLIENTS):
            assert played.ask(played.ready(), frames.query(2, INSERT)) == frames.void(2)
        wanted = [CLIENTS // len(positions) if place in positions else 0 for place in range(3)]
        assert shares(played.origin) == shares(played.target) == wanted


def test_without_host_assignment_all_go_where_the_control_connection_is() -> None:
    """The operator has said so, for each cluster."""
    with running((3, 3), origin_enable_host_assignment=False, target_enable_host_assignment=False) as played:
        played.start()
        for _ in range(CLIENTS):
            assert played.ask(played.ready(), frames.query(2, INSERT)) == frames.void(2)
        assert shares(played.origin) == shares(played.target) == [CLIENTS, 0, 0]
