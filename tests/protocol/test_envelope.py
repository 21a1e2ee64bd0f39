"""What precedes the body proper."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests import frames
from zdm.protocol.envelope import Envelope, body_start, encode_envelope, split_envelope
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, CUSTOM_PAYLOAD, HEADER_LENGTH, TRACING, WARNING, FrameReader

ID = UUID("00112233-4455-6677-8899-aabbccddeeff")
ALL = TRACING | WARNING | CUSTOM_PAYLOAD
LAYOUT = bytes.fromhex("00112233445566778899aabbccddeeff 0001 0004 736c6f77 0002 0001 61 00000001 01 0001 62 ffffffff")
MEANING = Envelope(ID, ["slow"], {"a": b"\1", "b": None})


def test_an_answer_has_tracing_id_then_warnings_then_payload() -> None:
    """v4 section 2.2 gives the order."""
    assert split_envelope(LAYOUT + b"body", ALL, True) == (MEANING, len(LAYOUT))
    assert encode_envelope(MEANING, True) == (ALL, LAYOUT)
    assert body_start(b"before" + LAYOUT + b"body", 6, ALL, True) == 6 + len(LAYOUT)


def test_a_request_has_its_payload_only() -> None:
    """A request's TRACING flag asks for a trace; the bytes behind it are the body's first."""
    payload = bytes.fromhex("0001 0001 61 00000001 01")
    assert split_envelope(payload + b"body", ALL, False) == (Envelope(None, [], {"a": b"\1"}), len(payload))
    assert body_start(payload + b"body", 0, ALL, False) == len(payload)
    assert body_start(payload, 3, TRACING | WARNING | COMPRESSED, False) == 3
    assert encode_envelope(Envelope(ID, ["slow"], {"a": b"\1"}), False) == (CUSTOM_PAYLOAD, payload)


@pytest.mark.parametrize(("flag", "length"), [(TRACING, 16), (WARNING, 8), (0, 0), (COMPRESSED, 0)])
def test_each_flag_of_an_answer_brings_its_own_bytes(flag: int, length: int) -> None:
    """Any of them may come alone."""
    layout = {TRACING: LAYOUT[:16], WARNING: LAYOUT[16:24]}.get(flag, b"")
    assert body_start(layout + b"body", 0, flag, True) == length
    envelope, start = split_envelope(layout + b"body", flag, True)
    assert (encode_envelope(envelope, True), start) == ((flag & ~COMPRESSED, layout), length)


@pytest.mark.parametrize("end", range(len(LAYOUT)))
def test_an_envelope_cut_anywhere_is_the_peers_fault(end: int) -> None:
    """The body proper must not be looked for behind the frame's end."""
    with pytest.raises(RemoteProtocolError):
        body_start(LAYOUT[:end], 0, ALL, True)
    with pytest.raises(RemoteProtocolError):
        split_envelope(LAYOUT[:end], ALL, True)


def test_lengths_are_enough_to_find_the_body() -> None:
    """Names that are not UTF-8 hurt only who reads them."""
    broken = bytes.fromhex("0001 0001 ff")
    assert body_start(broken, 0, WARNING, True) == len(broken)
    with pytest.raises(RemoteProtocolError):
        split_envelope(broken, WARNING, True)


def test_the_body_of_a_whole_frame_is_found() -> None:
    """Frames of the factory are packed apart from this code."""
    sent = frames.void(3, tracing_id=ID.bytes, warnings=["a", "b"], payload={"k": b"v"})
    (frame,) = FrameReader().feed(sent)
    envelope, start = split_envelope(frame.body, frame.flags, frame.is_response)
    assert envelope == Envelope(ID, ["a", "b"], {"k": b"v"})
    assert frame.body[start:] == b"\0\0\0\1"
    assert body_start(sent, HEADER_LENGTH, frame.flags, True) == HEADER_LENGTH + start
