"""The sandbox as a program of its own, on real sockets, with a real driver and the HTTP control."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from cassandra import InvalidRequest, Unavailable, WriteTimeout
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import NoHostAvailable
from cassandra.query import BatchStatement, SimpleStatement

from tests.sandbox.program import connect, running_sandbox

ORIGIN = "127.0.30.1"
TARGET = "127.0.30.2"
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


@pytest.fixture(scope="module")
def control() -> Iterator[str]:
    """The address of the control of a sandbox whose target wants credentials and is of another generation."""
    target = ("--target-auth", "me:secret", "--target-version", "5.0.9", "--target-salt", "x")
    with running_sandbox(ORIGIN, TARGET, *target) as address:
        yield address


@pytest.fixture(scope="module")
def session(control: str) -> Iterator[Any]:
    with connect(ORIGIN) as cluster:
        session = cluster.connect()
        session.execute(f"CREATE KEYSPACE ks WITH replication = {REPLICATION}")
        session.execute("CREATE TYPE ks.place (street text, number int)")
        session.execute("CREATE TABLE ks.t (k int, c int, v text, p frozen<place>, PRIMARY KEY (k, c))")
        session.execute("CREATE TABLE ks.n (k int PRIMARY KEY, n counter)")
        yield session


def test_a_driver_writes_and_reads_through_prepared_statements_pages_and_batches(session: Any) -> None:
    """What an application does all day."""
    insert = session.prepare("INSERT INTO ks.t (k, c, v) VALUES (?, ?, ?)")
    for number in range(25):
        session.execute(insert, (number % 5, number, str(number)))
    pages = SimpleStatement("SELECT c FROM ks.t", fetch_size=7)
    assert sorted(row.c for row in session.execute(pages)) == list(range(25))
    batch = BatchStatement()
    batch.add(insert, (9, 1, "a"))
    batch.add("INSERT INTO ks.t (k, c, v) VALUES (9, 2, 'b')")
    session.execute(batch)
    assert [row.v for row in session.execute("SELECT v FROM ks.t WHERE k = %s", (9,))] == ["a", "b"]
    session.execute("UPDATE ks.n SET n = n + 2 WHERE k = 1")
    assert session.execute("SELECT n FROM ks.n").one().n == 2
    assert session.execute("INSERT INTO ks.t (k, c) VALUES (9, 1) IF NOT EXISTS").was_applied is False


def test_a_driver_sees_the_schema_the_token_map_and_the_negotiated_version(session: Any) -> None:
    """Its metadata come from system_schema and system.local alone."""
    metadata = session.cluster.metadata
    table = metadata.keyspaces["ks"].tables["t"]
    assert [column.name for column in table.primary_key] == ["k", "c"]
    assert table.columns["p"].cql_type == "frozen<place>"
    assert metadata.keyspaces["ks"].user_types["place"].field_names == ["street", "number"]
    assert [host.address for host in metadata.get_replicas("ks", b"\x00\x00\x00\x01")] == [ORIGIN]
    assert session.cluster.protocol_version == 4


def test_a_traced_request_has_its_events(session: Any) -> None:
    """The driver reads system_traces until the session is complete."""
    trace = session.execute("SELECT * FROM ks.t LIMIT 1", trace=True).get_query_trace()
    assert trace.coordinator == ORIGIN and len(trace.events) == 2


def test_errors_become_the_drivers_own_exceptions(session: Any) -> None:
    """Code and fields are read, not only the words."""
    with pytest.raises(InvalidRequest):
        session.execute("SELECT * FROM ks.nothing")
    with pytest.raises(Unavailable) as caught:
        session.execute(SimpleStatement("SELECT * FROM ks.t", consistency_level=3))
    assert (caught.value.required_replicas, caught.value.alive_replicas) == (3, 1)


def test_faults_and_requests_are_reached_by_http(session: Any, control: str) -> None:
    """How tests and demos that run the sandbox as a program steer it."""
    requests.delete(f"{control}/origin/requests", timeout=20)
    wanted: Any = {
        "action": "error",
        "code": "WRITE_TIMEOUT",
        "text": "VALUES (70",
        "count": 1,
        "required": 2,
        "received": 1,
    }
    assert requests.post(f"{control}/origin/faults", json=wanted, timeout=20).status_code == 201
    with pytest.raises(WriteTimeout) as caught:
        session.execute("INSERT INTO ks.t (k, c) VALUES (70, 1)")
    assert (caught.value.required_responses, caught.value.received_responses) == (2, 1)
    session.execute("INSERT INTO ks.t (k, c) VALUES (70, 1)")
    seen = requests.get(f"{control}/origin/requests", timeout=20).json()
    texts = [record["text"] for record in seen["log"] if record["opcode"] == "QUERY"]
    assert texts.count("INSERT INTO ks.t (k, c) VALUES (70, 1)") == 2
    assert requests.get(f"{control}/origin/faults", timeout=20).json() == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/nobody/faults", "{}", 404), ("/origin/faults", "{", 400), ("/origin/faults", '{"action": "dance"}', 400)],
)
def test_a_control_request_that_makes_no_sense_is_told_so(control: str, path: str, body: str, status: int) -> None:
    """A mistyped fault would let a test pass for nothing."""
    answer = requests.post(control + path, data=body, timeout=20)
    assert answer.status_code == status and answer.json()["error"]


def test_the_target_wants_its_own_credentials_shows_its_version_and_has_other_prepared_ids(session: Any) -> None:
    """The two clusters of a migration differ in all of these."""
    with pytest.raises(NoHostAvailable), connect(TARGET, auth_provider=PlainTextAuthProvider("me", "no")) as wrong:
        wrong.connect()
    with connect(TARGET, auth_provider=PlainTextAuthProvider("me", "secret")) as cluster:
        target = cluster.connect()
        row = target.execute("SELECT release_version, cql_version FROM system.local").one()
        assert tuple(row) == ("5.0.9", "3.4.7")
        text = "SELECT key FROM system.local"
        assert target.prepare(text).query_id != session.prepare(text).query_id
        assert "ks" not in cluster.metadata.keyspaces


def test_a_node_is_stopped_and_started_by_http_and_keeps_its_rows(session: Any, control: str) -> None:
    """A restart, as a proxy's operator would see it."""
    session.execute("INSERT INTO ks.t (k, c) VALUES (80, 1)")
    assert requests.post(f"{control}/origin/nodes/0/stop", timeout=20).json()["nodes"][0]["is_up"] is False
    with pytest.raises(NoHostAvailable), connect(ORIGIN) as down:
        down.connect()
    assert requests.post(f"{control}/origin/nodes/0/start", timeout=20).json()["nodes"][0]["is_up"] is True
    with connect(ORIGIN) as cluster:
        assert cluster.connect().execute("SELECT c FROM ks.t WHERE k = 80").one().c == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--origin", f"{TARGET}:29043", "--target", f"{TARGET}:29043"], "sandbox cannot start: Couldn't listen on "),
        (["--control", "0.0.0.0:0"], "sandbox cannot start: The control is served on loopback addresses only"),
    ],
)
def test_a_sandbox_that_cannot_start_ends_with_the_reason(arguments: list[str], reason: str) -> None:
    """One line, not a traceback, and no process that stays and serves nothing."""
    addresses = ["--origin", f"{ORIGIN}:29044", "--target", f"{TARGET}:29044"]
    command = [sys.executable, "-m", "zdm.sandbox", *addresses, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1
    assert ended.stderr.startswith(reason) and ended.stderr.count("\n") == 1


def test_a_cluster_has_at_least_one_node() -> None:
    ended = subprocess.run([sys.executable, "-m", "zdm.sandbox", "--nodes", "0"], capture_output=True, text=True)
    assert ended.returncode == 2 and "--nodes: 0 is not a number from 1 on" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--origin-protocols", "4,6"], "--origin-protocols: protocol versions are of 3, 4, 5, with commas between"),
        (["--origin-protocols", ""], "--origin-protocols: protocol versions are of"),
        (["--target-compression", "zip"], "--target-compression: compression is of lz4, snappy, with a comma between"),
    ],
)
def test_a_cluster_can_offer_only_what_there_is(arguments: list[str], reason: str) -> None:
    """Said at once: a test that plays an older cluster must not play another one."""
    ended = subprocess.run(
        [sys.executable, "-m", "zdm.sandbox", *arguments], capture_output=True, text=True, timeout=20
    )
    assert ended.returncode == 2 and reason in ended.stderr
