"""What applications do while the target is off, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cassandra import InvalidRequest

from conformance.client import Client
from conformance.comparison import Both, Row
from conformance.toggling import Toggle

pytestmark = [pytest.mark.toggle, pytest.mark.needs("rows", "proxy")]

COLUMNS = "(k int PRIMARY KEY, v text)"


def keys(both: Both, table: str) -> dict[str, list[int]]:
    """The keys that each cluster has."""
    found: dict[str, list[Row]] = both.each(f"SELECT k FROM {table}")
    return {name: sorted(row[0] for row in rows) for name, rows in found.items()}


def test_reads_go_on_while_the_target_is_off(client: Client, both: Both, table: str, toggle: Toggle) -> None:
    """Origin answers them all, also where target is primary."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'before')")
    select = client.prepare(f"SELECT v FROM {table} WHERE k = ?")
    toggle.disable()
    client.execute(f"INSERT INTO {table} (k, v) VALUES (2, 'while off')")
    assert sorted(client.rows(f"SELECT k, v FROM {table}")) == [(1, "before"), (2, "while off")]
    for number in range(20):
        key, value = (1, "before") if number % 2 else (2, "while off")
        assert client.rows(select, (key,)) == [(value,)]
        assert client.rows(f"SELECT v FROM {table} WHERE k = {key}") == [(value,)]
    assert keys(both, table) == {"origin": [1, 2], "target": [1]}


def test_qualified_writes_stay_with_origin(
    connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """A session without a keyspace, which names it in each statement."""
    client = connect(keyspace=None)
    name = f"{both.keyspace}.{table}"
    client.execute(f"CREATE TABLE {name} {COLUMNS}")
    insert = client.prepare(f"INSERT INTO {name} (k, v) VALUES (?, ?)")
    toggle.disable()
    client.execute(f"INSERT INTO {name} (k, v) VALUES (1, 'text')")
    client.execute(insert, (2, "prepared"))
    client.execute(f"BEGIN BATCH INSERT INTO {name} (k, v) VALUES (3, 'batch'); APPLY BATCH")
    assert keys(both, table) == {"origin": [1, 2, 3], "target": []}
    toggle.enable()
    client.execute(f"UPDATE {name} SET v = 'text' WHERE k = 4")
    client.execute(insert, (5, "prepared"))
    assert keys(both, table) == {"origin": [1, 2, 3, 4, 5], "target": [4, 5]}


def test_schema_changes_stay_with_origin(client: Client, both: Both, table: str, toggle: Toggle) -> None:
    """A table made while the target is off is made there by hand before it comes back; then both have its rows."""
    toggle.disable()
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    client.execute(f"ALTER TABLE {table} ADD w int")
    insert = client.prepare(f"INSERT INTO {table} (k, v, w) VALUES (?, ?, ?)")
    client.execute(insert, (1, "while off", 1))
    tables = f"SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{both.keyspace}'"
    assert {name: (table,) in rows for name, rows in both.each(tables).items()} == {"origin": True, "target": False}
    (target,) = [side for side in both.sides if side.name == "target"]
    both.direct(target).execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v text, w int)")
    toggle.enable()
    client.execute(insert, (2, "on again", 2))
    client.execute(f"INSERT INTO {table} (k, v, w) VALUES (3, 'on again', 3)")
    assert keys(both, table) == {"origin": [1, 2, 3], "target": [2, 3]}


def test_a_table_that_only_origin_has_fails_its_own_requests(
    client: Client, both: Both, table: str, toggle: Toggle
) -> None:
    """What nobody made on the target is the request's error there, and nobody else's."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    toggle.disable()
    client.execute(f"CREATE TABLE {table}_late {COLUMNS}")
    late = client.prepare(f"INSERT INTO {table}_late (k, v) VALUES (?, ?)")
    client.execute(late, (1, "while off"))
    toggle.enable()
    opened = client.opened
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=f"{table}_late"):
            client.execute(late, (2, "on again"))
        with pytest.raises(InvalidRequest, match=f"{table}_late"):
            client.execute(f"INSERT INTO {table}_late (k, v) VALUES (3, 'on again')")
        client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'on again')")
    assert keys(both, table) == {"origin": [1], "target": [1]}
    assert client.opened == opened


def test_applications_come_and_go_while_the_target_is_off(
    connect: Callable[..., Client], both: Both, table: str, toggle: Toggle
) -> None:
    """Five that connect, write, read and leave; none of them needs the target."""
    connect().execute(f"CREATE TABLE {table} {COLUMNS}")
    toggle.disable()
    for number in range(5):
        client = connect()
        client.execute(f"INSERT INTO {table} (k, v) VALUES ({number}, 'text')")
        client.execute(client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)"), (100 + number, "prepared"))
        assert client.rows(f"SELECT v FROM {table} WHERE k = {number}") == [("text",)]
        client.close()
    written = [*range(5), *range(100, 105)]
    assert keys(both, table) == {"origin": written, "target": []}
    toggle.enable()
    connect().execute(f"INSERT INTO {table} (k, v) VALUES (200, 'on again')")
    assert keys(both, table) == {"origin": [*written, 200], "target": [200]}


def test_reads_and_writes_interleaved_with_the_toggle(client: Client, both: Both, table: str, toggle: Toggle) -> None:
    """Three cycles; each read sees the write before it."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    with_target = []
    for cycle in range(3):
        for is_on in (False, True):
            toggle.enable() if is_on else toggle.disable()
            for step in range(5):
                key = cycle * 100 + is_on * 10 + step
                client.execute(f"INSERT INTO {table} (k, v) VALUES ({key}, 'value {key}')")
                assert client.rows(f"SELECT v FROM {table} WHERE k = {key}") == [(f"value {key}",)]
                with_target += [key] if is_on else []
    found = keys(both, table)
    assert len(found["origin"]) == 30
    assert found["target"] == sorted(with_target)


def test_a_prepared_statement_survives_five_cycles(client: Client, both: Both, table: str, toggle: Toggle) -> None:
    """The client prepares once and never hears of it again."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    insert = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    prepares, opened = client.prepares, client.opened
    for cycle in range(5):
        toggle.disable()
        client.execute(insert, (cycle, "off"))
        toggle.enable()
        client.execute(insert, (100 + cycle, "on"))
    on = [*range(100, 105)]
    assert keys(both, table) == {"origin": [*range(5), *on], "target": on}
    assert (client.prepares, client.opened) == (prepares, opened)


def test_the_system_tables_answer_while_the_target_is_off(connect: Callable[..., Client], toggle: Toggle) -> None:
    """What drivers read when they connect, and monitoring asks for."""
    toggle.disable()
    client = connect()
    (local,) = client.rows("SELECT cluster_name, release_version FROM system.local")
    assert all(local)
    client.rows("SELECT peer, data_center FROM system.peers")
    assert client.rows("SELECT keyspace_name FROM system_schema.keyspaces")


def test_quick_cycles_with_a_write_in_each_half(client: Client, both: Both, table: str, toggle: Toggle) -> None:
    """Off and on again before connections to the target are closed: they are found as they were left."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    for cycle in range(5):
        toggle.disable()
        client.execute(f"INSERT INTO {table} (k, v) VALUES ({cycle}, 'off')")
        toggle.enable()
        client.execute(f"INSERT INTO {table} (k, v) VALUES ({100 + cycle}, 'on')")
    on = [*range(100, 105)]
    assert keys(both, table) == {"origin": [*range(5), *on], "target": on}


def test_select_update_and_delete_are_seen_on_both_sides(
    client: Client, both: Both, table: str, toggle: Toggle
) -> None:
    """A row is changed and one deleted while the target is off: there they stay as they were."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    for key in (1, 2, 3):
        client.execute(f"INSERT INTO {table} (k, v) VALUES ({key}, 'first')")
    toggle.disable()
    client.execute(f"UPDATE {table} SET v = 'second' WHERE k = 1")
    client.execute(f"DELETE FROM {both.keyspace}.{table} WHERE k = 2")
    now = [(1, "second"), (3, "first")]
    assert sorted(client.rows(f"SELECT k, v FROM {table}")) == now
    before = [(1, "first"), (2, "first"), (3, "first")]
    assert both.each(f"SELECT k, v FROM {table}") == {"origin": now, "target": before}
    toggle.enable()
    client.execute(f"UPDATE {table} SET v = 'third' WHERE k = 1")
    client.execute(f"DELETE FROM {table} WHERE k = 2")
    assert both.same(f"SELECT k, v FROM {table}") == [(1, "third"), (3, "first")]


def test_repeating_a_command_changes_and_logs_nothing(toggle: Toggle) -> None:
    """An operator, or a playbook that runs twice."""
    target = toggle.proxy.target
    toggle.disable("a reason to keep")
    first = target.state()
    toggle.disable("another reason")
    assert target.state() == first
    assert first["reason"] == "a reason to keep"
    assert len(toggle.proxy.lines("Target cluster DISABLED via API")) == 1
    toggle.enable()
    first = target.state()
    toggle.enable()
    assert (target.state()["generation"], target.state()["since"]) == (first["generation"], first["since"])
    assert len(toggle.proxy.lines("Target cluster ENABLED via API")) == 1
