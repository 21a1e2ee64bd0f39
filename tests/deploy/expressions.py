"""Which series a PromQL expression asks for: as much of the language as dashboards and alerts here use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<text>"[^"]*"|'[^']*') | (?P<window>\[[^\]]*\]) | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*) | (?P<number>[0-9.]+)"""
    r"""| (?P<sign>[{}(),]|[=!]~|!=|==|>=|<=|[-+*/<>=])""",
    re.VERBOSE,
)
_WORDS = {"and", "or", "unless", "bool", "offset"}
_GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


class Selector(NamedTuple):
    """One selected metric: its name, and its matchers as (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


class Asked(NamedTuple):
    """What one expression asks for; `groupings` are the labels that it groups or joins by."""

    selectors: list[Selector]
    groupings: set[str]


def asked(expression: str) -> Asked:
    """Raises `ValueError` for what cannot be read."""
    tokens = list(_tokens(expression))
    found = Asked([], set())
    position = 0
    while position < len(tokens):
        kind, text = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        if kind != "name" or text in _WORDS:
            position += 1
        elif text in _GROUPINGS:
            end = tokens.index(("sign", ")"), position)
            found.groupings.update(label for kind, label in tokens[position + 2 : end] if kind == "name")
            position = end + 1
        elif following == "(" or following in _GROUPINGS:  # a function, or an aggregation
            position += 1
        elif following == "{":
            end = tokens.index(("sign", "}"), position)
            found.selectors.append(Selector(text, tuple(_matchers(tokens[position + 2 : end]))))
            position = end + 1
        else:
            found.selectors.append(Selector(text, ()))
            position += 1
    return found


def _matchers(tokens: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    words = [text for _, text in tokens if text != ","]
    for label, operator, value in zip(words[::3], words[1::3], words[2::3], strict=True):
        yield label, operator, value[1:-1]


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(expression):
        if expression[position].isspace():
            position += 1
            continue
        match = _TOKEN.match(expression, position)
        if match is None or match.lastgroup is None:
            raise ValueError(f"{expression[position:]!r} in {expression!r}")
        yield match.lastgroup, match[0]
        position = match.end()
