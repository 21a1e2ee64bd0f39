"""The audit file: one line of JSON for every change made over HTTP, only ever appended to.

Lines already there are never rewritten. A line that was cut short, by a full disk or a crash, is left as it is and
the next one begins on a line of its own.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Final, NamedTuple


class AuditEntry(NamedTuple):
    """One change; the keys of the line, in this order."""

    time: str
    """ISO-8601 in UTC, see `iso_time`."""
    peer: str
    actor: str
    reason: str
    before: str
    """ENABLED or DISABLED."""
    after: str


class AuditFile:
    """The file at `path`. It is opened for each entry, so it can be moved away while the proxy runs."""

    def __init__(self, path: str) -> None:
        self._path: Final = path

    def record(self, entry: AuditEntry) -> None:
        """Returns when the line is on disk. Raises OSError where it could not be written whole."""
        line = json.dumps(entry._asdict(), separators=(",", ":")).encode() + b"\n"
        opened = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            is_file = stat.S_ISREG(os.fstat(opened).st_mode)
            if is_file and _is_cut_short(opened):
                line = b"\n" + line
            if os.write(opened, line) != len(line):  # in one call: lines of several writers stay whole
                raise OSError("the line was written in part only")
            if is_file:
                os.fsync(opened)
        finally:
            os.close(opened)


def unrecorded(path: str, entry: AuditEntry, reason: str) -> str:
    """What the log says instead: the line is not lost there."""
    return f"The audit file {path} could not be written: {reason}; the line was: {entry._asdict()}"


def _is_cut_short(opened: int) -> bool:
    size = os.fstat(opened).st_size
    return size > 0 and os.pread(opened, 1, size - 1) != b"\n"
