"""The functions of CQL that the sandbox has: now(), uuid(), the time and blob conversions, and the aggregates."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

from zdm.protocol.types import (
    ASCII,
    BIGINT,
    BLOB,
    BOOLEAN,
    COUNTER,
    DATE,
    DECIMAL,
    DOUBLE,
    FLOAT,
    INET,
    INT,
    SMALLINT,
    TIME,
    TIMESTAMP,
    TIMEUUID,
    TINYINT,
    VARCHAR,
    VARINT,
    CqlType,
    decode_cql,
    encode_cql,
)
from zdm.protocol.types import (
    UUID as UUID_TYPE,
)
from zdm.sandbox.failures import invalid
from zdm.sandbox.statements import CallTerm, HintTerm, Term
from zdm.sandbox.terms import Bindings, evaluate
from zdm.sandbox.type_names import SIMPLE
from zdm.sandbox.values import order

Body = Callable[[Sequence[bytes | None], float], bytes | None]

_UUID_EPOCH: Final = 0x01B21DD213814000
"""100 ns steps from 1582-10-15, where version 1 UUIDs begin, to 1970."""
_NODE: Final = random.getrandbits(47) | 1 << 40
_CLOCK_SEQUENCE: Final = random.getrandbits(14)
_ticks = count()


@dataclass(frozen=True, slots=True)
class Function:
    """`body` gets the serialised arguments and the time in seconds; it isn't called if one of them is null."""

    name: str
    arguments: tuple[CqlType, ...]
    returns: CqlType
    body: Body


def time_uuid(now: float) -> UUID:
    """A version 1 UUID of this second, another one with each call."""
    return _time_uuid(int(now * 1000) * 10_000 + next(_ticks) % 10_000, _CLOCK_SEQUENCE, _NODE)


def _time_uuid(steps: int, sequence: int, node: int) -> UUID:
    steps += _UUID_EPOCH
    high = (steps >> 48 & 0x0FFF) | 0x1000
    return UUID(
        fields=(steps & 0xFFFFFFFF, steps >> 32 & 0xFFFF, high, sequence >> 8 & 0x3F | 0x80, sequence & 0xFF, node)
    )


def _milliseconds(value: bytes | None) -> int:
    """The time of a timeuuid."""
    return (UUID(bytes=value).time - _UUID_EPOCH) // 10_000


def _days(milliseconds: int) -> int:
    return milliseconds // 86_400_000


def _long(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def _date(days: int) -> bytes:
    return (days + 2**31).to_bytes(4, "big")


def _read(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big", signed=True)


def _date_milliseconds(value: bytes | None) -> int:
    return (int.from_bytes(value or b"", "big") - 2**31) * 86_400_000


def _bound(is_last: bool) -> Body:
    """minTimeuuid and maxTimeuuid: the smallest and greatest timeuuid of a millisecond."""
    sequence, node, steps = (0x3F7F, 0x7F7F7F7F7F7F, 9999) if is_last else (0x0080, 0x808080808080, 0)
    return lambda arguments, now: _time_uuid(_read(arguments[0]) * 10_000 + steps, sequence, node).bytes


_ALL: Final = [
    Function("now", (), TIMEUUID, lambda arguments, now: time_uuid(now).bytes),
    Function("currenttimeuuid", (), TIMEUUID, lambda arguments, now: time_uuid(now).bytes),
    Function("uuid", (), UUID_TYPE, lambda arguments, now: uuid4().bytes),
    Function("currenttimestamp", (), TIMESTAMP, lambda arguments, now: _long(int(now * 1000))),
    Function("currentdate", (), DATE, lambda arguments, now: _date(_days(int(now * 1000)))),
    Function("currenttime", (), TIME, lambda arguments, now: _long(int(now * 1000) % 86_400_000 * 1_000_000)),
    Function("totimestamp", (TIMEUUID,), TIMESTAMP, lambda arguments, now: _long(_milliseconds(arguments[0]))),
    Function("totimestamp", (DATE,), TIMESTAMP, lambda arguments, now: _long(_date_milliseconds(arguments[0]))),
    Function("todate", (TIMEUUID,), DATE, lambda arguments, now: _date(_days(_milliseconds(arguments[0])))),
    Function("todate", (TIMESTAMP,), DATE, lambda arguments, now: _date(_days(_read(arguments[0])))),
    Function("tounixtimestamp", (TIMEUUID,), BIGINT, lambda arguments, now: _long(_milliseconds(arguments[0]))),
    Function("tounixtimestamp", (TIMESTAMP,), BIGINT, lambda arguments, now: arguments[0]),
    Function("tounixtimestamp", (DATE,), BIGINT, lambda arguments, now: _long(_date_milliseconds(arguments[0]))),
    Function("dateof", (TIMEUUID,), TIMESTAMP, lambda arguments, now: _long(_milliseconds(arguments[0]))),
    Function("unixtimestampof", (TIMEUUID,), BIGINT, lambda arguments, now: _long(_milliseconds(arguments[0]))),
    Function("mintimeuuid", (TIMESTAMP,), TIMEUUID, _bound(is_last=False)),
    Function("maxtimeuuid", (TIMESTAMP,), TIMEUUID, _bound(is_last=True)),
]
for _type in (ASCII, BIGINT, BOOLEAN, COUNTER, DATE, DECIMAL, DOUBLE, FLOAT, INET, INT, SMALLINT, TIME, TIMESTAMP,
              TIMEUUID, TINYINT, UUID_TYPE, VARCHAR, VARINT):  # fmt: skip
    for _spelling in {str(_type), "varchar" if _type is VARCHAR else str(_type)}:
        _ALL.append(Function(f"{_spelling}asblob", (_type,), BLOB, lambda arguments, now: arguments[0]))
        _ALL.append(Function(f"blobas{_spelling}", (BLOB,), _type, lambda arguments, now: arguments[0]))


def overloads(name: str) -> list[Function]:
    """The functions of this name, written with or without `system.`; raises INVALID if there is none."""
    plain = name.removeprefix("system.").lower()
    plain = plain.replace("_", "") if plain.startswith("current_") else plain  # as version 5 has it
    found = [function for function in _ALL if function.name == plain]
    if not found:
        raise invalid(f"Unknown function '{name}'")
    return found


def choose(name: str, arguments: Sequence[CqlType | None], wanted: CqlType | None) -> Function:
    """The overload for these argument types (None: any, a marker's) that gives the wanted type; raises INVALID."""
    candidates = [function for function in overloads(name) if len(function.arguments) == len(arguments)]
    if not candidates:
        raise invalid(f"Invalid number of arguments in call to function {name}: {len(arguments)} provided")
    for function in candidates:
        pairs = zip(function.arguments, arguments, strict=True)
        if all(given is None or given == expected for expected, given in pairs):
            if wanted is not None and not _assignable(function.returns, wanted):
                raise invalid(
                    f"Type error: cannot assign result of function system.{function.name} "
                    f"(type {str(function.returns)}) to a value of type {wanted}"
                )
            return function
    types = ", ".join("?" if given is None else str(given) for given in arguments)
    raise invalid(f"Invalid call to function {name}, none of its type signatures match ({types})")


def _assignable(given: CqlType, wanted: CqlType) -> bool:
    """A timeuuid is a uuid, ASCII is text, a timestamp is a bigint, and everything is a blob."""
    return given == wanted or (given, wanted) in ((TIMEUUID, UUID_TYPE), (ASCII, VARCHAR)) or wanted == BLOB


def argument_type(term: Term) -> CqlType | None:
    """The type of an argument that says so itself: a call, or what has a hint such as `(timestamp)`."""
    if isinstance(term, CallTerm):
        return choose(term.name, [argument_type(argument) for argument in term.arguments], None).returns
    return SIMPLE.get(term.type.name) if isinstance(term, HintTerm) else None


def call_in_value(term: CallTerm, wanted: CqlType | None, bindings: Bindings) -> bytes | None:
    """The result of a call in VALUES, SET or WHERE, where arguments are constants, markers or calls."""
    function = choose(term.name, [argument_type(argument) for argument in term.arguments], wanted)
    values = []
    for argument, kind in zip(term.arguments, function.arguments, strict=True):
        value = evaluate(argument, kind, term.name, bindings)
        values.append(value if isinstance(value, bytes) else None)
    return apply(function, values, bindings.now)


def apply(function: Function, values: Sequence[bytes | None], now: float) -> bytes | None:
    if any(value is None for value in values):
        return None
    return function.body(values, now)


AGGREGATES: Final = frozenset(("count", "min", "max", "sum", "avg"))


def aggregate_type(name: str, argument: CqlType) -> CqlType:
    """The type of an aggregate's result; raises INVALID where it can't take the argument."""
    if name == "count":
        return BIGINT
    if name in ("sum", "avg") and argument not in _NUMBERS:
        raise invalid(
            f"Invalid call to function {name}, none of its type signatures match (known type signatures: numbers)"
        )
    return BIGINT if argument == COUNTER else argument


def aggregate(name: str, argument: CqlType, values: Sequence[bytes | None]) -> bytes | None:
    """The aggregate of one column's values; nulls don't count. Over no values sum and avg are 0, min and max null."""
    present = [value for value in values if value is not None]
    if name == "count":
        return _long(len(present))
    if name in ("min", "max"):
        chosen = min if name == "min" else max
        return chosen(present, key=lambda value: order(argument, value)) if present else None
    numbers: list[Any] = [decode_cql(argument, value) for value in present]
    total = sum(numbers[1:], numbers[0]) if numbers else decode_cql(argument, _zero(argument))
    if name == "avg" and numbers:
        total = _quotient(total, len(numbers))
    return encode_cql(aggregate_type(name, argument), total)


def _quotient(total: Any, number: int) -> Any:
    """Whole numbers are divided as Java does it, towards zero."""
    if isinstance(total, int):
        return abs(total) // number * (1 if total >= 0 else -1)
    return total / number


def _zero(argument: CqlType) -> bytes:
    return bytes({INT: 4, FLOAT: 4, SMALLINT: 2, TINYINT: 1, VARINT: 1, DECIMAL: 5}.get(argument, 8))


_NUMBERS: Final = (BIGINT, COUNTER, DECIMAL, DOUBLE, FLOAT, INT, SMALLINT, TINYINT, VARINT)
