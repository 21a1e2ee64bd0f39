"""The notations, one by one."""

from __future__ import annotations

import copy
import pickle
import uuid
from collections.abc import Callable

import pytest

from zdm.protocol import primitives
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import UNSET, Reader

ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")

# notation: (hexadecimal, value, how it is read, how it is written)
Notation = tuple[str, object, Callable[[Reader], object], Callable[[], bytes]]
NOTATIONS: dict[str, Notation] = {
    "byte": ("ff", 255, Reader.byte, lambda: primitives.encode_byte(255)),
    "short": ("ffff", 65535, Reader.short, lambda: primitives.encode_short(65535)),
    "int": ("fffffffe", -2, Reader.int, lambda: primitives.encode_int(-2)),
    "long": ("8000000000000000", -(2**63), Reader.long, lambda: primitives.encode_long(-(2**63))),
    "string": ("0003 61c3a9", "aé", Reader.string, lambda: primitives.encode_string("aé")),
    "long string": ("00000001 61", "a", Reader.long_string, lambda: primitives.encode_long_string("a")),
    "uuid": (ID.hex, ID, Reader.uuid, lambda: primitives.encode_uuid(ID)),
    "string list": (
        "0002 0000 0001 61",
        ["", "a"],
        Reader.string_list,
        lambda: primitives.encode_string_list(["", "a"]),
    ),
    "bytes": ("00000002 0102", b"\1\2", Reader.bytes, lambda: primitives.encode_bytes(b"\1\2")),
    "null": ("ffffffff", None, Reader.bytes, lambda: primitives.encode_bytes(None)),
    "value": ("00000000", b"", Reader.value, lambda: primitives.encode_value(b"")),
    "null value": ("ffffffff", None, Reader.value, lambda: primitives.encode_value(None)),
    "value not set": ("fffffffe", UNSET, Reader.value, lambda: primitives.encode_value(UNSET)),
    "short bytes": ("0001 07", b"\7", Reader.short_bytes, lambda: primitives.encode_short_bytes(b"\7")),
    "inet": ("04 0a000001 00002352", ("10.0.0.1", 9042), Reader.inet, lambda: primitives.encode_inet("10.0.0.1", 9042)),
    "inet of v6": (
        "10 20010db8000000000000000000000001 00002352",
        ("2001:db8::1", 9042),
        Reader.inet,
        lambda: primitives.encode_inet("2001:db8::1", 9042),
    ),
    "string map": (
        "0001 0001 61 0001 62",
        {"a": "b"},
        Reader.string_map,
        lambda: primitives.encode_string_map({"a": "b"}),
    ),
    "string multimap": (
        "0001 0001 61 0001 0001 62",
        {"a": ["b"]},
        Reader.string_multimap,
        lambda: primitives.encode_string_multimap({"a": ["b"]}),
    ),
    "bytes map": (
        "0002 0001 61 00000001 62 0000 ffffffff",
        {"a": b"b", "": None},
        Reader.bytes_map,
        lambda: primitives.encode_bytes_map({"a": b"b", "": None}),
    ),
}

each_notation = pytest.mark.parametrize(("layout", "value", "read", "write"), NOTATIONS.values(), ids=NOTATIONS)


@each_notation
def test_a_notation_is_read(
    layout: str, value: object, read: Callable[[Reader], object], write: Callable[[], bytes]
) -> None:
    """And exactly its bytes are used up, or the next field begins in the wrong place."""
    encoded = bytes.fromhex(layout)
    reader = Reader(b"\xee" + encoded + b"tail", 1)
    assert read(reader) == value
    assert reader.position == 1 + len(encoded)
    assert reader.remaining() == 4


@each_notation
def test_a_notation_is_written(
    layout: str, value: object, read: Callable[[Reader], object], write: Callable[[], bytes]
) -> None:
    """Every body is made of these."""
    assert write() == bytes.fromhex(layout)


@each_notation
def test_a_notation_cut_anywhere_is_the_peers_fault(
    layout: str, value: object, read: Callable[[Reader], object], write: Callable[[], bytes]
) -> None:
    """Never an IndexError, never half a value."""
    encoded = bytes.fromhex(layout)
    for end in range(len(encoded)):
        with pytest.raises(RemoteProtocolError, match="Not enough bytes"):
            read(Reader(encoded[:end]))


@pytest.mark.parametrize(
    ("layout", "read"),
    [
        ("fffffffd", Reader.value),
        ("ffffffff", Reader.long_string),
        ("ffffffff", Reader.count),
        ("0001 ff", Reader.string),
        ("0003 eda080", Reader.string),  # a surrogate
        ("05 0000000000", Reader.inet),
        ("00", Reader.inet),
    ],
)
def test_bytes_without_meaning_are_the_peers_fault(layout: str, read: Callable[[Reader], object]) -> None:
    """Lengths below 0 where nothing can be null, text that is not UTF-8, addresses of no family."""
    with pytest.raises(RemoteProtocolError):
        read(Reader(bytes.fromhex(layout)))


def test_bytes_of_any_negative_length_are_null() -> None:
    """v4 section 3: 'If n < 0, no byte should follow and the value represented is null'."""
    assert Reader(b"\x80\0\0\0").bytes() is None


def test_reading_behind_the_end_is_refused() -> None:
    """A position may come from a peek that was wrong."""
    with pytest.raises(RemoteProtocolError):
        Reader(b"abc", 5).take(0)
    with pytest.raises(RemoteProtocolError):
        Reader(b"abc").take(-1)


@pytest.mark.parametrize(
    "write",
    [
        lambda: primitives.encode_byte(256),
        lambda: primitives.encode_byte(-1),
        lambda: primitives.encode_short(65536),
        lambda: primitives.encode_short(-1),
        lambda: primitives.encode_int(2**31),
        lambda: primitives.encode_long(2**63),
        lambda: primitives.encode_string("é" * 32768),
        lambda: primitives.encode_string("\ud800"),
        lambda: primitives.encode_string_list(["a"] * 65536),
        lambda: primitives.encode_inet("localhost", 1),
    ],
)
def test_what_cannot_be_written_is_our_fault(write: Callable[[], bytes]) -> None:
    """It must not go out cut off or wrapped around."""
    with pytest.raises(LocalProtocolError):
        write()


def test_there_is_one_unset_value() -> None:
    """Copies and pickles of a request must still be told apart from null by identity."""
    assert copy.copy(UNSET) is UNSET
    assert copy.deepcopy([UNSET])[0] is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert repr(UNSET) == "UNSET"
