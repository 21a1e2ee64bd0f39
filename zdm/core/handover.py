"""Moving a session to another process: what has to travel beside the descriptors of its connections.

A session is handed over between two requests: nothing is in flight, nothing is held, and no answer of the proxy's own
(heartbeat, USE, PREPARE) is awaited. Ids whose answers clusters still owe stay quarantined on the other side, and the
start of a frame that is not whole yet goes along. A target connection that is being opened or given up does not: the
session is attached anew where it goes.
"""

from __future__ import annotations

from typing import NamedTuple

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.connector import OWED, ClusterConnector, Owed, SideState
from zdm.core.credentials import Credentials
from zdm.core.state import Phase, SessionState
from zdm.protocol.frames import FrameBuffer


class Kept(NamedTuple):
    """The start of a frame, of which `needed` bytes are to come in all; nothing where `needed` is 0."""

    start: bytes
    needed: int


class SideHandover(NamedTuple):
    """One cluster connection: the keyspace it was given last, the ids it owes answers on, what it has sent so far."""

    keyspace: str | None
    owed: tuple[int, ...]
    kept: Kept


class Handover(NamedTuple):
    """One session. `target` is missing where it has no connection there that goes along."""

    version: int
    keyspace: str | None
    local_address: str
    client_name: str
    startup_body: bytes
    credentials: dict[Side, Credentials]
    kept: Kept
    origin: SideHandover
    target: SideHandover | None


def handover_of(state: SessionState, incoming: FrameBuffer) -> Handover | None:
    """What travels of a session; nothing where something is under way. `incoming` is what its client has sent."""
    is_idle = not (state.pending or state.outbox or state.commands)
    if state.phase is not Phase.READY or not is_idle or not _is_settled(state.origin):
        return None
    if state.origin.state is not SideState.READY or state.target.state is SideState.PARKED:
        return None
    goes_along = state.target.state is SideState.READY
    if goes_along and not _is_settled(state.target):
        return None
    return Handover(
        state.version,
        state.keyspace,
        state.local_address,
        state.client_name,
        state.startup_body,
        dict(state.credentials),
        Kept(*incoming.kept()),
        _side_of(state.origin),
        _side_of(state.target) if goes_along else None,
    )


def take_over(state: SessionState, incoming: FrameBuffer, handover: Handover) -> None:
    """Make a new session's state what the handed over one's was."""
    state.version, state.keyspace = handover.version, handover.keyspace
    state.startup_body, state.credentials = handover.startup_body, dict(handover.credentials)
    state.phase = Phase.READY
    _keep(incoming, handover.kept)
    for side, travelled in zip(CLUSTERS, (handover.origin, handover.target), strict=True):
        if travelled is not None:
            _attach(state.connector(side), travelled, state.now)


def _is_settled(connector: ClusterConnector) -> bool:
    """Everything is sent, and nothing but late answers is to come."""
    return not connector.outbox and all(isinstance(value, Owed) for value in connector.special.values())


def _side_of(connector: ClusterConnector) -> SideHandover:
    return SideHandover(connector.keyspace, tuple(connector.special), Kept(*connector.incoming.kept()))


def _attach(connector: ClusterConnector, travelled: SideHandover, now: float) -> None:
    connector.state = SideState.READY
    connector.keyspace = travelled.keyspace
    connector.special.update((stream, OWED) for stream in travelled.owed)
    connector.owed, connector.owed_since = len(travelled.owed), now
    _keep(connector.incoming, travelled.kept)


def _keep(buffer: FrameBuffer, kept: Kept) -> None:
    if kept.needed:
        buffer.keep(kept.start, kept.needed)
