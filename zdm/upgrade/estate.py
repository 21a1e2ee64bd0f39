"""What a new program is given when the running one starts it: open descriptors, and what they are.

A file without a name holds the list; the environment says which descriptor that file is, and nothing else is different
from how the running program was started itself.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from typing import IO, Final, NamedTuple

from zdm.state_file import SavedState

VARIABLE: Final = "_ZDM_UPGRADE"
"""Not one of the keys, which begin with ZDM_."""

_FORMAT: Final = 1


class UnknownEstateError(Exception):
    """The program before is of a version that this one cannot take over from."""


class Estate(NamedTuple):
    """`listeners` are by the configured address, `host:port`; `saved` is what the old program knew at that time."""

    channel: socket.socket
    listeners: dict[str, list[socket.socket]]
    saved: SavedState

    def close(self) -> None:
        """Whoever has been given it keeps its own descriptors."""
        self.channel.close()
        for listeners in self.listeners.values():
            for each in listeners:
                each.close()


def command() -> Sequence[str]:
    """How this program was started, with the code that is on disk now."""
    return [sys.executable, *sys.orig_argv[1:]]


def start(estate: Estate, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program that is given the estate. Raises OSError."""
    with tempfile.TemporaryFile() as file:
        _write(estate, file)
        descriptors = [estate.channel.fileno(), *(each.fileno() for some in estate.listeners.values() for each in some)]
        return subprocess.Popen(
            arguments,
            env={**environment, VARIABLE: str(file.fileno())},
            pass_fds=(file.fileno(), *descriptors),
        )


def received(environment: MutableMapping[str, str] = os.environ) -> Estate | None:
    """What this program was given, which is taken out of the environment; None where an operator has started it.

    Raises UnknownEstateError.
    """
    number = environment.pop(VARIABLE, "")
    if not number:
        return None
    try:
        with open(int(number), "rb") as file:
            file.seek(0)
            found = json.load(file)
        if found["format"] != _FORMAT:
            raise UnknownEstateError(f"the running program hands over in format {found['format']}, not in {_FORMAT}")
        return Estate(
            _opened(found["channel"]),
            {address: [_opened(each) for each in some] for address, some in found["listeners"].items()},
            SavedState.model_validate_json(json.dumps(found["saved"])),
        )
    except (KeyError, OSError, TypeError, ValueError) as fault:
        raise UnknownEstateError(f"what the running program hands over cannot be understood: {fault!r}") from fault


def _write(estate: Estate, file: IO[bytes]) -> None:
    written = {
        "format": _FORMAT,
        "channel": estate.channel.fileno(),
        "listeners": {address: [each.fileno() for each in some] for address, some in estate.listeners.items()},
        "saved": estate.saved.model_dump(mode="json"),
    }
    file.write(json.dumps(written).encode())
    file.flush()


def _opened(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)
