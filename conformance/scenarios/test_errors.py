"""Errors: the application must get the same code, text and fields as from the cluster itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cassandra import AlreadyExists, ConsistencyLevel, InvalidRequest, Unauthorized, Unavailable
from cassandra.protocol import SyntaxException

from conformance.backends.interface import Clusters, Credentials, Node
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.wire import ALREADY_EXISTS, CONSISTENCY_QUORUM, ERROR, UNAVAILABLE, Refused, Wire, error_of

pytestmark = pytest.mark.needs("rows")

LIMITED = Credentials("limited", "limited-secret")


@pytest.fixture
def primary(pytestconfig: pytest.Config, clusters: Clusters) -> Node:
    """The cluster whose answer to a read is passed on."""
    wanted = pytestconfig.getoption("direct") or pytestconfig.getoption("primary").lower()
    return clusters.target if wanted == "target" else clusters.origin


@pytest.fixture(scope="module")
def wide_table(new_both: Callable[[], Both]) -> Iterator[str]:
    """A table with three replicas on one node: a quorum of it is never there."""
    both = new_both()
    both.run("CREATE KEYSPACE wide WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
    both.run("CREATE TABLE wide.t (k int PRIMARY KEY, v int)")
    yield "wide.t"
    both.run("DROP KEYSPACE wide")


# text, whether it is a read (the primary answers) or goes to both (the origin's error is passed on), consistency
CASES = {
    "syntax": ("SELEC 1", False, 1),
    "unknown table read": ("SELECT * FROM nosuch.t", True, 1),
    "unknown table written": ("INSERT INTO nosuch.t (k) VALUES (1)", False, 1),
    "unknown column": ("INSERT INTO {t} (k, nosuch) VALUES (1, 1)", False, 1),
    "wrong type": ("INSERT INTO {t} (k, v) VALUES ('text', 1)", False, 1),
    "no key": ("UPDATE {t} SET v = 1", False, 1),
    "filtering": ("SELECT * FROM {t} WHERE v = 1", True, 1),
    "unknown function": ("SELECT nosuch(v) FROM {t}", True, 1),
    "keyspace exists": ("CREATE KEYSPACE {k} WITH replication = {{'class': 'LocalStrategy'}}", False, 1),
    "table exists": ("CREATE TABLE {t} (k int PRIMARY KEY)", False, 1),
    "unknown strategy": ("CREATE KEYSPACE other WITH replication = {{'class': 'NoSuchStrategy'}}", False, 1),
    "unknown keyspace used": ("USE nosuch", False, 1),
    "functions off": ("CREATE FUNCTION {k}.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS ''", False, 1),
    "unavailable read": ("SELECT * FROM {t} WHERE k = 1", True, CONSISTENCY_QUORUM),
    "unavailable write": ("INSERT INTO {t} (k, v) VALUES (1, 1)", False, CONSISTENCY_QUORUM),
    "unavailable batch": ("BEGIN BATCH DELETE FROM {t} WHERE k = 1; APPLY BATCH", False, CONSISTENCY_QUORUM),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda name: name.replace(" ", "-"))
def test_an_error_is_the_clusters_own_byte_by_byte(
    case: str,
    wide_table: str,
    entry: Entry,
    clusters: Clusters,
    primary: Node,
    protocol: int,
    pytestconfig: pytest.Config,
) -> None:
    """Code, text and fields of the body, compared with what the deciding cluster says to the same request."""
    form, is_read, consistency = CASES[case]
    text = form.format(t=wide_table, k=wide_table.partition(".")[0])
    decides = primary if is_read or pytestconfig.getoption("direct") else clusters.origin
    with Wire(decides.address, decides.port, protocol, decides.credentials) as wire:
        wanted = error_of(wire.query(text, consistency=consistency))
    with Wire(entry.address, entry.port, protocol, entry.credentials) as wire:
        assert error_of(wire.query(text, consistency=consistency)) == wanted
        assert wire.query(f"SELECT * FROM {wide_table}").opcode != ERROR, "the connection must stay usable"
    assert wanted.code in {UNAVAILABLE, ALREADY_EXISTS} or not wanted.rest


def test_a_statement_that_cannot_be_prepared_says_why(
    wide_table: str, entry: Entry, clusters: Clusters, primary: Node, protocol: int, pytestconfig: pytest.Config
) -> None:
    """PREPARE goes to both whatever it prepares, so the origin's error is the one."""
    decides = primary if pytestconfig.getoption("direct") else clusters.origin
    for text in (f"SELECT nosuch FROM {wide_table}", "INSERT INTO", f"INSERT INTO {wide_table} (nosuch) VALUES (?)"):
        with (
            Wire(decides.address, decides.port, protocol, decides.credentials) as direct,
            Wire(entry.address, entry.port, protocol, entry.credentials) as wire,
        ):
            with pytest.raises(Refused) as wanted:
                direct.prepare(text)
            with pytest.raises(Refused) as got:
                wire.prepare(text)
        assert got.value.answer == wanted.value.answer


def test_the_driver_raises_what_it_raises_without_a_proxy(client: Client, wide_table: str) -> None:
    """What an application catches: the driver's own exceptions, with their fields."""
    keyspace, _, name = wide_table.partition(".")
    with pytest.raises(SyntaxException):
        client.execute("SELEC 1")
    with pytest.raises(InvalidRequest):
        client.execute(f"INSERT INTO {wide_table} (k, nosuch) VALUES (1, 1)")
    with pytest.raises(AlreadyExists) as exists:
        client.execute(f"CREATE TABLE {wide_table} (k int PRIMARY KEY)")
    assert (exists.value.keyspace, exists.value.table) == (keyspace, name)
    insert = client.prepare(f"INSERT INTO {wide_table} (k, v) VALUES (?, ?)")
    insert.consistency_level = ConsistencyLevel.QUORUM
    with pytest.raises(Unavailable) as missing:
        client.execute(insert, (1, 1))
    fields = (missing.value.consistency, missing.value.required_replicas, missing.value.alive_replicas)
    assert fields == (ConsistencyLevel.QUORUM, 2, 1)


@pytest.mark.needs("roles")
def test_a_user_without_permission_is_told_by_the_cluster(
    client: Client, both: Both, table: str, entry: Entry, clusters: Clusters, protocol: int, pytestconfig: pytest.Config
) -> None:
    """The application's credentials are the target's: the target refuses, and its words are passed on."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v int)")
    both.run(f"CREATE ROLE IF NOT EXISTS {LIMITED.username} WITH PASSWORD = '{LIMITED.password}' AND LOGIN = true")
    text = f"INSERT INTO {both.keyspace}.{table} (k, v) VALUES (1, 1)"
    decides = clusters.origin if pytestconfig.getoption("direct") == "origin" else clusters.target
    with Wire(decides.address, decides.port, protocol, LIMITED) as wire:
        wanted = error_of(wire.query(text))
    with Wire(entry.address, entry.port, protocol, LIMITED) as wire:
        assert error_of(wire.query(text)) == wanted
    assert wanted.code == 0x2100
    with (
        Client(Entry(entry.address, entry.port, LIMITED), protocol) as limited,
        pytest.raises(Unauthorized),
    ):
        limited.execute(text)
    assert both.read(decides, f"SELECT * FROM {table}") == []


def test_an_error_ends_nothing_but_its_request(connect: Callable[..., Client], both: Both, table: str) -> None:
    """Among a hundred requests in flight on one connection, the wrong ones fail and the others do not."""
    client = connect()
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v int)")
    futures = [
        client.session.execute_async(
            f"INSERT INTO {table} (k, v) VALUES ({number}, {number})"
            if number % 3
            else f"INSERT INTO {table} (k, nosuch) VALUES (0, 0)"
        )
        for number in range(100)
    ]
    for number, future in enumerate(futures):
        if number % 3:
            future.result()
        else:
            with pytest.raises(InvalidRequest):
                future.result()
    assert len(both.same_table(table, writetime_of=["v"])) == 66
    assert client.opened == 2, "one connection for control, one for requests"
