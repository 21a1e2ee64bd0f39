"""What is measured: a way from the load to the clusters, with or without a proxy in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from processes import ORIGIN, TARGET, BenchError

DIRECT: Final = "direct"
FLOOR: Final = "HAProxy"
OURS: Final = "zdm-proxy"
BESIDE: Final = "zdm-proxy beside"
PAIR: Final = "zdm-proxy, 2 workers"
FLOOR_PAIR: Final = "HAProxy, 2 threads"
NAMED: Final = (DIRECT, FLOOR, OURS, BESIDE, PAIR, FLOOR_PAIR)
SINGLE: Final = {PAIR: OURS, FLOOR_PAIR: FLOOR}
LISTEN: Final = "127.0.50.{}:9042"  # 20 and up: one address for each proxy

HAPROXY: Final = """\
global
    nbthread {threads}
    maxconn 4096
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen cql
    bind {listen}
    server origin {origin}
"""


@dataclass(frozen=True)
class Contestant:
    """A proxy that can be started; `weight` scales its requests, so that a cheap one is measured long enough."""

    name: str
    listen: str
    command: Sequence[str] = ()  # empty: nothing is started
    environment: dict[str, str] = field(default_factory=dict)
    to_both: bool = True  # writes go to both clusters
    routes: bool = True  # reads go to origin alone
    weight: float = 1


def direct() -> Contestant:
    """No proxy: what the load and the stub take by themselves."""
    return Contestant(DIRECT, ORIGIN, to_both=False, routes=False, weight=0.5)


def haproxy(work: Path, listen: str, threads: int = 1) -> Contestant:
    """Plain TCP to one backend: the least that a proxy can cost."""
    configuration = work / f"haproxy-{threads}.cfg"
    configuration.write_text(HAPROXY.format(listen=listen, origin=ORIGIN, threads=threads))
    command = [haproxy_path(), "-db", "-f", str(configuration)]
    name = FLOOR if threads == 1 else FLOOR_PAIR
    return Contestant(name, listen, command, to_both=False, routes=False, weight=2.5)


def haproxy_path() -> str:
    """HAProxy's program, installed from Debian where it is missing and we may."""
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "haproxy"], check=True)
        found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise BenchError("HAProxy is what everything is compared with: install the package `haproxy`.")
    return found


def ours(listen: str, name: str = OURS, program: Path | None = None, workers: int = 1) -> Contestant:
    """This project's proxy, room for many clients, otherwise as it comes: that of this Python, where none is named."""
    environment = {"ZDM_WORKERS": str(workers)}
    for side, address in (("ORIGIN", ORIGIN), ("TARGET", TARGET)):
        host, port = address.split(":")
        environment |= {f"ZDM_{side}_CONTACT_POINTS": host, f"ZDM_{side}_PORT": port}
        environment |= {f"ZDM_{side}_USERNAME": "bench", f"ZDM_{side}_PASSWORD": "bench"}
    host, port = listen.split(":")
    environment |= {"ZDM_PROXY_LISTEN_ADDRESS": host, "ZDM_PROXY_LISTEN_PORT": port}
    environment |= {"ZDM_METRICS_ADDRESS": host, "ZDM_METRICS_PORT": "14001"}
    environment["ZDM_PROXY_MAX_CLIENT_CONNECTIONS"] = "4096"
    script = program or Path(sys.executable).parent / "zdm-proxy"
    return Contestant(name, listen, [str(script)], environment)


def other(template: str, listen: str) -> Contestant:
    """A proxy given on the command line as `NAME=COMMAND`."""
    name, equals, command = template.partition("=")
    if not equals:
        raise BenchError(f"--other wants NAME=COMMAND, and got {template!r}")
    filled = [word.format(listen=listen, origin=ORIGIN, target=TARGET) for word in shlex.split(command)]
    return Contestant(name, listen, filled, routes=False)
