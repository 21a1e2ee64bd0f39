"""What `zdm-proxy check` has to complain of, and what can be seen on this machine alone: files, addresses, limits.

What the load of the configuration refuses is not looked for again here. Every finding is one line that says what to do.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

from zdm.admin.access import SHUT, Access
from zdm.config import KEYS, Config, env_name
from zdm.configuration.keys import SECRETS
from zdm.lasting_state import check_places
from zdm.sockets import file_shortage
from zdm.state_file import UnusableFileError

PROXY: Final = "PROXY"


class Severity(Enum):
    """The value is how it is printed."""

    ERROR = "error"
    """The proxy would not serve."""
    WARNING = "warning"
    """It would, and somebody would be sorry for it."""


class Finding(NamedTuple):
    """`about` is PROXY, ORIGIN or TARGET."""

    severity: Severity
    about: str
    text: str


def error(about: str, text: str) -> Finding:
    """Something that keeps the proxy from serving."""
    return Finding(Severity.ERROR, about, text)


def warning(about: str, text: str) -> Finding:
    """Something that does not."""
    return Finding(Severity.WARNING, about, text)


def local_findings(config: Config) -> list[Finding]:
    """All that is found without a cluster."""
    found = [*_files(config), *_places(config), *_listening(config), *_fleet(config)]
    lacking = file_shortage(config)
    if lacking:
        found.append(warning(PROXY, lacking))
    if Access(config.metrics_address, config.admin_bearer()).is_shut:
        found.append(warning(PROXY, SHUT))
    return found


def _files(config: Config) -> Iterator[Finding]:
    """TLS files and bundles have to be there; keys and secrets are nobody else's business."""
    secret_files = [f"{secret}_file" for secret in SECRETS]
    secret_files += [key for key in KEYS if key.endswith("_passphrase_file")]
    for key in KEYS:
        path = getattr(config, key) if key.endswith("_path") or key in secret_files else ""
        if not path:
            continue
        try:
            with open(path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
        except OSError as failed:
            yield error(
                PROXY, f"{env_name(key)}: {path} cannot be read: {failed.strerror}; put the file there, or unset"
            )
            continue
        if (key.endswith("_key_path") or key in secret_files) and mode & stat.S_IROTH:
            yield warning(PROXY, f"{env_name(key)}: every user of this machine can read {path}; take that right away")


def _places(config: Config) -> Iterator[Finding]:
    try:
        check_places(config)
    except UnusableFileError as unusable:
        yield error(PROXY, str(unusable))


def _listening(config: Config) -> Iterator[Finding]:
    for name, address, port in (
        ("PROXY_LISTEN", config.proxy_listen_address, config.proxy_listen_port),
        ("METRICS", config.metrics_address, config.metrics_port),
    ):
        refused = _refusal(address, port)
        if refused is None:
            continue
        keys = f"ZDM_{name}_ADDRESS, ZDM_{name}_PORT"
        if isinstance(refused, socket.gaierror):
            advice = "use a name that resolves, or an address of this machine"
        elif refused.errno == errno.EADDRINUSE:
            yield warning(PROXY, f"{address}:{port} is in use; by this proxy, if it runs, else change {keys}")
            continue
        elif refused.errno == errno.EADDRNOTAVAIL:
            advice = "it is no address of this machine"
        else:
            advice = "a port below 1024 needs a privilege"
        text = f"{address}:{port} cannot be listened at ({refused.strerror}): {advice}; mend {keys}"
        # without HTTP the proxy serves, and nobody can tell
        yield error(PROXY, text) if name == "PROXY_LISTEN" else warning(PROXY, text)


def _refusal(address: str, port: int) -> OSError | None:
    """Why none of the addresses of a name can be listened at; None where one can."""
    try:
        places = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as unknown:
        return unknown
    refused: OSError | None = None
    for family, kind, protocol, _, place in places:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
                return None
            except OSError as failed:
                refused = failed
    return refused


def _fleet(config: Config) -> Iterator[Finding]:
    """The list of all instances, which drivers connect by."""
    addresses = config.topology_addresses()
    if not addresses:
        return
    name, index = "ZDM_PROXY_TOPOLOGY_ADDRESSES", config.proxy_topology_index
    for address in sorted({one for one in addresses if addresses.count(one) > 1}):
        yield warning(PROXY, f"{name} has {address} more than once: drivers see one instance less; name each once")
    if len(addresses) > 1 and {"0.0.0.0", "::"} & set(addresses):
        yield warning(PROXY, f"{name} has an address that is none to connect to; name the one of each instance")
    own = addresses[index]
    refused = _refusal(own, 0)
    if refused is not None and refused.errno == errno.EADDRNOTAVAIL:
        yield warning(
            PROXY,
            f"drivers are sent to {own} (number {index} of {name}), which is no address of this machine: "
            "right behind a NAT only, else mend ZDM_PROXY_TOPOLOGY_INDEX",
        )
