"""The target's switch over HTTP: `/api/v1/target` and what enables and disables it (neighbours, section A.1).

Codes, texts and the first two keys are the reference's; the other keys, the access rule and 202 are ours. What the
switch does is the `Switch`'s. A change that was begun goes on when its caller hangs up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from zdm.admin.access import Access
from zdm.admin.answers import json_answer, wrong_verb
from zdm.admin.change import BODY_LIMIT, Change, Unreadable, read_change
from zdm.admin.switch import Refused, Switch, TargetState, iso_time

_log = Logger()

NOT_READY: Final = "proxy not ready"
TOO_LARGE: Final = f"the body is larger than {BODY_LIMIT // 1024} KiB"
FROM_A_PAGE: Final = "changes are not taken from web pages: the request has an Origin or a Sec-Fetch-Site header"


class TargetApi:
    """Answers the three paths. `switch` is asked for at each request, since the proxy may have none yet."""

    def __init__(self, switch: Callable[[], Switch], access: Access) -> None:
        self._switch: Final = switch
        self._access: Final = access

    def status(self, request: IRequest) -> bytes:
        state = self._switch().state()
        if state is None or not state.is_ready:
            return _told(request, 503, state, NOT_READY)
        if request.method not in (b"GET", b"HEAD"):
            return wrong_verb(request, "GET, HEAD")
        return _told(request, 200, state)

    async def change(self, request: IRequest, enabled: bool) -> bytes:
        """Answered when all workers have the change."""
        switch = self._switch()
        state = switch.state()
        if request.method != b"POST":
            is_ready = state is not None and state.is_ready
            return wrong_verb(request, "POST") if is_ready else _told(request, 503, state, NOT_READY)
        refused = _page(request) or self._access.refusal(_header(request, b"Authorization"))
        if refused is not None:
            return _told(request, 403, state, refused)
        body = request.content.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            return _told(request, 413, state, TOO_LARGE)
        try:
            asked = read_change(request.uri.partition(b"?")[2], _header(request, b"Content-Type") or b"", body)
        except Unreadable as unreadable:
            return _told(request, 400, state, str(unreadable))
        return await self._changed(request, switch, state, enabled, asked)

    async def _changed(
        self, request: IRequest, switch: Switch, state: TargetState | None, enabled: bool, asked: Change
    ) -> bytes:
        # disabling is the way out of a start that waits for a dead target, and enabling takes that back
        if state is None or (enabled and state.enabled and not state.is_ready):
            return _told(request, 503, state, NOT_READY)
        peer = _peer(request)
        switching = switch.switch(enabled, asked.reason, asked.actor or peer, peer, asked.force)
        try:
            message = await _whether_or_not_awaited(switching)
        except Refused as refused:
            return _told(request, 409, switch.state(), str(refused))
        now = switch.state()
        if now is None:
            return _told(request, 503, now, NOT_READY)
        return _told(request, 200 if state.is_ready else 202, now, message)


def _told(request: IRequest, code: int, state: TargetState | None, message: str = "") -> bytes:
    """The one form of all JSON answers. Nothing is claimed of a proxy that is shutting down."""
    told: dict[str, Any] = {"enabled": state and state.enabled}
    if message:
        told["message"] = message
    told["desired"] = state and ("ENABLED" if state.enabled else "DISABLED")
    told["effective"] = state and state.effective
    told["generation"] = state and state.generation
    told["since"] = None if state is None or state.since is None else iso_time(state.since)
    for name in ("reason", "actor", "attaching", "stored"):
        told[name] = state and getattr(state, name)
    return json_answer(request, code, told)


def _page(request: IRequest) -> str | None:
    """Browsers send these where a page makes the request; a page of any site can reach a loopback address."""
    from_where = _header(request, b"Sec-Fetch-Site")
    if _header(request, b"Origin") is None and from_where in (None, b"none"):
        return None
    return FROM_A_PAGE


def _header(request: IRequest, name: bytes) -> bytes | None:
    values = request.requestHeaders.getRawHeaders(name)
    return values[0] if values else None


def _peer(request: IRequest) -> str:
    address: Any = request.getClientAddress()
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return "unknown"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _whether_or_not_awaited(running: Deferred[str]) -> Deferred[str]:
    """Klein cancels what it waits for when the client hangs up; half a change would be worse than one unheard of."""
    waiting: Deferred[str] = Deferred()

    def over(result: str | Failure) -> None:
        if not waiting.called:
            waiting.callback(result)
        elif isinstance(result, Failure) and not result.check(Refused):
            _log.failure("The target could not be switched, and whoever asked is gone", result)

    running.addBoth(over)
    return waiting
