"""Who asks over HTTP, without sockets; and the proxy that is asked, in a state of the test's choice."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from zdm.admin.access import Access
from zdm.admin.app import AdminApp
from zdm.admin.health import Health
from zdm.admin.switch import Refused, TargetState

LOOPBACK = Access("127.0.0.1", "")
PEER = IPv4Address("TCP", "127.0.40.9", 50123)

READY = TargetState(True, True, "DUAL", 0, None, "", "", 0)
STARTING = READY._replace(is_ready=False)
DISABLED = TargetState(True, False, "ORIGIN_ONLY", 4, 1790000000.25, "it is sick", "ann", 0)


class FakeSwitch:
    """Does what it is told. With `hold`, the workers have the change only when the test fires it."""

    def __init__(self, state: TargetState | None = READY, refused: str | None = None) -> None:
        self.now = state
        self.refused = refused
        self.hold: Deferred[str] | None = None
        self.calls: list[tuple[bool, str, str, str]] = []

    def state(self) -> TargetState | None:
        return self.now

    def switch(self, enabled: bool, reason: str, actor: str, peer: str, force: bool = False) -> Deferred[str]:
        assert self.now is not None
        if self.refused is not None and self.now.enabled and not enabled and not force:
            return fail(Refused(self.refused))
        self.calls.append((enabled, reason, actor, peer))
        self.now = self.now._replace(
            enabled=enabled, effective="DUAL" if enabled else "ORIGIN_ONLY", reason=reason, actor=actor
        )
        return self.hold or succeed(f"Target {'enabled' if enabled else 'disabled'}")


class Proxy:
    """A proxy in a state of the test's choice."""

    def __init__(self, metrics: Any = None, health: Health | None = None, target: FakeSwitch | None = None) -> None:
        self.metrics = metrics
        self.state = health
        self.target = target or FakeSwitch()

    def metrics_text(self) -> Any:
        if isinstance(self.metrics, Exception):
            raise self.metrics
        return self.metrics

    def health(self) -> Health | None:
        return self.state


class Answer:
    """An HTTP answer, cut into its parts."""

    def __init__(self, written: bytes) -> None:
        head, _, self.body = written.partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        self.code = int(status.split(" ")[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}
        self.type = self.headers.get("content-type")

    def json(self) -> Any:
        assert self.type == "application/json"
        return json.loads(self.body)


class Call:
    """One request on its connection, answered or not."""

    def __init__(
        self,
        proxy: Proxy,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str | bytes] | None = None,
        access: Access = LOOPBACK,
        metrics_enabled: bool = True,
    ) -> None:
        site = Site(AdminApp(proxy, metrics_enabled, access).resource(), reactor=Clock(), parsePOSTFormSubmission=False)
        self.connection: Any = site.buildProtocol(PEER)
        self.transport = StringTransport(peerAddress=PEER)
        self.connection.makeConnection(self.transport)
        sent = {"Host": "proxy", **({"Content-Length": str(len(body))} if body else {}), **(headers or {})}
        lines = [f"{method} {path} HTTP/1.1".encode("latin-1")]
        lines += [
            name.encode() + b": " + (value if isinstance(value, bytes) else value.encode())
            for name, value in sent.items()
        ]
        self.connection.dataReceived(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    @property
    def is_answered(self) -> bool:
        return bool(self.transport.value())

    def answer(self) -> Answer:
        return Answer(self.transport.value())


def ask(proxy: Proxy, method: str, path: str, **more: Any) -> Answer:
    return Call(proxy, method, path, **more).answer()


def ask_switch(switch: FakeSwitch, method: str, path: str, **more: Any) -> Answer:
    return ask(Proxy(target=switch), method, path, **more)
