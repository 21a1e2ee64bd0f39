"""A proxy's API as far as the command line asks it, in a state of the test's choice; and what a command came to."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ADDRESS = "127.0.43.1"
PATH = "/api/v1/target"


class Sent(NamedTuple):
    """One request, as a proxy got it."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    authorization: str | None


class Proxy:
    """A proxy's API, in a state of the test's choice; `page` takes the place of every answer."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {
            "enabled": True,
            "desired": "ENABLED",
            "effective": "DUAL",
            "generation": 1,
            "since": None,
            "reason": "",
            "actor": "",
            "attaching": 0,
        }
        self.is_ready = True
        self.refusal = ""
        self.token = ""
        self.attaching = 0
        self.page: tuple[int, str, str] | None = None
        self.requests: list[Sent] = []
        self.asked = threading.Event()
        self.silence: threading.Event | None = None  # no answer until it is set
        self.url = ""
        self.wrong_token = "changes need a token"

    def answer(self, sent: Sent) -> tuple[int, str, str]:
        self.asked.set()
        if self.silence is not None:
            self.silence.wait(30)
        if self.page is not None:
            return self.page
        action = sent.path.removeprefix(PATH).strip("/")
        if sent.method == "POST" and self.token and sent.authorization != f"Bearer {self.token}":
            return 403, "text/plain", self.wrong_token
        if sent.method == "POST" and self.refusal and "force" not in sent.query:
            return self._json(409, message=self.refusal)
        if not self.is_ready and action != "disable":
            return 503, "application/json", '{"enabled":true,"message":"proxy not ready"}'
        if sent.method == "POST":
            self._switch(action == "enable", sent)
            return self._json(200 if self.is_ready else 202, message=f"Target {action}d")
        return self._json(200)

    def _switch(self, enabled: bool, sent: Sent) -> None:
        self.state |= {
            "enabled": enabled,
            "desired": "ENABLED" if enabled else "DISABLED",
            "effective": "ORIGIN_ONLY" if not enabled else "ATTACHING" if self.attaching else "DUAL",
            "attaching": self.attaching if enabled else 0,
            "generation": self.state["generation"] + 1,
            "since": 1790000000.5,
            "reason": sent.query.get("reason", [""])[0],
            "actor": sent.query.get("actor", [""])[0],
        }

    def _json(self, status: int, **more: Any) -> tuple[int, str, str]:
        return status, "application/json", json.dumps(self.state | more)


def serve(server: socketserver.BaseServer) -> None:
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def rows(self) -> list[dict[str, str]]:
        head, *lines = (line.split("  ") for line in self.out.splitlines())
        names = [name.strip() for name in head if name.strip()]
        return [dict(zip(names, (text.strip() for text in line if text.strip()), strict=True)) for line in lines]


Command = Callable[..., Done]
Start = Callable[[], Proxy]
