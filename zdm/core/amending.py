"""What the proxy changes in writes, so that both clusters store the same.

Calls such as now() become values, or variables of a prepared statement whose values the proxy adds at each execution
(section 6.4). Writes that came without a timestamp are given one. Both happen once, before a request is sent or held:
from there on its frame is what both clusters get, however often it is sent.

A worker whose configuration asks for neither has no `Amending`. Where it has one, requests that may have to be changed
leave the data path, and the others do not: of a prepared statement that is known from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zdm.core.generating import Generator
from zdm.core.parameters import MOST_VALUES, Parameters, encoded_value
from zdm.core.pending import PendingPrepare, PendingRequest, received
from zdm.core.plans import Plan, Route
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.core.rewriting import prepared_id_at
from zdm.cql.functions import RESULT_TYPES, WRITES, Call, Variable, calls, with_values, with_variables
from zdm.cql.statement import classify
from zdm.cql.timestamps import takes_timestamp
from zdm.protocol.envelope import body_start
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import HEADER_LENGTH, with_body
from zdm.protocol.opcodes import BATCH, EXECUTE, PREPARE, QUERY
from zdm.protocol.primitives import Reader, encode_bytes, encode_long_string, encode_short
from zdm.protocol.requests import CHILD_PREPARED, CHILD_TEXT, COUNTER
from zdm.protocol.types import BIGINT, BLOB, DATE, TIME, TIMESTAMP, TIMEUUID, UUID, VARINT, CqlType
from zdm.protocol.types import COUNTER as COUNTER_TYPE
from zdm.protocol.versions import V5

if TYPE_CHECKING:
    from zdm.metrics import Meter
    from zdm.protocol.metadata import ColumnSpec

_TAKEN_BY: Final[dict[str, tuple[CqlType, ...]]] = {
    "timeuuid": (TIMEUUID, UUID, BLOB),
    "uuid": (UUID, BLOB),
    "timestamp": (TIMESTAMP, BIGINT, VARINT, BLOB),
    "date": (DATE, BLOB),
    "time": (TIME, BLOB),
}
"""Columns that Cassandra lets a function's result be assigned to; its bytes are the same in all of them."""


class Amending:
    """Changes one worker's requests."""

    __slots__ = ("_functions", "_generator", "_meter", "_stamps")

    def __init__(self, functions: frozenset[str], stamps: bool, generator: Generator, meter: Meter) -> None:
        """`functions` are keys of `RESULT_TYPES`; `stamps`: writes without a timestamp are to get one."""
        self._functions: Final = functions
        self._stamps: Final = stamps
        self._generator: Final = generator
        self._meter: Final = meter

    def may_change(self, text: str) -> bool:
        """A QUERY of this text has to be looked at."""
        is_write = classify(text).kind in WRITES
        return is_write and (self._stamps or bool(calls(text, self._functions)))

    def request(
        self, stream: int, plan: Plan, now: float, frame: bytes, packed: bytes, version: int, prepared: PreparedCache
    ) -> PendingRequest:
        """The request as the clusters are to get it. Raises RemoteProtocolError where its body is bad.

        `packed` is the frame as it came, where that was compressed; what is changed leaves open.
        """
        opcode = frame[4]
        if plan.route is Route.WRITE and opcode in (QUERY, EXECUTE, BATCH, PREPARE):
            position = body_start(frame, HEADER_LENGTH, frame[1], False)
            if opcode == PREPARE:
                return self._prepare(stream, plan, now, frame, packed, position)
            if opcode == QUERY:
                body = self._query(frame, position, version)
            elif opcode == EXECUTE:
                body = self._execute(frame, position, version, prepared)
            else:
                body = self._batch(frame, position, version, prepared)
            if body:
                frame, packed = with_body(frame, frame[HEADER_LENGTH:position] + body), b""
        return received(stream, plan, now, frame, packed)

    def fits(self, entry: PreparedStatement) -> bool:
        """Its calls were replaced, as far as they are to be and no further."""
        replaced = {variable.function for variable in entry.variables if variable.function}
        return replaced <= self._functions and with_variables(entry.text, calls(entry.text, self._functions)) is None

    def stamps(self, text: str, variables: list[ColumnSpec]) -> bool:
        """Executions of a statement that was prepared are to be given timestamps."""
        is_counter = any(column.type == COUNTER_TYPE for column in variables)
        return self._stamps and not is_counter and takes_timestamp(text, classify(text))

    def _prepare(
        self, stream: int, plan: Plan, now: float, frame: bytes, packed: bytes, position: int
    ) -> PendingRequest:
        reader = Reader(frame, position)
        text = reader.long_string()
        marked = with_variables(text, calls(text, self._functions)) if self._functions else None
        if marked is None:
            return received(stream, plan, now, frame, packed)
        rest = frame[reader.position :]
        frame = with_body(frame, frame[HEADER_LENGTH:position] + encode_long_string(marked.text) + rest)
        return PendingPrepare(stream, plan, now, frame, marked.variables)

    def _query(self, frame: bytes, position: int, version: int) -> bytes:
        """The changed body; empty where nothing is to be changed."""
        reader = Reader(frame, position)
        text = reader.long_string()
        changed = self._with_values(text)
        is_stamped = self._stamps and takes_timestamp(text, classify(text))
        if not changed and not is_stamped:
            return b""
        head = encode_long_string(changed) if changed else frame[position : reader.position]
        rest = self._stamped(Parameters(frame, reader.position, version)) if is_stamped else frame[reader.position :]
        return head + rest

    def _execute(self, frame: bytes, position: int, version: int, prepared: PreparedCache) -> bytes:
        prepared_id = prepared_id_at(frame, position, len(frame))
        entry = prepared.get(prepared_id)
        if entry is None or not (entry.variables or entry.is_stamped):
            return b""
        end = position + 2 + len(prepared_id)
        if version >= V5:  # behind the id stands that of the result's metadata
            end += 2 + len(prepared_id_at(frame, end, len(frame)))
        parameters = Parameters(frame, end, version)
        if entry.variables:
            parameters.replace_values(self._completed(entry.variables, parameters))
        is_stamped = self._stamps and entry.is_stamped
        rest = self._stamped(parameters) if is_stamped else parameters.without_timestamp()
        return frame[position:end] + rest

    def _batch(self, frame: bytes, position: int, version: int, prepared: PreparedCache) -> bytes:
        reader = Reader(frame, position)
        kind, children = reader.byte(), reader.short()
        pieces = [frame[position : reader.position]]
        takes, is_conditional = False, False
        for _ in range(children):
            child = _Child(reader, prepared)
            takes, is_conditional = takes or child.takes_timestamp, is_conditional or child.is_conditional
            pieces.append(self._child(frame, child))
        is_stamped = self._stamps and takes and not is_conditional and kind != COUNTER
        end = reader.position
        pieces.append(self._stamped(Parameters(frame, end, version)) if is_stamped else frame[end:])
        return b"".join(pieces)

    def _child(self, frame: bytes, child: _Child) -> bytes:
        if child.entry is None:
            changed = self._with_values(child.text)
            if not changed:
                return frame[child.start : child.end]
            return bytes((CHILD_TEXT,)) + encode_long_string(changed) + frame[child.values_at : child.end]
        if not child.entry.variables:
            return frame[child.start : child.end]
        values = self._in_order(child.entry.variables, child.values)
        if len(values) > MOST_VALUES:
            raise RemoteProtocolError(f"{len(values)} values are more than a statement can have")
        return frame[child.start : child.values_at] + encode_short(len(values)) + b"".join(values)

    def _with_values(self, text: str) -> str:
        """The text with values in place of calls; empty where there is no call."""
        found = calls(text, self._functions) if self._functions else []
        if not found:
            return ""
        self._meter.replaced_functions += len(found)
        return with_values(text, found, self._literal)

    def _literal(self, call: Call) -> str:
        return self._generator.literal(call.type)

    def _stamped(self, parameters: Parameters) -> bytes:
        if parameters.has_timestamp:
            self._meter.timestamps_of_clients += 1
            return parameters.without_timestamp()
        self._meter.timestamps_of_proxy += 1
        return parameters.with_timestamp(self._generator.timestamp())

    def _completed(self, variables: tuple[Variable, ...], parameters: Parameters) -> list[bytes]:
        """The values of all variables by position, ours among them.

        What the client left out stays left out: the cluster then counts too few, and says so.
        """
        if not parameters.has_names:
            return self._in_order(variables, parameters.values)
        given: dict[str, bytes] = {}
        for name, value in zip(parameters.names, parameters.values, strict=True):
            given.setdefault(name, value)  # the first of a name counts, as in Cassandra
        return [
            self._value(variable) if variable.function else given[variable.name]
            for variable in variables
            if variable.function or variable.name in given
        ]

    def _in_order(self, variables: tuple[Variable, ...], given: list[bytes]) -> list[bytes]:
        values: list[bytes] = []
        taken = 0
        for variable in variables:
            if variable.function:
                values.append(self._value(variable))
            elif taken < len(given):
                values.append(given[taken])
                taken += 1
        return values + given[taken:]

    def _value(self, variable: Variable) -> bytes:
        self._meter.replaced_functions += 1
        return encode_bytes(self._generator.value(RESULT_TYPES[variable.function]))


class _Child:
    """One statement of a BATCH frame, and where it lies."""

    __slots__ = ("end", "entry", "is_conditional", "start", "takes_timestamp", "text", "values", "values_at")

    def __init__(self, reader: Reader, prepared: PreparedCache) -> None:
        """Reads it, and moves the reader behind it."""
        self.start: Final = reader.position
        self.text = ""
        self.entry: PreparedStatement | None = None
        if reader.byte() == CHILD_PREPARED:
            self.entry = prepared.get(reader.short_bytes())
            self.takes_timestamp = self.entry is not None and self.entry.is_stamped
            self.is_conditional = self.entry is not None and self.entry.write_type == "CAS"
        else:
            self.text = reader.long_string()
            statement = classify(self.text)
            self.takes_timestamp = takes_timestamp(self.text, statement)
            self.is_conditional = statement.is_conditional
        self.values_at: Final = reader.position
        self.values: Final = [encoded_value(reader) for _ in range(reader.short())]
        self.end: Final = reader.position


def laid_out(variables: tuple[Variable, ...], columns: list[ColumnSpec]) -> tuple[Variable, ...] | None:
    """The variables under the names that a cluster has for them; None where it has others.

    Some clusters take the variables of one name for one.
    """
    if len(columns) != len(variables):
        seen: set[str] = set()
        single: list[Variable] = []
        for variable in variables:
            if not variable.name or variable.name not in seen:
                single.append(variable)
                seen.add(variable.name)
        variables = tuple(single)
    if len(columns) != len(variables):
        return None
    return tuple(Variable(column.name, variable.function) for variable, column in zip(variables, columns, strict=True))


def misfit(variables: tuple[Variable, ...], columns: list[ColumnSpec]) -> str:
    """What Cassandra says where a function's result is not of its column's type; empty where all are."""
    for variable, column in zip(variables, columns, strict=True):
        if variable.function:
            returned = RESULT_TYPES[variable.function]
            if column.type not in _TAKEN_BY[returned]:
                return (
                    f"Type error: cannot assign result of function system.{variable.function} (type {returned}) "
                    f"to {column.name} (type {column.type})"
                )
    return ""
