"""Taking target out of a session, and back in, while requests are under way.

Switched off: from that moment nothing new is sent to target. What was held for it goes to origin alone. What was sent
waits for target's answer a little longer, then settles with origin's (`abandoned`). The connection is parked, so that
target switched on again soon finds it, and closed when that does not come. Switched on: a parked connection is taken up
again, and a session without one asks for it eagerly; `attachment` does the rest.
"""

from __future__ import annotations

from typing import Final

from zdm.core.attachment import Attachment
from zdm.core.clusters import TARGET_BIT, Side
from zdm.core.commands import Close
from zdm.core.connector import SideState
from zdm.core.dispatch import Dispatch
from zdm.core.keyspace import Keyspace
from zdm.core.plans import Reaction
from zdm.core.settling import Settling
from zdm.core.state import Phase, SessionState


class Detachment:
    """Target's coming and going in one session."""

    __slots__ = ("_attachment", "_dispatch", "_drained_at", "_keyspace", "_parked_until", "_settling", "_state")

    def __init__(
        self, state: SessionState, dispatch: Dispatch, settling: Settling, keyspace: Keyspace, attachment: Attachment
    ) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch
        self._settling: Final = settling
        self._keyspace: Final = keyspace
        self._attachment: Final = attachment
        self._drained_at: float | None = None
        self._parked_until: float | None = None

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do; nothing while no connection is parked."""
        return self._parked_until if self._drained_at is None else self._drained_at

    def begin(self) -> None:
        """Target is switched off."""
        connector = self._state.target
        if connector.state is SideState.READY:
            self._park()
        elif connector.state is SideState.HANDSHAKING and not self._attachment.takes(Side.TARGET):
            connector.is_stray = True  # its USE is under way
            self._park()
        elif connector.state in (SideState.CONNECTING, SideState.HANDSHAKING):
            self._attachment.forget(Side.TARGET)
            self._drop("target was switched off")
        else:
            connector.reset(SideState.ABSENT)
        connector.attempts, connector.retry_at, connector.is_late = 0, 0.0, False
        self._leave_mending()
        for request in [request for request in self._state.pending.values() if request.held]:
            request.plan = request.plan.while_disabled
            if request.plan.awaits & TARGET_BIT:
                self._settling.refuse_held(request)
        self._dispatch.release()

    def resume(self) -> None:
        """Target is switched on."""
        connector = self._state.target
        if connector.state is SideState.PARKED and (connector.is_stray or connector.owed):
            # A connection that owes answers has fewer ids to give, and a host behind it that was slow.
            self._drop("nobody knows its keyspace" if connector.is_stray else "it owes answers")
        self._drained_at = self._parked_until = None
        if connector.state is SideState.PARKED:
            connector.last_heartbeat = self._state.now
            connector.is_late = True  # until it has the session's keyspace
            self._keyspace.take_up(Side.TARGET)
        else:
            self.catch_up()

    def catch_up(self) -> None:
        """Ask for target's connection where the session has lived without one so far."""
        state, connector = self._state, self._state.target
        if (
            state.phase is Phase.READY
            and connector.state is SideState.ABSENT
            and state.snapshot.target_enabled
            and not self._attachment.takes(Side.TARGET)
        ):
            connector.is_late = True
            self._dispatch.attach(connector, is_eager=True)

    def drop(self) -> None:
        """Close target's connection, whatever state it is in."""
        self._drop("target was switched off")

    def lost(self) -> None:
        """The parked connection ended by itself: nobody minds."""
        self._forget()

    def expire(self, now: float) -> None:
        """Time has passed."""
        if self._drained_at is not None and now >= self._drained_at:
            self._drained_at = None
            self._abandon_all(is_owed=True)
        if self._drained_at is None and self._parked_until is not None and now >= self._parked_until:
            self._drop("target is switched off")

    def _park(self) -> None:
        state, settings = self._state, self._state.snapshot.settings
        state.target.state = SideState.PARKED
        state.sooner = True
        self._drained_at = state.now + settings.target_disable_drain
        self._parked_until = state.now + settings.target_park

    def _leave_mending(self) -> None:
        """To go on would be to send target a request: these were executed by it nowhere."""
        for request in self._settling.mending.give_up(Side.TARGET):
            if not request.held and self._state.pending.get(request.stream) is request:
                self._settling.abandon(request, is_owed=False)

    def _abandon_all(self, is_owed: bool) -> None:
        pending = self._state.pending
        for request in list(pending.values()):
            if request.awaits & TARGET_BIT and pending.get(request.stream) is request:
                self._settling.abandon(request, is_owed)
        self._dispatch.put_in_order()

    def _drop(self, reason: str) -> None:
        self._state.commands.append(Close(Side.TARGET, reason))
        self._forget()

    def _forget(self) -> None:
        self._drained_at = self._parked_until = None
        orphans = self._state.target.reset(SideState.ABSENT)
        self._abandon_all(is_owed=False)
        for request in self._state.pending.values():
            if request.plan.reaction is Reaction.KEYSPACE and not request.held:
                request.plan = request.plan.abandoned  # target's good answer to USE went with the connection
        for internal in orphans:
            internal.answered(None)
