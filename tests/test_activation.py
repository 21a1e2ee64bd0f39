"""Sockets that a service manager has opened are found by name or port, and nothing else of it is left."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.net.nodes import Lines
from zdm.activation import activated
from zdm.config import Config

HOST = "127.0.40.90"


class Manager:
    """Opens sockets on descriptors that follow each other, as a service manager does."""

    def __init__(self) -> None:
        self.first = 300
        self.ports: list[int] = []
        self.log = Lines()

    def open(self, *kinds: int) -> None:
        for place, kind in enumerate(kinds):
            with socket.socket(socket.AF_INET, kind) as opened:
                opened.bind((HOST, 0))
                self.ports.append(opened.getsockname()[1])
                os.dup2(opened.fileno(), self.first + place)

    def is_open(self, place: int) -> bool:
        try:
            os.fstat(self.first + place)
        except OSError:
            return False
        return True

    def activate(self, config: Config, **variables: str) -> dict[str, list[int]]:
        """The ports of the sockets that are taken, by address."""
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self.ports))} | variables
        log: Any = self.log
        found = activated(config, log, environment, self.first)
        assert not any(name.startswith("LISTEN_") for name in environment)
        ports = {address: [each.getsockname()[1] for each in some] for address, some in found.items()}
        for some in found.values():
            for each in some:
                assert not each.get_inheritable()
                each.close()
        return ports


@pytest.fixture
def manager() -> Iterator[Manager]:
    manager = Manager()
    yield manager
    for place in range(len(manager.ports)):
        if manager.is_open(place):
            os.close(manager.first + place)


def config(clients: int = 14002, http: int = 14001) -> Config:
    return Config(
        origin_contact_points="127.0.40.1", target_contact_points="127.0.40.2",
        proxy_listen_port=clients, metrics_port=http,
    )  # fmt: skip


def test_sockets_are_known_by_their_names(manager: Manager) -> None:
    """Whatever ports they have; several may be for one address."""
    manager.open(socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_STREAM)
    one, http, two = manager.ports
    found = manager.activate(config(), LISTEN_FDNAMES="cql:http:cql")
    assert found == {"localhost:14002": [one, two], "localhost:14001": [http]} and manager.log.lines == []


def test_sockets_without_such_a_name_are_known_by_their_ports(manager: Manager) -> None:
    """systemd names them after the unit where nothing else is said."""
    manager.open(socket.SOCK_STREAM, socket.SOCK_STREAM)
    http, clients = manager.ports
    expected = {f"localhost:{clients}": [clients], f"localhost:{http}": [http]}
    assert manager.activate(config(clients, http), LISTEN_FDNAMES="zdm.socket:zdm.socket") == expected


def test_sockets_without_any_names_are_known_by_their_ports(manager: Manager) -> None:
    """An old manager gives none."""
    manager.open(socket.SOCK_STREAM)
    (port,) = manager.ports
    assert manager.activate(config(port)) == {f"localhost:{port}": [port]}


def test_what_is_for_no_address_is_closed_with_a_warning(manager: Manager) -> None:
    """A wrong port, or no stream at all."""
    manager.open(socket.SOCK_STREAM, socket.SOCK_DGRAM)
    assert manager.activate(config(), LISTEN_FDNAMES="other:cql") == {}
    assert len(manager.log.texts("warn")) == 2 and not manager.is_open(0) and not manager.is_open(1)


def test_a_descriptor_that_is_none_is_warned_of(manager: Manager) -> None:
    """The rest is used."""
    manager.open(socket.SOCK_STREAM)
    (port,) = manager.ports
    assert manager.activate(config(port), LISTEN_FDS="2") == {f"localhost:{port}": [port]}
    assert "cannot be used" in manager.log.texts("warn")[0]


@pytest.mark.parametrize("variables", [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_FDS": "x"}])
def test_sockets_of_another_process_are_left_alone(manager: Manager, variables: dict[str, str]) -> None:
    """The variables are inherited by whoever is started further down."""
    manager.open(socket.SOCK_STREAM)
    assert manager.activate(config(manager.ports[0]), **variables) == {} and manager.is_open(0)
