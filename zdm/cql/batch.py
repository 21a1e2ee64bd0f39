"""The statements inside a batch that is written as one text."""

from __future__ import annotations

from typing import Final

from zdm.cql.lexer import TokenKind, outside_brackets, scan
from zdm.cql.statement import Statement, parse

_WRITES: Final = ("insert", "update", "delete")


def batch_children(text: str) -> list[Statement]:
    """Each INSERT, UPDATE and DELETE of `text`, as far as they can be told. Never raises.

    The three words are reserved, so outside of brackets and quotes each begins a statement, semicolon or not.
    """
    starts = [
        start
        for kind, start, end in outside_brackets(text, scan(text))
        if kind is TokenKind.IDENTIFIER and text[start:end].lower() in _WRITES
    ]
    return [parse(text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=False)]
