"""`zdm-proxy upgrade`: tell a running proxy to have a new program take over from it.

All it does is to send SIGUSR2, which would end a process that does not expect it: so it looks first whether that is a
proxy. What comes of the upgrade is in the proxy's log; with `--wait` the exit code tells as well.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

DONE: Final = 0
STILL_THERE: Final = 1
MISUSED: Final = 2

DESCRIPTION: Final = """\
Tell a running proxy to start its program anew, from what is on disk now, and to hand over to it: listening sockets,
target's state, logins, and each client's connection when nothing of it is under way. No client notices.
"""

EPILOG: Final = """\
Exit codes: 0 the proxy was told, with --wait: and has ended, so the new program serves; 1 with --wait: it is still
there, because the new program has failed or not all clients have come to rest (its log says which); 2 nothing was done.
"""

_POLL: Final = 0.1
_CATCHES: Final = "SigCgt:"


class Misuse(Exception):
    """Nothing was done; the text says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("pid", nargs="?", type=int, help="the proxy's process id; with workers: that of the supervisor")
    which.add_argument("--pid-file", metavar="FILE", help="a file with that number in it")
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=0.0, help="wait so long for the proxy's end")


def run(options: argparse.Namespace, processes: Path = Path("/proc")) -> int:
    """The command; its exit code."""
    try:
        pid = options.pid if options.pid_file is None else _read(options.pid_file)
        _check(pid, processes)
        os.kill(pid, signal.SIGUSR2)
    except (Misuse, OSError) as fault:
        print(f"zdm-proxy upgrade: {fault}", file=sys.stderr)
        return MISUSED
    until = time.monotonic() + options.wait
    while (is_there := _is_there(pid, processes)) and time.monotonic() < until:
        time.sleep(_POLL)
    return STILL_THERE if options.wait and is_there else DONE


def _read(path: str) -> int:
    text = Path(path).read_text(encoding="utf-8", errors="replace").strip()
    if not text.isascii() or not text.isdigit():
        raise Misuse(f"there is no process id in {path}")
    return int(text)


def _check(pid: int, processes: Path) -> None:
    """Raises Misuse where the process is none that can be upgraded."""
    if pid <= 0:
        raise Misuse(f"{pid} is no process id")
    try:
        status = (processes / str(pid) / "status").read_text()
        command = (processes / str(pid) / "cmdline").read_bytes()
    except FileNotFoundError:
        raise Misuse(f"there is no process {pid}, or none that can be looked at") from None
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith(_CATCHES)), "0")
    if b"zdm" not in command or not int(caught, 16) >> (signal.SIGUSR2 - 1) & 1:
        raise Misuse(f"process {pid} is no proxy that can be upgraded, or one that is just starting")


def _is_there(pid: int, processes: Path) -> bool:
    try:
        return (processes / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
