"""Waiting for a fact with a deadline, instead of sleeping for a time that is hoped to be enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def await_true(fact: Callable[[], T], what: str, seconds: float = 30.0, pause: float = 0.05) -> T:
    """Asks ``fact`` again and again until it is true, and returns it; AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = fact()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(pause)
