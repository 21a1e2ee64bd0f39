"""How an HTTP answer is put together: code, type, length, and the two forms that are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from twisted.web.iweb import IRequest

PLAIN_TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


def answer(request: IRequest, code: int, content_type: str, text: str) -> bytes:
    """Sets code and headers; what is returned is the body, which HEAD does not send."""
    body = text.encode()
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", content_type.encode())
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def error(request: IRequest, code: int, text: str) -> bytes:
    """A line of plain text, in the form that Go's library gives to errors."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return answer(request, code, PLAIN_TEXT, text)


def json_answer(request: IRequest, code: int, fields: Mapping[str, object]) -> bytes:
    """One object without white space, keys in the order given."""
    return answer(request, code, JSON, json.dumps(fields, separators=(",", ":")))


def wrong_verb(request: IRequest, allowed: str) -> bytes:
    """405; `allowed` is what the Allow header says."""
    request.setHeader(b"Allow", allowed.encode())
    return error(request, 405, "method not allowed\n")
