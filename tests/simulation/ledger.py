"""What was asked, where it was sent and applied, and what was answered: the judge of a simulation.

Whatever happens is entered here when it happens, and what must never happen raises Violation at once, so that the
last line of the transcript is the one at fault. A request is judged at the proxy's own door: it counts as asked when
its last byte is fed to the session, and as answered when the session gives the answer away.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from tests.simulation.schedule import Schedule, Violation
from tests.simulation.statements import (
    LETTERS,
    OVERLOADED,
    READ_TIMEOUT,
    SERVER_ERROR,
    UNPREPARED,
    WRITE_TIMEOUT,
    Answered,
)
from zdm.core.clusters import Side

if TYPE_CHECKING:
    from tests.simulation.draws import Draws

WRITE_FAILURE: Final = 0x1500
_OWN_CODES: Final = frozenset((OVERLOADED, WRITE_TIMEOUT, READ_TIMEOUT, WRITE_FAILURE, SERVER_ERROR, UNPREPARED))
"""What the proxy itself may answer to clients that keep to the protocol."""


class Kind(Enum):
    """What a request is for."""

    HANDSHAKE = "handshake"
    WRITE = "write"
    SCHEMA = "schema"
    READ = "read"
    PREPARE = "prepare"
    USE = "use"
    OPTIONS = "options"
    REGISTER = "register"


NUMBERED: Final = (Kind.WRITE, Kind.SCHEMA, Kind.READ)
WRITES: Final = (Kind.WRITE, Kind.SCHEMA)


_WITHOUT_WRITE_TYPE: Final = (Kind.SCHEMA, Kind.USE, Kind.OPTIONS, Kind.REGISTER)


class Ask:
    """One request of a client's. `keyspace` is where it must land, or the one that it asks for.

    `sent` and `finished`: the clusters that got it, and those whose answer has reached the session since. `is_skipped`:
    target should have got it, but for being off; `is_abandoned`: it has got it, and its answer is not waited for;
    `order` is that of asking. `to_origin` and `to_target`: how often each was sent it.
    `is_mending`: target has said that it does not know the statement; `is_lost`: target's connection ended meanwhile.
    """

    __slots__ = (
        "arrived", "attempts", "finished", "finished_at", "frame", "ids", "is_abandoned", "is_lost", "is_mending",
        "is_skipped", "keyspace", "kind", "number", "order", "sent", "stream", "text", "to_origin", "to_target",
    )  # fmt: skip

    def __init__(self, kind: Kind, frame: bytes, number: int = 0, keyspace: str = "", text: str = "") -> None:
        self.kind: Final = kind
        self.frame = frame
        self.number: Final = number
        self.keyspace: Final = keyspace
        self.text: Final = text
        self.ids: tuple[bytes, ...] = ()
        self.stream = int.from_bytes(frame[2:4], "big")
        self.arrived = 0.0
        self.attempts = 1
        self.order = self.to_origin = self.to_target = 0
        self.sent = 0
        self.finished = 0
        self.finished_at = 0.0
        self.is_skipped = self.is_abandoned = self.is_mending = self.is_lost = False

    def __repr__(self) -> str:
        what = self.number or self.text or self.keyspace
        return f"{self.kind.value} {what} on stream {self.stream}"


class Written:
    """What became of a write, over all attempts. `is_nowhere`: its client was told that no cluster executed it."""

    __slots__ = ("acknowledged", "is_nowhere", "keyspace", "origin", "target")

    def __init__(self, keyspace: str) -> None:
        self.keyspace: Final = keyspace
        self.origin = 0
        self.target = 0
        self.acknowledged = 0
        self.is_nowhere = False


class Ledger:
    """All requests of a simulation."""

    __slots__ = ("_draws", "_number", "_order", "_schedule", "asks", "counts", "writes")

    def __init__(self, schedule: Schedule, draws: Draws) -> None:
        self._schedule: Final = schedule
        self._draws: Final = draws
        self._number = self._order = 0
        self.asks: dict[int, Ask] = {}
        self.writes: dict[int, Written] = {}
        self.counts: dict[str, int] = {}

    def next_number(self) -> int:
        """For a request that is to be told from all others."""
        self._number += 1
        return self._number

    def count(self, what: str, number: int = 1) -> None:
        """So many more of these: the sum of a run tells whether it met what it is there for."""
        self.counts[what] = self.counts.get(what, 0) + number

    def asked(self, ask: Ask) -> None:
        """The request has reached its session."""
        ask.arrived = self._schedule.now
        self._order += 1
        ask.order, ask.to_origin, ask.to_target = self._order, 0, 0
        ask.sent = ask.finished = 0
        ask.is_skipped = ask.is_abandoned = ask.is_mending = ask.is_lost = False
        if ask.kind in NUMBERED:
            self.asks[ask.number] = ask
        if ask.kind in WRITES:
            written = self.writes.setdefault(ask.number, Written(ask.keyspace))
            written.is_nowhere = False

    def sent(self, side: Side, number: int) -> None:
        """A cluster is sent a numbered request."""
        ask = self.asks[number]
        ask.sent |= side
        if side is Side.TARGET:
            ask.is_mending = False
            ask.to_target += 1
        else:
            ask.to_origin += 1
        if max(ask.to_origin, ask.to_target) > len(ask.ids) + 2:
            raise Violation(f"{ask!r} is sent to {side.name} again and again")

    def finished(self, side: Side, number: int) -> None:
        """A cluster's answer to a numbered request has reached the session."""
        ask = self.asks[number]
        ask.finished |= side
        ask.finished_at = self._schedule.now
        if side is Side.TARGET:
            ask.is_mending = False

    def unprepared(self, side: Side, number: int) -> None:
        """A cluster's word has reached the session that it does not know the statement."""
        if side is Side.TARGET:
            self.asks[number].is_mending = True

    def applied(self, side: Side, number: int, keyspaces: set[str]) -> None:
        """A cluster has executed a write."""
        written = self.writes[number]
        if side is Side.ORIGIN:
            written.origin += 1
        else:
            written.target += 1
        times = written.origin if side is Side.ORIGIN else written.target
        self._schedule.tell("    {} applies write {} in {}", side.name, number, sorted(keyspaces))
        if times > 1:
            raise Violation(f"write {number} is applied {times} times on {side.name}")
        if keyspaces != {written.keyspace}:
            raise Violation(f"write {number} lands in {sorted(keyspaces)} on {side.name}, not in {written.keyspace!r}")
        if written.is_nowhere:
            raise Violation(f"write {number}, said to be executed nowhere, is applied on {side.name}")

    def answered(self, ask: Ask, answer: Answered) -> None:
        """The session answers a request."""
        if answer.letter:
            self._clusters_words(ask, answer)
        elif answer.code >= 0:
            self._own_words(ask, answer)
        elif ask.kind in NUMBERED:
            raise Violation(f"{ask!r} is answered with nobody's answer: {answer}")
        if ask.kind in WRITES and answer.code < 0:
            self._acknowledged(ask)

    def _clusters_words(self, ask: Ask, answer: Answered) -> None:
        if not answer.number and answer.code >= 0 and ask.ids:
            self.count("the error of a PREPARE that was to mend it")
            return
        if ask.number != answer.number:
            raise Violation(f"{ask!r} is answered with what {answer.letter} answered to {answer.number}")
        side = Side.ORIGIN if answer.letter == LETTERS[Side.ORIGIN] else Side.TARGET
        if ask.kind in NUMBERED and not ask.finished & side:
            raise Violation(f"{ask!r} is answered with what {side.name} has not said yet")
        both_spoke = ask.finished == Side.ORIGIN | Side.TARGET and not ask.is_abandoned
        if answer.code < 0 and both_spoke and side is not self._draws.primary:
            raise Violation(f"{ask!r} is answered with the secondary's answer")

    def _own_words(self, ask: Ask, answer: Answered) -> None:
        is_allowed = answer.code in _OWN_CODES and (answer.code != SERVER_ERROR or ask.kind in _WITHOUT_WRITE_TYPE)
        if not is_allowed:
            raise Violation(f"{ask!r} is answered with an ERROR {answer.code:#06x} of the proxy's own: {answer.body!r}")
        self.count(f"proxy answered {answer.code:#06x}")
        if answer.code == UNPREPARED and not any(known in answer.body for known in ask.ids):
            raise Violation(f"{ask!r} is answered UNPREPARED under an id that is not its own: {answer.body!r}")
        if ask.kind in WRITES and answer.code in (OVERLOADED, UNPREPARED):
            written = self.writes[ask.number]
            written.is_nowhere = True
            if written.origin or written.target:
                raise Violation(f"{ask!r} was executed, and its client is told that it was not")

    def _acknowledged(self, ask: Ask) -> None:
        written = self.writes[ask.number]
        written.acknowledged += 1
        self.count("acknowledged")
        if not ask.finished & Side.ORIGIN or written.origin != 1:
            raise Violation(f"{ask!r} is acknowledged, and ORIGIN has not confirmed it")
        if ask.is_skipped or ask.is_abandoned:
            self.count("acknowledged by ORIGIN alone")
        elif not ask.finished & Side.TARGET or written.target != 1:
            raise Violation(f"{ask!r} is acknowledged, and TARGET has not confirmed it")
