"""Whatever can be said is said and understood, and the same bytes come of what was understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol import strategies
from zdm.protocol.envelope import Envelope, body_start, encode_envelope, split_envelope
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.primitives import Reader
from zdm.protocol.requests import Request, decode_request
from zdm.protocol.responses import Response, decode_response
from zdm.protocol.types import CqlType, decode_cql, decode_type, encode_cql, encode_type

VERSIONED_REQUESTS = strategies.VERSION.flatmap(lambda v: st.tuples(st.just(v), strategies.requests_of(v)))
VERSIONED_RESPONSES = strategies.VERSION.flatmap(lambda v: st.tuples(st.just(v), strategies.responses_of(v)))
ENVELOPES = st.builds(
    Envelope,
    st.none() | st.uuids(),
    st.lists(strategies.TEXT, max_size=3),
    st.dictionaries(strategies.TEXT, strategies.NULLABLE, max_size=3),
)


@given(VERSIONED_REQUESTS)
def test_every_request_comes_back(versioned: tuple[int, Request]) -> None:
    """Rewritten requests are decoded, changed and encoded: what is not changed must stay."""
    version, message = versioned
    body = message.encode(version)
    assert decode_request(message.opcode, version, body) == message
    assert decode_request(message.opcode, version, body + b"tail") == message


@given(VERSIONED_RESPONSES)
def test_every_response_comes_back(versioned: tuple[int, Response]) -> None:
    """Answers that are put together of two clusters' answers must hold what each said."""
    version, message = versioned
    body = message.encode(version)
    decoded = decode_response(message.opcode, version, body)
    assert decoded == message
    assert type(decoded) is type(message)
    assert decode_response(message.opcode, version, body + b"tail") == message


@given(VERSIONED_REQUESTS, st.data())
def test_a_request_that_is_cut_off_is_refused(versioned: tuple[int, Request], data: st.DataObject) -> None:
    """Every byte of a body counts, so none may be missing."""
    version, message = versioned
    body = message.encode(version)
    end = data.draw(st.integers(0, max(0, len(body) - 1)))
    if body:
        with pytest.raises(RemoteProtocolError):
            decode_request(message.opcode, version, body[:end])


@given(VERSIONED_RESPONSES, st.data())
def test_a_response_that_is_cut_off_is_refused(versioned: tuple[int, Response], data: st.DataObject) -> None:
    """Every byte of a body counts, so none may be missing."""
    version, message = versioned
    body = message.encode(version)
    end = data.draw(st.integers(0, max(0, len(body) - 1)))
    if body:
        with pytest.raises(RemoteProtocolError):
            decode_response(message.opcode, version, body[:end])


@given(ENVELOPES, st.booleans(), st.binary(max_size=8))
def test_what_precedes_a_body_comes_back(envelope: Envelope, is_response: bool, body: bytes) -> None:
    """The proxy's own warnings go beside the cluster's."""
    flags, before = encode_envelope(envelope, is_response)
    expected = envelope if is_response else Envelope(None, [], envelope.payload)
    assert split_envelope(before + body, flags, is_response) == (expected, len(before))
    assert body_start(b"xx" + before + body, 2, flags, is_response) == 2 + len(before)


@given(strategies.VERSION, strategies.CQL_TYPES)
def test_every_type_comes_back(version: int, kind: CqlType) -> None:
    """Also a type that the version has no code for."""
    encoded = encode_type(kind, version)
    reader = Reader(encoded + b"tail")
    assert decode_type(reader, version) == kind
    assert reader.position == len(encoded)


@given(strategies.TYPES_AND_VALUES)
def test_every_value_comes_back(pair: tuple[CqlType, object]) -> None:
    """system.local is made of values read from the clusters and changed."""
    kind, value = pair
    encoded = encode_cql(kind, value)
    decoded = decode_cql(kind, encoded)
    assert decoded == value
    assert encode_cql(kind, decoded) == encoded
