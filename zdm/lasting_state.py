"""What the running proxy knows that is to survive it, and when that is written (architecture, the toggle).

One `LastingState` for each process: the switch changes what is wanted of target, the control connection what is known
of it, clients the logins that target accepted. All of it goes to the one state file, in a thread, one write at a time:
what changes during a write waits for the next one, and whoever asked is told when that is on disk. What could not be
written is tried again from time to time. Without a state file nothing is written.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from zdm.admin.audit import AuditEntry, AuditFile, unrecorded
from zdm.admin.switch import iso_time
from zdm.config import Config
from zdm.core.topology import ClusterView
from zdm.log import Log
from zdm.net.threads import Run
from zdm.state_file import KnownTarget, LoginRecord, SavedState, StateFile, TargetRecord, UnusableFileError

PATIENCE: Final = 1.0
"""Seconds that a change waits for others to be written with it, where nobody waits for the write."""

RETRY: Final = 30.0
"""Seconds after which a write that failed is tried again."""

_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What is wrong with the disk, and not with the configuration."""


def read_state(config: Config, wall_clock: Callable[[], float] = time.time) -> SavedState:
    """The state that a process with this configuration begins with. Raises UnusableFileError."""
    return _as_configured(config, _last(config), wall_clock)


def at_start(config: Config, log: Log, wall_clock: Callable[[], float] = time.time) -> SavedState:
    """The same, and on disk again when this returns. Raises UnusableFileError.

    Files that cannot be written to are found now, and not at the first change. A disk that is full keeps no proxy from
    starting that has its state: it would be missed more than the write.
    """
    was_there = bool(config.state_file) and os.path.exists(config.state_file)
    last = _last(config)
    saved = _as_configured(config, last, wall_clock)
    if config.admin_audit_file:
        _check_audit_file(config.admin_audit_file, log)
    if config.state_file:
        _write_first(StateFile(config.state_file), saved, was_there, log)
    if was_there and saved.target is not last.target:
        _tell_override(config, last.target, saved.target, log)
    return saved


def inherited(config: Config, saved: SavedState) -> SavedState:
    """The state of the process that this one takes over from, which writes its file until then.

    Raises UnusableFileError where the files could not be written.
    """
    check_places(config)
    return saved


def _last(config: Config) -> SavedState:
    return StateFile(config.state_file).read() if config.state_file else SavedState()


def _as_configured(config: Config, last: SavedState, wall_clock: Callable[[], float]) -> SavedState:
    wanted = config.target_enabled_at_start.lower()
    if wanted == "last" or (wanted == "true") is last.target.enabled:
        return last
    record = TargetRecord(
        enabled=wanted == "true",
        since=wall_clock(),
        reason=f"target_enabled_at_start is {wanted}",
        actor="configuration",
        generation=last.target.generation + 1,
    )
    return last.model_copy(update={"target": record})


def _write_first(file: StateFile, saved: SavedState, was_there: bool, log: Log) -> None:
    try:
        file.write(saved)
    except OSError as error:
        if not was_there or error.errno not in _PASSING:
            raise file.unwritable(error) from error
        log.error(f"The state file {file.path} could not be written: {error}. The proxy starts, and tries it again.")


def _tell_override(config: Config, before: TargetRecord, after: TargetRecord, log: Log) -> None:
    """The switch was turned, and not by whoever turned it last."""
    log.warn(
        f"ZDM_TARGET_ENABLED_AT_START={config.target_enabled_at_start} overrides the state file {config.state_file}, "
        f"which had target {before.word}{before.history}."
    )
    if not config.admin_audit_file or after.since is None:
        return
    entry = AuditEntry(iso_time(after.since), "", after.actor, after.reason, before.word, after.word)
    try:
        AuditFile(config.admin_audit_file).record(entry)
    except OSError as error:
        log.error(unrecorded(config.admin_audit_file, entry, str(error)))


def check_places(config: Config) -> None:
    """Whether both files could be written, as far as that can be told without writing. Raises UnusableFileError."""
    for kind, path in (("state", config.state_file), ("audit", config.admin_audit_file)):
        if not path:
            continue
        # the state file is replaced, the audit file appended to where there is one
        is_there = kind == "audit" and os.path.exists(path)
        place = path if is_there else os.path.dirname(os.path.realpath(path))
        if not os.access(place, os.W_OK if is_there else os.W_OK | os.X_OK):
            raise UnusableFileError(f"the {kind} file {path} cannot be written: {place} must be there, and writable.")


def _check_audit_file(path: str, log: Log) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in _PASSING:
            log.error(f"The audit file {path} could not be opened: {error}. The proxy starts, and tries it again.")
            return
        raise UnusableFileError(
            f"the audit file {path} cannot be written: {error.strerror or error}. Its directory must exist, and the "
            "proxy must be allowed to append to the file; or unset ZDM_ADMIN_AUDIT_FILE."
        ) from error


class LastingState:
    """`target` is what is wanted, `known` what was last known of target, `logins` gives those that it accepted."""

    def __init__(
        self,
        saved: SavedState,
        path: str,
        run: Run,
        clock: IReactorTime,
        log: Log,
    ) -> None:
        """`path` is the state file's; empty: nothing is written."""
        self.target = saved.target
        self.known = saved.known
        self.logins: Callable[[], tuple[LoginRecord, ...]] = lambda: saved.logins
        self._stored = saved.target
        self._file: Final = StateFile(path) if path else None
        self._run: Final = run
        self._clock: Final = clock
        self._log: Final = log
        self._waiters: list[Deferred[None]] = []
        self._is_writing = False
        self._is_due = False
        self._is_stale = False
        self._is_closed = False
        self._soon: IDelayedCall | None = None

    def learn(self, view: ClusterView) -> None:
        """Target's control connection has found this."""
        supported = {name: list(values) for name, values in view.supported.items()}
        known = KnownTarget(auth_required=view.auth_required, version=view.version, supported=supported)
        if known != self.known:
            self.known = known
            self.save_soon()

    @property
    def is_stored(self) -> bool | None:
        """What is wanted of target is on disk; None where there is no state file."""
        return None if self._file is None else self._stored == self.target

    def save(self) -> Deferred[None]:
        """Fires when what is so now is on disk; fails with OSError where it cannot be written, now."""
        if self._file is None:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append(waiter)
        self._write()
        return waiter

    def save_soon(self) -> None:
        """What is so now is on disk within a second or two; where that fails, the operator is told.

        A disk that fails is left alone for longer.
        """
        self._save_in(PATIENCE)

    def close(self) -> Deferred[None]:
        """Fires when nothing is left to be written, or could not be written."""
        self._is_closed = True
        if self._soon is not None:
            self._soon.cancel()
            self._is_time()
        return self.save().addErrback(lambda _: None) if self._is_writing else succeed(None)

    def reopen(self) -> None:
        """The process that was to take over has failed."""
        self._is_closed = False
        self.save_soon()

    def _save_in(self, seconds: float) -> None:
        if self._file is not None and self._soon is None and not self._is_closed:
            self._soon = self._clock.callLater(seconds, self._is_time)

    def _is_time(self) -> None:
        self._soon = None
        self._is_due = True
        self._write()

    def _write(self) -> None:
        if self._is_writing or self._file is None:
            return
        if self._soon is not None:
            self._soon.cancel()  # what it is for is written now
            self._soon = None
        self._is_writing, self._is_due = True, False
        waiters, self._waiters = self._waiters, []
        state = SavedState(target=self.target, known=self.known, logins=self.logins())
        file = self._file
        writing = self._run(lambda: file.write(state))
        writing.addCallbacks(self._written, self._failed, callbackArgs=(waiters, state), errbackArgs=(waiters,))

    def _written(self, _: None, waiters: list[Deferred[None]], state: SavedState) -> None:
        assert self._file is not None
        self._stored = state.target
        if self._is_stale:
            self._is_stale = False
            self._log.info(f"The state file {self._file.path} could be written again.")
        self._go_on()
        for waiter in waiters:
            waiter.callback(None)

    def _failed(self, failure: Failure, waiters: list[Deferred[None]]) -> None:
        assert self._file is not None
        self._log.error(f"The state file {self._file.path} could not be written: {failure.getErrorMessage()}")
        self._is_stale = True
        self._save_in(RETRY)
        self._go_on()
        for waiter in waiters:
            waiter.errback(failure)

    def _go_on(self) -> None:
        self._is_writing = False
        if self._waiters or self._is_due:
            self._write()
