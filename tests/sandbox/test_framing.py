"""Protocol v5 and compression: when segments begin, what is compressed, and what an older node refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.talk import Talk, make_cluster, refused
from zdm.protocol.errors import ErrorCode, ReadFailure
from zdm.protocol.frames import COMPRESSED, FrameReader, encode_frame
from zdm.protocol.opcodes import ERROR, OPTIONS, QUERY, STARTUP
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import AuthResponse, Options, Query, Register, Startup
from zdm.protocol.responses import Authenticate, AuthSuccess, Ready, Rows, SchemaChangeEvent, Supported
from zdm.protocol.segments import SegmentReader, encode_segments
from zdm.sandbox.clusters import Credentials, SandboxCluster
from zdm.sandbox.faults import Fault, make_error

EVERYTHING: dict[str, Any] = {"protocol_versions": (3, 4, 5), "compression": ("snappy", "lz4")}
STARTUP_V5 = Startup({"CQL_VERSION": "3.4.6"})
LOCAL = Query("SELECT key FROM system.local", QueryParameters())
KEYSPACE = "CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"

each_way = pytest.mark.parametrize(
    ("version", "algorithm"), [(3, ""), (3, "lz4"), (4, "snappy"), (4, "lz4"), (5, ""), (5, "lz4")]
)


def modern(credentials: Credentials | None = None) -> SandboxCluster:
    return make_cluster(credentials=credentials, **EVERYTHING)


@each_way
def test_rows_are_written_and_read_in_every_version_and_compression(version: int, algorithm: str) -> None:
    """Also such as take several segments, and events."""
    cluster = modern()
    talk, listener = (Talk(cluster, version=version, algorithm=algorithm) for _ in range(2))
    assert listener.ask(Register(["SCHEMA_CHANGE"])) == Ready()
    talk.cql(KEYSPACE)
    talk.cql("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    assert listener.received()[0] == SchemaChangeEvent("CREATED", "KEYSPACE", "ks")
    insert, select = (
        talk.prepare("INSERT INTO ks.t (k, v) VALUES (?, ?)"),
        talk.prepare("SELECT v FROM ks.t WHERE k = ?"),
    )
    talk.execute(insert, 1, "long " * 60_000)
    assert talk.execute(select, 1) == [("long " * 60_000,)]
    assert talk.execute(select, 1, skip_metadata=True).rows == [[b"long " * 60_000]]


@pytest.mark.parametrize("algorithm", ["", "lz4"])
def test_segments_begin_behind_ready(algorithm: str) -> None:
    """READY itself goes bare, like all that comes before it."""
    talk = Talk(modern(), version=5, ready=False, algorithm=algorithm)
    supported = talk.ask(Options())
    assert isinstance(supported, Supported) and supported.options["PROTOCOL_VERSIONS"] == ["3/v3", "4/v4", "5/v5"]
    assert supported.options["COMPRESSION"] == ["snappy", "lz4"]
    talk.send(Startup({"CQL_VERSION": "3.4.6", "COMPRESSION": algorithm}))
    assert talk.transport.value().hex() == "850000010200000000"
    assert talk.received() == [Ready()]
    talk.begin_segments()
    assert isinstance(talk.ask(LOCAL), Rows)


def test_segments_begin_behind_authenticate() -> None:
    """So the password is in a segment already, and so is the answer to it."""
    talk = Talk(modern(Credentials("me", "secret")), version=5, ready=False)
    assert isinstance(talk.ask(STARTUP_V5), Authenticate)
    talk.begin_segments()
    assert refused(talk.ask(AuthResponse(b"\x00me\x00wrong")))[0] == ErrorCode.AUTHENTICATION_ERROR
    assert talk.ask(AuthResponse(b"\x00me\x00secret")) == AuthSuccess(None)
    assert isinstance(talk.ask(LOCAL), Rows)


def test_a_refused_startup_leaves_the_connection_bare() -> None:
    """The client reads the refusal as a frame, and may try again."""
    talk = Talk(modern(), version=5, ready=False)
    code, message = refused(talk.ask(Startup({"CQL_VERSION": "3.4.6", "COMPRESSION": "snappy"})))
    assert (code, message) == (ErrorCode.PROTOCOL_ERROR, "Snappy compression is not supported in protocol V5")
    assert refused(talk.ask(Startup({"CQL_VERSION": "3.4.6", "COMPRESSION": "zip"})))[0] == ErrorCode.PROTOCOL_ERROR
    assert talk.ask(STARTUP_V5) == Ready()


def test_an_answer_to_startup_that_is_held_back_still_goes_bare() -> None:
    """The change comes with its bytes, not with the decision."""
    talk = Talk(modern(), version=5, ready=False)
    talk.cluster.faults.add(Fault("delay", opcode=STARTUP, delay_ms=500))
    talk.send(STARTUP_V5)
    assert talk.received() == []
    talk.cluster.reactor.advance(1)
    assert talk.received() == [Ready()]
    talk.begin_segments()
    assert isinstance(talk.ask(LOCAL), Rows)


def test_several_requests_may_share_a_segment() -> None:
    """Each is answered on its stream."""
    talk = Talk(modern(), version=5)
    frames = b"".join(encode_frame(5, stream, QUERY, LOCAL.encode(5)) for stream in (3, 4, 5))
    talk.connection.dataReceived(encode_segments(frames))
    answers = FrameReader().feed(SegmentReader().feed(talk.transport.value()))
    assert [answer.stream for answer in answers] == [3, 4, 5]


def test_the_flag_of_compression_means_nothing_in_segments() -> None:
    """A driver sets it there, and its bodies are as ever."""
    talk = Talk(modern(), version=5)
    assert isinstance(talk.ask(LOCAL, COMPRESSED), Rows)


@pytest.mark.parametrize("version", [3, 4])
def test_every_answer_is_compressed_once_that_is_agreed(version: int) -> None:
    """From the answer to STARTUP on, as Cassandra does it; requests may be, or not."""
    talk = Talk(modern(), version=version, ready=False, algorithm="lz4")
    talk.send(Startup({"CQL_VERSION": "3.4.6", "COMPRESSION": "LZ4"}))
    assert talk.transport.value().hex() == f"8{version}010001 02 00000005 0000000000".replace(" ", "")
    talk.received()
    talk.connection.dataReceived(encode_frame(version, 1, OPTIONS))
    assert talk.transport.value()[1] == COMPRESSED
    assert isinstance(talk.received()[0], Supported)
    assert isinstance(talk.ask(LOCAL), Rows)


def test_a_compressed_body_that_cannot_be_opened_is_answered_on_its_stream() -> None:
    """Framing is intact, so the connection goes on."""
    talk = Talk(modern(), algorithm="lz4")
    talk.connection.dataReceived(encode_frame(4, 9, QUERY, b"\x00\x00\x00\x09\xff", COMPRESSED))
    assert talk.transport.value()[2:4] == b"\x00\x09"
    assert refused(talk.received()[0])[0] == ErrorCode.PROTOCOL_ERROR
    assert isinstance(talk.ask(LOCAL), Rows)


def test_a_damaged_segment_ends_the_connection() -> None:
    """Nobody knows where the next one begins."""
    talk = Talk(modern(), version=5)
    talk.connection.dataReceived(encode_segments(encode_frame(5, 1, OPTIONS))[:-1] + b"\x00")
    (answer,) = talk.received()
    assert refused(answer)[1].startswith("CRC32 mismatch")
    assert talk.transport.disconnecting


def test_the_version_stays_what_it_was_at_startup() -> None:
    """In segments; Cassandra says it in these words."""
    talk = Talk(modern(), version=5)
    talk.connection.dataReceived(encode_segments(encode_frame(4, 1, OPTIONS)))
    (answer,) = talk.received()
    message = "Invalid message version. Got 4/v4 but previous messages on this connection had version 5/v5"
    assert refused(answer) == (ErrorCode.PROTOCOL_ERROR, message)


@pytest.mark.parametrize(("versions", "asked"), [((3,), 4), ((3, 4), 5), ((4, 5), 3)])
def test_an_older_or_younger_cluster_refuses_what_it_does_not_speak(versions: tuple[int, ...], asked: int) -> None:
    """In the greatest version that it does, bare, which is how a driver finds one to go on with."""
    talk = Talk(make_cluster(protocol_versions=versions), version=asked, ready=False)
    talk.connection.dataReceived(encode_frame(asked, 1, STARTUP, STARTUP_V5.encode(asked)))
    assert talk.transport.value()[0] == 0x80 | max(versions) and talk.transport.value()[4] == ERROR
    said = f"the lowest supported version is {versions[0]} and the greatest is {versions[-1]}"
    assert refused(talk.received()[0])[1].endswith(said)


def test_without_being_told_a_cluster_offers_neither() -> None:
    """What a proxy of v3 and v4 sees."""
    talk = Talk(make_cluster(), ready=False)
    supported = talk.ask(Options())
    assert isinstance(supported, Supported)
    assert (supported.options["PROTOCOL_VERSIONS"], supported.options["COMPRESSION"]) == (["3/v3", "4/v4"], [])
    lz4 = talk.ask(Startup({"CQL_VERSION": "3.4.6", "COMPRESSION": "lz4"}))
    assert refused(lz4) == (ErrorCode.PROTOCOL_ERROR, "Unknown compression algorithm: lz4")


@pytest.mark.parametrize("version", [4, 5])
def test_replicas_that_failed_are_named_where_the_version_has_a_place_for_it(version: int) -> None:
    """v4 has their number only."""
    talk = Talk(modern(), version=version)
    error = make_error(ErrorCode.READ_FAILURE, "no", {"failures": 2})
    talk.cluster.faults.add(Fault("error", opcode=QUERY, error=error))
    answer = talk.ask(LOCAL)
    assert isinstance(answer, ReadFailure)
    assert answer.failures == (2 if version == 4 else {"127.0.0.1": 0, "127.0.0.2": 0})
