"""Listening sockets that a service manager has opened: systemd's socket activation (sd_listen_fds(3)).

They are descriptors from 3 on: `LISTEN_FDS` says how many, `LISTEN_PID` for which process, `LISTEN_FDNAMES` what they
are. One named `cql` is the client port and one named `http` that of metrics and health; one that has another name is
known by its port, which must be the configured one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Final

from zdm.config import Config
from zdm.log import Log
from zdm.succession import address_of

CLIENTS: Final = "cql"
HTTP: Final = "http"

_FIRST: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def activated(
    config: Config, log: Log, environment: MutableMapping[str, str] = os.environ, first: int = _FIRST
) -> dict[str, list[socket.socket]]:
    """The sockets for this process by the configured address, `host:port`; what nobody needs is closed.

    The variables are taken out of the environment: they are for no other process.
    """
    pid, count, names = (environment.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[str, list[socket.socket]] = {}
    given = names.split(":") if names else []
    for place, descriptor in enumerate(range(first, first + int(count))):
        name = given[place] if place < len(given) else ""
        try:
            opened = socket.socket(fileno=descriptor)
            os.set_inheritable(descriptor, False)
            address = _address_for(config, name, opened)
        except OSError as failed:
            log.warn(f"Descriptor {descriptor} ({name}), from the service manager, cannot be used: {failed}.")
            continue
        if address:
            found.setdefault(address, []).append(opened)
        else:
            log.warn(f"Descriptor {descriptor} ({name}), from the service manager, is for no address of the proxy.")
            opened.close()
    return found


def _address_for(config: Config, name: str, opened: socket.socket) -> str:
    clients = address_of(config.proxy_listen_address, config.proxy_listen_port)
    http = address_of(config.metrics_address, config.metrics_port)
    if opened.family not in (socket.AF_INET, socket.AF_INET6) or opened.type != socket.SOCK_STREAM:
        return ""
    if name in (CLIENTS, HTTP):
        return clients if name == CLIENTS else http
    ports = {config.metrics_port: http, config.proxy_listen_port: clients}
    return ports.get(opened.getsockname()[1], "")
