"""The toggle as an operator uses it over HTTP: state, disable, enable, and waiting until all clients have followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import requests

from conformance.awaiting import await_true

PATH: Final = "/api/v1/target"
DISABLED_LINE: Final = "Target cluster DISABLED via API"
ENABLED_LINE: Final = "Target cluster ENABLED via API"


class Reply(NamedTuple):
    """An HTTP answer: ``body`` is the JSON object, or ``{}`` where there is none, ``text`` what was sent."""

    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    body: dict[str, Any]
    text: str


class Target:
    """``proxy.target``. ``disable`` and ``enable`` assert 200 and announce the WARN line that a change logs.

    ``ask`` asserts and announces nothing: for wrong verbs, refusals and tokens. All of them may be called at any time,
    from any thread; connections are not kept.
    """

    def __init__(self, url: Callable[[str], str], expect: Callable[..., None]) -> None:
        self._url = url
        self._expect = expect

    def ask(self, method: str, action: str = "", token: str | None = None, **options: Any) -> Reply:
        """One request to ``/api/v1/target[/ACTION]``; ``options`` are those of ``requests.request``, ``params`` say."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        url = self._url(f"{PATH}/{action}" if action else PATH)
        got = requests.request(method, url, headers=headers, timeout=options.pop("timeout", 20), **options)
        is_json = got.headers.get("content-type", "").startswith("application/json")
        return Reply(got.status_code, got.headers, got.json() if is_json else {}, got.text)

    def state(self) -> dict[str, Any]:
        """The fields of GET: ``enabled``, ``desired``, ``effective``, ``generation``, ``attaching`` and the others."""
        reply = self.ask("GET")
        assert reply.status == 200, reply
        return reply.body

    @property
    def is_enabled(self) -> bool:
        return self.state()["enabled"] is True

    @property
    def effective(self) -> str:
        """``DUAL``, ``ORIGIN_ONLY``, or ``ATTACHING`` while clients that it has still lack their target side."""
        return str(self.state()["effective"])

    def disable(self, reason: str = "", force: bool = False, token: str | None = None) -> dict[str, Any]:
        """Returns the body when nothing new goes to the target any more."""
        return self._switch("disable", DISABLED_LINE, reason, force, token)

    def enable(self, reason: str = "", force: bool = False, token: str | None = None) -> dict[str, Any]:
        """Returns the body; clients may still be attaching then, see ``await_dual``."""
        return self._switch("enable", ENABLED_LINE, reason, force, token)

    def await_dual(self, seconds: float = 30.0) -> None:
        """Returns when every client has its target side again."""
        await_true(lambda: self.effective == "DUAL", "every client has its target side", seconds)

    def _switch(self, action: str, line: str, reason: str, force: bool, token: str | None) -> dict[str, Any]:
        self._expect(re.escape(line))
        params = {name: text for name, text in (("reason", reason), ("force", "true" if force else "")) if text}
        reply = self.ask("POST", action, token, params=params)
        assert reply.status == 200, reply
        assert reply.body["enabled"] is (action == "enable"), reply
        return reply.body
