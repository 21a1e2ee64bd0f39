"""Addresses and ports on loopback that nobody else uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NETWORKS: Final = range(60, 70)
CQL_PORT: Final = 9042
ESTABLISHED: Final = "01"


def free_port(address: str) -> int:
    """A port nobody listens on now. The kernel hands out another one next time, so a later bind finds it free."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def own_network(directory: Path) -> Iterator[str]:
    """Yields a prefix such as ``127.0.60.`` that this run has for itself while the block lasts.

    The claim is a file with the owner's process id in it; one whose owner is dead is taken over. Networks where others
    listen for CQL are passed by, but for what a run that died has left there: that is for the backend to end. Other
    checkouts have files of their own: against them the run keeps a port of the network while it lasts.
    """
    for number in NETWORKS:
        with _guard(number) as is_ours:
            claim = directory / f"network-{number}"
            left_over = claim.exists()
            if is_ours and (left_over or _is_unused(number)) and _claim(claim):
                try:
                    yield f"127.0.{number}."
                finally:
                    claim.unlink(missing_ok=True)
                return
    raise RuntimeError(f"all of 127.0.{NETWORKS[0]}.0 to 127.0.{NETWORKS[-1]}.0 are in use, see {directory}")


@contextmanager
def _guard(number: int) -> Iterator[bool]:
    """Whether no other run on this machine holds the network; held until the block ends, or this process does."""
    with socket.socket() as guard:
        try:
            guard.bind((f"127.0.{number}.254", CQL_PORT))
        except OSError:
            yield False
        else:
            yield True


def open_connections(address: str, port: int) -> int:
    """How many established connections end at this listening address, whoever listens; from the kernel's own table."""
    wanted = {f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"}
    # a listener of both families has its IPv4 connections in the other table
    wanted |= {f"0000000000000000FFFF0000{plain}" for plain in wanted}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return sum(1 for row in rows if row[1] in wanted and row[3] == ESTABLISHED)


def _is_unused(number: int) -> bool:
    try:
        for last in (1, 2):
            with socket.create_server((f"127.0.{number}.{last}", CQL_PORT)):
                pass
    except OSError:
        return False
    return True


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
