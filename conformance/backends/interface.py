"""What a scenario may ask of the clusters, whatever they are.

A backend is a pair of one-node clusters, origin and target. Scenarios never name a backend: they name the capabilities
they need (``@pytest.mark.needs("rows", "stops")``), and a backend says which of them it has. The words are in
``CAPABILITIES``; a scenario or backend that uses another word is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

CAPABILITIES: Final[dict[str, str]] = {
    "rows": "stores rows and keeps a schema",
    "counters": "counter columns",
    "conditions": "lightweight transactions",
    "types": "user-defined types",
    "tracing": "writes traces that the driver can read",
    "forgets": "a statement prepared on a table is forgotten when the table is dropped",
    "stops": "a node can be stopped, killed and started again, and keeps its rows",
    "pauses": "a node can be made to hang",
    "roles": "users without permissions can be made",
    "logins": "both clusters check user and password, and they differ",
    "any-login": "at least one cluster checks user and password",
    "proxy": "there is a proxy (not --direct)",
}


class Credentials(NamedTuple):
    username: str
    password: str


class Node(ABC):
    """One cluster of one node. Created by its backend, which also ends it; a stopped node can be started again.

    ``kill`` is SIGKILL or its like: nothing is said to peers. ``pause`` leaves connections open and answers nothing.
    ``start`` and ``resume`` return when the node answers requests again.
    """

    def __init__(self, name: str, address: str, port: int, credentials: Credentials | None) -> None:
        self.name = name
        self.address = address
        self.port = port
        self.credentials = credentials

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def kill(self) -> None: ...

    @abstractmethod
    def pause(self) -> None: ...

    @abstractmethod
    def resume(self) -> None: ...

    @abstractmethod
    def is_running(self) -> bool: ...

    @abstractmethod
    def forget_prepared(self) -> None:
        """Takes away what the node would know of prepared statements after its next start."""

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}:{self.port}>"


class Clusters(ABC):
    """Origin and target, from ``start`` to ``stop``.

    ``always`` are the capabilities that every run on this backend has, ``sometimes`` those that depend on options;
    ``present`` is what this run has.
    """

    name: str
    always: frozenset[str]
    sometimes: frozenset[str]
    origin: Node
    target: Node

    @property
    @abstractmethod
    def present(self) -> frozenset[str]: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def describe(self) -> str:
        """One line for the head of the run: kinds and versions."""

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.origin, self.target
