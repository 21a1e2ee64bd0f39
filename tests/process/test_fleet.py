"""Three proxies that know of one another, and a driver that takes them for a cluster (sections 4.4 and 7.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.policies import DCAwareRoundRobinPolicy, FallthroughRetryPolicy, TokenAwarePolicy

from tests.process import drivers
from tests.process.awaiting import free_port, until
from tests.process.conftest import StartProxy
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

FLEET = ("127.0.80.21", "127.0.80.22", "127.0.80.23")
READS = 'proxy_request_duration_seconds_count{type="reads_origin"}'

StartFleet = Callable[..., list[Proxy]]


@pytest.fixture
def fleet(sandbox: Sandbox, proxy: StartProxy) -> StartFleet:
    """Starts three, on one port of three addresses: a driver dials them all on the port it was given."""

    def start(**settings: Any) -> list[Proxy]:
        port = free_port(FLEET[0])
        started = [
            proxy(
                *sandbox.clusters,
                ready=False,
                proxy_listen_address=address,
                proxy_listen_port=port,
                proxy_topology_index=index if settings else 0,
                **settings,
            )
            for index, address in enumerate(FLEET)
        ]
        for one, address in zip(started, FLEET, strict=True):
            one.host = address
            one.wait_until_ready()
        return started

    return start


def together() -> dict[str, str]:
    return {"proxy_topology_addresses": ",".join(FLEET)}


def clients(proxies: list[Proxy]) -> list[float]:
    return [one.metric("client_connections_total") for one in proxies]


def token_aware() -> dict[str, Any]:
    policy = TokenAwarePolicy(DCAwareRoundRobinPolicy())
    profile = ExecutionProfile(load_balancing_policy=policy, retry_policy=FallthroughRetryPolicy(), request_timeout=20)
    return {
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "schema_metadata_enabled": True,
        "token_metadata_enabled": True,
    }


def test_a_driver_connects_to_every_proxy_and_sends_each_key_to_its_owner(fleet: StartFleet, ks: str) -> None:
    """The tokens that the proxies show divide the ring between them; the driver keeps to them."""
    proxies = fleet(**together())
    with drivers.session(proxies[0], **token_aware()) as session:
        assert {host.address for host in session.cluster.metadata.all_hosts()} == set(FLEET)
        until(lambda: clients(proxies) == [2, 1, 1], "one for each pool, and one for what the driver asks itself")
        read = session.prepare(f"SELECT v FROM {ks}.t WHERE k = ?")
        before = [one.metric(READS) for one in proxies]
        owners = []
        for key in range(6):
            bound = read.bind((key,))
            (owner,) = session.cluster.metadata.get_replicas(ks, bound.routing_key)
            owners += [owner.address] * 10
            for _ in range(10):
                future = session.execute_async(bound)
                future.result()
                assert future.coordinator_host.address == owner.address
        after = [one.metric(READS) for one in proxies]
    assert [late - early for early, late in zip(before, after, strict=True)] == [owners.count(each) for each in FLEET]
    assert len(set(owners)) > 1


def test_a_driver_stays_with_a_proxy_that_knows_of_no_other(fleet: StartFleet) -> None:
    """Each configured for itself: nothing tells the driver that there are more."""
    proxies = fleet()
    with drivers.session(proxies[0]) as session:
        assert {host.address for host in session.cluster.metadata.all_hosts()} == {FLEET[0]}
        until(lambda: clients(proxies) == [2, 0, 0], "both are with the one")
