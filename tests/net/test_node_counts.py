"""What a scrape shows of the clusters' nodes, by the addresses that connections really have."""

from __future__ import annotations

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, TARGET, Stage
from zdm.core.clusters import Side
from zdm.core.topology import Endpoint
from zdm.meters import NodeMeter
from zdm.metrics import Meter

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"


def nodes(stage: Stage, side: Side) -> dict[str, NodeMeter]:
    scraped: list[Meter] = []
    stage.worker.scrape().addCallback(scraped.append)
    return (scraped[0].origin_nodes if side is ORIGIN else scraped[0].target_nodes).by_name


def host(client_endpoint: Endpoint | None) -> str:
    assert client_endpoint is not None
    return str(client_endpoint)


def test_open_connections_and_ids_in_use_are_those_of_the_moment(stage: Stage) -> None:
    """Nothing is kept up to date in between: two scrapes of the same count the same."""
    clients = [stage.ready_client() for _ in range(3)]
    clients[0].sends(frames.query(1, INSERT), frames.query(2, READ))
    clients[2].sends(frames.query(1, INSERT))
    for _ in range(2):
        origin, target = nodes(stage, ORIGIN), nodes(stage, TARGET)
        assert set(origin) == {str(one) for one in HOSTS[ORIGIN]} and set(target) == {str(one) for one in HOSTS[TARGET]}
        assert sorted(one.connections for one in origin.values()) == [1, 2]
        assert sorted(one.connections for one in target.values()) == [1, 2]
        assert sum(one.used_streams for one in origin.values()) == 3
        assert sum(one.used_streams for one in target.values()) == 2
    for client in clients:
        client.wire.end()
    stage.settle()
    assert [(one.connections, one.used_streams) for one in nodes(stage, ORIGIN).values()] == [(0, 0), (0, 0)]


def test_answers_are_counted_for_the_host_that_gave_them(stage: Stage) -> None:
    """Clients are spread over the hosts; a slow one must show."""
    client = stage.ready_client()
    client.sends(frames.query(1, INSERT))
    stage.clock.advance(0.2)
    client.answer_all(frames.void())
    used = {side: host(client.connection._sides[side].endpoint) for side in (ORIGIN, TARGET)}
    for side in (ORIGIN, TARGET):
        counted = nodes(stage, side)[used[side]]
        assert (sum(counted.writes.counts), sum(counted.reads.counts)) == (1, 0)
        assert abs(counted.writes.total - 0.2) < 1e-6


def test_each_host_that_cannot_be_connected_to_is_counted_once_for_each_client(stage: Stage) -> None:
    """However often it was tried for that client: two clients that saw it fail are two."""
    for _ in range(2):
        stage.client()
        for _ in range(4):
            stage.attempt(ORIGIN).refuse()
            stage.clock.advance(0.2)
        stage.attempt(ORIGIN).accept()
    assert {name: one.failed_connections for name, one in nodes(stage, ORIGIN).items()} == {
        str(one): 2 for one in HOSTS[ORIGIN]
    }
    assert stage.meter.failed_connections_origin == 0  # in the end there was one for each


def test_a_lost_connection_counts_for_its_host_no_more(stage: Stage) -> None:
    """And the one that is opened instead for the host it is to."""
    client = stage.ready_client()
    before = host(client.connection._sides[TARGET].endpoint)
    client.clusters[TARGET].end()
    assert [one.connections for one in nodes(stage, TARGET).values()] == [0]
    client.sends(frames.query(7, INSERT))
    client.attach(TARGET)
    client.introduce(TARGET)
    client.answer_all(frames.void())
    after = host(client.connection._sides[TARGET].endpoint)
    assert after != before
    counted = nodes(stage, TARGET)
    assert {name: (one.connections, sum(one.writes.counts)) for name, one in counted.items()} == {
        before: (0, 0),
        after: (1, 1),
    }
