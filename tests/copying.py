"""Plays of sessions whose reads are copied: what the connection of the copies gets, beside all that a play shows."""

from __future__ import annotations

from collections import deque
from typing import Any

from tests import frames
from tests.laid import Laid
from tests.playbook import Play
from tests.stage import described, stage, stream_of, under
from zdm.core.clusters import Side, other
from zdm.core.commands import TendCopies
from zdm.core.connector import SideState
from zdm.core.copied_reads import CopiedReads
from zdm.core.copying_session import CopyingSession
from zdm.core.snapshot import Shared
from zdm.core.topology import Endpoint
from zdm.meters import NodeMeter

READ = "SELECT k FROM ks.t"
HOST = Endpoint("127.0.90.11", 9042)
INSERT = "INSERT INTO ks.t (k) VALUES (1)"


class CopyingPlay(Play):
    """One client connection whose reads are copied."""

    def __init__(self, shared: Shared | None = None, version: int | None = None, **settings: Any) -> None:
        self.copied: deque[bytes] = deque()
        self._laid_for_copies = Laid()
        super().__init__(shared or stage(copies_reads=True, **settings), version)

    def __enter__(self) -> CopyingPlay:
        return self

    @property
    def copies(self) -> CopiedReads:
        assert isinstance(self.session, CopyingSession)
        return self.session.copies

    @property
    def node(self) -> NodeMeter:
        """What is counted of the host that gets the copies."""
        return self.shared.meter.async_nodes.named(str(HOST))

    @property
    def secondary(self) -> Side:
        return other(self.shared.snapshot.settings.primary)

    def become_ready(self, compression: str = "") -> CopyingPlay:
        """Both of the session's connections, then that of the copies."""
        super().become_ready(compression)
        return self.open_copies()

    def open_copies(self) -> CopyingPlay:
        """The connection that is asked for opens, and its cluster asks for no credentials."""
        self.attach_copies()
        self.answer_copy(self.expect_copy(), frames.ready(version=self.version))
        assert self.copies.state is SideState.READY
        return self

    def attach_copies(self) -> None:
        """The connection that is asked for is open."""
        assert self.copies.state is SideState.CONNECTING
        self._write("connected for copies")
        self._laid_for_copies = Laid()
        self._laid_for_copies.has_lz4 = self.session.state.compression == "lz4"
        self._do(lambda: self.copies.attached(HOST, self.now))

    def copies_get(self, data: bytes, cut_into: int = 0) -> None:
        """Bytes on the connection of the copies."""
        self._write(f"copies' connection -> {data[:60]!r}")
        self._feed(data, cut_into, lambda piece: self.copies.feed(piece, self.now))

    def answer_copy(self, copy: bytes, frame: bytes) -> None:
        """The secondary answers a copy, under the id by which it got it."""
        self.copies_get(self._laid_for_copies.lay((under(frame, stream_of(copy)),), answers=True))

    def lose_copies(self) -> None:
        self._write("the connection of the copies is lost")
        self._do(lambda: self.copies.lost("closed by the other end", self.now))

    def refuse_copies(self) -> None:
        self._write("the connection of the copies could not be opened")
        self._do(lambda: self.copies.unreachable("refused", self.now))

    def fill_copies(self, is_full: bool) -> None:
        self._write(f"the connection of the copies {'takes nothing' if is_full else 'is drained'}")
        self._do(lambda: self.copies.filled(is_full, self.now))

    def expect_copy(self, frame: bytes | None = None) -> bytes:
        """The next frame on the connection of the copies; the stream id is not compared."""
        if not self.copied:
            self._fail("nothing was copied")
        got = self.copied.popleft()
        if frame is not None and under(frame, 0) != under(got, 0):
            self._fail(f"expected a copy of {described(frame)}, got {described(got)}")
        return got

    def expect_no_copy(self) -> None:
        if self.copied:
            self._fail(f"nothing was to be copied, but {described(self.copied[0])}")

    def read(self, stream: int, text: str = READ) -> bytes:
        """A read that the primary answers; its frame."""
        primary = other(self.secondary)
        frame = frames.query(stream, text, version=self.version)
        self.client_sends(frame)
        self.answer(self.expect_forwarded(to={primary}), primary, frames.rows(version=self.version))
        self.expect_client(frames.rows(stream, version=self.version))
        return frame

    def copied_read(self, stream: int, text: str = READ) -> bytes:
        """The same, and its copy, which is not answered yet."""
        return self.expect_copy(self.read(stream, text))

    def dropped(self) -> dict[str, int]:
        """The copies that were not sent, by the reason."""
        meter = self.shared.meter
        found = {
            "limit": meter.copies_over_limit,
            "streams": meter.copies_without_stream,
            "unconnected": meter.copies_unconnected,
        }
        return {reason: count for reason, count in found.items() if count}

    def time_passes(self, seconds: float) -> None:
        end = self.now + seconds
        while (deadline := self.copies.next_deadline()) is not None and deadline <= end:
            super().time_passes(max(0.0, deadline - self.now))
            self._do(lambda: self.copies.expire(self.now))
        super().time_passes(end - self.now)

    def end(self) -> None:
        super().end()
        self.expect_no_copy()

    def _turn(self) -> None:
        super()._turn()
        if any(isinstance(command, TendCopies) for command in self._commands):
            self._commands = deque(command for command in self._commands if not isinstance(command, TendCopies))
            if self.copies.state in (SideState.HANDSHAKING, SideState.READY):
                self.copied.extend(self.cut_copies())

    def cut_copies(self) -> list[bytes]:
        found = self._laid_for_copies.read(self.copies.take())
        for frame in found:
            self._write(f"    -> copies: {described(frame)}")
        return found
