"""Where work goes that would stop the reactor's thread: scrypt, and waiting for a disk."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

_MOST: Final = 10

_Result = TypeVar("_Result")


class Run(Protocol):
    """Does the work elsewhere; fires with what it gives, or fails with what it raises."""

    def __call__(self, work: Callable[[], _Result], /) -> Deferred[_Result]: ...


class _Daemon(Thread):
    """Ends with the process."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, daemon=True, **named)


class _Pool(ThreadPool):
    # the reactor waits at its end for the threads of its own pool, and a disk that hangs lets none of them go
    threadFactory = _Daemon


def in_threads_of(reactor: Any) -> Run:
    """In threads that do not keep the process from ending: whoever needs their work to be done waits for it."""
    pool = _Pool(0, _MOST, "work")
    pool.start()

    def run(work: Callable[[], _Result], /) -> Deferred[_Result]:
        return deferToThreadPool(reactor, pool, work)

    return run


def in_time(
    awaited: Deferred[_Result], seconds: float, clock: IReactorTime, late: Callable[[], _Result]
) -> Deferred[_Result]:
    """Fires as `awaited` does, within `seconds`; else with what `late` gives. What takes longer goes on, unheard."""
    answer: Deferred[_Result] = Deferred()

    def is_late() -> None:
        answer.callback(late())

    def over(outcome: _Result | Failure) -> None:
        if timer.active():
            timer.cancel()
            answer.callback(outcome)

    timer = clock.callLater(seconds, is_late)
    awaited.addBoth(over)
    return answer
