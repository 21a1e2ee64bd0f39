"""The notations every body is made of (v4 section 3), read and written.

    [byte] 1   [short] 2, unsigned   [int] 4, signed   [long] 8, signed    all big-endian
    [string]        [short] n, n bytes of UTF-8        [long string]  [int] n, n bytes of UTF-8
    [uuid]          16 bytes                           [short bytes]  [short] n, n bytes
    [bytes]         [int] n, n bytes; n < 0: null
    [value]         [int] n, n bytes; n = -1: null; n = -2: not set (v4 and later)
    [inetaddr]      [byte] 4 or 16, that many bytes    [inet]         [inetaddr], port as [int]
    [string list]   [short] n, n x [string]
    [string map]    [short] n, n x ([string], [string])
    [string multimap] [short] n, n x ([string], [string list])
    [bytes map]     [short] n, n x ([string], [bytes])

Reading is total: where bytes are missing, a length is negative or text is not UTF-8, `RemoteProtocolError` is raised,
and nothing is reserved for a count before its elements have been seen. What cannot be written is `LocalProtocolError`.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from struct import Struct
from struct import error as StructError
from typing import Final
from uuid import UUID

from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError

_SHORT: Final = Struct(">H")
_INT: Final = Struct(">i")
_LONG: Final = Struct(">q")

_NULL_LENGTH: Final = -1
_UNSET_LENGTH: Final = -2
_NULL: Final = b"\xff\xff\xff\xff"
_NOT_SET: Final = b"\xff\xff\xff\xfe"
_UUID_LENGTH: Final = 16
_INET_LENGTHS: Final = (4, 16)


class Unset:
    """The type of `UNSET`: a bound value that leaves its column as it is. There is one instance."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __copy__(self) -> Unset:
        return self

    def __deepcopy__(self, memo: object) -> Unset:
        return self

    def __reduce__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()

Value = bytes | None | Unset


class Reader:
    """A place in a body, moved forward by each read. Lives as long as one decoding; `data` is never changed."""

    __slots__ = ("data", "position")

    def __init__(self, data: builtins.bytes, position: builtins.int = 0) -> None:
        self.data = data
        self.position = position

    def remaining(self) -> builtins.int:
        """How many bytes are still to be read."""
        return len(self.data) - self.position

    def take(self, count: builtins.int) -> builtins.bytes:
        """The next `count` bytes as they are."""
        start = self.position
        end = start + count
        if count < 0 or end > len(self.data):
            raise RemoteProtocolError(f"Not enough bytes: {count} expected at {start}, {self.remaining()} present")
        self.position = end
        return self.data[start:end]

    def byte(self) -> builtins.int:
        """[byte], 0 to 255."""
        return self.take(1)[0]

    def short(self) -> builtins.int:
        """[short], 0 to 65,535."""
        return int.from_bytes(self.take(2), "big")

    def int(self) -> builtins.int:
        """[int], four bytes, signed."""
        return int.from_bytes(self.take(4), "big", signed=True)

    def long(self) -> builtins.int:
        """[long], eight bytes, signed."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def count(self) -> builtins.int:
        """[int] that says how many elements follow, so it must not be negative."""
        number = self.int()
        if number < 0:
            raise RemoteProtocolError(f"Negative count {number} at {self.position - 4}")
        return number

    def string(self) -> str:
        """[string]."""
        return self._text(self.short())

    def long_string(self) -> str:
        """[long string]."""
        return self._text(self.int())

    def uuid(self) -> UUID:
        """[uuid], of any version."""
        return UUID(bytes=self.take(_UUID_LENGTH))

    def bytes(self) -> builtins.bytes | None:
        """[bytes]; every negative length is null."""
        length = self.int()
        return None if length < 0 else self.take(length)

    def value(self) -> Value:
        """[value] as v4 and later have it. v3 knows no `UNSET`: there a value is [bytes]."""
        length = self.int()
        if length >= 0:
            return self.take(length)
        if length == _NULL_LENGTH:
            return None
        if length == _UNSET_LENGTH:
            return UNSET
        raise RemoteProtocolError(f"Invalid value length {length} at {self.position - 4}")

    def short_bytes(self) -> builtins.bytes:
        """[short bytes]."""
        return self.take(self.short())

    def inet_address(self) -> str:
        """[inetaddr] in its usual notation, such as 127.0.0.1 or ::1."""
        length = self.byte()
        if length not in _INET_LENGTHS:
            raise RemoteProtocolError(f"Invalid address length {length} at {self.position - 1}")
        return str(ip_address(self.take(length)))

    def inet(self) -> tuple[str, builtins.int]:
        """[inet]: address in its usual notation, and port."""
        return self.inet_address(), self.int()

    def string_list(self) -> list[str]:
        """[string list]."""
        return [self.string() for _ in range(self.short())]

    def string_map(self) -> dict[str, str]:
        """[string map]; of a key given twice the last counts."""
        return {self.string(): self.string() for _ in range(self.short())}

    def string_multimap(self) -> dict[str, list[str]]:
        """[string multimap]; of a key given twice the last counts."""
        return {self.string(): self.string_list() for _ in range(self.short())}

    def bytes_map(self) -> dict[str, builtins.bytes | None]:
        """[bytes map]; of a key given twice the last counts."""
        return {self.string(): self.bytes() for _ in range(self.short())}

    def _text(self, length: builtins.int) -> str:
        start = self.position
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as fault:
            raise RemoteProtocolError(f"Text at {start} is not UTF-8: {fault.reason}") from fault


def _pack(layout: Struct, number: int, notation: str) -> bytes:
    try:
        return layout.pack(number)
    except StructError as fault:
        raise LocalProtocolError(f"{number} does not fit {notation}") from fault


def encode_byte(number: int) -> bytes:
    """[byte], 0 to 255."""
    if not 0 <= number <= 0xFF:
        raise LocalProtocolError(f"{number} does not fit [byte]")
    return bytes((number,))


def encode_short(number: int) -> bytes:
    """[short], 0 to 65,535."""
    return _pack(_SHORT, number, "[short]")


def encode_int(number: int) -> bytes:
    """[int], four bytes, signed."""
    return _pack(_INT, number, "[int]")


def encode_long(number: int) -> bytes:
    """[long], eight bytes, signed."""
    return _pack(_LONG, number, "[long]")


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as fault:
        raise LocalProtocolError(f"Text cannot be written as UTF-8: {fault.reason}") from fault


def encode_string(text: str) -> bytes:
    """[string]: at most 65,535 bytes of UTF-8."""
    return encode_short_bytes(_utf8(text))


def encode_long_string(text: str) -> bytes:
    """[long string]."""
    return encode_bytes(_utf8(text))


def encode_uuid(value: UUID) -> bytes:
    """[uuid]."""
    return value.bytes


def encode_bytes(value: bytes | None) -> bytes:
    """[bytes]."""
    return _NULL if value is None else encode_int(len(value)) + value


def encode_value(value: Value) -> bytes:
    """[value] as v4 and later have it."""
    return _NOT_SET if isinstance(value, Unset) else encode_bytes(value)


def encode_short_bytes(value: bytes) -> bytes:
    """[short bytes]: at most 65,535 of them."""
    return encode_short(len(value)) + value


def encode_inet_address(address: str) -> bytes:
    """[inetaddr] of an address in its usual notation; a host name is refused."""
    try:
        packed = ip_address(address).packed
    except ValueError as fault:
        raise LocalProtocolError(str(fault)) from fault
    return encode_byte(len(packed)) + packed


def encode_inet(address: str, port: int) -> bytes:
    """[inet]."""
    return encode_inet_address(address) + encode_int(port)


def encode_string_list(texts: Sequence[str]) -> bytes:
    """[string list]."""
    return encode_short(len(texts)) + b"".join(map(encode_string, texts))


def encode_string_map(entries: Mapping[str, str]) -> bytes:
    """[string map], in the order of the mapping."""
    body = b"".join([encode_string(key) + encode_string(text) for key, text in entries.items()])
    return encode_short(len(entries)) + body


def encode_string_multimap(entries: Mapping[str, Sequence[str]]) -> bytes:
    """[string multimap], in the order of the mapping."""
    body = b"".join([encode_string(key) + encode_string_list(texts) for key, texts in entries.items()])
    return encode_short(len(entries)) + body


def encode_bytes_map(entries: Mapping[str, bytes | None]) -> bytes:
    """[bytes map], in the order of the mapping."""
    body = b"".join([encode_string(key) + encode_bytes(value) for key, value in entries.items()])
    return encode_short(len(entries)) + body
