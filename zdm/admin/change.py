"""What a POST to the API asks for beside its path: a reason, an actor, and whether to force it.

All three may stand in the query, in a form or in a JSON object, each in one place only. Reason and actor go to the log
and to the audit file, so they are brought to one line: nobody can forge a line of either.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

BODY_LIMIT: Final = 64 * 1024
"""Bytes of a request's body; more is not kept."""

REASON_LIMIT: Final = 500
ACTOR_LIMIT: Final = 100
"""Characters, as sent."""

HIDDEN: Final = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069"
"""What terminals obey, and what turns the direction of a text; as a regular expression's class writes it."""

WHAT_TO_SEND: Final = (
    "send no body, or a form with reason=TEXT, actor=TEXT and force=true|false, "
    'or JSON such as {"reason": "TEXT", "actor": "TEXT", "force": true}'
)

_FIELDS_LIMIT: Final = 50
_hidden: Final = re.compile(rf"[{HIDDEN}\ud800-\udfff]")  # and what is no character at all


class Change(NamedTuple):
    """Empty where nothing was sent."""

    reason: str = ""
    actor: str = ""
    force: bool = False


class Unreadable(Exception):
    """The request cannot be understood; the text says what to send."""


class _Object(list[tuple[str, object]]):
    """A JSON object as its pairs, so that a key given twice is seen."""


def read_change(query: bytes, content_type: bytes, body: bytes) -> Change:
    """Query and body of a request as they were sent. Raises Unreadable."""
    found: dict[str, object] = {}
    for name, value in [*_form(query, "query"), *_body_fields(content_type, body)]:
        if name not in Change._fields:
            continue
        if name in found:
            raise Unreadable(f"{name} is given twice; {WHAT_TO_SEND}")
        found[name] = value
    return Change(
        _line("reason", found.get("reason", ""), REASON_LIMIT),
        _line("actor", found.get("actor", ""), ACTOR_LIMIT),
        _flag(found.get("force", False)),
    )


def _body_fields(content_type: bytes, body: bytes) -> list[tuple[str, object]]:
    if not body.strip():
        return []
    sent = content_type.partition(b";")[0].strip().lower()
    # curl calls whatever it sends a form
    if sent == b"application/json" or body.lstrip().startswith(b"{"):
        return _json_object(body)
    if sent == b"application/x-www-form-urlencoded":
        return _form(body.strip(), "body")
    raise Unreadable(f"the body is neither a form nor JSON; {WHAT_TO_SEND}")


def _form(text: bytes, where: str) -> list[tuple[str, object]]:
    try:
        pairs = parse_qsl(text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_LIMIT)
    except UnicodeDecodeError:
        raise Unreadable(f"the {where} is not UTF-8; {WHAT_TO_SEND}") from None
    except ValueError:
        raise Unreadable(f"the {where} has more than {_FIELDS_LIMIT} fields; {WHAT_TO_SEND}") from None
    return [(name, _flags.get(value, value) if name == "force" else value) for name, value in pairs]


_flags: Final[dict[str, object]] = {"true": True, "false": False}


def _json_object(body: bytes) -> _Object:
    try:
        found = json.loads(body.decode(), object_pairs_hook=_Object)
    except UnicodeDecodeError:
        raise Unreadable(f"the body is not UTF-8; {WHAT_TO_SEND}") from None
    except (ValueError, RecursionError):
        raise Unreadable(f"the body is not JSON; {WHAT_TO_SEND}") from None
    if not isinstance(found, _Object):
        raise Unreadable(f"the body is JSON, but not an object; {WHAT_TO_SEND}")
    return found


def _line(name: str, sent: object, limit: int) -> str:
    if not isinstance(sent, str):
        raise Unreadable(f"{name} must be text; {WHAT_TO_SEND}")
    if len(sent) > limit:
        raise Unreadable(f"{name} is longer than {limit} characters")
    if _hidden.search(sent):
        raise Unreadable(f"{name} has control characters; {WHAT_TO_SEND}")
    return " ".join(sent.split())  # every white space that there is, line breaks of all kinds among it


def _flag(sent: object) -> bool:
    if not isinstance(sent, bool):
        raise Unreadable(f"force must be true or false; {WHAT_TO_SEND}")
    return sent
