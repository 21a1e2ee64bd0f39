"""Options and fixtures: the clusters, the proxy, an application's client, and the two clusters read directly."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from conformance import matrix
from conformance.awaiting import await_true
from conformance.backends.ccm import CassandraClusters
from conformance.backends.interface import CAPABILITIES, Clusters, Credentials, Setup
from conformance.backends.sandbox import SandboxClusters
from conformance.backends.simulacron import SimulacronClusters
from conformance.client import COMPRESSION, Client, Entry
from conformance.comparison import Both
from conformance.ports import own_network
from conformance.proxy import Proxy, client_credentials, environment_of
from conformance.traffic import Writer

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "conformance"
KEYSPACE = "conformance"
BACKENDS: Final[dict[str, type[Clusters]]] = {
    backend.name: backend for backend in (CassandraClusters, SandboxClusters, SimulacronClusters)
}
TERMINAL: Final = pytest.StashKey[int]()
ALLOWED_SKIP: Final = "allowed_skip"
AUTHENTICATED = {
    "both": frozenset({"origin", "target"}),
    "origin": frozenset({"origin"}),
    "target": frozenset({"target"}),
    "none": frozenset[str](),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Each option may be given in the environment too; the option wins."""
    group = parser.getgroup("conformance")
    for name, variable, default, text in (
        ("--proxy-command", "PROXY_COMMAND", str(ROOT / ".venv/bin/zdm-proxy"), "the proxy under test"),
        ("--clusters", "CLUSTERS", "", "ccm, sandbox or simulacron; where it is empty, --use-ccm says"),
        ("--use-ccm", "USE_CCM", "1", "1: ccm; 0: simulacron if --simulacron-path is given, sandbox otherwise"),
        ("--cassandra-version", "CASSANDRA_VERSION", "4.1.10,5.0.9", "ORIGIN[,TARGET]"),
        ("--dse-version", "DSE_VERSION", "", "refused: there is no DSE to be had"),
        ("--simulacron-path", "SIMULACRON_PATH", "", "the jar; fetched where it is empty"),
        ("--auth", "CASSANDRA_AUTH", "both", "clusters that check passwords: both, origin, target, none"),
        ("--primary", "PRIMARY_CLUSTER", "ORIGIN", "ORIGIN or TARGET"),
        ("--protocol", "PROTOCOL_VERSIONS", "4,3", "protocol versions, comma-separated"),
        ("--compression", COMPRESSION, "none", "what clients compress with: lz4, snappy, none"),
        ("--debug-proxy", "DEBUG", "", "1: the proxy logs at debug level, and its log is shown while it runs"),
        ("--drivers", "DRIVERS", "", "programs in drivers/, comma-separated; none where it is empty"),
        ("--driver-protocol", "DRIVER_PROTOCOL", "0", "their protocol version; 0: what they agree on with the proxy"),
        ("--driver-compression", "DRIVER_COMPRESSION", "none", "comma-separated: none, lz4, snappy"),
    ):
        group.addoption(name, default=os.environ.get(variable, default), help=f"{text} (${variable}, {default})")
    group.addoption("--direct", nargs="?", const="origin", choices=("origin", "target"), help="no proxy, one cluster")
    group.addoption("--write-matrix", action="store_true", help="write matrix.md and run nothing")


def drivers_of(config: pytest.Config) -> list[str]:
    return [name for name in str(config.getoption("drivers")).split(",") if name]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The programs of other drivers need their toolchains: they are run where they are asked for, and nothing else."""
    if config.getoption("write_matrix"):
        return None
    if collection_path.name in ("drivers", "scenarios") and collection_path.parent == Path(__file__).parent:
        return (collection_path.name == "drivers") != bool(drivers_of(config))
    return None


def is_on(config: pytest.Config, name: str) -> bool:
    """A switch that may come from the environment: 1, true, yes, in any case."""
    return str(config.getoption(name)).lower() in ("1", "true", "yes")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dse_version"):
        raise pytest.UsageError("DSE can't be tested: it is in no public registry. Leave DSE_VERSION empty.")
    if backend_of(config) not in BACKENDS:
        raise pytest.UsageError(f"no clusters {backend_of(config)}, there are: {', '.join(BACKENDS)}")
    if config.getoption("compression") not in ("lz4", "snappy", "none"):
        raise pytest.UsageError("--compression is lz4, snappy or none")
    if config.getoption("compression") != "none" and backend_of(config) == "simulacron":
        raise pytest.UsageError("Simulacron offers compression, and cannot read it")
    os.environ[COMPRESSION] = config.getoption("compression")
    if is_on(config, "debug_proxy"):
        config.stash[TERMINAL] = os.dup(2)  # what the run shows, before pytest captures it


def backend_of(config: pytest.Config) -> str:
    """The name of the backend. A flag wins over the environment, ``--clusters`` over ``--use-ccm``."""
    asked = [argument.partition("=")[0] for argument in config.invocation_params.args]
    named = config.getoption("clusters")
    if named and ("--clusters" in asked or "--use-ccm" not in asked):
        return str(named)
    if is_on(config, "use_ccm"):
        return "ccm"
    return "simulacron" if config.getoption("simulacron_path") else "sandbox"


def options_of(config: pytest.Config) -> str:
    return ", ".join(f"{name} {config.getoption(name)}" for name in ("primary", "protocol", "compression"))


def proxy_version(config: pytest.Config) -> str:
    """What the command says of itself; a command that does not know --version is named."""
    if config.getoption("direct"):
        return f"none, direct to {config.getoption('direct')}"
    command = config.getoption("proxy_command")
    try:
        said = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return Path(command).name
    return said.stdout.strip() if said.returncode == 0 and said.stdout.strip() else Path(command).name


def pytest_report_header(config: pytest.Config) -> str:
    names = ("cassandra_version", "auth", "primary", "protocol", "compression", "direct")
    options = [f"clusters {backend_of(config)}", *(f"{name} {config.getoption(name)}" for name in names)]
    return f"conformance: {', '.join(options)}"


def needs_of(item: pytest.Item) -> frozenset[str]:
    return frozenset(itertools.chain.from_iterable(mark.args for mark in item.iter_markers("needs")))


def scenario_of(item: pytest.Item) -> str:
    return f"{item.path.stem}::{getattr(item, 'originalname', item.name)}"


@pytest.hookimpl(tryfirst=True)  # before -k and -m take scenarios away
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    scenarios = {scenario_of(item): needs_of(item) for item in items}
    if config.getoption("write_matrix"):
        matrix.PATH.write_text(matrix.render(scenarios, list(BACKENDS.values())))
        items.clear()
        return
    table = matrix.read()
    for scenario, needs in scenarios.items():
        right = {name: matrix.cell(needs, backend) for name, backend in BACKENDS.items()}
        if table.get(scenario) != right:
            raise pytest.UsageError(f"matrix.md has {table.get(scenario)} for {scenario}, its needs say {right}")
    modules = {scenario.partition("::")[0] for scenario in scenarios}
    gone = {scenario for scenario in table.keys() - scenarios.keys() if scenario.partition("::")[0] in modules}
    if gone and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"matrix.md has scenarios that are gone: {', '.join(sorted(gone))}")


@pytest.fixture(autouse=True)
def _capable(request: pytest.FixtureRequest, capabilities: frozenset[str], config_backend: type[Clusters]) -> None:
    """Skips what this run cannot show, if the table says so too."""
    missing = needs_of(request.node) - capabilities
    if missing:
        text = matrix.read()[scenario_of(request.node)][config_backend.name]
        assert matrix.allows(text, missing), f"needs {missing}, and matrix.md says {text!r}"
        request.node.user_properties.append((ALLOWED_SKIP, True))
        pytest.skip("; ".join(f"not here: {CAPABILITIES[word]}" for word in sorted(missing)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and (ALLOWED_SKIP, True) not in item.user_properties:
        report.outcome = "failed"
        report.longrepr = f"skipped, and matrix.md does not say so: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The numbers that scenarios measured, one line each."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    measured = [report for report in reports if report.when == "call" and report.user_properties]
    if measured:
        terminalreporter.section("measured")
    for report in measured:
        numbers = ", ".join(f"{name} {number}" for name, number in report.user_properties)
        terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {numbers}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marked = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "protocol" in metafunc.fixturenames and "protocol" not in marked:  # a scenario may be of one version
        versions = [int(version) for version in metafunc.config.getoption("protocol").split(",")]
        metafunc.parametrize("protocol", versions, ids=[f"v{version}" for version in versions])


@pytest.fixture(scope="session")
def config_backend(pytestconfig: pytest.Config) -> type[Clusters]:
    return BACKENDS[backend_of(pytestconfig)]


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    with own_network(BUILD) as prefix:
        yield prefix


@pytest.fixture(scope="session")
def clusters(
    pytestconfig: pytest.Config,
    network: str,
    config_backend: type[Clusters],
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[Clusters]:
    """Origin and target with nothing in them but the keyspace of the scenarios."""
    origin, _, target = pytestconfig.getoption("cassandra_version").partition(",")
    setup = Setup(
        network,
        directory=BUILD / "clusters" / network.strip(".").replace(".", "-"),
        versions=(origin, target or origin),
        authenticated=AUTHENTICATED[pytestconfig.getoption("auth")],
        simulacron=pytestconfig.getoption("simulacron_path"),
    )
    backend = config_backend(setup)
    try:
        backend.start()
        record_testsuite_property("backend", backend.name)
        record_testsuite_property("clusters", backend.describe())
        record_testsuite_property("proxy", proxy_version(pytestconfig))
        record_testsuite_property("options", options_of(pytestconfig))
        replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        for node in backend.nodes:
            with Client(Entry(node.address, node.port, node.credentials), protocol=4) as client:
                client.execute(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}")
        yield backend
    finally:
        backend.stop()


@pytest.fixture(scope="session")
def capabilities(pytestconfig: pytest.Config, clusters: Clusters) -> frozenset[str]:
    return clusters.present | (set() if pytestconfig.getoption("direct") else {"proxy"})


@pytest.fixture(scope="session")
def credentials(pytestconfig: pytest.Config, clusters: Clusters) -> Credentials | None:
    """What an application sends."""
    direct = pytestconfig.getoption("direct")
    if direct:
        return (clusters.origin if direct == "origin" else clusters.target).credentials
    return client_credentials(clusters.origin, clusters.target)


@pytest.fixture(scope="session")
def new_proxy(pytestconfig: pytest.Config, clusters: Clusters, network: str) -> Iterator[Callable[..., Proxy]]:
    """Makes a proxy that is not started: ``new_proxy(number, port, ZDM_...="...")``; the number is its address."""
    command = shlex.split(pytestconfig.getoption("proxy_command"))
    common = environment_of(clusters) | {
        "ZDM_PRIMARY_CLUSTER": pytestconfig.getoption("primary"),
        "ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS": "1000",  # after an outage the next scenario need not wait half a minute
    }
    terminal = pytestconfig.stash.get(TERMINAL, None)
    if terminal is not None:
        common["ZDM_LOG_LEVEL"] = "DEBUG"
    logs = (BUILD / "logs" / f"proxy-{network.split('.')[2]}-{number}.log" for number in itertools.count())
    made: list[Proxy] = []

    def make(number: int = 1, port: int = 0, **settings: str) -> Proxy:
        log = next(logs)
        log.unlink(missing_ok=True)
        proxy = Proxy(command, common | settings, f"{network}{100 + number}", log, port, terminal)
        proxy.always_expected = [
            f"{node.name} ControlConn: authentication is NOT enabled" for node in clusters.nodes if not node.credentials
        ]
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        proxy.kill()


@pytest.fixture(scope="session")
def shared_proxy(pytestconfig: pytest.Config, new_proxy: Callable[..., Proxy]) -> Iterator[Proxy | None]:
    """The one that serves every scenario that does not ask for its own. None with --direct."""
    if pytestconfig.getoption("direct"):
        yield None
        return
    proxy = new_proxy()
    proxy.mark()
    proxy.start()
    assert not proxy.complaints(), f"logged while starting: {proxy.complaints()}"
    yield proxy
    proxy.end()


@pytest.fixture
def proxy(shared_proxy: Proxy | None) -> Iterator[Proxy]:
    """The shared proxy, for a scenario that needs "proxy". It must still be alive afterwards, and have kept quiet.

    What an earlier scenario did to the clusters is over: the proxy has found both of them again.
    """
    assert shared_proxy is not None
    await_true(shared_proxy.is_ready, "the proxy is ready for the next scenario")
    with quiet(shared_proxy):
        yield shared_proxy


class quiet:  # noqa: N801  # reads as a word: with quiet(proxy)
    """Fails when the proxy logged a warning or an error that ``proxy.expect`` had not announced, or is dead."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy

    def __enter__(self) -> Proxy:
        self.proxy.mark()
        return self.proxy

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        if kind is None:
            assert self.proxy.is_running(), f"the proxy died, exit code {self.proxy.exit_code()}\n{self.proxy.tail()}"
            complaints = self.proxy.complaints()
            assert not complaints, "the proxy logged:\n" + "\n".join(complaints[:20])


@pytest.fixture
def own_proxy(new_proxy: Callable[..., Proxy]) -> Iterator[Callable[..., Proxy]]:
    """Makes and starts a proxy that only this scenario has, and ends it afterwards. Its log is judged too."""
    made: list[Proxy] = []

    def make(number: int = 1, port: int = 0, **settings: str) -> Proxy:
        proxy = new_proxy(number, port, **settings)
        proxy.mark()
        made.append(proxy)
        proxy.start()
        return proxy

    yield make
    for proxy in made:
        proxy.end()
        assert not proxy.complaints(), "the proxy logged:\n" + "\n".join(proxy.complaints()[:20])


@pytest.fixture
def entry(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, clusters: Clusters, credentials: Credentials | None
) -> Entry:
    """Where an application connects in this run."""
    direct = pytestconfig.getoption("direct")
    if direct:
        node = clusters.origin if direct == "origin" else clusters.target
        return Entry(node.address, node.port, node.credentials)
    proxy: Proxy = request.getfixturevalue("proxy")
    return proxy.entry(credentials)


@pytest.fixture
def connect(request: pytest.FixtureRequest, protocol: int) -> Iterator[Callable[..., Client]]:
    """Makes clients: ``connect(keyspace=..., at=...)``, at another entry for example; closed after the scenario."""
    made: list[Client] = []

    def make(keyspace: str | None = KEYSPACE, at: Entry | None = None) -> Client:
        made.append(Client(at or request.getfixturevalue("entry"), protocol, keyspace))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def write(connect: Callable[..., Client]) -> Iterator[Callable[..., Writer]]:
    """Starts a writer: ``write(table, client, pause)``; each has a million keys of its own. Ended before its client."""
    made: list[Writer] = []

    def start(table: str, client: Client | None = None, pause: float = 0.0) -> Writer:
        made.append(Writer(client or connect(), table, first=(len(made) + 1) * 1_000_000, pause=pause))
        return made[-1].start()

    yield start
    for writer in made:
        writer.stop()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    """An application connected through the proxy, in the keyspace of the scenarios."""
    return connect()


@pytest.fixture(scope="session")
def new_both(pytestconfig: pytest.Config, clusters: Clusters) -> Iterator[Callable[[], Both]]:
    """Makes comparisons of the clusters this run looks at: both, or with --direct the one that is used."""
    direct = pytestconfig.getoption("direct")
    sides = [node for node in clusters.nodes if direct in (None, node.name)]
    made: list[Both] = []

    def make() -> Both:
        made.append(Both(sides, KEYSPACE))
        return made[-1]

    yield make
    for comparison in made:
        comparison.close()


@pytest.fixture
def both(new_both: Callable[[], Both]) -> Iterator[Both]:
    """The clusters read directly."""
    comparison = new_both()
    yield comparison
    comparison.close()


_numbers = itertools.count(1)


@pytest.fixture
def table() -> str:
    """A name that no other scenario uses."""
    return f"t{next(_numbers)}"


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
