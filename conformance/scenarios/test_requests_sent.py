"""What each cluster is asked, counted there: once to both, once to one, or not at all, and never twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from cassandra import OperationTimedOut
from cassandra.query import BatchStatement

from conformance.backends.interface import Clusters, Node
from conformance.client import Client
from conformance.proxy import Proxy
from conformance.traffic import FAILURES

pytestmark = pytest.mark.needs("logs", "proxy")

COLUMNS = "(k text PRIMARY KEY, v text)"
BY_TEXT = ("QUERY", "PREPARE")
BY_ID = ("EXECUTE", "BATCH")


@pytest.fixture
def filled(client: Client, table: str, clusters: Clusters) -> Iterator[str]:
    """A table on both clusters, whose logs begin after it was made."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    for node in clusters.nodes:
        node.forget_requests()
    yield table
    if "primes" in clusters.present:
        for node in clusters.nodes:
            node.clear_primes()


def asked(node: Node, table: str) -> Counter[str]:
    """The statements on this table by opcode, and whatever comes by id: the text of an unknown id is unknown.

    What a driver asks of the schema, when it hears of the new table, is not counted.
    """
    return Counter(
        request.opcode
        for request in node.requests()
        if request.opcode in BY_ID
        or (request.opcode in BY_TEXT and table in request.text and "system_schema" not in request.text)
    )


def primary_and_secondary(proxy: Proxy, clusters: Clusters) -> tuple[Node, Node]:
    if proxy.settings["ZDM_PRIMARY_CLUSTER"] == "ORIGIN":
        return clusters.origin, clusters.target
    return clusters.target, clusters.origin


def test_writes_are_sent_once_to_both(client: Client, filled: str, clusters: Clusters) -> None:
    """QUERY, PREPARE, EXECUTE and both kinds of BATCH, five times each."""
    insert = client.prepare(f"INSERT INTO {filled} (k, v) VALUES (?, ?)")
    for number in range(5):
        client.execute(f"INSERT INTO {filled} (k, v) VALUES ('{number}', 'text')")
        client.execute(f"DELETE FROM {filled} WHERE k = '{number}'")
        client.execute(insert, (str(number), "bound"))
        client.execute(batch_of(f"INSERT INTO {filled} (k, v) VALUES ('{number}', 'batch')", 3))
    for node in clusters.nodes:
        assert asked(node, filled) == Counter(QUERY=10, PREPARE=1, EXECUTE=5, BATCH=5), node


def batch_of(text: str, count: int) -> BatchStatement:
    batch = BatchStatement()
    for _ in range(count):
        batch.add(text)
    return batch


def test_reads_are_sent_to_the_primary_alone(client: Client, filled: str, proxy: Proxy, clusters: Clusters) -> None:
    """Prepared on both, since what is primary may change; executed on one."""
    primary, secondary = primary_and_secondary(proxy, clusters)
    select = client.prepare(f"SELECT v FROM {filled} WHERE k = ?")
    for number in range(5):
        client.execute(f"SELECT v FROM {filled} WHERE k = '{number}'")
        client.execute(select, (str(number),))
    assert asked(primary, filled) == Counter(QUERY=5, PREPARE=1, EXECUTE=5)
    assert asked(secondary, filled) == Counter(PREPARE=1)


def test_a_keyspace_is_used_on_both(connect: Callable[..., Client], filled: str, clusters: Clusters) -> None:
    """Or the next write would land in another keyspace on one of them."""
    connect(keyspace=None).execute("USE conformance")
    for node in clusters.nodes:
        assert [request.opcode for request in node.requests("USE conformance")] == ["QUERY"], node


def test_what_drivers_ask_about_nodes_is_answered_by_the_proxy(
    connect: Callable[..., Client], filled: str, clusters: Clusters
) -> None:
    """A driver that connects asks for local and peers; the clusters are not asked on its behalf.

    The proxy looks at the nodes itself, and so may the driver that the suite has at each cluster; nobody but these
    clients puts its questions with these words.
    """
    of_local = "SELECT key FROM system.local WHERE key = 'local' LIMIT 7"
    of_peers = "SELECT peer, data_center FROM system.peers LIMIT 7"
    for _ in range(3):
        client = connect()
        assert client.rows(of_local) == [("local",)]
        client.rows(of_peers)
    for node in clusters.nodes:
        assert [request for text in (of_local, of_peers) for request in node.requests(text)] == [], node


@pytest.mark.needs("primes")
@pytest.mark.parametrize("forgetful", ["origin", "target", "both"])
def test_a_forgotten_statement_is_executed_once_on_each(
    forgetful: str, client: Client, filled: str, clusters: Clusters
) -> None:
    """Prepared and executed again only where it was forgotten: what was applied stays applied once."""
    insert = client.prepare(f"INSERT INTO {filled} (k, v) VALUES (?, ?)")
    prepares = client.prepares
    for node in clusters.nodes:
        if forgetful in (node.name, "both"):
            node.forget_prepared()
        node.forget_requests()
    client.execute(insert, ("1", "one"))
    for node in clusters.nodes:
        # the first EXECUTE was refused as UNPREPARED where it was forgotten
        mended = Counter(EXECUTE=2, PREPARE=1) if forgetful in (node.name, "both") else Counter(EXECUTE=1)
        assert asked(node, filled) == mended, node
    assert client.prepares == prepares, "the application does not notice"


@pytest.mark.outage
@pytest.mark.needs("stops")
def test_after_the_target_was_down_each_write_is_sent_once_again(
    client: Client, filled: str, proxy: Proxy, clusters: Clusters
) -> None:
    """The same client goes on. What failed meanwhile is not sent later."""
    proxy.expect("control connection to target")
    insert = client.prepare(f"INSERT INTO {filled} (k, v) VALUES (?, ?)")
    opened = client.opened
    clusters.target.stop()
    try:
        with pytest.raises(FAILURES) as failure:
            client.execute(insert, ("down", "down"))
        assert not isinstance(failure.value, OperationTimedOut), "the proxy owes an answer"
    finally:
        clusters.target.start()
    proxy.target.await_dual()
    client.execute(insert, ("again", "again"))  # the target has to be told the statement anew
    for node in clusters.nodes:
        node.forget_requests()
    for number in range(5):
        client.execute(insert, (str(number), "after"))
    for node in clusters.nodes:
        assert asked(node, filled) == Counter(EXECUTE=5), node
    assert client.opened == opened
