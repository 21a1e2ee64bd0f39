"""Addresses and ports on loopback that nobody else uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORKS = range(60, 70)


def free_port(address: str) -> int:
    """A port nobody listens on now. The kernel hands out another one next time, so a later bind finds it free."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_network(directory: Path) -> Iterator[str]:
    """Yields a prefix such as ``127.0.60.`` that this run has for itself while the block lasts.

    The claim is a directory with the owner's process id in it; one whose owner is dead is taken over.
    """
    for number in NETWORKS:
        claim = directory / f"network-{number}"
        if _claim(claim):
            try:
                yield f"127.0.{number}."
            finally:
                claim.unlink(missing_ok=True)
            return
    raise RuntimeError(f"all of 127.0.{NETWORKS[0]}.0 to 127.0.{NETWORKS[-1]}.0 are in use, see {directory}")


def _claim(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            with path.open("x") as file:
                file.write(str(os.getpid()))
            return True
        except FileExistsError:
            if _owner_lives(path):
                return False
            path.unlink(missing_ok=True)
    return False


def _owner_lives(path: Path) -> bool:
    try:
        return Path(f"/proc/{int(path.read_text())}").exists()
    except (OSError, ValueError):
        return False
