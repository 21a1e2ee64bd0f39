"""Hand-written bodies, whole, cut at every byte, and with bytes behind them."""

from __future__ import annotations

import pytest

from tests.protocol.golden import ERRORS, REQUESTS, RESPONSES
from zdm.protocol.envelope import body_start
from zdm.protocol.errors import Error, decode_error
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import RESPONSE_BIT, FrameReader, encode_frame
from zdm.protocol.requests import Request, decode_request
from zdm.protocol.responses import Response, decode_response

ANSWERS: dict[str, tuple[int, str, Response]] = {**RESPONSES, **ERRORS}

each_request = pytest.mark.parametrize(("version", "layout", "message"), REQUESTS.values(), ids=REQUESTS)
each_answer = pytest.mark.parametrize(("version", "layout", "message"), ANSWERS.values(), ids=ANSWERS)
each_error = pytest.mark.parametrize(("version", "layout", "message"), ERRORS.values(), ids=ERRORS)


@each_request
def test_a_request_is_written_as_the_specification_says(version: int, layout: str, message: Request) -> None:
    """A round trip alone would not notice an error made the same way in both directions."""
    assert message.encode(version).hex() == layout.replace(" ", "")


@each_request
def test_a_request_is_read_as_the_specification_says(version: int, layout: str, message: Request) -> None:
    """What a driver sends is what routing decides on."""
    assert decode_request(message.opcode, version, bytes.fromhex(layout)) == message


@each_request
def test_bytes_behind_a_request_are_left_alone(version: int, layout: str, message: Request) -> None:
    """Cassandra does not look behind the body, so a driver that sends more works there and must work here."""
    assert decode_request(message.opcode, version, bytes.fromhex(layout) + b"\0tail") == message


@each_request
def test_a_request_may_begin_behind_other_bytes(version: int, layout: str, message: Request) -> None:
    """A custom payload stands before the body proper, and is not cut off to decode it."""
    assert decode_request(message.opcode, version, b"\xff\xff\xff" + bytes.fromhex(layout), 3) == message


@each_request
def test_a_request_cut_anywhere_is_the_peers_fault(version: int, layout: str, message: Request) -> None:
    """A length that lies must end in a PROTOCOL_ERROR for that client, not in a broken session."""
    body = bytes.fromhex(layout)
    for end in range(len(body)):
        with pytest.raises(RemoteProtocolError):
            decode_request(message.opcode, version, body[:end])


@each_answer
def test_an_answer_is_written_as_the_specification_says(version: int, layout: str, message: Response) -> None:
    """Drivers read what the proxy makes itself with their own decoders."""
    assert message.encode(version).hex() == layout.replace(" ", "")


@each_answer
def test_an_answer_is_read_as_the_specification_says(version: int, layout: str, message: Response) -> None:
    """What a cluster answers decides which answer the client gets."""
    decoded = decode_response(message.opcode, version, bytes.fromhex(layout))
    assert decoded == message
    assert type(decoded) is type(message)


@each_answer
def test_bytes_behind_an_answer_are_left_alone(version: int, layout: str, message: Response) -> None:
    """Drivers do not look behind the body, so neither is there a reason to refuse it."""
    assert decode_response(message.opcode, version, bytes.fromhex(layout) + b"\0tail") == message


@each_answer
def test_an_answer_may_begin_behind_other_bytes(version: int, layout: str, message: Response) -> None:
    """Tracing id and warnings stand before the body proper, and are not cut off to decode it."""
    assert decode_response(message.opcode, version, b"\xff\xff\xff" + bytes.fromhex(layout), 3) == message


@each_answer
def test_an_answer_cut_anywhere_is_the_peers_fault(version: int, layout: str, message: Response) -> None:
    """A cluster's broken answer must not be taken for a whole one."""
    body = bytes.fromhex(layout)
    for end in range(len(body)):
        with pytest.raises(RemoteProtocolError):
            decode_response(message.opcode, version, body[:end])


@each_error
def test_an_error_is_decoded_alone_too(version: int, layout: str, message: Error) -> None:
    """Whoever has seen the opcode need not go by way of all responses."""
    assert decode_error(version, b"\0" + bytes.fromhex(layout), 1) == message


@pytest.mark.parametrize("step", [1, 2, 7, 1000, 1 << 20])
def test_frames_are_the_same_however_they_are_cut(step: int) -> None:
    """TCP cuts where it likes; the last frame's tail waits for the rest."""
    sent = [
        encode_frame(version | RESPONSE_BIT, stream, message.opcode, message.encode(version))
        for stream, (version, _, message) in enumerate(ANSWERS.values())
    ]
    stream_of_bytes = b"".join(sent) + sent[-1][:-1]
    reader = FrameReader()
    frames = [
        frame
        for start in range(0, len(stream_of_bytes), step)
        for frame in reader.feed(stream_of_bytes[start : start + step])
    ]
    decoded = [
        decode_response(frame.opcode, frame.version, frame.body, body_start(frame.body, 0, frame.flags, True))
        for frame in frames
    ]
    assert decoded == [message for _, _, message in ANSWERS.values()]
    assert [frame.stream for frame in frames] == list(range(len(sent)))
    assert len(reader.feed(sent[-1][-1:])) == 1
