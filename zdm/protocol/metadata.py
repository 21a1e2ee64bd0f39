"""What an answer says of its columns (v4 sections 4.2.5.2 and 4.2.5.4).

    rows       <flags [int]><column count [int]>
               <paging state [bytes]                 flag 0x02>
               <new metadata id [short bytes]        flag 0x08, v5>
               and, unless flag 0x04 says there are none, the columns
    bind       <flags [int]><column count [int]>
               <n [int]>, n x <index [short]>        v4 and later
               and the columns
    columns    <keyspace [string]><table [string]    flag 0x01: the same for all>
               count x (<keyspace [string]><table [string] without flag 0x01><name [string]><type>)

Flag 0x01 may be set where there are no columns to share a table; Cassandra does so when it leaves metadata out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from zdm.protocol.exceptions import LocalProtocolError
from zdm.protocol.primitives import Reader, encode_bytes, encode_int, encode_short, encode_short_bytes, encode_string
from zdm.protocol.types import CqlType, decode_type, encode_type
from zdm.protocol.versions import V4, V5

GLOBAL_SPEC: Final = 0x01
HAS_MORE_PAGES: Final = 0x02
NO_METADATA: Final = 0x04
METADATA_CHANGED: Final = 0x08


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column of a result, or one variable of a statement."""

    keyspace: str
    table: str
    name: str
    type: CqlType


@dataclass(frozen=True, slots=True)
class RowsMetadata:
    """The columns of a result. `columns` is None where the answer leaves them out; `column_count` is sent always.

    `paging_state` is there where more pages are. `global_spec` asks for keyspace and table to be sent once; columns of
    several tables are sent with their own nevertheless. `new_metadata_id` (v5) tells that the columns have changed.
    """

    columns: list[ColumnSpec] | None
    column_count: int
    paging_state: bytes | None = None
    global_spec: bool = True
    new_metadata_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        """The bytes; `LocalProtocolError` where the count contradicts the columns, or v5's id is given before v5."""
        if self.columns is not None and len(self.columns) != self.column_count:
            raise LocalProtocolError(f"{self.column_count} columns are announced, {len(self.columns)} given")
        shared = self.global_spec if self.columns is None else self.global_spec and _one_table(self.columns)
        flags, parts = GLOBAL_SPEC if shared else 0, []
        if self.paging_state is not None:
            flags |= HAS_MORE_PAGES
            parts.append(encode_bytes(self.paging_state))
        if self.new_metadata_id is not None:
            if version < V5:
                raise LocalProtocolError(f"Metadata has an id from v5 on, not in v{version}")
            flags |= METADATA_CHANGED
            parts.append(encode_short_bytes(self.new_metadata_id))
        if self.columns is None:
            flags |= NO_METADATA
        else:
            parts.append(_encode_columns(self.columns, shared, version))
        return encode_int(flags) + encode_int(self.column_count) + b"".join(parts)

    @classmethod
    def decode(cls, reader: Reader, version: int) -> RowsMetadata:
        """The metadata at the reader's place."""
        flags, count = reader.int(), reader.count()
        paging_state = reader.bytes() if flags & HAS_MORE_PAGES else None
        new_id = reader.short_bytes() if version >= V5 and flags & METADATA_CHANGED else None
        columns = None if flags & NO_METADATA else _decode_columns(reader, flags, count, version)
        return cls(columns, count, paging_state, flags & GLOBAL_SPEC != 0, new_id)


# What PREPARED says of the result of a statement that returns no rows.
NO_RESULT: Final = RowsMetadata(None, 0, None, False)


@dataclass(frozen=True, slots=True)
class BindMetadata:
    """The variables of a prepared statement.

    `pk_indexes` are the positions among them of the partition key's columns, in the key's order; empty where the
    variables do not make up the whole key, and in v3, which has no place for them.
    """

    columns: list[ColumnSpec]
    pk_indexes: list[int]
    global_spec: bool = True

    def encode(self, version: int) -> bytes:
        """The bytes; in v3 without `pk_indexes`."""
        shared = self.global_spec and _one_table(self.columns)
        head = encode_int(GLOBAL_SPEC if shared else 0) + encode_int(len(self.columns))
        if version >= V4:
            head += encode_int(len(self.pk_indexes)) + b"".join(map(encode_short, self.pk_indexes))
        return head + _encode_columns(self.columns, shared, version)

    @classmethod
    def decode(cls, reader: Reader, version: int) -> BindMetadata:
        """The metadata at the reader's place."""
        flags, count = reader.int(), reader.count()
        pk_indexes = [reader.short() for _ in range(reader.count())] if version >= V4 else []
        return cls(_decode_columns(reader, flags, count, version), pk_indexes, flags & GLOBAL_SPEC != 0)


def _one_table(columns: list[ColumnSpec]) -> bool:
    return len({(column.keyspace, column.table) for column in columns}) == 1


def _encode_columns(columns: list[ColumnSpec], shared: bool, version: int) -> bytes:
    parts = [_encode_table(columns[0])] if shared else []
    for column in columns:
        if not shared:
            parts.append(_encode_table(column))
        parts.append(encode_string(column.name) + encode_type(column.type, version))
    return b"".join(parts)


def _encode_table(column: ColumnSpec) -> bytes:
    return encode_string(column.keyspace) + encode_string(column.table)


def _decode_columns(reader: Reader, flags: int, count: int, version: int) -> list[ColumnSpec]:
    if not flags & GLOBAL_SPEC:
        return [
            ColumnSpec(reader.string(), reader.string(), reader.string(), decode_type(reader, version))
            for _ in range(count)
        ]
    keyspace, table = reader.string(), reader.string()
    return [ColumnSpec(keyspace, table, reader.string(), decode_type(reader, version)) for _ in range(count)]
