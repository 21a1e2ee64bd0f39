"""Types as metadata carries them, and values made of others."""

from __future__ import annotations

import pytest

from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import Reader
from zdm.protocol.types import (
    BIGINT,
    DATE,
    DURATION,
    INT,
    MAX_DEPTH,
    SMALLINT,
    TIME,
    TINYINT,
    VARCHAR,
    CqlType,
    custom,
    decode_cql,
    decode_type,
    encode_cql,
    encode_type,
    list_of,
    map_of,
    set_of,
    tuple_of,
    udt,
)

PERSON = udt("ks", "person", {"name": VARCHAR, "age": INT})

VALUES: list[tuple[CqlType, object, str]] = [
    (list_of(INT), [1, None], "00000002 00000004 00000001 ffffffff"),
    (list_of(INT), [], "00000000"),
    (
        set_of(VARCHAR),
        {"c", "d", "bb", "b", "a"},
        "00000005 00000001 61 00000001 62 00000002 6262 00000001 63 00000001 64",
    ),
    (map_of(VARCHAR, INT), {"a": 1}, "00000001 00000001 61 00000004 00000001"),
    (tuple_of(INT, VARCHAR), (1, "a"), "00000004 00000001 00000001 61"),
    (PERSON, {"name": "Bo", "age": None}, "00000002 426f ffffffff"),
    (set_of(list_of(INT)), {(1,)}, "00000001 0000000c 00000001 00000004 00000001"),
    (
        map_of(set_of(INT), INT),
        {frozenset({1}): 2},
        "00000001 0000000c 00000001 00000004 00000001 00000004 00000002",
    ),
]


@pytest.mark.parametrize(("kind", "value", "layout"), VALUES)
def test_a_value_made_of_others_is_written_and_read(kind: CqlType, value: object, layout: str) -> None:
    """Lengths and counts are of four bytes since v3."""
    encoded = encode_cql(kind, value)
    assert encoded == bytes.fromhex(layout)
    assert decode_cql(kind, encoded) == value


def test_null_has_no_bytes() -> None:
    """It is the length that says so, outside the value."""
    assert encode_cql(list_of(INT), None) is None
    assert decode_cql(INT, None) is None


def test_a_map_in_a_set_becomes_pairs() -> None:
    """Python's dicts cannot be elements of a set."""
    kind = set_of(map_of(INT, list_of(INT)))
    entry = encode_cql(map_of(INT, list_of(INT)), {1: [2]})
    assert entry is not None
    decoded = decode_cql(kind, b"\0\0\0\1" + len(entry).to_bytes(4, "big") + entry)
    assert decoded == {((1, (2,)),)}


def test_fields_missing_at_the_end_are_null() -> None:
    """A field added by ALTER TYPE is missing in the values written before."""
    assert decode_cql(PERSON, bytes.fromhex("00000002426f")) == {"name": "Bo", "age": None}
    assert decode_cql(tuple_of(INT, INT), b"") == (None, None)
    assert encode_cql(tuple_of(INT, INT), (1,)) == bytes.fromhex("0000000400000001")
    assert encode_cql(PERSON, {"age": 1}) == bytes.fromhex("ffffffff0000000400000001")


def test_a_list_may_be_written_from_any_sequence_and_keeps_its_order() -> None:
    """Only Python's sets have no order of their own."""
    assert encode_cql(list_of(VARCHAR), ("b", "a")) == bytes.fromhex("00000002 00000001 62 00000001 61")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (list_of(INT), "12"),
        (list_of(INT), ["a"]),
        (set_of(INT), 1),
        (map_of(INT, INT), [1]),
        (tuple_of(INT), (1, 2)),
        (tuple_of(INT), 1),
        (PERSON, ("Bo", 1)),
    ],
)
def test_what_is_no_value_of_the_type_is_our_fault(kind: CqlType, value: object) -> None:
    """A text is a sequence in Python and no list in CQL."""
    with pytest.raises(LocalProtocolError):
        encode_cql(kind, value)


@pytest.mark.parametrize("layout", ["", "ffffffff", "00000001", "00000001 00000002 0000", "7fffffff"])
def test_bytes_that_are_no_list_are_the_peers_fault(layout: str) -> None:
    """Counts below 0, elements missing or of the wrong length."""
    with pytest.raises(RemoteProtocolError):
        decode_cql(list_of(INT), bytes.fromhex(layout))


@pytest.mark.parametrize(
    ("kind", "oldest", "class_name"),
    [
        (DATE, 4, "SimpleDateType"),
        (TIME, 4, "TimeType"),
        (SMALLINT, 4, "ShortType"),
        (TINYINT, 4, "ByteType"),
        (DURATION, 5, "DurationType"),
    ],
)
def test_a_type_younger_than_the_version_goes_by_its_class(kind: CqlType, oldest: int, class_name: str) -> None:
    """So Cassandra does, and drivers of that version know the class but not the code."""
    by_class = custom(f"org.apache.cassandra.db.marshal.{class_name}")
    assert encode_type(kind, oldest - 1) == encode_type(by_class, oldest - 1)
    assert encode_type(kind, oldest) == kind.code.to_bytes(2, "big")
    assert decode_type(Reader(encode_type(kind, oldest - 1)), oldest - 1) == kind
    assert decode_type(Reader(encode_type(by_class, oldest)), oldest) == by_class


def test_simple_types_have_the_codes_of_the_specification() -> None:
    """v5 section 4.2.5.2; 0x0A was text, in v2."""
    names = "ascii bigint blob boolean counter decimal double float int - timestamp uuid text varint timeuuid inet date"
    for code, name in enumerate([*names.split(), "time", "smallint", "tinyint", "duration"], start=1):
        if name != "-":
            kind = decode_type(Reader(code.to_bytes(2, "big")), 5)
            assert (str(kind), encode_type(kind, 5)) == (name, code.to_bytes(2, "big"))


def test_an_unknown_code_is_the_peers_fault() -> None:
    """The columns behind it cannot be found."""
    with pytest.raises(RemoteProtocolError, match="0x000A"):
        decode_type(Reader(b"\0\x0a"), 4)


def test_types_may_be_nested_up_to_the_limit() -> None:
    """Which no schema comes near."""
    deepest = b"\0\x20" * (MAX_DEPTH - 1) + b"\0\x09"
    assert encode_type(decode_type(Reader(deepest), 4), 4) == deepest
    with pytest.raises(RemoteProtocolError):
        decode_type(Reader(b"\0\x20" + deepest), 4)


def test_a_type_is_shown_as_cql_writes_it() -> None:
    """Messages name types."""
    kind = map_of(VARCHAR, tuple_of(BIGINT, list_of(PERSON), custom("a.B")))
    assert str(kind) == "map<text, tuple<bigint, list<person>, 'a.B'>>"


def test_a_user_defined_type_may_be_made_of_pairs() -> None:
    """Metadata may name a field twice, which a dict could not say."""
    assert udt("ks", "person", [("name", VARCHAR), ("age", INT)]) == PERSON
    assert len({PERSON, udt("ks", "person", {"name": VARCHAR, "age": INT})}) == 1
