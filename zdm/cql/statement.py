"""What kind of statement a text is, and which table it names: all that routing asks of CQL text.

The first keyword after comments decides the kind (FIX-15); the rest of the statement need not be understood. What
begins with anything but a keyword (an opening bracket, `;`, a string, nothing at all) is OTHER, which goes to both
clusters: each refuses it as it would have done without a proxy.

There are two ways to the same answer. `parse` walks the tokens. `classify` remembers recent texts and knows the usual
shapes by a regular expression, and leaves everything else to `parse`; a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from zdm.cql.lexer import TokenKind, outside_brackets, scan, token_value


class StatementKind(Enum):
    """The first keyword of a statement, as far as routing tells keywords apart."""

    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    BATCH = "BATCH"  # BEGIN [UNLOGGED | COUNTER] BATCH; BEGIN TRANSACTION is OTHER
    USE = "USE"
    CALL = "CALL"
    TRUNCATE = "TRUNCATE"
    SCHEMA = "SCHEMA"  # CREATE, ALTER, DROP: of anything, roles included
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a text says. Names are as Cassandra compares them: lower-cased, or exact where they were quoted.

    `keyspace` is None where the table is not qualified, `table` where none was found (always for BATCH, CALL, SCHEMA,
    OTHER). For USE, `keyspace` and `use_keyspace` are the keyspace it names. `write_type` is the WriteType of an error
    that tells of this write; an UPDATE of a counter can't be told from any other by its text and says SIMPLE.
    """

    kind: StatementKind
    keyspace: str | None = None
    table: str | None = None
    is_conditional: bool = False  # a lightweight transaction: IF outside brackets
    is_counter_batch: bool = False
    write_type: str = "SIMPLE"  # or BATCH, UNLOGGED_BATCH, COUNTER, CAS
    calls_insights: bool = False  # CALL InsightsRpc.. (FIX-14)
    use_keyspace: str | None = None


_OTHER: Final = Statement(StatementKind.OTHER)
_SCHEMA: Final = Statement(StatementKind.SCHEMA)
_TABLE_WORDS: Final = ("table", "columnfamily")

_Position = tuple[TokenKind, int, int]
_Cursor = Iterator[_Position]


class _Name(NamedTuple):
    """A table as a statement names it, and the position where the rest of the statement begins."""

    keyspace: str | None
    table: str | None
    rest: int


def parse(text: str) -> Statement:
    """Classify `text` by its tokens, reading no further than the answer needs. Never raises."""
    cursor = scan(text)
    read = _READERS.get(_keyword(text, _next(text, cursor)))
    return _OTHER if read is None else read(text, cursor)


def _next(text: str, cursor: _Cursor) -> _Position:
    """Return the next token, at the end of the text an empty symbol."""
    return next(cursor, (TokenKind.SYMBOL, len(text), len(text)))


def _keyword(text: str, token: _Position) -> str:
    """Return an unquoted word in lower case, "" for any other token."""
    kind, start, end = token
    return text[start:end].lower() if kind is TokenKind.IDENTIFIER else ""


def _identifier(text: str, token: _Position) -> str | None:
    kind, start, end = token
    is_name = kind is TokenKind.IDENTIFIER or kind is TokenKind.QUOTED
    return token_value(kind, text[start:end]) if is_name else None


def _named(text: str, first: _Position, cursor: _Cursor) -> _Name:
    """Read `name` or `name . name` from the token `first` on; no names where not all of it is there."""
    name = _identifier(text, first)
    if name is None:
        return _Name(None, None, first[1])
    _, start, end = _next(text, cursor)
    if text[start:end] != ".":
        return _Name(None, name, start)
    token = _next(text, cursor)
    table = _identifier(text, token)
    return _Name(None, None, token[1]) if table is None else _Name(name, table, token[2])


def _outer_words(text: str, cursor: _Cursor) -> Iterator[str]:
    """Yield the unquoted words outside brackets, in lower case."""
    for kind, start, end in outside_brackets(text, cursor):
        if kind is TokenKind.IDENTIFIER:
            yield text[start:end].lower()


def _from_table(text: str, cursor: _Cursor) -> _Name:
    """Read the table after the first FROM outside brackets: UDT fields, casts and collections can't hide it."""
    if "from" in _outer_words(text, cursor):
        return _named(text, _next(text, cursor), cursor)
    return _Name(None, None, len(text))


def _write(kind: StatementKind, text: str, name: _Name) -> Statement:
    # IF is a reserved word: outside brackets and quotes it is always that of a lightweight transaction.
    if "if" in _outer_words(text, scan(text, name.rest)):
        return Statement(kind, name.keyspace, name.table, is_conditional=True, write_type="CAS")
    return Statement(kind, name.keyspace, name.table)


def _select(text: str, cursor: _Cursor) -> Statement:
    name = _from_table(text, cursor)
    return Statement(StatementKind.SELECT, name.keyspace, name.table)


def _insert(text: str, cursor: _Cursor) -> Statement:
    into = _next(text, cursor)
    if _keyword(text, into) != "into":
        return _write(StatementKind.INSERT, text, _Name(None, None, into[1]))
    return _write(StatementKind.INSERT, text, _named(text, _next(text, cursor), cursor))


def _update(text: str, cursor: _Cursor) -> Statement:
    return _write(StatementKind.UPDATE, text, _named(text, _next(text, cursor), cursor))


def _delete(text: str, cursor: _Cursor) -> Statement:
    return _write(StatementKind.DELETE, text, _from_table(text, cursor))


def _truncate(text: str, cursor: _Cursor) -> Statement:
    first = _next(text, cursor)
    if _keyword(text, first) in _TABLE_WORDS:
        first = _next(text, cursor)
    name = _named(text, first, cursor)
    return Statement(StatementKind.TRUNCATE, name.keyspace, name.table)


def _batch(text: str, cursor: _Cursor) -> Statement:
    word = _keyword(text, _next(text, cursor))
    write_type = _BATCH_TYPES.get(word)
    if write_type is None:
        return _OTHER
    if word != "batch" and _keyword(text, _next(text, cursor)) != "batch":
        return _OTHER
    if "if" in _outer_words(text, cursor):
        write_type = "CAS"
    return _batch_statement(word == "counter", write_type)


def _use(text: str, cursor: _Cursor) -> Statement:
    name = _identifier(text, _next(text, cursor))
    return Statement(StatementKind.USE, name, use_keyspace=name)


def _call(text: str, cursor: _Cursor) -> Statement:
    name = _identifier(text, _next(text, cursor)) or ""
    return Statement(StatementKind.CALL, calls_insights=name.lower() == "insightsrpc")


def _schema(text: str, cursor: _Cursor) -> Statement:
    return _SCHEMA


def _batch_statement(is_counter: bool, write_type: str) -> Statement:
    is_conditional = write_type == "CAS"
    return Statement(
        StatementKind.BATCH, is_conditional=is_conditional, is_counter_batch=is_counter, write_type=write_type
    )


_BATCH_TYPES: Final = {"batch": "BATCH", "unlogged": "UNLOGGED_BATCH", "counter": "COUNTER"}
_READERS: Final[dict[str, Callable[[str, _Cursor], Statement]]] = {
    "select": _select,
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "begin": _batch,
    "use": _use,
    "call": _call,
    "truncate": _truncate,
    "create": _schema,
    "alter": _schema,
    "drop": _schema,
}

# The shapes that drivers and people write, up to the table's name. What follows the name must not belong to it, to a
# comment (which may stand before a dot) or to a token that only began like a name: hence the two conditions at the end.
_SPACE: Final = r"[ \t\r\n]"
_NAME: Final = r'[A-Za-z_][A-Za-z0-9_]*|"[^"]*"'
_COLUMN: Final = r"(?!from(?![A-Za-z0-9_]))[A-Za-z_][A-Za-z0-9_]*"
_SHAPE: Final = re.compile(
    rf"{_SPACE}*(?=([IUDS]))(?:INSERT{_SPACE}+INTO|UPDATE|DELETE{_SPACE}+FROM"
    rf"|SELECT{_SPACE}+(?:\*|{_COLUMN}(?:{_SPACE}*,{_SPACE}*{_COLUMN}){{0,60}}){_SPACE}+FROM)"
    rf"{_SPACE}+({_NAME})(?:{_SPACE}*\.{_SPACE}*({_NAME}))?"
    rf"(?=[ \t\r\n;(]|\Z)(?!{_SPACE}*[./-])",
    re.ASCII | re.IGNORECASE,
)
_BATCH_SHAPE: Final = re.compile(
    rf"{_SPACE}*BEGIN{_SPACE}+(?:(UNLOGGED|COUNTER){_SPACE}+)?BATCH(?={_SPACE})", re.ASCII | re.IGNORECASE
)
_SHAPE_KINDS: Final = {
    "I": StatementKind.INSERT,
    "U": StatementKind.UPDATE,
    "D": StatementKind.DELETE,
    "S": StatementKind.SELECT,
}
# A word may begin right after a number, so only its end is certain.
_IF: Final = re.compile(r"[Ii][Ff](?![A-Za-z0-9_])")

_CACHED_STATEMENTS: Final = 4096
_CACHED_LENGTH: Final = 4096  # characters
_cached: Final[dict[str, Statement]] = {}


def classify(text: str) -> Statement:
    """Return what `text` says. Never raises; the answers for recent short texts are kept (bench/cql.py)."""
    statement = _cached.get(text)
    if statement is None:
        statement = _shaped(text) or parse(text)
        if len(text) <= _CACHED_LENGTH:
            if len(_cached) >= _CACHED_STATEMENTS:
                _cached.clear()
            _cached[text] = statement
    return statement


def _shaped(text: str) -> Statement | None:
    """Return what `parse` returns, for less; None where only the tokens can tell."""
    match = _SHAPE.match(text)
    if match is None:
        return _shaped_batch(text)
    verb, first, second = match.groups()
    kind = _SHAPE_KINDS[verb.upper()]
    if kind is not StatementKind.SELECT and _IF.search(text, match.end()):
        return None
    if second is None:
        return Statement(kind, None, _plain(first))
    return Statement(kind, _plain(first), _plain(second))


def _shaped_batch(text: str) -> Statement | None:
    match = _BATCH_SHAPE.match(text)
    if match is None or _IF.search(text, match.end()):
        return None
    word = (match[1] or "batch").lower()
    return _batch_statement(word == "counter", _BATCH_TYPES[word])


def _plain(name: str) -> str:
    return name[1:-1] if name[0] == '"' else name.lower()
