"""What goes with a statement: consistency, values, paging (v4 section 4.1.4, <query_parameters>).

    <consistency [short]><flags>
      flag 0x01  <n [short]>, n x [value]; with 0x40 each after its name [string]
           0x02  the answer may leave its metadata out; brings no bytes
           0x04  <page size [int]>                 rows, or what the cluster takes it for
           0x08  <paging state [bytes]>
           0x10  <serial consistency [short]>
           0x20  <timestamp [long]>                microseconds
           0x80  <keyspace [string]>               v5
          0x100  <now in seconds [int]>            v5
    flags: [byte] in v3 and v4, [int] in v5

A flag without a meaning in the version is ignored, as Cassandra ignores it; 0x40 without 0x01 too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from zdm.protocol.consistency import Consistency
from zdm.protocol.exceptions import LocalProtocolError
from zdm.protocol.primitives import (
    Reader,
    Unset,
    Value,
    encode_byte,
    encode_bytes,
    encode_int,
    encode_long,
    encode_short,
    encode_string,
    encode_value,
)
from zdm.protocol.versions import V4, V5

VALUES: Final = 0x01
SKIP_METADATA: Final = 0x02
PAGE_SIZE: Final = 0x04
PAGING_STATE: Final = 0x08
SERIAL_CONSISTENCY: Final = 0x10
TIMESTAMP: Final = 0x20
NAMES: Final = 0x40
KEYSPACE: Final = 0x80
NOW_IN_SECONDS: Final = 0x100

_V5_FLAGS: Final = KEYSPACE | NOW_IN_SECONDS


@dataclass(frozen=True, slots=True)
class QueryParameters:
    """What QUERY and EXECUTE say beside the statement; None is what the request leaves out.

    `names` has one name for each of `values`, or is None where values count by position. `timestamp` is in
    microseconds, `now_in_seconds` in seconds since 1970. `keyspace` and `now_in_seconds` exist in v5 only.
    """

    consistency: int = Consistency.ONE
    values: list[Value] | None = None
    names: list[str] | None = None
    skip_metadata: bool = False
    page_size: int | None = None
    paging_state: bytes | None = None
    serial_consistency: int | None = None
    timestamp: int | None = None
    keyspace: str | None = None
    now_in_seconds: int | None = None

    def encode(self, version: int) -> bytes:
        """The bytes; `LocalProtocolError` where the version has no place for something that is given."""
        flags, parts = 0, []
        if self.values is not None:
            flags |= VALUES if self.names is None else VALUES | NAMES
            parts.append(encode_values(self.values, self.names, version))
        elif self.names is not None:
            raise LocalProtocolError("Names are given without values")
        if self.skip_metadata:
            flags |= SKIP_METADATA
        if self.page_size is not None:
            flags |= PAGE_SIZE
            parts.append(encode_int(self.page_size))
        if self.paging_state is not None:
            flags |= PAGING_STATE
            parts.append(encode_bytes(self.paging_state))
        more, options = encode_options(self.serial_consistency, self.timestamp, self.keyspace, self.now_in_seconds)
        return encode_short(self.consistency) + encode_flags(flags | more, version) + b"".join(parts) + options


def decode_query_parameters(reader: Reader, version: int) -> QueryParameters:
    """The parameters at the reader's place."""
    consistency = reader.short()
    flags = decode_flags(reader, version)
    values, names = None, None
    if flags & VALUES and flags & NAMES:
        names, values = decode_named_values(reader, version)
    elif flags & VALUES:
        values = decode_values(reader, version)
    return QueryParameters(
        consistency,
        values,
        names,
        flags & SKIP_METADATA != 0,
        reader.int() if flags & PAGE_SIZE else None,
        reader.bytes() if flags & PAGING_STATE else None,
        reader.short() if flags & SERIAL_CONSISTENCY else None,
        reader.long() if flags & TIMESTAMP else None,
        reader.string() if flags & KEYSPACE else None,
        reader.int() if flags & NOW_IN_SECONDS else None,
    )


def encode_options(
    serial_consistency: int | None, timestamp: int | None, keyspace: str | None, now_in_seconds: int | None
) -> tuple[int, bytes]:
    """The flags and bytes of the four options that a batch has as well."""
    flags, parts = 0, []
    if serial_consistency is not None:
        flags |= SERIAL_CONSISTENCY
        parts.append(encode_short(serial_consistency))
    if timestamp is not None:
        flags |= TIMESTAMP
        parts.append(encode_long(timestamp))
    if keyspace is not None:
        flags |= KEYSPACE
        parts.append(encode_string(keyspace))
    if now_in_seconds is not None:
        flags |= NOW_IN_SECONDS
        parts.append(encode_int(now_in_seconds))
    return flags, b"".join(parts)


def encode_flags(flags: int, version: int) -> bytes:
    """[byte], in v5 [int]; `LocalProtocolError` for a flag that the version has not."""
    if version >= V5:
        return encode_int(flags)
    if flags & _V5_FLAGS:
        raise LocalProtocolError(f"A request's keyspace and now_in_seconds exist from v5 on, not in v{version}")
    return encode_byte(flags)


def decode_flags(reader: Reader, version: int) -> int:
    """The flags, without those that the version has not."""
    return reader.int() if version >= V5 else reader.byte() & ~_V5_FLAGS


def encode_values(values: list[Value], names: list[str] | None, version: int) -> bytes:
    """<n [short]>, n x [value], each after its name where there are names."""
    if version < V4 and any(isinstance(value, Unset) for value in values):
        raise LocalProtocolError(f"A value can be left unset from v4 on, not in v{version}")
    if names is None:
        return encode_short(len(values)) + b"".join(map(encode_value, values))
    if len(names) != len(values):
        raise LocalProtocolError(f"{len(names)} names are given for {len(values)} values")
    named = [encode_string(name) + encode_value(value) for name, value in zip(names, values, strict=True)]
    return encode_short(len(values)) + b"".join(named)


def decode_values(reader: Reader, version: int) -> list[Value]:
    """<n [short]>, n x [value]."""
    return [_decode_value(reader, version) for _ in range(reader.short())]


def decode_named_values(reader: Reader, version: int) -> tuple[list[str], list[Value]]:
    """<n [short]>, n x (name [string], [value])."""
    names: list[str] = []
    values: list[Value] = []
    for _ in range(reader.short()):
        names.append(reader.string())
        values.append(_decode_value(reader, version))
    return names, values


def _decode_value(reader: Reader, version: int) -> Value:
    # v3 section 3 has [bytes] here: every negative length is null.
    return reader.value() if version >= V4 else reader.bytes()
