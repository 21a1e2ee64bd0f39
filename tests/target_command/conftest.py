"""Proxies on loopback addresses, and the program that asks them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.target_command.api import ADDRESS, Command, Done, Proxy, Sent, Start, serve
from zdm import cli


class Server(ThreadingHTTPServer):
    """Says nothing of callers that hang up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@pytest.fixture
def start() -> Iterator[Start]:
    servers: list[Server] = []

    def begin() -> Proxy:
        proxy = Proxy()

        class Request(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                parts = urlsplit(self.path)
                sent = Sent(self.command, parts.path, parse_qs(parts.query), self.headers["Authorization"])
                proxy.requests.append(sent)
                status, content_type, body = proxy.answer(sent)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.43.99/")
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = _reply

            def log_message(self, format: str, *args: Any) -> None:
                pass

        servers.append(Server((ADDRESS, 0), Request))
        proxy.url = f"http://{ADDRESS}:{servers[-1].server_port}"
        serve(servers[-1])
        return proxy

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(start: Start) -> Proxy:
    return start()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """The whole program, in this process, without any `ZDM_*` of the machine."""
    for name in [name for name in os.environ if name.startswith("ZDM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, **variables: str) -> Done:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        try:
            code = cli.main(["target", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Done(code, captured.out, captured.err)

    return run
