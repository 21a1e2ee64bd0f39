"""What is answered on the metrics address: `/metrics` and `/health/*` (behaviour spec 8.1).

Status codes, texts, types and the order of keys are the reference's, since probes, the vendor's automation and
dashboards depend on them. The app knows the proxy only as a `Proxied`; listening is `server.py`'s.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

from klein import Klein
from prometheus_client.process_collector import ProcessCollector
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from zdm.admin.health import ControlHealth, Health
from zdm.metrics import Family, Sample, render_families

_log = Logger()

PLAIN_TEXT: Final = "text/plain; charset=utf-8"
EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"

NOT_FOUND: Final = "404 page not found\n"
NOT_INITIALIZED: Final = "Proxy metrics haven't been initialized yet.\n"
METRICS_DISABLED: Final = "Metrics are disabled on this proxy instance.\n"
INTERNAL_ERROR: Final = "500 internal server error\n"


class Proxied(Protocol):
    """The proxy, as far as HTTP asks about it."""

    def metrics_text(self) -> str | None | Deferred[str | None]:
        """The proxy's families in the text form 0.0.4; None before it started and after it stopped."""

    def health(self) -> Health | None:
        """None before the proxy started and after it stopped."""


class AdminApp:
    """The routes; `resource()` is what a `twisted.web.server.Site` serves. Nothing is logged per request."""

    app = Klein()

    def __init__(self, proxied: Proxied, metrics_enabled: bool) -> None:
        self._proxied = proxied
        self._metrics_enabled = metrics_enabled
        self._process = ProcessCollector(registry=None)

    def resource(self) -> Any:
        return self.app.resource()

    @app.route("/metrics")
    async def metrics(self, request: IRequest) -> bytes:
        if not self._metrics_enabled:
            return _error(request, 404, METRICS_DISABLED)
        text = self._proxied.metrics_text()
        if isinstance(text, Deferred):
            text = await text
        if text is None:
            return _error(request, 503, NOT_INITIALIZED)
        return _answer(request, 200, EXPOSITION, render_families(self._process_families(), "process") + text)

    @app.route("/health/liveness")
    @app.route("/health/liveliness", endpoint="liveliness")
    def liveness(self, request: IRequest) -> bytes:
        return _answer(request, 200, PLAIN_TEXT, "OK")

    @app.route("/health/readiness")
    def readiness(self, request: IRequest) -> bytes:
        if request.method != b"GET":
            return _error(request, 404, NOT_FOUND)
        report = _report(self._proxied.health())
        text = json.dumps(report, separators=(",", ":"), ensure_ascii=False)
        return _answer(request, 200 if report["Status"] == "UP" else 503, "application/json", text)

    @app.handle_errors(HTTPException)
    def no_such_page(self, request: IRequest, failure: Failure) -> bytes:
        return _error(request, 404, NOT_FOUND)

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        _log.failure("Could not answer {method} {uri}", failure, method=_shown(request.method), uri=_shown(request.uri))
        return _error(request, 500, INTERNAL_ERROR)

    def _process_families(self) -> list[Family]:
        """Memory, descriptors and CPU time of this process, under the names that the reference's library gives them."""
        found = []
        for metric in self._process.collect():
            counter = "_total" if metric.type == "counter" else ""
            name = metric.name.removeprefix("process_") + counter
            samples = [Sample((), sample.value) for sample in metric.samples]
            found.append(Family(name, metric.type, metric.documentation, samples))
        return found


def _report(health: Health | None) -> dict[str, Any]:
    if health is None:
        return {"OriginStatus": None, "TargetStatus": None, "Status": "STARTUP"}
    are_up = health.origin.status == health.target.status == "UP"
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


def _error(request: IRequest, code: int, text: str) -> bytes:
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    return _answer(request, code, PLAIN_TEXT, text)


def _answer(request: IRequest, code: int, content_type: str, text: str) -> bytes:
    body = text.encode()
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", content_type.encode())
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def _shown(sent: bytes) -> str:
    return sent.decode("ascii", "backslashreplace")
