"""Any bytes: they mean something or are the peer's fault, and nothing else can come of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol import strategies
from tests.protocol.golden import ERRORS, REQUESTS, RESPONSES
from zdm.protocol.envelope import body_start, split_envelope
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.opcodes import REQUESTS as REQUEST_OPCODES
from zdm.protocol.opcodes import RESPONSES as RESPONSE_OPCODES
from zdm.protocol.primitives import Reader
from zdm.protocol.requests import decode_request
from zdm.protocol.responses import decode_response
from zdm.protocol.types import CqlType, decode_cql, decode_type

NOISE = st.binary(max_size=64)
FLAGS = st.integers(0, 255)
# Where real bodies have their branches: lengths and counts just right, negative and absurd.
NUMBERS = ["00", "01", "ff", "0000", "0001", "ffff", "00000000", "00000001", "ffffffff", "fffffffe", "7fffffff"]
BODIES = [bytes.fromhex(layout) for _, layout, _ in [*REQUESTS.values(), *RESPONSES.values(), *ERRORS.values()]]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A golden body in which some bytes are replaced by others."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        patch = bytes.fromhex(draw(st.sampled_from(NUMBERS)))
        body = body[:start] + patch + body[start + draw(st.integers(0, len(patch))) :]
    return body


def decoded_or_refused(decode: Callable[[], object]) -> None:
    try:
        decode()
    except RemoteProtocolError as fault:
        assert fault.code == 0x000A
        assert fault.message


@given(st.sampled_from(sorted(REQUEST_OPCODES)), strategies.VERSION, NOISE | damaged())
def test_no_bytes_break_the_decoder_of_requests(opcode: int, version: int, body: bytes) -> None:
    """Anyone who can connect can send them."""
    decoded_or_refused(lambda: decode_request(opcode, version, body))


@given(st.sampled_from(sorted(RESPONSE_OPCODES)), strategies.VERSION, NOISE | damaged())
def test_no_bytes_break_the_decoder_of_responses(opcode: int, version: int, body: bytes) -> None:
    """A broken cluster must cost no more than its own connections."""
    decoded_or_refused(lambda: decode_response(opcode, version, body))


@given(st.integers(0, 255), st.integers(0, 255), NOISE)
def test_no_opcode_or_version_breaks_a_decoder(opcode: int, version: int, body: bytes) -> None:
    """Both are bytes that the peer wrote."""
    decoded_or_refused(lambda: decode_request(opcode, version, body))
    decoded_or_refused(lambda: decode_response(opcode, version, body))


@given(NOISE, FLAGS, st.booleans())
def test_no_bytes_break_the_envelope(body: bytes, flags: int, is_response: bool) -> None:
    """It is read before anything else, of every frame that has one."""
    decoded_or_refused(lambda: split_envelope(body, flags, is_response))
    decoded_or_refused(lambda: body_start(body, 0, flags, is_response))


@given(strategies.CQL_TYPES, NOISE)
def test_no_bytes_break_the_decoder_of_values(kind: CqlType, value: bytes) -> None:
    """Rows of system tables come from clusters of every make."""
    decoded_or_refused(lambda: decode_cql(kind, value))


@pytest.mark.parametrize(
    "layout",
    [
        "00000002 00000004 00000000 7fffffff",  # rows without columns
        "00000002 00000004 7fffffff 7fffffff",  # rows and columns without end
        "00000002 00000000 7fffffff",  # columns without end
        "00000002 00000001 7fffffff 0000 0000",
        "00000004 0000 00000000 00000000 7fffffff",  # key columns without end
        "00000004 0000 00000000 ffffffff 00000000",  # fewer than no columns
        "00000002 00000004 00000001 ffffffff",  # fewer than no rows
    ],
)
def test_an_absurd_count_costs_nothing(layout: str) -> None:
    """A few bytes must not make the proxy reserve gigabytes, or loop for minutes."""
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            decode_response(8, 4, bytes.fromhex(layout))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("layout", ["0020", "0022", "0021 0009", "0031 0001", "0030 0000 0000 0001 0000"])
def test_types_in_types_without_end_are_refused(layout: str) -> None:
    """A body of nothing but 'list of' would otherwise use up Python's stack."""
    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        decode_type(Reader(bytes.fromhex(layout) * 10_000), 4)
