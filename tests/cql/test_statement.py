"""Which kind of statement a text is, and which table it names."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.cql.texts import STATEMENTS, any_text, jumbled, mutated
from zdm.cql.statement import Statement, StatementKind, classify, parse

SELECT, INSERT, UPDATE, DELETE, BATCH, USE, CALL, TRUNCATE, SCHEMA, OTHER = StatementKind


def named(text: str) -> tuple[StatementKind, str | None, str | None]:
    statement = classify(text)
    return statement.kind, statement.keyspace, statement.table


@pytest.mark.parametrize(
    ("text", "keyspace", "table"),
    [
        ("SELECT * FROM system.local", "system", "local"),
        ('SELECT * FROM "system".local', "system", "local"),
        ('SELECT * FROM system."local"', "system", "local"),
        ('SELECT * FROM "system"."local"', "system", "local"),
        ("select * from SYSTEM.Local", "system", "local"),
        ("SELECT * FROM system.peers", "system", "peers"),
        ('SELECT * FROM "system"."peers"', "system", "peers"),
        ("SELECT * FROM system.peers_v2;", "system", "peers_v2"),
        ("SELECT * FROM system_auth.roles", "system_auth", "roles"),
        ('SELECT * FROM "system_auth".roles', "system_auth", "roles"),
        ("SELECT * FROM dse_insights.tokens", "dse_insights", "tokens"),
        ("SELECT * FROM local", None, "local"),
        ('SELECT * FROM "peers"', None, "peers"),
        ("SELECT * FROM peers_v2", None, "peers_v2"),
        ('SELECT * FROM "SYSTEM".local', "SYSTEM", "local"),
        ('SELECT * FROM system."LOCAL"', "system", "LOCAL"),
        ('SELECT * FROM "Ks""1"."T"', 'Ks"1', "T"),
        ('SELECT * FROM "a.b"', None, "a.b"),
        ('SELECT * FROM ""', None, ""),
        ("SELECT * FROM system . local", "system", "local"),
        ("SELECT * FROM system\n.\tlocal WHERE key = 'local'", "system", "local"),
        ("SELECT * FROM system/* the */./* table */local", "system", "local"),
        ("SELECT * FROM system -- ks\n. local", "system", "local"),
        ('SELECT*FROM"system".local', "system", "local"),
        ("SELECT a, b ,c FROM ks.t WHERE k = ' from x.y '", "ks", "t"),
        ("SELECT a FROM ks.t LIMIT 1; SELECT b FROM other.u", "ks", "t"),
    ],
)
def test_the_table_of_a_select_is_found(text: str, keyspace: str | None, table: str | None) -> None:
    """Whether the proxy answers itself, or which cluster is asked, hangs on these two names (4.2)."""
    assert named(text) == (SELECT, keyspace, table)


@pytest.mark.parametrize(
    "selectors",
    [
        *("count(*)", "JSON *", "DISTINCT a", "a AS b", '"a from b"', '"from"', "writetime(v), ttl(v)", "count(1)"),
        *("similarity_cosine(v, [1.0, 2.0])", "CAST(x AS text)", "'from x'", "$$ from x $$", "f(from x)", "[from]"),
        *("{from: 1}", "a.b", "m['k']", "token(pk)", "a+b", ".5", "(int) a", "/* from x */ a", "a -- from x\n", "?1"),
        *("caf\u00e9", "_a", "1a", "f(g((h)))", "max(x) as from_x", "xfrom, fromx, from_", "a)"),
    ],
)
def test_no_selector_hides_the_table(selectors: str) -> None:
    """A SELECT that is not understood would be sent to both clusters and treated as a write (FIX-15)."""
    assert named(f"SELECT {selectors} FROM ks.t WHERE x = 1") == (SELECT, "ks", "t")


@pytest.mark.parametrize(
    "clauses",
    [
        *("token(x) > token(1)", "a NOT IN (1)", "a BETWEEN 1 AND 2", "a = 1 GROUP BY f(a)", "expr(i, 'x')", "a : 'b'"),
        *("a = 1 ORDER BY v ANN OF [1] LIMIT 1", "a = ?1 trailing text", "a = 1 -- end", "if = 1 IF EXISTS"),
    ],
)
def test_what_follows_the_table_of_a_select_does_not_matter(clauses: str) -> None:
    """Routing never looks at the WHERE clause (4.2)."""
    assert classify(f"SELECT a FROM ks.t WHERE {clauses}") == Statement(SELECT, "ks", "t")


@pytest.mark.parametrize(
    "text",
    [
        *("SELECT", "SELECT *", "SELECT (a FROM ks.t", "SELECT * FROM", "SELECT * FROM 1", "SELECT * FROM 'ks'.t"),
        *("SELECT * FROM ks.", "SELECT * FROM ks.'t'", "SELECT * FROM ks.;", "SELECT 'a FROM ks.t"),
        *("SELECT from, a FROM ks.t", "SELECT * FROM ks.1", "SELECT * FROM :ks"),
    ],
)
def test_a_select_without_a_whole_table_name_has_none(text: str) -> None:
    """It is a read still: one cluster can say what is wrong with it."""
    assert classify(text) == Statement(SELECT)


@pytest.mark.parametrize(
    ("text", "kind", "keyspace", "table"),
    [
        ("INSERT INTO ks.t (k) VALUES (1)", INSERT, "ks", "t"),
        ('insert into "Ks" . "T"(k) values (1)', INSERT, "Ks", "T"),
        ("INSERT INTO t JSON ?", INSERT, None, "t"),
        ("INSERT ks.t", INSERT, None, None),
        ("INSERT ONTO ks.t (k) VALUES (1)", INSERT, None, None),
        ("UPDATE ks.t SET v = 1 WHERE k = 1", UPDATE, "ks", "t"),
        ("UPDATE T USING TTL 1 SET v = 1", UPDATE, None, "t"),
        ("UPDATE/**/t--\nSET v = 1", UPDATE, None, "t"),
        ("UPDATE", UPDATE, None, None),
        ("DELETE FROM ks.t WHERE k = 1", DELETE, "ks", "t"),
        ("DELETE a, m['from'], l[0] FROM t WHERE k = 1", DELETE, None, "t"),
        ('DELETE "from" FROM t', DELETE, None, "t"),
        ("DELETE a", DELETE, None, None),
        ("TRUNCATE ks.t", TRUNCATE, "ks", "t"),
        ('TRUNCATE TABLE "T"', TRUNCATE, None, "T"),
        ("truncate columnfamily ks.t", TRUNCATE, "ks", "t"),
        ('TRUNCATE "table"', TRUNCATE, None, "table"),
        ("TRUNCATE", TRUNCATE, None, None),
        ("CREATE TABLE ks.t (k int PRIMARY KEY)", SCHEMA, None, None),
        ("ALTER TABLE ks.t ADD v int", SCHEMA, None, None),
        ("drop keyspace ks", SCHEMA, None, None),
        ("CREATE FUNCTION ks.f(a int) RETURNS int LANGUAGE java AS $$ return 'select'; $$", SCHEMA, None, None),
        ("CALL other.thing(?)", CALL, None, None),
        ("LIST ROLES", OTHER, None, None),
        ("GRANT SELECT ON ks.t TO r", OTHER, None, None),
        ("DESCRIBE TABLES", OTHER, None, None),
        ("BEGIN TRANSACTION SELECT * FROM ks.t; COMMIT TRANSACTION", OTHER, None, None),
        ("g.V().has('name', 'select')", OTHER, None, None),
        ("system.graph('select').ifNotExists().create()", OTHER, None, None),
        ("def x = 1; select", OTHER, None, None),
    ],
)
def test_other_statements_are_told_by_their_first_words(
    text: str, kind: StatementKind, keyspace: str | None, table: str | None
) -> None:
    """Everything that is no SELECT, USE or CALL goes to both clusters, understood or not (4.2)."""
    assert named(text) == (kind, keyspace, table)


@pytest.mark.parametrize(
    "text",
    [
        *("", " \n", ";", "-- SELECT * FROM t", "/* SELECT * FROM t */", "/* SELECT", "//", "'SELECT' * FROM t"),
        *('"SELECT" * FROM t', "(SELECT * FROM t)", ";SELECT * FROM t", "?", "SELECTS * FROM t", "_SELECT * FROM t"),
        *("1SELECT * FROM t", "\ufeffSELECT * FROM t", "\x0bSELECT * FROM t", "\u017felect * FROM t", "\x00", "\ud800"),
        *("BEGIN", "BEGIN LOGGED BATCH", "BEGIN UNLOGGED", "BEGIN COUNTER UNLOGGED BATCH", "BATCH", "BEGIN BATCHES x"),
    ],
)
def test_text_that_begins_with_no_known_keyword_is_other(text: str) -> None:
    """Both clusters get it and both refuse it: the client's error is the one it had without a proxy."""
    assert classify(text) == Statement(OTHER)


@pytest.mark.parametrize("before", ["", " \t\r\n", "-- INSERT\n", "/* INSERT INTO x */", "// it's\r\n/**/ "])
@pytest.mark.parametrize("statement", ["SELECT a FROM ks.t", "sElEcT\na\nfRoM ks.t;", "Select a From ks.t -- end"])
def test_comments_and_case_do_not_change_what_a_statement_is(before: str, statement: str) -> None:
    """Applications put a comment before a statement to find it again in a trace."""
    assert classify(before + statement) == Statement(SELECT, "ks", "t")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS",
        "INSERT INTO ks.t (k) VALUES ('if') if not exists USING TTL 1",
        "INSERT INTO ks.t JSON '{}' If NOT EXISTS",
        "UPDATE ks.t SET v = 1 WHERE k = 1 IF v = 2",
        "UPDATE ks.t SET v = 1 WHERE k = 1IF EXISTS",
        "UPDATE ks.t SET v = 1 WHERE k = 1dIF EXISTS",
        "UPDATE ks.t SET v = 1 WHERE k = (1)iF(a) IN (1)",
        "UPDATE ks.t SET v = 1 WHERE k = 1/**/IF/**/EXISTS",
        "UPDATE ks.t SET v = {1: 'a'} WHERE k = 'b''' -- comment\nIF\nEXISTS",
        "DELETE FROM ks.t WHERE k = 1 IF EXISTS",
        "DELETE v FROM ks.t WHERE k = 1 IF v = {'a': 1}",
    ],
)
def test_an_if_outside_brackets_makes_a_write_conditional(text: str) -> None:
    """A lightweight transaction is not safe to repeat or to drop on one side, so it must not be overlooked."""
    statement = classify(text)
    assert (statement.is_conditional, statement.write_type) == (True, "CAS")
    assert (statement.keyspace, statement.table) == ("ks", "t")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO ks.t (k) VALUES ('IF NOT EXISTS')",
        "INSERT INTO ks.t (k) VALUES ($$ IF $$)",
        'INSERT INTO ks.t (k, "if") VALUES (1, if)',
        "INSERT INTO ks.t (k) VALUES (1) -- IF NOT EXISTS",
        "INSERT INTO ks.t (k) VALUES (1) /* IF NOT EXISTS */",
        "UPDATE ks.t SET notif = 1, ifs = 2, if_ = 3 WHERE k = :if1",
        "UPDATE ks.t SET v = :if WHERE k = 1",
        'UPDATE ks.t SET "if" = 1 WHERE k = 1',
        'DELETE "IF" FROM ks.t WHERE k = \'if',
    ],
)
def test_an_if_that_is_a_value_a_name_or_a_comment_makes_nothing_conditional(text: str) -> None:
    """CAS in a timeout would tell the driver that the write may be tried again under other rules."""
    statement = classify(text)
    assert (statement.is_conditional, statement.write_type) == (False, "SIMPLE")


@pytest.mark.parametrize("text", ["CREATE TABLE IF NOT EXISTS ks.t (k int)", "DROP TABLE IF EXISTS ks.t", "USE if"])
def test_an_if_of_another_statement_is_no_condition(text: str) -> None:
    """Schema changes have their own rules and timeouts."""
    assert not classify(text).is_conditional


@pytest.mark.parametrize(
    ("text", "write_type"),
    [
        ("BEGIN BATCH INSERT INTO t (k) VALUES (1); APPLY BATCH", "BATCH"),
        ("begin unlogged batch insert into t (k) values (1); apply batch;", "UNLOGGED_BATCH"),
        ("BEGIN/**/COUNTER/**/BATCH UPDATE t SET c = c + 1 WHERE k = 1 APPLY BATCH", "COUNTER"),
        (" BEGIN COUNTER BATCH USING TIMESTAMP 1 UPDATE t SET c = c + 1 WHERE k = 1 APPLY BATCH", "COUNTER"),
        ("BEGIN BATCH UPDATE t SET v = 'if' WHERE k = 1 IF v = 1; APPLY BATCH", "CAS"),
        ("BEGIN UNLOGGED BATCH INSERT INTO t (k) VALUES ('if'); APPLY BATCH", "UNLOGGED_BATCH"),
        ("BEGIN BATCH", "BATCH"),
    ],
)
def test_a_batch_tells_its_write_type(text: str, write_type: str) -> None:
    """A timeout that the proxy makes itself must carry it: drivers retry by it."""
    assert classify(text) == Statement(
        BATCH,
        is_conditional=write_type == "CAS",
        is_counter_batch=write_type == "COUNTER",
        write_type=write_type,
    )


@pytest.mark.parametrize(
    ("text", "keyspace"), [("USE ks", "ks"), ("use KS;", "ks"), ('USE "Ks"', "Ks"), ("USE 'ks'", None), ("USE", None)]
)
def test_use_tells_its_keyspace(text: str, keyspace: str | None) -> None:
    """A cluster that is attached later must be brought into the same keyspace."""
    assert classify(text) == Statement(USE, keyspace, use_keyspace=keyspace)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CALL InsightsRpc.reportInsight(?)", True),
        ("call insightsrpc . reportInsight('{}')", True),
        ("CALL other.InsightsRpc(?)", False),
        ("CALL InsightsRpcs.x()", False),
        ("CALL", False),
    ],
)
def test_a_call_of_insights_is_told_from_other_calls(text: str, expected: bool) -> None:
    """The proxy answers it itself; no other call may be swallowed (FIX-14)."""
    assert classify(text) == Statement(CALL, calls_insights=expected)


@given(mutated() | jumbled())
def test_the_short_way_and_the_way_by_tokens_agree(text: str) -> None:
    """The short way is there for speed only. A difference would route by how a text is laid out."""
    assert classify(text) == parse(text)


@given(any_text())
def test_any_text_has_a_kind(text: str) -> None:
    """The text comes from the network: an error raised here would end a session for a typing mistake."""
    statement = classify(text)
    assert isinstance(statement.kind, StatementKind)
    assert statement.table is None or statement.kind in (SELECT, INSERT, UPDATE, DELETE, TRUNCATE)
    assert statement.is_conditional == (statement.write_type == "CAS")


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_kept_answer_is_the_same_as_the_first(text: str) -> None:
    """And texts too long to be kept have an answer too."""
    assert classify(text) is classify("".join(list(text)))
    assert classify(text + " " * 5000) == classify(text)


def test_no_more_than_a_bounded_number_of_answers_is_kept() -> None:
    """Applications that write values into the text never send the same text twice."""
    first = classify("SELECT first FROM t")
    for number in range(4096):
        classify(f"SELECT a{number} FROM t")
    assert classify("SELECT first FROM t") is not first
    long_text = "SELECT a FROM t" + " " * 4096
    assert classify(long_text) is not classify(long_text)


@pytest.mark.parametrize(
    "start",
    ["SELECT ", "SELECT * FROM t ", "INSERT INTO t ", "UPDATE ", "DELETE FROM t WHERE if", "BEGIN BATCH ", "USE "],
)
@pytest.mark.parametrize("piece", ["(", "()", "''", '"', "/**/", "a,", "from", " ", "if", "\ud800"])
def test_long_texts_are_classified_in_linear_time(start: str, piece: str) -> None:
    """Quadratic time would take minutes and meet the test's time limit: one request must not stop all others."""
    assert classify(start + piece * (200_000 // len(piece))).kind is classify(start).kind
