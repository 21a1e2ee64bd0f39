"""A cursor over the tokens of one statement, and what every kind of statement shares: names, terms, types, options.

The statements themselves are read in `grammar` and `grammar_schema`. Every fault is a SYNTAX_ERROR worded as ANTLR
words it for Cassandra: line from 1, column from 0, and the token that did not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

from zdm.cql.lexer import Token, TokenKind, tokens
from zdm.sandbox.failures import Failure, syntax_error
from zdm.sandbox.statements import (
    CallTerm,
    ColumnTerm,
    FieldsTerm,
    FieldTerm,
    HintTerm,
    ListTerm,
    Literal,
    LiteralKind,
    MapTerm,
    Marker,
    Option,
    SetTerm,
    TableName,
    Term,
    TupleTerm,
    TypeName,
)

T = TypeVar("T")

RESERVED: Final = frozenset(
    "add allow alter and apply asc authorize batch begin by columnfamily create default delete desc describe drop "
    "entries execute from full grant if in index infinity insert into is keyspace limit materialized mbean mbeans "
    "modify nan norecursive not null of on or order primary rename replace revoke schema select set table to "
    "token truncate unlogged unset update use using view where with".split()
)
_INTEGER: Final = re.compile(r"-?\d+\Z")
_FLOAT: Final = re.compile(r"-?\d+(\.\d*)?([eE][+-]?\d+)?\Z")
_HEX: Final = re.compile(r"0[xX][0-9a-fA-F]*\Z")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_DURATION: Final = re.compile(r"-?(P[\dTYMWDHS:.-]+|(\d+(y|mo|w|d|h|ms|us|µs|ns|m|s))+)\Z", re.IGNORECASE)


class Parser:
    """Reads forward through one statement; `markers` counts the bind markers met so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.position = 0
        self.markers = 0

    def peek(self, ahead: int = 0) -> Token | None:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def fault(self, token: Token | None = None) -> Failure:
        """The SYNTAX_ERROR for a token that does not fit, by default the next one."""
        token = token or self.peek()
        if token is None:
            line = self.text.count("\n") + 1
            return syntax_error(
                f"line {line}:{len(self.text.rpartition(chr(10))[2])} no viable alternative at input '<EOF>'"
            )
        before = self.text[: token.start]
        column = len(before.rpartition("\n")[2])
        place = f"line {before.count(chr(10)) + 1}:{column}"
        around = self.text[max(0, token.start - 20) : token.start] + f"[{token.text}]"
        return syntax_error(f"{place} no viable alternative at input '{token.text}' ({around})")

    def at_word(self, *words: str) -> bool:
        """Whether the next tokens are these unquoted words (given in lower case)."""
        for ahead, word in enumerate(words):
            token = self.peek(ahead)
            if token is None or token.kind is not TokenKind.IDENTIFIER or token.value != word:
                return False
        return True

    def at_symbol(self, symbol: str) -> bool:
        token = self.peek()
        return token is not None and token.kind is TokenKind.SYMBOL and token.text == symbol

    def take_word(self, *words: str) -> bool:
        """Steps over these words if they come next."""
        if not self.at_word(*words):
            return False
        self.position += len(words)
        return True

    def take_symbol(self, symbol: str) -> bool:
        if not self.at_symbol(symbol):
            return False
        self.position += 1
        return True

    def expect_word(self, *words: str) -> None:
        for word in words:
            if not self.take_word(word):
                raise self.fault()

    def expect_symbol(self, symbol: str) -> None:
        if not self.take_symbol(symbol):
            raise self.fault()

    def next(self) -> Token:
        token = self.peek()
        if token is None:
            raise self.fault()
        self.position += 1
        return token

    def finish(self) -> None:
        self.take_symbol(";")
        if self.peek() is not None:
            raise self.fault()

    def separated(self, item: Callable[[], T], closing: str | None = None) -> tuple[T, ...]:
        """Items with commas between; with `closing`, up to and over that symbol, none allowed."""
        if closing is not None and self.take_symbol(closing):
            return ()
        items = [item()]
        while self.take_symbol(","):
            items.append(item())
        if closing is not None:
            self.expect_symbol(closing)
        return tuple(items)

    def name(self) -> str:
        """An identifier: unquoted and not reserved, or quoted."""
        token = self.peek()
        if token is None or token.kind not in (TokenKind.IDENTIFIER, TokenKind.QUOTED):
            raise self.fault()
        if token.kind is TokenKind.IDENTIFIER and token.value in RESERVED:
            raise self.fault()
        self.position += 1
        return token.value

    def table_name(self) -> TableName:
        first = self.name()
        return TableName(first, self.name()) if self.take_symbol(".") else TableName(None, first)

    def string(self) -> str:
        token = self.next()
        if token.kind is not TokenKind.STRING:
            raise self.fault(token)
        return token.value

    def marker(self) -> Marker | None:
        """A bind marker, if one comes next."""
        token = self.peek()
        if token is None or token.kind is not TokenKind.MARKER:
            return None
        self.position += 1
        self.markers += 1
        return Marker(self.markers - 1, token.value or None)

    def term(self) -> Term:
        """A value: constant, marker, collection, tuple, type hint, function call; a bare name is a ColumnTerm."""
        marker = self.marker()
        if marker is not None:
            return marker
        if self.take_symbol("["):
            return ListTerm(self.separated(self.term, "]"))
        if self.take_symbol("{"):
            return self._braces()
        if self.take_symbol("("):
            return self._parenthesis()
        literal = self.literal()
        return literal if literal is not None else self._named_term()

    def literal(self) -> Literal | None:
        """A constant, if one comes next."""
        token = self.peek()
        if token is None:
            raise self.fault()
        if token.kind is TokenKind.SYMBOL and token.text == "-":
            return self._negative()
        kind = _literal_kind(token)
        if kind is None:
            return None
        self.position += 1
        return Literal(kind, token.value if kind is LiteralKind.STRING else token.text)

    def _negative(self) -> Literal | None:
        following = self.peek(1)
        kind = _literal_kind(following) if following is not None else None
        if following is None or kind not in (LiteralKind.INTEGER, LiteralKind.FLOAT, LiteralKind.DURATION):
            raise self.fault()
        self.position += 2
        return Literal(kind, "-" + following.text)

    def _parenthesis(self) -> Term:
        """After `(`: a type hint such as `(int) ?`, or a tuple."""
        start = self.position
        try:
            type_name = self.type_name()
            self.expect_symbol(")")
            return HintTerm(type_name, self.term())
        except Failure:
            self.position = start
        return TupleTerm(self.separated(self.term, ")"))

    def _named_term(self) -> Term:
        if self.at_word("cast"):
            self.position += 1
            return self._cast()
        if self.take_word("token"):
            name = "token"
        else:
            name = self.name()
            if self.take_symbol("."):
                field_or_function = self.name()
                if not self.at_symbol("("):
                    return FieldTerm(name, field_or_function, None)
                name = f"{name}.{field_or_function}"
        if self.take_symbol("("):
            if self.take_symbol("*"):
                self.expect_symbol(")")
                return CallTerm(name, ())
            return CallTerm(name, self.separated(self.term, ")"))
        if self.take_symbol("["):
            key = self.term()
            self.expect_symbol("]")
            return FieldTerm(name, None, key)
        return ColumnTerm(name)

    def _cast(self) -> HintTerm:
        self.expect_symbol("(")
        term = self.term()
        self.expect_word("as")
        type_name = self.type_name()
        self.expect_symbol(")")
        return HintTerm(type_name, term, is_cast=True)

    def _braces(self) -> Term:
        """After `{`: a set, a map, or the fields of a user-defined type."""
        if self.take_symbol("}"):
            return SetTerm(())
        token, following = self.peek(), self.peek(1)
        if token is not None and token.kind in (TokenKind.IDENTIFIER, TokenKind.QUOTED):
            if following is not None and following.text == ":" and _literal_kind(token) is None:
                return FieldsTerm(self.separated(self._field, "}"))
        first = self.term()
        if not self.at_symbol(":"):
            rest = self.separated(self.term, None) if self.take_symbol(",") else ()
            self.expect_symbol("}")
            return SetTerm((first, *rest))
        pairs = [(first, self._after_colon())]
        while self.take_symbol(","):
            key = self.term()
            pairs.append((key, self._after_colon()))
        self.expect_symbol("}")
        return MapTerm(tuple(pairs))

    def _field(self) -> tuple[str, Term]:
        return self.name(), self._after_colon()

    def _after_colon(self) -> Term:
        self.expect_symbol(":")
        return self.term()

    def type_name(self) -> TypeName:
        token = self.peek()
        if token is not None and token.kind is TokenKind.STRING:
            self.position += 1
            return TypeName(token.value, is_custom=True)
        name = "set" if self.take_word("set") else self.name()
        if self.take_symbol("."):
            return TypeName(self.name(), keyspace=name)
        if not self.take_symbol("<"):
            return TypeName(name)
        return TypeName(name, self.separated(self.type_name, ">"))

    def options(self) -> dict[str, Option]:
        """`name = value AND ...`, the values as text, maps as dictionaries of text."""
        found: dict[str, Option] = {}
        while True:
            name = self.name()
            self.expect_symbol("=")
            found[name] = self.option()
            if not self.take_word("and"):
                return found

    def string_map(self) -> dict[str, str]:
        value = self.option()
        if not isinstance(value, dict):
            raise self.fault()
        return value

    def option(self) -> Option:
        if self.take_symbol("{"):
            found: dict[str, str] = {}
            while not self.take_symbol("}"):
                key = self.string()
                self.expect_symbol(":")
                found[key] = self._scalar()
                if not self.at_symbol("}"):
                    self.expect_symbol(",")
            return found
        return self._scalar()

    def _scalar(self) -> str:
        literal = self.literal()
        return literal.text if literal is not None else self.name()


def _literal_kind(token: Token) -> LiteralKind | None:
    """What constant this token is, if it is one; the lexer's NUMBER is three kinds here, and words may be constants."""
    if token.kind is TokenKind.STRING:
        return LiteralKind.STRING
    if token.kind in (TokenKind.QUOTED, TokenKind.SYMBOL, TokenKind.MARKER):
        return None
    text = token.text
    if text.lower() == "null":
        return LiteralKind.NULL
    if text.lower() in ("true", "false"):
        return LiteralKind.BOOLEAN
    if text.lower() in ("nan", "infinity"):
        return LiteralKind.FLOAT
    for kind, pattern in _PATTERNS:
        if pattern.match(text):
            return kind
    return None


_PATTERNS: Final = (
    (LiteralKind.INTEGER, _INTEGER),
    (LiteralKind.FLOAT, _FLOAT),
    (LiteralKind.HEX, _HEX),
    (LiteralKind.UUID, _UUID),
    (LiteralKind.DURATION, _DURATION),
)
