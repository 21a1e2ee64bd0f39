"""Profiles of the running program, and of its workers."""

from __future__ import annotations

import pstats
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.process.conftest import StartProxy
from tests.process.sandbox import Sandbox


@pytest.mark.timeout(180)  # profiles make a start slow, and three processes write at the end
@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_writes_its_profiles_when_it_ends(
    sandbox: Sandbox, proxy: StartProxy, ks: str, tmp_path: Path, workers: int
) -> None:
    """Sessions are where the clients are: in the only process, or in a worker's."""
    cpu, memory = str(tmp_path / "cpu"), str(tmp_path / "memory")
    running = proxy(*sandbox.clusters, workers=workers, options=["-cpu_profile", cpu, f"--mem-profile={memory}"])
    client = running.client()
    for _ in range(20):
        assert client.query(f"SELECT * FROM {ks}.t").rows == []
    client.close()
    running.stop()
    suffixes = ["", ".worker1", ".worker2"] if workers == 2 else [""]
    assert sorted(path.name for path in tmp_path.glob("cpu*")) == [f"cpu{suffix}" for suffix in suffixes]
    taken: list[Any] = [pstats.Stats(cpu + suffix) for suffix in suffixes]
    feeding = ("net/client.py", "dataReceived")
    served = [any((file[-len(feeding[0]) :], name) == feeding for file, _, name in one.stats) for one in taken]
    assert served.count(True) == 1 and served[0] is (workers == 1)
    assert all(tracemalloc.Snapshot.load(memory + suffix).traces for suffix in suffixes)
