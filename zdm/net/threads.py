"""Where work goes that would stop the reactor's thread: scrypt, and waiting for a disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool

_Result = TypeVar("_Result")


class Run(Protocol):
    """Does the work elsewhere; fires with what it gives, or fails with what it raises."""

    def __call__(self, work: Callable[[], _Result], /) -> Deferred[_Result]: ...


def in_threads_of(reactor: Any) -> Run:
    """In the thread pool of the reactor."""

    def run(work: Callable[[], _Result], /) -> Deferred[_Result]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    return run


def at_once(work: Callable[[], _Result], /) -> Deferred[_Result]:
    """Here and now, where nothing is served yet."""
    return maybeDeferred(work)
