"""What the ERROR body refuses to say; `test_golden` has its layouts."""

from __future__ import annotations

import pytest

from zdm.protocol import opcodes
from zdm.protocol.errors import (
    AlreadyExists,
    CasWriteUnknown,
    Error,
    ErrorCode,
    FunctionFailure,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    Unprepared,
    WriteFailure,
    WriteTimeout,
    decode_error,
)
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError

FIELDED: list[tuple[Error, int]] = [
    (Unavailable("m", 1, 2, 3), 0x1000),
    (WriteTimeout("m", 1, 2, 3, "SIMPLE"), 0x1100),
    (ReadTimeout("m", 1, 2, 3, True), 0x1200),
    (ReadFailure("m", 1, 2, 3, {}, True), 0x1300),
    (FunctionFailure("m", "ks", "f", []), 0x1400),
    (WriteFailure("m", 1, 2, 3, {}, "SIMPLE"), 0x1500),
    (CasWriteUnknown("m", 1, 2, 3), 0x1700),
    (AlreadyExists("m", "ks", "t"), 0x2400),
    (Unprepared("m", b"id"), 0x2500),
]


def test_codes_are_those_of_the_specification() -> None:
    """v5 section 9; drivers choose by them what to do next."""
    codes = {code.name: f"{code.value:04x}" for code in ErrorCode}
    assert codes == {
        "SERVER_ERROR": "0000",
        "PROTOCOL_ERROR": "000a",
        "AUTHENTICATION_ERROR": "0100",
        "UNAVAILABLE": "1000",
        "OVERLOADED": "1001",
        "IS_BOOTSTRAPPING": "1002",
        "TRUNCATE_ERROR": "1003",
        "WRITE_TIMEOUT": "1100",
        "READ_TIMEOUT": "1200",
        "READ_FAILURE": "1300",
        "FUNCTION_FAILURE": "1400",
        "WRITE_FAILURE": "1500",
        "CDC_WRITE_FAILURE": "1600",
        "CAS_WRITE_UNKNOWN": "1700",
        "SYNTAX_ERROR": "2000",
        "UNAUTHORIZED": "2100",
        "INVALID": "2200",
        "CONFIG_ERROR": "2300",
        "ALREADY_EXISTS": "2400",
        "UNPREPARED": "2500",
    }


@pytest.mark.parametrize(("error", "code"), FIELDED)
def test_an_error_with_fields_brings_its_code(error: Error, code: int) -> None:
    """So no one can give it another's; every error can be asked for code, message and opcode."""
    assert error.code == code == ErrorCode(code)
    assert (error.message, error.opcode) == ("m", opcodes.ERROR)
    assert isinstance(error, Error)


@pytest.mark.parametrize(("error", "code"), FIELDED)
def test_a_code_that_has_fields_is_not_sent_without_them(error: Error, code: int) -> None:
    """A driver would read behind the frame's end."""
    with pytest.raises(LocalProtocolError):
        Error(code, "m").encode(5)


@pytest.mark.parametrize(
    ("error", "version"),
    [
        (ReadFailure("", 1, 0, 1, 1, True), 3),
        (WriteFailure("", 1, 0, 1, 1, "SIMPLE"), 3),
        (FunctionFailure("", "ks", "f", []), 3),
        (CasWriteUnknown("", 1, 0, 1), 4),
        (ReadFailure("", 1, 0, 1, 1, True), 5),
        (WriteFailure("", 1, 0, 1, 1, "SIMPLE"), 5),
    ],
)
def test_an_error_the_version_cannot_say_is_our_fault(error: Error, version: int) -> None:
    """Drivers of that version cannot read it; who answers must choose another."""
    with pytest.raises(LocalProtocolError):
        error.encode(version)


def test_the_replicas_that_failed_are_counted_where_they_cannot_be_named() -> None:
    """v4 has a number where v5 has addresses and reasons."""
    named = WriteFailure("", 1, 0, 1, {"10.0.0.1": 0, "10.0.0.2": 1}, "SIMPLE")
    assert decode_error(4, named.encode(4)) == WriteFailure("", 1, 0, 1, 2, "SIMPLE")


def test_contentions_are_said_in_v5_for_conditional_writes_only() -> None:
    """Elsewhere there is no place for them."""
    assert decode_error(4, WriteTimeout("", 8, 1, 2, "CAS", 7).encode(4)) == WriteTimeout("", 8, 1, 2, "CAS")
    assert decode_error(5, WriteTimeout("", 8, 1, 2, "SIMPLE", 7).encode(5)) == WriteTimeout("", 8, 1, 2, "SIMPLE")
    assert decode_error(5, WriteTimeout("", 8, 1, 2, "CAS").encode(5)) == WriteTimeout("", 8, 1, 2, "CAS", 0)


def test_an_unknown_version_is_refused() -> None:
    """Its layout may be another."""
    with pytest.raises(RemoteProtocolError):
        decode_error(2, b"\0\0\0\0\0\0")


def test_fewer_than_no_replicas_are_the_peers_fault() -> None:
    """v5's map of failures has a signed count."""
    body = bytes.fromhex("00001300 0000 0001 00000000 00000001 ffffffff 01")
    with pytest.raises(RemoteProtocolError):
        decode_error(5, body)
