"""Prepared statements that clients know.

A client knows a statement by origin's id. Where target gave another one, it is exchanged on the way (section 6.2). The
cache is bounded (FIX-21): an entry that was pushed out merely makes its next EXECUTE answer UNPREPARED, which drivers
mend. Eviction is "second chance": a hit only sets a flag, so that the data path never reorders anything.

Where there are several workers, a client may execute on one what it prepared on another: what one learns it tells the
others, and what it does not know it asks them for (`forwarding`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from zdm.core.plans import FIRST_PLACE, Route
from zdm.core.tables import Name, Tables
from zdm.cql.batch import batch_children
from zdm.cql.functions import Variable
from zdm.cql.statement import StatementKind, classify

DEFAULT_ENTRIES: Final = 100_000

NOT_FOUND: Final = (
    "Prepared query with ID {} not found (either the query was not prepared on this host (maybe the host has been "
    "restarted?) or you have prepared too many queries and it has been evicted from the internal cache)"
)


_ANSWERED_HERE: Final = (Route.INTERCEPTED, Route.INSIGHTS)


class PreparedStatement:
    """What is kept of a statement that both clusters prepared, or that the proxy answers itself.

    `keyspace` is the connection's at the time it was prepared; `write_type` what a WRITE_TIMEOUT about it would name.
    `target_id` is empty where target was off when it was prepared: it is prepared there when it is first needed.
    `text` is what the clusters prepared. Where the proxy has put variables into it, `variables` are all that it has.
    """

    __slots__ = (
        "columns_of_target",
        "exchangeable",
        "index",
        "is_forwarded",
        "is_stamped",
        "keyspace",
        "origin_id",
        "route",
        "target_id",
        "text",
        "used",
        "variables",
        "verbatim",
        "write_type",
    )

    def __init__(
        self,
        origin_id: bytes,
        target_id: bytes,
        text: str,
        keyspace: str | None,
        route: Route,
        write_type: str = "SIMPLE",
        columns_of_target: bool = False,
        variables: tuple[Variable, ...] = (),
        is_stamped: bool = False,
    ) -> None:
        self.origin_id: Final = origin_id
        self.target_id = target_id
        self.text: Final = text
        self.keyspace: Final = keyspace
        self.route: Final = route
        self.write_type: Final = write_type
        self.columns_of_target: Final = columns_of_target
        """The client decodes rows by target's columns, and origin's are others."""
        self.index: int = route.value
        """Where its plan is in `Plans.by_route`."""
        self.variables: Final = variables
        self.is_stamped: Final = is_stamped
        """Its executions get a timestamp where they have none."""
        self.is_forwarded: Final = route not in _ANSWERED_HERE and not variables and not is_stamped
        """An EXECUTE of it is sent as it came, but for the id."""
        self.verbatim = False
        """An EXECUTE of it means the same on both clusters, byte for byte."""
        self.exchangeable = False
        """Target's id can take the place of origin's in a frame without a new header."""
        self.used = False
        self.moved(target_id)

    def moved(self, target_id: bytes) -> None:
        """Target knows the statement by another id now."""
        self.target_id = target_id
        self.verbatim = self.origin_id == target_id and self.is_forwarded
        self.exchangeable = len(self.origin_id) == len(target_id) and self.is_forwarded

    def is_same(self, other: PreparedStatement) -> bool:
        """Both say the same of one statement."""
        return (
            self.origin_id == other.origin_id
            and self.target_id == other.target_id
            and self.text == other.text
            and self.keyspace == other.keyspace
            and self.route is other.route
            and self.write_type == other.write_type
            and self.variables == other.variables
            and self.is_stamped == other.is_stamped
        )

    def __repr__(self) -> str:
        return f"<PreparedStatement {self.origin_id.hex()} {self.route.name} keyspace={self.keyspace}>"


def tables_of(text: str, keyspace: str | None) -> list[Name]:
    """The tables that a write names, on a connection with that keyspace."""
    statement = classify(text)
    written = batch_children(text) if statement.kind is StatementKind.BATCH else [statement]
    return [(one.keyspace or keyspace or "", one.table) for one in written if one.table is not None]


class OtherWorkers(Protocol):
    """Who else has a cache, and is told what this one learns."""

    def made(self, entry: PreparedStatement) -> None:
        """A client has prepared a statement."""

    def forgotten(self, prepared_id: bytes) -> None:
        """The id means nothing any more."""


class PreparedCache:
    """Statements by origin's id, at most `limit` of them."""

    __slots__ = ("_tables", "entries", "fits", "limit", "others")

    def __init__(self, limit: int = DEFAULT_ENTRIES, others: OtherWorkers | None = None) -> None:
        """`others` is None where this cache is the only one; that may change."""
        self.limit: Final = max(1, limit)
        self.others = others
        self.fits: Callable[[PreparedStatement], bool] | None = None
        """Whether a statement that others have learned can be executed as the configuration here asks for."""
        self.entries: Final[dict[bytes, PreparedStatement]] = {}
        self._tables: Tables | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, prepared_id: bytes) -> PreparedStatement | None:
        """The statement, marked as used."""
        entry = self.entries.get(prepared_id)
        if entry is not None:
            entry.used = True
        return entry

    def remove(self, prepared_id: bytes) -> None:
        """Forget a statement: its next EXECUTE is answered UNPREPARED."""
        if self.entries.pop(prepared_id, None) is not None and self.others is not None:
            self.others.forgotten(prepared_id)

    def forget_columns_of_target(self) -> None:
        """Rows come from origin from now on: statements that clients would read wrongly are to be prepared anew."""
        for entry in [entry for entry in self.entries.values() if entry.columns_of_target]:
            del self.entries[entry.origin_id]

    def put(self, entry: PreparedStatement) -> None:
        """Remember a statement; one that was not used for the longest time may go for it."""
        if self.others is not None:
            known = self.entries.get(entry.origin_id)
            if known is None or not known.is_same(entry):  # every new connection of a pool prepares all of them again
                self.others.made(entry)
        self._keep(entry)

    def adopt(self, entry: PreparedStatement) -> None:
        """Remember what another worker has learned; it may know less than is known here.

        A program that was upgraded may have had another configuration: clients then prepare anew.
        """
        if self.fits is not None and not self.fits(entry):
            return
        known = self.entries.get(entry.origin_id)
        if known is None or entry.target_id or known.text != entry.text or known.keyspace != entry.keyspace:
            self._keep(entry)

    def drop(self, prepared_id: bytes) -> None:
        """Another worker has found out that the id means nothing any more."""
        self.entries.pop(prepared_id, None)

    def count_by(self, tables: Tables) -> None:
        """Writes are counted by table from now on."""
        self._tables = tables
        for entry in self.entries.values():
            self._place(entry)

    def _place(self, entry: PreparedStatement) -> None:
        if self._tables is not None and entry.route is Route.WRITE:
            entry.index = FIRST_PLACE + self._tables.place(tables_of(entry.text, entry.keyspace))

    def _keep(self, entry: PreparedStatement) -> None:
        entries = self.entries
        self._place(entry)
        entries.pop(entry.origin_id, None)
        while len(entries) >= self.limit:
            oldest = next(iter(entries.values()))
            del entries[oldest.origin_id]
            if oldest.used:
                oldest.used = False
                entries[oldest.origin_id] = oldest
        entries[entry.origin_id] = entry
