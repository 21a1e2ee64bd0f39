"""cqlsh, as an operator uses it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conformance.client import Entry
from conformance.comparison import Both

pytestmark = pytest.mark.needs("rows")


def run_cqlsh(python: str, entry: Entry, *options: str) -> str:
    login = ["-u", entry.credentials.username, "-p", entry.credentials.password] if entry.credentials else []
    line = [str(Path(python).with_name("cqlsh")), *login, *options, entry.address, str(entry.port)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_cqlsh_writes_and_reads(python: str, entry: Entry, protocol: int, both: Both, table: str) -> None:
    """It reads the schema and the versions of the node first, and shows rows as a table."""
    text = (
        f"CREATE TABLE {both.keyspace}.{table} (k int PRIMARY KEY, v text);"
        f" INSERT INTO {both.keyspace}.{table} (k, v) VALUES (1, 'from cqlsh');"
        f" SELECT v FROM {both.keyspace}.{table};"
    )
    shown = run_cqlsh(python, entry, f"--protocol-version={protocol}", "-e", text)
    assert "from cqlsh" in shown
    assert "(1 rows)" in shown
    assert both.same_table(table, writetime_of=["v"]) == [(1, "from cqlsh")]
