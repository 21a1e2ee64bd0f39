"""Who is let in: the application's credentials for one cluster, the configured ones for the other."""

from __future__ import annotations

import pytest
from cassandra import AuthenticationFailed
from cassandra.cluster import NoHostAvailable

from conformance.backends.interface import Clusters, Credentials
from conformance.client import Client, Entry
from conformance.comparison import Both
from conformance.wire import Refused, Wire

pytestmark = pytest.mark.needs("rows")

BAD_CREDENTIALS = 0x0100


def refusal(entry: Entry, protocol: int) -> BaseException:
    """The reason why the driver could not connect."""
    with pytest.raises(NoHostAvailable) as failure, Client(entry, protocol):
        pass
    (reason,) = failure.value.errors.values()
    assert isinstance(reason, BaseException)
    return reason


@pytest.mark.needs("any-login")
def test_the_right_credentials_reach_both(client: Client, both: Both, table: str) -> None:
    """The two clusters have different users; each gets its own."""
    client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY)")
    client.execute(f"INSERT INTO {table} (k) VALUES (1)")
    assert both.same_table(table) == [(1,)]


@pytest.mark.needs("any-login")
@pytest.mark.parametrize("wrong", ["password", "user", "empty"])
def test_wrong_credentials_are_refused_with_the_clusters_words(
    entry: Entry, protocol: int, wrong: str, clusters: Clusters, pytestconfig: pytest.Config
) -> None:
    """BAD_CREDENTIALS with the text of the cluster that refused."""
    right = entry.credentials
    assert right is not None
    bad = {
        "password": Credentials(right.username, "not the password"),
        "user": Credentials("nobody", right.password),
        "empty": Credentials("", ""),
    }[wrong]
    reason = refusal(Entry(entry.address, entry.port, bad), protocol)
    assert isinstance(reason, AuthenticationFailed), reason
    (decides,) = [node for node in clusters.nodes if node.credentials == right]
    with pytest.raises(Refused) as wanted, Wire(decides.address, decides.port, protocol, bad):
        pass
    with pytest.raises(Refused) as got, Wire(entry.address, entry.port, protocol, bad):
        pass
    assert got.value.answer == wanted.value.answer
    assert got.value.answer.code == BAD_CREDENTIALS


@pytest.mark.needs("logins", "proxy")
def test_the_origins_credentials_are_not_the_targets(entry: Entry, clusters: Clusters, protocol: int) -> None:
    """What the proxy knows must not help a client that does not know it: origin's password does not open the target."""
    assert clusters.origin.credentials != clusters.target.credentials
    reason = refusal(Entry(entry.address, entry.port, clusters.origin.credentials), protocol)
    assert isinstance(reason, AuthenticationFailed), reason


@pytest.mark.needs("any-login")
def test_a_client_without_credentials_is_asked_for_them(entry: Entry, protocol: int) -> None:
    """It is told that authentication is needed, not let in with the configured credentials."""
    reason = refusal(Entry(entry.address, entry.port, None), protocol)
    assert isinstance(reason, AuthenticationFailed), reason


def test_credentials_that_nobody_asks_for_do_no_harm(
    entry: Entry, protocol: int, both: Both, table: str, credentials: Credentials | None
) -> None:
    """An application may be configured with credentials before the clusters check any."""
    offered = credentials or Credentials("some", "body")
    with Client(Entry(entry.address, entry.port, offered), protocol, both.keyspace) as client:
        client.execute(f"CREATE TABLE {table} (k int PRIMARY KEY)")
        client.execute(f"INSERT INTO {table} (k) VALUES (1)")
    assert both.same_table(table) == [(1,)]
