"""Moving a session to another process: what has to travel beside the descriptors of its connections.

A session is handed over between two requests: nothing is in flight, nothing is held, and no answer of the proxy's own
(heartbeat, USE, PREPARE) is awaited. Ids whose answers clusters still owe stay quarantined on the other side, and the
start of a frame that is not whole yet goes along; where frames lie in segments, only who is between two frames is
handed over. A target connection that is being opened or given up does not: the
session is attached anew where it goes.
"""

from __future__ import annotations

from typing import NamedTuple

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.connector import OWED, ClusterConnector, Owed, SideState
from zdm.core.credentials import Credentials
from zdm.core.state import Phase, SessionState
from zdm.core.wire import Wire
from zdm.protocol.versions import V5


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
    compression: str = ""
    """The algorithm that all of its connections have agreed on. In v5 all of them have segments."""


def handover_of(state: SessionState) -> Handover | None:
    """What travels of a session; nothing where something is under way."""
    is_idle = not (state.pending or state.outbox or state.commands)
    if state.phase is not Phase.READY or not is_idle or not _is_settled(state.origin):
        return None
    if state.origin.state is not SideState.READY or state.target.state is SideState.PARKED:
        return None
    if not state.incoming.is_between_frames():
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
        Kept(*state.incoming.kept()),
        _side_of(state.origin),
        _side_of(state.target) if goes_along else None,
        state.compression,
    )


def take_over(state: SessionState, handover: Handover) -> None:
    """Make a new session's state what the handed over one's was."""
    state.version, state.keyspace = handover.version, handover.keyspace
    state.startup_body, state.credentials = handover.startup_body, dict(handover.credentials)
    state.compression = handover.compression
    state.phase = Phase.READY
    _go_on(state, state.incoming, state.outbox, handover.kept)
    for side, travelled in zip(CLUSTERS, (handover.origin, handover.target), strict=True):
        if travelled is not None:
            _attach(state, state.connector(side), travelled)


def _is_settled(connector: ClusterConnector) -> bool:
    """Everything is sent, and nothing but late answers is to come."""
    if connector.outbox or not connector.incoming.is_between_frames():
        return False
    return all(isinstance(value, Owed) for value in connector.special.values())


def _side_of(connector: ClusterConnector) -> SideHandover:
    return SideHandover(connector.keyspace, tuple(connector.special), Kept(*connector.incoming.kept()))


def _attach(state: SessionState, connector: ClusterConnector, travelled: SideHandover) -> None:
    connector.state = SideState.READY
    connector.keyspace = travelled.keyspace
    connector.special.update((stream, OWED) for stream in travelled.owed)
    connector.owed, connector.owed_since = len(travelled.owed), state.now
    _go_on(state, connector.incoming, connector.outbox, travelled.kept)


def _go_on(state: SessionState, wire: Wire, outbox: list[bytes], kept: Kept) -> None:
    if state.version >= V5:
        state.begin_segments(wire, outbox, state.snapshot.settings.max_frame_bytes)
    elif kept.needed:
        wire.keep(kept.start, kept.needed)
