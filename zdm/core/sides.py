"""A session's two cluster connections: what becomes of them, and of the session, when one ends or target is switched.

Origin's loss ends the session. Target's does not: it is attached anew, unless the operator wants clients to go as well
(`on_target_connection_lost`), and while target is switched off nobody minds at all.
"""

from __future__ import annotations

from typing import Final

from zdm.core.attachment import Attachment
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.commands import Close
from zdm.core.connector import ClusterConnector, Internal, SideState
from zdm.core.detachment import Detachment
from zdm.core.dispatch import Dispatch
from zdm.core.keyspace import Keyspace
from zdm.core.settling import Settling
from zdm.core.state import Phase, SessionState


class Sides:
    """Puts together what keeps one session's two sides alike."""

    __slots__ = ("_dispatch", "_state", "attachment", "detachment", "keyspace", "settling")

    def __init__(self, state: SessionState, dispatch: Dispatch) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch
        self.keyspace: Final = Keyspace(state, dispatch, self.lose)
        self.settling: Final = Settling(state, dispatch, self.keyspace)
        self.attachment: Final = Attachment(state, dispatch, self.keyspace.take_up, self.lose)
        self.detachment: Final = Detachment(state, dispatch, self.settling, self.keyspace, self.attachment)

    def next_deadline(self) -> float | None:
        """When `expire` is to be called next; nothing while nothing is awaited.

        Never later than a request that came now would expire: a timer is not set anew for each that comes.
        """
        state = self._state
        deadlines = [self.settling.next_deadline(), self.attachment.deadline, self.detachment.deadline]
        for connector in (state.origin, state.target):
            if connector.state is not SideState.PARKED:  # nothing that a parked one leaves unanswered expires
                deadlines.extend(value.deadline for value in connector.special.values() if isinstance(value, Internal))
                deadlines.append(self.settling.stalls_at(connector))
        if state.target.state is SideState.LOST and self._is_wanted():
            deadlines.append(state.target.retry_at)
        earliest = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if earliest is None else min(earliest, state.now + state.snapshot.settings.request_timeout)

    def awaits_time(self) -> bool:
        """There is something that may expire: cheap to ask."""
        state = self._state
        return bool(
            state.pending
            or state.origin.special
            or state.target.special
            or state.target.state is SideState.LOST
            or self.attachment.deadline is not None
            or self.detachment.deadline is not None
        )

    def switched(self, is_on: bool) -> None:
        """Target was switched on or off while the client is being served."""
        if is_on:
            self.detachment.resume()
        else:
            self.detachment.begin()

    def expire(self, now: float) -> None:
        """Time has passed: give up what was awaited too long."""
        self.detachment.expire(now)
        self.settling.expire(now)
        self.attachment.expire(now)
        for side in CLUSTERS:
            self._expire_side(side, self._state.connector(side))

    def lose(self, side: Side, reason: str) -> None:
        """Give a cluster connection up from this side."""
        state = self._state
        if state.phase is not Phase.CLOSED and state.connector(side).state is not SideState.LOST:
            state.commands.append(Close(side, reason))
            self.lost(side, reason)

    def lost(self, side: Side, reason: str) -> None:
        """The connection to a cluster ended, or could not be opened."""
        state, connector = self._state, self._state.connector(side)
        if side is Side.TARGET and not state.snapshot.target_enabled:
            self.detachment.lost()
            return
        was_attaching = self.attachment.forget(side) or connector.state is SideState.CONNECTING
        orphans = connector.reset(SideState.LOST)
        if self._ends_the_session(side):
            state.note(
                "info", f"The {side.name} connection of {state.client_name} ended ({reason}); closing the client."
            )
            state.close(f"{side.name} connection ended: {reason}")
            return
        if was_attaching:
            self._dispatch.postpone(connector)
        self.settling.lost(side)
        self.settling.mending.give_up(side)  # the shell has given its errands up too, so no ticket is answered
        for internal in orphans:
            internal.answered(None)
        state.note("info", f"The {side.name} connection of {state.client_name} ended ({reason}); it is opened anew.")
        self._attach_again(connector)

    def _ends_the_session(self, side: Side) -> bool:
        state = self._state
        is_early = state.phase in (Phase.HANDSHAKE, Phase.REFUSED)
        is_late = state.target.is_late  # the client was let in, or went on, without it
        return side is Side.ORIGIN or is_early or not (is_late or state.snapshot.settings.reattach_target)

    def _expire_side(self, side: Side, connector: ClusterConnector) -> None:
        state = self._state
        if state.phase is Phase.CLOSED or connector.state is SideState.PARKED:
            return  # what expired on the other side has ended the session; or nothing more is asked of this one
        for stream, value in list(connector.special.items()):
            is_here = connector.special.get(stream) is value  # what follows from one may have ended the connection
            if is_here and isinstance(value, Internal) and value.deadline <= state.now:
                connector.owe_on(stream, state.now)
                value.answered(None)
        if self.settling.stalled(connector):
            client = state.client_name
            state.note("warn", f"{side.name} leaves requests of {client} unanswered; its connection is opened anew.")
            self.lose(side, "too many requests timed out")
        elif connector.state is SideState.LOST:
            self._attach_again(connector)

    def _attach_again(self, connector: ClusterConnector) -> None:
        if self._is_wanted():
            self._dispatch.attach(connector, is_eager=not self._state.held_bytes)

    def _is_wanted(self) -> bool:
        """A lost connection is worth opening again: something waits for it, or may yet come."""
        return bool(self._state.held_bytes) or self._state.phase is Phase.READY
