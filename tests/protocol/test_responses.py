"""What responses refuse; `test_golden` has their layouts."""

from __future__ import annotations

import pytest

from zdm.protocol import opcodes
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.metadata import NO_RESULT, BindMetadata, RowsMetadata
from zdm.protocol.responses import Prepared, Response, Rows, SchemaChange, SchemaChangeEvent, decode_response


@pytest.mark.parametrize("opcode", [opcodes.QUERY, opcodes.STARTUP, 0x04, 0x7F])
def test_an_opcode_of_no_response_is_refused(opcode: int) -> None:
    """A cluster that sends requests is none."""
    with pytest.raises(RemoteProtocolError, match="is no response"):
        decode_response(opcode, 4, b"")


def test_an_unknown_version_is_refused() -> None:
    """Its layout may be another."""
    with pytest.raises(RemoteProtocolError, match="protocol version"):
        decode_response(opcodes.READY, 1, b"")


@pytest.mark.parametrize(
    ("opcode", "version", "body", "reason"),
    [
        (opcodes.RESULT, 4, bytes.fromhex("00000006"), "Unknown kind 6"),
        (opcodes.RESULT, 4, bytes.fromhex("00000000"), "Unknown kind 0"),
        (opcodes.EVENT, 4, b"\0\1X", "Unknown event 'X'"),
        (opcodes.RESULT, 4, b"\0\0\0\5\0\0\0\1X\0\0", "Unknown target 'X'"),
        (opcodes.RESULT, 3, SchemaChange("", "FUNCTION", "", "", []).encode(4), "Unknown target 'FUNCTION'"),
    ],
)
def test_an_answer_of_an_unknown_kind_is_refused(opcode: int, version: int, body: bytes, reason: str) -> None:
    """Passing it on is one thing, acting on it another."""
    with pytest.raises(RemoteProtocolError, match=reason):
        decode_response(opcode, version, body)


@pytest.mark.parametrize(
    ("response", "version"),
    [
        (Rows(RowsMetadata(None, 2), [[b""]]), 4),
        (Prepared(b"", BindMetadata([], []), NO_RESULT, b"rm"), 4),
        (Prepared(b"", BindMetadata([], []), NO_RESULT), 5),
        (SchemaChange("CREATED", "FUNCTION", "ks", "f", []), 3),
        (SchemaChange("CREATED", "TABLE", "ks"), 4),
        (SchemaChange("CREATED", "KEYSPACE", "ks", "t"), 4),
        (SchemaChange("CREATED", "TABLE", "ks", "t", []), 4),
        (SchemaChangeEvent("CREATED", "AGGREGATE", "ks", "a"), 4),
    ],
)
def test_an_answer_that_contradicts_itself_or_the_version_is_our_fault(response: Response, version: int) -> None:
    """A driver could not read it, or would read something else."""
    with pytest.raises(LocalProtocolError):
        response.encode(version)
