"""The routes of the metrics address: `/metrics`, `/health/*` and `/api/v1` (behaviour spec 8.1, neighbours A.1).

Status codes, texts, types and the order of keys are the reference's, since probes, the vendor's automation and
dashboards depend on them. The app knows the proxy only as a `Proxied`; listening is `server.py`'s, the switch of the
target `target.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from werkzeug.exceptions import HTTPException

from zdm.admin.access import Access
from zdm.admin.answers import JSON, PLAIN_TEXT, answer, error, json_answer, wrong_verb
from zdm.admin.health import ControlHealth, Health
from zdm.admin.openapi import DOCUMENT, calls
from zdm.admin.processes import process_families
from zdm.admin.switch import Switch
from zdm.admin.target import TargetApi
from zdm.exposition import render_families

_log = Logger()

EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"

NOT_FOUND: Final = "404 page not found\n"
NOT_INITIALIZED: Final = "Proxy metrics haven't been initialized yet.\n"
METRICS_DISABLED: Final = "Metrics are disabled on this proxy instance.\n"
INTERNAL_ERROR: Final = "500 internal server error\n"

_LOOPBACK: Final = Access("localhost", "")


class Proxied(Protocol):
    """The proxy, as far as HTTP asks about it."""

    def metrics_text(self) -> str | None | Deferred[str | None]:
        """The proxy's families in the text form 0.0.4; None before it started and after it stopped."""

    def health(self) -> Health | None:
        """None before the proxy started and after it stopped."""

    @property
    def target(self) -> Switch:
        """Answers before the proxy started, too."""


class AdminApp:
    """The routes; `resource()` is what a `twisted.web.server.Site` serves. Nothing is logged per request."""

    app = Klein()

    def __init__(
        self,
        proxied: Proxied,
        metrics_enabled: bool,
        access: Access = _LOOPBACK,
        children: Callable[[], Iterable[int]] = lambda: (),
    ) -> None:
        """`access` decides who may change anything; reading is open to all. `children` are the worker processes."""
        self._proxied = proxied
        self._metrics_enabled = metrics_enabled
        self._target = TargetApi(lambda: proxied.target, access)
        self._children = children

    def resource(self) -> Any:
        return _Entrance(self.app.resource())

    @app.route("/metrics")
    async def metrics(self, request: IRequest) -> bytes:
        if not self._metrics_enabled:
            return error(request, 404, METRICS_DISABLED)
        text = self._proxied.metrics_text()
        if isinstance(text, Deferred):
            text = await text
        if text is None:
            return error(request, 503, NOT_INITIALIZED)
        return answer(request, 200, EXPOSITION, render_families(process_families(self._children), "process") + text)

    @app.route("/health/liveness")
    @app.route("/health/liveliness", endpoint="liveliness")
    def liveness(self, request: IRequest) -> bytes:
        return answer(request, 200, PLAIN_TEXT, "OK")

    @app.route("/health/readiness")
    def readiness(self, request: IRequest) -> bytes:
        if request.method != b"GET":
            return error(request, 404, NOT_FOUND)
        report = _report(self._proxied.health())
        text = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
        return answer(request, 200 if report["Status"] == "UP" else 503, JSON, text)

    @app.route("/api/v1/target")
    def target(self, request: IRequest) -> bytes:
        return self._target.status(request)

    @app.route("/api/v1/target/enable")
    async def enable_target(self, request: IRequest) -> bytes:
        return await self._target.change(request, True)

    @app.route("/api/v1/target/disable")
    async def disable_target(self, request: IRequest) -> bytes:
        return await self._target.change(request, False)

    @app.route("/api/v1")
    def list_calls(self, request: IRequest) -> bytes:
        return _read_only(request, {"openapi": "/api/v1/openapi.json", "calls": calls()})

    @app.route("/api/v1/openapi.json")
    def openapi(self, request: IRequest) -> bytes:
        return _read_only(request, DOCUMENT)

    @app.handle_errors(HTTPException)
    def no_such_page(self, request: IRequest, failure: Failure) -> bytes:
        return error(request, 404, NOT_FOUND)

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        _log.failure("Could not answer {method} {uri}", failure, method=_shown(request.method), uri=_shown(request.uri))
        return error(request, 500, INTERNAL_ERROR)


class _Entrance(Resource):
    """Keeps from the routes what would make routing itself fail, with a traceback in the log for each request."""

    isLeaf = True

    def __init__(self, routes: Any) -> None:
        super().__init__()
        self._routes = routes

    def render(self, request: Any) -> Any:
        try:
            b"/".join(request.postpath).decode()
        except UnicodeDecodeError:
            return error(request, 404, NOT_FOUND)
        request.requestHeaders.setRawHeaders(b"Host", [b"localhost"])  # no route depends on it
        return self._routes.render(request)


def _read_only(request: IRequest, fields: dict[str, Any]) -> bytes:
    if request.method not in (b"GET", b"HEAD"):
        return wrong_verb(request, "GET, HEAD")
    return json_answer(request, 200, fields)


def _report(health: Health | None) -> dict[str, Any]:
    if health is None:
        return {"OriginStatus": None, "TargetStatus": None, "Status": "STARTUP"}
    needed = (health.origin, health.target) if health.target_required else (health.origin,)
    are_up = all(control.status == "UP" for control in needed)
    return {
        "OriginStatus": _control_report(health.origin),
        "TargetStatus": _control_report(health.target),
        "Status": "UP" if are_up else "DOWN",
    }


def _control_report(control: ControlHealth) -> dict[str, Any]:
    return {
        "Addr": "NOT_CONNECTED" if control.address is None else control.address,
        "CurrentFailureCount": control.failures,
        "FailureCountThreshold": control.threshold,
        "Status": control.status,
    }


def _shown(sent: bytes) -> str:
    return sent.decode("ascii", "backslashreplace")
