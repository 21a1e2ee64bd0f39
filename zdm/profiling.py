"""`--cpu-profile FILE` and `--mem-profile FILE`: where a process spends its time, and what holds its memory.

Taken by the standard library from before the reactor runs until it has ended, and written then: cProfile's statistics
(`python -m pstats FILE`) and a snapshot of tracemalloc (`tracemalloc.Snapshot.load`). Each worker process has files of
its own, with its number behind the name. Both cost speed, the second memory as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from zdm.log import Log

WRITING: Final = 60.0
"""Seconds that a worker may take to write its profiles at its end."""

_DEPTH: Final = 8


class Profiles(NamedTuple):
    """Where profiles of a process are written to; empty: that one is not taken."""

    cpu: str = ""
    memory: str = ""

    @property
    def are_wanted(self) -> bool:
        """At least one is."""
        return bool(self.cpu or self.memory)

    def of_worker(self, number: int) -> Profiles:
        """The files of a worker process."""
        return Profiles(*(f"{path}.worker{number}" if path else "" for path in self))

    def check(self) -> None:
        """Raises OSError where the file of the CPU profile cannot be made: it would be missed when it is too late."""
        if self.cpu:
            with open(self.cpu, "ab"):
                pass


NONE: Final = Profiles()


@contextmanager
def profiled(profiles: Profiles, log: Log) -> Iterator[None]:
    """Takes the profiles of what happens inside, and writes them; one that cannot be written is only told of."""
    with ExitStack() as stack:
        if profiles.memory:
            stack.enter_context(_memory_profiled(profiles.memory, log))
        if profiles.cpu:
            stack.enter_context(_cpu_profiled(profiles.cpu, log))
        yield


# both libraries are imported where they are wanted: hardly any start wants them


@contextmanager
def _cpu_profiled(path: str, log: Log) -> Iterator[None]:
    from cProfile import Profile

    profile = Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        _write("CPU", path, log, profile.dump_stats)


@contextmanager
def _memory_profiled(path: str, log: Log) -> Iterator[None]:
    import tracemalloc

    tracemalloc.start(_DEPTH)
    try:
        yield
    finally:
        snapshot = tracemalloc.take_snapshot()
        tracemalloc.stop()
        _write("memory", path, log, snapshot.dump)


def _write(kind: str, path: str, log: Log, dump: Callable[[str], None]) -> None:
    try:
        dump(path)
    except OSError as failed:
        log.error(f"The {kind} profile {path} could not be written: {failed.strerror}")
    else:
        log.info(f"The {kind} profile was written to {path}.")
