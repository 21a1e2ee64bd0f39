"""The file that outlives the proxy: what an operator asked for, and what is needed to do it without target.

`SavedState` is its content: whether target is enabled and who said so, what was last known of target, and the logins
that target accepted (names, salts and hashes; never a password). `StateFile` reads and writes it. The file is replaced
as a whole, so a crash leaves the one before; a file that cannot be used stops the start, because guessing whether the
target is to be written to would be worse. Nothing here may run in the reactor's thread once the proxy serves: the calls
wait for the disk.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zdm.admin.switch import iso_time

FORMAT: Final = 1
_MOST_BYTES: Final = 16 * 1024 * 1024

# what a number may be that this program wrote: a time that can be shown, a protocol version
_Seconds = Annotated[float, Field(ge=0, le=2**40, allow_inf_nan=False)]


class UnusableFileError(Exception):
    """A file cannot be read or written that the configuration names; the text names it and says what to do."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TargetRecord(_Record):
    """What is wanted of target. `since` is seconds since the epoch, None where nobody ever changed it."""

    enabled: bool = True
    since: _Seconds | None = None
    reason: str = ""
    actor: str = ""
    generation: Annotated[int, Field(ge=0)] = 0

    @property
    def word(self) -> str:
        """As the log and the audit file say it."""
        return "ENABLED" if self.enabled else "DISABLED"

    @property
    def history(self) -> str:
        """Since when, by whom and why, as far as that is known: what may follow in a sentence."""
        since = "" if self.since is None else f" since {iso_time(self.since)}"
        return since + "".join(f", {text}" for text in (self.actor and f"by {self.actor}", self.reason) if text)


class KnownTarget(_Record):
    """What target's control connection found last: what sessions negotiate by while it is not there."""

    auth_required: bool
    version: Annotated[int, Field(ge=1, le=127)]
    supported: dict[str, list[str]]


class LoginRecord(_Record):
    """A login that target accepted: 16 bytes of salt and 32 of scrypt's result, in hexadecimal digits."""

    user: str
    salt: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SavedState(_Record):
    """All of it. `logins` are in the order in which target accepted them, the oldest first."""

    format: Literal[1] = FORMAT
    target: TargetRecord = TargetRecord()
    known: KnownTarget | None = None
    logins: tuple[LoginRecord, ...] = ()


class _Version(BaseModel):
    model_config = ConfigDict(strict=True)

    format: int


class StateFile:
    """The file at `path`; a symbolic link stays one."""

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self._place: Final = os.path.realpath(path)

    def read(self) -> SavedState:
        """Its content; the defaults where there is no file yet. Raises UnusableFileError."""
        try:
            content = self._content()
        except FileNotFoundError:
            return SavedState()
        except OSError as error:
            raise self._unusable(f"it cannot be read: {error.strerror or error}") from error
        try:
            if (found := _Version.model_validate_json(content).format) != FORMAT:
                raise self._unusable(f"its format is {found}, and this version of the proxy reads format {FORMAT} only")
            return SavedState.model_validate_json(content)
        except ValidationError as error:
            raise self._unusable(f"it is damaged: {_first_fault(error)}") from error

    def write(self, state: SavedState) -> None:
        """Replaces it; returns when that is on disk. Raises OSError, and then the file is as it was."""
        content = state.model_dump_json(indent=1).encode() + b"\n"
        directory = os.path.dirname(self._place)
        handle, written = tempfile.mkstemp(prefix=f".{os.path.basename(self._place)}.", suffix=".new", dir=directory)
        try:
            with open(handle, "wb") as file:  # readable by its owner alone, as mkstemp makes it
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(written, self._place)
        except BaseException:
            with suppress(OSError):
                os.unlink(written)
            raise
        _sync_directory(directory)

    def unwritable(self, error: OSError) -> UnusableFileError:
        """Of a write at start: the place is a fault of the configuration."""
        return UnusableFileError(
            f"the state file {self.path} cannot be written: {error.strerror or error}. Its directory must exist, "
            "and the proxy must be allowed to create and rename files in it; or unset ZDM_STATE_FILE."
        )

    def _content(self) -> bytes:
        # a pipe would be waited for, without end
        opened = os.open(self._place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError("it is no regular file")
            if len(content := file.read(_MOST_BYTES + 1)) > _MOST_BYTES:
                raise OSError(f"it has more than {_MOST_BYTES} bytes")
        return content

    def _unusable(self, reason: str) -> UnusableFileError:
        return UnusableFileError(
            f"the state file {self.path} cannot be used: {reason}. Mend it or put a copy in its place; or move it "
            "away, and say with ZDM_TARGET_ENABLED_AT_START=true or false whether target is enabled."
        )


def _first_fault(error: ValidationError) -> str:
    """Where and what, without what was found there."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _sync_directory(directory: str) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
