"""What the supervisor gives to workers, as bytes: their settings, certificates, and generations.

Pickled, because a generation holds the rows of two clusters' system tables in a dozen kinds of immutable values, and
both ends are the same program over a pair of sockets that nobody else has. It goes this way only: a worker reads what
strangers send, so nothing that comes from one is ever unpickled (`counters`, `statements`).
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from zdm.core.clusters import Side
from zdm.core.snapshot import Snapshot
from zdm.meters import DEFAULT_BOUNDS
from zdm.net.transport import SocketOptions
from zdm.tls_ends import TlsSetups


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is to be. Times are seconds; `workers` is how many there are, `number` counts from 1.

    `secured` are the sides whose connections are under TLS, `most_clients` is how many clients all may have.
    """

    number: int
    workers: int
    origin_timeout: float
    target_timeout: float
    origin_bounds: tuple[float, ...]
    target_bounds: tuple[float, ...]
    prepared_entries: int
    log_level: str
    log_format: str
    options: SocketOptions
    async_bounds: tuple[float, ...] = tuple(DEFAULT_BOUNDS)
    copies_to: Side | None = None
    max_tables: int = 0
    secured: tuple[Side, ...] = ()
    most_clients: int = 1000


class _Pickler(pickle.Pickler):
    """Takes dataclasses apart by their fields, however they are built."""

    def reducer_override(self, value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, field.name) for field in fields(value))
        return NotImplemented


def packed(value: Snapshot | WorkerSettings | TlsSetups) -> bytes:
    """As bytes."""
    written = io.BytesIO()
    _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(value)
    return written.getvalue()


def unpacked_snapshot(data: bytes) -> Snapshot:
    """What `packed` was given."""
    found = pickle.loads(data)
    assert isinstance(found, Snapshot)
    return found


def unpacked_setups(data: bytes) -> TlsSetups:
    """What `packed` was given."""
    found = pickle.loads(data)
    assert isinstance(found, TlsSetups)
    return found


def unpacked_settings(data: bytes) -> WorkerSettings:
    """What `packed` was given."""
    found = pickle.loads(data)
    assert isinstance(found, WorkerSettings)
    return found
