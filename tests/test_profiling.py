"""Profiles of a process: what is in them, and what becomes of files that cannot be written."""

from __future__ import annotations

import pstats
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.net.nodes import Lines
from zdm.profiling import NONE, Profiles, profiled


def busy() -> list[bytes]:
    """Something that both profiles must show."""
    return [bytes(1000) for _ in range(100)]


def profile(profiles: Profiles) -> tuple[Lines, list[bytes]]:
    log = Lines()
    lines: Any = log
    with profiled(profiles, lines):
        held = busy()
    return log, held


def test_both_profiles_are_written_at_the_end(tmp_path: Path) -> None:
    """For the tools of the standard library."""
    profiles = Profiles(str(tmp_path / "cpu"), str(tmp_path / "memory"))
    log, _ = profile(profiles)
    functions: Any = pstats.Stats(profiles.cpu)
    assert any(name == "busy" for _, _, name in functions.stats)
    found = tracemalloc.Snapshot.load(profiles.memory)
    assert any(entry.count >= 100 for entry in found.statistics("lineno"))
    assert log.texts("info") == [
        f"The CPU profile was written to {profiles.cpu}.",
        f"The memory profile was written to {profiles.memory}.",
    ]
    assert not tracemalloc.is_tracing()


def test_nothing_is_taken_where_nothing_is_wanted(tmp_path: Path) -> None:
    log, _ = profile(NONE)
    assert log.lines == [] and not NONE.are_wanted


def test_a_file_that_cannot_be_written_at_the_end_is_told(tmp_path: Path) -> None:
    """The end is an end all the same, and the other one is written."""
    profiles = Profiles(str(tmp_path / "none" / "cpu"), str(tmp_path / "memory"))
    log, _ = profile(profiles)
    assert log.texts("error") == [f"The CPU profile {profiles.cpu} could not be written: No such file or directory"]
    assert Path(profiles.memory).exists()


def test_a_cpu_profile_that_cannot_be_made_is_found_before(tmp_path: Path) -> None:
    """As the reference does; what is there already is kept until the end."""
    with pytest.raises(OSError):
        Profiles(str(tmp_path / "none" / "cpu")).check()
    (tmp_path / "cpu").write_bytes(b"before")
    Profiles(str(tmp_path / "cpu"), str(tmp_path / "none" / "memory")).check()
    assert (tmp_path / "cpu").read_bytes() == b"before"


def test_workers_have_files_of_their_own() -> None:
    """They would overwrite one another's."""
    assert Profiles("/tmp/cpu", "").of_worker(2) == Profiles("/tmp/cpu.worker2", "")
