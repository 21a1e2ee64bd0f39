"""The target fails and one call takes it out of the path; later another one brings it back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.proxy import Proxy
from conformance.toggling import Toggle
from conformance.traffic import GENTLY, Writer

pytestmark = [pytest.mark.toggle, pytest.mark.needs("rows", "stops", "proxy")]

COLUMNS = "(k int PRIMARY KEY, v text)"
# what is logged of a target that is gone while it is enabled; requests that time out are no news to an operator then
OUTAGE = ("TARGET", "control connection to target")
CONTROL = "control connection to target"


@pytest.fixture
def restored(clusters: Clusters) -> Iterator[None]:
    """Whatever a scenario does to the target, the next one finds it up."""
    yield
    if not clusters.target.is_running():
        clusters.target.start()


def missing(both: Both, side: str, table: str, keys: list[int]) -> list[int]:
    (node,) = [node for node in both.sides if node.name == side]
    found = {row[0] for row in both.read(node, f"SELECT k FROM {table}")}
    return sorted(set(keys) - found)


@pytest.mark.outage
@pytest.mark.needs("pauses")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["stopped", "killed", "hanging"])
def test_one_call_rescues_the_applications_from_a_dead_target(
    how: str, own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client],
    write: Callable[..., Writer], clusters: Clusters, both: Both, table: str, restored: None,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    """Errors, POST disable, writes within a second; the node returns, POST enable, and no session was opened anew."""
    proxy = own_proxy(8, ZDM_PROXY_REQUEST_TIMEOUT_MS="1500", ZDM_PROXY_TIMEOUT_RESPONSE="ERROR")
    proxy.expect(*OUTAGE)
    toggle = Toggle(proxy)
    entry = proxy.entry(credentials)
    clients = [connect(at=entry) for _ in range(4)]
    clients[0].execute(f"CREATE TABLE {table} {COLUMNS}")
    insert = clients[0].prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    writers = [write(table, client, GENTLY) for client in clients[1:]]
    for writer in writers:
        writer.await_more()
    opened, connections = [client.opened for client in clients], proxy.metric("zdm_client_connections_total")
    both.forget(clusters.target)
    {"stopped": clusters.target.stop, "killed": clusters.target.kill, "hanging": clusters.target.pause}[how]()
    try:
        for writer in writers:
            writer.await_failure()
        sent = time.monotonic()
        toggle.disable("outage")
        clients[0].execute(insert, (1, "rescued"))
        rescued = time.monotonic() - sent
        assert rescued < 1.0
        for writer in writers:
            writer.await_more(10, seconds=10)
        failed = [len(writer.failed) for writer in writers]
        for writer in writers:
            writer.await_more(50)
        assert proxy.ready_report()[0] == 200
    finally:
        clusters.target.resume() if how == "hanging" else clusters.target.start()
    toggle.enable("the node is back")
    # each writer may still have one request in flight that was planned while the target was off
    first_on_both = [len(writer.acknowledged) + 1 for writer in writers]
    proxy.target.await_dual()
    assert proxy.target.state()["attaching"] == 0
    for writer in writers:
        writer.await_more(50)
        writer.stop()
        assert writer.unanswered == 0
    assert [len(writer.failed) for writer in writers] == failed, [writer.failed[-1] for writer in writers]
    assert [client.opened for client in clients] == opened
    assert proxy.metric("zdm_client_connections_total") == connections
    acknowledged = [key for writer in writers for key in writer.acknowledged]
    on_both = [key for writer, first in zip(writers, first_on_both, strict=True) for key in writer.acknowledged[first:]]
    assert missing(both, "origin", table, acknowledged) == []
    assert missing(both, "target", table, on_both) == []
    assert toggle.skipped_writes() > 0
    record_property("rescued_after_ms", round(1000 * rescued))


@pytest.mark.outage
def test_a_target_that_dies_while_it_is_off_is_noticed_by_nobody(
    toggle: Toggle, connect: Callable[..., Client], write: Callable[..., Writer], clusters: Clusters, both: Both,
    table: str, restored: None,
) -> None:  # fmt: skip
    """It dies while connections to it are still kept. Nothing is logged but the control connection's own failure."""
    proxy = toggle.proxy
    client = connect()
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    writers = [write(table, pause=GENTLY) for _ in range(2)]
    for writer in writers:
        writer.await_more()
    clients = [client, *(writer.client for writer in writers)]
    opened = [one.opened for one in clients]
    toggle.disable()
    proxy.expect(CONTROL)
    both.forget(clusters.target)
    clusters.target.kill()
    for writer in writers:
        writer.await_more(50)
    late = connect()
    late.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'late')")
    clients.append(late)
    opened.append(late.opened)
    assert proxy.ready_report()[0] == 200
    clusters.target.start()
    toggle.enable()
    proxy.target.await_dual()
    late.execute(f"INSERT INTO {table} (k, v) VALUES (2, 'on again')")
    for writer in writers:
        writer.await_more()
        writer.stop()
        assert not writer.failed
    assert [one.opened for one in clients] == opened
    assert missing(both, "target", table, [2]) == []
    assert missing(both, "target", table, [1]) == [1]


@pytest.mark.outage
def test_readiness_follows_what_the_target_is_needed_for(
    own_proxy: Callable[..., Proxy], clusters: Clusters, both: Both, restored: None
) -> None:
    """A dead target takes a proxy out of service, unless it is off; the report tells of it in both cases."""
    quick = {"ZDM_HEARTBEAT_INTERVAL_MS": "200", "ZDM_TARGET_PROBE_INTERVAL_MS": "200"}
    retries = {"ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS": "100", "ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS": "200"}
    proxy = own_proxy(8, ZDM_HEARTBEAT_FAILURE_THRESHOLD="1", **quick, **retries)
    proxy.expect(*OUTAGE)
    toggle = Toggle(proxy)

    def reported() -> tuple[int, str, str]:
        status, report = proxy.ready_report()
        return status, report["Status"], report["TargetStatus"]["Status"]

    both.forget(clusters.target)
    clusters.target.kill()
    await_true(lambda: reported() == (503, "DOWN", "DOWN"), "a dead target makes it unready", 20)
    toggle.disable()
    assert reported() == (200, "UP", "DOWN")
    clusters.target.start()
    await_true(lambda: reported() == (200, "UP", "UP"), "the target is seen while it is off", 20)
    clusters.target.kill()
    await_true(lambda: reported() == (200, "UP", "DOWN"), "the report tells that it went, and no more", 20)
    toggle.enable()
    await_true(lambda: reported() == (503, "DOWN", "DOWN"), "it is needed again", 20)
    clusters.target.start()
    await_true(lambda: reported() == (200, "UP", "UP"), "all is well", 20)


@pytest.mark.outage
@pytest.mark.timeout(300)
def test_a_restarted_proxy_serves_without_its_target(
    own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client], tmp_path: Path,
    clusters: Clusters, both: Both, table: str, restored: None,
) -> None:  # fmt: skip
    """What an operator wanted survives the restart, and a target that is off is not needed for a start."""
    state_file = tmp_path / "state.json"
    proxy = own_proxy(9, ZDM_STATE_FILE=str(state_file))
    toggle = Toggle(proxy)
    entry = proxy.entry(credentials)
    with Client(entry, 4, both.keyspace) as client:
        client.execute(f"CREATE TABLE {table} {COLUMNS}")
    toggle.disable("maintenance")
    before = proxy.target.state()
    proxy.expect(CONTROL, "TARGET")
    both.forget(clusters.target)
    clusters.target.stop()
    proxy.restart()
    assert proxy.lines("Target cluster: disabled")
    after = proxy.target.state()
    for name in ("enabled", "desired", "effective", "since", "reason", "actor"):
        assert after[name] == before[name], name
    client = connect(at=entry)
    insert = client.prepare(f"INSERT INTO {table} (k, v) VALUES (?, ?)")
    client.execute(insert, (1, "while off"))
    assert client.rows(f"SELECT v FROM {table}") == [("while off",)]
    assert proxy.ready_report()[0] == 200
    opened = client.opened
    clusters.target.start()
    toggle.enable()
    proxy.target.await_dual()
    client.execute(insert, (2, "on again"))
    assert both.each(f"SELECT k FROM {table}") == {"origin": [(1,), (2,)], "target": [(2,)]}
    assert client.opened == opened
    proxy.restart()
    assert proxy.target.state()["desired"] == "ENABLED"
    assert not proxy.lines("Traceback")


@pytest.mark.outage
@pytest.mark.timeout(300)
def test_one_call_rescues_a_start_against_a_dead_target(
    new_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client],
    clusters: Clusters, both: Both, table: str, restored: None,
) -> None:  # fmt: skip
    """The proxy waits for its clusters; POST disable is taken, and the start goes on without the target."""
    proxy = new_proxy(9)
    proxy.mark()
    proxy.expect(CONTROL, "TARGET", "Couldn't start proxy")
    both.forget(clusters.target)
    clusters.target.stop()
    proxy.start(await_ready=False)
    try:
        await_true(lambda: proxy.lines(CONTROL) or proxy.lines("Couldn't start"), "it has tried the target", 20)
        asked = proxy.target.ask("GET")
        assert (asked.status, asked.body["message"]) == (503, "proxy not ready")
        assert proxy.target.ask("POST", "enable").status == 503
        proxy.expect("Target cluster DISABLED via API")
        force = {"force": "true"} if proxy.settings["ZDM_PRIMARY_CLUSTER"] == "TARGET" else {}
        assert proxy.target.ask("POST", "disable", params=force).status == 202
        await_true(proxy.is_ready, "the proxy serves without its target", 30)
        client = connect(at=proxy.entry(credentials))
        client.execute(f"CREATE TABLE {table} {COLUMNS}")
        client.execute(f"INSERT INTO {table} (k, v) VALUES (1, 'without target')")
        assert client.rows(f"SELECT k FROM {table}") == [(1,)]
        assert not proxy.complaints()
    finally:
        proxy.end()


def refused(entry: Entry, credentials: Credentials, protocol: int) -> bool:
    """Whether a login ends with AUTHENTICATION_ERROR; any other failure is the scenario's."""
    try:
        with Client(entry._replace(credentials=credentials), protocol):
            return False
    except NoHostAvailable as failure:
        (reason,) = failure.errors.values()
        assert isinstance(reason, AuthenticationFailed), reason
        return True


@pytest.mark.needs("any-login")
@pytest.mark.timeout(300)
def test_a_wrong_password_is_refused_while_the_target_is_off(
    own_proxy: Callable[..., Proxy], credentials: Credentials, tmp_path: Path, clusters: Clusters, both: Both,
    protocol: int, restored: None,
) -> None:  # fmt: skip
    """Nobody is let in with origin's rights by any password, not before a restart and not after it."""
    proxy = own_proxy(9, ZDM_STATE_FILE=str(tmp_path / "state.json"))
    toggle = Toggle(proxy)
    entry = proxy.entry(credentials)
    wrong = (
        credentials._replace(password="not the password"),
        credentials._replace(username="nobody"),
        Credentials("", ""),
    )
    toggle.disable()
    for login in wrong:
        assert refused(entry, login, protocol), login
    assert not refused(entry, credentials, protocol)
    proxy.expect(CONTROL, "TARGET")
    both.forget(clusters.target)
    clusters.target.stop()
    proxy.restart()
    for login in wrong:
        assert refused(entry, login, protocol), login
    assert not refused(entry, credentials, protocol)


@pytest.mark.needs("roles", "logins")
@pytest.mark.timeout(300)
def test_a_login_that_the_target_accepted_before_is_let_in(
    own_proxy: Callable[..., Proxy], credentials: Credentials, tmp_path: Path, clusters: Clusters, both: Both,
    table: str, protocol: int, restored: None,
) -> None:  # fmt: skip
    """Not the configured one, and unknown to origin: the proxy remembers that the target knew it."""
    state_file = tmp_path / "state.json"
    proxy = own_proxy(9, ZDM_STATE_FILE=str(state_file))
    toggle = Toggle(proxy)
    entry = proxy.entry(credentials)
    seen, unseen = Credentials(f"{table}_seen", "a secret word"), Credentials(f"{table}_unseen", "a secret word")
    for login in (seen, unseen):
        both.direct(clusters.target).execute(
            f"CREATE ROLE {login.username} WITH PASSWORD = '{login.password}' AND LOGIN = true AND SUPERUSER = true"
        )
    assert not refused(entry, seen, protocol)
    toggle.disable()
    assert not refused(entry, seen, protocol)
    assert refused(entry, unseen, protocol)
    proxy.expect(CONTROL, "TARGET")
    both.forget(clusters.target)
    clusters.target.stop()
    proxy.restart()
    assert not refused(entry, seen, protocol)
    assert refused(entry, seen._replace(password="another word"), protocol)
    assert refused(entry, unseen, protocol)
    assert seen.password not in state_file.read_text()
    clusters.target.start()
    toggle.enable()
    assert not refused(entry, unseen, protocol)
