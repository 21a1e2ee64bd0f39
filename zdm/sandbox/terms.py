"""The value of a term: a constant, marker, literal or call turned into the bytes of the type that is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from zdm.protocol import scalars
from zdm.protocol.exceptions import LocalProtocolError
from zdm.protocol.primitives import Unset, Value
from zdm.protocol.scalars import Duration
from zdm.protocol.types import CqlType, encode_cql
from zdm.sandbox.failures import invalid
from zdm.sandbox.statements import (
    CallTerm,
    FieldsTerm,
    HintTerm,
    ListTerm,
    Literal,
    LiteralKind,
    MapTerm,
    Marker,
    SetTerm,
    Term,
    TupleTerm,
)
from zdm.sandbox.type_names import is_list, is_map, is_set, is_tuple, is_udt
from zdm.sandbox.values import check, pack_list, pack_map, pack_tuple, sorted_map, sorted_set

Call = Callable[[CallTerm, CqlType | None, "Bindings"], bytes | None]


@dataclass(frozen=True, slots=True)
class Bindings:
    """What a statement is executed with: bound values by marker index, the time in seconds, and how calls are made."""

    values: Sequence[Value]
    now: float
    call: Call

    def bound(self, marker: Marker) -> Value:
        if marker.index >= len(self.values):
            raise invalid("Invalid amount of bind variables")
        return self.values[marker.index]


def evaluate(term: Term, wanted: CqlType, name: str, bindings: Bindings) -> Value:
    """The bytes of the term as a `wanted`; None for null, UNSET for an unset marker. `name` is for the error's text."""
    if isinstance(term, Marker):
        value = bindings.bound(term)
        if isinstance(value, bytes):
            check(wanted, value)
        return value
    if isinstance(term, Literal):
        return constant(term, wanted, name)
    if isinstance(term, HintTerm):
        return evaluate(term.term, wanted, name, bindings)
    if isinstance(term, CallTerm):
        return bindings.call(term, wanted, bindings)
    if isinstance(term, ListTerm | SetTerm | MapTerm | TupleTerm | FieldsTerm):
        return _composite(term, wanted, name, bindings)
    raise invalid(f"Invalid term for {name} of type {wanted}")


def known(term: Term, wanted: CqlType, name: str, bindings: Bindings) -> bytes:
    """The bytes of a term that must have a value, such as a part of a key; null and unset are INVALID."""
    value = evaluate(term, wanted, name, bindings)
    if isinstance(value, Unset):
        raise invalid(f"Invalid unset value for column {name}")
    if value is None:
        raise invalid(f"Invalid null value in condition for column {name}")
    return value


def _inner(term: Term, wanted: CqlType, name: str, bindings: Bindings) -> bytes:
    value = evaluate(term, wanted, name, bindings)
    if not isinstance(value, bytes):
        raise invalid(
            "null is not supported inside collections"
            if value is None
            else "unset value is not supported inside collections"
        )
    return value


def _composite(term: Term, wanted: CqlType, name: str, bindings: Bindings) -> bytes:
    if isinstance(term, ListTerm) and is_list(wanted):
        (kind,) = wanted.arguments
        return pack_list([_inner(item, kind, name, bindings) for item in term.items])
    if isinstance(term, SetTerm) and is_set(wanted):
        (kind,) = wanted.arguments
        return sorted_set(wanted, [_inner(item, kind, name, bindings) for item in term.items])
    if isinstance(term, SetTerm) and is_map(wanted) and not term.items:
        return pack_map([])
    if isinstance(term, MapTerm) and is_map(wanted):
        key_type, value_type = wanted.arguments
        pairs = [
            (_inner(key, key_type, name, bindings), _inner(item, value_type, name, bindings))
            for key, item in term.pairs
        ]
        return sorted_map(wanted, pairs)
    if isinstance(term, TupleTerm) and is_tuple(wanted):
        types = wanted.arguments
        if len(term.items) > len(types):
            raise invalid(
                f"Invalid tuple literal for {name}: too many elements. "
                f"Type {wanted} expects {len(types)} but got {len(term.items)}"
            )
        return pack_tuple([_part(item, kind, name, bindings) for item, kind in zip(term.items, types, strict=False)])
    if isinstance(term, FieldsTerm) and is_udt(wanted):
        return _udt(term, wanted, name, bindings)
    literal = type(term).__name__.removesuffix("Term").lower()
    raise invalid(f"Invalid {literal} literal for {name} of type {wanted}")


def _part(term: Term, wanted: CqlType, name: str, bindings: Bindings) -> bytes | None:
    value = evaluate(term, wanted, name, bindings)
    return None if isinstance(value, Unset) else value


def _udt(term: FieldsTerm, wanted: CqlType, name: str, bindings: Bindings) -> bytes:
    given = dict(term.fields)
    names = wanted.field_names
    for field in given:
        if field not in names:
            raise invalid(f"Unknown field '{field}' in value of user defined type {wanted}")
    parts = []
    for field, kind in zip(names, wanted.arguments, strict=True):
        parts.append(_part(given[field], kind, field, bindings) if field in given else None)
    return pack_tuple(parts)


_INTEGERS: Final = frozenset(
    (
        scalars.BIGINT_CODE,
        scalars.COUNTER_CODE,
        scalars.INT_CODE,
        scalars.SMALLINT_CODE,
        scalars.TINYINT_CODE,
        scalars.VARINT_CODE,
    )
)


def constant(literal: Literal, wanted: CqlType, name: str) -> bytes | None:
    """The bytes of a constant; raises INVALID in Cassandra's words where the type does not take it."""
    if literal.kind is LiteralKind.NULL:
        return None
    read = _READERS.get(wanted.code, {}).get(literal.kind)
    if read is None:
        raise invalid(f'Invalid {literal.kind.name} constant ({literal.text}) for "{name}" of type {wanted}')
    try:
        return encode_cql(wanted, read(literal.text))
    except (ValueError, ArithmeticError, LocalProtocolError):
        raise invalid(
            _REFUSALS.get(wanted.code, "Unable to make {type} from '{text}'").format(
                type=str(wanted), text=literal.text
            )
        ) from None


_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:\.(\d{1,6}))?)?\s*(Z|[+-]\d{2}(?::?\d{2})?|UTC|GMT)?\Z"
)
_TIME: Final = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp_from_text(text: str) -> int:
    """Milliseconds since 1970 of a date with or without time and zone; without zone it is UTC. Raises ValueError."""
    match = _TIMESTAMP.match(text.strip())
    if match is None:
        return int(text)
    day, minutes, seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(f"{day}T{minutes or '00:00'}{seconds or ':00'}")
    offset = timedelta(0)
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) * (1 if zone[0] == "+" else -1)
    moment = moment.replace(tzinfo=timezone(offset))
    return (moment - _EPOCH) // timedelta(milliseconds=1) + int((fraction or "0").ljust(3, "0")[:3])


def _date_from_text(text: str) -> int:
    return date.fromisoformat(text).toordinal() - date(1970, 1, 1).toordinal()


def _time_from_text(text: str) -> int:
    match = _TIME.match(text)
    if match is None:
        return int(text)
    hours, minutes, seconds, fraction = match.groups()
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


_UNITS: Final[dict[str, tuple[int, int]]] = {
    "y": (0, 12), "mo": (0, 1), "w": (1, 7), "d": (1, 1), "h": (2, 3_600_000_000_000), "m": (2, 60_000_000_000),
    "s": (2, 1_000_000_000), "ms": (2, 1_000_000), "us": (2, 1000), "µs": (2, 1000), "ns": (2, 1),
}  # fmt: skip


def _duration(text: str) -> Duration:
    """`1y2mo3w4d5h6m7s8ms9us10ns` with an optional sign in front."""
    sign = -1 if text.startswith("-") else 1
    parts = [0, 0, 0]
    matches = re.findall(r"(\d+)(mo|ms|us|µs|ns|y|w|d|h|m|s)", text.lower())
    if not matches:
        raise ValueError(text)
    for number, unit in matches:
        place, size = _UNITS[unit]
        parts[place] += sign * int(number) * size
    return Duration(*parts)


def _timeuuid(text: str) -> UUID:
    value = UUID(text)
    if value.version != 1:
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    return text.lower() == "true"


_REFUSALS: Final = {
    scalars.TIMESTAMP_CODE: "Unable to coerce '{text}' to a formatted date (long)",
    scalars.DATE_CODE: "Unable to coerce '{text}' to a formatted date (long)",
    scalars.INET_CODE: "Unable to make inet address from '{text}'",
    scalars.TIMEUUID_CODE: "TimeUUID supplied is incorrect",
}
_Readers = dict[LiteralKind, Callable[[str], Any]]
_READERS: Final[dict[int, _Readers]] = {
    scalars.ASCII_CODE: {LiteralKind.STRING: str},
    scalars.VARCHAR_CODE: {LiteralKind.STRING: str},
    scalars.BOOLEAN_CODE: {LiteralKind.BOOLEAN: _boolean},
    scalars.BLOB_CODE: {LiteralKind.HEX: lambda text: bytes.fromhex(text[2:])},
    scalars.UUID_CODE: {LiteralKind.UUID: UUID},
    scalars.TIMEUUID_CODE: {LiteralKind.UUID: _timeuuid},
    scalars.FLOAT_CODE: {LiteralKind.INTEGER: float, LiteralKind.FLOAT: float},
    scalars.DOUBLE_CODE: {LiteralKind.INTEGER: float, LiteralKind.FLOAT: float},
    scalars.DECIMAL_CODE: {LiteralKind.INTEGER: Decimal, LiteralKind.FLOAT: Decimal},
    scalars.TIMESTAMP_CODE: {LiteralKind.INTEGER: int, LiteralKind.STRING: timestamp_from_text},
    scalars.DATE_CODE: {LiteralKind.INTEGER: lambda text: int(text) - 2**31, LiteralKind.STRING: _date_from_text},
    scalars.TIME_CODE: {LiteralKind.INTEGER: int, LiteralKind.STRING: _time_from_text},
    scalars.INET_CODE: {LiteralKind.STRING: str},
    scalars.DURATION_CODE: {LiteralKind.DURATION: _duration},
    **{code: {LiteralKind.INTEGER: int} for code in _INTEGERS},
}
