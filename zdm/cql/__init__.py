"""What the text of a CQL statement says, as far as a proxy must know it.

Ring 1: text in, small frozen values out. Everything here is total: no text, however broken, raises an error, and
the time taken is linear in its length. Whether a statement is valid is for the clusters to say.
"""

from __future__ import annotations

from zdm.cql.lexer import Token, TokenKind, tokens
from zdm.cql.selectors import Selector, SelectorKind, select_list
from zdm.cql.statement import Statement, StatementKind, classify

__all__ = [
    "Selector",
    "SelectorKind",
    "Statement",
    "StatementKind",
    "Token",
    "TokenKind",
    "classify",
    "select_list",
    "tokens",
]
