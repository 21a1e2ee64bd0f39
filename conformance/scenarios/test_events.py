"""Events: the application hears of the origin's schema, once, and of nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from conformance.backends.interface import Clusters, Credentials, Node
from conformance.proxy import Proxy
from conformance.wire import READY, RESULT, Wire, string

pytestmark = pytest.mark.needs("rows", "proxy")

REGISTER, EVENT = 11, 12
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


def listening(node: Node | Proxy, version: int, credentials: Credentials | None) -> Wire:
    """A connection that asks for all events there are."""
    wire = Wire(node.address, node.port, version, credentials)
    kinds = ("SCHEMA_CHANGE", "STATUS_CHANGE", "TOPOLOGY_CHANGE")
    body = struct.pack(">H", len(kinds)) + b"".join(map(string, kinds))
    assert wire.ask(REGISTER, body).opcode == READY
    return wire


def change_of(wire: Wire) -> tuple[str, str, str]:
    """The next thing on the wire, which must be the event of a schema change: what was done to what, and its name."""
    event = wire.read(-1)
    assert event.opcode == EVENT
    texts, position = [], 0
    while position < len(event.body):
        (length,) = struct.unpack_from(">H", event.body, position)
        texts.append(event.body[position + 2 : position + 2 + length].decode())
        position += 2 + length
    kind, change, target, name = texts
    assert kind == "SCHEMA_CHANGE"
    return change, target, name


@pytest.fixture
def direct(clusters: Clusters, protocol: int, table: str) -> Iterator[Callable[[Node, str], None]]:
    """Makes a keyspace on one cluster, past the proxy; it is gone afterwards."""
    made: list[tuple[Node, str]] = []

    def make(node: Node, name: str) -> None:
        made.append((node, name))
        with Wire(node.address, node.port, protocol, node.credentials) as wire:
            assert wire.query(f"CREATE KEYSPACE {name} WITH replication = {REPLICATION}").opcode == RESULT

    yield make
    for node, name in made:
        with Wire(node.address, node.port, protocol, node.credentials) as wire:
            assert wire.query(f"DROP KEYSPACE {name}").opcode == RESULT


def test_a_change_on_the_origin_is_told_once_and_one_on_the_target_never(
    proxy: Proxy,
    clusters: Clusters,
    credentials: Credentials | None,
    protocol: int,
    table: str,
    direct: Callable[[Node, str], None],
) -> None:
    """What the application does is done on both clusters, and it must hear of it once; so the origin tells."""
    target = clusters.target
    with (
        listening(proxy, protocol, credentials) as application,
        listening(target, protocol, target.credentials) as beside,
    ):
        direct(clusters.origin, f"{table}_first")
        assert change_of(application) == ("CREATED", "KEYSPACE", f"{table}_first")
        direct(target, f"{table}_second")
        assert change_of(beside) == ("CREATED", "KEYSPACE", f"{table}_second")
        direct(clusters.origin, f"{table}_third")
        assert change_of(application) == ("CREATED", "KEYSPACE", f"{table}_third")
        # an event that is still to come would be read instead of the answer
        assert application.query("SELECT key FROM system.local").opcode == RESULT
