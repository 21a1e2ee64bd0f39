"""The sandbox as a program of its own: `python -m zdm.sandbox`, and the `sandbox` command of the program."""

from __future__ import annotations

import argparse
import ssl
import sys
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, FirstError, gatherResults, maybeDeferred
from twisted.python.failure import Failure

from zdm.net.endpoints import install_reactor
from zdm.protocol.compression import LZ4, SNAPPY
from zdm.protocol.versions import BODY_VERSIONS, V3, V4
from zdm.sandbox.clusters import Credentials, SandboxCluster
from zdm.sandbox.secure_port import node_context


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    return host, int(port)


def _credentials(text: str) -> Credentials:
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise argparse.ArgumentTypeError("credentials are USER:PASSWORD")
    return Credentials(user, password)


def _versions(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdigit() and int(part) in BODY_VERSIONS for part in parts):
        spoken = ", ".join(map(str, sorted(BODY_VERSIONS)))
        raise argparse.ArgumentTypeError(f"protocol versions are of {spoken}, with commas between")
    return tuple(map(int, parts))


def _algorithms(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(",")) if text else ()
    if not set(parts) <= {LZ4, SNAPPY}:
        raise argparse.ArgumentTypeError(f"compression is of {LZ4}, {SNAPPY}, with a comma between")
    return parts


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the sandbox."""
    for name, host in (("origin", "127.0.0.1"), ("target", "127.0.0.2")):
        parser.add_argument(
            f"--{name}",
            type=_address,
            default=(host, 9042),
            metavar="HOST:PORT",
            help=f"first node of {name} ({host}:9042)",
        )
        parser.add_argument(
            f"--{name}-auth", type=_credentials, metavar="USER:PASSWORD", help=f"credentials that {name} wants"
        )
        parser.add_argument(
            f"--{name}-version",
            default="4.1.10",
            metavar="VERSION",
            help=f"Cassandra version that {name} shows (4.1.10)",
        )
        parser.add_argument(
            f"--{name}-protocols",
            type=_versions,
            default=(V3, V4),
            metavar="N,N",
            help=f"native protocol versions that {name} speaks, of 3, 4 and 5 (3,4)",
        )
        parser.add_argument(
            f"--{name}-compression",
            type=_algorithms,
            default=(),
            metavar="NAME,NAME",
            help=f"compression that {name} offers, of lz4 and snappy (none)",
        )
        parser.add_argument(
            f"--{name}-salt", default="", metavar="TEXT", help=f"makes {name}'s prepared ids differ from the real ones"
        )
        for part, meaning in (
            ("cert", "certificate (PEM): with it and its key the nodes speak TLS"),
            ("key", "key of that certificate (PEM)"),
            ("client-ca", "authority (PEM) that must have signed the certificates of clients"),
        ):
            parser.add_argument(f"--{name}-tls-{part}", default="", metavar="FILE", help=f"{name}'s {meaning}")
    parser.add_argument(
        "--nodes", type=_count, default=1, metavar="N", help="nodes per cluster, each at the next address (1)"
    )
    parser.add_argument(
        "--control", type=_address, metavar="HOST:PORT", help="where to serve the HTTP control; loopback only"
    )


def _addresses(first: tuple[str, int], nodes: int) -> list[tuple[str, int]]:
    """The addresses of a cluster's nodes: the first one and those that follow it."""
    host, port = first
    network, _, last = host.rpartition(".")
    return [(f"{network}.{int(last) + index}", port) for index in range(nodes)]


def _tls(options: dict[str, Any], name: str) -> ssl.SSLContext | None:
    certificate, key, client_ca = (options[f"{name}_tls_{part}"] for part in ("cert", "key", "client_ca"))
    return node_context(certificate, key, client_ca) if certificate else None


def build(arguments: argparse.Namespace, reactor: Any) -> list[SandboxCluster]:
    """The two clusters that the options describe, not started."""
    options = vars(arguments)
    clusters = []
    for name in ("origin", "target"):
        version: str = options[f"{name}_version"]
        cluster = SandboxCluster(
            name,
            _addresses(options[name], arguments.nodes),
            reactor,
            release_version=version,
            cql_version="3.4.7" if version.startswith("5.") else "3.4.6",
            protocol_versions=options[f"{name}_protocols"],
            compression=options[f"{name}_compression"],
            credentials=options[f"{name}_auth"],
            prepared_salt=options[f"{name}_salt"].encode(),
            tls=_tls(options, name),
        )
        clusters.append(cluster)
    return clusters


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit status, 1 if a port can't be opened."""
    if arguments.origin_tls_cert or arguments.target_tls_cert:
        install_reactor()
    from twisted.internet import reactor

    from zdm.sandbox.control import ControlSite  # klein brings the reactor with it: not before somebody runs this

    runner: Any = reactor
    try:
        clusters = build(arguments, runner)
    except OSError as unusable:
        print(f"sandbox cannot start: TLS: {unusable}", file=sys.stderr, flush=True)
        return 1
    control = ControlSite(clusters, runner) if arguments.control else None
    status = [0]

    def ready(result: object) -> None:
        words = [f"{cluster.name}={cluster.nodes[0].host}:{cluster.nodes[0].port}" for cluster in clusters]
        if control is not None:
            words.append(f"control={control.host}:{control.port}")
        print("sandbox ready", *words, flush=True)

    def failed(failure: Failure) -> None:
        while isinstance(failure.value, FirstError):
            failure = failure.value.subFailure
        print(f"sandbox cannot start: {failure.getErrorMessage()}", file=sys.stderr, flush=True)
        status[0] = 1
        runner.stop()

    def begin() -> None:
        waits: list[Deferred[Any]] = [cluster.start() for cluster in clusters]
        if control is not None:
            waits.append(maybeDeferred(control.start, *arguments.control))
        gatherResults(waits, consumeErrors=True).addCallbacks(ready, failed)

    runner.addSystemEventTrigger("before", "shutdown", lambda: DeferredList([cluster.stop() for cluster in clusters]))
    runner.callWhenRunning(begin)
    runner.run()
    return status[0]
