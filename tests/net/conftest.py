"""The stages of the pump tests, and the process's log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from tests.net.wires import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def faults() -> Iterator[list[str]]:
    """Errors in the process's log, each with the message of its failure. A test that provokes some clears the list."""
    found: list[str] = []

    def write_down(event: Any) -> None:
        if event["log_level"] >= LogLevel.error:
            failed = event.get("log_failure")
            found.append(f"{formatEvent(event)} {'' if failed is None else failed.getErrorMessage()}")

    observer: Any = write_down
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)
    assert found == []
