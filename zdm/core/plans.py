"""What is to happen to a request: which clusters get it and whose answer the client sees.

A `Plan` is made once for each kind of request when the configuration is known, and shared by all requests of the
kind: the data path only points at it. Which plan a request has is settled in `routing`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from zdm.core.clusters import BOTH, ORIGIN_BIT, TARGET_BIT, Side

if TYPE_CHECKING:
    from zdm.metrics import Meter, RequestMeter


class Route(Enum):
    """The forward decision, as it is stored with a prepared statement: independent of configuration."""

    WRITE = 0
    READ = 1
    SYSTEM_READ = 2
    TRACE_READ = 3
    SCHEMA = 4
    USE = 5
    INTERCEPTED = 6
    INSIGHTS = 7


class Reaction(Enum):
    """What the proxy itself has to do when a request of the kind is answered well."""

    NONE = 0
    PREPARED = 1
    KEYSPACE = 2
    SCHEMA = 3
    SUPPORTED = 4


class Plan:
    """Forward decision of a request. `keep` is the cluster whose answer the client gets when all answered well."""

    __slots__ = ("awaits", "inspect", "keep", "meter", "reaction", "route", "timeout")

    def __init__(
        self,
        awaits: int,
        keep: int,
        timeout: float,
        meter: RequestMeter | None = None,
        reaction: Reaction = Reaction.NONE,
        route: Route = Route.WRITE,
    ) -> None:
        self.awaits: Final = awaits
        self.keep: Final = keep
        self.timeout: Final = timeout
        """Seconds from arrival until the request expires."""
        self.meter: Final = meter
        self.reaction: Final = reaction
        self.inspect: Final = reaction is not Reaction.NONE
        self.route: Final = route


class Plans:
    """The plans of one configuration (behaviour of the reference, sections 4.1, 4.2 and 5.5)."""

    __slots__ = ("by_route", "options", "prepare", "register_both", "register_origin", "session_both", "session_only")

    def __init__(
        self, primary: Side, system_queries: Side, timeout: float, schema_timeout: float, meter: Meter
    ) -> None:
        reads = {Side.ORIGIN: meter.reads_origin, Side.TARGET: meter.reads_target}
        bits = {Side.ORIGIN: ORIGIN_BIT, Side.TARGET: TARGET_BIT}
        keep = bits[primary]
        read = Plan(keep, keep, timeout, reads[primary], route=Route.READ)
        system = bits[system_queries]
        self.by_route: Final[list[Plan]] = [
            Plan(BOTH, keep, timeout, meter.writes),
            read,
            Plan(system, system, timeout, reads[system_queries], route=Route.SYSTEM_READ),
            read,
            Plan(BOTH, keep, schema_timeout, meter.writes, Reaction.SCHEMA, Route.SCHEMA),
            Plan(BOTH, keep, timeout, meter.writes, Reaction.KEYSPACE, Route.USE),
        ]
        self.prepare: Final = Plan(BOTH, ORIGIN_BIT, timeout, None, Reaction.PREPARED)
        self.options: Final = Plan(ORIGIN_BIT, ORIGIN_BIT, timeout, None, Reaction.SUPPORTED)
        self.register_both: Final = Plan(BOTH, ORIGIN_BIT, timeout)
        self.register_origin: Final = Plan(ORIGIN_BIT, ORIGIN_BIT, timeout)
        self.session_both: Final = Plan(BOTH, keep, timeout)
        self.session_only: Final = {
            Side.ORIGIN: Plan(ORIGIN_BIT, ORIGIN_BIT, timeout),
            Side.TARGET: Plan(TARGET_BIT, TARGET_BIT, timeout),
        }
