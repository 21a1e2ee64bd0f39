"""The stages on which sessions are played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from tests import frames
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import ORDERS, ORIGIN, TARGET, stage
from zdm.core.clusters import Side
from zdm.core.intercept import SystemTables


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that uses `spoken` is run in v4 and in v5, but for what is marked `bare`: bytes as v4 has them."""
    if "spoken" in metafunc.fixturenames:
        is_bare = metafunc.definition.get_closest_marker("bare") is not None
        metafunc.parametrize("spoken", [4] if is_bare else [4, 5], ids=lambda version: f"v{version}", indirect=True)


@pytest.fixture
def spoken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The version of every play and frame of the test that names none."""
    monkeypatch.setattr(frames.Spoken, "version", request.param)
    return int(request.param)


class Perform(Protocol):
    """Makes a ready play; fields of `Settings` by name."""

    def __call__(self, version: int | None = None, **settings: Any) -> Play: ...


@pytest.fixture
def play() -> Iterator[Play]:
    """A session that is ready, without authentication, with origin as primary."""
    with Play() as play:
        play.become_ready()
        yield play


@pytest.fixture
def fresh() -> Iterator[Play]:
    """A session whose cluster connections are open and whose client has sent nothing yet."""
    with Play() as play:
        play.open()
        yield play


@pytest.fixture
def perform() -> Iterator[Perform]:
    """Ready sessions with settings of their own; what is left of each is looked at in the end."""
    with ExitStack() as stack:

        def ready(version: int | None = None, **settings: Any) -> Play:
            return stack.enter_context(Play(stage(**settings), version).become_ready())

        yield ready


@pytest.fixture(params=[ORIGIN, TARGET], ids=lambda side: f"primary-{side.name.lower()}")
def primary(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


@pytest.fixture(params=ORDERS, ids=lambda order: f"{order[0].name.lower()}-first")
def order(request: pytest.FixtureRequest) -> Sequence[Side]:
    sides: Sequence[Side] = request.param
    return sides


@pytest.fixture
def tables() -> SystemTables:
    """The first of three proxies before a cluster of one node."""
    return system_tables(proxies(*FLEET))


@pytest.fixture
def alone() -> SystemTables:
    return system_tables(proxies("127.0.0.1"))
