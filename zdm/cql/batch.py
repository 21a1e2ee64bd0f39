"""The statements inside a batch that is written as one text."""

from __future__ import annotations

from typing import Final

from zdm.cql.lexer import TokenKind, scan
from zdm.cql.statement import Statement, parse

_WRITES: Final = ("insert", "update", "delete")


def batch_children(text: str) -> list[Statement]:
    """Each INSERT, UPDATE and DELETE of `text`, as far as they can be told. Never raises.

    The three words are reserved, so outside of brackets and quotes each begins a statement, semicolon or not.
    """
    starts = []
    depth = 0
    for kind, start, end in scan(text):
        if kind is TokenKind.IDENTIFIER:
            if depth == 0 and text[start:end].lower() in _WRITES:
                starts.append(start)
        elif kind is TokenKind.SYMBOL:
            if text[start] in "([{":
                depth += 1
            elif depth and text[start] in ")]}":
                depth -= 1
    return [parse(text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=False)]
