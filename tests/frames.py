"""Frames as drivers and clusters send them, whole, for every test that needs some.

Packed here by hand and not by `zdm.protocol`, which is among what is tested with them. Every function gives the bytes
of one frame. `stream` comes first; `version` and what goes before the body proper (`tracing_id`, `warnings`, `payload`)
may be given by name to each.

    frames.query(5, "INSERT INTO ks.t (k) VALUES (1)", timestamp=1)
    frames.rows(5, {"k": frames.INT}, [[b"\\x00\\x00\\x00\\x01"]], warnings=["slow"])
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

# Types, as metadata has them.
BIGINT = b"\x00\x02"
BLOB = b"\x00\x03"
INT = b"\x00\x09"
UUID = b"\x00\x0c"
VARCHAR = b"\x00\x0d"
INET = b"\x00\x10"


class Spoken:
    """The version of every frame for which none is named: tests that hold for several are run in each."""

    version = 4


class NotSet:
    """The type of `UNSET`, a value that leaves its column as it is (v4 and later)."""


UNSET = NotSet()
Cell = bytes | None
BoundValue = bytes | None | NotSet


class Around(TypedDict, total=False):
    """What each frame may be given by name. `tracing_id` is of answers; a request asks for one with `tracing`."""

    version: int
    tracing: bool
    tracing_id: bytes
    warnings: Sequence[str]
    payload: Mapping[str, bytes]


def short(number: int) -> bytes:
    return struct.pack(">H", number)


def integer(number: int) -> bytes:
    return struct.pack(">i", number)


def string(text: str) -> bytes:
    encoded = text.encode()
    return short(len(encoded)) + encoded


def long_string(text: str) -> bytes:
    encoded = text.encode()
    return integer(len(encoded)) + encoded


def long_bytes(cell: BoundValue) -> bytes:
    if isinstance(cell, NotSet):
        return integer(-2)
    return integer(-1) if cell is None else integer(len(cell)) + cell


def short_bytes(cell: bytes) -> bytes:
    return short(len(cell)) + cell


def strings(texts: Sequence[str]) -> bytes:
    return short(len(texts)) + b"".join(map(string, texts))


def inet(address: str, port: int) -> bytes:
    packed = ipaddress.ip_address(address).packed
    return bytes([len(packed)]) + packed + integer(port)


def frame(is_response: bool, opcode: int, stream: int, body: bytes, around: Around) -> bytes:
    """Header and body, with what `around` puts between them."""
    flags, before = 0x02 if around.get("tracing") else 0, b""
    if "tracing_id" in around:
        flags, before = flags | 0x02, before + around["tracing_id"]
    if "warnings" in around:
        flags, before = flags | 0x08, before + strings(around["warnings"])
    if "payload" in around:
        entries = [string(key) + long_bytes(entry) for key, entry in around["payload"].items()]
        flags, before = flags | 0x04, before + short(len(entries)) + b"".join(entries)
    version = around.get("version", Spoken.version) | (0x80 if is_response else 0)
    return struct.pack(">BBhBi", version, flags, stream, opcode, len(before) + len(body)) + before + body


def request(opcode: int, stream: int, body: bytes = b"", **around: Unpack[Around]) -> bytes:
    return frame(False, opcode, stream, body, around)


def answer(opcode: int, stream: int, body: bytes = b"", **around: Unpack[Around]) -> bytes:
    return frame(True, opcode, stream, body, around)


def startup(stream: int = 0, options: Mapping[str, str] | None = None, **around: Unpack[Around]) -> bytes:
    chosen = {"CQL_VERSION": "3.0.0"} if options is None else options
    pairs = b"".join(string(key) + string(text) for key, text in chosen.items())
    return request(0x01, stream, short(len(chosen)) + pairs, **around)


def options(stream: int = 0, **around: Unpack[Around]) -> bytes:
    return request(0x05, stream, **around)


def register(stream: int = 0, event_types: Sequence[str] = ("SCHEMA_CHANGE",), **around: Unpack[Around]) -> bytes:
    return request(0x0B, stream, strings(event_types), **around)


def auth_response(stream: int = 0, token: Cell = b"\0cassandra\0cassandra", **around: Unpack[Around]) -> bytes:
    return request(0x0F, stream, long_bytes(token), **around)


def parameters(
    version: int | None = None,
    consistency: int = 1,
    values: Sequence[BoundValue] | None = None,
    names: Sequence[str] | None = None,
    skip_metadata: bool = False,
    page_size: int | None = None,
    paging_state: bytes | None = None,
    serial_consistency: int | None = None,
    timestamp: int | None = None,
    keyspace: str | None = None,
    now_in_seconds: int | None = None,
) -> bytes:
    """What follows the statement in QUERY and EXECUTE; the last two exist in v5."""
    version = version or Spoken.version
    flags, body = 0x02 if skip_metadata else 0, b""
    if values is not None:
        flags |= 0x01 if names is None else 0x41
        labels = [b""] * len(values) if names is None else list(map(string, names))
        body += short(len(values)) + b"".join(
            label + long_bytes(bound) for label, bound in zip(labels, values, strict=True)
        )
    if page_size is not None:
        flags, body = flags | 0x04, body + integer(page_size)
    if paging_state is not None:
        flags, body = flags | 0x08, body + long_bytes(paging_state)
    if serial_consistency is not None:
        flags, body = flags | 0x10, body + short(serial_consistency)
    if timestamp is not None:
        flags, body = flags | 0x20, body + struct.pack(">q", timestamp)
    if keyspace is not None:
        flags, body = flags | 0x80, body + string(keyspace)
    if now_in_seconds is not None:
        flags, body = flags | 0x100, body + integer(now_in_seconds)
    return short(consistency) + (integer(flags) if version >= 5 else bytes([flags])) + body


def query(
    stream: int = 0,
    text: str = "SELECT * FROM ks.t",
    version: int | None = None,
    consistency: int = 1,
    values: Sequence[BoundValue] | None = None,
    names: Sequence[str] | None = None,
    skip_metadata: bool = False,
    page_size: int | None = None,
    paging_state: bytes | None = None,
    serial_consistency: int | None = None,
    timestamp: int | None = None,
    keyspace: str | None = None,
    now_in_seconds: int | None = None,
    tracing: bool = False,
    payload: Mapping[str, bytes] | None = None,
) -> bytes:
    known = consistency, values, names, skip_metadata, page_size, paging_state, serial_consistency, timestamp
    rest = parameters(version, *known, keyspace, now_in_seconds)
    return request(0x07, stream, long_string(text) + rest, **_around(version, tracing, payload))


def prepare(
    stream: int = 0, text: str = "SELECT * FROM ks.t", keyspace: str | None = None, **around: Unpack[Around]
) -> bytes:
    """`keyspace` exists in v5."""
    flags = integer(0) if keyspace is None else integer(1) + string(keyspace)
    return request(
        0x09, stream, long_string(text) + (flags if around.get("version", Spoken.version) >= 5 else b""), **around
    )


def execute(
    stream: int = 0,
    prepared_id: bytes = b"id",
    values: Sequence[BoundValue] | None = (),
    version: int | None = None,
    consistency: int = 1,
    names: Sequence[str] | None = None,
    skip_metadata: bool = False,
    page_size: int | None = None,
    paging_state: bytes | None = None,
    serial_consistency: int | None = None,
    timestamp: int | None = None,
    result_metadata_id: bytes = b"rm",
    tracing: bool = False,
    payload: Mapping[str, bytes] | None = None,
) -> bytes:
    head = short_bytes(prepared_id) + (short_bytes(result_metadata_id) if (version or Spoken.version) >= 5 else b"")
    rest = parameters(
        version, consistency, values, names, skip_metadata, page_size, paging_state, serial_consistency, timestamp
    )
    return request(0x0A, stream, head + rest, **_around(version, tracing, payload))


def batch(
    stream: int = 0,
    children: Sequence[str | bytes | tuple[str | bytes, Sequence[BoundValue]]] = (),
    kind: int = 0,
    version: int | None = None,
    consistency: int = 1,
    serial_consistency: int | None = None,
    timestamp: int | None = None,
    tracing: bool = False,
    payload: Mapping[str, bytes] | None = None,
) -> bytes:
    """Children are texts or prepared ids, each alone or with its values. `kind`: 0 logged, 1 unlogged, 2 counter."""
    rest = parameters(version, consistency, serial_consistency=serial_consistency, timestamp=timestamp)
    packed = b"".join(map(_child, children))
    body = bytes([kind]) + short(len(children)) + packed + rest
    return request(0x0D, stream, body, **_around(version, tracing, payload))


def _child(child: str | bytes | tuple[str | bytes, Sequence[BoundValue]]) -> bytes:
    statement, values = child if isinstance(child, tuple) else (child, ())
    head = b"\0" + long_string(statement) if isinstance(statement, str) else b"\1" + short_bytes(statement)
    return head + short(len(values)) + b"".join(map(long_bytes, values))


def _around(version: int | None, tracing: bool, payload: Mapping[str, bytes] | None) -> Around:
    around: Around = {"version": version or Spoken.version, "tracing": tracing}
    if payload is not None:
        around["payload"] = payload
    return around


def ready(stream: int = 0, **around: Unpack[Around]) -> bytes:
    return answer(0x02, stream, **around)


def authenticate(
    stream: int = 0, authenticator: str = "org.apache.cassandra.auth.PasswordAuthenticator", **around: Unpack[Around]
) -> bytes:
    return answer(0x03, stream, string(authenticator), **around)


def auth_challenge(stream: int = 0, token: Cell = b"?", **around: Unpack[Around]) -> bytes:
    return answer(0x0E, stream, long_bytes(token), **around)


def auth_success(stream: int = 0, token: Cell = None, **around: Unpack[Around]) -> bytes:
    return answer(0x10, stream, long_bytes(token), **around)


def supported(stream: int = 0, options: Mapping[str, Sequence[str]] | None = None, **around: Unpack[Around]) -> bytes:
    offered = {
        "PROTOCOL_VERSIONS": ["3/v3", "4/v4", "5/v5", "6/v6-beta"],
        "COMPRESSION": ["snappy", "lz4"],
        "CQL_VERSION": ["3.4.6"],
    }
    chosen = offered if options is None else options
    entries = b"".join(string(key) + strings(texts) for key, texts in chosen.items())
    return answer(0x06, stream, short(len(chosen)) + entries, **around)


def void(stream: int = 0, **around: Unpack[Around]) -> bytes:
    return answer(0x08, stream, integer(1), **around)


def columns(specs: Mapping[str, bytes], keyspace: str, table: str) -> bytes:
    """Column specifications that share a table; nothing where there are none."""
    described = b"".join(string(name) + kind for name, kind in specs.items())
    return string(keyspace) + string(table) + described if specs else b""


def rows(
    stream: int = 0,
    specs: Mapping[str, bytes] | None = None,
    cells: Sequence[Sequence[Cell]] = (),
    keyspace: str = "ks",
    table: str = "t",
    paging_state: bytes | None = None,
    no_metadata: bool = False,
    new_metadata_id: bytes | None = None,
    **around: Unpack[Around],
) -> bytes:
    """`specs` gives the type of each column by name, `cells` the rows; by default no row of one column `k`."""
    described = {"k": VARCHAR} if specs is None else specs
    flags = 1 | (0 if paging_state is None else 2) | (4 if no_metadata else 0) | (0 if new_metadata_id is None else 8)
    more = b"" if paging_state is None else long_bytes(paging_state)
    more += b"" if new_metadata_id is None else short_bytes(new_metadata_id)
    head = integer(2) + integer(flags) + integer(len(described)) + more
    metadata = b"" if no_metadata else columns(described, keyspace, table)
    packed = b"".join(long_bytes(cell) for row in cells for cell in row)
    return answer(0x08, stream, head + metadata + integer(len(cells)) + packed, **around)


def set_keyspace(stream: int = 0, keyspace: str = "ks", **around: Unpack[Around]) -> bytes:
    return answer(0x08, stream, integer(3) + string(keyspace), **around)


def prepared(
    stream: int = 0,
    prepared_id: bytes = b"id",
    bind: Mapping[str, bytes] | None = None,
    result: Mapping[str, bytes] | None = None,
    pk_indexes: Sequence[int] = (),
    keyspace: str = "ks",
    table: str = "t",
    result_metadata_id: bytes = b"rm",
    **around: Unpack[Around],
) -> bytes:
    """`bind` and `result` give the type of each variable and column by name; no result is that of a write."""
    version, variables = around.get("version", Spoken.version), bind or {}
    head = integer(4) + short_bytes(prepared_id) + (short_bytes(result_metadata_id) if version >= 5 else b"")
    key = integer(len(pk_indexes)) + b"".join(map(short, pk_indexes)) if version >= 4 else b""
    bound = integer(1 if variables else 0) + integer(len(variables)) + key + columns(variables, keyspace, table)
    shape = integer(1) + integer(len(result)) + columns(result, keyspace, table) if result else integer(4) + integer(0)
    return answer(0x08, stream, head + bound + shape, **around)


def schema_change(
    stream: int = 0,
    change: str = "CREATED",
    target: str = "TABLE",
    keyspace: str = "ks",
    name: str | None = "t",
    **around: Unpack[Around],
) -> bytes:
    return answer(0x08, stream, integer(5) + _change(change, target, keyspace, name), **around)


def _change(change: str, target: str, keyspace: str, name: str | None) -> bytes:
    return string(change) + string(target) + string(keyspace) + (b"" if name is None else string(name))


def event_schema_change(
    change: str = "CREATED",
    target: str = "TABLE",
    keyspace: str = "ks",
    name: str | None = "t",
    **around: Unpack[Around],
) -> bytes:
    return answer(0x0C, -1, string("SCHEMA_CHANGE") + _change(change, target, keyspace, name), **around)


def event_status_change(
    change: str = "UP", address: str = "127.0.0.1", port: int = 9042, **around: Unpack[Around]
) -> bytes:
    return answer(0x0C, -1, string("STATUS_CHANGE") + string(change) + inet(address, port), **around)


def event_topology_change(
    change: str = "NEW_NODE", address: str = "127.0.0.1", port: int = 9042, **around: Unpack[Around]
) -> bytes:
    return answer(0x0C, -1, string("TOPOLOGY_CHANGE") + string(change) + inet(address, port), **around)


def error(
    stream: int = 0, code: int = 0x0000, message: str = "broken", fields: bytes = b"", **around: Unpack[Around]
) -> bytes:
    """Any error; `fields` is what follows the message."""
    return answer(0x00, stream, integer(code) + string(message) + fields, **around)


def unprepared(
    stream: int = 0, prepared_id: bytes = b"id", message: str = "Prepared query not found", **around: Unpack[Around]
) -> bytes:
    return error(stream, 0x2500, message, short_bytes(prepared_id), **around)


def unavailable(
    stream: int = 0, consistency: int = 1, required: int = 1, alive: int = 0, **around: Unpack[Around]
) -> bytes:
    fields = short(consistency) + integer(required) + integer(alive)
    return error(stream, 0x1000, "Cannot achieve consistency level", fields, **around)


def write_timeout(
    stream: int = 0,
    consistency: int = 1,
    received: int = 0,
    required: int = 1,
    write_type: str = "SIMPLE",
    **around: Unpack[Around],
) -> bytes:
    fields = short(consistency) + integer(received) + integer(required) + string(write_type)
    return error(stream, 0x1100, "Operation timed out", fields, **around)


def read_timeout(
    stream: int = 0,
    consistency: int = 1,
    received: int = 0,
    required: int = 1,
    data_present: bool = False,
    **around: Unpack[Around],
) -> bytes:
    fields = short(consistency) + integer(received) + integer(required) + bytes([data_present])
    return error(stream, 0x1200, "Operation timed out", fields, **around)


def read_failure(
    stream: int = 0,
    consistency: int = 1,
    received: int = 0,
    required: int = 1,
    failures: int = 1,
    data_present: bool = False,
    **around: Unpack[Around],
) -> bytes:
    """As v4 has it."""
    fields = short(consistency) + integer(received) + integer(required) + integer(failures) + bytes([data_present])
    return error(stream, 0x1300, "Operation failed", fields, **around)


def write_failure(
    stream: int = 0,
    consistency: int = 1,
    received: int = 0,
    required: int = 1,
    failures: int = 1,
    write_type: str = "SIMPLE",
    **around: Unpack[Around],
) -> bytes:
    """As v4 has it."""
    fields = short(consistency) + integer(received) + integer(required) + integer(failures) + string(write_type)
    return error(stream, 0x1500, "Operation failed", fields, **around)


def already_exists(stream: int = 0, keyspace: str = "ks", table: str = "t", **around: Unpack[Around]) -> bytes:
    return error(stream, 0x2400, "Cannot add already existing table", string(keyspace) + string(table), **around)
