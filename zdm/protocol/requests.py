"""The bodies a client sends (v4 section 4.1).

    STARTUP        <options [string map]>
    AUTH_RESPONSE  <token [bytes]>
    OPTIONS        nothing
    REGISTER       <event types [string list]>
    QUERY          <text [long string]><parameters>
    PREPARE        <text [long string]>, v5: <flags [int]><keyspace [string] flag 0x01>
    EXECUTE        <prepared id [short bytes]>, v5: <result metadata id [short bytes]>, <parameters>
    BATCH          <kind [byte]><n [short]>, n children, <consistency [short]><flags>
                   <serial consistency [short] flag 0x10><timestamp [long] flag 0x20>
                   v5: <keyspace [string] flag 0x80><now in seconds [int] flag 0x100>
    child          <0 [byte]><text [long string]> or <1 [byte]><prepared id [short bytes]>, then <n [short]>, n [value]

Flags are a [byte] in v3 and v4, an [int] in v5. `query_parameters` draws <parameters>. Bytes after a body are left
unread, as Cassandra leaves them; so are flag bits without a meaning in the version, where they bring no bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from zdm.protocol import opcodes
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import (
    UNSET,
    Reader,
    Unset,
    Value,
    encode_byte,
    encode_bytes,
    encode_int,
    encode_long_string,
    encode_short,
    encode_short_bytes,
    encode_string,
    encode_string_list,
    encode_string_map,
)
from zdm.protocol.query_parameters import (
    KEYSPACE,
    NAMES,
    NOW_IN_SECONDS,
    PAGE_SIZE,
    PAGING_STATE,
    SERIAL_CONSISTENCY,
    SKIP_METADATA,
    TIMESTAMP,
    VALUES,
    QueryParameters,
    decode_flags,
    decode_query_parameters,
    decode_values,
    encode_flags,
    encode_options,
    encode_values,
)
from zdm.protocol.versions import V5, check_version

__all__ = [
    "COUNTER",
    "LOGGED",
    "UNLOGGED",
    "UNSET",
    "AuthResponse",
    "Batch",
    "BatchChild",
    "Execute",
    "Options",
    "Prepare",
    "Query",
    "QueryParameters",
    "Register",
    "Request",
    "Startup",
    "Unset",
    "Value",
    "decode_request",
]

# A batch's kind.
LOGGED: Final = 0
UNLOGGED: Final = 1
COUNTER: Final = 2

# How a child of a batch names its statement.
CHILD_TEXT: Final = 0
CHILD_PREPARED: Final = 1

_PREPARE_KEYSPACE: Final = 0x01
# v4 section 4.1.7: the bits that mean something in QUERY only "must always be 0".
_BATCH_FORBIDDEN: Final = VALUES | SKIP_METADATA | PAGE_SIZE | PAGING_STATE


@dataclass(frozen=True, slots=True)
class Startup:
    """The first request that chooses: CQL_VERSION always, COMPRESSION and others at will."""

    opcode: ClassVar[int] = opcodes.STARTUP
    options: dict[str, str]

    def encode(self, version: int) -> bytes:
        return encode_string_map(self.options)


@dataclass(frozen=True, slots=True)
class AuthResponse:
    """The client's turn in the exchange that AUTHENTICATE began; what the token means is the authenticator's."""

    opcode: ClassVar[int] = opcodes.AUTH_RESPONSE
    token: bytes | None

    def encode(self, version: int) -> bytes:
        return encode_bytes(self.token)


@dataclass(frozen=True, slots=True)
class Options:
    """Asks what the server supports; allowed at any time, so drivers use it as their heartbeat."""

    opcode: ClassVar[int] = opcodes.OPTIONS

    def encode(self, version: int) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Register:
    """Asks for events of the given types from now on."""

    opcode: ClassVar[int] = opcodes.REGISTER
    event_types: list[str]

    def encode(self, version: int) -> bytes:
        return encode_string_list(self.event_types)


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as text."""

    opcode: ClassVar[int] = opcodes.QUERY
    text: str
    parameters: QueryParameters

    def encode(self, version: int) -> bytes:
        return encode_long_string(self.text) + self.parameters.encode(version)


@dataclass(frozen=True, slots=True)
class Prepare:
    """A statement to be kept under an id. `keyspace` exists in v5; before, the connection's keyspace is meant."""

    opcode: ClassVar[int] = opcodes.PREPARE
    text: str
    keyspace: str | None = None

    def encode(self, version: int) -> bytes:
        text = encode_long_string(self.text)
        if version >= V5:
            if self.keyspace is None:
                return text + encode_int(0)
            return text + encode_int(_PREPARE_KEYSPACE) + encode_string(self.keyspace)
        if self.keyspace is not None:
            raise LocalProtocolError(f"PREPARE has a keyspace from v5 on, not in v{version}")
        return text


@dataclass(frozen=True, slots=True)
class Execute:
    """A prepared statement with its values. `result_metadata_id` exists in v5, where it must be given."""

    opcode: ClassVar[int] = opcodes.EXECUTE
    prepared_id: bytes
    parameters: QueryParameters
    result_metadata_id: bytes | None = None

    def encode(self, version: int) -> bytes:
        head = encode_short_bytes(self.prepared_id)
        if version >= V5:
            if self.result_metadata_id is None:
                raise LocalProtocolError("EXECUTE needs the result metadata id in v5")
            head += encode_short_bytes(self.result_metadata_id)
        elif self.result_metadata_id is not None:
            raise LocalProtocolError(f"EXECUTE has a result metadata id from v5 on, not in v{version}")
        return head + self.parameters.encode(version)


@dataclass(frozen=True, slots=True)
class BatchChild:
    """One statement of a batch: its text, or the id it was prepared under.

    `names` is there because the specification speaks of named values in a batch. Their flag stands behind the values
    they would change the layout of, so nobody can read them: encoding refuses them.
    """

    statement: str | bytes
    values: list[Value]
    names: list[str] | None = None

    def encode(self, version: int) -> bytes:
        if self.names is not None:
            raise LocalProtocolError("Values in a batch cannot be named")
        if isinstance(self.statement, str):
            head = encode_byte(CHILD_TEXT) + encode_long_string(self.statement)
        else:
            head = encode_byte(CHILD_PREPARED) + encode_short_bytes(self.statement)
        return head + encode_values(self.values, None, version)


@dataclass(frozen=True, slots=True)
class Batch:
    """Statements executed as one. `kind` is LOGGED, UNLOGGED or COUNTER; `timestamp` is in microseconds."""

    opcode: ClassVar[int] = opcodes.BATCH
    kind: int
    children: list[BatchChild]
    consistency: int
    serial_consistency: int | None = None
    timestamp: int | None = None
    keyspace: str | None = None
    now_in_seconds: int | None = None

    def encode(self, version: int) -> bytes:
        children = b"".join([child.encode(version) for child in self.children])
        flags, options = encode_options(self.serial_consistency, self.timestamp, self.keyspace, self.now_in_seconds)
        head = encode_byte(self.kind) + encode_short(len(self.children))
        return head + children + encode_short(self.consistency) + encode_flags(flags, version) + options


Request = Startup | AuthResponse | Options | Register | Query | Prepare | Execute | Batch


def decode_request(opcode: int, version: int, body: bytes, position: int = 0) -> Request:
    """The request whose body proper begins at `position`, behind a custom payload where there is one.

    Raises `RemoteProtocolError` where the bytes make no such request, or the opcode or version is unknown. The bodies
    of BATCH refuse an unknown kind, the flags of v4 section 4.1.7 that must be 0, and named values.
    """
    check_version(version)
    decode = _DECODERS.get(opcode)
    if decode is None:
        raise RemoteProtocolError(f"{opcodes.opcode_name(opcode)} is no request")
    return decode(Reader(body, position), version)


def _decode_startup(reader: Reader, version: int) -> Request:
    return Startup(reader.string_map())


def _decode_auth_response(reader: Reader, version: int) -> Request:
    return AuthResponse(reader.bytes())


def _decode_options(reader: Reader, version: int) -> Request:
    return Options()


def _decode_register(reader: Reader, version: int) -> Request:
    return Register(reader.string_list())


def _decode_query(reader: Reader, version: int) -> Request:
    return Query(reader.long_string(), decode_query_parameters(reader, version))


def _decode_prepare(reader: Reader, version: int) -> Request:
    text = reader.long_string()
    if version < V5:
        return Prepare(text)
    flags = reader.int()
    return Prepare(text, reader.string() if flags & _PREPARE_KEYSPACE else None)


def _decode_execute(reader: Reader, version: int) -> Request:
    prepared_id = reader.short_bytes()
    result_metadata_id = reader.short_bytes() if version >= V5 else None
    return Execute(prepared_id, decode_query_parameters(reader, version), result_metadata_id)


def _decode_batch(reader: Reader, version: int) -> Request:
    kind = reader.byte()
    if kind not in (LOGGED, UNLOGGED, COUNTER):
        raise RemoteProtocolError(f"Invalid batch kind {kind}")
    children = [_decode_child(reader, version) for _ in range(reader.short())]
    consistency = reader.short()
    flags = decode_flags(reader, version)
    if flags & NAMES:
        raise RemoteProtocolError("Named values in a batch cannot be read (CASSANDRA-10246)")
    if flags & _BATCH_FORBIDDEN:
        raise RemoteProtocolError(f"Invalid flags 0x{flags:02X} in a batch")
    return Batch(
        kind,
        children,
        consistency,
        reader.short() if flags & SERIAL_CONSISTENCY else None,
        reader.long() if flags & TIMESTAMP else None,
        reader.string() if flags & KEYSPACE else None,
        reader.int() if flags & NOW_IN_SECONDS else None,
    )


def _decode_child(reader: Reader, version: int) -> BatchChild:
    kind = reader.byte()
    if kind == CHILD_TEXT:
        return BatchChild(reader.long_string(), decode_values(reader, version))
    if kind == CHILD_PREPARED:
        return BatchChild(reader.short_bytes(), decode_values(reader, version))
    raise RemoteProtocolError(f"Invalid kind {kind} of a statement in a batch")


_DECODERS: Final[dict[int, Callable[[Reader, int], Request]]] = {
    opcodes.STARTUP: _decode_startup,
    opcodes.AUTH_RESPONSE: _decode_auth_response,
    opcodes.OPTIONS: _decode_options,
    opcodes.REGISTER: _decode_register,
    opcodes.QUERY: _decode_query,
    opcodes.PREPARE: _decode_prepare,
    opcodes.EXECUTE: _decode_execute,
    opcodes.BATCH: _decode_batch,
}
