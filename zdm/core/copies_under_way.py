"""The copies of one session that wait to be sent, and those that are sent and not answered.

Ids are the client's where they are free here. An id whose answer is overdue stays in use until that comes. Nothing is
kept back for a copy that cannot be sent: it is dropped, and counted.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

from zdm.core.connector import ClusterConnector, SideState
from zdm.core.prepared import PreparedStatement
from zdm.core.state import SessionState
from zdm.protocol.frames import with_stream

MAX_WAITING_BYTES: Final = 1024 * 1024
"""What may wait to be sent in one session, however few frames it is."""

NO_STREAM: Final = -1
"""In place of the client's id, where it was not the client who asked."""


class Kind(Enum):
    """What was copied."""

    READ = 0
    USE = 1
    """Counted as a write, as it is everywhere else."""
    OTHER = 2
    """OPTIONS or PREPARE: not counted, as they are not elsewhere."""
    REPAIR = 3
    """Not a copy: a PREPARE of our own, because the cluster has forgotten a statement, or never knew it."""


_COUNTED: Final = (Kind.READ, Kind.USE)


class Copy:
    """One request that is on its way. `entry` is the statement of an EXECUTE, or the one to be prepared."""

    __slots__ = ("entry", "kind", "started")

    def __init__(self, kind: Kind, started: float, entry: PreparedStatement | None) -> None:
        self.kind: Final = kind
        self.started: Final = started
        self.entry: Final = entry


class CopiesUnderWay:
    """Sends copies as long as the connector is READY, is not full, and no USE is under way on it.

    A cluster may execute what comes on one connection in any order, so what follows a USE waits for its answer.
    """

    __slots__ = (
        "_connector",
        "_cursor",
        "_limit",
        "_overdue",
        "_sent",
        "_state",
        "_top",
        "_uses",
        "_waiting",
        "_waiting_bytes",
        "is_full",
        "repairing",
    )

    def __init__(self, state: SessionState, connector: ClusterConnector) -> None:
        self._state: Final = state
        self._connector: Final = connector
        self._sent: Final[dict[int, Copy]] = {}
        self._overdue: Final[set[int]] = set()
        self._waiting: Final[deque[tuple[int, bytes, Copy]]] = deque()
        self._waiting_bytes = 0
        self._uses = 0
        self._cursor = 0
        settings = state.snapshot.settings
        self._limit: Final[int] = settings.stream_limit
        self._top: Final[int] = settings.top_stream
        self.is_full = False
        """The connection takes nothing at the moment."""
        self.repairing: Final[set[bytes]] = set()
        """Origin's ids of the statements that are being prepared."""

    def used_ids(self) -> int:
        """The stream ids in use."""
        return len(self._sent) + len(self._overdue)

    def waits_for_use(self) -> bool:
        """A USE is among what waits to be sent."""
        return any(copy.kind is Kind.USE for _, _, copy in self._waiting)

    def add(self, stream: int, frame: bytes, copy: Copy) -> None:
        """Send a request, or have it wait; `stream` is the client's id."""
        if not self._waiting and self._may_send():
            self._send(stream, frame, copy)
        elif (
            len(self._waiting) < self._state.snapshot.settings.copies_waiting
            and self._waiting_bytes + len(frame) <= MAX_WAITING_BYTES
        ):
            self._waiting.append((stream, frame, copy))
            self._waiting_bytes += len(frame)
        else:
            self._state.shared.meter.copies_over_limit += 1
            self._is_over(copy)

    def flush(self) -> None:
        """Send what waits, in order; what has waited for too long not any more."""
        since = self._state.now - self._state.snapshot.settings.request_timeout
        while self._waiting and self._may_send():
            stream, frame, copy = self._waiting.popleft()
            self._waiting_bytes -= len(frame)
            if copy.started > since:
                self._send(stream, frame, copy)
            else:
                self._state.shared.meter.copies_over_limit += 1
                self._is_over(copy)

    def drop(self, copy: Copy) -> None:
        """There is no connection."""
        self._state.shared.meter.copies_unconnected += 1
        self._is_over(copy)

    def sent(self, stream: int) -> Copy | None:
        """What was sent under the id, and is not answered."""
        return self._sent.get(stream)

    def answered(self, stream: int) -> Copy | None:
        """The id is free; what it was used for, unless that was given up meanwhile."""
        copy = self._sent.pop(stream, None)
        if copy is None:
            self._overdue.discard(stream)
            return None
        node = self._connector.node
        if node is not None and copy.kind in _COUNTED:
            node.inflight -= 1
            (node.reads if copy.kind is Kind.READ else node.writes).observe(self._state.now - copy.started)
        self._settled(copy)
        return copy

    def failed(self, copy: Copy, code: int) -> None:
        """The answer was an ERROR of this code."""
        node = self._connector.node
        if node is not None and copy.kind in _COUNTED:
            node.answered_with(code)

    def next_deadline(self) -> float | None:
        """When the oldest expires; nothing while nothing is awaited."""
        for copy in self._sent.values():
            return copy.started + self._state.snapshot.settings.request_timeout
        return None

    def expire(self) -> int:
        """Give up what was awaited too long; how many that were."""
        since, expired = self._state.now - self._state.snapshot.settings.request_timeout, 0
        while self._sent:
            stream, copy = next(iter(self._sent.items()))
            if copy.started > since:
                break
            del self._sent[stream]
            self._overdue.add(stream)
            node = self._connector.node
            if node is not None and copy.kind in _COUNTED:
                node.inflight -= 1
                node.left_unanswered()
            self._settled(copy)
            expired += 1
        return expired

    def clear(self) -> None:
        """The connection is gone."""
        self._state.shared.meter.copies_unconnected += len(self._waiting)
        if self._connector.node is not None:
            self._connector.node.inflight -= sum(copy.kind in _COUNTED for copy in self._sent.values())
        self._waiting.clear()
        self._sent.clear()
        self._overdue.clear()
        self.repairing.clear()
        self._waiting_bytes = self._uses = 0
        self.is_full = False

    def _may_send(self) -> bool:
        return self._connector.state is SideState.READY and not (self.is_full or self._uses)

    def _send(self, stream: int, frame: bytes, copy: Copy) -> None:
        sent, overdue = self._sent, self._overdue
        if len(sent) + len(overdue) >= self._limit:
            self._state.shared.meter.copies_without_stream += 1
            self._is_over(copy)
            return
        if stream in sent or stream in overdue or not 0 <= stream <= self._top:
            stream = self._free_id(self._top)
            frame = with_stream(frame, stream)
        sent[stream] = copy
        if self._connector.node is not None and copy.kind in _COUNTED:
            self._connector.node.inflight += 1
        if copy.kind is Kind.USE:
            self._uses += 1
        self._connector.outbox.append(frame)

    def _free_id(self, top: int) -> int:
        """One of the ids that is not in use, of which there are some."""
        cursor = self._cursor
        while True:
            cursor = cursor - 1 if 0 < cursor <= top else top
            if cursor not in self._sent and cursor not in self._overdue:
                self._cursor = cursor
                return cursor

    def _settled(self, copy: Copy) -> None:
        if copy.kind is Kind.USE:
            self._uses -= 1
        self._is_over(copy)

    def _is_over(self, copy: Copy) -> None:
        """Nothing is to come of it any more."""
        if copy.kind is Kind.REPAIR and copy.entry is not None:
            self.repairing.discard(copy.entry.origin_id)

    def __repr__(self) -> str:
        return f"<CopiesUnderWay sent={len(self._sent)} overdue={len(self._overdue)} waiting={len(self._waiting)}>"
