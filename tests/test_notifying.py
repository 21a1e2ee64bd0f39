"""A service manager is told by datagrams, where there is one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.net.nodes import Lines
from zdm.notifying import READY, main_process, notifier, silent


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The name in the environment, and the end where the datagrams arrive."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@zdm-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        receiving.settimeout(5)
        yield name, receiving


def test_a_manager_gets_each_text_as_one_datagram(manager: tuple[str, socket.socket]) -> None:
    """As sd_notify(3) has it."""
    name, receiving = manager
    log: Any = Lines()
    notify = notifier(log, {"NOTIFY_SOCKET": name})
    notify(READY)
    notify(main_process(77))
    assert [receiving.recv(100) for _ in range(2)] == [b"READY=1", b"MAINPID=77"]
    assert log.lines == []


def test_without_a_manager_nobody_is_told() -> None:
    """As when it is started by hand."""
    log: Any = Lines()
    assert notifier(log, {}) is silent
    silent(READY)


def test_a_manager_that_cannot_be_told_is_no_reason_to_fail(tmp_path: Path) -> None:
    """It has gone, or the sandbox of the service does not let it be reached."""
    log: Any = Lines()
    notifier(log, {"NOTIFY_SOCKET": str(tmp_path / "nobody")})(READY)
    (line,) = log.texts("warn")
    assert line.startswith("The service manager could not be told READY=1: ")
