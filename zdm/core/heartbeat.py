"""Heartbeats on request connections (section 5.8 of the behaviour specification).

Whatever goes to one cluster only leaves the other's connection idle, where a firewall may forget it. So whenever that
happens and the other's last heartbeat is long enough ago, it gets an OPTIONS of the proxy's own. There is no timer: an
idle client causes none.
"""

from __future__ import annotations

from typing import Final

from zdm.core.clusters import CLUSTERS, Side, other
from zdm.core.connector import ClusterConnector, Internal, SideState, StreamsExhausted
from zdm.core.dispatch import Dispatch
from zdm.core.state import SessionState
from zdm.protocol.opcodes import OPTIONS


class Heartbeat:
    """Keeps one session's cluster connections alive."""

    __slots__ = ("_dispatch", "_state")

    def __init__(self, state: SessionState, dispatch: Dispatch) -> None:
        self._state: Final = state
        self._dispatch: Final = dispatch

    def keep_alive(self, used: int) -> None:
        """Something went to each of the clusters in the set `used` that the other did not get."""
        for side in CLUSTERS:
            connector = self._state.connector(other(side))
            if used & side and connector.state is SideState.READY:
                self._beat(connector)

    def _beat(self, connector: ClusterConnector) -> None:
        state, settings = self._state, self._state.snapshot.settings
        if state.now - connector.last_heartbeat < settings.heartbeat_interval:
            return
        connector.last_heartbeat = state.now
        state.note("debug", f"Sending heartbeat to cluster {connector.side.name}")
        internal = Internal(lambda frame: self._heard(connector.side, frame), state.now + settings.request_timeout)
        try:
            self._dispatch.send_internal(connector.side, OPTIONS, b"", internal)
        except StreamsExhausted:
            state.note("debug", f"No heartbeat to cluster {connector.side.name}: every stream id is in use")

    def _heard(self, side: Side, frame: bytes | None) -> None:
        if frame is not None:
            self._state.note("debug", f"Received internal response from {side.name}")
