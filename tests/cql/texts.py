"""Texts for the tests of CQL: generated ones that look like statements, and ones that are broken statements."""

from __future__ import annotations

from hypothesis import strategies as st

STATEMENTS = [
    "SELECT * FROM ks.t",
    "SELECT a, b , c FROM t WHERE k = 'from x' LIMIT 10;",
    'select "A", from from "Ks" . "T"',
    "SELECT count(*), writetime(v) AS w FROM system.peers WHERE k IN (1, 2)",
    "INSERT INTO ks.t (k, v) VALUES ('a', 0xcafe) IF NOT EXISTS",
    "INSERT INTO t (k, v) VALUES ('what if', $$ if $$)",
    "insert into ks.t json '{\"if\": 1}'",
    "UPDATE ks.t USING TTL 10 SET v = v + {'a': now()} WHERE k = 1 IF v = 2",
    "UPDATE t SET v = ? WHERE k = 1IF EXISTS",
    "DELETE m['from'] FROM ks.t WHERE k = deadbeef-0000-1000-8000-00805f9b34fb",
    "DELETE FROM t WHERE k = :k -- if",
    "BEGIN BATCH INSERT INTO t (k) VALUES (1) IF NOT EXISTS; APPLY BATCH",
    "BEGIN UNLOGGED BATCH USING TIMESTAMP 1 UPDATE t SET v = 1 WHERE k = 1; APPLY BATCH;",
    "BEGIN COUNTER BATCH UPDATE t SET c = c + 1 WHERE k = 1; APPLY BATCH",
    "TRUNCATE TABLE ks.t",
    'USE "Ks"',
    "CALL InsightsRpc.reportInsight(?)",
    "CREATE TABLE IF NOT EXISTS ks.t (k int PRIMARY KEY)",
    "/* c */ SELECT/**/*//\nFROM--x\nks/**/./**/t",
]

PIECES = [
    *("SELECT", "FROM", "INSERT", "INTO", "UPDATE", "DELETE", "BEGIN", "BATCH", "UNLOGGED", "COUNTER", "TRUNCATE"),
    *("TABLE", "USE", "CALL", "if", "IF", "iF", "notif", "ifs", "from", "as", "count", "system", "t", "ks", "_", "K"),
    *(" ", "  ", "\t", "\n", "\r", "\x0b", "\u00a0", ".", ",", ";", "(", ")", "[", "]", "{", "}", "*", "=", "<=", "-"),
    *("'", "''", '"', '""', '"Q"', "$", "$$", "--", "//", "/*", "*/", "/", "?", "?1", ":", ":n", ':"n"', "0x", "0xab"),
    *("1", "1.5", "1e5", "1h30m", "1d", "..", "deadbeef-0000-1000-8000-00805f9b34fb", "deadbeef-0000", "\u00b5s"),
    *("\u00e9", "\u017f", "\u212a", "\ud800", "\x00", "\U0001f600"),
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a statement with some stretches of it replaced by pieces of others."""
    text = draw(st.sampled_from(STATEMENTS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 3))
        text = text[:start] + draw(st.sampled_from(["", *PIECES])) + text[start + length :]
    return text


def jumbled() -> st.SearchStrategy[str]:
    """Draw pieces of statements in any order."""
    return st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def any_text() -> st.SearchStrategy[str]:
    """Draw all of the above, and what has nothing to do with CQL, lone surrogates included."""
    anything = st.text(st.characters(exclude_categories=()))
    return st.one_of(mutated(), jumbled(), anything)
