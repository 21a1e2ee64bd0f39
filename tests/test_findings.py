"""What is found on this machine before the proxy starts: each finding, and silence where there is nothing."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from zdm.config import Config
from zdm.findings import Severity, local_findings


def findings(**keys: Any) -> list[tuple[str, str]]:
    """Of a proxy that would listen at free ports."""
    settings: dict[str, Any] = {
        "origin_contact_points": "127.0.40.1", "target_contact_points": "127.0.40.2",
        "proxy_listen_address": "127.0.90.5", "proxy_listen_port": 0,
        "metrics_address": "127.0.90.5", "metrics_port": 0,
        "proxy_max_client_connections": 1, "admin_token": SecretStr("t"),
    }  # fmt: skip
    found = local_findings(Config(**settings | keys))
    assert all(one.about == "PROXY" for one in found)
    return [(one.severity.value, one.text) for one in found]


def test_nothing_is_found_where_all_is_well(tmp_path: Path) -> None:
    """Or nobody would read the rest."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert findings(proxy_tls_key_path=str(secret), admin_token_file=str(secret)) == []


@pytest.mark.parametrize(
    "key",
    [
        "origin_tls_server_ca_path",
        "target_secure_connect_bundle_path",
        "proxy_tls_cert_path",
    ],
)
def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, key: str) -> None:
    """The reference finds out when it starts, and tries again for ever."""
    (found,) = findings(**{key: str(tmp_path / "none")})
    assert found == (
        "error",
        f"ZDM_{key.upper()}: {tmp_path}/none cannot be read: No such file or directory; put the file there, or unset",
    )


@pytest.mark.parametrize(
    ("key", "count"), [("proxy_tls_key_path", 1), ("admin_token_file", 1), ("proxy_tls_ca_path", 0)]
)
def test_a_secret_that_everybody_can_read_is_a_warning(tmp_path: Path, key: str, count: int) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(0o644)
    found = findings(**{key: str(path)})
    assert [severity for severity, _ in found] == ["warning"] * count
    assert all(f"ZDM_{key.upper()}: every user of this machine can read {path}" in text for _, text in found)


def test_a_state_file_without_a_place_is_an_error(tmp_path: Path) -> None:
    ((severity, text),) = findings(state_file=str(tmp_path / "none" / "state"))
    assert severity == "error" and f"the state file {tmp_path}/none/state cannot be written" in text


@pytest.mark.parametrize(("key", "severity"), [("proxy_listen", "error"), ("metrics", "warning")])
@pytest.mark.parametrize(
    ("address", "advice"),
    [("203.0.113.1", "it is no address of this machine"), ("no-such-host.invalid", "use a name that resolves")],
)
def test_an_address_that_is_not_here_is_found(key: str, severity: str, address: str, advice: str) -> None:
    """The proxy would try for ever to listen there. Without HTTP it serves."""
    ((found, text),) = findings(**{f"{key}_address": address, f"{key}_port": 14002})
    assert found == severity
    assert text.startswith(f"{address}:14002 cannot be listened at (") and advice in text
    assert text.endswith(f"mend ZDM_{key.upper()}_ADDRESS, ZDM_{key.upper()}_PORT")


def test_a_port_in_use_is_a_warning() -> None:
    """The check may be made beside the proxy that runs."""
    with socket.create_server(("127.0.90.5", 0)) as other:
        port = other.getsockname()[1]
        ((severity, text),) = findings(proxy_listen_port=port)
    assert severity == "warning" and text.startswith(f"127.0.90.5:{port} is in use; by this proxy, if it runs")


def test_too_few_open_files_are_a_warning() -> None:
    ((severity, text),) = findings(proxy_max_client_connections=10**9)
    assert severity == "warning" and "raise the limit of open files" in text


def test_an_api_that_nobody_can_use_is_a_warning() -> None:
    ((severity, text),) = findings(metrics_address="0.0.0.0", admin_token=SecretStr(""))
    assert severity == "warning" and "Target cannot be switched off over HTTP" in text


@pytest.mark.parametrize(
    ("addresses", "index", "told"),
    [
        ("127.0.90.5,127.0.90.6", 0, []),
        ("127.0.90.5,127.0.90.6,127.0.90.5", 0, ["has 127.0.90.5 more than once"]),
        ("127.0.90.5,0.0.0.0", 0, ["an address that is none to connect to"]),
        ("127.0.90.5,203.0.113.7", 1, ["drivers are sent to 203.0.113.7 (number 1 of"]),
    ],
)
def test_a_fleet_that_drivers_cannot_reach_is_a_warning(addresses: str, index: int, told: list[str]) -> None:
    """A list of addresses that is wrong on one instance is hard to find from the outside."""
    found = findings(proxy_topology_addresses=addresses, proxy_topology_index=index)
    assert [severity for severity, _ in found] == [Severity.WARNING.value] * len(told)
    assert all(words in text for words, (_, text) in zip(told, found, strict=True))
