"""How many sockets there may be, and how they behave."""

from __future__ import annotations

import resource
from typing import Any

from tests.net.nodes import Lines
from zdm.config import Config
from zdm.net.transport import SocketOptions
from zdm.sockets import file_shortage, raise_file_limit, socket_options


def test_as_many_files_as_the_system_allows_may_be_open() -> None:
    """A proxy of a thousand clients has three thousand sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
    log: Any = Lines()
    raise_file_limit(Config(proxy_max_client_connections=1), log)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard) and log.lines == []


def test_too_few_files_for_the_configured_clients_are_told_of() -> None:
    """Better at the start than at the first refused client of a busy day."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    log: Any = Lines()
    raise_file_limit(Config(proxy_max_client_connections=hard), log)
    (line,) = log.texts("warn")
    assert line.startswith(f"At most {hard} files can be open, and {hard} clients (proxy_max_client_connections)")


def test_a_client_needs_three_files_and_the_proxy_some() -> None:
    """Its own socket, and one to each cluster."""
    config = Config(proxy_max_client_connections=1000)
    assert "may need 3064:" in file_shortage(config, 3063)
    assert file_shortage(config, 3064) == "" == file_shortage(config, resource.RLIM_INFINITY)


def test_the_usual_sockets_are_those_of_the_reference() -> None:
    """Whoever replaces it need not set anything."""
    assert socket_options(Config()) == SocketOptions(nodelay=True, keep_alive_s=15, probes=9)


def test_parts_of_a_second_are_rounded_up() -> None:
    """0 would be no probes at all."""
    assert socket_options(Config(tcp_keepalive_ms=1, tcp_keepalive_probes=3)) == SocketOptions(True, 1, 3)
    assert socket_options(Config(tcp_keepalive_ms=0, tcp_nodelay=False)) == SocketOptions(False, 0, 9)
