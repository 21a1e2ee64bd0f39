"""What must hold of the proxy as a whole: who gets in, where a request goes, and what is left in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.draws import TARGET_USER
from tests.simulation.ledger import WRITES, Ask, Kind
from tests.simulation.schedule import Violation
from tests.simulation.statements import AUTH_SUCCESS, READY, Answered
from zdm.core.clusters import BOTH, CLUSTERS, Side
from zdm.core.connector import Owed, SideState
from zdm.core.state import Phase
from zdm.metrics import Meter

if TYPE_CHECKING:
    from tests.simulation.client import ModelClient
    from tests.simulation.shell import Shell
    from tests.simulation.world import World

_FEW_STREAMS: Final = 100
_LENIENCE: Final = 0.005
"""Seconds by which timers may be late."""


class Watch:
    """Looks at everything that the shells see."""

    def __init__(self, world: World) -> None:
        self._world: Final = world
        self._is_on = world.draws.starts_on
        self._switched_at = 0.0
        self._was_off_at = -1.0 if self._is_on else 0.0
        self.skipped = {"reads": 0, "writes": 0}
        self.abandoned = {"reads": 0, "writes": 0}
        self.unsure = 0
        """Requests of which one cannot tell from outside whether they were abandoned."""
        self._left_by_target: list[Ask] = []
        """What target alone was asked, and is abandoned in this turn."""

    # While it goes on

    def is_switched(self, is_on: bool) -> None:
        """Target is switched, at this moment and for all sessions."""
        now = self._world.schedule.now
        self._is_on, self._switched_at = is_on, now
        self._was_off_at = now
        if not is_on:
            limit = self._world.draws.settings.target_disable_drain + _LENIENCE
            self._world.schedule.after(limit, self._is_drained, now)

    def was_off_since(self, moment: float) -> bool:
        """Target was off at some time after that moment."""
        return not self._is_on or self._was_off_at >= moment

    def target_is_used(self, shell: Shell, side: Side, what: str) -> None:
        """Something goes to a cluster."""
        if side is Side.TARGET and not self._is_on:
            raise Violation(f"{shell.name}: {what} for TARGET, which is off")

    def is_sent(self, shell: Shell, ask: Ask, sides: int) -> None:
        """A numbered request went to these clusters, in one turn and for the first time."""
        needed = BOTH if ask.kind in WRITES else int(self._world.draws.primary)
        if sides == needed:
            return
        is_for_origin = bool(needed & Side.TARGET) and sides == Side.ORIGIN
        if is_for_origin and ask.is_abandoned:
            return  # target alone was asked, and went
        if not is_for_origin or ask.sent != sides or not self._may_skip(ask):
            raise Violation(f"{ask!r} of {shell.name} goes to {sides}, not to {needed}")
        ask.is_skipped = True
        self.skipped["writes" if ask.kind in WRITES else "reads"] += 1

    def use_is_sent(self, sides: int) -> None:
        """A client's USE went to these clusters, in one turn."""
        if sides == Side.ORIGIN:
            self.skipped["writes"] += 1

    def _may_skip(self, ask: Ask) -> bool:
        """Target was off, or has not been attached for long enough."""
        hold = self._world.draws.settings.attach_hold
        return self.was_off_since(ask.arrived) or self._world.schedule.now >= ask.arrived + hold

    def is_turning(self, shell: Shell, is_late: bool, is_switched: bool, has_target: bool) -> None:
        """A session was told something; before its answers are looked at. `is_late`: time has passed for it."""
        limit = self._switched_at + self._world.draws.settings.target_disable_drain
        is_drained = is_late and not self._is_on and self._world.schedule.now >= limit
        for ask in shell.unanswered.values():
            if not self._waits_for_target(ask):
                continue
            if self._is_on and not is_switched:
                ask.is_lost = not has_target
            elif is_drained or not has_target or (ask.is_mending and not self._is_on):
                self._abandon(ask)

    def _abandon(self, ask: Ask) -> None:
        """Target's answer is not waited for, because it was switched off."""
        ask.is_abandoned = True
        self.abandoned["writes" if ask.kind in (*WRITES, Kind.USE) else "reads"] += 1
        is_expiring = abs(ask.arrived + self.timeout(ask) - self._world.schedule.now) < _LENIENCE
        if is_expiring or ask.is_mending:
            self.unsure += 1
        elif ask.sent == Side.TARGET:
            self._left_by_target.append(ask)

    def is_asked_of_origin(self, shell: Shell) -> None:
        """After the turn: what target alone was asked is answered, or with origin, or held until that takes it."""
        abandoned, self._left_by_target = self._left_by_target, []
        for ask in abandoned:
            request = shell.session.state.pending.get(ask.stream)
            is_held = request is not None and request.held
            if ask.stream in shell.unanswered and not ask.sent & Side.ORIGIN and not is_held:
                raise Violation(f"{ask!r} of {shell.name} waits for nobody: TARGET is off, and ORIGIN is not asked")
            self._world.ledger.count("asked of ORIGIN instead")

    def _waits_for_target(self, ask: Ask) -> bool:
        is_over = self._world.schedule.now > ask.arrived + self.timeout(ask) + _LENIENCE
        is_with_target = bool(ask.sent & ~ask.finished & Side.TARGET)
        return is_with_target and not (ask.is_abandoned or ask.is_lost or is_over)

    def _is_drained(self, since: float) -> None:
        if self._is_on or self._switched_at != since:
            return
        for shell in self._world.shells:
            for ask in shell.unanswered.values():
                if self._waits_for_target(ask):
                    raise Violation(f"{ask!r} of {shell.name} still waits for TARGET, which is off")

    def timeout(self, ask: Ask) -> float:
        """How long a request may take, in seconds."""
        settings = self._world.draws.settings
        return settings.schema_timeout if ask.kind is Kind.SCHEMA else settings.request_timeout

    def is_expired(self, ask: Ask) -> None:
        """Nobody answered, and the client does not wait any more."""
        settings, now = self._world.draws.settings, self._world.schedule.now
        timeout = self.timeout(ask)
        if settings.answer_timeouts:
            raise Violation(f"{ask!r} got no answer, not even that it timed out")
        if now < ask.arrived + timeout:
            raise Violation(f"{ask!r} is given up before its time")
        is_answered = ask.sent and ask.sent & ask.finished == ask.sent
        if is_answered and ask.finished_at < ask.arrived + timeout:
            raise Violation(f"{ask!r} got no answer, though every cluster has answered it")
        self._world.ledger.count("expired in silence")

    def handshake_answered(self, client: ModelClient, answer: Answered) -> None:
        """The session answers a client that is not in yet."""
        if answer.opcode not in (READY, AUTH_SUCCESS):
            return
        clusters, credentials = self._world.clusters, client.credentials
        origin, target = clusters[Side.ORIGIN], clusters[Side.TARGET]
        if origin.users is None and target.users is None:
            return
        if target.users is None:
            is_right = origin.lets_in(credentials)
        else:
            is_right = credentials in target.has_let_in
        if not is_right and self.was_off_since(client.connected_at):
            is_right = credentials == TARGET_USER or (origin.users is not None and origin.lets_in(credentials))
        if not is_right:
            raise Violation(f"{client.name} is let in, and nobody has checked its password")
        self._world.ledger.count("let in")

    def is_nothing_held_back(self, shell: Shell) -> None:
        """A request is held only while something that it needs is missing, not for long, and not many."""
        state, settings = shell.session.state, self._world.draws.settings
        if state.held_bytes > settings.held_bytes:
            raise Violation(f"{shell.name} holds {state.held_bytes} bytes, and may hold {settings.held_bytes}")
        if state.held_bytes and state.phase is Phase.READY:
            longest = self._world.schedule.now - settings.attach_hold - _LENIENCE
            if any(request.held and request.started < longest for request in state.pending.values()):
                raise Violation(f"{shell.name} holds what should have gone on without TARGET, or been refused")
            needed = CLUSTERS if self._is_on else (Side.ORIGIN,)
            is_ready = all(state.connector(side).state is SideState.READY for side in needed)
            held = [shell.unanswered[request.stream] for request in state.pending.values() if request.held]
            awaited = [ask for ask in held if not ask.ids]  # what has ids may wait for its statements
            if is_ready and awaited:
                raise Violation(f"{shell.name} holds {awaited} back, and nothing is missing")

    def is_within_limit(self, shell: Shell) -> None:
        """No cluster has more to answer on one connection than the operator allows."""
        state, limit = shell.session.state, self._world.draws.settings.stream_limit
        if limit > _FEW_STREAMS or state.phase is not Phase.READY:
            return
        for side in CLUSTERS:
            awaited = sum(bool(request.awaits & side) for request in state.pending.values())
            if awaited + state.connector(side).owed > limit:
                raise Violation(f"{shell.name} awaits more than {limit} answers of {side.name}")

    def is_closing(self, shell: Shell) -> None:
        """A session ends by itself: because of origin, or as target does not let its client in, or is lost."""
        is_served = shell.client.shell is shell and shell.client.is_ready
        may_go_on = self._world.clusters[Side.TARGET].lets_in(shell.client.credentials)
        if self._is_on and not self._world.draws.settings.reattach_target:
            may_go_on = False
        if is_served and may_go_on and Side.ORIGIN in shell.sides:
            raise Violation(f"{shell.name} is closed for no reason")

    # In the end

    def all_are_attached(self) -> None:
        """Nobody has to ask for something first, to be attached."""
        for shell in self._world.shells:
            if shell.session.is_attaching:
                raise Violation(f"{shell} is still without TARGET")

    def all_is_well(self, probes: int) -> None:
        """Healthy clusters, quiet clients: nobody waits for anything, and everybody is served."""
        world = self._world
        for shell in list(world.shells):
            self._is_idle(shell)
        meter = world.shared.meter
        gauges = (
            meter.writes, meter.reads_origin, meter.reads_target, meter.reads_disabled, meter.reads_attaching,
            meter.writes_disabled, meter.writes_attaching,
        )  # fmt: skip
        if any(gauge.inflight for gauge in gauges):
            raise Violation(f"requests are counted as in flight: {[gauge.inflight for gauge in gauges]}")
        self._is_counted(meter)
        for side in CLUSTERS:
            opened = world.clusters[side].connections()
            used = [shell.sides[side] for shell in world.shells if side in shell.sides]
            if len(opened) != len(used) or any(connection not in used for connection in opened):
                raise Violation(f"{len(opened)} connections to {side.name} are open, {len(used)} are in use")
        for client in world.clients:
            if len(client.acknowledged) < probes and self._is_known(client):
                raise Violation(f"{client.name} is not served in the end: {client.shell}")

    def _is_known(self, client: ModelClient) -> bool:
        """The client has a right to be served: while target is off, only somebody whom it has accepted before."""
        is_asked = self._world.clusters[Side.TARGET].users is not None
        return self._is_on or not is_asked or client.credentials in (TARGET_USER, *self._world.logins)

    def _is_counted(self, meter: Meter) -> None:
        skipped = {
            "reads": meter.reads_disabled.begun + meter.reads_attaching.begun,
            "writes": meter.writes_disabled.begun + meter.writes_attaching.begun,
        }
        if skipped != self.skipped:
            raise Violation(f"skipped are {self.skipped}, and counted are {skipped}")
        abandoned = {"reads": meter.abandoned_reads, "writes": meter.abandoned_writes}
        if sum(abs(abandoned[kind] - self.abandoned[kind]) for kind in abandoned) > self.unsure:
            raise Violation(f"abandoned are {self.abandoned} ({self.unsure} unsure), and counted are {abandoned}")
        for what, number in (("skipped", sum(skipped.values())), ("abandoned", sum(abandoned.values()))):
            self._world.ledger.count(what, number)

    def _is_idle(self, shell: Shell) -> None:
        session, state = shell.session, shell.session.state
        if session.phase is not Phase.READY:
            raise Violation(f"{shell} is not ready")
        if state.pending or state.held_bytes:
            raise Violation(f"{shell} still awaits {list(state.pending.values())}")
        for ask in shell.unanswered.values():
            self.is_expired(ask)
        for side in CLUSTERS:
            connector = state.connector(side)
            owed = sum(isinstance(special, Owed) for special in connector.special.values())
            swallowed = shell.sides[side].swallowed if side in shell.sides else 0
            if side is Side.TARGET and not self._is_on:
                if connector.state is not SideState.ABSENT or side in shell.sides:
                    raise Violation(f"{shell}: TARGET is off, and its connection is there")
            elif connector.state is not SideState.READY or side not in shell.sides:
                raise Violation(f"{shell}: {side.name} is not ready")
            if owed != len(connector.special) or owed != connector.owed or owed != swallowed:
                raise Violation(f"{shell}: {connector!r} for {swallowed} requests that were never answered")
