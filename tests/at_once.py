"""What a program leaves to threads, done here and now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

_Result = TypeVar("_Result")


def at_once(work: Callable[[], _Result], /) -> Deferred[_Result]:
    """A `zdm.net.threads.Run` without a thread."""
    return maybeDeferred(work)
