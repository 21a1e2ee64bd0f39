"""The figures of all the proxy's processes as one."""

from __future__ import annotations

import os
import subprocess
import sys

from zdm.admin.processes import process_families
from zdm.meters import Histogram

_BUSY = "import sys\nsum(range(20_000_000))\nkept = b'x' * 50_000_000\nprint('there', flush=True)\nsys.stdin.read()"


def figures(*children: int) -> dict[str, float]:
    found = {}
    for family in process_families(lambda: children):
        (sample,) = family.samples
        assert not isinstance(sample.value, Histogram)
        found[family.name] = sample.value
    return found


def test_without_children_the_figures_are_this_process() -> None:
    """Under the names that the reference's library gives them."""
    found = figures()
    assert found["start_time_seconds"] > 1e9 and found["max_fds"] > 0
    assert found["resident_memory_bytes"] < found["virtual_memory_bytes"]
    assert {family.kind for family in process_families(lambda: ()) if family.name == "cpu_seconds_total"} == {"counter"}


def test_children_are_added_and_their_cpu_time_outlives_them() -> None:
    """A dashboard of CPU or memory that shows the supervisor alone would show next to nothing."""
    before = figures()
    command = [sys.executable, "-c", _BUSY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        assert child.stdout.readline() == b"there\n"
        beside = figures(child.pid)
        assert beside["cpu_seconds_total"] > before["cpu_seconds_total"] + 0.05
        assert beside["resident_memory_bytes"] > before["resident_memory_bytes"] + 45_000_000
        assert beside["open_fds"] >= before["open_fds"] + 3
        for name in ("max_fds", "start_time_seconds"):
            assert beside[name] == before[name]
        child.stdin.close()
        child.wait()
    after = figures(child.pid)
    assert after["cpu_seconds_total"] >= beside["cpu_seconds_total"] - 0.05
    assert after["resident_memory_bytes"] < beside["resident_memory_bytes"]
    assert not os.path.exists(f"/proc/{child.pid}")
