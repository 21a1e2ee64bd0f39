"""Sessions that begin while the target is off, and requests that are under way while it goes or comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import pytest
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials
from conformance.client import Client
from conformance.comparison import Both
from conformance.relay import Relay
from conformance.toggling import Relayed, Toggle
from conformance.wire import EXECUTE, PREPARE, STARTUP

pytestmark = [pytest.mark.toggle, pytest.mark.needs("proxy")]

COLUMNS = "(k int PRIMARY KEY, v text)"
# how long the target is given for what it owes: once that is waited for, once it must not run out
DRAIN_MS = "2000"
LONG_DRAIN_MS = "30000"
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


def keys(both: Both, table: str) -> dict[str, list[int]]:
    return {name: sorted(row[0] for row in rows) for name, rows in both.each(f"SELECT k FROM {table}").items()}


@pytest.fixture
def aside() -> Iterator[Callable[..., Future[object]]]:
    """Runs a call in a thread, for a request whose answer is held back."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


@pytest.fixture
def behind(relayed: Callable[..., Relayed]) -> Relayed:
    return relayed(5)


@pytest.mark.needs("rows", "counters")
@pytest.mark.parametrize("first", ["prepared", "inline", "batch", "counter", "read"])
def test_a_session_born_while_the_target_was_off_gains_it(
    first: str, connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """Whatever it sends first: keyspace and statements are those that it set and prepared while the target was off."""
    owner = connect()
    owner.execute(f"CREATE TABLE {table} {COLUMNS}")
    owner.execute(f"CREATE TABLE {table}_counts (k int PRIMARY KEY, n counter)")
    toggle.disable()
    client = connect(keyspace=None)
    client.execute(f"USE {both.keyspace}")
    insert = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    select = client.prepare(f"SELECT v FROM {table} WHERE k = ?")
    add = client.prepare(f"UPDATE {table}_counts SET n = n + ? WHERE k = 1")
    client.execute(insert, (1, "while off"))
    client.execute(add, (1000,))
    opened, prepares = client.opened, client.prepares
    toggle.enable()
    batch = BatchStatement(BatchType.LOGGED)
    batch.add(insert, (11, "batch"))
    batch.add(f"INSERT INTO {table} (k, v) VALUES (12, 'batch')")
    steps: dict[str, Callable[[], object]] = {
        "prepared": lambda: client.execute(insert, (10, "prepared")),
        "inline": lambda: client.execute(f"INSERT INTO {table} (k, v) VALUES (13, 'inline')"),
        "batch": lambda: client.execute(batch),
        "counter": lambda: client.execute(add, (1,)),
        "read": lambda: client.rows(select, (1,)),
    }
    steps.pop(first)()
    for step in steps.values():
        step()
    assert keys(both, table) == {"origin": [1, 10, 11, 12, 13], "target": [10, 11, 12, 13]}
    assert both.each(f"SELECT n FROM {table}_counts") == {"origin": [(1001,)], "target": [(1,)]}
    # where the target answers reads, a SELECT that it never saw is the client's to prepare anew
    anew = toggle.proxy.settings["ZDM_PRIMARY_CLUSTER"] == "TARGET"
    assert (client.opened, client.prepares) == (opened, prepares + anew)


@pytest.mark.needs("rows")
def test_the_keyspace_is_the_one_used_last(
    connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """USE while the target was off, twice: unqualified names mean the same on both clusters afterwards."""
    owner = connect(keyspace=None)
    for number in (1, 2):
        owner.execute(f"CREATE KEYSPACE {table}_{number} WITH replication = {REPLICATION}")
        owner.execute(f"CREATE TABLE {table}_{number}.t {COLUMNS}")
    older = connect(keyspace=f"{table}_1")
    older.execute("INSERT INTO t (k, v) VALUES (1, 'before')")
    toggle.disable()
    born = connect(keyspace=f"{table}_1")
    in_first = born.prepare("INSERT INTO t (k, v) VALUES (?, 'first')")
    for client in (older, born):
        client.execute(f"USE {table}_2")
    toggle.enable()
    older.execute("INSERT INTO t (k, v) VALUES (2, 'older')")
    born.execute("INSERT INTO t (k, v) VALUES (3, 'born')")
    born.execute(in_first, (4,))
    assert both.same_table(f"{table}_1.t") == [(1, "before"), (4, "first")]
    assert both.same_table(f"{table}_2.t") == [(2, "older"), (3, "born")]


@pytest.mark.needs("rows")
def test_a_keyspace_that_the_target_has_not_is_the_requests_error(
    connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """The session was told that its USE succeeded; it lives on, and what it names in full works."""
    connect().execute(f"CREATE TABLE {table} {COLUMNS}")
    toggle.disable()
    client = connect()
    client.execute(f"CREATE KEYSPACE {table}_ks WITH replication = {REPLICATION}")
    client.execute(f"CREATE TABLE {table}_ks.t {COLUMNS}")
    client.execute(f"USE {table}_ks")
    client.execute("INSERT INTO t (k, v) VALUES (1, 'while off')")
    opened = client.opened
    toggle.enable()
    with pytest.raises(Exception, match=f"(?i){table}_ks|keyspace"):
        client.execute("INSERT INTO t (k, v) VALUES (2, 'on again')")
    client.execute(f"INSERT INTO {both.keyspace}.{table} (k, v) VALUES (1, 'in full')")
    assert both.same_table(f"{both.keyspace}.{table}") == [(1, "in full")]
    assert client.opened == opened


def test_nothing_reaches_a_target_that_is_off(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client]
) -> None:
    """No connection, no heartbeat for any session, old or new; all have theirs again soon after it is on, unasked."""
    behind = relayed(5, ZDM_TARGET_PARK_MS="300", ZDM_HEARTBEAT_INTERVAL_MS="200")
    proxy, relay, toggle = behind.proxy, behind.target, Toggle(behind.proxy)
    entry = proxy.entry(credentials)
    clients = [connect(keyspace=None, at=entry) for _ in range(2)]
    toggle.disable()
    await_true(lambda: relay.connections <= 1, "only the control connection is left", 10)
    opened = relay.opened
    clients += [connect(keyspace=None, at=entry) for _ in range(3)]
    for client in clients:
        client.execute("SELECT key FROM system.local")
    assert relay.opened - opened <= 1, "besides a look of the control connection nothing is opened"
    assert proxy.metric("zdm_target_enabled") == 0
    opened_by_clients = [client.opened for client in clients]
    toggle.enable()
    proxy.target.await_dual()
    wanted = int(proxy.metric("zdm_client_connections_total"))
    await_true(lambda: relay.connections == wanted + 1, f"{wanted} sessions and the control connection", 10)
    assert proxy.target.state()["attaching"] == 0
    assert [client.opened for client in clients] == opened_by_clients


@pytest.mark.needs("rows")
@pytest.mark.parametrize(
    ("direction", "owes"), [("off to on", "origin"), ("on to off", "origin"), ("on to off", "target")]
)
def test_a_prepare_in_flight_while_the_target_is_switched(
    direction: str, owes: str, behind: Relayed, credentials: Credentials | None, connect: Callable[..., Client],
    aside: Callable[..., Future[object]], both: Both, table: str,
) -> None:  # fmt: skip
    """It is answered once, by what was known when it was sent, and the statement works on whichever clusters are on."""
    toggle = Toggle(behind.proxy)
    client = connect(at=behind.proxy.entry(credentials))
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    begins_on = direction == "on to off"
    if not begins_on:
        toggle.disable()
    relay = behind.origin if owes == "origin" else behind.target
    relay.hold(PREPARE)
    prepares = client.prepares
    waiting = aside(client.prepare, f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    await_true(lambda: relay.held == 1, "the answer to PREPARE is held", 10)
    toggle.disable() if begins_on else toggle.enable()
    if owes == "origin":
        relay.release()
    insert = waiting.result(10)
    relay.release()
    client.execute(insert, (1, "first"))
    toggle.enable() if begins_on else toggle.disable()
    client.execute(insert, (2, "second"))
    toggle.enable()
    client.execute(insert, (3, "third"))
    target = [2, 3] if begins_on else [1, 3]
    assert keys(both, table) == {"origin": [1, 2, 3], "target": target}
    assert client.prepares == prepares + 1


def owed_by_target(
    behind: Relayed, client: Client, aside: Callable[..., Future[object]], table: str, value: str
) -> tuple[PreparedStatement, Future[object]]:
    """A write that origin has answered and the target has not: the statement, and what becomes of the write."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    insert = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    behind.target.hold(EXECUTE)
    waiting = aside(client.execute, insert, (1, value))
    await_true(lambda: behind.target.held == 1, "the answer to EXECUTE is held", 10)
    return insert, waiting


@pytest.mark.needs("rows")
def test_a_write_that_the_target_owes_is_answered_within_the_drain(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client],
    aside: Callable[..., Future[object]], both: Both, table: str,
) -> None:  # fmt: skip
    """Origin has answered; the target is given some time, then the write is settled and counted as abandoned."""
    behind = relayed(5, ZDM_TARGET_DISABLE_DRAIN_MS=DRAIN_MS)
    toggle = Toggle(behind.proxy)
    client = connect(at=behind.proxy.entry(credentials))
    insert, waiting = owed_by_target(behind, client, aside, table, "owed")
    toggle.disable()
    client.execute(insert, (2, "at once"))
    assert not waiting.done(), "what comes after the toggle waits for nothing, what came before waits for the target"
    waiting.result(10)
    assert (toggle.abandoned_writes(), toggle.skipped_writes()) == (1, 1)
    behind.target.release()
    toggle.enable()
    client.execute(insert, (3, "on again"))
    assert keys(both, table) == {"origin": [1, 2, 3], "target": [1, 3]}
    assert (toggle.abandoned_writes(), toggle.skipped_writes()) == (1, 1)


@pytest.mark.needs("rows")
def test_a_write_that_the_target_answers_in_time_is_not_abandoned(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client],
    aside: Callable[..., Future[object]], both: Both, table: str,
) -> None:  # fmt: skip
    """Disabling waits for what was sent, as long as it may."""
    behind = relayed(5, ZDM_TARGET_DISABLE_DRAIN_MS=LONG_DRAIN_MS)
    toggle = Toggle(behind.proxy)
    client = connect(at=behind.proxy.entry(credentials))
    _, waiting = owed_by_target(behind, client, aside, table, "in time")
    toggle.disable()
    assert not waiting.done()
    behind.target.release()
    waiting.result(10)
    assert toggle.abandoned_writes() == 0
    assert both.same(f"SELECT k FROM {table}") == [(1,)]


@pytest.mark.parametrize("owes", ["origin", "target"])
def test_a_login_under_way_while_the_target_goes(
    owes: str, behind: Relayed, credentials: Credentials | None, connect: Callable[..., Client],
    aside: Callable[..., Future[object]],
) -> None:  # fmt: skip
    """It is finished with origin alone; the target is not waited for, and comes to it later like to all others."""
    toggle = Toggle(behind.proxy)
    entry = behind.proxy.entry(credentials)
    relay: Relay = behind.origin if owes == "origin" else behind.target
    relay.hold(STARTUP)
    waiting = aside(connect, keyspace=None, at=entry)
    await_true(lambda: relay.held, "the answer to STARTUP is held", 10)
    toggle.disable()
    if owes == "origin":
        relay.release()
    client = waiting.result(10)
    assert isinstance(client, Client)
    client.execute("SELECT key FROM system.local")
    opened = client.opened
    relay.release()
    toggle.enable()
    behind.proxy.target.await_dual()
    client.execute("SELECT key FROM system.local")
    assert client.opened == opened


@pytest.mark.needs("rows")
def test_generated_columns_come_back_plainly(
    connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """A statement with now() that was prepared while the target was off has the application's markers and no others."""
    connect().execute(f"CREATE TABLE {table} (k int PRIMARY KEY, id timeuuid, v text)")
    toggle.disable()
    client = connect()
    insert = client.prepare(f"INSERT INTO {table} (k, id, v) VALUES (?, now(), ?)")
    named = client.prepare(f"INSERT INTO {table} (k, id, v) VALUES (:a, now(), :b)")
    assert [column.name for column in insert.column_metadata] == ["k", "v"]
    assert [column.name for column in named.column_metadata] == ["a", "b"]
    assert insert.routing_key_indexes in (None, [0])
    client.execute(insert, (1, "while off"))
    toggle.enable()
    client.execute(insert, (2, "on again"))
    client.execute(named, {"a": 3, "b": "on again"})
    assert keys(both, table) == {"origin": [1, 2, 3], "target": [2, 3]}
    rows = client.rows(f"SELECT * FROM {table}")
    assert all(isinstance(row[1], UUID) and row[1].version == 1 and len(row) == 3 for row in rows)


@pytest.mark.needs("rows", "logins")
def test_a_login_that_only_origin_accepts_ends_when_the_target_is_back(
    toggle: Toggle, clusters: Clusters, connect: Callable[..., Client], both: Both, table: str
) -> None:
    """With the target off origin decides too; on the target this client has no rights, so it goes, with the reason."""
    connect().execute(f"CREATE TABLE {table} {COLUMNS}")
    toggle.disable()
    client = connect(at=toggle.proxy.entry(clusters.origin.credentials))
    client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'while off')")
    toggle.proxy.expect("TARGET", "refused", "credentials")
    toggle.enable()
    with pytest.raises(Exception):  # noqa: B017  # the driver says it in several ways
        client.execute(f"INSERT INTO {table} (k, v) VALUES (2, 'on again')")
    assert keys(both, table)["target"] == []
