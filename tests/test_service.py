"""The running program without a running reactor: start-up, shutdown, and what HTTP asks meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport

from tests import frames
from tests.at_once import at_once
from tests.authority import Authority
from tests.net.nodes import Lines, Network
from tests.net.ports import Ports
from tests.net.wires import Wire
from zdm.admin.switch import TargetState
from zdm.certificates import tls_plans
from zdm.config import Config
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.core.target_mode import TargetMode
from zdm.net.threads import Run
from zdm.service import ProxyService
from zdm.state_file import SavedState, StateFile, TargetRecord
from zdm.tls_ends import NO_TLS, TlsEnds
from zdm.workers import Worker

PORT, METRICS = 9999, 9998
DEADLINE_S = 20


@pytest.fixture(autouse=True)
def file_limit() -> Iterator[None]:
    """A start raises it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Reactor:
    """The clock, with an end."""

    def __init__(self, clock: Any) -> None:
        self.callLater, self.seconds, self.getDelayedCalls = clock.callLater, clock.seconds, clock.getDelayedCalls
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


class World:
    """A service between two clusters of one node each, all in memory."""

    def __init__(self, saved: SavedState | None = None, run: Run = at_once, tls: bool = False, **keys: Any) -> None:
        self.network, self.ports, self.log = Network(), Ports(), Lines()
        self.origin, self.target = self.network.add(1), self.network.add(11)
        self.reactor = Reactor(self.network.clock)
        config = Config(
            origin_contact_points="127.0.40.1", target_contact_points="127.0.40.11",
            proxy_listen_port=PORT, metrics_port=METRICS, proxy_max_client_connections=10, **keys,
        )  # fmt: skip
        log: Any = self.log
        self.config = self.reread = config
        self.service = ProxyService(
            config, log, self.reactor, lambda _: self.network.endpoint, self.ports.at, saved, run=run,
            reread=lambda: self.reread, tls=TlsEnds(tls_plans(config)) if tls else NO_TLS,
        )  # fmt: skip
        self.messages: list[str] = []

    def start(self) -> World:
        self.service.start()
        self.pass_time(0)
        return self

    def pass_time(self, seconds: float) -> None:
        self.network.clock.advance(seconds)

    def stop(self) -> World:
        self.service.stop()
        self.pass_time(0)
        return self

    def client(self) -> Wire:
        """A client whose clusters are being dialled."""
        return Wire(self.network.clock, self.ports.factories[PORT].buildProtocol(None)).connect()

    def switch(self, enabled: bool) -> TargetState:
        """What an operator's call does, and what is so then."""
        self.service.target.switch(enabled, "sick", "ops", "127.0.0.1:5").addCallback(self.messages.append)
        state = self.service.target.state()
        assert state is not None
        return state

    @property
    def listens(self) -> bool:
        return PORT in self.ports.factories

    def told(self, *beginnings: str) -> list[str]:
        return [text for _, text in self.log.lines if text.startswith(beginnings)]


# The start


def test_a_start_ends_with_the_lines_that_operators_look_for() -> None:
    """Section 9.2; the listener opens only when both clusters were reached."""
    world = World().start()
    assert world.listens
    assert world.log.texts("info")[-2:] == [
        f"Proxy connected and ready to accept queries on localhost:{PORT}",
        "Proxy started. Waiting for SIGINT/SIGTERM to shutdown.",
    ]


def test_a_start_is_told_in_the_words_and_order_of_the_reference() -> None:
    """Section 9.2; log searches of existing deployments know these lines."""
    world = World().start()
    told = [
        "Attempting to start the proxy...",
        "Validating config...",
        "Starting proxy...",
        "Parsed Topology Config: index 0 of 127.0.0.1, 8 tokens each",
        "Successfully opened control connection to ORIGIN using endpoint 127.0.40.1:9042 with ProtocolVersion OSS 4.",
        "Initialized origin control connection. Cluster Name: ",
        "Successfully opened control connection to TARGET using endpoint 127.0.40.11:9042 with ProtocolVersion OSS 4.",
        "Initialized target control connection. Cluster Name: ",
        f"Proxy connected and ready to accept queries on localhost:{PORT}",
        "Proxy started. Waiting for SIGINT/SIGTERM to shutdown.",
    ]
    found = world.told(*told)
    assert [line.startswith(beginning) for line, beginning in zip(found, told, strict=True)] == [True] * len(told)


def test_http_answers_before_the_clusters_do() -> None:
    """Probes tell a proxy that waits from one that is broken."""
    world = World()
    world.origin.is_down = True
    world.start()
    assert METRICS in world.ports.factories and not world.listens
    assert world.service.health() is None and world.service.metrics_text() is None


def test_a_proxy_that_started_has_health_and_metrics() -> None:
    """And only then."""
    world = World().start()
    health = world.service.health()
    assert health is not None and (health.origin.status, health.target.status) == ("UP", "UP")
    texts: list[str | None] = []
    text: Any = world.service.metrics_text()
    text.addCallback(texts.append)
    assert "zdm_client_connections_total 0\n" in str(texts[0])


@pytest.mark.parametrize("down", ["origin", "target"])
def test_a_cluster_that_is_not_there_is_tried_for_ever_with_growing_pauses(down: str) -> None:
    """A proxy often starts before its clusters do."""
    world = World()
    getattr(world, down).is_down = True
    world.start()
    world.network.clock.pump([0, 0])
    for _ in range(120):
        world.pass_time(0.5)
    retries = world.told("Couldn't start proxy, retrying in ")
    pauses = [float(line.split(" in ")[1].split("s:")[0]) for line in retries]
    assert pauses == sorted(pauses[:6]) + pauses[6:] and 9.0 <= pauses[-1] <= 10.0
    assert retries[0] == (
        f"Couldn't start proxy, retrying in 0.1s: failed to initialize {down} control connection: "
        "could not open control connection to "
        f"{down.upper()}, tried endpoints: [127.0.40.{1 if down == 'origin' else 11}:9042]."
    )
    assert world.told("Couldn't start proxy: ")[0].startswith(
        f"Couldn't start proxy: failed to initialize {down} control"
    )
    getattr(world, down).is_down = False
    world.pass_time(10)
    world.pass_time(0)
    assert world.listens


def test_a_port_that_is_taken_is_tried_again_too() -> None:
    """The proxy before may still be draining its clients."""
    world = World()
    world.ports.taken.add(PORT)
    world.start()
    assert len(world.told("Couldn't start proxy: ")) == 1
    world.ports.taken.clear()
    world.pass_time(0.2)
    assert world.listens


def test_a_fault_of_ours_ends_the_program_with_an_exit_code() -> None:
    """It would otherwise sit there and do nothing, with the reason in no log."""
    world = World()
    world.ports.faults[PORT] = ZeroDivisionError("a fault of ours")
    world.start()
    world.pass_time(0)
    (line,) = world.log.texts("error")
    assert line == "Starting the proxy failed in a way that trying again does not mend: a fault of ours"
    assert (world.reactor.stopped, world.service.exit_code) == (1, 1)


# The end


def test_a_shutdown_goes_from_the_outside_in() -> None:
    """Section 9.3: clients, then control connections, then HTTP."""
    world = World().start()
    world.stop()
    world.pass_time(0)
    assert world.log.texts("info")[-3:] == [
        "Initiating proxy shutdown...",
        "Draining 0 client connections, for at most 30 s.",
        "Proxy shutdown complete.",
    ]
    assert world.ports.factories == {} and (world.reactor.stopped, world.service.exit_code) == (1, 0)
    assert world.origin.open_connections == world.target.open_connections == 0
    assert world.network.clock.getDelayedCalls() == []


def test_a_shutdown_waits_for_the_clients_and_takes_no_new_ones() -> None:
    """What is in flight is answered; HTTP answers until the last."""
    world = World(proxy_drain_timeout_ms=3000).start()
    client = world.client()
    session: Any = client.protocol
    world.origin.is_hung = world.target.is_hung = True
    assert session.session.phase.name == "HANDSHAKE"
    world.service.stop()
    assert not world.listens and world.reactor.stopped == 0 and METRICS in world.ports.factories
    assert "Draining 1 client connections, for at most 3 s." in world.log.texts("info")
    world.pass_time(0)
    assert client.ended and world.reactor.stopped == 1


def test_a_second_signal_changes_nothing() -> None:
    """Operators press Ctrl-C twice."""
    world = World().start()
    for _ in range(3):
        world.service.stop()
    world.pass_time(0)
    assert world.reactor.stopped == 1 and len(world.told("Initiating proxy shutdown...")) == 1


@pytest.mark.parametrize("moment", ["dialling", "asking", "pausing", "target"])
def test_a_start_can_be_cancelled_at_any_moment(moment: str) -> None:
    """A signal while the clusters are not there: nothing is left, and nothing is tried any more."""
    world = World()
    world.origin.is_down = moment == "pausing"
    world.origin.is_hung = moment == "asking"
    world.target.is_hung = moment == "target"
    world.service.start()
    if moment != "dialling":
        world.network.clock.pump([0, 0])
    world.stop()
    dialled = len(world.network.dialled)
    world.network.clock.pump([0, 0])
    assert world.network.clock.getDelayedCalls() == []
    world.pass_time(20)
    assert world.told("Cancellation detected. Aborting proxy startup...", "Proxy shutdown complete.") == [
        "Cancellation detected. Aborting proxy startup...",
        "Proxy shutdown complete.",
    ]
    assert (world.reactor.stopped, world.service.exit_code) == (1, 0)
    assert world.log.texts("error") == ([] if moment != "pausing" else world.told("Couldn't start proxy: "))
    assert world.origin.open_connections == world.target.open_connections == 0
    assert len(world.network.dialled) == dialled


def test_a_shutdown_that_fails_still_ends() -> None:
    """With the reason in the log, and an exit code that says so."""
    world = World().start()

    class Broken:
        def clients(self) -> int:
            raise ZeroDivisionError("a fault of ours")

    worker: Any = Broken()
    world.service._worker = worker
    world.stop()
    assert world.log.texts("error") == ["The shutdown did not go as planned: a fault of ours"]
    assert (world.reactor.stopped, world.service.exit_code) == (1, 1)


def test_a_shutdown_ends_though_a_disk_hangs(tmp_path: Path) -> None:
    """What would be written is lost then; the operator is told which file it was."""

    def hanging(work: Any, /) -> Any:
        return Deferred()

    world = World(
        run=hanging, state_file=str(tmp_path / "state.json"), admin_audit_file=str(tmp_path / "audit.jsonl")
    ).start()
    world.switch(False)
    world.stop()
    world.pass_time(4)
    assert world.reactor.stopped == 0
    world.pass_time(1)
    assert world.reactor.stopped == 1 and world.told("Proxy shutdown complete.")
    assert world.log.texts("error")[-2:] == [
        f"The {kind} file is still not written: the proxy ends without." for kind in ("state", "audit")
    ]


def test_a_client_is_served_between_start_and_stop() -> None:
    """The parts belong together: its clusters are dialled through the same network."""
    world = World().start()
    client = world.client()
    client.protocol.dataReceived(frames.options(1))
    assert world.service._worker is not None and world.service._worker.clients() == 1
    client.end(ConnectionDone())
    assert world.service._worker.clients() == 0


# Another configuration


def test_a_hangup_applies_what_can_be_changed() -> None:
    """Level, drain limit and token in this process; the rest is the supervisor's."""
    world = World(admin_token=SecretStr("old")).start()
    update = {
        "log_level": "debug",
        "proxy_drain_timeout_ms": 7000,
        "admin_token": SecretStr("new"),
        "target_park_ms": 9,
    }
    world.reread = world.config.model_copy(update=update)
    world.service.hung_up()
    assert world.log.shown == ("DEBUG", "logfmt")
    assert world.service._access.refusal(b"Bearer new") is None
    worker = world.service._worker
    assert isinstance(worker, Worker) and worker.shared.snapshot.settings.target_park == 0.009
    world.stop()
    assert "Draining 0 client connections, for at most 7 s." in world.log.texts("info")


def test_a_hangup_after_the_end_began_changes_nothing() -> None:
    """What it would be told to has ended."""
    world = World().start()
    world.service.stop()
    world.reread = world.config.model_copy(update={"log_level": "debug"})
    world.service.hung_up()
    assert world.told("SIGHUP") == [] and world.log.shown == ("INFO", "logfmt")


# Target disabled

SICK = SavedState(target=TargetRecord(enabled=False, since=1764000000.0, reason="sick", actor="ops", generation=3))


@pytest.mark.parametrize(("saved", "word"), [(None, "enabled"), (SICK, "disabled")])
def test_a_start_tells_whether_target_takes_part(saved: SavedState | None, word: str) -> None:
    """The reference's line; an operator must not have to guess."""
    assert World(saved).start().told("Target cluster: ") == [f"Target cluster: {word}"]


def test_a_start_without_target_tells_since_when_and_why() -> None:
    """Whoever reads it may not be who disabled it."""
    assert World(SICK).start().told("Target has been disabled") == [
        "Target has been disabled since 2025-11-24T16:00:00.000Z, by ops, sick. POST /api/v1/target/enable enables it."
    ]


def test_a_start_without_target_that_the_configuration_forbids_is_warned_of() -> None:
    """It was forced once, or the configuration is new; reads go to origin."""
    world = World(SICK, primary_cluster="TARGET").start()
    (line,) = [text for text in world.log.texts("warn") if text.startswith("Target is disabled, although")]
    assert "primary_cluster is TARGET" in line and world.listens


def test_a_start_without_target_needs_origin_only() -> None:
    """It may be gone altogether (F4)."""
    world = World(SICK)
    world.target.is_down = True
    world.start()
    assert world.listens and world.told("Couldn't start proxy") == []
    state, health = world.service.target.state(), world.service.health()
    assert state is not None and state.is_ready and state.effective == "ORIGIN_ONLY"
    assert health is not None and (health.target_required, health.target.status) == (False, "DOWN")
    assert isinstance(world.service._worker, Worker)
    assert world.service._worker.shared.snapshot.mode is TargetMode.ORIGIN_ONLY


@pytest.mark.parametrize("state", ["is_down", "is_hung"])
def test_disabling_target_lets_a_start_that_waits_for_it_go_on_at_once(state: str) -> None:
    """The one call that rescues a start against a dead target, in a pause or in an attempt."""
    world = World()
    setattr(world.target, state, True)
    world.start()
    for _ in range(20):
        world.pass_time(0.5)
    assert not world.listens
    before = world.service.target.state()
    assert before is not None and not before.is_ready
    world.switch(False)
    world.pass_time(0)
    assert world.listens and world.messages == ["Target disabled"]
    after = world.service.target.state()
    assert after is not None and after.is_ready and not after.enabled


def test_enabling_target_again_makes_a_start_wait_for_it_again() -> None:
    """Origin is not there yet either; the operator has changed his mind."""
    world = World()
    world.origin.is_down = world.target.is_down = True
    world.start()
    assert not world.switch(False).enabled and world.switch(True).enabled
    world.origin.is_down = False
    world.pass_time(20)
    assert not world.listens
    world.target.is_down = False
    for _ in range(20):
        world.pass_time(1)
    assert world.listens


def test_a_change_reaches_the_sessions_and_the_state_file(tmp_path: Path) -> None:
    """And the process after."""
    path = str(tmp_path / "state.json")
    world = World(state_file=path).start()
    worker = world.service._worker
    assert isinstance(worker, Worker)
    modes = [worker.shared.snapshot.mode]
    world.switch(False)
    modes.append(worker.shared.snapshot.mode)
    assert modes == [TargetMode.DUAL, TargetMode.ORIGIN_ONLY]
    saved = StateFile(path).read()
    assert (saved.target.enabled, saved.target.reason, saved.target.generation) == (False, "sick", 2)
    after = World(saved).start().service.target.state()
    assert after is not None and (after.enabled, after.reason, after.generation) == (False, "sick", 2)


def test_a_login_that_target_accepted_is_kept_for_the_next_process(tmp_path: Path) -> None:
    """As a hash, soon after; at the latest when the proxy ends."""
    path = str(tmp_path / "state.json")
    world = World(state_file=path).start()
    assert isinstance(world.service._worker, Worker)
    world.service._worker.logins.accepted(Credentials("app", "the-password"))
    world.stop()
    saved = StateFile(path).read()
    assert [login.user for login in saved.logins] == ["app"]
    after = World(saved).start().service._worker
    answers: list[Recognition] = []
    assert isinstance(after, Worker)
    for password in ("the-password", "another"):
        after.logins.verify(Credentials("app", password)).addCallback(answers.append)
    assert answers == [Recognition.KNOWN, Recognition.UNKNOWN]


def test_what_could_not_be_written_at_the_start_is_written_soon(tmp_path: Path) -> None:
    """The disk was full when the process before ended, or when this one began."""
    path = str(tmp_path / "state.json")
    world = World(SavedState(target=TargetRecord(enabled=False, reason="sick")), state_file=path)
    world.target.is_down = True
    world.start().pass_time(1)
    assert StateFile(path).read().target.reason == "sick"


def test_what_is_known_of_target_is_kept_for_the_next_process(tmp_path: Path) -> None:
    """Which may start without it."""
    path = str(tmp_path / "state.json")
    World(state_file=path).start().stop()
    known = StateFile(path).read().known
    assert known is not None and (known.version, known.auth_required) == (4, False)


def test_nothing_is_said_of_target_once_shutdown_has_begun() -> None:
    """While clients are drained as well."""
    world = World().start()
    world.service.stop()
    assert world.service.target.state() is None


@pytest.mark.parametrize(
    ("address", "token", "header", "code"),
    [
        ("localhost", "", b"", 200),
        ("10.0.0.1", "", b"Authorization: Bearer t\r\n", 403),
        ("10.0.0.1", "t", b"", 403),
        ("10.0.0.1", "t", b"Authorization: Bearer t\r\n", 200),
    ],
)
def test_changes_need_the_token_that_is_configured(address: str, token: str, header: bytes, code: int) -> None:
    """On an address that others can reach."""
    world = World(metrics_address=address, admin_token=SecretStr(token)).start()
    connection = StringTransport()
    protocol = world.ports.factories[METRICS].buildProtocol(IPv4Address("TCP", "10.0.0.9", 5))
    protocol.makeConnection(connection)
    head = b"POST /api/v1/target/disable HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    protocol.dataReceived(head + header + b"\r\n")
    world.pass_time(0)
    assert connection.value().startswith(b"HTTP/1.1 %d " % code)


@pytest.mark.parametrize(
    ("address", "token", "is_shut"), [("localhost", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "t", False)]
)
def test_a_start_warns_where_nobody_can_switch_target(address: str, token: str, is_shut: bool) -> None:
    """In an outage it would be too late: a token takes a restart, which then waits for the dead target."""
    world = World(metrics_address=address, admin_token=SecretStr(token)).start()
    told = world.told("Target cannot be switched off over HTTP: the metrics address is not a loopback one and no token")
    assert len(told) == is_shut


# The process

PROGRAM = """
import sys
from zdm import cli
code = cli.main()
assert "klein" in sys.modules
from twisted.internet import reactor
print(type(reactor).__name__, type(reactor._asyncioEventloop).__module__, code)
"""
ENTRIES = (
    "zdm.cli",
    "zdm.program",
    "zdm.service",
    "zdm.check",
    "zdm.supervisor",
    "zdm.target_switch",
    "zdm.workers",
    "zdm.net.client",
)


@pytest.mark.parametrize("loop, module", [("", "uvloop"), ("asyncio", "asyncio.unix_events")])
def test_the_service_runs_on_the_reactor_that_it_installs(loop: str, module: str, tmp_path: Path) -> None:
    """Klein, and much else, would install Twisted's default one by being imported too early."""
    with socket.socket() as free:
        free.bind(("127.0.90.1", 0))
        metrics = free.getsockname()[1]
    settings = {
        "ZDM_ORIGIN_CONTACT_POINTS": "127.0.90.2", "ZDM_TARGET_CONTACT_POINTS": "127.0.90.3",
        "ZDM_ORIGIN_PORT": "1", "ZDM_TARGET_PORT": "1", "ZDM_METRICS_ADDRESS": "127.0.90.1",
        "ZDM_METRICS_PORT": str(metrics), "ZDM_ORIGIN_USERNAME": "", "ZDM_ORIGIN_PASSWORD": "",
        "ZDM_TARGET_USERNAME": "", "ZDM_TARGET_PASSWORD": "", "ZDM_LOOP": loop,
    }  # fmt: skip
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stderr is not None and program.stdout is not None
            for line in program.stderr:
                if "Couldn't start proxy, retrying in" in line:
                    break
            program.send_signal(signal.SIGTERM)
            out, _ = program.communicate(timeout=DEADLINE_S)
        finally:
            program.kill()
    assert out.split() == ["AsyncioSelectorReactor", module, "0"]


@pytest.mark.parametrize(("key", "place"), [("STATE_FILE", "state"), ("ADMIN_AUDIT_FILE", "audit")])
def test_a_file_that_cannot_be_used_ends_the_start_as_a_wrong_configuration_does(
    key: str, place: str, tmp_path: Path
) -> None:
    """One line that says what to do; no reactor, no traceback."""
    settings = {
        "ZDM_ORIGIN_CONTACT_POINTS": "127.0.90.2", "ZDM_TARGET_CONTACT_POINTS": "127.0.90.3",
        "ZDM_ORIGIN_USERNAME": "", "ZDM_ORIGIN_PASSWORD": "", "ZDM_TARGET_USERNAME": "", "ZDM_TARGET_PASSWORD": "",
        f"ZDM_{key}": str(tmp_path / "missing" / place),
    }  # fmt: skip
    command = [sys.executable, "-m", "zdm"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 255
    last = done.stderr.splitlines()[-1]
    assert "level=error" in last and f"the {place} file {tmp_path}/missing/{place} cannot be written" in last
    assert "Traceback" not in done.stderr


# Certificates


def secured(directory: Path) -> dict[str, Any]:
    """The keys of a listener under TLS, whose files are not there yet."""
    return {f"proxy_tls_{name}_path": str(directory / f"own.{end}") for name, end in TLS_FILES}


TLS_FILES = (("ca", "ca"), ("cert", "crt"), ("key", "key"))


def write_certificates(directory: Path) -> None:
    authority = Authority()
    authority.sign("127.0.40.1").write(directory, "own")
    (directory / "own.ca").write_bytes(authority.pem())


def test_a_start_without_its_certificates_is_tried_again(tmp_path: Path) -> None:
    """Nothing listens before they are there, and nobody has to start it anew when they are."""
    world = World(tls=True, **secured(tmp_path)).start()
    (line,) = world.told("Couldn't start proxy:")
    assert line == (
        f"Couldn't start proxy: ZDM_PROXY_TLS_CA_PATH ({tmp_path}/own.ca) cannot be read: No such file or directory."
    )
    assert not world.listens
    write_certificates(tmp_path)
    world.pass_time(1)
    assert world.listens
    texts: list[str | None] = []
    text: Any = world.service.metrics_text()
    text.addCallback(texts.append)
    assert 'zdm_tls_certificate_expiry_seconds{cluster="proxy"} 3.15' in str(texts[0])
    world.stop()
    assert world.network.clock.getDelayedCalls() == []


def test_a_hang_up_is_a_reason_to_look_at_the_certificates(tmp_path: Path) -> None:
    """As with other servers; what is in the files is no part of the configuration that is read again."""
    write_certificates(tmp_path)
    world = World(tls=True, **secured(tmp_path)).start()
    write_certificates(tmp_path)
    world.service.hung_up()
    world.pass_time(0)
    world.pass_time(1)
    (told,) = world.told("New connections")
    assert told.startswith("New connections use the changed TLS files: ZDM_PROXY_TLS_CA_PATH (")


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_entry_imports_a_reactor(entry: str) -> None:
    """The first import decides which reactor a process has."""
    code = f"import sys, {entry}; print(*(name in sys.modules for name in ('klein', 'twisted.internet.reactor')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert done.stdout.split() == ["False", "False"]
