"""What a scenario may ask of the clusters, whatever they are.

A backend is a pair of one-node clusters, origin and target. Scenarios never name a backend: they name the capabilities
they need (``@pytest.mark.needs("rows", "stops")``), and a backend says which of them it has. The words are in
``CAPABILITIES``; a scenario or backend that uses another word is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from conformance.ports import open_connections

CAPABILITIES: Final[dict[str, str]] = {
    "rows": "stores rows and keeps a schema",
    "counters": "counter columns",
    "conditions": "lightweight transactions",
    "types": "user-defined types",
    "tracing": "writes traces that the driver can read",
    "forgets": "a statement prepared on a table is forgotten when the table is dropped",
    "stops": "a node can be stopped, killed and started again, and keeps what it stores",
    "pauses": "a node can be made to hang",
    "primes": "a node can be told to answer a statement with an error, late or never, and to forget what it prepared",
    "logs": "a node tells which requests it got",
    "roles": "users without permissions can be made",
    "logins": "both clusters check user and password, and they differ",
    "any-login": "at least one cluster checks user and password",
    "proxy": "there is a proxy (not --direct)",
}

# what `Node.fail` can prime, and the code that is on the wire then
ERRORS: Final[dict[str, int]] = {
    "SERVER_ERROR": 0x0000,
    "PROTOCOL_ERROR": 0x000A,
    "AUTHENTICATION_ERROR": 0x0100,
    "UNAVAILABLE": 0x1000,
    "OVERLOADED": 0x1001,
    "IS_BOOTSTRAPPING": 0x1002,
    "TRUNCATE_ERROR": 0x1003,
    "WRITE_TIMEOUT": 0x1100,
    "READ_TIMEOUT": 0x1200,
    "READ_FAILURE": 0x1300,
    "FUNCTION_FAILURE": 0x1400,
    "WRITE_FAILURE": 0x1500,
    "SYNTAX_ERROR": 0x2000,
    "UNAUTHORIZED": 0x2100,
    "INVALID": 0x2200,
    "CONFIG_ERROR": 0x2300,
}
# those that came with version 4 of the protocol
ERRORS_OF_V4: Final = frozenset({"READ_FAILURE", "FUNCTION_FAILURE", "WRITE_FAILURE"})


class Credentials(NamedTuple):
    username: str
    password: str


class Request(NamedTuple):
    """What a node got: the opcode's name (``QUERY``), and the statement.

    ``text`` is that of the PREPARE for an EXECUTE, those of the children joined by ``; `` for a BATCH where the backend
    knows them, and not to be relied upon for requests without a statement.
    """

    opcode: str
    text: str


# one statement as it is sent (by QUERY, or prepared and executed), or those of a BATCH
Statement = str | Sequence[str]


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
        """Takes away what the node would know of prepared statements after its next start; with "primes" at once."""

    def connections(self) -> int:
        """How many TCP connections others have to this node now: proxies, and whoever reads it directly."""
        return open_connections(self.address, self.port)

    # with the capability "logs"

    def requests(self, part: str = "") -> list[Request]:
        """The requests it got since ``forget_requests``, at most the last 10,000, whose text has this part."""
        raise NotImplementedError

    def forget_requests(self) -> None:
        raise NotImplementedError

    # with the capability "primes"; all of it ends with clear_primes. A statement is primed as a whole, and one that is
    # executed by id after it was prepared: some backends lose the bind variables of what is primed before.

    def fail(self, statement: Statement, error: str, required: int = 2) -> None:
        """Answers it with this error, one of ``ERRORS``. Its text names the node, or it tells ``required`` replicas."""
        raise NotImplementedError

    def delay(self, statement: Statement, milliseconds: int) -> None:
        """Executes it and holds the answer back."""
        raise NotImplementedError

    def keep_silent(self, statement: Statement) -> None:
        """Never answers it, and does not execute it."""
        raise NotImplementedError

    def refuse_to_prepare(self, statement: str) -> None:
        """Answers its PREPARE with INVALID."""
        raise NotImplementedError

    def clear_primes(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{self.name} {self.address}:{self.port}>"


class Setup(NamedTuple):
    """What a run asks of its backend, which ignores what it has no use for.

    ``network`` is the prefix of its addresses (``127.0.60.``), ``directory`` where logs and data go, ``versions`` those
    of Cassandra (origin, target), ``authenticated`` the names of the clusters that check passwords, ``simulacron`` the
    jar, or empty.
    """

    network: str
    directory: Path
    versions: tuple[str, str]
    authenticated: frozenset[str]
    simulacron: str


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

    @abstractmethod
    def __init__(self, setup: Setup) -> None: ...

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
