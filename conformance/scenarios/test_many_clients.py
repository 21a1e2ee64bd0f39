"""Many applications at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from conformance.client import Client
from conformance.comparison import Both

pytestmark = pytest.mark.needs("rows")

CLIENTS = 20
WRITES = 25


def test_twenty_clients_write_and_read_at_once(connect: Callable[..., Client], both: Both, table: str) -> None:
    """Separate clusters and sessions, all connecting at the same moment; each reads back its own rows only."""
    connect().execute(f"CREATE TABLE {table} (client int, n int, v text, PRIMARY KEY (client, n))")
    start = threading.Barrier(CLIENTS)
    failures: list[BaseException] = []

    def application(number: int) -> None:
        try:
            start.wait(30)
            client = connect()
            insert = client.prepare(f"INSERT INTO {table} (client, n, v) VALUES (?, ?, ?)")
            futures = [
                client.session.execute_async(insert, (number, step, f"{number}/{step}")) for step in range(WRITES)
            ]
            for future in futures:
                future.result()
            wanted = [(step, f"{number}/{step}") for step in range(WRITES)]
            assert client.rows(f"SELECT n, v FROM {table} WHERE client = %s", (number,)) == wanted
        except BaseException as failure:  # handed to the scenario below
            failures.append(failure)

    threads = [threading.Thread(target=application, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    assert len(both.same_table(table, writetime_of=["v"])) == CLIENTS * WRITES


def test_clients_that_come_and_go_leave_nothing_behind(connect: Callable[..., Client], both: Both, table: str) -> None:
    """Fifteen short lives, some ended with requests in flight; the next client is served as the first was."""
    connect().execute(f"CREATE TABLE {table} (k int PRIMARY KEY, v int)")
    for number in range(15):
        client = connect()
        client.execute(f"INSERT INTO {table} (k, v) VALUES ({number}, 0)")
        if number % 2:
            for step in range(20):
                client.session.execute_async(f"SELECT * FROM {table} WHERE k = {step}")
        client.close()
    assert len(both.same_table(table, writetime_of=["v"])) == 15
    assert len(connect().rows(f"SELECT * FROM {table}")) == 15
