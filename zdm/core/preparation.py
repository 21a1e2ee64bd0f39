"""What is learned when the clusters that were asked have prepared a statement (section 6.1).

The client gets origin's id and origin's bind variables. The columns that a client with SKIP_METADATA decodes rows by
must be those of the cluster its rows come from: where they differ, they are that cluster's. Where rows come from target
whenever that takes part, a statement whose columns the client has from origin is therefore left without target's id:
its next EXECUTE that needs target has the client prepare anew.

In v5 the columns have an id of their own, which goes along with each EXECUTE as the client has it. A cluster to which
it means something else sends its columns and their id with the rows; so ids are never exchanged, or a client would
decode by columns of which it has never heard.
Variables that the proxy has put in place of calls are not shown to the client.
"""

from __future__ import annotations

from zdm.core.amending import laid_out, misfit
from zdm.core.clusters import TARGET_BIT
from zdm.core.named_keyspace import named_keyspace
from zdm.core.pending import PendingPrepare, PendingRequest
from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement
from zdm.core.routing import route_of
from zdm.core.state import SessionState
from zdm.cql.functions import Variable
from zdm.cql.statement import classify
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, RESPONSE_BIT, encode_frame, with_body
from zdm.protocol.metadata import BindMetadata
from zdm.protocol.opcodes import ERROR, RESULT
from zdm.protocol.primitives import Reader
from zdm.protocol.responses import Prepared, decode_response


def learn(state: SessionState, request: PendingRequest) -> bytes:
    """Remember the statement; the answer for the client."""
    try:
        origin = _decode(request.origin, state.version)
        target = _decode(request.target, state.version) if request.plan.awaits & TARGET_BIT else None
    except RemoteProtocolError as fault:
        message = f"a cluster's answer to PREPARE cannot be read: {fault.message}"
        return _error(state, request, ErrorCode.SERVER_ERROR, message)
    variables = request.variables if isinstance(request, PendingPrepare) else ()
    if variables:
        laid = laid_out(variables, origin.bind.columns)
        reason = _misfit(variables, laid, origin, target)
        if reason or laid is None:
            return _error(state, request, ErrorCode.INVALID, reason)
        variables = laid
    text = _text(request)
    keyspace = named_keyspace(request.frame()) or state.keyspace
    statement = classify(text)
    route = route_of(statement, keyspace)
    if route in (Route.INTERCEPTED, Route.INSIGHTS):
        route = Route.SYSTEM_READ  # asked in a way that the proxy leaves to the cluster
    plans = state.shared.plans
    is_alike = plans.dual_keeps[route.value] != TARGET_BIT or target is not None and _is_alike(origin, target)
    is_merged = not is_alike and target is not None and plans.by_route[route.value].keep == TARGET_BIT
    target_id = b""
    if is_alike or is_merged:
        target_id = target.prepared_id if target is not None else _known_id(state, origin, text, keyspace)
    amending = state.shared.amending
    entry = PreparedStatement(
        origin.prepared_id,
        target_id,
        text,
        keyspace,
        route,
        statement.write_type,
        is_merged,
        variables,
        amending is not None and amending.stamps(text, origin.bind.columns),
    )
    state.shared.prepared.put(entry)
    if not is_merged and not variables:
        return request.origin
    start = body_start(request.origin, HEADER_LENGTH, request.origin[1], True)
    bind = hidden(origin.bind, variables) if variables else origin.bind
    shown = target if target is not None and is_merged else origin
    merged = Prepared(origin.prepared_id, bind, shown.result, shown.result_metadata_id)
    return with_body(request.origin, request.origin[HEADER_LENGTH:start] + merged.encode(state.version))


def hidden(bind: BindMetadata, variables: tuple[Variable, ...]) -> BindMetadata:
    """What the client would see had its calls stayed calls (FIX-22): its own variables.

    Variables of which one of the partition key is missing do not make up the key, so there are no indexes then.
    """
    shown = [index for index, variable in enumerate(variables) if not variable.function]
    is_whole = all(index in shown for index in bind.pk_indexes)
    key = [shown.index(index) for index in bind.pk_indexes] if is_whole else []
    return BindMetadata([bind.columns[index] for index in shown], key, bind.global_spec)


def _misfit(
    variables: tuple[Variable, ...], laid: tuple[Variable, ...] | None, origin: Prepared, target: Prepared | None
) -> str:
    """Why the statement can't be prepared with variables in place of its calls; empty where it can."""
    theirs = laid if target is None else laid_out(variables, target.bind.columns)
    if laid is None or theirs is None or [one.function for one in laid] != [one.function for one in theirs]:
        return "a cluster has other variables for the statement than its text has"
    return misfit(laid, origin.bind.columns) or ("" if target is None else misfit(theirs, target.bind.columns))


def _error(state: SessionState, request: PendingRequest, code: ErrorCode, message: str) -> bytes:
    error = Error(code, message)
    return encode_frame(state.version | RESPONSE_BIT, request.stream, ERROR, error.encode(state.version))


def _is_alike(origin: Prepared, target: Prepared) -> bool:
    """Who decodes rows by one decodes rows of the other well."""
    return origin.result == target.result and origin.result_metadata_id == target.result_metadata_id


def _known_id(state: SessionState, origin: Prepared, text: str, keyspace: str | None) -> bytes:
    """Target's id of a statement that was prepared there before; empty where it was not."""
    entry = state.shared.prepared.entries.get(origin.prepared_id)
    return entry.target_id if entry is not None and entry.text == text and entry.keyspace == keyspace else b""


def _decode(frame: bytes, version: int) -> Prepared:
    answer = decode_response(frame[4], version, frame, body_start(frame, HEADER_LENGTH, frame[1], True))
    if frame[4] != RESULT or not isinstance(answer, Prepared):
        raise RemoteProtocolError(f"it is {type(answer).__name__}, not Prepared")
    return answer


def _text(request: PendingRequest) -> str:
    frame = request.frame()
    return Reader(frame, body_start(frame, HEADER_LENGTH, frame[1], False)).long_string()
