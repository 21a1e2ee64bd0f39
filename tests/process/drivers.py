"""Sessions of cassandra-driver, as applications have them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import ConstantReconnectionPolicy, FallthroughRetryPolicy, RoundRobinPolicy

from tests.process.running_proxy import Proxy


@contextmanager
def session(proxy: Proxy, login: tuple[str, str] = ("", ""), **options: Any) -> Iterator[Session]:
    """One that retries nothing by itself, so that a test sees every error.

    It speaks v4 where nothing else is asked for; `protocol_version` None lets the driver find out.
    """
    profile = ExecutionProfile(
        load_balancing_policy=RoundRobinPolicy(), retry_policy=FallthroughRetryPolicy(), request_timeout=20
    )
    wanted: dict[str, Any] = {
        "protocol_version": 4,
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
        "auth_provider": PlainTextAuthProvider(*login) if login != ("", "") else None,
        "connect_timeout": 20,
        "reconnection_policy": ConstantReconnectionPolicy(0.1, None),
        "schema_metadata_enabled": False,
        "token_metadata_enabled": False,
        "monitor_reporting_enabled": False,
    }
    wanted |= options
    if wanted["protocol_version"] is None:
        del wanted["protocol_version"]
    cluster = Cluster([proxy.host], port=proxy.port, **wanted)
    try:
        yield cluster.connect()
    finally:
        cluster.shutdown()
