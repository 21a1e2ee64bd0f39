"""All worker processes, as one worker: what the supervisor tells it reaches each, what they count is summed.

A worker that ends is started again after a pause that grows, while the others serve. Clients are given to the one that
has the fewest. A generation is acknowledged when each worker has it or has ended: one that is started anew begins with
the newest, so then it has reached all.
"""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.core.snapshot import Snapshot
from zdm.log import Log
from zdm.metrics import Meter, merge
from zdm.net.backoff import Pauses
from zdm.net.session_host import Logins
from zdm.tls_ends import TlsSetups
from zdm.worker_process import counters, statements
from zdm.worker_process.moves import Give, Moves, Tell
from zdm.worker_process.remote import SLOW, RemoteWorker, described
from zdm.worker_process.sessions import Parcel
from zdm.worker_process.snapshots import WorkerSettings, packed

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
_GROWTH: Final = 2.0

STEADY: Final = 30.0
"""Seconds after which a worker that serves is no longer taken for one that cannot."""

Launch = Callable[[RemoteWorker], object]
"""Starts a process whose channel is connected to this end, and makes it known there. Raises OSError."""


class Place:
    """What one worker after the other holds. `counted` is what those before this one have."""

    def __init__(self, number: int, counted: Meter, chance: random.Random) -> None:
        self.number: Final = number
        self.counted: Final = counted
        self.pauses: Final = Pauses(FIRST_PAUSE, LONGEST_PAUSE, _GROWTH, chance)
        self.worker: RemoteWorker | None = None
        self.is_serving = False
        self.serving_since = 0.0
        self.has_been_tried = False
        """The first worker here serves, or has failed to."""
        self.last = b""
        """What the worker had counted when it was asked last."""
        self.retry: IDelayedCall | None = None

    def succeed_to(self, empty: Meter) -> None:
        """The worker is gone: what it counted stays counted, or every rate would fall below zero."""
        if self.last:
            gone = counters.loaded(self.last, empty)
            gone.retire()
            self.counted.add(gone)
        self.last = b""
        self.worker, self.is_serving = None, False


class Passage(TwistedProtocol):
    """What the listening port gets for a client: the way to a worker."""

    def __init__(self, hand: Callable[[socket.socket], None]) -> None:
        self.socket_accepted: Final = hand


class Crew:
    """A `zdm.workers.WorkerRole` of several processes."""

    def __init__(
        self,
        settings: list[WorkerSettings],
        launch: Launch,
        clock: IReactorTime,
        log: Log,
        new_meter: Callable[[], Meter],
        refresh_schema: Callable[[], None],
        logins: Logins,
        chance: random.Random | None = None,
    ) -> None:
        """`settings` has an entry for each worker."""
        chance = chance or random.Random()
        self.refresh_schema: Final = refresh_schema
        self._settings = settings
        self._launch: Final = launch
        self._clock: Final = clock
        self._log: Final = log
        self._new_meter: Final = new_meter
        self._meter: Final = new_meter()
        self._logins: Final = logins
        self._places: Final = [Place(one.number, new_meter(), chance) for one in settings]
        self._snapshot = self._certificates = b""
        self._waiting: Final[deque[socket.socket]] = deque()
        self._looking: IDelayedCall | None = None
        self._is_open = self._is_closing = False
        self._opening: Final[list[Deferred[None]]] = []
        self._moves: Final = Moves(self._serving, clock)

    # Life

    def start(self) -> None:
        """Start all processes; they serve once there is a generation."""
        for place in self._places:
            self._start(place)

    def opened(self) -> Deferred[None]:
        """Fires when clients are served: at first each worker is waited for, unless it fails."""
        opening: Deferred[None] = Deferred()
        self._opening.append(opening)
        self._open_if_ready()
        return opening

    def close(self) -> Deferred[None]:
        """End all processes; fires when they have ended."""
        self._is_closing = True
        burials = []
        for place in self._places:
            if place.retry is not None and place.retry.active():
                place.retry.cancel()
            if place.worker is not None:
                burials.append(place.worker.buried())
                place.worker.leave()
        self._moves.stop()
        self._turn_away()
        return DeferredList(burials).addCallback(lambda _: None)

    # What the supervisor asks

    def secure(self, setups: TlsSetups) -> None:
        """Give all workers certificates; those that are started later get them as well."""
        self._certificates = packed(setups)
        for worker in self._workers():
            if worker.is_there:
                worker.secure(self._certificates)

    def apply(self, snapshot: Snapshot) -> Deferred[int]:
        """Give all workers a new generation; fires with its number when nobody is left behind."""
        self._snapshot = packed(snapshot)
        applying = [self._give(place) for place in self._places if place.worker is not None and place.worker.is_there]
        return DeferredList(applying).addCallback(lambda _: snapshot.generation)

    def configure_log(self, level: str, log_format: str) -> None:
        """What all workers show from now on, those to come too."""
        self._settings = [replace(one, log_level=level, log_format=log_format) for one in self._settings]
        for worker in self._workers():
            if worker.is_there:
                worker.configure_log(level, log_format)

    def client(self, address: IAddress | None) -> IProtocol:
        """The way of a client that was accepted to one of the workers."""
        return Passage(self._take)

    def clients(self) -> int:
        """How many client connections all workers have, with those that wait for a worker."""
        return len(self._waiting) + sum(worker.clients for worker in self._workers())

    def attaching(self) -> int:
        """How many clients still lack their target connection while target takes part."""
        return sum(worker.attaching for worker in self._workers())

    def scrape(self) -> Deferred[Meter]:
        """What all workers have counted, those that are gone too."""
        asking = [self._scrape(place) for place in self._places if place.is_serving]
        return DeferredList(asking).addCallback(lambda _: self._sum())

    def drain(self, limit: float) -> Deferred[None]:
        """End every session as soon as what is in flight is answered, within `limit` seconds in any case."""
        self._is_closing = True
        self._moves.stop()
        self._turn_away()
        draining = [worker.drain(limit) for worker in self._workers() if worker.is_there]
        return DeferredList(draining).addCallback(lambda _: None)

    def release(self, limit: float, give: Give) -> Deferred[int]:
        """Give all sessions away, each when it is at rest; fires with how many have not come to rest in time."""
        return self._moves.release(limit, give)

    def welcome(self, parcel: Parcel) -> Deferred[None]:
        """A session comes from elsewhere: fires when a worker has it, or it was closed."""
        return self._moves.pass_on(None, parcel)

    def statements(self) -> Deferred[bytes]:
        """What all workers know."""
        asking = DeferredList([worker.list_statements() for worker in self._serving()], consumeErrors=True)
        return asking.addCallback(lambda results: statements.joined(found for is_there, found in results if is_there))

    def learn(self, found: bytes) -> None:
        """All workers are told of these statements."""
        for worker in self._serving():
            worker.learn(found)

    def tell(self, others: Tell | None) -> None:
        """From now on another process is told of each statement that is made; None: no more."""
        self._moves.tell = others

    def pids(self) -> list[int]:
        """The processes that there are now."""
        return [worker.process.pid for worker in self._workers()]

    def by_worker(self) -> dict[int, Meter]:
        """What each had counted when `scrape` asked last, with those before it that had the same number."""
        return {place.number: self._counted(place) for place in self._places}

    # What a worker says

    def greeted(self, worker: RemoteWorker) -> None:
        """It is ready to be told what to do."""
        place = self._places[worker.number - 1]
        worker.begin(packed(self._settings[worker.number - 1]))
        if self._certificates:
            worker.secure(self._certificates)
        if self._snapshot:
            self._give(place)

    def relieved(self, worker: RemoteWorker) -> None:
        """It can be given clients again."""
        self._hand_on()

    def ended(self, worker: RemoteWorker, code: int) -> None:
        """Its process is no more: another takes its place."""
        place = self._places[worker.number - 1]
        if place.is_serving and self._clock.seconds() - place.serving_since >= STEADY:
            place.pauses.reset()
        place.succeed_to(self._new_meter())
        if not self._is_closing:
            self._meter.worker_restarts += 1
            name = f"Worker {worker.number} (process {worker.process.pid})"
            self._start_again(place, f"{name} {described(code)}, with {worker.clients} client connections.")

    def login_judged(self, credentials: Credentials, is_accepted: bool) -> None:
        """Target has let these in, or has refused them."""
        (self._logins.accepted if is_accepted else self._logins.refused)(credentials)

    def verify_login(self, credentials: Credentials) -> Deferred[Recognition]:
        """Whether target accepted these before."""
        return self._logins.verify(credentials)

    def statement_made(self, worker: RemoteWorker, statement: bytes) -> None:
        """The others are told."""
        for other in self._others(worker):
            other.learn(statement)
        if self._moves.tell is not None:
            self._moves.tell(statement)

    def statement_forgotten(self, worker: RemoteWorker, prepared_id: bytes) -> None:
        """The others are told."""
        for other in self._others(worker):
            other.forget(prepared_id)

    def find_statements(self, worker: RemoteWorker, wanted: bytes) -> Deferred[bytes]:
        """The others are asked: what a client has prepared is known where it did so before the client knows of it."""
        asking = DeferredList([other.find(wanted) for other in self._others(worker)], consumeErrors=True)
        return asking.addCallback(lambda results: statements.joined(found for is_there, found in results if is_there))

    def pass_on(self, worker: RemoteWorker, parcel: Parcel) -> Deferred[None]:
        """A session leaves this worker: fires when another has it, or it was closed."""
        return self._moves.pass_on(worker, parcel)

    def weigh(self) -> None:
        """A worker has other figures than before."""
        self._moves.weigh()

    # Places

    def _start(self, place: Place) -> None:
        place.retry = None
        worker = RemoteWorker(place.number, self, self._clock, self._log)
        try:
            self._launch(worker)
        except OSError as failed:
            self._start_again(place, f"Worker {place.number} cannot be started: {failed}.")
        else:
            place.worker = worker

    def _start_again(self, place: Place, why: str) -> None:
        place.has_been_tried = True
        pause = place.pauses.next()
        self._log.error(f"{why} It is started again in {pause:.1f} s.")
        place.retry = self._clock.callLater(pause, self._start, place)
        self._open_if_ready()

    def _give(self, place: Place) -> Deferred[None]:
        worker = place.worker
        assert worker is not None
        return worker.apply(self._snapshot).addCallback(lambda _: self._has_generation(place, worker))

    def _has_generation(self, place: Place, worker: RemoteWorker) -> None:
        if place.worker is not worker or place.is_serving or not worker.is_there:
            return
        place.is_serving = place.has_been_tried = True
        place.serving_since = self._clock.seconds()
        self._log.info(f"Worker {worker.number} serves, as process {worker.process.pid}.")
        self._open_if_ready()
        self._hand_on()
        self._moves.weigh()

    def _open_if_ready(self) -> None:
        has_been_tried = all(place.has_been_tried for place in self._places)
        if has_been_tried and any(place.is_serving for place in self._places):
            self._is_open = True
            opening = list(self._opening)
            self._opening.clear()
            for opened in opening:
                opened.callback(None)
            self._hand_on()

    def _workers(self) -> list[RemoteWorker]:
        return [place.worker for place in self._places if place.worker is not None]

    def _others(self, worker: RemoteWorker) -> list[RemoteWorker]:
        return [other for other in self._serving() if other is not worker]

    def _serving(self) -> list[RemoteWorker]:
        places = (place for place in self._places if place.is_serving)
        return [place.worker for place in places if place.worker is not None and place.worker.is_there]

    # Clients

    def _take(self, accepted: socket.socket) -> None:
        if self._is_closing:
            accepted.close()
        else:
            self._waiting.append(accepted)
            self._hand_on()

    def _hand_on(self) -> None:
        while self._is_open and self._waiting:
            serving = self._serving()
            quick = [worker for worker in serving if not worker.is_slow] or serving
            worker = min(quick, key=lambda worker: worker.clients, default=None)
            if worker is None or not worker.takes_clients:
                self._look_again()
                return
            worker.hand(self._waiting.popleft())

    def _look_again(self) -> None:
        """A worker that is waited for may turn out to be slow."""
        if self._looking is None or not self._looking.active():
            self._looking = self._clock.callLater(SLOW, self._hand_on)

    def _turn_away(self) -> None:
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        while self._waiting:
            self._waiting.popleft().close()

    # Counters

    def _scrape(self, place: Place) -> Deferred[None]:
        def scraped(found: bytes) -> None:
            place.last = found

        def failed(failure: Failure) -> None:
            """It has ended meanwhile, which is told elsewhere."""

        worker = place.worker
        assert worker is not None
        return worker.scrape().addCallbacks(scraped, failed)

    def _sum(self) -> Meter:
        return merge([self._meter, *map(self._counted, self._places)])

    def _counted(self, place: Place) -> Meter:
        last = [counters.loaded(place.last, self._new_meter())] if place.last else []
        return merge([place.counted, *last])
