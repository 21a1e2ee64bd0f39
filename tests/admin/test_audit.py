"""The audit file: what is in it stays in it."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from zdm.admin.audit import AuditEntry, AuditFile
from zdm.admin.switch import iso_time

ENTRY = AuditEntry("2026-09-21T14:13:20.250Z", "10.0.0.1:5000", "ann", 'a "b" müde', "ENABLED", "DISABLED")


def test_an_entry_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    AuditFile(str(path)).record(ENTRY)
    assert path.read_text() == (
        '{"time":"2026-09-21T14:13:20.250Z","peer":"10.0.0.1:5000","actor":"ann",'
        '"reason":"a \\"b\\" m\\u00fcde","before":"ENABLED","after":"DISABLED"}\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_entries_follow_those_of_earlier_runs(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    path.write_text('{"old":1}\n')
    for _ in range(2):
        AuditFile(str(path)).record(ENTRY)
    first, *others = path.read_text().splitlines()
    assert first == '{"old":1}' and [json.loads(line) for line in others] == [ENTRY._asdict()] * 2


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A full disk or a crash leaves such a line; it is kept as it is."""
    path = tmp_path / "audit"
    path.write_text('{"time":"2026-0')
    AuditFile(str(path)).record(ENTRY)
    broken, whole = path.read_text().splitlines()
    assert broken == '{"time":"2026-0' and json.loads(whole) == ENTRY._asdict()


def test_a_text_with_line_breaks_stays_in_its_line(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    AuditFile(str(path)).record(ENTRY._replace(reason='x\n{"time":"forged"}\u2028'))
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["reason"].startswith("x\n")


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """As log rotation does it, with no signal."""
    path = tmp_path / "audit"
    audit = AuditFile(str(path))
    audit.record(ENTRY)
    path.rename(tmp_path / "audit.1")
    audit.record(ENTRY)
    assert len(path.read_text().splitlines()) == len((tmp_path / "audit.1").read_text().splitlines()) == 1


def test_what_writes_at_the_same_time_keeps_its_lines_whole(tmp_path: Path) -> None:
    """Two proxies of one host may share a file. One may see the other's line while it grows, and leave an empty one."""
    path = tmp_path / "audit"
    audits = [AuditFile(str(path)) for _ in range(4)]
    writers = [
        threading.Thread(target=lambda audit=audit: [audit.record(ENTRY) for _ in range(25)]) for audit in audits
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [json.loads(line) for line in path.read_text().splitlines() if line] == [ENTRY._asdict()] * 100


def test_what_cannot_be_written_is_an_error_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AuditFile(str(tmp_path / "missing" / "audit")).record(ENTRY)
    with pytest.raises(IsADirectoryError):
        AuditFile(str(tmp_path)).record(ENTRY)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the device is Linux's")
def test_a_full_disk_is_an_error_to_the_caller() -> None:
    with pytest.raises(OSError, match="No space left"):
        AuditFile("/dev/full").record(ENTRY)


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "1970-01-01T00:00:00.000Z"), (1790000000.25, "2026-09-21T14:13:20.250Z")],
)
def test_times_are_utc_to_the_millisecond(seconds: float, text: str) -> None:
    assert iso_time(seconds) == text
