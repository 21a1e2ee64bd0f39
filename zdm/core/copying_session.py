"""A session whose reads are copied to the secondary (`read_mode: DUAL_ASYNC_ON_SECONDARY`).

Everything else about it is as in any session: a request is planned, sent and answered first, and then looked at once
more, whether it is one of those that are copied (sections 4.1, 4.2 and 10.1 of the behaviour specification):

| copied | not copied |
|---|---|
| SELECT, as QUERY or EXECUTE; the PREPARE of one | what the proxy answers, and reads of the keyspaces of the system |
| USE, and the PREPARE of one | writes: the secondary has them already |
| OPTIONS | what is held while other workers are asked for its statement |

While target is off nothing is copied in either direction: all reads go to origin then.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from zdm.core.clusters import Side, other
from zdm.core.copied_reads import CopiedReads
from zdm.core.copies_under_way import Kind
from zdm.core.handover import Handover
from zdm.core.named_keyspace import named_keyspace
from zdm.core.pending import PendingRequest, packed_of
from zdm.core.plans import Route
from zdm.core.rewriting import exchange_ids, prepared_id_at
from zdm.core.routing import route_of
from zdm.core.session import Session
from zdm.core.snapshot import Shared, Snapshot
from zdm.cql.statement import classify
from zdm.protocol.compression import compress_frame
from zdm.protocol.envelope import body_start
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import EXECUTE, OPTIONS, PREPARE, QUERY
from zdm.protocol.primitives import Reader

_KINDS: Final = {Route.READ: Kind.READ, Route.USE: Kind.USE}


class CopyingSession(Session):
    """One client connection, whose reads are copied."""

    __slots__ = ("copies",)

    def __init__(
        self, shared: Shared, now: float, local_address: str, client_name: str, handover: Handover | None = None
    ) -> None:
        super().__init__(shared, now, local_address, client_name, handover)
        self.copies: Final = CopiedReads(self._state, other(shared.snapshot.settings.primary))
        if handover is not None:
            self.copies.follow()

    def cluster_lost(self, side: Side, reason: str, now: float) -> None:
        """As for any session. The host of the copies is the secondary's own, so another is chosen with that."""
        super().cluster_lost(side, reason, now)
        if side is self.copies.side:
            self.copies.drop()

    def client_lost(self) -> None:
        """As for any session."""
        super().client_lost()
        self.copies.drop()

    def apply(self, snapshot: Snapshot, now: float) -> None:
        """As for any session."""
        super().apply(snapshot, now)
        self.copies.follow()

    def _after_early(self) -> None:
        super()._after_early()
        self.copies.follow()

    def _requests(self, data: bytes) -> None:
        pending = self._state.pending
        known = len(pending)
        super()._requests(data)
        count = len(pending) - known
        if count > 0:  # nothing but the chunk's own requests can have gone meanwhile, so these are the newest
            newest = list(islice(reversed(pending.values()), count))
            for request in reversed(newest):
                self._copy(request)
            self.copies.tend()

    def _copy(self, request: PendingRequest) -> None:
        opcode = request.chunk[request.start + 4]
        if opcode == EXECUTE or opcode == QUERY:
            kind = _KINDS.get(request.plan.route)
            if kind is not None and opcode == EXECUTE:
                self._copy_prepared(request, kind)
            elif kind is not None:
                self.copies.add(request.stream, request.as_sent(), kind)
        elif opcode == OPTIONS or (opcode == PREPARE and self._prepares_read(request)):
            self.copies.add(request.stream, request.as_sent(), Kind.OTHER)

    def _copy_prepared(self, request: PendingRequest, kind: Kind) -> None:
        frame = request.frame()
        position = HEADER_LENGTH if not frame[1] else body_start(frame, HEADER_LENGTH, frame[1], False)
        prepared_id = prepared_id_at(frame, position, len(frame))
        entry = self._state.shared.prepared.entries.get(prepared_id)
        if entry is None:
            return
        if self.copies.side is not Side.TARGET or entry.verbatim:
            self.copies.add(request.stream, request.as_sent(), kind, entry)
        elif not entry.target_id:
            self.copies.prepare(entry)
        else:
            frame = exchange_ids(frame, [(position, prepared_id)], [entry.target_id])
            packed = compress_frame(self._state.compression, frame) if packed_of(request) else frame
            self.copies.add(request.stream, packed, kind, entry)

    def _prepares_read(self, request: PendingRequest) -> bool:
        frame = request.frame()
        position = HEADER_LENGTH if not frame[1] else body_start(frame, HEADER_LENGTH, frame[1], False)
        keyspace = named_keyspace(frame) or self._state.keyspace
        return route_of(classify(Reader(frame, position).long_string()), keyspace) in _KINDS


def new_session(
    shared: Shared, now: float, local_address: str, client_name: str, handover: Handover | None = None
) -> Session:
    """The session for a client, as the settings ask for it; see `Session`."""
    kind = CopyingSession if shared.snapshot.settings.copies_reads else Session
    return kind(shared, now, local_address, client_name, handover)
