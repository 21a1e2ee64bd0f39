"""Where a request goes: the forward decision (sections 4.1 and 4.2), and the answers the proxy gives by itself.

Statements are told apart by their text alone (zdm.cql); an EXECUTE has the decision of its PREPARE. A SELECT goes to
one cluster, everything else to both; system.local and system.peers are answered by the proxy, so that drivers see
proxies instead of hosts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from zdm.core.answers import unknown_statement
from zdm.core.clusters import Side
from zdm.core.connector import SideState
from zdm.core.credentials import authentication_rule
from zdm.core.intercept import INTERCEPTED_TABLES, Answer
from zdm.core.named_keyspace import named_keyspace
from zdm.core.plans import FIRST_PLACE, Plan, Route
from zdm.core.prepared import PreparedStatement, tables_of
from zdm.core.rewriting import id_spans
from zdm.core.state import SessionState
from zdm.core.tables import Name
from zdm.cql.statement import Statement, StatementKind, classify
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import (
    AUTH_RESPONSE,
    BATCH,
    ERROR,
    EXECUTE,
    OPTIONS,
    PREPARE,
    QUERY,
    REGISTER,
    RESULT,
    STARTUP,
)
from zdm.protocol.primitives import Reader
from zdm.protocol.requests import Batch, decode_request
from zdm.protocol.responses import Void


def route_of(statement: Statement, current_keyspace: str | None) -> Route:
    """The forward decision of a statement on a connection whose keyspace is `current_keyspace`."""
    if statement.kind is not StatementKind.SELECT:
        return _ROUTES.get(statement.kind, Route.WRITE) if not statement.calls_insights else Route.INSIGHTS
    keyspace = statement.keyspace or current_keyspace
    if keyspace is None or not keyspace.startswith(("system", "dse_")):
        return Route.READ
    if keyspace == "system":
        return Route.INTERCEPTED if statement.table in INTERCEPTED_TABLES else Route.SYSTEM_READ
    if keyspace == "system_traces":
        return Route.TRACE_READ  # the tracing id a client has came from the primary
    return Route.SYSTEM_READ if keyspace.startswith(("system_", "dse_")) else Route.READ


_WRITE: Final[int] = Route.WRITE.value
_ROUTES: Final = {
    StatementKind.USE: Route.USE,
    StatementKind.SCHEMA: Route.SCHEMA,
    StatementKind.TRUNCATE: Route.SCHEMA,
}


class Unknown(NamedTuple):
    """Nothing can be said of a request before other workers were asked for its prepared ids."""

    prepared_ids: tuple[bytes, ...]


class Routing:
    """Plans one session's requests."""

    __slots__ = ("_state",)

    def __init__(self, state: SessionState) -> None:
        self._state: Final = state

    def plan(self, frame: bytes) -> Plan | Answer | Unknown:
        """What is to happen to a request frame. Raises RemoteProtocolError where its body is bad."""
        opcode = frame[4]
        plans = self._state.shared.plans
        if opcode in (QUERY, PREPARE):
            position = HEADER_LENGTH if not frame[1] else body_start(frame, HEADER_LENGTH, frame[1], False)
            text = Reader(frame, position).long_string()
            keyspace = named_keyspace(frame) or self._state.keyspace
            return self._query(text, keyspace) if opcode == QUERY else self._prepare(text, keyspace)
        if opcode in (EXECUTE, BATCH):
            return self._prepared(frame)
        if opcode == OPTIONS:
            return plans.options
        if opcode == REGISTER:
            ready = self._state.target.state is SideState.READY
            return plans.register_both if ready else plans.register_origin
        if opcode == AUTH_RESPONSE:
            return self._authentication()
        if opcode == STARTUP:
            return plans.session_both
        raise RemoteProtocolError(f"opcode {opcode} is no request")

    def index(self, text: str, keyspace: str | None) -> int:
        """The number by which a QUERY's text has its plan in `Plans.by_route`; -1: the proxy answers it itself."""
        statement = classify(text)
        index: int = route_of(statement, keyspace).value
        if index >= FIRST_PLACE:
            return -1
        if index == _WRITE and self._state.shared.meter.tables.limit:
            return FIRST_PLACE + self._state.shared.meter.tables.place(tables_of(text, keyspace))
        return index

    def short_index(self, text: str, keyspace: str | None) -> int:
        """The same for the data path; -1 also where the text may have to be changed."""
        amending = self._state.shared.amending
        return -1 if amending is not None and amending.may_change(text) else self.index(text, keyspace)

    def _auth_primary(self) -> Side:
        snapshot = self._state.snapshot
        forward = snapshot.settings.forward_client_credentials_to_origin
        return authentication_rule(snapshot.origin.auth_required, snapshot.target.auth_required, forward).auth_primary

    def _authentication(self) -> Plan:
        side = self._auth_primary()
        if side is Side.TARGET and not self._state.snapshot.target_enabled:
            raise RemoteProtocolError("AUTH_RESPONSE is for TARGET, which is switched off")
        return self._state.shared.plans.session_only[side]

    def _query(self, text: str, keyspace: str | None) -> Plan | Answer:
        statement = classify(text)
        route = route_of(statement, keyspace)
        if route is Route.INTERCEPTED:
            return self._intercepted(text, statement) or self._system_plan()
        if route is Route.INSIGHTS:
            return Answer(RESULT, Void().encode(self._state.version))
        return self._state.shared.plans.by_route[self.index(text, keyspace)]

    def _prepare(self, text: str, keyspace: str | None) -> Plan | Answer:
        statement = classify(text)
        route = route_of(statement, keyspace)
        if route is Route.INTERCEPTED:
            answer = self._intercept_prepare(text, statement, keyspace)
            return answer or self._state.shared.plans.prepare
        if route is Route.INSIGHTS:
            error = Error(ErrorCode.INVALID, "CALL of Insights is answered by the proxy and can't be prepared")
            return Answer(ERROR, error.encode(self._state.version))
        return self._state.shared.plans.prepare

    def _system_plan(self) -> Plan:
        return self._state.shared.plans.by_route[Route.SYSTEM_READ.value]

    def _intercepted(self, text: str, statement: Statement) -> Answer | None:
        tables = self._state.snapshot.system_tables
        if tables is None or statement.table is None:
            return None
        return tables.query(text, statement.table, self._state.local_address, self._state.version)

    def _intercept_prepare(self, text: str, statement: Statement, keyspace: str | None) -> Answer | None:
        tables = self._state.snapshot.system_tables
        if tables is None or statement.table is None:
            return None
        answer = tables.prepare(text, keyspace or "", statement.table, self._state.local_address, self._state.version)
        if answer is not None and answer.opcode == RESULT:
            self._remember_intercepted(answer.body, text, keyspace)
        return answer

    def _remember_intercepted(self, body: bytes, text: str, keyspace: str | None) -> None:
        prepared_id = Reader(body, 4).short_bytes()
        entry = PreparedStatement(prepared_id, prepared_id, text, keyspace, Route.INTERCEPTED)
        self._state.shared.prepared.put(entry)

    def _prepared(self, frame: bytes) -> Plan | Answer | Unknown:
        entry: PreparedStatement | None = None
        prepared = self._state.shared.prepared
        unknown: list[bytes] = []
        for _, prepared_id in id_spans(frame):
            entry = prepared.get(prepared_id)
            if entry is None:
                unknown.append(prepared_id)
        if unknown:
            return self.unprepared(unknown[0]) if prepared.others is None else Unknown(tuple(dict.fromkeys(unknown)))
        by_route = self._state.shared.plans.by_route
        if frame[4] == BATCH:
            return by_route[_WRITE if not self._state.shared.meter.tables.limit else self._place_of_batch(frame)]
        assert entry is not None
        if entry.route is Route.INTERCEPTED:
            return self._intercepted(entry.text, classify(entry.text)) or self._system_plan()
        if entry.route is Route.INSIGHTS:
            return Answer(RESULT, Void().encode(self._state.version))
        return by_route[entry.index]

    def _place_of_batch(self, frame: bytes) -> int:
        state = self._state
        position = body_start(frame, HEADER_LENGTH, frame[1], False)
        names: list[Name] = []
        try:
            batch = decode_request(BATCH, state.version, frame, position)
        except RemoteProtocolError:
            return FIRST_PLACE  # it is for the clusters to refuse it
        assert isinstance(batch, Batch)
        for child in batch.children:
            if isinstance(child.statement, str):
                names += tables_of(child.statement, state.keyspace)
            else:
                entry = state.shared.prepared.entries[child.statement]
                names += tables_of(entry.text, entry.keyspace)
        return FIRST_PLACE + state.shared.meter.tables.place(names)

    def unprepared(self, prepared_id: bytes) -> Answer:
        """UNPREPARED made by the proxy: it does not know the id (section 6.2)."""
        self._state.shared.meter.pscache_misses += 1
        return Answer(ERROR, unknown_statement(prepared_id).encode(self._state.version))
