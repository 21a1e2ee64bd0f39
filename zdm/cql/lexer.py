"""Where the tokens of a CQL text begin and end.

The token shapes are those of Cassandra's own lexer, because a cut at another place could hide a keyword from us that
the cluster sees: `k=1IF EXISTS` is a conditional write there, since a number ends where its digits end. What that
lexer refuses (a stray character, a string without its end) is a token here too, so that every text has an answer.

Positions are characters, not bytes (FIX-23). White space is blank, tab, CR and LF only, as in Cassandra.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final


class TokenKind(Enum):
    """What a token is. Keywords are identifiers: only the place tells them apart."""

    IDENTIFIER = "identifier"
    QUOTED = "quoted"  # "Name", a doubled quote inside stands for one
    STRING = "string"  # '..' with '' for one quote, or $$..$$
    NUMBER = "number"  # integers, floats and durations (1h30m), without sign
    UUID = "uuid"
    BLOB = "blob"  # 0xcafe
    MARKER = "marker"  # ? or :name (?1 is let through, the cluster refuses it)
    SYMBOL = "symbol"  # an operator, a bracket, or any character that fits nowhere else


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` is as written, `start` and `end` are character offsets into the statement."""

    kind: TokenKind
    text: str
    start: int
    end: int

    @property
    def value(self) -> str:
        """What the token stands for: names as Cassandra compares them, strings without their quotes."""
        return token_value(self.kind, self.text)


# White space and one token, or one comment. The order of the alternatives matters: a UUID may look like a name or a
# number. A quoted text ends here at its first quote, `_past_doubled` goes on: repeating a group for each doubled quote
# would take some 150 bytes of memory a time.
_LEXEME: Final = re.compile(
    r"""
    [ \t\r\n]* (?:
        (?P<skipped> (?:--|//)[^\r\n]* | /\*.*?(?:\*/|\Z) | \Z )
      | (?P<uuid> [0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12} )
      | (?P<identifier> [A-Za-z_][A-Za-z0-9_]* )
      | (?P<blob> 0[xX][0-9A-Fa-f]* )
      | (?P<number> (?:[0-9]+(?:[mM][oO]|[mMuUnN\u00b5]?[sS]|[yYwWdDhHmM])){1,32}
                  | [0-9]+(?:\.(?!\.)[0-9]*)?(?:[eE][+-]?[0-9]+)? )
      | (?P<string> '[^']*'? | \$\$.*?(?:\$\$|\Z) )
      | (?P<quoted> "[^"]*"? )
      | (?P<marker> \?[0-9]* | :(?:[A-Za-z_][A-Za-z0-9_]*|"[^"]*"?) )
      | (?P<symbol> [<>!]= | . )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {kind.value: kind for kind in TokenKind}
_QUOTES: Final = "'\""
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"


def scan(text: str, position: int = 0) -> Iterator[tuple[TokenKind, int, int]]:
    """Yield kind, start and end of each token from `position` on, one at a time: a reader may stop early.

    A colon with a name behind it is a marker, except where it parts key and value of a `{..}` literal.
    """
    braces = _Braces() if "{" in text else None
    length = len(text)
    while position < length:
        match = _LEXEME.match(text, position)
        assert match is not None and match.lastgroup is not None, "the last alternative takes any character"
        position = match.end()
        kind = _KINDS.get(match.lastgroup)
        if kind is None:
            continue
        start = match.start(match.lastgroup)
        if text[position - 1] in _QUOTES:
            position = _past_doubled(text, position)
        if braces is not None:
            if kind is TokenKind.MARKER and text[start] == ":" and braces.end_a_key():
                kind, position = TokenKind.SYMBOL, start + 1
            braces.pass_token(kind, text[start:position])
        yield kind, start, position


def outside_brackets(text: str, tokens: Iterator[tuple[TokenKind, int, int]]) -> Iterator[tuple[TokenKind, int, int]]:
    """Yield those of `tokens` (of `scan`) outside brackets, brackets left out. One that closes nothing counts as none.

    It reads no further than it is asked, so `tokens` can be gone on with behind what was found.
    """
    depth = 0
    for kind, start, end in tokens:
        if kind is TokenKind.SYMBOL and text[start] in _OPENING:
            depth += 1
        elif kind is TokenKind.SYMBOL and text[start] in _CLOSING:
            depth = max(0, depth - 1)
        elif depth == 0:
            yield kind, start, end


def _past_doubled(text: str, end: int) -> int:
    """Return the end of a quoted text whose first quote after the opening one is before `end`."""
    quote = text[end - 1]
    while text.startswith(quote, end):
        closing = text.find(quote, end + 1)
        end = len(text) if closing < 0 else closing + 1
    return end


class _Braces:
    """Knows whether a colon stands between key and value: inside a `{..}`, behind a whole term.

    Lives as long as one scan.
    """

    __slots__ = ("_brackets", "_previous")

    def __init__(self) -> None:
        self._brackets: list[str] = []
        self._previous = ""

    def pass_token(self, kind: TokenKind, text: str) -> None:
        self._previous = text if kind is TokenKind.SYMBOL else ""
        if not self._previous:
            return
        if text in _OPENING:
            self._brackets.append(text)
        elif text in _CLOSING and self._brackets:
            self._brackets.pop()

    def end_a_key(self) -> bool:
        # A marker never follows a term, so behind one the colon belongs to the literal.
        return bool(self._brackets) and self._brackets[-1] == "{" and self._previous not in ("{", ",", ":")


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text` without comments and white space. Never raises.

    A string, quoted name or comment without its end goes up to the end of the text.
    """
    return [Token(kind, text[start:end], start, end) for kind, start, end in scan(text)]


def token_value(kind: TokenKind, text: str) -> str:
    """Return what a token of this kind and spelling stands for (see `Token.value`)."""
    if kind is TokenKind.IDENTIFIER:
        return text.lower()
    if kind is TokenKind.QUOTED:
        return _unquoted(text, '"')
    if kind is TokenKind.STRING:
        return _undollared(text) if text.startswith("$$") else _unquoted(text, "'")
    if kind is TokenKind.MARKER:
        name = text[1:]
        return _unquoted(name, '"') if name.startswith('"') else name.lower()
    return text


def _unquoted(text: str, quote: str) -> str:
    # Without an end the text may end in a doubled quote. The half of it that is left then still stands for one.
    return text[1:].removesuffix(quote).replace(quote * 2, quote)


def _undollared(text: str) -> str:
    is_closed = len(text) >= 4 and text.endswith("$$")
    return text[2 : -2 if is_closed else len(text)]
