"""The certificates that the configuration names: read at the start, and again when the files change.

A start without them fails and is tried again. Later a bad file changes nothing: what was good stays in use, and one
ERROR line says what is wrong, until the files change again. Files are looked at every few seconds, in a thread, because
a disk may hang; those that have just changed are read once they stay as they are, for a certificate and its key are two
files, and nobody replaces both at once.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from zdm.config import Config, env_name
from zdm.core.clusters import Side
from zdm.net.control_link import Log
from zdm.net.threads import Run
from zdm.net.tls_files import TlsFile, TlsFileError, TlsPaths, Validity, read
from zdm.tls_ends import TlsEnds, TlsSetup, TlsSetups

LOOK_EVERY: Final = 10.0
SETTLE: Final = 1.0
"""Seconds between two looks at the files: while nothing happens, and after something did."""

_PREFIX: Final = {Side.ORIGIN: "origin_tls", Side.TARGET: "target_tls", Side.CLIENT: "proxy_tls"}
_LABEL: Final = {Side.ORIGIN: "origin", Side.TARGET: "target", Side.CLIENT: "proxy"}

_Seen = tuple[tuple[int, int, int, int] | None, ...]


class TlsPlan(NamedTuple):
    """What is configured for one end."""

    paths: TlsPaths
    is_strict: bool


def tls_plans(config: Config) -> dict[Side, TlsPlan]:
    """The ends that are to be under TLS."""
    plans = {}
    for side, prefix in _PREFIX.items():
        authorities, certificate, key = (
            ("ca_path", "cert_path", "key_path")
            if side is Side.CLIENT
            else ("server_ca_path", "client_cert_path", "client_key_path")
        )
        passphrase = f"{prefix}_{key.removesuffix('_path')}_passphrase_file"
        trusted = _file(config, f"{prefix}_{authorities}")
        if trusted is not None:
            own, private = (_file(config, f"{prefix}_{name}") for name in (certificate, key))
            paths = TlsPaths(trusted, own, private, _file(config, passphrase), env_name(passphrase))
            plans[side] = TlsPlan(paths, _is_strict(config, side))
    return plans


def _file(config: Config, key: str) -> TlsFile | None:
    path: str = getattr(config, key)
    return TlsFile(env_name(key), path) if path else None


def _is_strict(config: Config, side: Side) -> bool:
    if side is Side.CLIENT:
        return config.proxy_tls_require_client_auth
    verify: str = getattr(config, f"{_PREFIX[side]}_verify")
    return verify.lower() == "full"


class _End:
    """One end: what is planned, and what has come of it."""

    def __init__(self, plan: TlsPlan) -> None:
        self.plan: Final = plan
        self.setup: TlsSetup
        self.validity: Validity
        self.judged: _Seen = ()
        """The files as they were when they were read last, whether they could be used or not."""
        self.seen: _Seen = ()
        """As they were at the last look."""


class Certificates:
    """Those of all ends. `on_change` gets the setups of all whenever one has changed; `ends` have them by then."""

    def __init__(
        self,
        plans: Mapping[Side, TlsPlan],
        ends: TlsEnds,
        run: Run,
        clock: IReactorTime,
        log: Log,
        on_change: Callable[[TlsSetups], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`run` is where files are read; `now` is the time of day."""
        self._files: Final = {side: _End(plan) for side, plan in plans.items()}
        self._ends: Final = ends
        self._run: Final = run
        self._clock: Final = clock
        self._log: Final = log
        self._on_change: Final = on_change
        self._now: Final = now
        self._timer: IDelayedCall | None = None
        self._is_loaded = self._is_closed = False

    async def load(self) -> None:
        """Read all files, where that has not been done, and watch them from then on. Raises TlsFileError."""
        if self._is_loaded:
            return
        for side, end in self._files.items():
            await self._read(side, end)
        self._is_loaded = True
        if self._files:
            self._tell()
            self._look_in(LOOK_EVERY)

    def close(self) -> None:
        """Watch no longer."""
        self._is_closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def hurry(self) -> None:
        """Somebody says that there is something new: look now."""
        if self._timer is not None and self._timer.active():
            self._timer.reset(0)

    def seconds_left(self) -> dict[str, float]:
        """By end, for how long its certificates are valid; below 0 where they are not any more."""
        if not self._is_loaded:
            return {}
        dates = {_LABEL[side]: end.validity.ends() for side, end in self._files.items()}
        return {label: (date - self._now()).total_seconds() for label, date in dates.items() if date is not None}

    # Looking

    def _look_in(self, seconds: float) -> None:
        if not self._is_closed:
            self._timer = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        looking = Deferred.fromCoroutine(self._look_at_all())
        looking.addErrback(self._broken)
        looking.addCallback(self._look_in)

    async def _look_at_all(self) -> float:
        """The seconds after which to look again."""
        seen = await self._run(lambda: {side: _look_at(end.plan.paths) for side, end in self._files.items()})
        pause = LOOK_EVERY
        for side, end in self._files.items():
            is_settled, end.seen = seen[side] == end.seen, seen[side]
            if end.seen == end.judged:
                continue
            if is_settled:
                await self._read_again(side, end)
            else:
                pause = SETTLE
        return pause

    def _broken(self, failure: Failure) -> float:
        self._log.error(f"The TLS files could not be looked at:\n{failure.getTraceback()}")
        return LOOK_EVERY

    # Reading

    async def _read(self, side: Side, end: _End) -> None:
        end.seen = end.judged = await self._run(lambda: _look_at(end.plan.paths))
        material, validity = await self._run(lambda: read(end.plan.paths))
        setup = TlsSetup(material, end.plan.is_strict)
        try:
            self._ends.take(TlsSetups(((side, setup),)))
        except ssl.SSLError as failed:
            named = " and ".join(map(str, end.plan.paths.files()))
            raise TlsFileError(f"OpenSSL does not take what is in {named}: {failed.reason or failed}") from failed
        end.setup, end.validity = setup, validity
        self._warn_of_dates(end)

    async def _read_again(self, side: Side, end: _End) -> None:
        try:
            await self._read(side, end)
        except TlsFileError as failed:
            self._log.error(
                f"The TLS files have changed and cannot be used; what was read before stays in use: {failed}."
            )
        else:
            self._log.info(f"New connections use the changed TLS files: {', '.join(map(str, end.plan.paths.files()))}.")
            self._tell()

    def _tell(self) -> None:
        self._on_change(TlsSetups(tuple((side, end.setup) for side, end in self._files.items())))

    def _warn_of_dates(self, end: _End) -> None:
        paths, now = end.plan.paths, self._now()
        if end.validity.authorities is not None and end.validity.authorities < now:
            self._log.warn(f"No certificate in {paths.authorities} is valid any more: replace the file.")
        if end.validity.own is None:
            return
        begin, until = end.validity.own
        if not begin <= now <= until:
            self._log.warn(
                f"The certificate in {paths.certificate} is valid from {begin:%Y-%m-%d %H:%M} to "
                f"{until:%Y-%m-%d %H:%M} UTC, which is not now: whoever checks it will refuse it. Replace the file."
            )


def _look_at(paths: TlsPaths) -> _Seen:
    """What changes with the files; None for one that is not there."""
    return tuple(_mark(file.path) for file in paths.files())


def _mark(path: str) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
