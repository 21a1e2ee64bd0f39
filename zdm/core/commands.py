"""The rare effects that a session asks of its shell, taken after each feed.

Bytes are not among them: those are pulled from the outboxes. What is here happens a few times in the life of a
connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from zdm.core.clusters import Side
from zdm.core.credentials import Credentials

if TYPE_CHECKING:
    from zdm.core.copied_reads import CopiedReads


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection to the cluster; answered by `Session.attached` or `Session.cluster_lost`.

    `eager`: nothing waits for it, so others may go first. The same command without it may follow: now something waits.
    """

    side: Side
    eager: bool = False


@dataclass(frozen=True, slots=True)
class Attached:
    """A connection that was opened after the client's handshake is in use."""

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


class Recognition(Enum):
    """What a `VerifyLogin` came to."""

    KNOWN = 0
    UNKNOWN = 1
    UNSEEN = 2
    """It may be either: nobody has looked."""


@dataclass(frozen=True, slots=True)
class FindStatements:
    """Ask the other workers for these prepared ids; answered by `Session.statements_sought(ticket)`."""

    prepared_ids: tuple[bytes, ...]
    ticket: int


@dataclass(frozen=True, slots=True)
class VerifyLogin:
    """Find out whether target accepted these credentials before; answered by `Session.login_verified`."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class LoginJudged:
    """Target has let a client in with these credentials of its own, or has refused them."""

    credentials: Credentials
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class TendCopies:
    """The connection of copied reads is to be opened or closed, or has something to be written."""

    copies: CopiedReads


Command = (
    Connect
    | Attached
    | Close
    | Note
    | RefreshSchema
    | PrepareElsewhere
    | FindStatements
    | VerifyLogin
    | LoginJudged
    | TendCopies
)
