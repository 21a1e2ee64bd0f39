"""One call of the target's API: which instance is asked, what is sent, and what its answer means to an operator.

Answers are judged here and nowhere else: status code and body become an exit code and a sentence that says what to do.
Whatever happens at the other end, a closed port, a page of some other program or silence, becomes an `Answer` too.

Redirects are not followed and proxies of the environment are not used: a call may carry the token, which is for the
instance alone.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

DONE: Final = 0
MISUSED: Final = 2
NOT_ENABLED: Final = 3
REFUSED: Final = 4
NO_ACCESS: Final = 5
UNREACHABLE: Final = 6
NOT_READY: Final = 7
NOT_IN_EFFECT: Final = 8

PATIENCE: Final = 10.0
"""Seconds for one instance to answer; all instances are asked at the same time."""

DEFAULT_PORT: Final = 14001

_PATH: Final = "/api/v1/target"
# what `effective` cannot be once the whole proxy has followed a change
_CONTRARY: Final = {"disable": ("DUAL", "ATTACHING"), "enable": ("ORIGIN_ONLY",)}
_MAX_BYTES: Final = 65536
_EXCERPT: Final = 300


class Instance(NamedTuple):
    """A proxy's HTTP server. `path` is what precedes the API's own paths, without a slash at its end."""

    is_tls: bool
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_tls else ''}://{host}:{self.port}{self.path}"


def parse_instance(text: str) -> Instance:
    """`http://host:port`, or `host` or `host:port` alone. ValueError: what is wrong, without what may be a password."""
    is_bare = "://" not in text
    try:
        parts = urlsplit(f"http://{text}" if is_bare else text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL ({error}); write http://HOST:PORT") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{parts.scheme}:// cannot be asked; write http://HOST:PORT")
    if parts.username is not None:
        raise ValueError("a URL with a user or password is not taken; the token goes into --token-file")
    if parts.query or parts.fragment:
        raise ValueError("not the address of a proxy: leave out what follows ? or #")
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("there is no host name in it; write http://HOST:PORT")
    if port is None:
        port = DEFAULT_PORT if is_bare else 443 if parts.scheme == "https" else 80
    return Instance(parts.scheme == "https", host, port, parts.path.rstrip("/").removesuffix(_PATH))


class Answer(NamedTuple):
    """What came of asking one instance.

    `fields` is the API's JSON object where that can be believed. `trouble` is empty where `code`, the exit code, is
    DONE or the instance only says that its target is disabled.
    """

    instance: Instance
    code: int
    fields: Mapping[str, object]
    trouble: str = ""
    is_stored: bool = False  # taken before the proxy was ready, and done when it is

    @property
    def is_dual(self) -> bool:
        """Every client has its target connection; an API that has no such field has no such state either."""
        enabled, effective = self.fields.get("enabled"), self.fields.get("effective", "DUAL")
        is_so = enabled is True and effective == "DUAL" and not self.fields.get("attaching")
        return self.code == DONE and is_so and not self.is_stored


@dataclass(frozen=True, slots=True)
class Call:
    """One request, the same for every instance: `action` is empty to ask for the state, else enable or disable."""

    action: str = ""
    query: tuple[tuple[str, str], ...] = ()
    token: str = ""
    patience: float = PATIENCE

    def ask_all(self, instances: Sequence[Instance]) -> list[Answer]:
        """The answers in the order of the instances, all of them within `patience` seconds, whatever a server does."""
        found: dict[Instance, Answer] = {}

        def ask(instance: Instance) -> None:
            found[instance] = self.ask(instance)

        # daemons: neither a name server that says nothing nor Ctrl-C waits for them
        threads = [threading.Thread(target=ask, args=(instance,), daemon=True) for instance in instances]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + self.patience
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        answers = dict(found)
        return [answers.get(instance) or self._unreachable(instance, TimeoutError()) for instance in instances]

    def ask(self, instance: Instance) -> Answer:
        try:
            status, body = self._exchange(instance)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return self._unreachable(instance, error)
        return self._judge(instance, status, body)

    def _exchange(self, instance: Instance) -> tuple[int, bytes]:
        make: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
        if instance.is_tls:
            make = http.client.HTTPSConnection
        connection = make(instance.host, instance.port, timeout=self.patience)
        try:
            path = instance.path + _PATH + (f"/{self.action}" if self.action else "")
            if self.query:
                path += "?" + urlencode(self.query, errors="replace")
            headers = {"Accept": "application/json", "Connection": "close"}
            if self.token:
                headers["Authorization"] = f"Bearer {self.token}"
            connection.request("POST" if self.action else "GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_BYTES)
        finally:
            connection.close()

    def _unreachable(self, instance: Instance, error: Exception) -> Answer:
        text = _reason(error, self.patience)
        if self.action and not isinstance(error, ConnectionRefusedError | socket.gaierror | ssl.SSLError):
            text += f" Whether the {self.action} was taken is not known: give it again, twice does no harm"
        return Answer(instance, UNREACHABLE, {}, text)

    def _judge(self, instance: Instance, status: int, body: bytes) -> Answer:
        fields = _object(body)
        is_state = isinstance(fields.get("enabled"), bool)
        text = _text(fields, body)
        if status == 200 and is_state and fields.get("effective") in _CONTRARY.get(self.action, ()):
            return Answer(instance, NOT_IN_EFFECT, fields, f"taken, but not in effect: {text}")
        if status in (200, 202) and is_state and self.action and fields.get("stored") is False:
            return Answer(instance, NOT_IN_EFFECT, fields, f"taken, but not stored: {text}", status == 202)
        if status in (200, 202) and is_state:
            code = NOT_ENABLED if not self.action and fields["enabled"] is False else DONE
            return Answer(instance, code, fields, is_stored=status == 202)
        if status == 409 and is_state:
            hint = "" if ("force", "true") in self.query else "; --force does it nevertheless"
            return Answer(instance, REFUSED, fields, f"refused: {text}{hint}")
        if status == 503 and fields:
            return Answer(instance, NOT_READY, _certain(fields), f"{text or 'proxy not ready'}; try again later")
        if status in (401, 403):
            return Answer(instance, NO_ACCESS, _certain(fields), self._no_access(status, text))
        if status in (400, 411, 413, 414, 431) and text:
            return Answer(instance, REFUSED, _certain(fields), f"refused with HTTP {status}: {text}")
        return Answer(instance, UNREACHABLE, {}, _foreign(status, is_state))

    def _no_access(self, status: int, text: str) -> str:
        lack = "the token sent is not that proxy's" if self.token else "that proxy wants its token"
        return (
            f"access refused with HTTP {status}: {text or lack}. The token is the value of ZDM_ADMIN_TOKEN (key"
            " admin_token) there; here it is taken from --token-file, ZDM_ADMIN_TOKEN or ZDM_ADMIN_TOKEN_FILE"
        )


def _reason(error: Exception, patience: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return (
            "connection refused: is the proxy running, and is this its metrics port?"
            " With ZDM_METRICS_ADDRESS=localhost it can be asked on its own machine only"
        )
    if isinstance(error, socket.gaierror | UnicodeError):
        return "there is no such host name"
    if isinstance(error, TimeoutError):
        return f"no answer within {patience:g} s: is the address right, and does a firewall let the port through?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); SSL_CERT_FILE can name your authority's file"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS: the API of the proxy itself is asked with http://"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError):
        return "it closed the connection without an answer: is this the metrics port, and http:// right?"
    if isinstance(error, http.client.HTTPException):
        return "what listens there does not speak HTTP: is this the metrics port, and http:// right?"
    return f"{getattr(error, 'strerror', None) or error}."


def _foreign(status: int, is_state: bool) -> str:
    if status == 404:
        return "there is no target API: not a zdm-proxy, or a version without it (HTTP 404)"
    if 300 <= status < 400:
        return f"it sends elsewhere (HTTP {status}), which is not followed: give the address of the proxy itself"
    if status >= 500 or is_state:
        return f"it answered HTTP {status}: look into the log of the proxy"
    return f"the answer is not one of a zdm-proxy (HTTP {status}): is this the metrics port?"


def _object(body: bytes) -> dict[str, object]:
    """The JSON object of an answer; empty where it is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, object], body: bytes) -> str:
    """What an answer says in words; not the page of a web server."""
    message = fields.get("message")
    if isinstance(message, str):
        return message[:_EXCERPT]
    text = body.decode("utf-8", "replace").strip()
    return "" if fields or text.startswith(("<", "{", "[")) else text[:_EXCERPT]


def _certain(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Without `enabled` where nothing else is told: then it may be true whatever was asked for."""
    if fields.get("desired") is not None:
        return fields
    return {name: value for name, value in fields.items() if name != "enabled"}
