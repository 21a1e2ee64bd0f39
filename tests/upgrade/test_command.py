"""`zdm-proxy upgrade` sends its signal to a proxy, and to nothing else."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import pytest

from zdm.upgrade.command import DONE, MISUSED, STILL_THERE, add_arguments, run

CATCHES = f"{1 << (signal.SIGUSR2 - 1):016x}"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The signals, which reach nobody."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def process(directory: Path, pid: int, command: bytes = b"python\0/opt/bin/zdm-proxy\0", caught: str = CATCHES) -> None:
    place = directory / str(pid)
    place.mkdir()
    (place / "status").write_text(f"Name:\tpython\nSigIgn:\t{CATCHES}\nSigCgt:\t{caught}\n")
    (place / "cmdline").write_bytes(command)
    (place / "stat").write_text(f"{pid} (a ) name) S 1 2 3")


def upgrade(directory: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(arguments), directory)


def test_a_proxy_is_told(tmp_path: Path, sent: list[tuple[int, int]]) -> None:
    """By its number, or by a file that has it."""
    process(tmp_path, 77)
    (tmp_path / "file").write_text("77\n")
    assert upgrade(tmp_path, "77") == upgrade(tmp_path, "--pid-file", str(tmp_path / "file")) == DONE
    assert sent == [(77, signal.SIGUSR2)] * 2


@pytest.mark.parametrize("arguments", [["1"], ["78"], ["79"], ["0"], ["-5"], ["--pid-file", "/none"]])
def test_what_is_no_proxy_is_left_alone(
    tmp_path: Path, sent: list[tuple[int, int]], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal would end it: another program, a proxy that does not catch it, nothing at all."""
    process(tmp_path, 78, command=b"sleep\0")
    process(tmp_path, 79, caught="0000000000000000")
    try:
        assert upgrade(tmp_path, *arguments) == MISUSED
    except SystemExit as ended:
        assert ended.code == MISUSED
    assert sent == [] and capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "x", "²", "7 7"])
def test_a_file_without_a_number_is_refused(tmp_path: Path, sent: list[tuple[int, int]], text: str) -> None:
    """Rather than guessed at."""
    (tmp_path / "file").write_text(text)
    assert upgrade(tmp_path, "--pid-file", str(tmp_path / "file")) == MISUSED
    assert sent == []


def test_waiting_tells_whether_the_old_program_has_ended(tmp_path: Path, sent: list[tuple[int, int]]) -> None:
    """A process that nobody has buried yet has ended."""
    process(tmp_path, 77)
    assert upgrade(tmp_path, "77", "--wait", "0.01") == STILL_THERE
    (tmp_path / "77" / "stat").write_text("77 (a ) name) Z 1 2 3")
    assert upgrade(tmp_path, "77", "--wait", "5") == DONE
