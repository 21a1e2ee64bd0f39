"""One application: a driver Cluster and Session that count what they open and send, and never repeat by themselves."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, NamedTuple

from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, Session
from cassandra.policies import ConstantReconnectionPolicy, FallthroughRetryPolicy, RoundRobinPolicy
from cassandra.query import PreparedStatement, tuple_factory

from conformance.backends.interface import Credentials

# longer than the proxy's own limit (10 s): a request that runs into this one was left without an answer
REQUEST_TIMEOUT = 30.0
COMPRESSION = "COMPRESSION"
"""The environment variable that stands for `--compression`."""


class Entry(NamedTuple):
    """Where an application connects: the proxy, or with --direct a cluster."""

    address: str
    port: int
    credentials: Credentials | None


def wanted_compression() -> str | bool:
    """What `--compression` says, in processes of their own too: an algorithm, or False for none."""
    named = os.environ.get(COMPRESSION, "none")
    return False if named == "none" else named


class Client:
    """Open from creation to ``close``.

    ``opened`` counts TCP connections, ``sent`` the requests by the driver's message name. The retry policy rethrows,
    so what a scenario sees is one request's own fate. Rows come as tuples.
    """

    def __init__(self, entry: Entry, protocol: int, keyspace: str | None = None, **options: Any) -> None:
        self.opened = 0
        self.sent: Counter[str] = Counter()
        profile = ExecutionProfile(
            load_balancing_policy=RoundRobinPolicy(),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=ConsistencyLevel.ONE,
            request_timeout=REQUEST_TIMEOUT,
            row_factory=tuple_factory,
        )
        options.setdefault("compression", wanted_compression())
        self.cluster = Cluster(
            [entry.address],
            port=entry.port,
            protocol_version=protocol,
            auth_provider=PlainTextAuthProvider(*entry.credentials) if entry.credentials else None,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            reconnection_policy=ConstantReconnectionPolicy(0.3, None),
            connect_timeout=15,
            control_connection_timeout=15,
            **options,
        )
        self.cluster.connection_class = self._counted(self.cluster.connection_class)
        try:
            self.session: Session = self.cluster.connect(keyspace)
        except BaseException:
            self.cluster.shutdown()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        self.cluster.shutdown()

    def execute(self, statement: Any, values: Any = None, **options: Any) -> Any:
        return self.session.execute(statement, values, **options)

    def rows(self, statement: Any, values: Any = None) -> list[tuple[Any, ...]]:
        return list(self.session.execute(statement, values))

    def prepare(self, text: str) -> PreparedStatement:
        return self.session.prepare(text)

    @property
    def prepares(self) -> int:
        return self.sent["PrepareMessage"]

    def _counted(self, connection_class: Any) -> Any:
        counts = self

        class CountedConnection(connection_class):  # type: ignore[misc]  # the driver has no types
            @classmethod
            def factory(cls, *arguments: Any, **options: Any) -> Any:
                counts.opened += 1
                return super().factory(*arguments, **options)

            def send_msg(self, message: Any, *arguments: Any, **options: Any) -> Any:
                counts.sent[type(message).__name__] += 1
                return super().send_msg(message, *arguments, **options)

        return CountedConnection
