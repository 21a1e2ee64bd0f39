"""What answers say about columns: of rows, and of the variables of a prepared statement (v4 sections 4.2.5.2, 4.2.5.4).

    rows       <flags [int]><columns [int]> [<paging state [bytes]>] [<new metadata id [short bytes]>, v5] <specs>
    variables  <flags [int]><columns [int]> [<n [int]> n x <index [short]>, v4 and later] <specs>
    specs      [<keyspace [string]><table [string]>] columns x ([<keyspace><table>]<name [string]><type [option]>)

    flags: 0x01 one keyspace and table for all columns, 0x02 a paging state follows, 0x04 no specs at all,
           0x08 the metadata has changed (v5)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.primitives import (
    Reader,
    encode_bytes,
    encode_int,
    encode_short,
    encode_short_bytes,
    encode_string,
)
from zdm.protocol.types import CqlType, decode_type, encode_type
from zdm.protocol.versions import V4, V5

GLOBAL_SPEC: Final = 0x01
HAS_MORE_PAGES: Final = 0x02
NO_METADATA: Final = 0x04
METADATA_CHANGED: Final = 0x08

_SHORTEST_SPEC: Final = 4  # an empty name and a simple type


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column or variable."""

    keyspace: str
    table: str
    name: str
    type: CqlType


@dataclass(frozen=True, slots=True)
class RowsMetadata:
    """The columns of rows. `columns` is None where they are left out, `column_count` tells their number then.

    `new_metadata_id` is set where the columns changed since the statement was prepared (v5).
    """

    columns: list[ColumnSpec] | None
    column_count: int
    paging_state: bytes | None = None
    global_spec: bool = True
    new_metadata_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        """The bytes, in the form that `global_spec` asks for."""
        flags, parts = 0, [encode_int(self.column_count)]
        if self.paging_state is not None:
            flags |= HAS_MORE_PAGES
            parts.append(encode_bytes(self.paging_state))
        if self.new_metadata_id is not None and version >= V5:
            flags |= METADATA_CHANGED
            parts.append(encode_short_bytes(self.new_metadata_id))
        if self.columns is None:
            flags |= NO_METADATA
        else:
            flags |= GLOBAL_SPEC if self.global_spec and self.columns else 0
            parts.append(_encode_specs(self.columns, flags))
        return encode_int(flags) + b"".join(parts)


@dataclass(frozen=True, slots=True)
class BindMetadata:
    """The variables of a statement. `pk_indexes` are the partition key's among them, in its order (v4 and later)."""

    columns: list[ColumnSpec]
    pk_indexes: list[int] = field(default_factory=list)
    global_spec: bool = True

    def encode(self, version: int) -> bytes:
        """The bytes, in the form that `global_spec` asks for."""
        flags = GLOBAL_SPEC if self.global_spec and self.columns else 0
        indexes = b""
        if version >= V4:
            indexes = encode_int(len(self.pk_indexes)) + b"".join(map(encode_short, self.pk_indexes))
        return encode_int(flags) + encode_int(len(self.columns)) + indexes + _encode_specs(self.columns, flags)


def decode_rows_metadata(reader: Reader, version: int) -> RowsMetadata:
    """The metadata at the reader's place. Raises RemoteProtocolError."""
    flags, count = reader.int(), reader.count()
    paging_state = reader.bytes() if flags & HAS_MORE_PAGES else None
    new_id = reader.short_bytes() if flags & METADATA_CHANGED and version >= V5 else None
    columns = None if flags & NO_METADATA else _decode_specs(reader, flags, count)
    return RowsMetadata(columns, count, paging_state, flags & GLOBAL_SPEC != 0, new_id)


def decode_bind_metadata(reader: Reader, version: int) -> BindMetadata:
    """The variables at the reader's place. Raises RemoteProtocolError."""
    flags, count = reader.int(), reader.count()
    indexes: list[int] = []
    if version >= V4:
        indexes = [reader.short() for _ in range(_plausible(reader, reader.count(), 2))]
    return BindMetadata(_decode_specs(reader, flags, count), indexes, flags & GLOBAL_SPEC != 0)


def _encode_specs(columns: list[ColumnSpec], flags: int) -> bytes:
    if flags & GLOBAL_SPEC:
        shared = encode_string(columns[0].keyspace) + encode_string(columns[0].table)
        return shared + b"".join(encode_string(column.name) + encode_type(column.type) for column in columns)
    return b"".join(
        encode_string(column.keyspace) + encode_string(column.table) + encode_string(column.name) + encode_type(column.type)
        for column in columns
    )


def _decode_specs(reader: Reader, flags: int, count: int) -> list[ColumnSpec]:
    keyspace = table = ""
    if flags & GLOBAL_SPEC:
        keyspace, table = reader.string(), reader.string()
    columns: list[ColumnSpec] = []
    for _ in range(_plausible(reader, count, _SHORTEST_SPEC)):
        if not flags & GLOBAL_SPEC:
            keyspace, table = reader.string(), reader.string()
        columns.append(ColumnSpec(keyspace, table, reader.string(), decode_type(reader)))
    return columns


def _plausible(reader: Reader, count: int, each: int) -> int:
    if count * each > reader.remaining():
        raise RemoteProtocolError(f"{count} entries are announced, and only {reader.remaining()} bytes are left")
    return count
