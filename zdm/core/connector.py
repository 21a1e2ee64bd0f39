"""The sans-I/O half of one cluster connection.

The client's stream ids are used on the cluster connections as they are. `special` names the few ids of this connection
that mean something else at the moment:

- the id of a request made by the proxy (heartbeat, re-prepare, USE): an `Internal`;
- an id under which a client's request travels because its own was taken: that `PendingRequest`;
- an id whose answer is still owed for a request that is settled already: `OWED`. A late answer can therefore never
  reach a later request that uses the id again (quarantine).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

from zdm.core.clusters import Side
from zdm.core.pending import PendingRequest
from zdm.core.wire import Wire

if TYPE_CHECKING:
    from zdm.meters import NodeMeter


class SideState(Enum):
    """Where a cluster connection is: ABSENT -> CONNECTING -> HANDSHAKING -> READY -> LOST -> CONNECTING...

    READY -> PARKED when target is switched off, and back to READY if that is soon over, else to ABSENT.
    """

    ABSENT = 0
    CONNECTING = 1
    HANDSHAKING = 2
    READY = 3
    LOST = 4
    PARKED = 5
    """Open, and nothing new is sent; what is owed may still come."""


class Owed:
    """Marks an id whose answer nobody waits for any more."""

    __slots__ = ()


OWED: Final = Owed()


class Internal:
    """A request made by the proxy. `answered` gets the whole answer frame, or nothing when none will come."""

    __slots__ = ("answered", "deadline")

    def __init__(self, answered: Callable[[bytes | None], None], deadline: float) -> None:
        self.answered: Final = answered
        self.deadline: Final = deadline


Special = Owed | Internal | PendingRequest


class StreamsExhausted(Exception):
    """No stream id is free on a cluster connection."""


class ClusterConnector:
    """One cluster's half of a session; lives as long as the session and survives the connections it had."""

    __slots__ = (
        "attempts",
        "incoming",
        "is_eager",
        "is_late",
        "is_stray",
        "keyspace",
        "last_heard",
        "last_heartbeat",
        "node",
        "outbox",
        "owed",
        "owed_since",
        "retry_at",
        "side",
        "special",
        "state",
    )

    def __init__(self, side: Side, now: float) -> None:
        self.side: Final = side
        self.state = SideState.ABSENT
        self.outbox: list[bytes] = []
        self.incoming: Final = Wire()
        self.special: dict[int, Special] = {}
        self.owed = 0
        self.last_heartbeat = now
        self.last_heard = now
        self.owed_since = now
        self.node: NodeMeter | None = None
        """Counts what the host at the other end answers, where its name is known."""
        self.attempts = 0
        self.retry_at = 0.0
        self.keyspace: str | None = None
        """The keyspace that was set last on this connection."""
        self.is_stray = False
        """Nobody knows its keyspace, so it is not to be used again."""
        self.is_late = False
        """The session has lacked this side since it was switched on."""
        self.is_eager = False
        """The connection that is being opened is for nothing that waits."""

    def reset(self, state: SideState) -> list[Internal]:
        """Forget everything that belonged to the connection that ended; the proxy's own requests that it leaves."""
        orphans = [value for value in self.special.values() if isinstance(value, Internal)]
        self.state = state
        self.outbox.clear()
        self.incoming.reset()
        self.special.clear()
        self.owed = 0
        self.node = None
        self.keyspace = None
        self.is_stray = False
        return orphans

    def used_ids(self, pending: dict[int, PendingRequest]) -> int:
        """How many ids are in use on this connection: counted anew, so not to be asked for every request."""
        bit = int(self.side)
        awaited = sum(1 for request in pending.values() if request.awaits & bit)
        return awaited + sum(1 for value in self.special.values() if not isinstance(value, PendingRequest))

    def free_id(self, pending: dict[int, PendingRequest], top: int) -> int:
        """The highest id not above `top` that is not in use on this connection. Raises StreamsExhausted."""
        candidate, special, bit = top, self.special, int(self.side)
        while candidate in special or (candidate in pending and pending[candidate].awaits & bit):
            candidate -= 1
        if candidate < 0:
            raise StreamsExhausted
        return candidate

    def carried_as(self, request: PendingRequest) -> int:
        """The id under which `request` travels on this connection."""
        if len(self.special) > self.owed:
            for stream, value in self.special.items():
                if value is request:
                    return stream
        return request.stream

    def owe(self, request: PendingRequest, now: float) -> None:
        """The request is settled without this cluster's answer: quarantine its id until that comes."""
        self.owe_on(self.carried_as(request), now)

    def owe_on(self, stream: int, now: float) -> None:
        """Nobody waits any more for the answer on this id."""
        if not self.owed:
            self.owed_since = now
        self.special[stream] = OWED
        self.owed += 1

    def __repr__(self) -> str:
        return f"<ClusterConnector {self.side.name} {self.state.name} special={len(self.special)} owed={self.owed}>"
