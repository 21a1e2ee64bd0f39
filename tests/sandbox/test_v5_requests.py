"""What only a v5 request can say: a keyspace of its own, a time of its own, the id of the columns it knows."""

from __future__ import annotations

import hashlib

import pytest

from tests.sandbox.talk import Talk, make_cluster
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import LOGGED, Batch, BatchChild, Execute, Prepare, Query
from zdm.protocol.responses import Prepared, Rows, Void
from zdm.protocol.types import INT, encode_cql

ONE = encode_cql(INT, 1)


@pytest.fixture
def talk() -> Talk:
    """A v5 connection to a cluster with two keyspaces, `one` and `two`, that have a table `t` each."""
    found = Talk(make_cluster(protocol_versions=(5,)), version=5)
    for keyspace in ("one", "two"):
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        found.cql(f"CREATE KEYSPACE {keyspace} WITH replication = {replication}")
        found.cql(f"CREATE TABLE {keyspace}.t (k int PRIMARY KEY, v text)")
    found.cql("USE one")
    return found


def rows_of(talk: Talk, keyspace: str) -> list[int]:
    return sorted(key for (key,) in talk.cql(f"SELECT k FROM {keyspace}.t"))


def test_a_query_goes_to_the_keyspace_that_it_names(talk: Talk) -> None:
    """Instead of the connection's, which stays."""
    assert talk.cql("INSERT INTO t (k) VALUES (1)", keyspace="two") == Void()
    assert talk.cql("INSERT INTO t (k) VALUES (:k)", [ONE], names=["k"]) == Void()
    assert (
        talk.cql("INSERT INTO t (k, v) VALUES (:k, 'x')", [encode_cql(INT, 2)], names=["k"], keyspace="two") == Void()
    )
    assert (rows_of(talk, "one"), rows_of(talk, "two")) == ([1], [1, 2])


def test_a_statement_is_prepared_in_the_keyspace_that_it_names(talk: Talk) -> None:
    """And executed there, whatever the connection's."""
    prepared = talk.ask(Prepare("INSERT INTO t (k, v) VALUES (?, 'x')", "two"))
    assert isinstance(prepared, Prepared)
    assert talk.execute(prepared, 1) == Void()
    assert (rows_of(talk, "one"), rows_of(talk, "two")) == ([], [1])


def test_a_batch_goes_to_the_keyspace_that_it_names(talk: Talk) -> None:
    """What was prepared stays where it was prepared."""
    there = talk.prepare("INSERT INTO t (k, v) VALUES (?, 'x')")
    children = [BatchChild("INSERT INTO t (k) VALUES (2)", []), BatchChild(there.prepared_id, [ONE])]
    assert talk.ask(Batch(LOGGED, children, 1, keyspace="two")) == Void()
    assert (rows_of(talk, "one"), rows_of(talk, "two")) == ([1], [2])


def test_what_expires_does_so_by_the_time_that_the_request_names(talk: Talk) -> None:
    """A test of an application sees the future, and one request's time is not the next one's."""
    talk.cql("INSERT INTO t (k, v) VALUES (1, 'x') USING TTL 100")
    later = int(talk.cluster.clock()) + 1000
    assert talk.cql("SELECT v FROM t WHERE k = 1", now_in_seconds=later) == []
    assert talk.cql("SELECT v FROM t WHERE k = 1") == [("x",)]
    select = talk.prepare("SELECT v FROM t WHERE k = ?")
    assert talk.execute(select, 1, now_in_seconds=later) == []
    assert talk.execute(select, 1) == [("x",)]
    children = [BatchChild("INSERT INTO t (k, v) VALUES (2, 'y') USING TTL 100", [])]
    assert talk.ask(Batch(LOGGED, children, 1, now_in_seconds=later)) == Void()
    assert talk.cql("SELECT k FROM t WHERE k = 2", now_in_seconds=later + 99) == [(2,)]
    assert talk.cql("SELECT k FROM t WHERE k = 2", now_in_seconds=later + 101) == []


def test_statements_without_rows_have_the_id_of_no_columns(talk: Talk) -> None:
    """Cassandra's is the MD5 of nothing, and all of them share it."""
    assert talk.prepare("INSERT INTO t (k, v) VALUES (?, ?)").result_metadata_id == hashlib.md5(b"").digest()
    one, other = talk.prepare("SELECT k FROM t"), talk.prepare("SELECT v FROM t")
    assert one.result_metadata_id != other.result_metadata_id
    assert one.result_metadata_id == talk.prepare("SELECT k FROM one.t").result_metadata_id


def test_columns_that_have_changed_come_with_their_new_id_even_if_they_were_to_be_left_out(talk: Talk) -> None:
    """A driver that decoded by the old ones would read nonsense."""
    talk.cql("INSERT INTO t (k, v) VALUES (1, 'x')")
    select = talk.prepare("SELECT * FROM t WHERE k = ?")
    skipping = QueryParameters(values=[ONE], skip_metadata=True)
    same = talk.ask(Execute(select.prepared_id, skipping, select.result_metadata_id))
    assert isinstance(same, Rows) and same.metadata.columns is None and same.metadata.new_metadata_id is None
    talk.cql("ALTER TABLE t ADD more int")
    changed = talk.ask(Execute(select.prepared_id, skipping, select.result_metadata_id))
    assert isinstance(changed, Rows) and changed.metadata.columns is not None
    assert [column.name for column in changed.metadata.columns] == ["k", "more", "v"]
    new_id = changed.metadata.new_metadata_id
    assert new_id == talk.prepare("SELECT * FROM t WHERE k = ?").result_metadata_id
    again = talk.ask(Execute(select.prepared_id, skipping, new_id))
    assert isinstance(again, Rows) and again.metadata.columns is None


def test_the_answer_to_a_conditional_write_has_its_columns_always(talk: Talk) -> None:
    """They depend on what was found, so no id stands for them."""
    insert = talk.prepare("INSERT INTO t (k) VALUES (?) IF NOT EXISTS")
    for applied in (b"\x01", b"\x00"):
        answer = talk.ask(Execute(insert.prepared_id, QueryParameters(values=[ONE], skip_metadata=True), b"other"))
        assert isinstance(answer, Rows) and answer.metadata.columns is not None
        assert answer.metadata.new_metadata_id is None and answer.rows[0][0] == applied


def test_a_query_is_told_no_id(talk: Talk) -> None:
    """It knows none."""
    answer = talk.ask(Query("SELECT k FROM t", QueryParameters()))
    assert isinstance(answer, Rows) and answer.metadata.new_metadata_id is None
