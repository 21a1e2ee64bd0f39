"""The ERROR body (v4 section 9): a cluster's refusal, which is a value here and never an exception.

    <code [int]><message [string]> and, by code,
    UNAVAILABLE         <consistency [short]><required [int]><alive [int]>
    WRITE_TIMEOUT       <consistency [short]><received [int]><required [int]><write type [string]>
                        v5, where the write type is CAS: <contentions [short]>
    READ_TIMEOUT        <consistency [short]><received [int]><required [int]><data present [byte]>
    READ_FAILURE   v4+  <consistency [short]><received [int]><required [int]><failures><data present [byte]>
    WRITE_FAILURE  v4+  <consistency [short]><received [int]><required [int]><failures><write type [string]>
                        failures: v4 [int]; v5 [int] n, n x (replica [inetaddr], reason [short])
    FUNCTION_FAILURE v4+ <keyspace [string]><function [string]><argument types [string list]>
    CAS_WRITE_UNKNOWN v5+ <consistency [short]><received [int]><required [int]>
    ALREADY_EXISTS      <keyspace [string]><table [string], empty where the keyspace is meant>
    UNPREPARED          <prepared id [short bytes]>

A code that has no fields, is unknown, or is younger than the version in use is a plain `Error`: its code and message
count, what follows is left unread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Final

from zdm.protocol import opcodes
from zdm.protocol.exceptions import LocalProtocolError
from zdm.protocol.primitives import (
    Reader,
    encode_byte,
    encode_inet_address,
    encode_int,
    encode_short,
    encode_short_bytes,
    encode_string,
    encode_string_list,
)
from zdm.protocol.versions import V3, V4, V5, check_version


class ErrorCode(IntEnum):
    """The number on the wire, an [int], of each refusal."""

    SERVER_ERROR = 0x0000
    PROTOCOL_ERROR = 0x000A
    AUTHENTICATION_ERROR = 0x0100
    UNAVAILABLE = 0x1000
    OVERLOADED = 0x1001
    IS_BOOTSTRAPPING = 0x1002
    TRUNCATE_ERROR = 0x1003
    WRITE_TIMEOUT = 0x1100
    READ_TIMEOUT = 0x1200
    READ_FAILURE = 0x1300
    FUNCTION_FAILURE = 0x1400
    WRITE_FAILURE = 0x1500
    CDC_WRITE_FAILURE = 0x1600
    CAS_WRITE_UNKNOWN = 0x1700
    SYNTAX_ERROR = 0x2000
    UNAUTHORIZED = 0x2100
    INVALID = 0x2200
    CONFIG_ERROR = 0x2300
    ALREADY_EXISTS = 0x2400
    UNPREPARED = 0x2500


CAS_WRITE_TYPE: Final = "CAS"

# v4: how many replicas failed; v5: which, and the reason code of each.
Failures = int | dict[str, int]


@dataclass(frozen=True, slots=True)
class Error:
    """A refusal whose code and message say all. Subclasses fix the code and add the fields that it brings."""

    opcode: ClassVar[int] = opcodes.ERROR
    code: int
    message: str

    def encode(self, version: int) -> bytes:
        """The body; `LocalProtocolError` where this version has no such error, or it has fields that are not given."""
        return encode_int(self.code) + encode_string(self.message) + self._encode_fields(version)

    def _encode_fields(self, version: int) -> bytes:
        if _field_decoder(self.code, version) is not None:
            raise LocalProtocolError(f"Error code 0x{self.code:04X} cannot be sent without its fields")
        return b""


@dataclass(frozen=True, slots=True)
class Unavailable(Error):
    """Too few replicas were alive, so nothing was tried."""

    code: int = field(init=False, default=ErrorCode.UNAVAILABLE)
    consistency: int
    required: int
    alive: int

    def _encode_fields(self, version: int) -> bytes:
        return encode_short(self.consistency) + encode_int(self.required) + encode_int(self.alive)


@dataclass(frozen=True, slots=True)
class WriteTimeout(Error):
    """Too few replicas acknowledged a write in time. It may have been applied.

    `write_type` is SIMPLE, BATCH, UNLOGGED_BATCH, COUNTER, BATCH_LOG, CAS, VIEW or CDC. `contentions` exists in v5 for
    CAS only; it is not sent otherwise.
    """

    code: int = field(init=False, default=ErrorCode.WRITE_TIMEOUT)
    consistency: int
    received: int
    required: int
    write_type: str
    contentions: int | None = None

    def _encode_fields(self, version: int) -> bytes:
        body = _encode_counts(self.consistency, self.received, self.required) + encode_string(self.write_type)
        if version >= V5 and self.write_type == CAS_WRITE_TYPE:
            body += encode_short(self.contentions or 0)
        return body


@dataclass(frozen=True, slots=True)
class ReadTimeout(Error):
    """Too few replicas answered a read in time; `data_present` says whether the one asked for the data did."""

    code: int = field(init=False, default=ErrorCode.READ_TIMEOUT)
    consistency: int
    received: int
    required: int
    data_present: bool

    def _encode_fields(self, version: int) -> bytes:
        return _encode_counts(self.consistency, self.received, self.required) + encode_byte(self.data_present)


@dataclass(frozen=True, slots=True)
class ReadFailure(Error):
    """Replicas failed at a read, not by time-out (v4 and later)."""

    code: int = field(init=False, default=ErrorCode.READ_FAILURE)
    consistency: int
    received: int
    required: int
    failures: Failures
    data_present: bool

    def _encode_fields(self, version: int) -> bytes:
        _require(self, version, V4)
        counts = _encode_counts(self.consistency, self.received, self.required)
        return counts + _encode_failures(self.failures, version) + encode_byte(self.data_present)


@dataclass(frozen=True, slots=True)
class WriteFailure(Error):
    """Replicas failed at a write, not by time-out (v4 and later). It may have been applied by others."""

    code: int = field(init=False, default=ErrorCode.WRITE_FAILURE)
    consistency: int
    received: int
    required: int
    failures: Failures
    write_type: str

    def _encode_fields(self, version: int) -> bytes:
        _require(self, version, V4)
        counts = _encode_counts(self.consistency, self.received, self.required)
        return counts + _encode_failures(self.failures, version) + encode_string(self.write_type)


@dataclass(frozen=True, slots=True)
class FunctionFailure(Error):
    """A user defined function failed (v4 and later)."""

    code: int = field(init=False, default=ErrorCode.FUNCTION_FAILURE)
    keyspace: str
    function: str
    argument_types: list[str]

    def _encode_fields(self, version: int) -> bytes:
        _require(self, version, V4)
        return encode_string(self.keyspace) + encode_string(self.function) + encode_string_list(self.argument_types)


@dataclass(frozen=True, slots=True)
class CasWriteUnknown(Error):
    """A conditional write was contended, and whether it was applied is not known (v5)."""

    code: int = field(init=False, default=ErrorCode.CAS_WRITE_UNKNOWN)
    consistency: int
    received: int
    required: int

    def _encode_fields(self, version: int) -> bytes:
        _require(self, version, V5)
        return _encode_counts(self.consistency, self.received, self.required)


@dataclass(frozen=True, slots=True)
class AlreadyExists(Error):
    """What was to be created is there; `table` is empty where it is a keyspace."""

    code: int = field(init=False, default=ErrorCode.ALREADY_EXISTS)
    keyspace: str
    table: str

    def _encode_fields(self, version: int) -> bytes:
        return encode_string(self.keyspace) + encode_string(self.table)


@dataclass(frozen=True, slots=True)
class Unprepared(Error):
    """The host does not know this prepared id; the client is to prepare the statement again."""

    code: int = field(init=False, default=ErrorCode.UNPREPARED)
    prepared_id: bytes

    def _encode_fields(self, version: int) -> bytes:
        return encode_short_bytes(self.prepared_id)


def decode_error(version: int, body: bytes, position: int = 0) -> Error:
    """The error that begins at `position`, behind what `envelope` reads; bytes after it are left unread.

    Raises `RemoteProtocolError` where they make no error.
    """
    check_version(version)
    reader = Reader(body, position)
    code = reader.int()
    message = reader.string()
    decode = _field_decoder(code, version)
    return Error(code, message) if decode is None else decode(reader, version, message)


def _require(error: Error, version: int, oldest: int) -> None:
    if version < oldest:
        raise LocalProtocolError(f"{type(error).__name__} exists from v{oldest} on, not in v{version}")


def _encode_counts(consistency: int, received: int, required: int) -> bytes:
    return encode_short(consistency) + encode_int(received) + encode_int(required)


def _encode_failures(failures: Failures, version: int) -> bytes:
    if version < V5:
        return encode_int(failures if isinstance(failures, int) else len(failures))
    if isinstance(failures, int):
        raise LocalProtocolError("v5 names the replicas that failed, a number of them is not enough")
    reasons = b"".join([encode_inet_address(host) + encode_short(reason) for host, reason in failures.items()])
    return encode_int(len(failures)) + reasons


def _decode_failures(reader: Reader, version: int) -> Failures:
    if version < V5:
        return reader.int()
    return {reader.inet_address(): reader.short() for _ in range(reader.count())}


def _decode_unavailable(reader: Reader, version: int, message: str) -> Error:
    return Unavailable(message, reader.short(), reader.int(), reader.int())


def _decode_write_timeout(reader: Reader, version: int, message: str) -> Error:
    consistency, received, required = reader.short(), reader.int(), reader.int()
    write_type = reader.string()
    contentions = reader.short() if version >= V5 and write_type == CAS_WRITE_TYPE else None
    return WriteTimeout(message, consistency, received, required, write_type, contentions)


def _decode_read_timeout(reader: Reader, version: int, message: str) -> Error:
    return ReadTimeout(message, reader.short(), reader.int(), reader.int(), reader.byte() != 0)


def _decode_read_failure(reader: Reader, version: int, message: str) -> Error:
    consistency, received, required = reader.short(), reader.int(), reader.int()
    failures = _decode_failures(reader, version)
    return ReadFailure(message, consistency, received, required, failures, reader.byte() != 0)


def _decode_write_failure(reader: Reader, version: int, message: str) -> Error:
    consistency, received, required = reader.short(), reader.int(), reader.int()
    failures = _decode_failures(reader, version)
    return WriteFailure(message, consistency, received, required, failures, reader.string())


def _decode_function_failure(reader: Reader, version: int, message: str) -> Error:
    return FunctionFailure(message, reader.string(), reader.string(), reader.string_list())


def _decode_cas_write_unknown(reader: Reader, version: int, message: str) -> Error:
    return CasWriteUnknown(message, reader.short(), reader.int(), reader.int())


def _decode_already_exists(reader: Reader, version: int, message: str) -> Error:
    return AlreadyExists(message, reader.string(), reader.string())


def _decode_unprepared(reader: Reader, version: int, message: str) -> Error:
    return Unprepared(message, reader.short_bytes())


_FieldDecoder = Callable[[Reader, int, str], Error]

# By code: the first version that has the fields, and what reads them.
_FIELD_DECODERS: Final[dict[int, tuple[int, _FieldDecoder]]] = {
    ErrorCode.UNAVAILABLE: (V3, _decode_unavailable),
    ErrorCode.WRITE_TIMEOUT: (V3, _decode_write_timeout),
    ErrorCode.READ_TIMEOUT: (V3, _decode_read_timeout),
    ErrorCode.READ_FAILURE: (V4, _decode_read_failure),
    ErrorCode.FUNCTION_FAILURE: (V4, _decode_function_failure),
    ErrorCode.WRITE_FAILURE: (V4, _decode_write_failure),
    ErrorCode.CAS_WRITE_UNKNOWN: (V5, _decode_cas_write_unknown),
    ErrorCode.ALREADY_EXISTS: (V3, _decode_already_exists),
    ErrorCode.UNPREPARED: (V3, _decode_unprepared),
}


def _field_decoder(code: int, version: int) -> _FieldDecoder | None:
    oldest, decode = _FIELD_DECODERS.get(code, (V3, None))
    return decode if version >= oldest else None
