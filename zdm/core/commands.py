"""The rare effects that a session asks of its shell, taken after each feed.

Bytes are not among them: those are pulled from the outboxes. What is here happens a few times in the life of a
connection.
"""

from __future__ import annotations

from dataclasses import dataclass

from zdm.core.clusters import Side


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to the cluster; answered by `Session.attached` or `Session.cluster_lost`."""

    side: Side


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection once what is in its outbox is written. CLIENT ends the session."""

    side: Side
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the operator's log; `level` is one of debug, info, warn, error."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class RefreshSchema:
    """A SCHEMA_CHANGE went by: what system.local says of the schema's version is out of date."""


@dataclass(frozen=True, slots=True)
class PrepareElsewhere:
    """Prepare `text` under `keyspace` on a connection of its own to the host this side is connected to.

    Answered by `Session.prepared_elsewhere(ticket, ...)`.
    """

    side: Side
    keyspace: str
    text: str
    ticket: int


Command = Connect | Close | Note | RefreshSchema | PrepareElsewhere
