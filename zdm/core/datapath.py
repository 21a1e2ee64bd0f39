"""The two loops that every byte of a ready session passes.

Requests come in as chunks of frames. Consecutive frames that go to the same clusters as they are form a run, and a run
leaves as one slice of the chunk. Answers are matched by stream id and settle in place. Whatever is out of the ordinary
(another opcode, a flag, an id that is taken, a side that is not ready, an ERROR, an answer that must be looked at)
leaves the loop for `Session`'s general path. Nothing here makes an object per request but its PendingRequest.

In v5 the same loops run over frames that were taken out of segments, and a run whose segments hold nothing else leaves
in those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zdm.core.clusters import BOTH, ORIGIN_BIT, TARGET_BIT, Side
from zdm.core.connector import ClusterConnector, SideState
from zdm.core.named_keyspace import names_keyspace
from zdm.core.pending import PendingRequest
from zdm.core.plans import Plan, Route
from zdm.core.routing import Routing
from zdm.core.state import Phase, SessionState
from zdm.protocol.frames import HEADER, HEADER_LENGTH, RESPONSE_BIT
from zdm.protocol.opcodes import EXECUTE, QUERY
from zdm.protocol.versions import V5

if TYPE_CHECKING:
    from zdm.meters import NodeMeter

_TEXT: Final = HEADER_LENGTH + 4  # where a QUERY's text begins, after its length
_FIRST_WORD_END: Final = _TEXT + 7
_WRITE: Final[int] = Route.WRITE.value
_ID: Final = HEADER_LENGTH + 2  # where an EXECUTE's prepared id begins, after its length

General = Callable[[bytes], None]
Settle = Callable[[PendingRequest], None]
Answered = Callable[[Side, bytes], None]


class DataPath:
    """The fast path of one session."""

    __slots__ = ("_answered", "_general", "_index", "_lone", "_settle", "_state")

    def __init__(
        self, state: SessionState, routing: Routing, general: General, answered: Answered, settle: Settle
    ) -> None:
        self._state: Final = state
        self._index: Final = routing.index if state.shared.amending is None else routing.short_index
        self._general: Final = general
        self._answered: Final = answered
        self._settle: Final = settle
        self._lone = 0

    def take_lone(self) -> int:
        """The clusters to which something was sent since the last call that the other did not get."""
        lone, self._lone = self._lone, 0
        return lone

    def requests(self, data: bytes) -> int:
        """Forward the whole frames at the start of `data`; the offset of the first that is not whole."""
        state = self._state
        pending, now, expected = state.pending, state.now, state.version
        taken_origin, taken_target = state.origin.special, state.target.special
        settings = state.snapshot.settings
        by_route, top, longest = state.shared.plans.by_route, settings.top_stream, settings.max_frame_bytes
        at_origin_only = state.shared.plans.needs == ORIGIN_BIT
        entries = state.shared.prepared.entries
        unpack, size = HEADER.unpack_from, len(data)
        offset = run_awaits = id_end = 0
        origin_start = target_start = 0  # where the run of each cluster began, while its bit is in run_awaits
        room = self._room()
        while size - offset >= HEADER_LENGTH:
            version, flags, stream, opcode, length = unpack(data, offset)
            end = offset + HEADER_LENGTH + length
            if end > size and length <= longest:
                break
            plan: Plan | None = None
            target_id = b""
            if flags or version != expected or length <= 4 or length > longest:
                pass
            elif opcode == EXECUTE:
                id_end = offset + _ID + (data[offset + 9] << 8) + data[offset + 10]
                entry = entries.get(data[offset + _ID : id_end])
                if entry is not None and (
                    entry.verbatim
                    or (entry.exchangeable and id_end <= end)
                    or (at_origin_only and entry.is_forwarded and id_end <= end)
                ):
                    entry.used = True
                    plan = by_route[entry.index]
                    if not entry.verbatim and plan.awaits & TARGET_BIT:
                        target_id = entry.target_id
            elif opcode == QUERY:
                plan = self._query_plan(data, offset, end)
            if (
                plan is None
                or room <= 0
                or stream in pending
                or not 0 <= stream <= top
                or (taken_origin and stream in taken_origin)
                or (taken_target and stream in taken_target)
            ):
                self._end_runs(data, origin_start, target_start, offset, run_awaits)
                run_awaits = 0
                self._general(data[offset:end])
                offset = end
                if state.phase is not Phase.READY:
                    return size if state.phase is Phase.CLOSED else min(end, size)
                by_route = state.shared.plans.by_route
                room = self._room()
                continue
            if plan.awaits != run_awaits:
                ended, begun = run_awaits & ~plan.awaits, plan.awaits & ~run_awaits
                self._end_runs(data, origin_start, target_start, offset, ended)
                origin_start = offset if begun & ORIGIN_BIT else origin_start
                target_start = offset if begun & TARGET_BIT else target_start
                run_awaits = plan.awaits
                if run_awaits != BOTH:
                    self._lone |= run_awaits
            if target_id:
                self._end_runs(data, 0, target_start, offset, TARGET_BIT)
                state.target.outbox.append(data[offset : offset + _ID] + target_id + data[id_end:end])
                target_start = end
            pending[stream] = PendingRequest(stream, plan, now, data, offset, end)
            if plan.meter is not None:
                plan.meter.inflight += 1
            room -= 1
            offset = end
        self._end_runs(data, origin_start, target_start, offset, run_awaits)
        return offset

    def answers(self, side: Side, data: bytes) -> int:
        """Take the whole frames at the start of `data`; the offset of the first that is not whole.

        Consecutive answers to requests of one plan that came together are a run, too: they are counted at once.
        """
        state = self._state
        pending, outbox, now = state.pending, state.outbox, state.now
        expected, longest = state.version | RESPONSE_BIT, state.snapshot.settings.max_frame_bytes
        bit = int(side)
        connector = state.connector(side)
        special, node = connector.special, connector.node
        unpack, size, offset = HEADER.unpack_from, len(data), 0
        run: Plan | None = None
        run_started, heard, settled = 0.0, 0, 0
        while size - offset >= HEADER_LENGTH:
            version, _, stream, opcode, length = unpack(data, offset)
            end = offset + HEADER_LENGTH + length
            if end > size and length <= longest:
                break
            request = pending.get(stream)
            if (
                request is None
                or not opcode  # ERROR
                or not request.awaits & bit
                or request.plan.inspect
                or version != expected
                or (special and stream in special)
                or length > longest
            ):
                incoming = state.connector(side).incoming
                reader = incoming.reader
                if run is not None:
                    _count(bit, node, run, now - run_started, heard, settled)
                    run = None
                self._answered(side, data[offset:end])
                offset = end
                if incoming.reader is not reader:
                    break  # v5: what follows is in segments
                continue
            plan = request.plan
            if plan is not run or request.started != run_started:
                if run is not None:
                    _count(bit, node, run, now - run_started, heard, settled)
                run, run_started, heard, settled = plan, request.started, 0, 0
            heard += 1
            awaits = request.awaits = request.awaits ^ bit
            if awaits:
                if plan.keeps & bit:
                    if bit == ORIGIN_BIT:
                        request.origin = data[offset:end]
                    else:
                        request.target = data[offset:end]
            elif request.failed:
                self._settle(request)
            else:
                del pending[stream]
                if plan.keep == bit:
                    outbox.append(data[offset:end])
                else:
                    outbox.append(request.origin if bit == TARGET_BIT else request.target)
                settled += 1
            offset = end
        if run is not None:
            _count(bit, node, run, now - run_started, heard, settled)
        return offset

    def _room(self) -> int:
        """How many requests may take the fast path before limits must be looked at closely; 0 while a side is away."""
        state = self._state
        if state.origin.state is not SideState.READY:
            return 0
        if state.target.state is not SideState.READY and state.shared.plans.needs & TARGET_BIT:
            return 0
        used = len(state.pending) + max(len(state.origin.special), len(state.target.special))
        return state.snapshot.settings.stream_limit - used

    def _query_plan(self, data: bytes, offset: int, end: int) -> Plan | None:
        """The plan of a QUERY frame without flags; nothing where the general path must look at it."""
        plans = self._state.shared.plans
        if data[offset + _TEXT : offset + _FIRST_WORD_END] in plans.write_words:
            return plans.by_route[_WRITE]
        text_end = offset + _TEXT + int.from_bytes(data[offset + HEADER_LENGTH : offset + _TEXT], "big")
        if text_end > end or (self._state.version >= V5 and names_keyspace(data, text_end, end)):
            return None
        try:
            index = self._index(data[offset + _TEXT : text_end].decode(), self._state.keyspace)
        except UnicodeDecodeError:
            return None
        return plans.by_route[index] if index >= 0 else None

    def _end_runs(self, data: bytes, origin_start: int, target_start: int, end: int, sides: int) -> None:
        """What has gathered for the clusters in the set `sides` leaves, as one slice for each."""
        if sides & ORIGIN_BIT and origin_start < end:
            self._state.origin.outbox.append(data[origin_start:end])
        if sides & TARGET_BIT and target_start < end:
            self._state.target.outbox.append(data[target_start:end])


class SegmentedDataPath(DataPath):
    """The same for a client whose connections have segments."""

    __slots__ = ()

    def requests(self, data: bytes) -> int:
        """As above. What both clusters get alike is laid in segments once."""
        offset = super().requests(data)
        state = self._state
        origin, target = state.origin, state.target
        origin.incoming.lay_for_both(origin.outbox, target.incoming, target.outbox)
        if state.incoming.reader is not None:
            state.incoming.reader.let_go()
        return offset

    def answers(self, side: Side, data: bytes) -> int:
        """As above."""
        offset = super().answers(side, data)
        reader = self._state.connector(side).incoming.reader
        if reader is not None:
            reader.let_go()
        return offset

    def _end_runs(self, data: bytes, origin_start: int, target_start: int, end: int, sides: int) -> None:
        if sides & ORIGIN_BIT and origin_start < end:
            self._leave(self._state.origin, data, origin_start, end)
        if sides & TARGET_BIT and target_start < end:
            self._leave(self._state.target, data, target_start, end)

    def _leave(self, connector: ClusterConnector, data: bytes, start: int, end: int) -> None:
        reader = self._state.incoming.reader
        if reader is not None:
            first, last = reader.as_it_came(start, end)
            if first < last:
                connector.incoming.add_laid(connector.outbox, reader.source[first:last])
                return
        connector.outbox.append(data[start:end])


def _count(side: int, node: NodeMeter | None, plan: Plan, seconds: float, heard: int, settled: int) -> None:
    """So many good answers of a node came after that time, and so many requests of the plan were settled by them."""
    meter = plan.meter
    if meter is None:
        return
    if settled:
        meter.settle(seconds, settled)
    if node is not None:
        (node.reads if plan.is_read else node.writes).observe(seconds, heard)
    if plan.tables is not None:
        plan.tables.count(side, heard)
