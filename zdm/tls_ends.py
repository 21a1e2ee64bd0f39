"""Which connections are under TLS, and with what: the ends of a process, and what they are set up with.

`TlsSetup` is what an end is to use, and travels to workers; `TlsEnds` are the ends themselves. Which of them there are
is fixed at the start: one that is there and not set up yet lets nothing through, so a connection that is to be under
TLS is never plain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from zdm.core.clusters import Side
from zdm.net.tls import TlsEnd
from zdm.net.tls_files import TlsMaterial, client_context, cluster_context


@dataclass(frozen=True, slots=True)
class TlsSetup:
    """What one end is to use. `is_strict`: names of clusters are checked, certificates of clients are asked for."""

    material: TlsMaterial
    is_strict: bool


@dataclass(frozen=True, slots=True)
class TlsSetups:
    """Of several ends; that of CLIENT is the listener's."""

    by_side: tuple[tuple[Side, TlsSetup], ...]


class TlsEnds:
    """The ends of this process."""

    def __init__(self, sides: Iterable[Side] = ()) -> None:
        self._ends: Final = {side: TlsEnd() for side in sides}
        self._setups: Final[dict[Side, TlsSetup]] = {}

    def of(self, side: Side) -> TlsEnd | None:
        """None where connections of this side are plain."""
        return self._ends.get(side)

    def take(self, setups: TlsSetups) -> None:
        """New connections use these. Raises ssl.SSLError, and then all is as before."""
        changed = {side: setup for side, setup in setups.by_side if self._setups.get(side) != setup}
        contexts = {
            side: (client_context if side is Side.CLIENT else cluster_context)(setup.material, setup.is_strict)
            for side, setup in changed.items()
        }
        for side, context in contexts.items():
            self._ends[side].replace(context)
        self._setups.update(changed)


NO_TLS: Final = TlsEnds()
"""Everything is plain."""
