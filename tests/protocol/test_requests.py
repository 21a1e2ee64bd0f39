"""What requests refuse; `test_golden` has their layouts."""

from __future__ import annotations

import pytest

from zdm.protocol import opcodes
from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.primitives import UNSET
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import Batch, BatchChild, Execute, Prepare, Request, decode_request


@pytest.mark.parametrize("opcode", [opcodes.RESULT, opcodes.READY, 0x04, 0x7F])
def test_an_opcode_of_no_request_is_refused(opcode: int) -> None:
    """An answer's opcode in a request, CREDENTIALS of v1, anything."""
    with pytest.raises(RemoteProtocolError, match="is no request"):
        decode_request(opcode, 4, b"")


def test_an_unknown_version_is_refused() -> None:
    """Its layout may be another."""
    with pytest.raises(RemoteProtocolError, match="protocol version"):
        decode_request(opcodes.OPTIONS, 2, b"")


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("03 0000 0001 00", "Invalid batch kind 3"),
        ("00 0001 02 0000 0000 0001 00", "Invalid kind 2"),
        ("00 0000 0001 40", "CASSANDRA-10246"),
        ("00 0000 0001 01", "Invalid flags 0x01"),
        ("00 0000 0001 02", "Invalid flags 0x02"),
        ("00 0000 0001 04", "Invalid flags 0x04"),
        ("00 0000 0001 08", "Invalid flags 0x08"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_with_the_reason(layout: str, reason: str) -> None:
    """A driver's author who sends one must learn what is wrong with it."""
    with pytest.raises(RemoteProtocolError, match=reason):
        decode_request(opcodes.BATCH, 4, bytes.fromhex(layout))


def test_a_batch_of_v4_has_no_keyspace() -> None:
    """Its flag 0x80 brings no bytes before v5."""
    assert decode_request(opcodes.BATCH, 4, bytes.fromhex("00 0000 0001 80")) == Batch(0, [], 1)


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        (Prepare("SELECT 1", "ks"), 4),
        (Execute(b"id", QueryParameters(), b"rm"), 4),
        (Execute(b"id", QueryParameters()), 5),
        (Batch(0, [BatchChild("SELECT 1", [b""], ["a"])], 1), 4),
        (Batch(0, [BatchChild("SELECT 1", [UNSET])], 1), 3),
        (Batch(0, [], 1, keyspace="ks"), 4),
        (Batch(0, [], 1, now_in_seconds=1), 4),
        (Batch(256, [], 1), 4),
    ],
)
def test_what_the_version_cannot_say_is_our_fault(request_: Request, version: int) -> None:
    """Leaving it out in silence would change what the request does."""
    with pytest.raises(LocalProtocolError):
        request_.encode(version)
