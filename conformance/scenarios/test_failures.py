"""Something dies in the middle of traffic: no hang, no crash, and what was acknowledged is on both clusters."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.awaiting import await_true
from conformance.backends.interface import Clusters, Credentials
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.proxy import Proxy
from conformance.traffic import GENTLY, Writer

pytestmark = pytest.mark.needs("rows")

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = "(k int PRIMARY KEY, v text)"
# a request may take the proxy's own limit of 10 s, not more
LONGEST_SECONDS = 13.0


def assert_acknowledged_on_both(both: Both, table: str, keys: list[int]) -> None:
    """Writes that failed may be on one cluster, on both or on none; acknowledged ones are on both, with their value."""
    assert keys
    for name, rows in both.each(f"SELECT k, v FROM {table}").items():
        missing = set((key, f"value {key}") for key in keys) - set(rows)
        assert not missing, f"{len(missing)} acknowledged writes are not on {name}: {sorted(missing)[:10]}"


def stop_all(writers: list[Writer]) -> list[int]:
    for writer in writers:
        writer.stop()
        assert writer.unanswered == 0, f"{writer.unanswered} requests got no answer"
        assert writer.slowest < LONGEST_SECONDS
    return [key for writer in writers for key in writer.acknowledged]


def test_a_client_killed_in_the_middle_of_traffic(
    python: str, entry: Entry, client: Client, write: Callable[..., Writer], both: Both, table: str, protocol: int
) -> None:
    """SIGKILL of the application: nobody else notices, and what it was told holds."""
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    bystander = write(table, client)
    place = [entry.address, str(entry.port), str(protocol), both.keyspace, table, "1", *(entry.credentials or ())]
    keys: list[int] = []
    for _ in range(3):
        line = [python, "-m", "conformance.traffic", *place]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            keys += [int(next(process.stdout)) for _ in range(40)]
            process.kill()
            keys += [int(rest) for rest in process.stdout if rest.endswith("\n")]
    bystander.await_more()
    assert_acknowledged_on_both(both, table, keys + stop_all([bystander]))
    assert not bystander.failed


@pytest.mark.needs("proxy")
def test_the_proxy_killed_in_the_middle_of_traffic(
    own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client],
    write: Callable[..., Writer], both: Both, table: str,
) -> None:  # fmt: skip
    """SIGKILL of the proxy: it keeps nothing that matters. The drivers reconnect to the next one and go on."""
    proxy = own_proxy(2)
    clients = [connect(at=proxy.entry(credentials)) for _ in range(3)]
    clients[0].execute(f"CREATE TABLE {table} {COLUMNS}")
    writers = [write(table, client) for client in clients]
    for writer in writers:
        writer.await_more()
    proxy.kill()
    writers[0].await_failure()
    proxy.start()
    for writer in writers:
        writer.await_more()
    assert_acknowledged_on_both(both, table, stop_all(writers))


@pytest.mark.needs("proxy")
def test_the_proxy_is_stopped_without_losing_a_request(
    own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client],
    write: Callable[..., Writer], both: Both, table: str,
) -> None:  # fmt: skip
    """SIGTERM: what is in flight is answered, and the process ends with 0."""
    proxy = own_proxy(3)
    client = connect(at=proxy.entry(credentials))
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    writer = write(table, client)
    writer.await_more()
    assert proxy.stop() == 0
    writer.await_failure()
    assert_acknowledged_on_both(both, table, stop_all([writer]))


@pytest.fixture
def restored(clusters: Clusters) -> Iterator[None]:
    """Whatever a scenario does to a node, the next one finds it up."""
    yield
    for node in clusters.nodes:
        if not node.is_running():
            node.start()


@pytest.mark.outage
@pytest.mark.needs("stops", "proxy")
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_sessions_outlive_the_target(
    how: str, client: Client, write: Callable[..., Writer], proxy: Proxy, clusters: Clusters, both: Both, table: str,
    restored: None,
) -> None:  # fmt: skip
    """The target node goes in the middle of traffic and comes back: the same connections go on, none is opened anew,
    and once all clients have their target side again, nothing fails any more."""
    proxy.expect("control connection to target")
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    writers = [write(table, pause=GENTLY) for _ in range(3)]
    for writer in writers:
        writer.await_more()
    clients = [client, *(writer.client for writer in writers)]
    opened = [one.opened for one in clients]
    both.forget(clusters.target)
    clusters.target.kill() if how == "killed" else clusters.target.stop()
    if proxy.settings["ZDM_PRIMARY_CLUSTER"] == "ORIGIN":
        assert client.rows(f"SELECT k FROM {table} LIMIT 1"), "reads are the origin's and go on all the while"
    clusters.target.start()
    proxy.target.await_dual()
    for writer in writers:
        writer.await_more(1)  # what failed before has been counted by then
    failed = [len(writer.failed) for writer in writers]
    for writer in writers:
        writer.await_more()
    keys = stop_all(writers)
    client.execute(f"INSERT INTO {table} (k, v) VALUES (-1, 'value -1')")
    assert [len(writer.failed) for writer in writers] == failed, "a write failed though the target was back"
    assert [one.opened for one in clients] == opened
    assert_acknowledged_on_both(both, table, [*keys, -1])


@pytest.mark.outage
@pytest.mark.needs("stops", "proxy")
def test_the_origin_killed_in_the_middle_of_traffic(
    client: Client,
    write: Callable[..., Writer],
    proxy: Proxy,
    clusters: Clusters,
    both: Both,
    table: str,
    restored: None,
) -> None:
    """Without the origin there is no service; drivers reconnect when it is back; what was acknowledged is there."""
    proxy.expect("control connection to origin")
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    writers = [write(table, pause=GENTLY) for _ in range(2)]
    for writer in writers:
        writer.await_more()
    both.forget(clusters.origin)
    clusters.origin.kill()
    for writer in writers:
        writer.await_failure()
    clusters.origin.start()
    await_true(proxy.is_ready, "the proxy is ready again", 60)
    for writer in writers:
        writer.await_more()
    assert_acknowledged_on_both(both, table, stop_all(writers))


@pytest.mark.needs("pauses", "proxy")
@pytest.mark.parametrize("side", ["target", "origin"])
def test_a_hanging_node_hangs_nobody_for_ever(
    side: str, own_proxy: Callable[..., Proxy], credentials: Credentials | None, connect: Callable[..., Client],
    write: Callable[..., Writer], clusters: Clusters, both: Both, table: str,
) -> None:  # fmt: skip
    """A node that accepts and never answers: requests fail within the limit, and all is well when it goes on.

    The default is silence, as in the reference, until the driver's own timeout; an answer is asked for here.
    """
    proxy = own_proxy(4, ZDM_PROXY_REQUEST_TIMEOUT_MS="1500", ZDM_PROXY_TIMEOUT_RESPONSE="ERROR")
    proxy.expect(f"control connection to {side}")
    node = clusters.target if side == "target" else clusters.origin
    client = connect(at=proxy.entry(credentials))
    client.execute(f"CREATE TABLE {table} {COLUMNS}")
    writer = write(table, client)
    writer.await_more()
    node.pause()
    try:
        writer.await_failure()
    finally:
        node.resume()
    writer.await_more()
    assert_acknowledged_on_both(both, table, stop_all([writer]))
