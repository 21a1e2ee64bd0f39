"""The bodies of answers (v4 section 4.2); ERROR has a file of its own.

    READY          empty
    AUTHENTICATE   <authenticator [string]>
    SUPPORTED      <options [string multimap]>
    AUTH_CHALLENGE, AUTH_SUCCESS   <token [bytes]>
    EVENT          <type [string]> and what the type brings
    RESULT         <kind [int]> then
      1 Void
      2 Rows           <metadata><n [int]> n x columns x [bytes]
      3 SetKeyspace    <keyspace [string]>
      4 Prepared       <id [short bytes]>[<metadata id [short bytes]>, v5]<variables><metadata>
      5 SchemaChange   <change [string]><target [string]><keyspace [string]>[<name [string]>[<arguments [string list]>]]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from zdm.protocol import opcodes
from zdm.protocol.errors import Error, decode_error
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.metadata import BindMetadata, RowsMetadata, decode_bind_metadata, decode_rows_metadata
from zdm.protocol.primitives import (
    Reader,
    encode_bytes,
    encode_inet,
    encode_int,
    encode_short_bytes,
    encode_string,
    encode_string_list,
    encode_string_multimap,
)
from zdm.protocol.versions import V5, check_version

VOID: Final = 1
ROWS: Final = 2
SET_KEYSPACE: Final = 3
PREPARED: Final = 4
SCHEMA_CHANGE: Final = 5

_NAMED_TARGETS: Final = ("TABLE", "TYPE", "FUNCTION", "AGGREGATE")
_CALLED_TARGETS: Final = ("FUNCTION", "AGGREGATE")
_VALUE_LENGTH: Final = 4


@dataclass(frozen=True, slots=True)
class Ready:
    """The connection may be used."""

    opcode: ClassVar[int] = opcodes.READY

    def encode(self, version: int) -> bytes:
        """An empty body."""
        return b""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Credentials are wanted; `authenticator` is a Java class name."""

    opcode: ClassVar[int] = opcodes.AUTHENTICATE
    authenticator: str

    def encode(self, version: int) -> bytes:
        """The class name."""
        return encode_string(self.authenticator)


@dataclass(frozen=True, slots=True)
class Supported:
    """What may be asked for in STARTUP."""

    opcode: ClassVar[int] = opcodes.SUPPORTED
    options: dict[str, list[str]]

    def encode(self, version: int) -> bytes:
        """The options."""
        return encode_string_multimap(self.options)


@dataclass(frozen=True, slots=True)
class AuthChallenge:
    """One more step of authentication."""

    opcode: ClassVar[int] = opcodes.AUTH_CHALLENGE
    token: bytes | None

    def encode(self, version: int) -> bytes:
        """The token."""
        return encode_bytes(self.token)


@dataclass(frozen=True, slots=True)
class AuthSuccess:
    """The credentials were accepted."""

    opcode: ClassVar[int] = opcodes.AUTH_SUCCESS
    token: bytes | None = None

    def encode(self, version: int) -> bytes:
        """The token."""
        return encode_bytes(self.token)


@dataclass(frozen=True, slots=True)
class Void:
    """Done, with nothing to tell."""

    opcode: ClassVar[int] = opcodes.RESULT

    def encode(self, version: int) -> bytes:
        """The kind alone."""
        return encode_int(VOID)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of raw values, each as many as there are columns."""

    opcode: ClassVar[int] = opcodes.RESULT
    metadata: RowsMetadata
    rows: list[list[bytes | None]]

    def encode(self, version: int) -> bytes:
        """Kind, metadata, rows."""
        values = b"".join(encode_bytes(value) for row in self.rows for value in row)
        return encode_int(ROWS) + self.metadata.encode(version) + encode_int(len(self.rows)) + values


@dataclass(frozen=True, slots=True)
class SetKeyspace:
    """USE was done; `keyspace` is the connection's now."""

    opcode: ClassVar[int] = opcodes.RESULT
    keyspace: str

    def encode(self, version: int) -> bytes:
        """Kind and keyspace."""
        return encode_int(SET_KEYSPACE) + encode_string(self.keyspace)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement was prepared: its id, its variables, and the columns of its rows."""

    opcode: ClassVar[int] = opcodes.RESULT
    prepared_id: bytes
    bind: BindMetadata
    result: RowsMetadata
    result_metadata_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        """Kind, ids, metadata. The result metadata id exists in v5 only."""
        ids = encode_short_bytes(self.prepared_id)
        if version >= V5:
            ids += encode_short_bytes(self.result_metadata_id or b"")
        return encode_int(PREPARED) + ids + self.bind.encode(version) + self.result.encode(version)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """The schema was changed. `change` is CREATED, UPDATED or DROPPED, `target` what kind of thing.

    `name` is None for a KEYSPACE; `arguments` are the types of a FUNCTION's or AGGREGATE's arguments.
    """

    opcode: ClassVar[int] = opcodes.RESULT
    change: str
    target: str
    keyspace: str
    name: str | None = None
    arguments: list[str] | None = None

    def encode(self, version: int) -> bytes:
        """Kind and change."""
        return encode_int(SCHEMA_CHANGE) + _encode_change(self)


@dataclass(frozen=True, slots=True)
class SchemaChangeEvent:
    """The schema was changed by somebody; the fields are those of SchemaChange."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    target: str
    keyspace: str
    name: str | None = None
    arguments: list[str] | None = None

    def encode(self, version: int) -> bytes:
        """Type and change."""
        return encode_string("SCHEMA_CHANGE") + _encode_change(self)


@dataclass(frozen=True, slots=True)
class StatusChangeEvent:
    """A host went UP or DOWN."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    address: str
    port: int

    def encode(self, version: int) -> bytes:
        """Type, change, address."""
        return encode_string("STATUS_CHANGE") + encode_string(self.change) + encode_inet(self.address, self.port)


@dataclass(frozen=True, slots=True)
class TopologyChangeEvent:
    """A host came or went: NEW_NODE, REMOVED_NODE, MOVED_NODE."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    address: str
    port: int

    def encode(self, version: int) -> bytes:
        """Type, change, address."""
        return encode_string("TOPOLOGY_CHANGE") + encode_string(self.change) + encode_inet(self.address, self.port)


Result = Void | Rows | SetKeyspace | Prepared | SchemaChange
Event = SchemaChangeEvent | StatusChangeEvent | TopologyChangeEvent
Response = Ready | Authenticate | Supported | AuthChallenge | AuthSuccess | Result | Event | Error


def decode_response(opcode: int, version: int, body: bytes, position: int = 0) -> Response:
    """What an answer says; `position` is where its body proper begins. Raises RemoteProtocolError."""
    check_version(version)
    if opcode == opcodes.ERROR:
        return decode_error(version, body, position)
    decode = _DECODERS.get(opcode)
    if decode is None:
        raise RemoteProtocolError(f"{opcodes.opcode_name(opcode)} is no answer")
    return decode(Reader(body, position), version)


def _encode_change(change: SchemaChange | SchemaChangeEvent) -> bytes:
    coded = encode_string(change.change) + encode_string(change.target) + encode_string(change.keyspace)
    if change.name is not None:
        coded += encode_string(change.name)
    if change.arguments is not None:
        coded += encode_string_list(change.arguments)
    return coded


def _decode_change(reader: Reader) -> tuple[str, str, str, str | None, list[str] | None]:
    change, target, keyspace = reader.string(), reader.string(), reader.string()
    name = reader.string() if target in _NAMED_TARGETS else None
    arguments = reader.string_list() if target in _CALLED_TARGETS else None
    return change, target, keyspace, name, arguments


def _decode_ready(reader: Reader, version: int) -> Response:
    return Ready()


def _decode_authenticate(reader: Reader, version: int) -> Response:
    return Authenticate(reader.string())


def _decode_supported(reader: Reader, version: int) -> Response:
    return Supported(reader.string_multimap())


def _decode_challenge(reader: Reader, version: int) -> Response:
    return AuthChallenge(reader.bytes())


def _decode_success(reader: Reader, version: int) -> Response:
    return AuthSuccess(reader.bytes())


def _decode_event(reader: Reader, version: int) -> Response:
    kind = reader.string()
    if kind == "SCHEMA_CHANGE":
        return SchemaChangeEvent(*_decode_change(reader))
    if kind == "STATUS_CHANGE":
        return StatusChangeEvent(reader.string(), *reader.inet())
    if kind == "TOPOLOGY_CHANGE":
        return TopologyChangeEvent(reader.string(), *reader.inet())
    raise RemoteProtocolError(f"{kind} is no type of event")


def _decode_result(reader: Reader, version: int) -> Response:
    kind = reader.int()
    if kind == VOID:
        return Void()
    if kind == ROWS:
        return _decode_rows(reader, version)
    if kind == SET_KEYSPACE:
        return SetKeyspace(reader.string())
    if kind == PREPARED:
        return _decode_prepared(reader, version)
    if kind == SCHEMA_CHANGE:
        return SchemaChange(*_decode_change(reader))
    raise RemoteProtocolError(f"{kind} is no kind of RESULT")


def _decode_rows(reader: Reader, version: int) -> Rows:
    metadata = decode_rows_metadata(reader, version)
    count, columns = reader.count(), metadata.column_count
    if count * columns * _VALUE_LENGTH > reader.remaining() or (count and not columns):
        raise RemoteProtocolError(f"{count} rows of {columns} columns can't fit in {reader.remaining()} bytes")
    return Rows(metadata, [[reader.bytes() for _ in range(columns)] for _ in range(count)])


def _decode_prepared(reader: Reader, version: int) -> Prepared:
    prepared_id = reader.short_bytes()
    result_metadata_id = reader.short_bytes() if version >= V5 else None
    bind = decode_bind_metadata(reader, version)
    return Prepared(prepared_id, bind, decode_rows_metadata(reader, version), result_metadata_id)


_DECODERS: Final[dict[int, Callable[[Reader, int], Response]]] = {
    opcodes.READY: _decode_ready,
    opcodes.AUTHENTICATE: _decode_authenticate,
    opcodes.SUPPORTED: _decode_supported,
    opcodes.RESULT: _decode_result,
    opcodes.EVENT: _decode_event,
    opcodes.AUTH_CHALLENGE: _decode_challenge,
    opcodes.AUTH_SUCCESS: _decode_success,
}
