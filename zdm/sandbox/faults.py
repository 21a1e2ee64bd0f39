"""Faults that a test or a demo asks a cluster for, and what it remembers of the requests it got.

A `Fault` says which requests it meets (by opcode, by a part of the statement's text, by node, at most `count` of them)
and what happens to those: a delay, an ERROR instead of or after the execution, no answer at all, or a cut connection.
What concerns a whole node (stop listening, stop reading) is a call of `node.Node`, not a fault.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from zdm.protocol import opcodes
from zdm.protocol.errors import (
    CAS_WRITE_TYPE,
    AlreadyExists,
    CasWriteUnknown,
    Error,
    ErrorCode,
    FunctionFailure,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    Unprepared,
    WriteFailure,
    WriteTimeout,
)

ACTIONS: Final = ("delay", "error", "drop", "close")
LOG_LIMIT: Final = 10_000
"""Requests remembered per cluster; older ones are forgotten, the counters are not."""


class RequestRecord(NamedTuple):
    """A request as a node saw it; `text` is the statement's, a batch's texts are joined by `; `."""

    node: int
    opcode: int
    stream: int
    text: str


@dataclass(slots=True)
class Fault:
    """What happens to the requests that match.

    `delay_ms` holds the answer back (with any action). `error` comes with `action` error. `executes` says that the
    request is carried out before it is answered by an error, dropped or its connection closed: a write that timed out
    and was applied. `count` None is without end.
    """

    action: str
    text: str | None = None
    opcode: int | None = None
    node: int | None = None
    count: int | None = None
    delay_ms: float = 0
    error: Error | None = None
    executes: bool = False
    id: int = field(default=0, compare=False)

    def matches(self, record: RequestRecord) -> bool:
        if self.count == 0 or self.node not in (None, record.node) or self.opcode not in (None, record.opcode):
            return False
        return self.text is None or self.text.lower() in record.text.lower()


class Faults:
    """The faults in force in one cluster, and its request log."""

    def __init__(self) -> None:
        self.active: dict[int, Fault] = {}
        self.counts: Counter[str] = Counter()
        self.log: deque[RequestRecord] = deque(maxlen=LOG_LIMIT)
        self._last_id = 0

    def add(self, fault: Fault) -> int:
        """Puts a fault in force and returns the number by which it is removed."""
        self._last_id += 1
        fault.id = self._last_id
        self.active[fault.id] = fault
        return fault.id

    def remove(self, number: int | None = None) -> None:
        """Lifts one fault, or all."""
        if number is None:
            self.active.clear()
        else:
            self.active.pop(number, None)

    def record(self, record: RequestRecord) -> list[Fault]:
        """Counts and logs a request; returns the faults that it meets, which are used up by one."""
        self.counts[opcodes.opcode_name(record.opcode)] += 1
        self.log.append(record)
        met = [fault for fault in self.active.values() if fault.matches(record)]
        for fault in met:
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    del self.active[fault.id]
        return met

    def forget_requests(self) -> None:
        """Empties the log and sets the counters to zero."""
        self.counts.clear()
        self.log.clear()


def make_error(code: int, message: str, fields: Mapping[str, object]) -> Error:
    """The ERROR of this code with its fields; those not given are plausible: level ONE, one required, none received."""
    level, required, received = (
        _int(fields, "consistency", 1),
        _int(fields, "required", 1),
        _int(fields, "received", 0),
    )
    write_type = str(fields.get("write_type", "SIMPLE"))
    data_present = bool(fields.get("data_present", False))
    if code == ErrorCode.UNAVAILABLE:
        return Unavailable(message, level, required, _int(fields, "alive", 0))
    if code == ErrorCode.WRITE_TIMEOUT:
        contentions = _int(fields, "contentions", 0) if write_type == CAS_WRITE_TYPE else None
        return WriteTimeout(message, level, received, required, write_type, contentions)
    if code == ErrorCode.READ_TIMEOUT:
        return ReadTimeout(message, level, received, required, data_present)
    if code == ErrorCode.WRITE_FAILURE:
        return WriteFailure(message, level, received, required, _failures(fields), write_type)
    if code == ErrorCode.READ_FAILURE:
        return ReadFailure(message, level, received, required, _failures(fields), data_present)
    if code == ErrorCode.CAS_WRITE_UNKNOWN:
        return CasWriteUnknown(message, level, received, required)
    if code == ErrorCode.FUNCTION_FAILURE:
        return FunctionFailure(message, str(fields.get("keyspace", "")), str(fields.get("function", "")), [])
    if code == ErrorCode.ALREADY_EXISTS:
        return AlreadyExists(message, str(fields.get("keyspace", "")), str(fields.get("table", "")))
    if code == ErrorCode.UNPREPARED:
        return Unprepared(message, bytes.fromhex(str(fields.get("prepared_id", ""))))
    return Error(code, message)


def _failures(fields: Mapping[str, object]) -> dict[str, int]:
    """As many replicas as are said to have failed: v5 names them and their reasons, 0 is an unknown one."""
    return {f"127.0.0.{index + 1}": 0 for index in range(_int(fields, "failures", 1))}


def _int(fields: Mapping[str, object], name: str, default: int) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int):
        raise ValueError(f"{name} must be a number")
    return value


def fault_from_json(wanted: Mapping[str, object]) -> Fault:
    """The fault a control request describes (see `control`). Raises ValueError with what is wrong."""
    action = wanted.get("action")
    if action not in ACTIONS:
        raise ValueError(f"action must be one of {', '.join(ACTIONS)}")
    error: Error | None = None
    if action == "error":
        code = _code(wanted.get("code", "SERVER_ERROR"))
        error = make_error(code, str(wanted.get("message", "Injected by the sandbox")), wanted)
    delay_ms = wanted.get("delay_ms", 0)
    if not isinstance(delay_ms, int | float) or delay_ms < 0:
        raise ValueError("delay_ms must be a number of milliseconds")
    text = wanted.get("text")
    return Fault(
        action=action,
        text=None if text is None else str(text),
        opcode=_opcode(wanted["opcode"]) if "opcode" in wanted else None,
        node=_int(wanted, "node", 0) if "node" in wanted else None,
        count=_int(wanted, "count", 1) if "count" in wanted else None,
        delay_ms=delay_ms,
        error=error,
        executes=bool(wanted.get("executes", False)),
    )


def _code(value: object) -> int:
    """An error code given as a number, as `0x1100`, or by its name."""
    if isinstance(value, int):
        return value
    text = str(value)
    try:
        return int(text, 0) if text[:1].isdigit() else int(ErrorCode[text.upper()])
    except (KeyError, ValueError):
        raise ValueError(f"{text} is no error code") from None


def _opcode(value: object) -> int:
    """An opcode given as a number or by its name."""
    if isinstance(value, int):
        return value
    for opcode in opcodes.REQUESTS:
        if opcodes.opcode_name(opcode) == str(value).upper():
            return opcode
    raise ValueError(f"{value} is no request's opcode")
