"""What all sessions of a worker share.

`Settings` is the part of the configuration that sessions decide by. A `Snapshot` is one generation of what can change
while the proxy runs (what the control connections found); sessions keep the one they have until they are given a newer
one. `Shared` is the worker's own: the prepared statements and the counters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from zdm.core.amending import Amending
from zdm.core.clusters import Side
from zdm.core.plans import Plans
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.core.target_mode import TargetMode
from zdm.protocol.frames import DEFAULT_MAX_BYTES, SUPPORTED_VERSIONS

if TYPE_CHECKING:
    from zdm.core.credentials import Credentials
    from zdm.core.generating import Generator
    from zdm.core.intercept import SystemTables
    from zdm.core.topology import Endpoint
    from zdm.metrics import Meter

__all__ = ["ClusterFacts", "Settings", "Shared", "Snapshot", "TargetMode"]

MAX_STREAMS: Final = 2048
"""Requests in flight for each cluster connection at most; larger settings have no effect (section 5.2)."""

HIGHEST_STREAM: Final = 32767


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are seconds, sizes bytes. `max_streams_set`: the operator gave a limit, so ids stay below it too."""

    primary: Side = Side.ORIGIN
    system_queries: Side = Side.ORIGIN
    request_timeout: float = 10.0
    schema_timeout: float = 60.0
    answer_timeouts: bool = False
    max_streams: int = MAX_STREAMS
    max_streams_set: bool = False
    forward_client_credentials_to_origin: bool = False
    reattach_target: bool = True
    mend_unprepared: bool = True
    max_frame_bytes: int = DEFAULT_MAX_BYTES
    heartbeat_interval: float = 30.0
    held_bytes: int = 16 * 1024 * 1024
    client_inflight_bytes: int = 16 * 1024 * 1024
    inflight_bytes: int = 256 * 1024 * 1024
    """What all sessions of one worker may have in flight; see `zdm.net.in_flight`."""
    client_stall: float | None = 60.0
    attach_hold: float = 2.0
    target_disable_drain: float = 1.0
    target_park: float = 5.0
    versions: frozenset[int] = frozenset(SUPPORTED_VERSIONS)
    """Protocol versions that clients may use."""
    replaced_functions: frozenset[str] = frozenset()
    """Whose calls become values: keys of `zdm.cql.functions.RESULT_TYPES`."""
    stamp_write_timestamps: bool = False
    copies_reads: bool = False
    """Reads are copied to the secondary."""
    copies_waiting: int = 2048
    """Copies that may wait to be sent, in one session."""
    copies_handshake_timeout: float = 4.0

    @property
    def stream_limit(self) -> int:
        """Requests in flight for each cluster connection."""
        return max(1, min(self.max_streams, MAX_STREAMS))

    @property
    def top_stream(self) -> int:
        """The highest stream id that may be used on a cluster connection."""
        return self.stream_limit - 1 if self.max_streams_set else HIGHEST_STREAM


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the control connection of a cluster found, and the configured credentials.

    `endpoints` are dialled in turn. `known` are those of all hosts that are still part of the cluster; empty where
    hosts are not assigned, so that nothing follows from a host's absence.
    """

    auth_required: bool = True
    version: int = 4
    credentials: Credentials | None = None
    endpoints: tuple[Endpoint, ...] = ()
    known: frozenset[Endpoint] = frozenset()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One generation. `supported` is what clients are told in SUPPORTED; `system_tables` what they are shown."""

    generation: int
    settings: Settings
    origin: ClusterFacts
    target: ClusterFacts
    supported: dict[str, list[str]] = field(default_factory=dict)
    system_tables: SystemTables | None = None
    mode: TargetMode = TargetMode.DUAL

    @property
    def target_enabled(self) -> bool:
        """Target takes part."""
        return self.mode is TargetMode.DUAL

    def facts(self, side: Side) -> ClusterFacts:
        """What is known of the cluster."""
        return self.origin if side is Side.ORIGIN else self.target


class Shared:
    """What the sessions of one worker have in common. `plans` are those of the snapshot's settings.

    `amending` is there where writes are to be changed; that, unlike the rest of the settings, stays as it was at first.
    """

    __slots__ = ("amending", "meter", "plans", "prepared", "snapshot")

    def __init__(
        self, snapshot: Snapshot, meter: Meter, prepared: PreparedCache, generator: Generator | None = None
    ) -> None:
        """Without a `generator` nothing can be put into writes."""
        self.meter: Final = meter
        self.prepared: Final = prepared
        if meter.tables.limit:
            prepared.count_by(meter.tables)
        self.snapshot = snapshot
        self.amending: Final = _amending(snapshot.settings, generator, meter)
        self.plans = _plans(snapshot, meter, self.amending is not None)
        prepared.fits = _has_no_variables if self.amending is None else self.amending.fits

    def replace(self, snapshot: Snapshot) -> None:
        """A new generation, for sessions to come; those that live are told one by one."""
        if snapshot.settings != self.snapshot.settings or snapshot.mode is not self.snapshot.mode:
            self.plans = _plans(snapshot, self.meter, self.amending is not None)
        if not snapshot.target_enabled and self.snapshot.target_enabled:
            self.prepared.forget_columns_of_target()
        self.snapshot = snapshot


def _plans(snapshot: Snapshot, meter: Meter, are_writes_amended: bool) -> Plans:
    settings = snapshot.settings
    times = settings.request_timeout, settings.schema_timeout
    return Plans(settings.primary, settings.system_queries, *times, meter, snapshot.mode, are_writes_amended)


def _amending(settings: Settings, generator: Generator | None, meter: Meter) -> Amending | None:
    functions, stamps = settings.replaced_functions, settings.stamp_write_timestamps
    if generator is None or not (functions or stamps):
        return None
    return Amending(functions, stamps, generator, meter)


def _has_no_variables(entry: PreparedStatement) -> bool:
    """Of the proxy's own, whose values nobody here would add."""
    return not entry.variables
