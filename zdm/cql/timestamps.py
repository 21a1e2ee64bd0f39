"""Whether a write may be given a timestamp that its sender left out.

Not where the statement has its own (USING TIMESTAMP), nor where Cassandra keeps the time itself: conditional writes
and counters. An UPDATE of a counter can be told by its text where a number is added: only counters have that. Where
a variable is added it might as well be a list's, a set's or a map's; a prepared statement knows the variable's type.
"""

from __future__ import annotations

import re
from typing import Final

from zdm.cql.lexer import TokenKind, outside_brackets, scan
from zdm.cql.statement import Statement, StatementKind

_MODIFICATIONS: Final = (StatementKind.INSERT, StatementKind.UPDATE, StatementKind.DELETE)
_ATTRIBUTES: Final = ("ttl", "timeout", "and")
_TIMESTAMP: Final = re.compile("timestamp", re.ASCII | re.IGNORECASE)
_BATCH_WORDS: Final = ("begin", "unlogged", "batch", "using")


def takes_timestamp(text: str, statement: Statement) -> bool:
    """`statement` is what `classify` says of `text`. Never raises."""
    if statement.is_conditional or statement.is_counter_batch:
        return False
    if statement.kind is StatementKind.BATCH:
        # Of the statements within, those that have a timestamp keep it.
        return not _is_timed(text, begins_batch=True)
    if statement.kind not in _MODIFICATIONS or _is_timed(text, begins_batch=False):
        return False
    return statement.kind is not StatementKind.UPDATE or not adds_number(text)


def adds_number(text: str) -> bool:
    """`c = c + 1` or `c += 1` is in the text, outside brackets."""
    if "+" not in text and "-" not in text:
        return False
    outer = [(kind, text[start:end]) for kind, start, end in outside_brackets(text, scan(text))]
    return any(_is_sum(outer, index) for index in range(len(outer)))


def _is_sum(tokens: list[tuple[TokenKind, str]], index: int) -> bool:
    """The token at `index` is a sign, with a number behind it and the column that it is added to before."""
    if tokens[index][1] not in ("+", "-") or index < 3:
        return False
    after = [text for _, text in tokens[index + 1 : index + 3]]
    if after[:1] == ["="]:
        return _is_number(tokens, index + 2)
    column, equals, again = (text for _, text in tokens[index - 3 : index])
    return equals == "=" and column.lower() == again.lower() and _is_number(tokens, index + 1)


def _is_number(tokens: list[tuple[TokenKind, str]], index: int) -> bool:
    if index < len(tokens) and tokens[index][1] == "-":
        index += 1
    return index < len(tokens) and tokens[index][0] is TokenKind.NUMBER


def _is_timed(text: str, begins_batch: bool) -> bool:
    """USING TIMESTAMP is in the text outside brackets; of a batch, directly behind its first words."""
    if _TIMESTAMP.search(text) is None:
        return False  # most texts need not be taken apart
    is_using = False
    for kind, start, end in outside_brackets(text, scan(text)):
        word = text[start:end].lower() if kind is TokenKind.IDENTIFIER else ""
        if is_using and word == "timestamp":
            return True
        if is_using and kind is TokenKind.IDENTIFIER and word not in _ATTRIBUTES:
            return False
        if begins_batch and not is_using and word not in _BATCH_WORDS:
            return False
        is_using = is_using or word == "using"
    return False
