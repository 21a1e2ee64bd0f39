"""What is told of the proxy's health: one record for each cluster (behaviour spec 8.1).

Apart from the routes, so that who reports need not import what serves: Klein imports Twisted's reactor.
"""

from __future__ import annotations

from typing import NamedTuple


class ControlHealth(NamedTuple):
    """One cluster as its control connection sees it.

    `address` is the last control endpoint, `host:port` or a host id, kept while disconnected; None if there never was
    one. `failures` are heartbeats failed in a row; the cluster is DOWN from `threshold` on.
    """

    address: str | None
    failures: int
    threshold: int

    @property
    def status(self) -> str:
        return "UP" if self.address is not None and self.failures < self.threshold else "DOWN"


class Health(NamedTuple):
    """Both clusters of a proxy that is running."""

    origin: ControlHealth
    target: ControlHealth
    target_required: bool = True
    """False while the target is switched off, and until it was asked after that: then it is told of, and readiness does
    not depend on it."""
