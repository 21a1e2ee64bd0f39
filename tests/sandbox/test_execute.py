"""Statements against stored rows: what they change, what they answer, and how they are refused."""

from __future__ import annotations

import pytest

from tests.sandbox.talk import Talk, refused
from zdm.protocol.consistency import Consistency
from zdm.protocol.errors import AlreadyExists, ErrorCode, Unavailable
from zdm.protocol.primitives import UNSET
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import Batch, BatchChild, Prepare, Query
from zdm.protocol.responses import Rows, SchemaChange, SetKeyspace, Void
from zdm.protocol.types import DATE


@pytest.fixture
def rows(talk: Talk) -> Talk:
    """`ks.t` with a clustering key in descending order, and three partitions of three rows."""
    talk.cql(
        "CREATE TABLE ks.t (k int, c int, v text, s text static, l list<int>, e set<text>, m map<text, int>, "
        "PRIMARY KEY (k, c)) WITH CLUSTERING ORDER BY (c DESC)"
    )
    for k in range(3):
        for c in range(3):
            assert talk.cql(f"INSERT INTO ks.t (k, c, v) VALUES ({k}, {c}, '{k}{c}') USING TIMESTAMP 1000") == Void()
    return talk


def test_rows_come_in_token_order_and_in_clustering_order(rows: Talk) -> None:
    """As a real cluster gives them, so that results can be compared row by row."""
    assert rows.cql("SELECT k, c FROM ks.t") == [(1, 2), (1, 1), (1, 0), (0, 2), (0, 1), (0, 0), (2, 2), (2, 1), (2, 0)]
    assert rows.cql("SELECT c FROM ks.t WHERE k = 1 ORDER BY c ASC LIMIT 2") == [(0,), (1,)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("k = 1 AND c = 1", [(1, 1)]),
        ("k = 1 AND c > 0", [(1, 2), (1, 1)]),
        ("k = 1 AND c >= 0 AND c < 2", [(1, 1), (1, 0)]),
        ("k IN (0, 2) AND c IN (2, 0)", [(0, 2), (0, 0), (2, 2), (2, 0)]),
        ("k = 1 AND (c) > (1)", [(1, 2)]),
        ("token(k) > -3485513579396041029 AND c = 0 ALLOW FILTERING", [(0, 0), (2, 0)]),
        ("v = '21' ALLOW FILTERING", [(2, 1)]),
    ],
)
def test_where_says_which_rows(rows: Talk, where: str, expected: list[tuple[int, int]]) -> None:
    """Keys, ranges, tuples, tokens and filters."""
    assert rows.cql(f"SELECT k, c FROM ks.t WHERE {where}") == expected


def test_pages_cover_all_rows_once_and_a_full_last_page_is_followed_by_an_empty_one(rows: Talk) -> None:
    """Cassandra does not look ahead, and drivers must cope with the empty page."""
    state, pages = None, []
    while True:
        answer = rows.ask(Query("SELECT k, c FROM ks.t", QueryParameters(page_size=3, paging_state=state)))
        assert isinstance(answer, Rows)
        pages.append([(row[0][-1], row[1][-1]) for row in answer.rows if row[0] and row[1]])
        state = answer.metadata.paging_state
        if state is None:
            break
    assert [len(page) for page in pages] == [3, 3, 3, 0]
    assert sum(pages, []) == rows.cql("SELECT k, c FROM ks.t")


def test_a_limit_holds_across_pages(rows: Talk) -> None:
    """What is left of it travels in the paging state."""
    first = rows.ask(Query("SELECT c FROM ks.t LIMIT 4", QueryParameters(page_size=3)))
    assert isinstance(first, Rows) and first.metadata.paging_state is not None
    state = first.metadata.paging_state
    second = rows.ask(Query("SELECT c FROM ks.t LIMIT 4", QueryParameters(page_size=3, paging_state=state)))
    assert isinstance(second, Rows)
    assert (len(second.rows), second.metadata.paging_state) == (1, None)


def test_a_paging_state_that_was_not_made_here_is_refused(rows: Talk) -> None:
    """A state of the other cluster must not be guessed at."""
    page = rows.ask(Query("SELECT c FROM ks.t", QueryParameters(page_size=3)))
    assert isinstance(page, Rows) and page.metadata.paging_state is not None
    for state in (b"\x04" + page.metadata.paging_state[1:], page.metadata.paging_state[:12], b""):
        answer = rows.cql("SELECT c FROM ks.t", page_size=3, paging_state=state)
        assert refused(answer) == (ErrorCode.PROTOCOL_ERROR, "Invalid value for the paging state")


def test_the_greater_timestamp_wins_whichever_write_comes_last(rows: Talk) -> None:
    """Last write wins per cell."""
    rows.cql("UPDATE ks.t USING TIMESTAMP 2000 SET v = 'new' WHERE k = 1 AND c = 1")
    rows.cql("UPDATE ks.t USING TIMESTAMP 1500 SET v = 'late' WHERE k = 1 AND c = 1")
    assert rows.cql("SELECT v, writetime(v) FROM ks.t WHERE k = 1 AND c = 1") == [("new", 2000)]


@pytest.mark.parametrize(
    "deletion",
    [
        "DELETE FROM ks.t USING TIMESTAMP 2000 WHERE k = 1",
        "DELETE FROM ks.t USING TIMESTAMP 2000 WHERE k = 1 AND c > 0",
        "DELETE FROM ks.t USING TIMESTAMP 2000 WHERE k = 1 AND c = 1",
    ],
    ids=["partition", "range", "row"],
)
def test_an_older_write_stays_behind_a_deletion(rows: Talk, deletion: str) -> None:
    """Tombstones are kept, so that late copies of old writes do not bring rows back."""
    rows.cql(deletion)
    rows.cql("INSERT INTO ks.t (k, c, v) VALUES (1, 1, 'old') USING TIMESTAMP 1999")
    assert rows.cql("SELECT v FROM ks.t WHERE k = 1 AND c = 1") == []
    rows.cql("INSERT INTO ks.t (k, c, v) VALUES (1, 1, 'young') USING TIMESTAMP 2001")
    assert rows.cql("SELECT v FROM ks.t WHERE k = 1 AND c = 1") == [("young",)]


def test_a_value_with_ttl_is_gone_when_its_time_is_over(rows: Talk) -> None:
    """And the row with it, where INSERT's mark had the TTL too."""
    rows.cql("INSERT INTO ks.t (k, c, v) VALUES (9, 9, 'x') USING TTL 10")
    rows.cluster.reactor.advance(4)
    assert rows.cql("SELECT v, ttl(v) FROM ks.t WHERE k = 9") == [("x", 6)]
    rows.cluster.reactor.advance(6)
    assert rows.cql("SELECT v FROM ks.t WHERE k = 9") == []


def test_null_deletes_and_unset_leaves_alone(rows: Talk) -> None:
    """The two are easily taken for each other."""
    insert = rows.prepare("INSERT INTO ks.t (k, c, v) VALUES (?, ?, ?)")
    rows.execute(insert, 1, 1, UNSET)
    assert rows.cql("SELECT v FROM ks.t WHERE k = 1 AND c = 1") == [("11",)]
    rows.execute(insert, 1, 1, None)
    assert rows.cql("SELECT v FROM ks.t WHERE k = 1 AND c = 1") == [(None,)]


def test_an_update_of_nulls_makes_no_row_and_an_insert_does(rows: Talk) -> None:
    """Only INSERT marks a row as being there."""
    rows.cql("UPDATE ks.t SET v = null WHERE k = 7 AND c = 1")
    rows.cql("INSERT INTO ks.t (k, c) VALUES (7, 2)")
    assert rows.cql("SELECT c, v FROM ks.t WHERE k = 7") == [(2, None)]


def test_static_columns_belong_to_the_partition(rows: Talk) -> None:
    """They show in each row, and alone where there is none."""
    rows.cql("UPDATE ks.t SET s = 'all' WHERE k = 1")
    rows.cql("INSERT INTO ks.t (k, s) VALUES (8, 'alone')")
    assert rows.cql("SELECT c, s FROM ks.t WHERE k = 1") == [(2, "all"), (1, "all"), (0, "all")]
    assert rows.cql("SELECT k, c, s FROM ks.t WHERE k = 8") == [(8, None, "alone")]


def test_collections_change_element_by_element(rows: Talk) -> None:
    """Adding and removing does not replace the rest."""
    where = "WHERE k = 1 AND c = 1"
    rows.cql(f"UPDATE ks.t SET l = [1, 2, 3], e = {{'b', 'a'}}, m = {{'x': 1}} {where}")
    rows.cql(f"UPDATE ks.t SET l = l + [4], e = e + {{'c'}}, m['y'] = 2 {where}")
    rows.cql(f"UPDATE ks.t SET l = [0] + l, e = e - {{'a'}}, m = m - {{'x'}} {where}")
    rows.cql(f"UPDATE ks.t SET l[1] = 9 {where}")
    assert rows.cql(f"SELECT l, e, m FROM ks.t {where}") == [([0, 9, 2, 3, 4], {"b", "c"}, {"y": 2})]
    rows.cql(f"UPDATE ks.t SET l = [5] {where}")
    rows.cql(f"DELETE m['y'] FROM ks.t {where}")
    assert rows.cql(f"SELECT l, m FROM ks.t {where}") == [([5], None)]


def test_a_condition_decides_and_shows_what_it_found(rows: Talk) -> None:
    """`[applied]` with the whole row for IF NOT EXISTS, with the compared columns for IF v = ..."""
    assert rows.cql("INSERT INTO ks.t (k, c, v) VALUES (5, 5, 'x') IF NOT EXISTS") == [(True,)]
    again = rows.cql("INSERT INTO ks.t (k, c, v) VALUES (5, 5, 'y') IF NOT EXISTS")
    assert again == [(False, 5, 5, None, None, None, None, "x")]
    assert rows.cql("UPDATE ks.t SET v = 'z' WHERE k = 5 AND c = 5 IF v = 'no'") == [(False, "x")]
    assert rows.cql("UPDATE ks.t SET v = 'z' WHERE k = 5 AND c = 5 IF v = 'x'") == [(True,)]
    assert rows.cql("UPDATE ks.t SET v = 'z' WHERE k = 6 AND c = 5 IF EXISTS") == [(False,)]
    assert rows.cql("SELECT v FROM ks.t WHERE k = 6") == []


def test_a_batch_is_all_or_nothing(rows: Talk) -> None:
    """A child that can't be executed refuses the others too."""
    good = BatchChild("INSERT INTO ks.t (k, c, v) VALUES (4, 4, 'x')", [])
    bad = BatchChild("INSERT INTO ks.t (k, v) VALUES (4, 'x')", [])
    assert refused(rows.ask(Batch(0, [good, bad], Consistency.ONE)))[0] == ErrorCode.INVALID
    assert rows.cql("SELECT * FROM ks.t WHERE k = 4") == []
    assert rows.ask(Batch(0, [good], Consistency.ONE, timestamp=77)) == Void()
    assert rows.cql("SELECT writetime(v) FROM ks.t WHERE k = 4") == [(77,)]


def test_a_batch_mixes_prepared_and_inline_statements_with_their_values(rows: Talk) -> None:
    """Each child has its own values."""
    prepared = rows.prepare("UPDATE ks.t SET v = ? WHERE k = ? AND c = ?")
    one, two = (1).to_bytes(4, "big"), (2).to_bytes(4, "big")
    children = [
        BatchChild(prepared.prepared_id, [b"p", one, two]),
        BatchChild("DELETE FROM ks.t WHERE k = ? AND c = 1", [one]),
    ]
    assert rows.ask(Batch(1, children, Consistency.ONE)) == Void()
    assert rows.cql("SELECT c, v FROM ks.t WHERE k = 1") == [(2, "p"), (0, "10")]


def test_counters_add_up_and_keep_to_their_own_batches(talk: Talk) -> None:
    """They are no values that can be set."""
    talk.cql("CREATE TABLE ks.n (k int PRIMARY KEY, n counter)")
    child = BatchChild("UPDATE ks.n SET n = n + 5 WHERE k = 1", [])
    assert talk.ask(Batch(2, [child, child], Consistency.ONE)) == Void()
    talk.cql("UPDATE ks.n SET n = n - 3 WHERE k = 1")
    assert talk.cql("SELECT n FROM ks.n") == [(7,)]
    assert (
        refused(talk.ask(Batch(0, [child], Consistency.ONE)))[1]
        == "Cannot include a counter statement in a logged batch"
    )
    assert refused(talk.cql("INSERT INTO ks.n (k, n) VALUES (1, 1)"))[0] == ErrorCode.INVALID


def test_user_types_and_tuples_are_values(talk: Talk) -> None:
    """Frozen ones are kept as one cell."""
    talk.cql("CREATE TYPE ks.place (street text, number int)")
    talk.cql("CREATE TABLE ks.u (k int PRIMARY KEY, p frozen<place>, t frozen<tuple<int, text>>)")
    talk.cql("INSERT INTO ks.u (k, p, t) VALUES (1, {street: 'x', number: 2}, (3, 'y'))")
    assert talk.cql("SELECT p, p.number, t FROM ks.u") == [({"street": "x", "number": 2}, 2, (3, "y"))]
    talk.cql("ALTER TYPE ks.place ADD town text")
    assert talk.cql("SELECT p FROM ks.u") == [({"street": "x", "number": 2, "town": None},)]


def test_aggregates_and_functions_are_computed(rows: Talk) -> None:
    """The few that applications use."""
    assert rows.cql("SELECT count(*), min(c), max(c), sum(c), avg(c) FROM ks.t WHERE k = 1") == [(3, 0, 2, 3, 1)]
    assert rows.cql("SELECT token(k), CAST(c AS text) AS shown FROM ks.t WHERE k = 1 LIMIT 1") == [
        (-4069959284402364209, "2")
    ]
    (now,) = rows.cql("SELECT toTimestamp(now()) FROM ks.t WHERE k = 1 LIMIT 1")[0]
    assert now == 1_700_000_000_000


def test_functions_of_version_5_go_by_both_names(rows: Talk) -> None:
    """With an underscore and without."""
    for name in ("current_timestamp", "currentTimestamp"):
        assert rows.cql(f"SELECT {name}() FROM ks.t WHERE k = 1 LIMIT 1") == [(1_700_000_000_000,)]


def test_a_hint_says_which_of_several_functions_is_meant(rows: Talk) -> None:
    """As in Cassandra, which refuses what could be several."""
    rows.cql("CREATE TABLE ks.h (k bigint PRIMARY KEY)")
    rows.cql("INSERT INTO ks.h (k) VALUES (toUnixTimestamp((timestamp) 5))")
    assert rows.cql("SELECT k FROM ks.h") == [(5,)]
    prepared = rows.prepare("INSERT INTO ks.h (k) VALUES (toUnixTimestamp((date) ?))")
    assert [column.type for column in prepared.bind.columns] == [DATE]


@pytest.mark.parametrize("literal", ["[?]", "[1, f(?)]", "{?: 1}", "{'x': ?}"])
def test_a_variable_in_a_collection_is_refused(rows: Talk, literal: str) -> None:
    """As in Cassandra: the whole collection must be one."""
    column = "l" if literal[0] == "[" else "m"
    literal = literal.replace("f(", "toUnixTimestamp(")
    answer = rows.ask(Prepare(f"UPDATE ks.t SET {column} = {literal} WHERE k = 1 AND c = 1"))
    assert "bind variables are not supported inside collection literals" in refused(answer)[1]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("SELECT * FROM ks.no", ErrorCode.INVALID, "table no does not exist"),
        ("SELECT * FROM no.t", ErrorCode.INVALID, "keyspace no does not exist"),
        ("SELECT * FROM t", ErrorCode.INVALID, None),
        ("SELECT x FROM ks.t", ErrorCode.INVALID, "Undefined column name x in table ks.t"),
        ("SELECT * FROM ks.t WHERE v = 'a'", ErrorCode.INVALID, None),
        ("SELECT * FROM ks.t WHERE k = 'a'", ErrorCode.INVALID, 'Invalid STRING constant (a) for "k" of type int'),
        ("SELECT * FROM ks.t LIMIT 0", ErrorCode.INVALID, "LIMIT must be strictly positive"),
        ("INSERT INTO ks.t (k, v) VALUES (1, 'a')", ErrorCode.INVALID, "Some clustering keys are missing: c"),
        ("INSERT INTO ks.t (c, v) VALUES (1, 'a')", ErrorCode.INVALID, "Some partition key parts are missing: k"),
        ("INSERT INTO ks.t (k, c) VALUES (null, 1)", ErrorCode.INVALID, "Invalid null value in condition for column k"),
        ("UPDATE ks.t SET v = 'x' WHERE k = 1", ErrorCode.INVALID, "Some clustering keys are missing: c"),
        ("UPDATE ks.t SET k = 2 WHERE k = 1 AND c = 1", ErrorCode.INVALID, "PRIMARY KEY part k found in SET part"),
        ("DELETE v FROM ks.t WHERE k = 1", ErrorCode.INVALID, None),
        ("CREATE KEYSPACE x WITH replication = {'class': 'No'}", ErrorCode.CONFIG_ERROR, None),
        ("CREATE TABLE ks.x (k no PRIMARY KEY)", ErrorCode.INVALID, "Unknown type ks.no"),
        ("DROP TABLE ks.no", ErrorCode.INVALID, "Table 'ks.no' doesn't exist"),
        ("INSERT INTO system.local (key) VALUES ('x')", ErrorCode.UNAUTHORIZED, None),
        ("DROP KEYSPACE system", ErrorCode.UNAUTHORIZED, "system keyspace is not user-modifiable."),
        ("DROP TABLE system.local", ErrorCode.UNAUTHORIZED, "system keyspace is not user-modifiable."),
        ("GRANT ALL ON ks.t TO me", ErrorCode.UNAUTHORIZED, None),
        ("CREATE MATERIALIZED VIEW ks.v AS SELECT k FROM ks.t", ErrorCode.INVALID, None),
        ("SELECT JSON * FROM ks.t", ErrorCode.INVALID, None),
        ("USE no", ErrorCode.INVALID, "Keyspace 'no' does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused_with_cassandras_code(
    rows: Talk, text: str, code: int, message: str | None
) -> None:
    """Never an empty success."""
    found, words = refused(rows.cql(text))
    assert found == code
    assert message is None or words == message


def test_creating_what_exists_names_it(talk: Talk) -> None:
    """Drivers read keyspace and table out of the error."""
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    answer = talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY)")
    assert isinstance(answer, AlreadyExists) and (answer.keyspace, answer.table) == ("ks", "t")
    assert talk.cql("CREATE TABLE IF NOT EXISTS ks.t (k int PRIMARY KEY)") == Void()


def test_a_level_that_cannot_be_met_is_unavailable_and_changes_nothing(rows: Talk) -> None:
    """One copy on one node can't give three acknowledgements."""
    answer = rows.cql("INSERT INTO ks.t (k, c) VALUES (6, 6)", level=Consistency.THREE)
    assert isinstance(answer, Unavailable)
    assert (answer.consistency, answer.required, answer.alive) == (Consistency.THREE, 3, 1)
    assert rows.cql("SELECT * FROM ks.t WHERE k = 6") == []


def test_altered_tables_have_their_new_columns_and_prepared_statements_go_on(rows: Talk) -> None:
    """DDL in the middle of traffic."""
    insert = rows.prepare("INSERT INTO ks.t (k, c, v) VALUES (?, ?, ?)")
    assert rows.cql("ALTER TABLE ks.t ADD added int") == SchemaChange("UPDATED", "TABLE", "ks", "t")
    assert rows.execute(insert, 1, 1, "x") == Void()
    assert rows.cql("SELECT added FROM ks.t WHERE k = 1 AND c = 1") == [(None,)]


def test_use_changes_the_keyspace_of_this_connection_only(rows: Talk) -> None:
    """Others keep theirs."""
    other = Talk(rows.cluster)
    assert rows.cql("USE ks") == SetKeyspace("ks")
    assert rows.cql("SELECT count(*) FROM t") == [(9,)]
    assert refused(other.cql("SELECT count(*) FROM t"))[0] == ErrorCode.INVALID
