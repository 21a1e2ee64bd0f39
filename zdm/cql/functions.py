"""Calls whose result is each cluster's own, and texts that have a value or a variable in their place (section 6.4).

A call counts where a cluster would take it for one of its own functions: `now()`, `NOW ( )`, `"now"()`, `system.now()`,
but neither `ks.now()` nor `"Now"()`, and nothing within strings and comments. Where it stands decides what can take its
place:

| place | value | variable |
|---|---|---|
| a term: in VALUES, SET, WHERE, IF, an index, a tuple, a field of a UDT | the value | `?` or `:zdm__now` |
| an argument of a function, or beside an operator | the value with its type, `(timeuuid)...` | the same |
| an element of a list, set or map literal | the value | none: Cassandra takes no variable there; the call stays |

A text in which `?` stands for a call has a comment behind it. Without it, it might be the text of another statement,
with which it would share the prepared id.

Positions are characters, and texts are cut as texts: bytes come in only where a frame is written (FIX-23).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from zdm.cql.lexer import TokenKind, scan, token_value
from zdm.cql.statement import StatementKind, classify

_SPELLINGS: Final = {
    "now": "now",
    "currenttimeuuid": "currenttimeuuid",
    "current_timeuuid": "currenttimeuuid",
    "uuid": "uuid",
    "currenttimestamp": "currenttimestamp",
    "current_timestamp": "currenttimestamp",
    "currentdate": "currentdate",
    "current_date": "currentdate",
    "currenttime": "currenttime",
    "current_time": "currenttime",
}
"""Cassandra 5 has names with an underscore beside the old ones."""

RESULT_TYPES: Final = {
    "now": "timeuuid",
    "currenttimeuuid": "timeuuid",
    "uuid": "uuid",
    "currenttimestamp": "timestamp",
    "currentdate": "date",
    "currenttime": "time",
}

# Where nothing like this is, there is no call. White space or a comment may stand before the bracket.
_POSSIBLE: Final = re.compile(
    r'(?:now|uuid|current_?(?:time(?:stamp|uuid)?|date))"?[ \t\r\n]*[(/-]', re.ASCII | re.IGNORECASE
)
WRITES: Final = (StatementKind.INSERT, StatementKind.UPDATE, StatementKind.DELETE, StatementKind.BATCH)
_SYSTEM: Final = "system"
_MARKER_PREFIX: Final = ":zdm__"
_WORD: Final = re.compile(r"[A-Za-z0-9_]", re.ASCII)

# Words before a bracket that is not that of a call, before one that is not an index, and constants that are no fields.
_BEFORE_TUPLE: Final = frozenset("values in and or where if not set is like contains key between".split())
_BEFORE_LIST: Final = frozenset(("in", "contains"))
_CONSTANTS: Final = frozenset(("true", "false", "null", "nan", "infinity"))
_OPERATORS: Final = frozenset("+-*/%")

_Token = tuple[TokenKind, int, int]

_TUPLE: Final = 0
_ARGUMENTS: Final = 1
_COLLECTION: Final = 2


class Call(NamedTuple):
    """One call, from `start` to `end` (character offsets). `function` is a key of `RESULT_TYPES`."""

    start: int
    end: int
    function: str
    needs_type: bool
    is_element: bool

    @property
    def type(self) -> str:
        """The type of what it returns."""
        return RESULT_TYPES[self.function]


class Variable(NamedTuple):
    """One bind variable, in the order of the text. `function` is empty where it is the client's own."""

    name: str
    function: str


class Marked(NamedTuple):
    """A statement with variables in place of calls, and all its variables."""

    text: str
    variables: tuple[Variable, ...]


def canonical(name: str) -> str | None:
    """The key of `RESULT_TYPES` that an operator means; None where there is no such function."""
    return _SPELLINGS.get(name.strip().removesuffix("()").lower())


def calls(text: str, wanted: frozenset[str]) -> list[Call]:
    """The calls of the functions `wanted` in a write. None in anything else. Never raises."""
    if _POSSIBLE.search(text) is None or classify(text).kind not in WRITES:
        return []
    return list(_calls(text, list(scan(text)), wanted))


def with_values(text: str, found: list[Call], literal: Callable[[Call], str]) -> str:
    """The text with the literal of a value in place of each of its calls."""
    return _replaced(
        text, [(call, f"({call.type}){literal(call)}" if call.needs_type else literal(call)) for call in found]
    )


def with_variables(text: str, found: list[Call]) -> Marked | None:
    """The text with a variable in place of each call that can have one; None where none can."""
    replaced = [call for call in found if not call.is_element]
    if not replaced:
        return None
    markers = [(start, text[start:end]) for kind, start, end in scan(text) if kind is TokenKind.MARKER]
    is_named = any(marker[0] == ":" for _, marker in markers)
    variables = [(start, Variable(_name(marker), "")) for start, marker in markers]
    variables += [
        (call.start, Variable(_MARKER_PREFIX[1:] + call.function if is_named else "", call.function))
        for call in replaced
    ]
    pieces = [(call, _marker(call, is_named)) for call in replaced]
    return Marked(_replaced(text, pieces), tuple(variable for _, variable in sorted(variables)))


def _name(marker: str) -> str:
    return token_value(TokenKind.MARKER, marker) if marker[0] == ":" else ""


def _marker(call: Call, is_named: bool) -> str:
    marker = _MARKER_PREFIX + call.function if is_named else f"?/*{call.function}()*/"
    return f"({call.type}){marker}" if call.needs_type else marker


def _replaced(text: str, pieces: list[tuple[Call, str]]) -> str:
    written: list[str] = []
    copied = 0
    for call, piece in pieces:
        written.append(text[copied : call.start])
        if _is_word(text, call.start - 1):
            written.append(" ")
        written.append(piece)
        if _is_word(text, call.end):
            written.append(" ")
        copied = call.end
    written.append(text[copied:])
    return "".join(written)


def _is_word(text: str, position: int) -> bool:
    return 0 <= position < len(text) and _WORD.match(text, position) is not None


def _calls(text: str, tokens: list[_Token], wanted: frozenset[str]) -> Iterator[Call]:
    brackets: list[int] = []
    for index, (kind, start, _) in enumerate(tokens):
        if kind is TokenKind.SYMBOL:
            if text[start] in "([{":
                brackets.append(_bracket(text, tokens, index))
            elif brackets and text[start] in ")]}":
                brackets.pop()
            continue
        function = _function(text, tokens, index)
        if function is None or function not in wanted:
            continue
        first = _first(text, tokens, index)
        if first < 0:
            continue
        last = index + 2
        needs_type = bool(brackets) and brackets[-1] == _ARGUMENTS
        if not needs_type and RESULT_TYPES[function] not in ("timeuuid", "uuid"):
            needs_type = _symbol(text, tokens, first - 1) in _OPERATORS or _symbol(text, tokens, last + 1) in _OPERATORS
        yield Call(tokens[first][1], tokens[last][2], function, needs_type, _COLLECTION in brackets)


def _function(text: str, tokens: list[_Token], index: int) -> str | None:
    """The function that the token at `index` is the name of, if an empty pair of brackets follows."""
    kind, start, end = tokens[index]
    if kind is not TokenKind.IDENTIFIER and kind is not TokenKind.QUOTED:
        return None
    if _symbol(text, tokens, index + 1) != "(" or _symbol(text, tokens, index + 2) != ")":
        return None
    return _SPELLINGS.get(token_value(kind, text[start:end]))


def _first(text: str, tokens: list[_Token], index: int) -> int:
    """The index of the token that the call begins with; negative where it is a function of another keyspace."""
    if _symbol(text, tokens, index - 1) != ".":
        return index
    if index < 2:
        return -1
    kind, start, end = tokens[index - 2]
    is_name = kind is TokenKind.IDENTIFIER or kind is TokenKind.QUOTED
    return index - 2 if is_name and token_value(kind, text[start:end]) == _SYSTEM else -1


def _symbol(text: str, tokens: list[_Token], index: int) -> str:
    """The symbol at `index`; empty where another token is, or none."""
    if not 0 <= index < len(tokens) or tokens[index][0] is not TokenKind.SYMBOL:
        return ""
    return text[tokens[index][1] : tokens[index][2]]


def _word(text: str, tokens: list[_Token], index: int) -> str:
    """The name at `index`, in lower case where it is a word, in quotes where it is quoted; empty where none is."""
    if not 0 <= index < len(tokens):
        return ""
    kind, start, end = tokens[index]
    if kind is TokenKind.IDENTIFIER:
        return text[start:end].lower()
    return text[start:end] if kind is TokenKind.QUOTED else ""


def _bracket(text: str, tokens: list[_Token], index: int) -> int:
    """What the bracket at `index` opens, as far as variables may stand in it."""
    opening = text[tokens[index][1]]
    before = _word(text, tokens, index - 1)
    if opening == "(":
        return _ARGUMENTS if before and before not in _BEFORE_TUPLE else _TUPLE
    if opening == "[":
        return _TUPLE if before and before not in _BEFORE_LIST else _COLLECTION
    field = _word(text, tokens, index + 1)
    is_udt = field != "" and field not in _CONSTANTS and _symbol(text, tokens, index + 2) == ":"
    return _TUPLE if is_udt else _COLLECTION
