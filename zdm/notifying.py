"""Telling a service manager how it stands: systemd's notification protocol (sd_notify(3)), which is one datagram.

`NOTIFY_SOCKET` names the socket, a path or with a leading `@` a name of Linux's abstract kind. Nobody waits for an
answer; a manager that cannot be told is no reason for anything to fail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from zdm.log import Log

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"

Notify = Callable[[str], None]
"""Takes assignments, one in each line."""


def main_process(pid: int) -> str:
    """Another process is the service from now on."""
    return f"MAINPID={pid}"


def notifier(log: Log, environment: Mapping[str, str] = os.environ) -> Notify:
    """Tells the manager that started this program; nobody, where none did."""
    name = environment.get("NOTIFY_SOCKET", "")
    if not name:
        return silent
    address = f"\0{name[1:]}" if name.startswith("@") else name

    def notify(text: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
                telling.setblocking(False)
                telling.sendto(text.encode(), address)
        except OSError as failed:
            log.warn(f"The service manager could not be told {text}: {failed}.")

    return notify


def silent(text: str) -> None:
    """Nobody wants to know."""
