"""Running programs for the tests: the proxy, and two clusters in memory behind it.

Starting a program takes most of a second, so tests share what they do not break: one sandbox without credentials,
one with, and before the first a proxy with the usual settings (`shared`). Whoever stops nodes or wants other settings
starts programs of their own (`own_sandbox`, `proxy`). Every proxy is judged by its log: a warning or an error that the
test has not announced fails it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.process.link import Link, Node
from tests.process.running_proxy import Proxy, Reachable
from tests.process.sandbox import NOBODY, Login, Sandbox
from tests.process.upgrading import Successor, Successors

ORIGIN_LOGIN: Login = ("origin_user", "origin_secret")
TARGET_LOGIN: Login = ("target_user", "target_secret")
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"

_numbers = itertools.count(1)
_link_hosts = itertools.cycle(f"127.0.80.{last}" for last in range(100, 200))


LayLink = Callable[[Node], Link]
NewKeyspace = Callable[[Sandbox], str]


class StartProxy(Protocol):
    def __call__(self, origin: Reachable, target: Reachable, *, ready: bool = True, **settings: object) -> Proxy: ...


class StartSandbox(Protocol):
    def __call__(
        self,
        origin: Login = NOBODY,
        target: Login = NOBODY,
        ports: tuple[int, int] = (0, 0),
        offers: Sequence[str] = (),
    ) -> Sandbox: ...


@pytest.fixture(scope="session")
def _open_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="session")
def _guarded_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("guarded"), ORIGIN_LOGIN, TARGET_LOGIN)
    yield sandbox
    sandbox.close()


@pytest.fixture
def sandbox(_open_sandbox: Sandbox) -> Iterator[Sandbox]:
    """Two clusters that ask for no credentials, shared by all tests: nodes are not to be stopped or stalled."""
    yield _open_sandbox
    _open_sandbox.calm()


@pytest.fixture
def guarded(_guarded_sandbox: Sandbox) -> Iterator[Sandbox]:
    """Two clusters that ask for credentials, each for its own, shared by all tests."""
    yield _guarded_sandbox
    _guarded_sandbox.calm()


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[StartSandbox]:
    """Starts a sandbox that belongs to this test alone."""
    started: list[Sandbox] = []

    def start(
        origin: Login = NOBODY, target: Login = NOBODY, ports: tuple[int, int] = (0, 0), offers: Sequence[str] = ()
    ) -> Sandbox:
        started.append(Sandbox(_directory(tmp_path), origin, target, ports, offers))
        return started[-1]

    yield start
    for sandbox in started:
        sandbox.close()


@pytest.fixture(scope="session")
def _shared_proxy(_open_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    origin, target = _open_sandbox.clusters
    running = Proxy(origin, target, tmp_path_factory.mktemp("proxy"), {"workers": 2}).wait_until_ready()
    yield running
    running.stop()


@pytest.fixture
def shared(_shared_proxy: Proxy, sandbox: Sandbox) -> Iterator[Proxy]:
    """The proxy with the usual settings and two workers before `sandbox`, shared by all tests."""
    yield _shared_proxy
    _shared_proxy.judge()


@pytest.fixture
def link() -> Iterator[LayLink]:
    """Lays a wire to a node, through which a proxy can reach it."""
    laid: list[Link] = []

    def lay(node: Node) -> Link:
        laid.append(Link(node, next(_link_hosts)))
        return laid[-1]

    yield lay
    for wire in laid:
        wire.close()


@pytest.fixture
def proxy(tmp_path: Path, own_sandbox: StartSandbox, link: LayLink) -> Iterator[StartProxy]:
    """Starts a proxy; settings are configuration keys in lower case. `ready` False: without waiting for readiness.

    It ends before what it is connected to, so that it has nothing to complain of.
    """
    started: list[Proxy] = []

    def start(origin: Reachable, target: Reachable, *, ready: bool = True, **settings: object) -> Proxy:
        running = Proxy(origin, target, _directory(tmp_path), settings)
        started.append(running)
        return running.wait_until_ready() if ready else running

    yield start
    for running in started:
        try:
            running.stop()
        finally:
            if running.program.is_running:
                running.program.kill()


@pytest.fixture
def successor() -> Iterator[Successor]:
    """Upgrades a proxy; what takes its place ends with the test."""
    successors = Successors()
    yield successors.upgrade
    successors.end()


@pytest.fixture
def keyspace() -> NewKeyspace:
    """Makes a new keyspace on both clusters, past the proxy, with a table `t` of texts and a table `c` of counters."""

    def make(sandbox: Sandbox) -> str:
        name = f"ks{next(_numbers)}"
        sandbox.query(f"CREATE KEYSPACE {name} WITH replication = {REPLICATION}")
        sandbox.query(f"CREATE TABLE {name}.t (k int PRIMARY KEY, v text)")
        sandbox.query(f"CREATE TABLE {name}.c (k int PRIMARY KEY, n counter)")
        return name

    return make


@pytest.fixture
def ks(sandbox: Sandbox, keyspace: NewKeyspace) -> str:
    """A new keyspace on the shared sandbox."""
    return keyspace(sandbox)


def _directory(parent: Path) -> Path:
    made = parent / str(next(_numbers))
    made.mkdir()
    return made
