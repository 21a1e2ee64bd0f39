"""Whatever becomes of the copies: client, clusters and shell see of a session what they would see without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import frames
from tests.copying import HOST, READ
from tests.stage import CLIENT, ORIGIN, TARGET, cut, stage, stream_of, under
from zdm.core.clusters import Side
from zdm.core.commands import Command, Note, TendCopies
from zdm.core.connector import SideState
from zdm.core.copying_session import CopyingSession, new_session
from zdm.core.plans import Route
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.core.session import Session
from zdm.core.snapshot import TargetMode

REQUESTS = [
    frames.query(0, READ),
    frames.query(0, "INSERT INTO ks.t (k) VALUES (1)"),
    frames.query(0, "USE ks"),
    frames.prepare(0, READ),
    frames.execute(0, b"read"),
    frames.execute(0, b"never on target"),
    frames.execute(0, b"unknown"),
    frames.options(0),
    b"\x04\x00\x00\x00\x07\x00\x00\x00\x02no",
]
ANSWERS = [
    frames.rows(),
    frames.void(),
    frames.set_keyspace(),
    frames.prepared(0, b"read"),
    frames.error(0, 0x2200),
    frames.error(0, 0x000A),
    frames.unprepared(0, b"read"),
    frames.ready(),
    frames.authenticate(),
]
STEPS = st.one_of(
    st.tuples(st.just("client"), st.integers(0, 3), st.sampled_from(REQUESTS)),
    st.tuples(st.just("answer"), st.sampled_from([ORIGIN, TARGET]), st.sampled_from(ANSWERS)),
    st.tuples(st.just("time"), st.sampled_from([0.1, 3.0, 11.0])),
    st.tuples(st.just("lose"), st.just(TARGET)),
    st.tuples(st.just("attach"), st.just(TARGET)),
    st.tuples(st.just("switch"), st.booleans()),
    st.tuples(st.just("copies open"), st.booleans()),
    st.tuples(st.just("copies get"), st.sampled_from([*ANSWERS, b"HTTP/1.1 400"]), st.booleans()),
    st.tuples(st.just("copies fill"), st.booleans()),
    st.tuples(st.just("copies end"), st.none()),
)


class Apart:
    """One session that is told all there is to be told, and all that it says."""

    def __init__(self, primary: Side, copies_reads: bool) -> None:
        known = PreparedCache()
        known.put(PreparedStatement(b"read", b"read on target", READ, None, Route.READ))
        known.put(PreparedStatement(b"never on target", b"", READ, None, Route.READ))
        self.shared = stage(
            prepared=known, primary=primary, copies_reads=copies_reads, max_streams=6, max_streams_set=True
        )
        self.now = 1000.0
        self.said: list[object] = []
        self.waiting: dict[Side, list[int]] = {ORIGIN: [], TARGET: []}
        self.copied: list[int] = []
        self.session: Session = new_session(self.shared, self.now, "127.0.0.1", "client")
        for side in (ORIGIN, TARGET):
            self.tell(lambda side=side: self.session.attached(side, self.now))  # type: ignore[misc]  # bound by default
        self.tell(lambda: self.session.feed_client(frames.startup(1), self.now))
        for side in (ORIGIN, TARGET):
            self.answer(side, frames.ready())

    def tell(self, what: Callable[[], None]) -> None:
        what()
        commands = self.session.commands()
        self.said += [command for command in commands if not self._is_of_copies(command)]
        for side in Side:
            found = cut(self.session.take(side))
            self.said += [(side, frame) for frame in found]
            if side is not CLIENT:
                self.waiting[side] += [stream_of(frame) for frame in found]
        session = self.session
        if isinstance(session, CopyingSession) and session.copies.state in (SideState.HANDSHAKING, SideState.READY):
            self.copied += [stream_of(frame) for frame in cut(session.copies.take())]

    def answer(self, side: Side, frame: bytes) -> None:
        stream = self.waiting[side].pop(0) if self.waiting[side] else 3
        self.tell(lambda: self.session.feed_cluster(side, under(frame, stream), self.now))

    def play(self, name: str, *given: Any) -> None:
        session = self.session
        if name == "client":
            self.tell(lambda: session.feed_client(under(given[1], given[0]), self.now))
        elif name == "answer":
            self.answer(*given)
        elif name == "time":
            self.now += given[0]
            self.tell(lambda: session.expire(self.now))
            if isinstance(session, CopyingSession):
                self.tell(lambda: session.copies.expire(self.now))
        elif name == "lose":
            self.tell(lambda: session.cluster_lost(given[0], "gone", self.now))
        elif name == "attach" and session.state.connector(given[0]).state is SideState.CONNECTING:
            self.waiting[TARGET].clear()
            self.tell(lambda: session.attached(given[0], self.now))
        elif name == "switch":
            mode = TargetMode.DUAL if given[0] else TargetMode.ORIGIN_ONLY
            snapshot = replace(self.shared.snapshot, mode=mode)
            self.shared.replace(snapshot)
            self.tell(lambda: session.apply(snapshot, self.now))
        elif isinstance(session, CopyingSession):
            self.tell(lambda: self._play_copies(session, name, *given))

    def _play_copies(self, session: CopyingSession, name: str, *given: Any) -> None:
        copies = session.copies
        if name == "copies open" and copies.state is SideState.CONNECTING:
            self.copied.clear()
            if given[0]:
                copies.attached(HOST, self.now)
            else:
                copies.unreachable("refused", self.now)
        elif name == "copies get" and copies.state in (SideState.HANDSHAKING, SideState.READY):
            stream = self.copied.pop(0) if self.copied else 2
            frame = given[0] if given[0].startswith(b"HTTP") else under(given[0], stream)
            copies.feed(frame[: len(frame) // 2] if given[1] else frame, self.now)
        elif name == "copies fill":
            copies.filled(given[0], self.now)
        elif name == "copies end":
            copies.lost("gone", self.now)
        assert copies.used_ids() <= 6

    @staticmethod
    def _is_of_copies(command: Command) -> bool:
        if isinstance(command, Note):
            return "Async connector" in command.text or "copied requests" in command.text
        return isinstance(command, TendCopies)


@given(st.sampled_from([ORIGIN, TARGET]), st.lists(STEPS, max_size=40))
def test_nobody_sees_of_a_session_whether_its_reads_are_copied(primary: Side, steps: list[tuple[Any, ...]]) -> None:
    """The rule that all others about copies follow from."""
    plain, copying = Apart(primary, copies_reads=False), Apart(primary, copies_reads=True)
    for step in steps:
        plain.play(*step)
        copying.play(*step)
        assert copying.said == plain.said, step
    assert copying.session.awaits_time() == plain.session.awaits_time()
    assert copying.session.kept_bytes() == plain.session.kept_bytes()
    copying.tell(copying.session.client_lost)
    assert all(node.inflight == 0 for node in copying.shared.meter.async_nodes.by_name.values())
