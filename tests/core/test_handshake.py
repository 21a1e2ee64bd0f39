"""OPTIONS and STARTUP with both clusters at once, and what may go wrong with them (sections 2.2, 2.3, 3.2)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import CLIENT, ORIGIN, PROTOCOL_ERROR, SUPPORTED, TARGET, stage, under
from zdm.core.clusters import Side
from zdm.core.commands import Connect
from zdm.core.handshake import MAX_EARLY_BYTES
from zdm.core.snapshot import Settings
from zdm.core.state import Phase

pytestmark = pytest.mark.usefixtures("spoken")

BOTH = {ORIGIN, TARGET}


def test_options_are_answered_with_what_both_clusters_offer(fresh: Play, order: Sequence[Side]) -> None:
    """A driver must not pick what one of the clusters lacks."""
    fresh.client_sends(frames.options(7))
    options = fresh.expect_forwarded(to=BOTH)
    fresh.answer(options, order[0], frames.supported())
    fresh.expect_silence()
    fresh.answer(options, order[1], frames.supported(0, {"CQL_VERSION": ["3.4.7"]}))
    fresh.expect_client(frames.supported(7, SUPPORTED))


def test_an_error_to_options_is_relayed(fresh: Play, order: Sequence[Side]) -> None:
    """FIX-08: the reference makes a malformed SUPPORTED of it."""
    fresh.client_sends(frames.options(7))
    options = fresh.expect_forwarded(to=BOTH)
    fresh.answer(options, order[0], frames.supported())
    fresh.answer(options, order[1], frames.error(0, 0x1001, "busy"))
    fresh.expect_client(frames.error(7, 0x1001, "busy"))
    assert fresh.session.phase is Phase.HANDSHAKE


def test_a_client_is_ready_when_both_clusters_are(fresh: Play, order: Sequence[Side]) -> None:
    """No request may come before both of its connections can take it."""
    fresh.client_sends(frames.startup(3))
    startup = fresh.expect_forwarded(to=BOTH)
    fresh.answer(startup, order[0], frames.ready())
    fresh.expect_silence()
    fresh.answer(startup, order[1], frames.ready())
    fresh.expect_client(frames.ready(3))
    assert fresh.session.phase is Phase.READY
    fresh.expect_idle()


def test_nothing_is_forwarded_before_both_connections_are_open() -> None:
    """What the client sent meanwhile waits for its turn."""
    with Play() as play:
        play.expect_command(Connect(ORIGIN))
        play.expect_command(Connect(TARGET))
        play.client_sends(frames.startup(1))
        play.attach(TARGET)
        play.expect_silence()
        play.attach(ORIGIN)
        play.answer_all(play.expect_forwarded(to=BOTH), frames.ready())
        play.expect_client(frames.ready(1))


@pytest.mark.bare
@pytest.mark.parametrize("size", [0, 1, 7])
def test_frames_pipelined_behind_the_handshake_are_served_in_their_turn(fresh: Play, size: int) -> None:
    """Some drivers don't wait; their requests are not to be lost, nor to overtake."""
    read = frames.query(3, "SELECT k FROM ks.t")
    fresh.client_sends(frames.options(1), frames.startup(2), read, frames.query(4, "USE ks")[:-1], cut_into=size)
    fresh.answer_all(fresh.expect_forwarded(to=BOTH), frames.supported())
    fresh.expect_client(frames.supported(1, SUPPORTED))
    startup = fresh.expect_forwarded(to=BOTH)
    fresh.answer(startup, ORIGIN, frames.ready())
    fresh.expect_silence()
    fresh.answer(startup, TARGET, frames.ready())
    fresh.expect_client(frames.ready(2))
    fresh.answer(fresh.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    fresh.expect_client(frames.rows(3))
    fresh.client_sends_bytes(frames.query(4, "USE ks")[-1:])
    fresh.answer_all(fresh.expect_forwarded(to=BOTH, frame=frames.query(4, "USE ks")), frames.set_keyspace())
    fresh.expect_client(frames.set_keyspace(4))


def test_a_request_before_ready_is_refused_and_the_handshake_goes_on(fresh: Play) -> None:
    """FIX-12: nobody who has not been let in gets anything out of the proxy."""
    fresh.client_sends(frames.query(5, "SELECT * FROM system.local"), frames.register(6), frames.auth_response(7))
    for stream in (5, 6, 7):
        fresh.expect_error(PROTOCOL_ERROR, stream, "expecting STARTUP or OPTIONS")
    fresh.client_sends(frames.startup(8))
    fresh.answer_all(fresh.expect_forwarded(to=BOTH), frames.ready())
    fresh.expect_client(frames.ready(8))


def test_an_error_to_startup_is_relayed_and_ends_the_session(fresh: Play, order: Sequence[Side]) -> None:
    """FIX-11: the reference leaves the client without an answer."""
    fresh.client_sends(frames.startup(3))
    startup = fresh.expect_forwarded(to=BOTH)
    fresh.answer(startup, order[0], frames.ready())
    fresh.answer(startup, order[1], frames.error(0, 0x1002, "bootstrapping"))
    fresh.expect_client(frames.error(3, 0x1002, "bootstrapping"))
    fresh.expect_close(CLIENT, f"{order[1].name} answered the handshake with an ERROR")


@pytest.mark.parametrize("request_frame", [frames.options(3), frames.startup(3)], ids=["options", "startup"])
@pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_refused_version_is_told_at_once_on_stream_0(fresh: Play, request_frame: bytes, side: Side) -> None:
    """The cluster closes right after it, maybe before the other has answered; the driver tries a lower version."""
    fresh.client_sends(request_frame)
    asked = fresh.expect_forwarded(to=BOTH)
    refusal = frames.error(0, 0x000A, "Invalid or unsupported protocol version (4)", version=3)
    fresh.answer(asked, side, refusal)
    fresh.lose(side)
    fresh.expect_client(under(refusal, 0))
    fresh.expect_close(CLIENT, side.name)


@pytest.mark.bare
def test_an_answer_in_an_unknown_version_is_told_as_such(fresh: Play) -> None:
    """A frame of version 1 has a shorter header: it can't even be cut."""
    fresh.client_sends(frames.startup(3))
    fresh.expect_forwarded(to=BOTH)
    body = frames.integer(0x000A) + frames.string("unsupported")
    old = struct.pack(">BBbBi", 0x81, 0, 0, 0, len(body)) + body
    fresh.cluster_sends_bytes(ORIGIN, old)
    fresh.cluster_sends(TARGET, frames.ready())
    fresh.expect_error(PROTOCOL_ERROR, 0, "Invalid or unsupported protocol version (1)")
    fresh.expect_close(CLIENT, "ORIGIN answered in protocol version 1")


@pytest.mark.bare
@pytest.mark.parametrize("seen", [b"\1\0\0\1", b"\6", b"\x43\0\0\0\5\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n", b"\x84"])
def test_an_unknown_version_is_answered_once_on_stream_0_and_closed(fresh: Play, seen: bytes) -> None:
    """FIX-02: what follows the first byte may be anything, so nothing of it is read."""
    fresh.client_sends_bytes(seen * 3)
    fresh.expect_error(PROTOCOL_ERROR, 0, f"Invalid or unsupported protocol version ({seen[0] & 0x7F})")
    fresh.expect_close(CLIENT)
    fresh.client_sends_bytes(seen)


def test_the_refusal_is_worded_in_the_lower_version_of_the_two_clusters() -> None:
    """The client must be able to read it, and then tries what is named there."""
    with Play(stage(versions=(4, 3)), version=3) as play:
        play.open()
        play.client_sends_bytes(frames.options(0, version=6))
        play.expect_error(PROTOCOL_ERROR, 0, "(6)")
        play.expect_close(CLIENT)


@pytest.mark.bare
@pytest.mark.parametrize("blocked", [3, 5])
def test_a_blocked_version_is_refused_like_an_unknown_one(blocked: int) -> None:
    """An operator blocks a version that one of the clusters has trouble with."""
    with Play(stage(Settings(versions=frozenset({4})))) as play:
        play.open()
        play.client_sends_bytes(frames.options(0, version=blocked))
        play.expect_error(PROTOCOL_ERROR, 0, f"({blocked})")
        play.expect_close(CLIENT)


@pytest.mark.bare
def test_a_change_of_version_in_the_middle_is_refused(fresh: Play) -> None:
    """One connection speaks one version: its clusters were told so."""
    fresh.client_sends(frames.options(1))
    fresh.answer_all(fresh.expect_forwarded(to=BOTH), frames.supported())
    fresh.expect_client(frames.supported(1, SUPPORTED))
    fresh.client_sends(frames.startup(2, version=3))
    fresh.expect_error(PROTOCOL_ERROR, 2, "speaks protocol version 4, not 3")
    fresh.expect_close(CLIENT)


@pytest.mark.bare
@pytest.mark.parametrize(
    "frame", [frames.request(0x7F, 9), frames.request(0x08, 9), frames.request(0x02, 9), frames.request(0xFF, 9)]
)
@pytest.mark.parametrize("is_ready", [False, True], ids=["early", "ready"])
def test_what_is_no_request_is_refused_and_closed(frame: bytes, is_ready: bool) -> None:
    """FIX-03: answered, where the reference closes without a word."""
    with Play() as play:
        play.become_ready() if is_ready else play.open()
        play.client_sends(frame)
        play.expect_error(PROTOCOL_ERROR, 9, "is no request")
        play.expect_close(CLIENT, "is no request")


@pytest.mark.parametrize("is_ready", [False, True], ids=["early", "ready"])
def test_a_negative_stream_id_is_refused_and_the_connection_goes_on(is_ready: bool) -> None:
    """Thousands of them at once must not be more than a nuisance."""
    count = 5000
    with Play() as play:
        play.become_ready() if is_ready else play.open()
        play.client_sends(*[frames.options(-5)] * count)
        for _ in range(count):
            play.expect_error(PROTOCOL_ERROR, -5, "negative stream id: -5")
        play.client_sends(frames.options(1))
        to = {ORIGIN} if is_ready else BOTH
        play.answer_all(play.expect_forwarded(to=to), frames.supported())
        play.expect_client(frames.supported(1, SUPPORTED))


@pytest.mark.bare
def test_before_ready_at_most_64_kib_are_taken(fresh: Play) -> None:
    """Anybody who reaches the port may send; nobody may fill the memory."""
    fresh.client_sends_bytes(struct.pack(">BBhBI", 4, 0, 3, 1, MAX_EARLY_BYTES + 1))
    fresh.expect_error(PROTOCOL_ERROR, 3, "over the limit")
    fresh.expect_close(CLIENT)


def test_before_ready_a_flood_of_small_frames_is_cut_off_too() -> None:
    """The limit is on what is kept, in however many frames."""
    with Play() as play:
        play.expect_command(Connect(ORIGIN))
        play.expect_command(Connect(TARGET))
        play.client_sends_bytes(frames.options(1) * (MAX_EARLY_BYTES // 9))
        play.expect_silence()
        play.client_sends_bytes(frames.options(1) * 3)
        play.expect_error(PROTOCOL_ERROR, 0, "before the handshake is over")
        play.expect_close(CLIENT)


@pytest.mark.parametrize("body", [b"", b"\0\5", frames.short(1) + frames.string("CQL_VERSION"), b"\0\1\0\1\xff\0\0"])
def test_a_malformed_startup_is_refused(fresh: Play, body: bytes) -> None:
    """FIX-13: one such frame ends the whole reference process."""
    fresh.client_sends(frames.request(0x01, 4, body))
    fresh.expect_error(PROTOCOL_ERROR, 4, "STARTUP cannot be read")
    fresh.client_sends(frames.startup(5))
    fresh.answer_all(fresh.expect_forwarded(to=BOTH), frames.ready())
    fresh.expect_client(frames.ready(5))


@pytest.mark.parametrize("algorithm", ["lz4", "SNAPPY", "zstd", "x" * 65480])
def test_compression_that_is_not_offered_is_refused(fresh: Play, algorithm: str) -> None:
    """FIX-06: the reference gives no answer, so the driver waits for its own timeout."""
    fresh.client_sends(frames.startup(4, {"CQL_VERSION": "3.0.0", "COMPRESSION": algorithm}))
    fresh.expect_error(PROTOCOL_ERROR, 4, "Unknown compression algorithm")


@pytest.mark.bare
def test_a_compressed_frame_without_an_agreement_is_refused(play: Play) -> None:
    """FIX-07: its text can't be read, so nobody can say where it belongs."""
    frame = bytearray(frames.query(4, "SELECT k FROM ks.t"))
    frame[1] = 0x01
    play.client_sends(bytes(frame))
    play.expect_error(PROTOCOL_ERROR, 4, "compress")
    play.expect_idle()


def test_a_cluster_that_does_not_answer_the_handshake_ends_the_session(fresh: Play) -> None:
    """A driver tries another proxy or tries again; waiting for ever helps nobody."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded(to=BOTH)
    fresh.answer(startup, ORIGIN, frames.ready())
    fresh.time_passes(9.9)
    fresh.expect_silence()
    fresh.time_passes(0.2)
    fresh.expect_note("warn", "no answer from TARGET")
    fresh.expect_close(CLIENT, "handshake timed out")


@pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_cluster_connection_lost_in_the_handshake_ends_the_session(fresh: Play, side: Side) -> None:
    """Nothing has been promised to the client yet."""
    fresh.client_sends(frames.startup(1))
    fresh.expect_forwarded(to=BOTH)
    fresh.lose(side)
    fresh.expect_close(CLIENT, side.name)


def test_events_before_ready_are_not_taken_for_answers(fresh: Play) -> None:
    """A negative stream id answers nothing."""
    fresh.client_sends(frames.startup(1))
    startup = fresh.expect_forwarded(to=BOTH)
    fresh.cluster_sends(ORIGIN, frames.event_status_change())
    fresh.answer_all(startup, frames.ready())
    fresh.expect_client(frames.ready(1))
