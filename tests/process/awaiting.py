"""Waiting for a fact with a deadline: the only way in which these tests let time pass."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 20.0
"""Seconds after which something is taken for not coming: generous, because a busy machine is not a bug."""

_PAUSE = 0.01

T = TypeVar("T")


def until(fact: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Ask until `fact` is true, and return it; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(_PAUSE)
    return found


def free_port(host: str) -> int:
    """A port of this address on which nothing listens."""
    with socket.create_server((host, 0)) as opened:
        return int(opened.getsockname()[1])
