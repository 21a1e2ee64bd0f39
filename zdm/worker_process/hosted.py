"""A worker in its own process: the worker's end of the channel, around the `Worker` that holds the sessions.

The supervisor's word is law here: with the channel ends the process, whatever its clients are about to ask.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.protocols.amp import AMP
from twisted.python.failure import Failure

from zdm.core.clusters import Side
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.log import ProcessLog
from zdm.metrics import Meter
from zdm.net.moving import Attach, Moved
from zdm.net.session_host import EndpointsOf
from zdm.tls_ends import NO_TLS, TlsEnds
from zdm.worker_process import commands, counters, sessions, statements
from zdm.worker_process.snapshots import WorkerSettings, unpacked_settings, unpacked_setups, unpacked_snapshot
from zdm.workers import Worker

WATCHFUL: Final = 0.1
CALM: Final = 1.0
"""Seconds between two looks at how many clients are attaching: while some are, and else."""

FIND_LIMIT: Final = 1.0
"""Seconds for which a request waits for what other workers know; then nobody knows it."""


class Ways(NamedTuple):
    """To hosts, and to clients: `admit` is for those that were accepted, under TLS or not, `attach` for moved ones."""

    connecting: EndpointsOf
    attach: Attach
    admit: Attach


class _ClientFactory(ServerFactory):
    """Gives each client its protocol."""

    noisy = False

    def __init__(self, worker: Worker) -> None:
        self._worker: Final = worker

    def buildProtocol(self, addr: Any) -> Any:
        return self._worker.client(addr)


class HostedWorker(AMP):
    """The worker's end; also its `Logins`, and the `OtherWorkers` of its cache."""

    def __init__(
        self,
        clock: IReactorTime,
        now: Callable[[], float],
        log: ProcessLog,
        ways: Callable[[WorkerSettings, TlsEnds], Ways],
        ended: Callable[[], None],
    ) -> None:
        """`now` is the sessions' clock in seconds; `ended` is called when the channel is closed."""
        super().__init__()
        self._clock: Final = clock
        self._now: Final = now
        self._log: Final = log
        self._ways_with: Final = ways
        self._ended: Final = ended
        self._settings: WorkerSettings
        self._ways: Ways
        self._tls = NO_TLS
        self._worker: Worker | None = None
        self._taken = self._opening = self._attaching = 0
        self._told = (0, 0, 0)
        self._telling: IDelayedCall | None = None
        self._watching: IDelayedCall | None = None
        self._refreshing: IDelayedCall | None = None
        self._sought: Final[dict[tuple[bytes, ...], list[Deferred[None]]]] = {}
        self._leaving: Final = sessions.Dispatch(
            lambda parcel: self.callRemote(commands.TakeSession, **parcel.arguments)
        )

    # The channel

    def connectionMade(self) -> None:
        super().connectionMade()
        self.callRemote(commands.Hello, pid=os.getpid())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._ended()

    # What the supervisor says

    @commands.Start.responder
    def _start(self, settings: bytes) -> dict[str, Any]:
        self._settings = unpacked_settings(settings)
        self._tls = TlsEnds(self._settings.secured)
        self._ways = self._ways_with(self._settings, self._tls)
        self._log.configure(self._settings.log_level, self._settings.log_format)
        return {}

    @commands.ConfigureLog.responder
    def _configure_log(self, level: str, log_format: str) -> dict[str, Any]:
        self._log.configure(level, log_format)
        return {}

    @commands.Secure.responder
    def _secure(self, setups: bytes) -> dict[str, Any]:
        try:
            self._tls.take(unpacked_setups(setups))
        except ssl.SSLError as failed:  # the supervisor could use them
            self._log.error(f"The certificates cannot be used; connections go on with those before: {failed}.")
        return {}

    @commands.Apply.responder
    def _apply(self, snapshot: bytes) -> dict[str, Any]:
        generation = unpacked_snapshot(snapshot)
        if self._worker is not None:
            self._worker.apply(generation)
            self._attaching = self._worker.attaching()
        else:
            self._worker = self._new_worker(generation)
        self._told = (*self._told[:2], self._attaching)  # by the answer
        self._watch_in(WATCHFUL if self._attaching else CALM)
        return {"attaching": self._attaching}

    @commands.TakeClient.responder
    def _take_client(self, descriptor: int) -> dict[str, Any]:
        accepted = socket.socket(fileno=descriptor)
        accepted.setblocking(False)
        self._taken += 1
        self._opening += 1
        assert self._worker is not None  # a generation comes before any client
        self._ways.admit(accepted, _ClientFactory(self._worker)).addBoth(self._opened)
        self._tell_soon()
        return {}

    @commands.TakeSession.responder
    def _take_session(self, **arguments: Any) -> dict[str, Any]:
        parcel = sessions.received(**arguments)
        self._taken += 1
        self._tell_soon()
        assert self._worker is not None  # a generation comes before any session
        try:
            moved = sessions.unpacked(parcel)
        except (KeyError, TypeError, ValueError):
            parcel.close()
            raise
        self._worker.take_over(moved, self._ways.attach)
        return {}

    @commands.Release.responder
    def _release(self, limit: float) -> Deferred[dict[str, Any]]:
        if self._worker is None:
            return succeed({"left": 0})
        releasing = self._worker.release(limit, self._leave, lambda: self._opening > 0)
        return releasing.addCallback(lambda left: self._when_sent({"left": left}))

    @commands.Spare.responder
    def _spare(self, count: int) -> Deferred[dict[str, Any]]:
        return self._when_sent({"spared": 0 if self._worker is None else self._worker.spare(count, self._leave)})

    @commands.Scrape.responder
    def _scrape(self) -> Deferred[dict[str, Any]]:
        assert self._worker is not None
        self._tell()
        return self._worker.scrape().addCallback(lambda meter: {"counters": counters.dumped(meter)})

    @commands.Drain.responder
    def _drain(self, limit: float) -> Deferred[dict[str, Any]]:
        draining = succeed(None) if self._worker is None else self._worker.drain(limit)
        return draining.addCallback(lambda _: {})

    @commands.StatementMade.responder
    def _statement_made(self, statement: bytes) -> dict[str, Any]:
        self._adopt(statement)
        return {}

    @commands.StatementForgotten.responder
    def _statement_forgotten(self, prepared_id: bytes) -> dict[str, Any]:
        if self._worker is not None:
            self._worker.shared.prepared.drop(prepared_id)
        return {}

    @commands.ListStatements.responder
    def _list_statements(self) -> dict[str, Any]:
        entries = {} if self._worker is None else self._worker.shared.prepared.entries
        return {"found": statements.dumped(entries.values())}

    @commands.FindStatements.responder
    def _find_statements(self, wanted: bytes) -> dict[str, Any]:
        entries = {} if self._worker is None else self._worker.shared.prepared.entries
        found = [entries[prepared_id] for prepared_id in statements.loaded_ids(wanted) if prepared_id in entries]
        return {"found": statements.dumped(found)}

    def _leave(self, moved: Moved) -> None:
        self._leaving.send(sessions.packed(moved))

    def _when_sent(self, answer: dict[str, Any]) -> Deferred[dict[str, Any]]:
        return self._leaving.sent().addCallback(lambda _: answer)

    # What the sessions ask: logins

    def accepted(self, credentials: Credentials) -> None:
        """Target has let these in."""
        self._judged(credentials, True)

    def refused(self, credentials: Credentials) -> None:
        """Target has refused these."""
        self._judged(credentials, False)

    def verify(self, credentials: Credentials) -> Deferred[Recognition]:
        """Whether target accepted these before, for any worker. May be cancelled."""
        user, password = credentials.username.encode(), credentials.password.encode()
        verifying: Deferred[Any] = self.callRemote(commands.VerifyLogin, user=user, password=password)
        return verifying.addCallback(lambda answer: Recognition[answer["recognition"]])

    def _judged(self, credentials: Credentials, is_accepted: bool) -> None:
        user, password = credentials.username.encode(), credentials.password.encode()
        self.callRemote(commands.LoginJudged, user=user, password=password, accepted=is_accepted)

    # What the sessions ask: statements

    def made(self, entry: PreparedStatement) -> None:
        """A client has prepared a statement."""
        self.callRemote(commands.StatementMade, statement=statements.dumped([entry]))

    def forgotten(self, prepared_id: bytes) -> None:
        """The id means nothing any more."""
        self.callRemote(commands.StatementForgotten, prepared_id=prepared_id)

    def _find(self, prepared_ids: tuple[bytes, ...]) -> Deferred[None]:
        """Fires when what the others know is in the cache, or they are too slow. A pool asks the same all at once."""
        found: Deferred[None] = Deferred()
        waiting = self._sought.setdefault(prepared_ids, [])
        waiting.append(found)
        if len(waiting) == 1:
            asking: Deferred[Any] = self.callRemote(commands.FindStatements, wanted=statements.dumped_ids(prepared_ids))
            asking.addTimeout(FIND_LIMIT, self._clock)
            asking.addCallbacks(lambda answer: self._adopt(answer["found"]), lambda _: None)
            asking.addBoth(lambda _: self._has_sought(prepared_ids))
        return found

    def _has_sought(self, prepared_ids: tuple[bytes, ...]) -> None:
        for found in self._sought.pop(prepared_ids):
            found.callback(None)

    def _adopt(self, found: bytes) -> None:
        if self._worker is not None:
            for entry in statements.loaded(found):
                self._worker.shared.prepared.adopt(entry)

    # The schema

    def _refresh_schema(self) -> None:
        """Every session hears of every change; the supervisor needs to hear it once."""
        if self._refreshing is None:
            self._refreshing = self._clock.callLater(0, self._tell_schema)

    def _tell_schema(self) -> None:
        self._refreshing = None
        self.callRemote(commands.RefreshSchema)

    # How many clients there are

    def _opened(self, _: object) -> None:
        self._opening -= 1
        self._tell_soon()

    def _tell_soon(self) -> None:
        """Once for all that come and go in one turn of the loop."""
        if self._telling is None:
            self._telling = self._clock.callLater(0, self._tell)

    def _tell(self) -> None:
        worker = self._worker
        assert worker is not None
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None
        figures = (self._taken, self._opening + worker.clients(), self._attaching)
        if figures != self._told:
            self._told = figures
            self.callRemote(commands.Load, taken=figures[0], clients=figures[1], attaching=figures[2])

    def _watch(self) -> None:
        """To count who is attaching takes a look at every client, so it is not done whenever one comes or goes."""
        assert self._worker is not None
        self._attaching = self._worker.attaching()
        self._tell()
        self._watch_in(WATCHFUL if self._attaching else CALM)

    def _watch_in(self, seconds: float) -> None:
        if self._watching is not None and self._watching.active():
            self._watching.reset(seconds)
        else:
            self._watching = self._clock.callLater(seconds, self._watch)

    def _new_worker(self, snapshot: Any) -> Worker:
        settings = self._settings
        return Worker(
            snapshot,
            Meter(
                settings.origin_bounds,
                settings.target_bounds,
                settings.async_bounds,
                settings.copies_to,
                settings.max_tables,
            ),
            PreparedCache(settings.prepared_entries, self),
            self._clock,
            self._now,
            self._ways.connecting,
            {Side.ORIGIN: settings.origin_timeout, Side.TARGET: settings.target_timeout},
            self._log,
            self._refresh_schema,
            self,
            self._find,
            settings.workers,
            self._tell_soon,
        )
