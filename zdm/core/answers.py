"""The errors that the proxy makes itself, and when each may be used.

| what happened to the request | answer |
|---|---|
| it was sent to no cluster | OVERLOADED: drivers retry it on the next host, whatever the statement |
| it may have been applied: a write | WRITE_TIMEOUT with the write type that Cassandra would name |
| it may have been applied: a read | READ_TIMEOUT |
| a schema change, or anything without a write type | SERVER_ERROR |
| applied on one cluster, impossible on the other | WRITE_FAILURE (v3, which lacks it: WRITE_TIMEOUT) |
| its bytes have no meaning | PROTOCOL_ERROR |

OVERLOADED, SERVER_ERROR and IS_BOOTSTRAPPING make drivers send a request again by themselves; SERVER_ERROR is therefore
left to what may safely happen twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zdm.core.plans import Route
from zdm.core.prepared import NOT_FOUND
from zdm.cql.statement import classify
from zdm.protocol.consistency import Consistency
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import CAS_WRITE_TYPE, Error, ErrorCode, ReadTimeout, Unprepared, WriteFailure, WriteTimeout
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import BATCH, EXECUTE, PREPARE, QUERY
from zdm.protocol.requests import Batch, Execute, Query, decode_request
from zdm.protocol.versions import V4, V5

if TYPE_CHECKING:
    from zdm.core.pending import PendingRequest
    from zdm.core.prepared import PreparedCache

_NOBODY: Final = "0.0.0.0"
"""v5 names the replicas that failed. It was a whole cluster, of which the client knows no host."""

NOT_EXECUTED: Final = frozenset(
    (
        ErrorCode.PROTOCOL_ERROR,
        ErrorCode.AUTHENTICATION_ERROR,
        ErrorCode.UNAVAILABLE,
        ErrorCode.OVERLOADED,
        ErrorCode.IS_BOOTSTRAPPING,
        ErrorCode.SYNTAX_ERROR,
        ErrorCode.UNAUTHORIZED,
        ErrorCode.INVALID,
        ErrorCode.CONFIG_ERROR,
        ErrorCode.ALREADY_EXISTS,
        ErrorCode.UNPREPARED,
    )
)
"""What a cluster answers to a request of which it has executed nothing."""

_LONGEST_NAMED_ID: Final = 256  # bytes: an ERROR's message holds 65,535, and a made-up id may be as long
_BATCH_WRITE_TYPES: Final = ("BATCH", "UNLOGGED_BATCH", "COUNTER")


def overloaded(message: str) -> Error:
    """For a request that was sent nowhere."""
    return Error(ErrorCode.OVERLOADED, message)


def unknown_statement(prepared_id: bytes) -> Error:
    """For an EXECUTE or BATCH of a prepared id that the proxy does not know (section 6.2)."""
    return Unprepared(NOT_FOUND.format(prepared_id[:_LONGEST_NAMED_ID].hex()), prepared_id)


def possibly_applied(request: PendingRequest, version: int, prepared: PreparedCache, reason: str) -> Error:
    """For a request that was sent and will not be answered in full."""
    opcode = request.chunk[request.start + 4]
    if opcode == PREPARE:
        return overloaded(reason)  # preparing twice does no harm
    if opcode not in (QUERY, EXECUTE, BATCH) or request.plan.route in (Route.SCHEMA, Route.USE):
        return Error(ErrorCode.SERVER_ERROR, reason)
    consistency, write_type = _description(request, version, prepared)
    if request.plan.route in (Route.READ, Route.SYSTEM_READ, Route.TRACE_READ):
        return ReadTimeout(reason, consistency, received=0, required=1, data_present=False)
    return WriteTimeout(reason, consistency, received=0, required=1, write_type=write_type)


def applied_on_one_side(request: PendingRequest, version: int, prepared: PreparedCache, reason: str) -> Error:
    """For a write that one cluster may have applied and the other certainly did not."""
    consistency, write_type = _description(request, version, prepared)
    if version < V4:
        return WriteTimeout(reason, consistency, received=0, required=1, write_type=write_type)
    failures = {_NOBODY: 0} if version >= V5 else 1
    return WriteFailure(reason, consistency, received=0, required=1, failures=failures, write_type=write_type)


def _description(request: PendingRequest, version: int, prepared: PreparedCache) -> tuple[int, str]:
    """Consistency and write type of a QUERY, EXECUTE or BATCH; the usual ones where its body cannot be read."""
    frame = request.frame()
    try:
        start = body_start(frame, HEADER_LENGTH, frame[1], False)
        decoded = decode_request(frame[4], version, frame, start)
    except RemoteProtocolError:
        return Consistency.ONE, "SIMPLE"
    if isinstance(decoded, Batch):
        return decoded.consistency, _batch_write_type(decoded, prepared)
    if isinstance(decoded, Execute):
        entry = prepared.get(decoded.prepared_id)
        return decoded.parameters.consistency, entry.write_type if entry else "SIMPLE"
    if isinstance(decoded, Query):
        return decoded.parameters.consistency, classify(decoded.text).write_type
    return Consistency.ONE, "SIMPLE"


def _batch_write_type(batch: Batch, prepared: PreparedCache) -> str:
    for child in batch.children:
        if isinstance(child.statement, str):
            write_type = classify(child.statement).write_type
        else:
            entry = prepared.get(child.statement)
            write_type = entry.write_type if entry else ""
        if write_type == CAS_WRITE_TYPE:
            return write_type  # one condition makes the whole batch conditional
    return _BATCH_WRITE_TYPES[batch.kind] if batch.kind < len(_BATCH_WRITE_TYPES) else "BATCH"
