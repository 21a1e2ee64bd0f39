"""CQL text into statements: SELECT, INSERT, UPDATE, DELETE, BATCH and the small ones; DDL is in `grammar_schema`.

What Cassandra's grammar has and the sandbox does not do (views, functions, roles, JSON, GROUP BY ...) is told apart
from text that is no CQL at all: the first becomes an `Unsupported` statement or INVALID, the second is SYNTAX_ERROR.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from zdm.sandbox import grammar_schema
from zdm.sandbox.failures import invalid
from zdm.sandbox.parser import Parser
from zdm.sandbox.statements import (
    Assignment,
    BatchText,
    CallTerm,
    Delete,
    Insert,
    ListTerm,
    Marker,
    Modification,
    Relation,
    Select,
    Selector,
    SetTerm,
    Statement,
    Term,
    Truncate,
    TupleTerm,
    Unsupported,
    Update,
    Use,
)

_COMPARISONS: Final = ("<=", ">=", "!=", "=", "<", ">")
_KNOWN: Final[OrderedDict[str, tuple[Statement, int]]] = OrderedDict()
_KNOWN_LIMIT: Final = 2000
_OTHER: Final = frozenset("grant revoke list call".split())


def parse(text: str) -> tuple[Statement, int]:
    """The statement and how many bind markers it has. Raises SYNTAX_ERROR, or INVALID for what is not done."""
    known = _KNOWN.get(text)
    if known is not None:
        _KNOWN.move_to_end(text)
        return known
    parser = Parser(text)
    statement = _statement(parser)
    if not isinstance(statement, Unsupported):
        parser.finish()
    _KNOWN[text] = (statement, parser.markers)
    if len(_KNOWN) > _KNOWN_LIMIT:
        _KNOWN.popitem(last=False)
    return statement, parser.markers


def _statement(parser: Parser) -> Statement:
    if parser.take_word("select"):
        return _select(parser)
    if parser.at_word("insert") or parser.at_word("update") or parser.at_word("delete"):
        return _modification(parser)
    if parser.take_word("begin"):
        return _batch(parser)
    if parser.take_word("use"):
        return Use(parser.name())
    if parser.take_word("truncate"):
        parser.take_word("table")
        return Truncate(parser.table_name())
    schema_statement = grammar_schema.statement(parser)
    if schema_statement is not None:
        return schema_statement
    token = parser.peek()
    if token is not None and token.value in _OTHER:
        following = parser.peek(1)
        return Unsupported(f"{token.value} {following.value if following else ''}".strip().upper())
    raise parser.fault()


def _select(parser: Parser) -> Select:
    if parser.take_word("json"):
        raise invalid("SELECT JSON is not supported by the sandbox")
    is_distinct = parser.take_word("distinct")
    selectors: tuple[Selector, ...] = ()
    if not parser.take_symbol("*"):
        selectors = parser.separated(lambda: _selector(parser))
    parser.expect_word("from")
    table = parser.table_name()
    where = _where(parser) if parser.take_word("where") else ()
    if parser.at_word("group", "by"):
        raise invalid("GROUP BY is not supported by the sandbox")
    order = parser.separated(lambda: _ordering(parser)) if parser.take_word("order", "by") else ()
    partition_limit = parser.term() if parser.take_word("per", "partition", "limit") else None
    limit = parser.term() if parser.take_word("limit") else None
    allows_filtering = parser.take_word("allow", "filtering")
    return Select(table, selectors, where, order, limit, partition_limit, is_distinct, allows_filtering)


def _selector(parser: Parser) -> Selector:
    start = parser.peek()
    term = parser.term()
    end = parser.peek(-1)
    if start is None or end is None:
        raise parser.fault()
    alias = parser.name() if parser.take_word("as") else None
    return Selector(term, alias, parser.text[start.start : end.end])


def _ordering(parser: Parser) -> tuple[str, bool]:
    column = parser.name()
    descends = parser.take_word("desc")
    if not descends:
        parser.take_word("asc")
    return column, descends


def _where(parser: Parser) -> tuple[Relation, ...]:
    relations = [_relation(parser)]
    while parser.take_word("and"):
        relations.append(_relation(parser))
    return tuple(relations)


def _relation(parser: Parser) -> Relation:
    if parser.take_word("token"):
        parser.expect_symbol("(")
        columns = parser.separated(parser.name, ")")
        return Relation(columns, _comparison(parser), parser.term(), is_token=True)
    if parser.take_symbol("("):
        columns = parser.separated(parser.name, ")")
        if parser.take_word("in"):
            return Relation(columns, "IN", _alternatives(parser), is_tuple=True)
        return Relation(columns, _comparison(parser), parser.term(), is_tuple=True)
    column = parser.name()
    if parser.take_word("in"):
        return Relation((column,), "IN", _alternatives(parser))
    if parser.take_word("contains"):
        operator = "CONTAINS KEY" if parser.take_word("key") else "CONTAINS"
        return Relation((column,), operator, parser.term())
    if parser.take_word("like"):
        raise invalid(f"LIKE restriction is only supported on properly indexed columns. {column} LIKE is not valid.")
    if parser.take_word("is"):
        raise invalid(f"Unsupported restriction: {column} IS NOT NULL")
    if parser.take_symbol("["):
        key = parser.term()
        parser.expect_symbol("]")
        return Relation((column,), _comparison(parser), parser.term(), key=key)
    return Relation((column,), _comparison(parser), parser.term())


def _comparison(parser: Parser) -> str:
    token = parser.next()
    if token.text not in _COMPARISONS:
        raise parser.fault(token)
    return token.text


def _alternatives(parser: Parser) -> Term:
    marker = parser.marker()
    if marker is not None:
        return marker
    parser.expect_symbol("(")
    return TupleTerm(parser.separated(parser.term, ")"))


def _modification(parser: Parser) -> Modification:
    if parser.take_word("insert"):
        return _insert(parser)
    if parser.take_word("update"):
        return _update(parser)
    if parser.take_word("delete"):
        return _delete(parser)
    raise parser.fault()


def _insert(parser: Parser) -> Insert:
    parser.expect_word("into")
    table = parser.table_name()
    if parser.take_word("json"):
        raise invalid("INSERT JSON is not supported by the sandbox")
    parser.expect_symbol("(")
    columns = parser.separated(parser.name, ")")
    parser.expect_word("values")
    parser.expect_symbol("(")
    values = parser.separated(parser.term, ")")
    if_not_exists = parser.take_word("if", "not", "exists")
    timestamp, ttl = _using(parser)
    return Insert(table, columns, values, if_not_exists, timestamp, ttl)


def _using(parser: Parser) -> tuple[Term | None, Term | None]:
    """Timestamp and TTL of USING, in either order."""
    timestamp: Term | None = None
    ttl: Term | None = None
    if parser.take_word("using"):
        while True:
            if parser.take_word("timestamp"):
                timestamp = parser.term()
            else:
                parser.expect_word("ttl")
                ttl = parser.term()
            if not parser.take_word("and"):
                break
    return timestamp, ttl


def _update(parser: Parser) -> Update:
    table = parser.table_name()
    timestamp, ttl = _using(parser)
    parser.expect_word("set")
    assignments = parser.separated(lambda: _assignment(parser))
    parser.expect_word("where")
    where = _where(parser)
    if_exists, conditions = _conditions(parser)
    return Update(table, assignments, where, conditions, if_exists, timestamp, ttl)


def _assignment(parser: Parser) -> Assignment:
    column = parser.name()
    if parser.take_symbol("["):
        key = parser.term()
        parser.expect_symbol("]")
        parser.expect_symbol("=")
        return Assignment(column, "[]", parser.term(), key)
    own, following = parser.peek(), parser.peek(1)
    if own is not None and own.text in ("+", "-") and following is not None and following.text == "=":
        parser.position += 2
        return Assignment(column, own.text, parser.term())
    parser.expect_symbol("=")
    own, following = parser.peek(), parser.peek(1)
    if own is not None and own.value == column and following is not None and following.text in ("+", "-"):
        parser.position += 2
        return Assignment(column, following.text, parser.term())
    value = parser.term()
    if isinstance(value, Marker | ListTerm | SetTerm | CallTerm) and parser.take_symbol("+"):
        if parser.name() != column:
            raise parser.fault(parser.peek(-1))
        return Assignment(column, "prepend", value)
    return Assignment(column, "=", value)


def _conditions(parser: Parser) -> tuple[bool, tuple[Relation, ...]]:
    if not parser.take_word("if"):
        return False, ()
    if parser.take_word("exists"):
        return True, ()
    return False, _where(parser)


def _delete(parser: Parser) -> Delete:
    columns: tuple[tuple[str, Term | None], ...] = ()
    if not parser.at_word("from"):
        columns = parser.separated(lambda: _deletion(parser))
    parser.expect_word("from")
    table = parser.table_name()
    timestamp, ttl = _using(parser)
    if ttl is not None:
        raise parser.fault()
    parser.expect_word("where")
    where = _where(parser)
    if_exists, conditions = _conditions(parser)
    return Delete(table, columns, where, conditions, if_exists, timestamp)


def _deletion(parser: Parser) -> tuple[str, Term | None]:
    column = parser.name()
    if not parser.take_symbol("["):
        return column, None
    key = parser.term()
    parser.expect_symbol("]")
    return column, key


def _batch(parser: Parser) -> BatchText:
    kind = 1 if parser.take_word("unlogged") else 2 if parser.take_word("counter") else 0
    parser.expect_word("batch")
    timestamp, ttl = _using(parser)
    if ttl is not None:
        raise invalid("Global TTL on the BATCH statement is not supported.")
    children = []
    while not parser.take_word("apply"):
        children.append(_modification(parser))
        parser.take_symbol(";")
    parser.expect_word("batch")
    return BatchText(kind, tuple(children), timestamp)
