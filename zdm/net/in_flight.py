"""How much is kept for a worker's clients, and which of them are not read because it is too much.

In flight for a client are its requests until they are answered (with all that was read together with them), frames that
are not whole yet, answers that wait for the other cluster's, and answers that its transport has not sent. To count that
takes a look at every request, so it is done seldom: of what passes only every `STEP` bytes are told, and a client or
all of them are weighed anew when what was found last and what has passed since could be over a limit. What came
compressed counts as it was opened.

Over the limit of one client that client is not read until it is down to half. Never while nothing of it waits for an
answer, so that a request larger than the limit passes, alone.

Over the limit of all together those with more than an equal share of one half are not read until all are down to half.
Where they all have a request half sent and nothing to be answered, one at a time may go on, the one that is nearest to
its end: else they would wait for each other. It is closed where it sends nothing for as long as a request may take.

Both begin at three quarters of the limit, so that weighing is worth its while. Who has little in flight does not
notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from zdm.core.clusters import Side
from zdm.core.session import Session
from zdm.core.snapshot import Settings
from zdm.log import Log
from zdm.metrics import Meter
from zdm.net.flow import Flow, Limit, PausedTime

STEP: Final = 65536

PAUSE: Final = 0.05
"""Seconds between two looks at a worker whose clients have too much in flight."""

_QUIET: Final = 10.0
"""Seconds for which it is not told again that they have."""


class Share:
    """What one client has in flight. Of `left` every byte that passes is subtracted; below 0 `account` is due."""

    __slots__ = ("_all", "_flow", "_possible", "_recheck_at", "abort", "left", "session")

    def __init__(self, everybodys: InFlight, session: Session, flow: Flow, abort: Callable[[], None]) -> None:
        self._all: Final = everybodys
        self._flow: Final = flow
        self._possible = 0
        self._recheck_at = -1
        self.session: Final = session
        self.abort: Final = abort
        self.left = STEP

    def account(self) -> None:
        """Another step has passed; or the client is over its limit, and something has happened."""
        if self._recheck_at >= 0:
            self._look_again()
            return
        passed, self.left = STEP - self.left + self.session.take_growth(), STEP
        self._possible += passed
        if self._possible > self._all.client_limit:
            self._weigh()
        self._all.passed(self, passed)

    def weight(self) -> int:
        """Bytes in flight."""
        return self.session.kept_bytes() + self._flow.unsent(Side.CLIENT)

    @property
    def is_unfinished(self) -> bool:
        """All that it has in flight is a request which it has not sent to the end."""
        return not self.session.state.pending and self.session.missing_bytes() > 0

    def brake(self) -> None:
        """All clients together have too much in flight."""
        self._flow.brake(Limit.PROCESS)

    def release(self) -> None:
        """They have not any more, or this one may go on nevertheless."""
        self._flow.release(Limit.PROCESS)

    def _weigh(self) -> None:
        self._possible = self.weight()
        awaited = len(self.session.state.pending)
        if awaited and self._possible > self._all.client_limit * 3 // 4:
            self._flow.brake(Limit.CLIENT)
            self._wait(awaited)

    def _wait(self, awaited: int) -> None:
        """Until so many requests are answered as may be enough: to look again at each answer would cost too much."""
        expected = awaited * (self._all.client_limit // 2) // self._possible
        self._recheck_at = min(expected, awaited - 1 - awaited // 16)
        self.left = -1

    def _look_again(self) -> None:
        awaited = len(self.session.state.pending)
        if awaited > self._recheck_at:
            return
        self._possible = self.weight()
        if awaited and self._possible > self._all.client_limit // 2:
            self._wait(awaited)
            return
        self._recheck_at, self.left = -1, STEP
        self._flow.release(Limit.CLIENT)


class InFlight:
    """What all clients of a worker have in flight."""

    def __init__(
        self, clock: IReactorTime, settings: Settings, shares: Callable[[], Iterable[Share]], log: Log
    ) -> None:
        """`shares` are those of the clients that are connected."""
        self.pauses: Final = PausedTime()
        self.client_limit: Final = settings.client_inflight_bytes
        self._limit: Final = settings.inflight_bytes
        self._patience: Final = settings.request_timeout
        self._clock: Final = clock
        self._shares: Final = shares
        self._log: Final = log
        self._possible = 0
        self._mark = self._limit
        self._fair = 0
        self._braked: set[Share] = set()
        self._first: Share | None = None
        self._first_is_missing = 0
        self._first_moved = 0.0
        self._is_looking = False
        self._quiet_until = 0.0

    def passed(self, share: Share, size: int) -> None:
        """So many bytes more may be in flight for a client."""
        self._possible += size
        if self._possible > self._mark:
            self.weigh()
        elif self._braked and share is not self._first and share.weight() > self._fair:
            self._brake(share)

    def weigh(self) -> int:
        """Count the bytes in flight, and let clients be read or not as they are too many or not."""
        weights = {share: share.weight() for share in self._shares()}
        total = self._possible = sum(weights.values())
        self._braked.intersection_update(weights)
        if total > self._limit * 3 // 4 or (self._braked and total > self._limit // 2):
            self._choose_first(weights)
            self._fair = self._limit // 2 // len(weights)
            self._hold_back(weights)
            self._mark = max(self._limit, total + self._limit // 8)
            self._tell(total)
            if not self._is_looking:
                self._is_looking = True
                self._clock.callLater(PAUSE, self._look_again)
        else:
            self._let_go()
            self._mark = self._limit
        return total

    def fill_in(self, meter: Meter) -> None:
        """What is in flight now, and for how long somebody was not read so far."""
        now = self._clock.seconds()
        sides, limits = self.pauses.sides, self.pauses.limits
        meter.inflight_bytes = self.weigh()
        meter.paused_by_client = sides[Side.CLIENT].seconds(now)
        meter.paused_by_origin = sides[Side.ORIGIN].seconds(now)
        meter.paused_by_target = sides[Side.TARGET].seconds(now)
        meter.paused_by_client_limit = limits[Limit.CLIENT].seconds(now)
        meter.paused_by_process_limit = limits[Limit.PROCESS].seconds(now)

    def _hold_back(self, weights: dict[Share, int]) -> None:
        for share, weight in weights.items():
            if weight > self._fair and share is not self._first:
                self._brake(share)
            elif share in self._braked and weight <= self._fair // 2:
                self._braked.remove(share)
                share.release()

    def _brake(self, share: Share) -> None:
        self._braked.add(share)
        share.brake()

    def _choose_first(self, weights: dict[Share, int]) -> None:
        """Requests that are half sent would keep each other from being finished for ever."""
        now, first = self._clock.seconds(), self._first
        if first is not None and first in weights and first.is_unfinished:
            missing = first.session.missing_bytes()
            if missing != self._first_is_missing:
                self._first_is_missing, self._first_moved = missing, now
                return
            if now - self._first_moved < self._patience:
                return
            self._log.warn(
                f"Closing client {first.session.state.client_name}: max_inflight_bytes is reached, and for "
                f"{self._patience:g} s it has sent nothing of the {missing} bytes that are missing of its request."
            )
            first.abort()
        self._first = self._next_first(first)
        if self._first is not None:
            self._first_is_missing, self._first_moved = self._first.session.missing_bytes(), now
            self._braked.remove(self._first)
            self._first.release()

    def _next_first(self, last: Share | None) -> Share | None:
        """Nobody as long as there are answers to come: they make room."""
        if any(share.session.state.pending for share in self._braked):
            return None
        unfinished = (share for share in self._braked if share.is_unfinished and share is not last)
        return min(unfinished, key=lambda share: share.session.missing_bytes(), default=None)

    def _let_go(self) -> None:
        for share in self._braked:
            share.release()
        self._braked.clear()
        self._first = None

    def _look_again(self) -> None:
        self._is_looking = False
        self.weigh()

    def _tell(self, total: int) -> None:
        now = self._clock.seconds()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            self._log.warn(
                f"{total} bytes are in flight (max_inflight_bytes: {self._limit}); the {len(self._braked)} clients "
                "that have most of them are not read until it is less."
            )
