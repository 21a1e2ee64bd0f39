"""What a SELECT asks for, in the few forms that the proxy answers itself for system.local and system.peers.

`*`, columns and `count(*)`, each column and count with an alias or without. Anything else (JSON, DISTINCT, functions,
casts, literals, elements and fields) has the answer None, and the caller lets a cluster answer (FIX-16).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from zdm.cql.lexer import Token, TokenKind, scan

# Cassandra's reserved words, and its literals that look like names. None is a column unless it is quoted.
_RESERVED: Final = frozenset(
    """
    add allow alter and apply asc authorize batch begin by columnfamily create default delete desc describe drop
    entries execute from full grant if in index infinity insert into is keyspace limit materialized mbean mbeans
    modify nan norecursive not null of on or order primary rename replace revoke schema select set table to token
    truncate unlogged unset update use using view where with true false
    """.split()
)


class SelectorKind(Enum):
    """The supported forms of a selector."""

    ALL = "*"
    COLUMN = "column"
    COUNT = "count(*)"


@dataclass(frozen=True, slots=True)
class Selector:
    """One thing selected.

    `name` is the column as Cassandra compares it, `*` for all, and for a count the word as it was typed.
    """

    kind: SelectorKind
    name: str
    alias: str | None = None

    @property
    def result_name(self) -> str:
        """What the column is called in the rows."""
        return self.name if self.alias is None else self.alias


def select_list(text: str) -> list[Selector] | None:
    """Return the selectors of a SELECT in order, None for any other text or list. `*` is always alone. Never raises."""
    items = _items(text)
    if [[token.text for token in item] for item in items] == [["*"]]:
        return [Selector(SelectorKind.ALL, "*")]
    selectors = []
    for item in items:
        selector = _selector(item)
        if selector is None:
            return None
        selectors.append(selector)
    return selectors or None


def _items(text: str) -> list[list[Token]]:
    """Return the tokens between SELECT and FROM, parted at the commas; nothing where the text has no such list."""
    found = (Token(kind, text[start:end], start, end) for kind, start, end in scan(text))
    first = next(found, None)
    if first is None or not _is_word(first, "select"):
        return []
    items: list[list[Token]] = [[]]
    for token in found:
        if _is_word(token, "from"):
            return items
        if token.text == ",":
            items.append([])
        else:
            items[-1].append(token)
    return []


def _selector(item: list[Token]) -> Selector | None:
    """Read `column [AS alias]` or `count ( * ) [AS alias]`."""
    if [token.text for token in item[1:4]] == ["(", "*", ")"]:
        if not _is_word(item[0], "count"):
            return None
        kind, name, rest = SelectorKind.COUNT, item[0].text, item[4:]
    elif item and _is_name(item[0]):
        kind, name, rest = SelectorKind.COLUMN, item[0].value, item[1:]
    else:
        return None
    if not rest:
        return Selector(kind, name)
    if len(rest) == 2 and _is_word(rest[0], "as") and _is_name(rest[1]):
        return Selector(kind, name, rest[1].value)
    return None


def _is_word(token: Token, word: str) -> bool:
    return token.kind is TokenKind.IDENTIFIER and token.text.lower() == word


def _is_name(token: Token) -> bool:
    if token.kind is TokenKind.IDENTIFIER:
        return token.text.lower() not in _RESERVED
    return token.kind is TokenKind.QUOTED and token.value != ""
