"""What is to happen to a request: which clusters get it and whose answer the client sees.

A `Plan` is made once for each kind of request when the configuration is known, and shared by all requests of the
kind: the data path only points at it. Which plan a request has is settled in `routing`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from zdm.core.clusters import BOTH, ORIGIN_BIT, TARGET_BIT, Side
from zdm.core.tables import Place
from zdm.core.target_mode import TargetMode

if TYPE_CHECKING:
    from zdm.meters import RequestMeter
    from zdm.metrics import Meter


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


_WRITE_WORDS: Final = frozenset((b"INSERT ", b"UPDATE ", b"DELETE ", b"insert ", b"update ", b"delete "))
"""Statements that begin so are writes, whatever follows (FIX-15)."""

FIRST_PLACE: Final = len(Route) - 2
"""Where the plans of single tables begin in `Plans.by_route`: those that the proxy answers itself have none."""

READS: Final = frozenset((Route.READ, Route.SYSTEM_READ, Route.TRACE_READ))


class Plan:
    """Forward decision of a request. `keep` is the cluster whose answer the client gets when all answered well.

    A plan that needs target knows its stand-ins, which need origin alone: `while_disabled` and `while_attaching` for a
    request that was not sent yet, `abandoned` for one that was, and whose answer from target nobody waits for any more.
    Of every other plan they are the plan itself, and so they are of what is meant for target's ears only.
    """

    __slots__ = (
        "abandoned",
        "awaits",
        "inspect",
        "is_abandoned",
        "is_read",
        "keep",
        "keeps",
        "meter",
        "reaction",
        "route",
        "tables",
        "timeout",
        "while_attaching",
        "while_disabled",
    )

    def __init__(
        self,
        awaits: int,
        keep: int,
        timeout: float,
        meter: RequestMeter | None = None,
        reaction: Reaction = Reaction.NONE,
        route: Route = Route.WRITE,
        is_abandoned: bool = False,
        tables: Place | None = None,
    ) -> None:
        self.awaits: Final = awaits
        self.keep: Final = keep
        self.keeps: Final = ORIGIN_BIT if keep == ORIGIN_BIT else BOTH
        """The answers to keep: origin's is needed in any case where target is abandoned."""
        self.timeout: Final = timeout
        """Seconds from arrival until the request expires."""
        self.meter: Final = meter
        self.reaction: Final = reaction
        self.inspect: Final = reaction is not Reaction.NONE
        self.route: Final = route
        self.is_read: Final = route in READS
        """It changes nothing, so it may be sent again."""
        self.is_abandoned: Final = is_abandoned
        """Target was sent the request too, and may have executed it."""
        self.tables: Final = tables
        """Where it is counted by table."""
        self.while_disabled = self
        self.while_attaching = self
        self.abandoned = self

    def with_stand_ins(self, meter: Meter) -> Plan:
        """The same plan, which knows what takes its place while target takes no part."""
        if self.awaits == BOTH or self.awaits & TARGET_BIT and self.is_read:
            disabled, attaching = (
                (meter.reads_disabled, meter.reads_attaching)
                if self.is_read
                else (meter.writes_disabled, meter.writes_attaching)
            )
            self.while_disabled = self._at_origin(disabled)
            self.while_attaching = self._at_origin(attaching)
            self.abandoned = self._at_origin(self.meter, is_abandoned=True)
        return self

    def _at_origin(self, meter: RequestMeter | None, is_abandoned: bool = False) -> Plan:
        counted = meter if self.meter is not None else None
        return Plan(ORIGIN_BIT, ORIGIN_BIT, self.timeout, counted, self.reaction, self.route, is_abandoned, self.tables)


class Plans:
    """The plans of one configuration and mode (behaviour of the reference, sections 4.1, 4.2 and 5.5)."""

    __slots__ = (
        "by_route",
        "dual_keeps",
        "lookup",
        "needs",
        "options",
        "prepare",
        "register_both",
        "register_origin",
        "session_both",
        "session_only",
        "write_words",
    )

    def __init__(
        self,
        primary: Side,
        system_queries: Side,
        timeout: float,
        schema_timeout: float,
        meter: Meter,
        mode: TargetMode = TargetMode.DUAL,
        are_writes_amended: bool = False,
    ) -> None:
        def in_force(plan: Plan) -> Plan:
            known = plan.with_stand_ins(meter)
            return known if mode is TargetMode.DUAL else known.while_disabled

        self.needs: Final = BOTH if mode is TargetMode.DUAL else ORIGIN_BIT
        """The clusters that any plan may need."""
        reads = {Side.ORIGIN: meter.reads_origin, Side.TARGET: meter.reads_target}
        bits = {Side.ORIGIN: ORIGIN_BIT, Side.TARGET: TARGET_BIT}
        keep = bits[primary]
        read = in_force(Plan(keep, keep, timeout, reads[primary], route=Route.READ))
        system = bits[system_queries]
        self.dual_keeps: Final = [keep, keep, system, keep, keep, keep]
        """By route, the cluster whose answer the client gets while target takes part."""
        self.by_route: Final[list[Plan]] = [
            in_force(Plan(BOTH, keep, timeout, meter.writes)),
            read,
            in_force(Plan(system, system, timeout, reads[system_queries], route=Route.SYSTEM_READ)),
            in_force(Plan(keep, keep, timeout, reads[primary], route=Route.TRACE_READ)),
            in_force(Plan(BOTH, keep, schema_timeout, meter.writes, Reaction.SCHEMA, Route.SCHEMA)),
            in_force(Plan(BOTH, keep, timeout, meter.writes, Reaction.KEYSPACE, Route.USE)),
        ]
        places = meter.tables.places
        self.by_route.extend(in_force(Plan(BOTH, keep, timeout, meter.writes, tables=place)) for place in places)
        self.write_words: Final[frozenset[bytes]] = frozenset() if places or are_writes_amended else _WRITE_WORDS
        """Texts that begin so need not be looked at any further."""
        self.prepare: Final = in_force(Plan(BOTH, ORIGIN_BIT, timeout, None, Reaction.PREPARED))
        self.lookup: Final = Plan(0, ORIGIN_BIT, timeout)
        """Of a request that is planned once its statements are found: it needs no cluster until then."""
        self.options: Final = Plan(ORIGIN_BIT, ORIGIN_BIT, timeout, None, Reaction.SUPPORTED)
        self.register_both: Final = in_force(Plan(BOTH, ORIGIN_BIT, timeout))
        self.register_origin: Final = Plan(ORIGIN_BIT, ORIGIN_BIT, timeout)
        self.session_both: Final = in_force(Plan(BOTH, keep, timeout))
        self.session_only: Final = {
            Side.ORIGIN: Plan(ORIGIN_BIT, ORIGIN_BIT, timeout),
            Side.TARGET: in_force(Plan(TARGET_BIT, TARGET_BIT, timeout)),
        }
