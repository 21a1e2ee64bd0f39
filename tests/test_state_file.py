"""The file that outlives the proxy, on a real file system."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zdm.state_file import KnownTarget, LoginRecord, SavedState, StateFile, TargetRecord, UnusableFileError

LOGIN = LoginRecord(user="app", salt="00" * 16, digest="ff" * 32)
STATE = SavedState(
    target=TargetRecord(enabled=False, since=1764000000.25, reason="it is sick — “very”", actor="ops", generation=3),
    known=KnownTarget(auth_required=True, version=4, supported={"CQL_VERSION": ["3.4.6"], "COMPRESSION": []}),
    logins=(LOGIN, LoginRecord(user="", salt="0a" * 16, digest="0b" * 32)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def fault(path: Path) -> str:
    with pytest.raises(UnusableFileError) as caught:
        StateFile(str(path)).read()
    return str(caught.value)


def changed(**values: Any) -> str:
    """The text of a good file in which some values are others; a value of None is left out."""
    content = json.loads(STATE.model_dump_json()) | values
    return json.dumps({name: value for name, value in content.items() if value is not None})


def test_what_was_written_is_read(path: Path) -> None:
    """All of it, after any time."""
    StateFile(str(path)).write(STATE)
    assert StateFile(str(path)).read() == STATE


def test_without_a_file_target_is_enabled_and_nothing_is_known(path: Path) -> None:
    """The first start."""
    state = StateFile(str(path)).read()
    assert state == SavedState() and state.target.enabled and state.target.since is None


def test_only_its_owner_can_read_it(path: Path) -> None:
    """Hashes of passwords are nobody else's business, whatever the umask says."""
    before = os.umask(0)
    try:
        StateFile(str(path)).write(STATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_replaced_as_a_whole(path: Path) -> None:
    """Whoever has it open reads what was there, to the end: no moment has half a file."""
    StateFile(str(path)).write(STATE)
    with path.open() as before:
        StateFile(str(path)).write(SavedState())
        assert json.loads(before.read())["target"]["generation"] == 3
    assert StateFile(str(path)).read() == SavedState()
    assert os.listdir(path.parent) == [path.name]


def test_file_and_name_are_on_disk_when_it_was_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order: content, name, directory. A power cut in between leaves the file before."""
    done: list[str] = []

    def told(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            kind = "directory" if name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else name
            done.append(kind)
            real(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, told(name, getattr(os, name)))
    StateFile(str(path)).write(STATE)
    assert done == ["fsync", "replace", "directory"]


def test_a_write_that_fails_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no rubbish beside it."""
    StateFile(str(path)).write(STATE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        StateFile(str(path)).write(SavedState())
    assert StateFile(str(path)).read() == STATE
    assert os.listdir(path.parent) == [path.name]


def test_a_symbolic_link_stays_one(path: Path) -> None:
    """Its file is where the operator wants it, on another disk perhaps."""
    place = path.parent / "elsewhere"
    place.mkdir()
    path.symlink_to(place / "real.json")
    StateFile(str(path)).write(STATE)
    assert path.is_symlink() and StateFile(str(place / "real.json")).read() == STATE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is damaged: Invalid JSON: EOF while parsing"),
        (STATE.model_dump_json()[:-9], "it is damaged: Invalid JSON: EOF while parsing"),
        ("\0" * 100, "it is damaged: Invalid JSON"),
        ("[]", "it is damaged: Input should be an object"),
        ("{}", "it is damaged: format: Field required"),
        (changed(format="1"), "it is damaged: format: Input should be a valid integer"),
        (changed(format=2), "its format is 2, and this version of the proxy reads format 1 only"),
        (changed(target={"enabled": "no"}), "it is damaged: target.enabled: Input should be a valid boolean"),
        (changed(target={"since": 1e300}), "it is damaged: target.since: Input should be less than or equal"),
        (changed(target={"since": -1.0}), "it is damaged: target.since: Input should be greater than or equal"),
        (changed(target={"generation": -1}), "it is damaged: target.generation: Input should be greater"),
        (changed(surprise=1), "it is damaged: surprise: Extra inputs are not permitted"),
        (changed(logins=[{"user": "app", "salt": "", "digest": "ff" * 32}]), "it is damaged: logins.0.salt: String"),
        (changed(logins=[{"user": "app", "salt": "00" * 16}]), "it is damaged: logins.0.digest: Field required"),
        (changed(known={"auth_required": True, "version": 4}), "it is damaged: known.supported: Field required"),
    ],
)
def test_a_damaged_file_is_told_of_with_what_to_do(path: Path, text: str, reason: str) -> None:
    """Guessing whether target is to be written to would be worse than not to start."""
    path.write_text(text)
    told = fault(path)
    assert told.startswith(f"the state file {path} cannot be used: {reason}")
    assert "ZDM_TARGET_ENABLED_AT_START=true or false" in told
    assert path.read_text() == text


def test_a_fault_does_not_repeat_what_is_in_the_file(path: Path) -> None:
    """It goes to a log that many may read."""
    path.write_text(changed(logins=[{"user": "app", "salt": "secret-looking", "digest": "ff" * 32}]))
    assert "secret-looking" not in fault(path)


def test_a_directory_in_its_place_is_told_of(path: Path) -> None:
    """As volumes make them where the file was not there."""
    path.mkdir()
    assert "cannot be read: Is a directory" in fault(path)


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    """The start would hang without a word."""
    os.mkfifo(path)
    assert "cannot be read: it is no regular file" in fault(path)


def test_a_file_of_any_size_is_not_read_whole(path: Path) -> None:
    """It is none of ours, whatever it is."""
    with path.open("wb") as file:
        file.truncate(2**40)
    assert "it has more than 16777216 bytes" in fault(path)
