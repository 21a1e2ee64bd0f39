"""The bodies a server sends (v4 section 4.2); ERROR is in `errors`.

    READY           nothing
    AUTHENTICATE    <authenticator, a Java class [string]>
    SUPPORTED       <options [string multimap]>
    AUTH_CHALLENGE  <token [bytes]>
    AUTH_SUCCESS    <token [bytes]>
    RESULT          <kind [int]> and, by kind,
      VOID          nothing
      ROWS          <rows metadata><n [int]>, n rows of one [bytes] per column
      SET_KEYSPACE  <keyspace [string]>
      PREPARED      <id [short bytes]>, v5: <result metadata id [short bytes]>, <bind metadata><rows metadata>
      SCHEMA_CHANGE <schema change>
    EVENT           <type [string]>: SCHEMA_CHANGE <schema change>,
                    STATUS_CHANGE and TOPOLOGY_CHANGE <change [string]><host [inet]>
    schema change   <change [string]><target [string]><keyspace [string]> and, by target,
                    TABLE, TYPE <name [string]>; v4+ FUNCTION, AGGREGATE <name [string]><arguments [string list]>

Bytes after a body are left unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from zdm.protocol import opcodes
from zdm.protocol.errors import Error, decode_error
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.metadata import BindMetadata, RowsMetadata
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
from zdm.protocol.versions import V4, V5, check_version

# The kinds of RESULT.
VOID: Final = 1
ROWS: Final = 2
SET_KEYSPACE: Final = 3
PREPARED: Final = 4
SCHEMA_CHANGE: Final = 5

# The types of EVENT, as REGISTER names them.
TOPOLOGY_CHANGE_EVENT: Final = "TOPOLOGY_CHANGE"
STATUS_CHANGE_EVENT: Final = "STATUS_CHANGE"
SCHEMA_CHANGE_EVENT: Final = "SCHEMA_CHANGE"

# What a schema change changed.
TARGET_KEYSPACE: Final = "KEYSPACE"
TARGET_TABLE: Final = "TABLE"
TARGET_TYPE: Final = "TYPE"
TARGET_FUNCTION: Final = "FUNCTION"
TARGET_AGGREGATE: Final = "AGGREGATE"

_NAMED_TARGETS: Final = frozenset({TARGET_TABLE, TARGET_TYPE, TARGET_FUNCTION, TARGET_AGGREGATE})
_CALLABLE_TARGETS: Final = frozenset({TARGET_FUNCTION, TARGET_AGGREGATE})

_CELL_MINIMUM: Final = 4


@dataclass(frozen=True, slots=True)
class Ready:
    """The connection may be used."""

    opcode: ClassVar[int] = opcodes.READY

    def encode(self, version: int) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Credentials are wanted, in the way of the named authenticator."""

    opcode: ClassVar[int] = opcodes.AUTHENTICATE
    authenticator: str

    def encode(self, version: int) -> bytes:
        return encode_string(self.authenticator)


@dataclass(frozen=True, slots=True)
class Supported:
    """What the server can do, by option: CQL_VERSION, COMPRESSION, PROTOCOL_VERSIONS."""

    opcode: ClassVar[int] = opcodes.SUPPORTED
    options: dict[str, list[str]]

    def encode(self, version: int) -> bytes:
        return encode_string_multimap(self.options)


@dataclass(frozen=True, slots=True)
class AuthChallenge:
    """The authenticator has a further question."""

    opcode: ClassVar[int] = opcodes.AUTH_CHALLENGE
    token: bytes | None

    def encode(self, version: int) -> bytes:
        return encode_bytes(self.token)


@dataclass(frozen=True, slots=True)
class AuthSuccess:
    """The client is who it says; the connection may be used."""

    opcode: ClassVar[int] = opcodes.AUTH_SUCCESS
    token: bytes | None

    def encode(self, version: int) -> bytes:
        return encode_bytes(self.token)


@dataclass(frozen=True, slots=True)
class Void:
    """Done, and there is nothing to tell."""

    opcode: ClassVar[int] = opcodes.RESULT

    def encode(self, version: int) -> bytes:
        return encode_int(VOID)


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of rows: one list of values per row, one value per column."""

    opcode: ClassVar[int] = opcodes.RESULT
    metadata: RowsMetadata
    rows: list[list[bytes | None]]

    def encode(self, version: int) -> bytes:
        if any(len(row) != self.metadata.column_count for row in self.rows):
            raise LocalProtocolError(f"A row has not the {self.metadata.column_count} values announced")
        cells = b"".join([encode_bytes(cell) for row in self.rows for cell in row])
        return encode_int(ROWS) + self.metadata.encode(version) + encode_int(len(self.rows)) + cells


@dataclass(frozen=True, slots=True)
class SetKeyspace:
    """USE has been done on this connection."""

    opcode: ClassVar[int] = opcodes.RESULT
    keyspace: str

    def encode(self, version: int) -> bytes:
        return encode_int(SET_KEYSPACE) + encode_string(self.keyspace)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement's id, variables and result columns. `result_metadata_id` exists in v5, where it must be given."""

    opcode: ClassVar[int] = opcodes.RESULT
    prepared_id: bytes
    bind: BindMetadata
    result: RowsMetadata
    result_metadata_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        head = encode_int(PREPARED) + encode_short_bytes(self.prepared_id)
        if version >= V5:
            if self.result_metadata_id is None:
                raise LocalProtocolError("PREPARED needs the result metadata id in v5")
            head += encode_short_bytes(self.result_metadata_id)
        elif self.result_metadata_id is not None:
            raise LocalProtocolError(f"PREPARED has a result metadata id from v5 on, not in v{version}")
        return head + self.bind.encode(version) + self.result.encode(version)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """The schema was changed by this request: `change` is CREATED, UPDATED or DROPPED, `target` says what of.

    `name` is None for a keyspace; `arguments` are the argument types of a function or aggregate, None for others.
    """

    opcode: ClassVar[int] = opcodes.RESULT
    change: str
    target: str
    keyspace: str
    name: str | None = None
    arguments: list[str] | None = None

    def encode(self, version: int) -> bytes:
        return encode_int(SCHEMA_CHANGE) + _encode_schema_change(self, version)


@dataclass(frozen=True, slots=True)
class SchemaChangeEvent:
    """The schema was changed by someone; fields as in `SchemaChange`."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    target: str
    keyspace: str
    name: str | None = None
    arguments: list[str] | None = None

    def encode(self, version: int) -> bytes:
        return encode_string(SCHEMA_CHANGE_EVENT) + _encode_schema_change(self, version)


@dataclass(frozen=True, slots=True)
class StatusChangeEvent:
    """A host went UP or DOWN."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    address: str
    port: int

    def encode(self, version: int) -> bytes:
        return encode_string(STATUS_CHANGE_EVENT) + encode_string(self.change) + encode_inet(self.address, self.port)


@dataclass(frozen=True, slots=True)
class TopologyChangeEvent:
    """A host came or went: NEW_NODE, REMOVED_NODE, in older servers MOVED_NODE."""

    opcode: ClassVar[int] = opcodes.EVENT
    change: str
    address: str
    port: int

    def encode(self, version: int) -> bytes:
        return encode_string(TOPOLOGY_CHANGE_EVENT) + encode_string(self.change) + encode_inet(self.address, self.port)


Result = Void | Rows | SetKeyspace | Prepared | SchemaChange
Event = SchemaChangeEvent | StatusChangeEvent | TopologyChangeEvent
Response = Error | Ready | Authenticate | Supported | AuthChallenge | AuthSuccess | Result | Event


def decode_response(opcode: int, version: int, body: bytes, position: int = 0) -> Response:
    """The response whose body proper begins at `position`, behind what `envelope` reads.

    Raises `RemoteProtocolError` where the bytes make no such response, or the opcode or version is unknown.
    """
    check_version(version)
    if opcode == opcodes.ERROR:
        return decode_error(version, body, position)
    decode = _DECODERS.get(opcode)
    if decode is None:
        raise RemoteProtocolError(f"{opcodes.opcode_name(opcode)} is no response")
    return decode(Reader(body, position), version)


def _encode_schema_change(change: SchemaChange | SchemaChangeEvent, version: int) -> bytes:
    target, name, arguments = change.target, change.name, change.arguments
    if (name is not None) != (target in _NAMED_TARGETS) or (arguments is not None) != (target in _CALLABLE_TARGETS):
        raise LocalProtocolError(f"A schema change of {target} has other fields than those given")
    if target in _CALLABLE_TARGETS and version < V4:
        raise LocalProtocolError(f"Schema changes of {target} exist from v4 on, not in v{version}")
    body = encode_string(change.change) + encode_string(target) + encode_string(change.keyspace)
    if name is not None:
        body += encode_string(name)
    return body if arguments is None else body + encode_string_list(arguments)


def _decode_schema_change(reader: Reader, version: int) -> tuple[str, str, str, str | None, list[str] | None]:
    change, target, keyspace = reader.string(), reader.string(), reader.string()
    if target == TARGET_KEYSPACE:
        return change, target, keyspace, None, None
    if target not in _NAMED_TARGETS or (target in _CALLABLE_TARGETS and version < V4):
        raise RemoteProtocolError(f"Unknown target {target!r} of a schema change in v{version}")
    name = reader.string()
    return change, target, keyspace, name, reader.string_list() if target in _CALLABLE_TARGETS else None


def _decode_ready(reader: Reader, version: int) -> Response:
    return Ready()


def _decode_authenticate(reader: Reader, version: int) -> Response:
    return Authenticate(reader.string())


def _decode_supported(reader: Reader, version: int) -> Response:
    return Supported(reader.string_multimap())


def _decode_auth_challenge(reader: Reader, version: int) -> Response:
    return AuthChallenge(reader.bytes())


def _decode_auth_success(reader: Reader, version: int) -> Response:
    return AuthSuccess(reader.bytes())


def _decode_result(reader: Reader, version: int) -> Response:
    kind = reader.int()
    if kind == VOID:
        return Void()
    if kind == ROWS:
        return _decode_rows(reader, version)
    if kind == SET_KEYSPACE:
        return SetKeyspace(reader.string())
    if kind == PREPARED:
        prepared_id = reader.short_bytes()
        result_metadata_id = reader.short_bytes() if version >= V5 else None
        bind = BindMetadata.decode(reader, version)
        return Prepared(prepared_id, bind, RowsMetadata.decode(reader, version), result_metadata_id)
    if kind == SCHEMA_CHANGE:
        return SchemaChange(*_decode_schema_change(reader, version))
    raise RemoteProtocolError(f"Unknown kind {kind} of a result")


def _decode_rows(reader: Reader, version: int) -> Response:
    metadata = RowsMetadata.decode(reader, version)
    row_count, width = reader.count(), metadata.column_count
    # Rows without columns take no bytes, so nothing but this would end the loop over an absurd count of them.
    if row_count and (width == 0 or row_count * width * _CELL_MINIMUM > reader.remaining()):
        raise RemoteProtocolError(f"Not enough bytes for {row_count} rows of {width} columns")
    return Rows(metadata, [[reader.bytes() for _ in range(width)] for _ in range(row_count)])


def _decode_event(reader: Reader, version: int) -> Response:
    kind = reader.string()
    if kind == SCHEMA_CHANGE_EVENT:
        return SchemaChangeEvent(*_decode_schema_change(reader, version))
    if kind == STATUS_CHANGE_EVENT:
        return StatusChangeEvent(reader.string(), *reader.inet())
    if kind == TOPOLOGY_CHANGE_EVENT:
        return TopologyChangeEvent(reader.string(), *reader.inet())
    raise RemoteProtocolError(f"Unknown event {kind!r}")


_DECODERS: Final[dict[int, Callable[[Reader, int], Response]]] = {
    opcodes.READY: _decode_ready,
    opcodes.AUTHENTICATE: _decode_authenticate,
    opcodes.SUPPORTED: _decode_supported,
    opcodes.RESULT: _decode_result,
    opcodes.EVENT: _decode_event,
    opcodes.AUTH_CHALLENGE: _decode_auth_challenge,
    opcodes.AUTH_SUCCESS: _decode_auth_success,
}
