"""How many CPUs this process may use: not the host's, but those that it is allowed.

The affinity says on which it may run, the quota of its control group (version 1 or 2) how much of their time it gets.
A quota that is no whole number counts as the whole number below it: a worker more would be stopped for part of each
period, with the requests that it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_NO_QUOTA: Final = float("inf")


def allowed_cpus(root: Path = Path("/"), affinity: int | None = None) -> int:
    """At least 1. `root` is where `proc` and `sys` are found, `affinity` how many CPUs the process may run on."""
    runs_on = affinity if affinity is not None else _affinity()
    return max(1, int(min(float(runs_on), _quota(root))))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(root: Path) -> float:
    """CPUs' worth of time that the tightest of the process' control groups leaves it."""
    found = _NO_QUOTA
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                found = min([found, *_unified(root / "sys/fs/cgroup", group)])
            elif "cpu" in controllers.split(","):
                found = min([found, *_by_controller(root / "sys/fs/cgroup" / "cpu", group)])
    return found


def _groups(mounted: Path, group: str) -> Iterator[Path]:
    """The group and those that it lies in; in a container the path may be the host's, and then only the top is seen."""
    inner = mounted / group.lstrip("/")
    yield from (folder for folder in (inner, *inner.parents) if folder == mounted or mounted in folder.parents)


def _unified(mounted: Path, group: str) -> Iterator[float]:
    """Version 2: `cpu.max` holds the quota and the period, in microseconds, or `max` for no quota."""
    for folder in _groups(mounted, group):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (folder / "cpu.max").read_text().split()
            yield int(quota) / int(period)


def _by_controller(mounted: Path, group: str) -> Iterator[float]:
    """Version 1: a file for each, and a quota of -1 for none."""
    for folder in _groups(mounted, group):
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota = int((folder / "cpu.cfs_quota_us").read_text())
            period = int((folder / "cpu.cfs_period_us").read_text())
            if quota > 0:
                yield quota / period
