"""Takes target out of the path and puts it back, while clients are served (neighbours, section A).

What an operator wants is told to all workers, written to the state file and to the audit file, and logged. Telling the
workers comes first: a full disk must not keep a sick target in the path. Changes are made one after the other, in the
order in which they were asked for. None waits for the files of the one before, and no answer waits for long: a disk may
hang. A command that is repeated does what an earlier one could not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from zdm.admin.audit import AuditEntry, AuditFile, unrecorded
from zdm.admin.switch import Refused, TargetState, iso_time
from zdm.config import Config
from zdm.lasting_state import LastingState
from zdm.log import Log
from zdm.net.threads import Run, in_time
from zdm.state_file import TargetRecord

DUAL: Final = "DUAL"
ORIGIN_ONLY: Final = "ORIGIN_ONLY"
ATTACHING: Final = "ATTACHING"

PATIENCE: Final = 3.0
"""Seconds that an answer waits for the files; they are written where it takes longer, too."""

FOLLOWING: Final = 8.0
"""Seconds that it waits for the workers: one that hangs is killed before, and so it has followed."""

_RESTART: Final = "to use target toggle"


class Switched(Protocol):
    """What the switch turns: the supervisor."""

    @property
    def generation(self) -> int:
        """The number of the last generation that was made."""

    def target_switched(self) -> Deferred[int]:
        """What is wanted of target has changed: fires with the next generation, when every worker has it."""

    def attaching(self) -> int:
        """How many clients still lack their target connection while target takes part."""


class TargetSwitch:
    """A `zdm.admin.switch.Switch`. `on_switch` is called as soon as something else is wanted of target."""

    def __init__(
        self,
        config: Config,
        state: LastingState,
        switched: Switched,
        run: Run,
        clock: IReactorTime,
        log: Log,
        on_switch: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`run` is where files are written; `wall_clock` gives seconds since the epoch."""
        self.is_ready = False
        """The proxy serves clients."""
        self._config: Final = config
        self._state: Final = state
        self._switched: Final = switched
        self._run: Final = run
        self._clock: Final = clock
        self._log: Final = log
        self._on_switch: Final = on_switch
        self._wall_clock: Final = wall_clock
        self._audit: Final = AuditFile(config.admin_audit_file) if config.admin_audit_file else None
        self._turn: Final = DeferredLock()
        self._audit_turn: Final = DeferredLock()
        self._applied = state.target
        self._is_closed = False

    def state(self) -> TargetState | None:
        """None once shutdown has begun."""
        if self._is_closed:
            return None
        wanted, attaching = self._state.target, self._switched.attaching()
        effective: str | None
        if not self.is_ready:
            effective = None
        elif not self._applied.enabled:
            effective = ORIGIN_ONLY
        else:
            effective = ATTACHING if attaching else DUAL
        return TargetState(
            self.is_ready,
            wanted.enabled,
            effective,
            self._applied.generation,
            wanted.since,
            wanted.reason,
            wanted.actor,
            attaching,
            self._state.is_stored,
        )

    def switch(self, enabled: bool, reason: str, actor: str, peer: str, force: bool = False) -> Deferred[str]:
        """Fires when every worker has the change and the files are written; the text says what went wrong.

        Fails with Refused where the configuration forbids it, unless it is forced.
        """
        wanted = TargetRecord(enabled=enabled, reason=reason, actor=actor)
        return Deferred.fromCoroutine(self._switch(wanted, peer, force))

    def close(self) -> None:
        """Shutdown has begun, or another process has taken over."""
        self._is_closed = True

    def reopen(self) -> None:
        """The other process has failed."""
        self._is_closed = False

    def inherit(self, record: TargetRecord) -> Deferred[str]:
        """What the process before was told last: fires when every worker has it."""
        return succeed("") if record == self._state.target else self._tell(record)

    def recorded(self) -> Deferred[None]:
        """Fires when all changes so far are in the audit file, or could not be written."""
        return self._audit_turn.run(lambda: None)

    async def _switch(self, wanted: TargetRecord, peer: str, force: bool) -> str:
        changing = self._turn.run(lambda: Deferred.fromCoroutine(self._change(wanted, peer, force)))
        trouble, writing = await changing
        done = "Target enabled" if wanted.enabled else "Target disabled"
        return "; ".join(_given(done, trouble, *[await written for written in writing]))

    async def _change(self, wanted: TargetRecord, peer: str, force: bool) -> tuple[str, list[Deferred[str]]]:
        """What went wrong with the workers, and what comes of the files."""
        before = self._state.target
        if self._is_closed:
            return "not done: the proxy is ending", []
        if before.enabled is wanted.enabled:
            return await self._repeat(before)
        refusal = None if wanted.enabled else disable_refusal(self._config)
        if refusal is not None and not force:
            raise Refused(refusal)
        after = wanted.model_copy(update={"since": self._wall_clock(), "generation": self._switched.generation + 1})
        telling = self._tell(after)
        self._log.warn(_line(after, peer, is_forced=refusal is not None))
        self._on_switch()
        writing = [self._saved(), self._recorded(before, after, peer)]
        return await telling, writing

    async def _repeat(self, wanted: TargetRecord) -> tuple[str, list[Deferred[str]]]:
        is_followed, trouble = self._applied.enabled is wanted.enabled, ""
        if not is_followed:
            trouble = await self._tell(wanted.model_copy(update={"generation": self._switched.generation + 1}))
        return trouble, [] if is_followed and self._state.is_stored is not False else [self._saved()]

    def _tell(self, wanted: TargetRecord) -> Deferred[str]:
        """Tell the workers; the text is empty where all of them have it."""

        def acknowledged(_: int) -> str:
            if wanted.generation > self._applied.generation:  # or one that was late, and others came after it
                self._applied = wanted
            return ""

        def failed(failure: Failure) -> str:
            self._log.error("A worker could not take the change of target's state", failure)
            return f"a worker could not take the change: {failure.getErrorMessage()}"

        self._state.target = wanted
        telling = self._switched.target_switched().addCallbacks(acknowledged, failed)
        return self._in_time(telling, "not every worker has taken the change yet", FOLLOWING)

    def _saved(self) -> Deferred[str]:
        def failed(failure: Failure) -> str:
            return f"the state file could not be written, so a restart will not know: {failure.getErrorMessage()}"

        saving = self._state.save().addCallbacks(lambda _: "", failed)
        return self._in_time(saving, "the state file is not written yet, so a restart may not know")

    def _recorded(self, before: TargetRecord, after: TargetRecord, peer: str) -> Deferred[str]:
        audit = self._audit
        if audit is None or after.since is None:
            return succeed("")
        entry = AuditEntry(iso_time(after.since), peer, after.actor, after.reason, before.word, after.word)

        def failed(failure: Failure) -> str:
            self._log.error(unrecorded(self._config.admin_audit_file, entry, failure.getErrorMessage()))
            return f"the audit file could not be written: {failure.getErrorMessage()}"

        recording = self._audit_turn.run(lambda: self._run(lambda: audit.record(entry)))
        return self._in_time(recording.addCallbacks(lambda _: "", failed), "the audit file is not written yet")

    def _in_time(self, awaited: Deferred[str], late: str, patience: float = PATIENCE) -> Deferred[str]:
        def is_late() -> str:
            self._log.error(f"The target was switched, but after {patience:g} s {late}")
            return late

        return in_time(awaited, patience, self._clock, is_late)


def disable_refusal(config: Config) -> str | None:
    """Which key makes it wrong to disable target, in the text of the 409."""
    if config.read_mode.upper() == "DUAL_ASYNC_ON_SECONDARY":
        asked = "read_mode is DUAL_ASYNC_ON_SECONDARY"
        return f"cannot disable target: {asked}, restart proxy with PRIMARY_ONLY {_RESTART}"
    if config.forward_client_credentials_to_origin:
        asked = "forward_client_credentials_to_origin is enabled"
        return f"cannot disable target: {asked}, restart proxy without it {_RESTART}"
    if config.primary == "target":
        # reads would go to a cluster that may be behind by now, and nobody would notice
        return f"cannot disable target: primary_cluster is TARGET, restart proxy with ORIGIN {_RESTART}"
    return None


def _line(after: TargetRecord, peer: str, is_forced: bool) -> str:
    if after.enabled:
        line = "Target cluster ENABLED via API — requests will be forwarded to target"
    else:
        line = "Target cluster DISABLED via API — no requests will be forwarded to target"
    is_named = after.actor not in ("", peer)  # the API puts the peer where nobody gave a name
    who = " ".join(_given(f"by {after.actor}" if is_named else "", f"from {peer}" if peer else ""))
    told = "; ".join(_given(f"reason: {after.reason}" if after.reason else "", who, "forced" if is_forced else ""))
    return f"{line} ({told})" if told else line


def _given(*texts: str) -> list[str]:
    return [text for text in texts if text]
