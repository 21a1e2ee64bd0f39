"""What `zdm-proxy target` prints: a table or JSON on stdout, words on stderr.

Texts of an answer were written by somebody else: nothing in them may steer the terminal, and nothing that a terminal
cannot show may end the program.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, TextIO

from zdm.target_command.calls import Answer

_COLUMNS: Final = ("desired", "effective", "attaching", "generation", "since", "reason", "actor")


def show(answers: Sequence[Answer], as_json: bool) -> None:
    """All answers on stdout; on stderr what went wrong, and what a proxy says of itself."""
    if as_json:
        say(sys.stdout, json.dumps([_json(answer) for answer in answers], indent=2))
    else:
        for line in _table(answers):
            say(sys.stdout, line)
    for answer in answers:
        message = answer.fields.get("message")
        if answer.trouble:
            say(sys.stderr, printable(f"{answer.instance.url}: {answer.trouble}"))
        elif not as_json and (answer.is_stored or message):
            say(sys.stderr, printable(f"{answer.instance.url}: {message or 'taken'}{_for_later(answer)}"))


def _for_later(answer: Answer) -> str:
    """What a change means for a start."""
    text = " (the proxy is not ready yet, and starts so)" * answer.is_stored
    if answer.fields.get("enabled") is False and answer.fields.get("stored", True) is None:
        text += "; no state file is configured there, so a restart enables it again"
    return text


def _json(answer: Answer) -> dict[str, object]:
    """The API's own fields, and what came of the call."""
    error = answer.trouble or None
    return {**answer.fields, "instance": answer.instance.url, "exit_code": answer.code, "error": error}


def _table(answers: Iterable[Answer]) -> list[str]:
    rows = [("INSTANCE", *(column.upper() for column in _COLUMNS))]
    rows += [(answer.instance.url, *(cell(column, answer) for column in _COLUMNS)) for answer in answers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def cell(column: str, answer: Answer) -> str:
    """A field as the table shows it; a dash where it is empty or not known."""
    value = answer.fields.get(column)
    if column == "desired" and not isinstance(value, str):
        flag = value if isinstance(value, bool) else answer.fields.get("enabled")
        value = {True: "ENABLED", False: "DISABLED"}.get(flag) if isinstance(flag, bool) else None
    if column == "since" and isinstance(value, int | float) and 0 <= value < 2**35 and math.isfinite(value):
        value = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "-" if value is None or value == "" else printable(str(value))


def printable(text: str) -> str:
    """What another operator wrote must not steer this one's terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def say(stream: TextIO, text: str) -> None:
    """Prints a text, what the stream's encoding lacks as escapes."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def missing(answer: Answer) -> str:
    """How much of attaching is left to do."""
    return f"{answer.fields.get('attaching', 'some')} clients without target"


def show_progress(waiting: Sequence[Answer], left: float, is_watched: bool) -> None:
    """One line, written over the last one where somebody watches a terminal. `left` is in seconds."""
    parts = "; ".join(f"{answer.instance.url} {answer.trouble or missing(answer)}" for answer in waiting)
    line = printable(f"attaching, {left:.0f} s left: {parts}")
    print(f"\r{line}\x1b[K" if is_watched else line, end="" if is_watched else "\n", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Clears the line that was written over."""
    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
