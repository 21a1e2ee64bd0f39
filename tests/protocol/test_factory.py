"""The frames that all tests use mean what their names say."""

from __future__ import annotations

import pytest

from tests import frames
from zdm.protocol.envelope import Envelope, split_envelope
from zdm.protocol.errors import (
    AlreadyExists,
    Error,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    Unprepared,
    WriteFailure,
    WriteTimeout,
)
from zdm.protocol.frames import TRACING, Frame, FrameReader
from zdm.protocol.metadata import NO_RESULT, BindMetadata, ColumnSpec, RowsMetadata
from zdm.protocol.primitives import UNSET
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import (
    AuthResponse,
    Batch,
    BatchChild,
    Execute,
    Options,
    Prepare,
    Query,
    Register,
    Request,
    Startup,
    decode_request,
)
from zdm.protocol.responses import (
    AuthChallenge,
    Authenticate,
    AuthSuccess,
    Prepared,
    Ready,
    Response,
    Rows,
    SchemaChange,
    SchemaChangeEvent,
    SetKeyspace,
    StatusChangeEvent,
    Supported,
    TopologyChangeEvent,
    Void,
    decode_response,
)
from zdm.protocol.types import INT, VARCHAR

SELECT = "SELECT * FROM ks.t"
K = ColumnSpec("ks", "t", "k", INT)

REQUESTS: list[tuple[bytes, Request]] = [
    (frames.startup(7), Startup({"CQL_VERSION": "3.0.0"})),
    (frames.options(7), Options()),
    (frames.register(7, ["STATUS_CHANGE"]), Register(["STATUS_CHANGE"])),
    (frames.auth_response(7), AuthResponse(b"\0cassandra\0cassandra")),
    (frames.query(7), Query(SELECT, QueryParameters())),
    (frames.query(7, version=5), Query(SELECT, QueryParameters())),
    (
        frames.query(7, "X", 4, 6, [b"v", None, frames.UNSET], ["a", "b", "c"], True, 10, b"ps", 8, 1),
        Query("X", QueryParameters(6, [b"v", None, UNSET], ["a", "b", "c"], True, 10, b"ps", 8, 1)),
    ),
    (frames.prepare(7), Prepare(SELECT)),
    (frames.prepare(7, version=5), Prepare(SELECT)),
    (frames.execute(7, b"x", [b"v"], version=3), Execute(b"x", QueryParameters(values=[b"v"]))),
    (frames.execute(7, b"x", None, version=5), Execute(b"x", QueryParameters(), b"rm")),
    (
        frames.batch(7, ["X", b"x", ("Y", [b"v"])], kind=1, timestamp=2),
        Batch(1, [BatchChild("X", []), BatchChild(b"x", []), BatchChild("Y", [b"v"])], 1, timestamp=2),
    ),
]

RESPONSES: list[tuple[bytes, Response]] = [
    (frames.ready(7), Ready()),
    (frames.authenticate(7), Authenticate("org.apache.cassandra.auth.PasswordAuthenticator")),
    (frames.auth_challenge(7), AuthChallenge(b"?")),
    (frames.auth_success(7), AuthSuccess(None)),
    (frames.supported(7, {"CQL_VERSION": ["3.4.6"]}), Supported({"CQL_VERSION": ["3.4.6"]})),
    (frames.void(7), Void()),
    (frames.set_keyspace(7), SetKeyspace("ks")),
    (frames.rows(7), Rows(RowsMetadata([ColumnSpec("ks", "t", "k", VARCHAR)], 1), [])),
    (frames.rows(7, {"k": frames.INT}, [[b"v"], [None]]), Rows(RowsMetadata([K], 1), [[b"v"], [None]])),
    (
        frames.rows(7, {"k": frames.INT}, [[b"v"]], paging_state=b"ps", no_metadata=True),
        Rows(RowsMetadata(None, 1, b"ps"), [[b"v"]]),
    ),
    (frames.prepared(7), Prepared(b"id", BindMetadata([], [], False), NO_RESULT)),
    (
        frames.prepared(7, b"x", {"k": frames.INT}, {"k": frames.INT}, [0]),
        Prepared(b"x", BindMetadata([K], [0]), RowsMetadata([K], 1)),
    ),
    (
        frames.prepared(7, b"x", {"k": frames.INT}, version=3),
        Prepared(b"x", BindMetadata([K], []), NO_RESULT),
    ),
    (frames.prepared(7, version=5), Prepared(b"id", BindMetadata([], [], False), NO_RESULT, b"rm")),
    (frames.schema_change(7), SchemaChange("CREATED", "TABLE", "ks", "t")),
    (frames.error(7, 0x2200, "no"), Error(0x2200, "no")),
    (frames.unprepared(7), Unprepared("Prepared query not found", b"id")),
    (frames.unavailable(7), Unavailable("Cannot achieve consistency level", 1, 1, 0)),
    (frames.write_timeout(7), WriteTimeout("Operation timed out", 1, 0, 1, "SIMPLE")),
    (frames.read_timeout(7), ReadTimeout("Operation timed out", 1, 0, 1, False)),
    (frames.read_failure(7), ReadFailure("Operation failed", 1, 0, 1, 1, False)),
    (frames.write_failure(7), WriteFailure("Operation failed", 1, 0, 1, 1, "SIMPLE")),
    (frames.already_exists(7), AlreadyExists("Cannot add already existing table", "ks", "t")),
]

EVENTS: list[tuple[bytes, Response]] = [
    (frames.event_schema_change("DROPPED", "KEYSPACE", "ks", None), SchemaChangeEvent("DROPPED", "KEYSPACE", "ks")),
    (frames.event_status_change("DOWN", "::1", 1), StatusChangeEvent("DOWN", "::1", 1)),
    (frames.event_topology_change(), TopologyChangeEvent("NEW_NODE", "127.0.0.1", 9042)),
]


def only(data: bytes) -> Frame:
    (frame,) = FrameReader().feed(data)
    return frame


@pytest.mark.parametrize(("data", "message"), REQUESTS)
def test_a_request_frame_means_what_it_is_called(data: bytes, message: Request) -> None:
    """And says so in the canonical bytes."""
    frame = only(data)
    assert (frame.is_response, frame.stream, frame.flags) == (False, 7, 0)
    assert decode_request(frame.opcode, frame.version, frame.body) == message
    assert message.encode(frame.version) == frame.body


@pytest.mark.parametrize(("data", "message"), RESPONSES)
def test_an_answer_frame_means_what_it_is_called(data: bytes, message: Response) -> None:
    """And says so in the canonical bytes."""
    frame = only(data)
    assert (frame.is_response, frame.stream, frame.flags) == (True, 7, 0)
    assert decode_response(frame.opcode, frame.version, frame.body) == message
    assert message.encode(frame.version) == frame.body


@pytest.mark.parametrize(("data", "message"), EVENTS)
def test_an_event_frame_belongs_to_no_request(data: bytes, message: Response) -> None:
    """v4 section 2.3: its stream id is -1."""
    frame = only(data)
    assert (frame.is_response, frame.stream) == (True, -1)
    assert decode_response(frame.opcode, frame.version, frame.body) == message


def test_what_goes_before_the_body_is_said_by_flags() -> None:
    """Of requests and answers."""
    asked = only(frames.query(1, tracing=True, payload={"k": b"v"}))
    envelope, start = split_envelope(asked.body, asked.flags, False)
    assert (asked.flags & TRACING, envelope.payload) == (TRACING, {"k": b"v"})
    assert decode_request(asked.opcode, 4, asked.body, start) == Query(SELECT, QueryParameters())
    answered = only(frames.error(1, warnings=["slow"]))
    assert split_envelope(answered.body, answered.flags, True)[0] == Envelope(None, ["slow"], {})
