"""Which proxy is asked where no --url is given, and with which token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.target_command.api import ADDRESS, Command, Proxy
from zdm.target_command.source import Source


def test_a_token_file_may_end_with_a_line_end(command: Command, proxy: Proxy, tmp_path: Path) -> None:
    proxy.token = "right"
    for place, text in enumerate(("right", "right\n", "right\r\n")):
        path = tmp_path / str(place)
        path.write_bytes(text.encode())
        assert command("disable", "--url", proxy.url, "--token-file", str(path)).code == 0
    assert command("enable", "--url", proxy.url, ZDM_ADMIN_TOKEN_FILE=str(path)).code == 0
    assert command("enable", "--url", proxy.url, ZDM_ADMIN_TOKEN="right").code == 0


def test_a_token_file_given_goes_over_the_environment(command: Command, proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    command("disable", "--url", proxy.url, "--token-file", str(path), ZDM_ADMIN_TOKEN="second")
    assert proxy.requests[0].authorization == "Bearer first"


def test_the_token_of_the_configuration_file_is_used(command: Command, proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "zdm.yaml"
    path.write_text("admin_token: of-the-file\norigin_port: nonsense\n")
    command("disable", "--url", proxy.url, "--config", str(path), ZDM_ADMIN_TOKEN="of-the-environment")
    command("disable", "--url", proxy.url, "--config", str(path), "--set", "admin_token=of-set")
    assert [sent.authorization for sent in proxy.requests] == ["Bearer of-the-file", "Bearer of-set"]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", "pässwort".encode(), b"two\nlines"])
def test_a_token_that_cannot_be_sent_is_2_and_not_shown(
    command: Command, proxy: Proxy, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    done = command("disable", "--url", proxy.url, "--token-file", str(path))
    assert (done.code, proxy.requests) == (2, [])
    assert "token" in done.err and "sswort" not in done.err and "lines" not in done.err


def asked(command: Command, *arguments: str, **variables: str) -> str:
    (entry,) = json.loads(command("status", "--json", *arguments, **variables).out)
    return str(entry["instance"])


def test_the_address_is_the_environments(command: Command, proxy: Proxy) -> None:
    """Nothing else is set: what the proxy needs to start is of no interest to who switches its target off."""
    host, _, port = proxy.url.removeprefix("http://").rpartition(":")
    done = command("status", ZDM_METRICS_ADDRESS=host, ZDM_METRICS_PORT=port)
    assert (done.code, len(proxy.requests)) == (0, 1)


def test_the_address_is_the_files(command: Command, tmp_path: Path) -> None:
    """And then not the environment's. A fault elsewhere in the file does not matter."""
    path = tmp_path / "zdm.yaml"
    path.write_text(f"metrics_address: {ADDRESS}\nmetrics_port: 2\ntarget_port: [1]\n")
    assert asked(command, "--config", str(path), ZDM_METRICS_PORT="3") == f"http://{ADDRESS}:2"
    assert asked(command, f"-config={path}", "-set", "metrics_port=4") == f"http://{ADDRESS}:4"


def test_what_the_file_lacks_is_the_default_and_not_the_environments(command: Command, tmp_path: Path) -> None:
    """As for the proxy, which looks at nothing else where it has a file."""
    path = tmp_path / "zdm.yaml"
    path.write_text(f"metrics_address: {ADDRESS}\n")
    assert asked(command, "--config", str(path), ZDM_METRICS_PORT="3") == f"http://{ADDRESS}:14001"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_an_address_that_stands_for_all_is_asked_at_localhost(command: Command, address: str) -> None:
    assert asked(command, ZDM_METRICS_ADDRESS=address, ZDM_METRICS_PORT="5") == "http://localhost:5"


def test_without_anything_it_is_the_default_address() -> None:
    assert Source(({}, {})).instance().url == "http://localhost:14001"
