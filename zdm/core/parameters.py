"""What follows the statement in QUERY, EXECUTE and BATCH, taken apart as far as something is to be added.

    <consistency [short]> <flags [byte], v5: [int]> <values> <page size> <paging state> <serial consistency>
    <timestamp> <keyspace> <now in seconds>

Each part but the first two is there where its flag is set (v4 section 4.1.4, v5 section 4.1.4). A BATCH has its values
elsewhere. Values stay as they are encoded, length and all: a null or unset one is a value like any other here.
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.primitives import Reader, encode_long, encode_short
from zdm.protocol.query_parameters import (
    NAMES,
    PAGE_SIZE,
    PAGING_STATE,
    SERIAL_CONSISTENCY,
    TIMESTAMP,
    VALUES,
    decode_flags,
)
from zdm.protocol.versions import V5

MOST_VALUES: Final = 65535


class Parameters:
    """The parameters that begin at `position` of a frame. Raises RemoteProtocolError where bytes are missing."""

    __slots__ = ("_consistency", "_flags", "_frame", "_rest", "_timestamp", "_version", "names", "values")

    def __init__(self, frame: bytes, position: int, version: int) -> None:
        reader = Reader(frame, position)
        self._frame: Final = frame
        self._version: Final = version
        self._consistency: Final = reader.take(2)
        self._flags = decode_flags(reader, version)
        self.values: list[bytes] = []
        """Each as it is encoded."""
        self.names: list[str] = []
        """One for each value where they are named, else none."""
        if self._flags & VALUES:
            self._read_values(reader)
        self._rest: Final = reader.position
        if self._flags & PAGE_SIZE:
            reader.int()
        if self._flags & PAGING_STATE:
            reader.bytes()
        if self._flags & SERIAL_CONSISTENCY:
            reader.short()
        self._timestamp: Final = reader.position

    @property
    def has_timestamp(self) -> bool:
        return self._flags & TIMESTAMP != 0

    @property
    def has_names(self) -> bool:
        return self._flags & VALUES != 0 and self._flags & NAMES != 0

    def with_timestamp(self, timestamp: int) -> bytes:
        """The parameters with one more; there must be none yet."""
        return self._written(self._flags | TIMESTAMP, encode_long(timestamp))

    def without_timestamp(self) -> bytes:
        """The parameters without one more."""
        return self._written(self._flags, b"")

    def replace_values(self, values: list[bytes]) -> None:
        """Other values, by position. Raises RemoteProtocolError where they are too many."""
        if len(values) > MOST_VALUES:
            raise RemoteProtocolError(f"{len(values)} values are more than a request can have")
        self.values, self.names = values, []
        self._flags = (self._flags | VALUES) & ~NAMES

    def _written(self, flags: int, timestamp: bytes) -> bytes:
        pieces = [self._consistency, flags.to_bytes(4 if self._version >= V5 else 1, "big")]
        if flags & VALUES:
            pieces.append(encode_short(len(self.values)))
            if self.names:
                for name, value in zip(self.names, self.values, strict=True):
                    encoded = name.encode()
                    pieces += (encode_short(len(encoded)), encoded, value)
            else:
                pieces += self.values
        pieces += (self._frame[self._rest : self._timestamp], timestamp, self._frame[self._timestamp :])
        return b"".join(pieces)

    def _read_values(self, reader: Reader) -> None:
        for _ in range(reader.short()):
            if self._flags & NAMES:
                self.names.append(reader.string())
            self.values.append(encoded_value(reader))


def encoded_value(reader: Reader) -> bytes:
    """The [value] at the reader's place as it is encoded: its length, and as many bytes."""
    start = reader.position
    length = reader.int()
    if length > 0:
        reader.take(length)
    return reader.data[start : reader.position]
