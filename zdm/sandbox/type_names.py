"""Type names of CQL text into types, and types into the text that errors and system_schema show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from zdm.protocol import types
from zdm.protocol.types import CqlType
from zdm.sandbox.failures import invalid
from zdm.sandbox.schema import Keyspace
from zdm.sandbox.statements import TypeName

SIMPLE: Final[dict[str, CqlType]] = {
    "ascii": types.ASCII,
    "bigint": types.BIGINT,
    "blob": types.BLOB,
    "boolean": types.BOOLEAN,
    "counter": types.COUNTER,
    "date": types.DATE,
    "decimal": types.DECIMAL,
    "double": types.DOUBLE,
    "duration": types.DURATION,
    "float": types.FLOAT,
    "inet": types.INET,
    "int": types.INT,
    "smallint": types.SMALLINT,
    "text": types.VARCHAR,
    "time": types.TIME,
    "timestamp": types.TIMESTAMP,
    "timeuuid": types.TIMEUUID,
    "tinyint": types.TINYINT,
    "uuid": types.UUID,
    "varchar": types.VARCHAR,
    "varint": types.VARINT,
}
_LIST: Final = types.list_of(types.INT).code
_SET: Final = types.set_of(types.INT).code
_MAP: Final = types.map_of(types.INT, types.INT).code
_TUPLE: Final = types.tuple_of().code
_UDT: Final = types.udt("", "", {}).code
_COLLECTIONS: Final[dict[str, tuple[Callable[..., CqlType], int]]] = {
    "list": (types.list_of, 1),
    "set": (types.set_of, 1),
    "map": (types.map_of, 2),
}


def is_list(kind: CqlType) -> bool:
    return kind.code == _LIST


def is_set(kind: CqlType) -> bool:
    return kind.code == _SET


def is_map(kind: CqlType) -> bool:
    return kind.code == _MAP


def is_collection(kind: CqlType) -> bool:
    return kind.code in (_LIST, _SET, _MAP)


def is_tuple(kind: CqlType) -> bool:
    return kind.code == _TUPLE


def is_udt(kind: CqlType) -> bool:
    return kind.code == _UDT


def is_simple(kind: CqlType) -> bool:
    return not kind.arguments and not is_udt(kind)


def type_text(name: TypeName) -> str:
    """The type as system_schema writes it: `varchar` is text there, and tuples are frozen."""
    inner = ", ".join(type_text(argument) for argument in name.arguments)
    if name.name == "frozen" and name.arguments and name.arguments[0].name == "tuple":
        return inner
    if name.name == "tuple":
        return f"frozen<tuple<{inner}>>"
    if inner:
        return f"{name.name}<{inner}>"
    if name.is_custom:
        return f"'{name.name}'"
    return "text" if name.name == "varchar" else name.name


def resolve(name: TypeName, owner: Keyspace | None, is_frozen: bool = False) -> CqlType:
    """The type that a name means in this keyspace. Raises INVALID for one that does not exist or can't nest so."""
    if name.is_custom:
        return types.custom(name.name)
    if name.name in SIMPLE and name.keyspace is None and not name.arguments:
        return SIMPLE[name.name]
    if name.name == "frozen" and len(name.arguments) == 1:
        return resolve(name.arguments[0], owner, is_frozen=True)
    if name.name == "tuple" and name.arguments:
        return types.tuple_of(*(resolve(argument, owner, is_frozen=True) for argument in name.arguments))
    if name.name in _COLLECTIONS:
        make, number = _COLLECTIONS[name.name]
        if len(name.arguments) != number:
            raise invalid(f"Invalid number of parameters for type {name.name}")
        return make(*(_inner(argument, name, owner, is_frozen) for argument in name.arguments))
    found = None if owner is None else owner.types.get(name.name)
    if found is None or (owner is not None and name.keyspace not in (None, owner.name)):
        raise invalid(f"Unknown type {owner.name + '.' if owner is not None else ''}{name.name}")
    fields = {field: kind for field, (kind, _) in found.fields.items()}
    return types.udt(found.keyspace, found.name, fields)


def _inner(argument: TypeName, outer: TypeName, owner: Keyspace | None, is_frozen: bool) -> CqlType:
    kind = resolve(argument, owner, is_frozen)
    if kind == types.COUNTER:
        raise invalid(f"Counters are not allowed inside collections: {type_text(outer)}")
    if not is_frozen and argument.name != "frozen" and (is_collection(kind) or is_udt(kind)):
        what = "UDTs" if is_udt(kind) else "collections"
        raise invalid(f"Non-frozen {what} are not allowed inside collections: {type_text(outer)}")
    return kind
