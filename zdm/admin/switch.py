"""What the HTTP API needs to know of the target's switch, and how it turns it (neighbours, section A.1).

Apart from the routes, so that who implements the switch need not import what serves: Klein imports Twisted's reactor.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from twisted.internet.defer import Deferred


class TargetState(NamedTuple):
    """Whether requests go to the target: what is wanted, and what is so."""

    is_ready: bool
    """The proxy serves clients."""
    enabled: bool
    """What is wanted."""
    effective: str | None
    """DUAL; ORIGIN_ONLY; ATTACHING: enabled, and some clients still lack their target connection. None before ready."""
    generation: int
    """Of the last change that all workers have."""
    since: float | None
    """Seconds since the epoch of the last change; None where there was none."""
    reason: str
    actor: str
    attaching: int
    """Clients that still lack their target connection."""
    stored: bool | None = None
    """A restart will know what is wanted; None where no state file is configured."""


class Switch(Protocol):
    """Takes the target out of the path and puts it back."""

    def state(self) -> TargetState | None:
        """None once shutdown has begun."""

    def switch(self, enabled: bool, reason: str, actor: str, peer: str, force: bool = False) -> Deferred[str]:
        """Fires when all workers have the change, with the `message` for the caller. What is so already stays, quietly.

        `reason` and `actor` are one line without control characters each, or empty; `peer` is `host:port`. Fails with
        Refused where the configuration forbids it, unless it is forced.
        """


class Refused(Exception):
    """The configuration forbids to switch so; the text is that of the 409."""


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as ISO-8601 in UTC, to the millisecond: `2026-01-31T09:30:00.250Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
