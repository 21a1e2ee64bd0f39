"""Which answer the client gets (section 5.5).

| origin | target | the client gets |
|---|---|---|
| good | good | PREPARE: origin's; all else: the primary's |
| ERROR | good | origin's ERROR |
| good | ERROR | target's ERROR |
| ERROR | ERROR | origin's ERROR, also where target is primary |

A request that went to one cluster gets that cluster's answer, whatever it is.
"""

from __future__ import annotations

from zdm.core.clusters import ORIGIN_BIT
from zdm.core.pending import PendingRequest
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import ErrorCode
from zdm.protocol.frames import HEADER_LENGTH
from zdm.protocol.opcodes import ERROR


def choose(request: PendingRequest) -> bytes:
    """The answer frame that the client gets, all awaited answers being there."""
    if request.failed:
        return request.origin if request.failed & ORIGIN_BIT else request.target
    return request.origin if request.plan.keep == ORIGIN_BIT else request.target


def error_code(frame: bytes) -> int:
    """The code of an ERROR frame, -1 for any other and for none. Raises RemoteProtocolError where the body is bad."""
    if not frame or frame[4] != ERROR:
        return -1
    start = HEADER_LENGTH if not frame[1] else body_start(frame, HEADER_LENGTH, frame[1], True)
    return int.from_bytes(frame[start : start + 4], "big", signed=True)


def is_unprepared(frame: bytes) -> bool:
    """The cluster has forgotten a prepared statement."""
    return error_code(frame) == ErrorCode.UNPREPARED
