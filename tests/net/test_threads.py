"""Work in threads, and waiting for it only so long."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from zdm.net.threads import in_time

DEADLINE_S = 20


class World:
    def __init__(self) -> None:
        clock: Any = Clock()
        self.clock = clock
        self.awaited: Deferred[str] = Deferred()
        self.answers: list[str] = []
        answer = in_time(self.awaited, 3.0, clock, lambda: "late")
        answer.addCallbacks(self.answers.append, self._failed)

    def _failed(self, failure: Failure) -> None:
        self.answers.append(f"failed: {failure.getErrorMessage()}")


@pytest.mark.parametrize("has_failed", [False, True])
def test_what_comes_in_time_is_the_answer(has_failed: bool) -> None:
    """Also where it is a failure. Nothing is left of the clock."""
    world = World()
    world.clock.advance(2.9)
    if has_failed:
        world.awaited.errback(OSError("no"))
    else:
        world.awaited.callback("done")
    assert world.answers == (["failed: no"] if has_failed else ["done"])
    assert world.clock.getDelayedCalls() == []


@pytest.mark.parametrize("has_failed", [False, True])
def test_what_comes_late_is_dropped(has_failed: bool) -> None:
    """Who waited has gone on."""
    world = World()
    world.clock.advance(3)
    assert world.answers == ["late"]
    if has_failed:
        world.awaited.errback(OSError("no"))
    else:
        world.awaited.callback("done")
    assert world.answers == ["late"]


PROGRAM = """
import threading
from twisted.internet import reactor
from zdm.net.threads import in_threads_of

begun = threading.Event()
run = in_threads_of(reactor)

def hang():
    begun.set()
    threading.Event().wait()

def end(results):
    print(results, threading.current_thread() is threading.main_thread(), flush=True)
    reactor.stop()

def begin():
    run(hang)
    begun.wait()
    run(lambda: threading.current_thread() is threading.main_thread()).addCallback(end)

reactor.callWhenRunning(begin)
reactor.run()
"""


def test_a_thread_that_hangs_does_not_keep_the_process_from_ending() -> None:
    """Work is done in threads, its result comes back in the reactor's; and a dead disk is left behind at the end."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (0, "False True\n"), done.stderr
