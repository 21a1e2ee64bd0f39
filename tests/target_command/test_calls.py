"""What is no address, and what answers without being a proxy."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.target_command.api import ADDRESS, Command, Proxy, Start, serve
from zdm.target_command.calls import Call, parse_instance


@pytest.mark.parametrize(
    "text, url",
    [
        ("http://a:1", "http://a:1"),
        ("http://a:1/", "http://a:1"),
        ("a:1", "http://a:1"),
        ("a", "http://a:14001"),
        ("http://a", "http://a:80"),
        ("https://a", "https://a:443"),
        ("http://[::1]:1", "http://[::1]:1"),
        ("[::1]:1", "http://[::1]:1"),
        ("http://a:1/zdm/1/", "http://a:1/zdm/1"),
        ("http://a:1/api/v1/target", "http://a:1"),
    ],
)
def test_an_instance_is_a_url_or_a_host(text: str, url: str) -> None:
    assert parse_instance(text).url == url


@pytest.mark.parametrize(
    "text", ["", "http://", "ftp://a:1", "http://a:b", "http://a:99999", "http://[::1", "http://a b", "http://a:1/?x=1"]
)
def test_a_url_that_is_none_is_2_and_says_how_it_is_written(command: Command, text: str) -> None:
    done = command("status", f"--url={text}")
    assert done.code == 2 and "argument --url: " in done.err


def test_a_password_in_a_url_is_not_taken_and_not_shown(command: Command) -> None:
    done = command("status", "--url", "http://me:hunter@a:1")
    assert done.code == 2 and "hunter" not in done.err


@pytest.mark.parametrize(
    "page, words",
    [
        ((200, "text/html", "<html>welcome</html>"), "not one of a zdm-proxy"),
        ((200, "application/json", "[]"), "not one of a zdm-proxy"),
        ((200, "application/json", '{"enabled":"yes"}'), "not one of a zdm-proxy"),
        ((200, "application/json", '{"enabled":tr'), "not one of a zdm-proxy"),
        ((200, "application/json", "[" * 60000), "not one of a zdm-proxy"),
        ((204, "text/plain", ""), "not one of a zdm-proxy"),
        ((404, "text/plain", "404 page not found\n"), "a version without it"),
        ((301, "text/html", ""), "not followed"),
        ((500, "text/plain", "500 internal server error\n"), "log of the proxy"),
        ((503, "text/html", "<html>no backend</html>"), "HTTP 503"),
        ((400, "text/html", "<html>bad</html>"), "not one of a zdm-proxy"),
    ],
)
@pytest.mark.parametrize("action", ["status", "disable"])
def test_an_answer_of_something_else_is_6(
    command: Command, proxy: Proxy, page: tuple[int, str, str], words: str, action: str
) -> None:
    """A success that was none would leave the target switched on."""
    proxy.page = page
    done = command(action, "--url", proxy.url)
    assert done.code == 6 and words in done.err and "<html>" not in done.err
    assert len(proxy.requests) == 1


class Talk(socketserver.BaseRequestHandler):
    """Sends what the server has, without reading."""

    def handle(self) -> None:
        self.request.recv(1)
        self.request.sendall(self.server.talk)  # type: ignore[attr-defined]  # put there below


@pytest.fixture
def talk() -> Iterator[Callable[[bytes], str]]:
    servers: list[socketserver.ThreadingTCPServer] = []

    def begin(said: bytes) -> str:
        server = socketserver.ThreadingTCPServer((ADDRESS, 0), Talk)
        server.talk = said  # type: ignore[attr-defined]  # read above
        servers.append(server)
        serve(server)
        return f"{ADDRESS}:{server.server_address[1]}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "said, words",
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"\x84\x00\x00\x00\x00\x00\x00\x00\x04", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "not one of a zdm-proxy"),
    ],
)
def test_what_speaks_no_http_is_6(command: Command, talk: Callable[[bytes], str], said: bytes, words: str) -> None:
    """The CQL port, mostly."""
    done = command("status", "--url", f"http://{talk(said)}")
    assert done.code == 6 and words in done.err and "metrics port" in done.err


def test_https_where_there_is_none_is_said(command: Command, talk: Callable[[bytes], str]) -> None:
    done = command("status", "--url", f"https://{talk(b'HTTP/1.1 400 Bad Request')}")
    assert done.code == 6 and "does not speak TLS" in done.err


def test_a_host_without_a_name_is_6(command: Command) -> None:
    done = command("status", "--url", f"http://{'a' * 70}.invalid:1")
    assert done.code == 6 and "no such host name" in done.err


def test_a_proxy_that_is_silent_is_given_up(start: Start) -> None:
    """And the others are told of: they are not made to wait for it."""
    silent, well = start(), start()
    silent.silence = threading.Event()
    try:
        stuck, fine = Call("disable", patience=0.3).ask_all([parse_instance(silent.url), parse_instance(well.url)])
    finally:
        silent.silence.set()
    assert (stuck.code, fine.code) == (6, 0)
    assert "no answer within 0.3 s" in stuck.trouble and "disable was taken is not known" in stuck.trouble


def test_a_proxy_of_the_environment_is_not_used(command: Command, proxy: Proxy) -> None:
    """It would get the token, and is what fails first where everything is in trouble."""
    nowhere = f"http://{ADDRESS}:1"
    done = command("disable", "--url", proxy.url, http_proxy=nowhere, HTTP_PROXY=nowhere, ALL_PROXY=nowhere)
    assert done.code == 0
