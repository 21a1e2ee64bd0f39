"""What a new program is given arrives in it, and only there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zdm.state_file import LoginRecord, SavedState, TargetRecord
from zdm.upgrade.estate import VARIABLE, Estate, UnknownEstateError, command, received, start

HEIR = """
import json, os, socket, sys
from zdm.upgrade.estate import VARIABLE, received
given = received()
assert VARIABLE not in os.environ
given.channel.send(json.dumps({
    "state": given.saved.model_dump(mode="json"),
    "ports": {address: [each.getsockname()[1] for each in some] for address, some in given.listeners.items()},
    "inherited": any(each.get_inheritable() for some in given.listeners.values() for each in some),
    "argument": sys.argv[1],
    "variable": os.environ["OTHER"],
}).encode())
"""

SAVED = SavedState(
    target=TargetRecord(enabled=False, since=1764000000.0, reason="sick", actor="ops", generation=3),
    logins=(LoginRecord(user="app", salt="0" * 32, digest="f" * 64),),
)


def test_what_is_given_arrives() -> None:
    """Sockets as open ones, and not for the children of the new program."""
    ours, theirs = socket.socketpair()
    one, two = socket.create_server(("127.0.40.91", 0)), socket.create_server(("127.0.40.91", 0))
    ports = [each.getsockname()[1] for each in (one, two)]
    estate = Estate(theirs, {"localhost:1": [one], "localhost:2": [two]}, SAVED)
    started = start(estate, [sys.executable, "-c", HEIR, "x"], {**os.environ, "OTHER": "y"})
    estate.close()
    ours.settimeout(20)
    with ours:
        found = json.loads(ours.recv(10000))
        assert ours.recv(1) == b"", "nobody else has the other end"
    assert started.wait(20) == 0
    assert SavedState.model_validate_json(json.dumps(found["state"])) == SAVED
    assert found["ports"] == {"localhost:1": [ports[0]], "localhost:2": [ports[1]]}
    assert (found["argument"], found["variable"], found["inherited"]) == ("x", "y", False)


def test_a_program_that_an_operator_has_started_is_given_nothing() -> None:
    """The usual case."""
    assert received({}) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "channel": 0}'])
def test_what_cannot_be_understood_is_refused(tmp_path: Path, text: str) -> None:
    """It comes from another version of the program."""
    file = tmp_path / "estate"
    file.write_text(text)
    environment = {VARIABLE: str(os.open(file, os.O_RDONLY))}
    with pytest.raises(UnknownEstateError, match="hands over"):
        received(environment)
    assert environment == {}


def test_a_program_is_started_as_it_was(tmp_path: Path) -> None:
    """With the interpreter's own options."""
    text = "from zdm.upgrade.estate import command; print(list(command()))"
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    shown = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", text, "--config", "x"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert shown.stdout.strip() == str([sys.executable, "-X", "utf8", "-c", text, "--config", "x"])
    assert command()[0] == sys.executable
