"""The wire: handshake, prepared statements, events, and faults, byte for byte but without sockets."""

from __future__ import annotations

import hashlib

import pytest

from tests.sandbox.talk import Talk, make_cluster, refused
from zdm.protocol import opcodes
from zdm.protocol.consistency import Consistency
from zdm.protocol.errors import ErrorCode, Unavailable, Unprepared, WriteTimeout
from zdm.protocol.frames import TRACING, encode_frame
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import AuthResponse, Execute, Options, Prepare, Query, Register, Startup
from zdm.protocol.responses import (
    Authenticate,
    AuthSuccess,
    Prepared,
    Ready,
    Rows,
    SchemaChangeEvent,
    StatusChangeEvent,
    Supported,
    Void,
)
from zdm.sandbox.clusters import Credentials
from zdm.sandbox.faults import Fault, make_error

STARTUP = Startup({"CQL_VERSION": "3.4.6"})


def test_a_version_that_is_too_new_is_refused_in_the_words_that_drivers_downgrade_on() -> None:
    """They look for the text, and for the greatest version in the frame's header."""
    talk = Talk(make_cluster(), ready=False)
    talk.connection.dataReceived(encode_frame(5, 3, opcodes.STARTUP, STARTUP.encode(4)))
    assert talk.transport.value()[:4] == bytes([0x84, 0, 0, 3])
    message = "Invalid or unsupported protocol version (5); the lowest supported version is 3 and the greatest is 4"
    (answer,) = talk.received()
    assert refused(answer) == (ErrorCode.PROTOCOL_ERROR, message)
    assert talk.transport.disconnecting


def test_options_are_answered_before_and_after_startup() -> None:
    """Drivers ask first, and use it as their heartbeat later."""
    talk = Talk(make_cluster(), ready=False)
    first = talk.ask(Options())
    assert isinstance(first, Supported) and first.options["PROTOCOL_VERSIONS"] == ["3/v3", "4/v4"]
    assert talk.ask(STARTUP) == Ready()
    assert talk.ask(Options()) == first


def test_nothing_is_executed_before_the_handshake_is_over() -> None:
    """With credentials wanted, STARTUP alone opens nothing."""
    talk = Talk(make_cluster(credentials=Credentials("me", "secret")), ready=False)
    query = Query("SELECT key FROM system.local", QueryParameters())
    assert refused(talk.ask(query))[0] == ErrorCode.PROTOCOL_ERROR
    assert talk.ask(STARTUP) == Authenticate("org.apache.cassandra.auth.PasswordAuthenticator")
    assert refused(talk.ask(query))[0] == ErrorCode.PROTOCOL_ERROR
    wrong = talk.ask(AuthResponse(b"\x00me\x00wrong"))
    assert refused(wrong) == (ErrorCode.AUTHENTICATION_ERROR, "Provided username me and/or password are incorrect")
    assert talk.ask(AuthResponse(b"\x00me\x00secret")) == AuthSuccess(None)
    assert isinstance(talk.ask(query), Rows)


def test_prepare_tells_the_markers_the_key_and_the_columns(talk: Talk) -> None:
    """Token-aware drivers route by the indexes, which follow the key's order and not the text's."""
    talk.cql("CREATE TABLE ks.t (a int, b text, c int, v map<text, int>, PRIMARY KEY ((a, b), c))")
    prepared = talk.prepare("SELECT v FROM ks.t WHERE b = ? AND a = :first AND c IN ? LIMIT ?")
    assert [column.name for column in prepared.bind.columns] == ["b", "first", "in(c)", "[limit]"]
    assert prepared.bind.pk_indexes == [1, 0]
    assert prepared.result.columns is not None and [column.name for column in prepared.result.columns] == ["v"]
    assert talk.prepare("DELETE FROM ks.t WHERE a = 1 AND b = ?").bind.pk_indexes == []
    assert talk.prepare("UPDATE ks.t SET v[?] = ? WHERE a = ? AND b = ? AND c = ?").result.columns is None


def test_the_prepared_id_is_the_digest_of_keyspace_and_text(talk: Talk) -> None:
    """Clusters of one generation give equal ids, and a proxy may rely on it. A salt makes them differ."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    talk.cql("USE ks")
    text = "SELECT * FROM t"
    assert talk.prepare(text).prepared_id == hashlib.md5(b"ks" + text.encode()).digest()
    qualified = "SELECT * FROM ks.t"
    assert talk.prepare(qualified).prepared_id == hashlib.md5(qualified.encode()).digest()
    talk.cluster.prepared_salt = b"x"
    assert talk.prepare(text).prepared_id != hashlib.md5(b"ks" + text.encode()).digest()


def test_a_forgotten_statement_is_unprepared_with_its_id(talk: Talk) -> None:
    """As after a node's restart, or when its table was dropped."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    prepared = talk.prepare("SELECT * FROM ks.t WHERE k = ?")
    assert talk.execute(prepared, 1) == []
    talk.cluster.forget_prepared()
    answer = talk.execute(prepared, 1)
    assert isinstance(answer, Unprepared) and answer.prepared_id == prepared.prepared_id
    again = talk.prepare("SELECT * FROM ks.t WHERE k = ?")
    talk.cql("DROP TABLE ks.t")
    assert isinstance(talk.execute(again, 1), Unprepared)


def test_named_values_find_their_markers_in_any_order(talk: Talk) -> None:
    """In QUERY and EXECUTE."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    key = (1).to_bytes(4, "big")
    assert talk.cql("INSERT INTO ks.t (k, v) VALUES (:k, :v)", [b"x", key], names=["v", "k"]) == Void()
    assert talk.cql("SELECT v FROM ks.t WHERE k = 1") == [("x",)]
    prepared = talk.prepare("SELECT v FROM ks.t WHERE k = ?")
    answer = talk.ask(Execute(prepared.prepared_id, QueryParameters(values=[key], names=["k"])))
    assert isinstance(answer, Rows) and answer.rows == [[b"x"]]
    skipped = talk.ask(Execute(prepared.prepared_id, QueryParameters(values=[key], skip_metadata=True)))
    assert isinstance(skipped, Rows) and skipped.metadata.columns is None and skipped.rows == [[b"x"]]


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_number_of_values_is_refused(talk: Talk, count: int) -> None:
    """Silently taking the first ones would write a wrong row."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    prepared = talk.prepare("INSERT INTO ks.t (k) VALUES (?)")
    answer = talk.ask(Execute(prepared.prepared_id, QueryParameters(values=[b"\x00\x00\x00\x01"] * count)))
    assert refused(answer)[0] == ErrorCode.INVALID


def test_registered_connections_hear_of_schema_and_nodes_and_others_do_not() -> None:
    """A driver's control connection learns from them."""
    cluster = make_cluster(nodes=2)
    listener, other = Talk(cluster), Talk(cluster, node=1)
    assert listener.ask(Register(["SCHEMA_CHANGE", "STATUS_CHANGE"])) == Ready()
    other.cql("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    cluster.nodes[1].stop()
    assert listener.received() == [
        SchemaChangeEvent("CREATED", "KEYSPACE", "ks"),
        StatusChangeEvent("DOWN", "127.0.30.2", 9042),
    ]
    assert other.received() == []
    assert other.transport.is_aborted


def test_the_schema_version_changes_with_ddl_and_is_one_on_all_nodes() -> None:
    """Drivers wait for agreement after each DDL."""
    cluster = make_cluster(nodes=2)
    talk = Talk(cluster)
    before = talk.cql("SELECT schema_version FROM system.local")
    talk.cql("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    after = talk.cql("SELECT schema_version FROM system.local")
    assert before != after
    assert talk.cql("SELECT schema_version FROM system.peers") == after
    assert Talk(cluster, node=1).cql("SELECT schema_version FROM system.local") == after


def test_each_node_shows_itself_as_local_and_the_others_as_peers() -> None:
    """Drivers dial what they read here."""
    cluster = make_cluster(nodes=3)
    for index in range(3):
        talk = Talk(cluster, node=index)
        (local,) = talk.cql("SELECT rpc_address FROM system.local WHERE key = 'local'")
        peers = talk.cql("SELECT native_address FROM system.peers_v2")
        assert local == (f"127.0.30.{index + 1}",)
        assert sorted([local, *peers]) == [("127.0.30.1",), ("127.0.30.2",), ("127.0.30.3",)]


def test_a_dead_replica_makes_only_its_rows_unavailable() -> None:
    """One copy each on two nodes: half of the ring is gone."""
    cluster = make_cluster(nodes=2)
    talk = Talk(cluster)
    talk.cql("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    cluster.nodes[1].stop()
    answers = [talk.cql(f"SELECT k FROM ks.t WHERE k = {k}") for k in (1, 3)]
    writes = [talk.cql(f"INSERT INTO ks.t (k) VALUES ({k})") for k in (1, 3)]
    assert answers[0] == [] and writes[0] == Void()
    assert isinstance(answers[1], Unavailable) and isinstance(writes[1], Unavailable)


def test_the_tracing_flag_gets_a_session_that_can_be_read(talk: Talk) -> None:
    """Drivers poll system_traces until the session has a duration."""
    talk.ask(Query("SELECT key FROM system.local", QueryParameters()), flags=TRACING)
    session = talk.tracing_id
    rows = talk.cql("SELECT session_id, duration, parameters FROM system_traces.sessions")
    assert rows == [(session, 500, {"query": "SELECT key FROM system.local"})]
    assert talk.cql("SELECT count(*) FROM system_traces.events WHERE session_id = " + str(session)) == [(2,)]


def test_an_error_fault_answers_as_many_requests_as_asked_for_and_executes_none(talk: Talk) -> None:
    """What did not match goes on as ever."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    error = make_error(ErrorCode.WRITE_TIMEOUT, "late", {"consistency": 6, "write_type": "BATCH"})
    talk.cluster.faults.add(Fault("error", text="into ks.t", count=1, error=error))
    assert talk.cql("SELECT k FROM ks.t") == []
    answer = talk.cql("INSERT INTO ks.t (k) VALUES (1)")
    assert isinstance(answer, WriteTimeout) and (answer.consistency, answer.write_type) == (6, "BATCH")
    assert talk.cql("SELECT k FROM ks.t") == []
    assert talk.cql("INSERT INTO ks.t (k) VALUES (1)") == Void()


def test_a_write_may_be_applied_and_its_answer_lost(talk: Talk) -> None:
    """The case that makes retries dangerous."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    insert = talk.prepare("INSERT INTO ks.t (k) VALUES (?)")
    talk.cluster.faults.add(Fault("drop", opcode=opcodes.EXECUTE, text="INSERT", executes=True))
    talk.send(Execute(insert.prepared_id, QueryParameters(values=[b"\x00\x00\x00\x01"])))
    assert talk.received() == []
    assert talk.cql("SELECT k FROM ks.t") == [(1,)]


def test_a_delayed_answer_comes_when_its_time_is_over_and_others_pass_it(talk: Talk) -> None:
    """Milliseconds, of the reactor's clock."""
    talk.cluster.faults.add(Fault("delay", text="peers", delay_ms=250))
    talk.send(Query("SELECT peer FROM system.peers", QueryParameters()))
    assert talk.cql("SELECT key FROM system.local") == [("local",)]
    talk.cluster.reactor.advance(0.249)
    assert talk.received() == []
    talk.cluster.reactor.advance(0.001)
    assert len(talk.received()) == 1


def test_a_close_fault_cuts_the_connection_without_an_answer(talk: Talk) -> None:
    """And the next connection works once the fault is lifted."""
    number = talk.cluster.faults.add(Fault("close", opcode=opcodes.PREPARE))
    talk.send(Prepare("SELECT key FROM system.local"))
    assert talk.transport.is_aborted and talk.received() == []
    talk.cluster.faults.remove(number)
    assert isinstance(Talk(talk.cluster).ask(Prepare("SELECT key FROM system.local")), Prepared)


def test_requests_are_counted_by_opcode_and_logged_with_their_text(talk: Talk) -> None:
    """An EXECUTE shows the text that was prepared."""
    talk.cluster.faults.forget_requests()
    prepared = talk.prepare("SELECT key FROM system.local")
    talk.execute(prepared)
    assert talk.cluster.faults.counts == {"PREPARE": 1, "EXECUTE": 1}
    assert [record.text for record in talk.cluster.faults.log] == ["SELECT key FROM system.local"] * 2


def test_a_stalled_node_reads_no_more_until_it_is_resumed(talk: Talk) -> None:
    """Looks alive to a port check, as a stopped process does."""
    talk.cluster.nodes[0].stall()
    assert talk.transport.producerState == "paused"
    assert Talk(talk.cluster, ready=False).transport.producerState == "paused"
    talk.cluster.nodes[0].resume()
    assert talk.transport.producerState == "producing"


def test_a_refusing_node_closes_what_it_accepts(talk: Talk) -> None:
    """Old connections are cut as well."""
    talk.cluster.nodes[0].refuse()
    assert talk.transport.is_aborted
    assert Talk(talk.cluster, ready=False).transport.is_aborted


def test_v3_works_as_v4_does() -> None:
    """Old drivers speak it; PREPARE has no key indexes there."""
    talk = Talk(make_cluster(), version=3)
    talk.cql("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY, d date)")
    insert = talk.prepare("INSERT INTO ks.t (k, d) VALUES (?, '2024-01-02')")
    assert insert.bind.pk_indexes == []
    assert talk.execute(insert, 5) == Void()
    assert talk.cql("SELECT k, d FROM ks.t", level=Consistency.LOCAL_ONE) == [(5, 19724)]


def test_bytes_that_are_no_request_are_answered_on_their_stream_and_the_connection_goes_on(talk: Talk) -> None:
    """Framing is intact, so nothing else is lost."""
    talk.connection.dataReceived(encode_frame(4, 9, opcodes.QUERY, b"\x00\x00"))
    assert talk.transport.value()[2:4] == b"\x00\x09"
    assert refused(talk.received()[0])[0] == ErrorCode.PROTOCOL_ERROR
    assert talk.cql("SELECT key FROM system.local") == [("local",)]
