"""What is copied to the secondary (`DUAL_ASYNC_ON_SECONDARY`), and what the client never notices of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import frames
from tests.copying import INSERT, READ, CopyingPlay
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import ORIGIN, ORIGIN_USER, TARGET, TARGET_USER, stage
from zdm.core.clusters import Side, other
from zdm.core.connector import SideState
from zdm.core.copying_session import CopyingSession
from zdm.core.snapshot import TargetMode


@pytest.fixture
def play() -> Iterator[CopyingPlay]:
    """A session that is ready, without authentication, in version 4, with origin as primary."""
    with CopyingPlay() as play:
        play.become_ready()
        yield play


def test_nothing_is_copied_unless_it_is_asked_for() -> None:
    """The default costs nothing: the session is another kind of object."""
    with Play() as play:
        play.become_ready()
        assert not isinstance(play.session, CopyingSession)


def test_a_read_goes_to_the_primary_and_its_copy_to_the_secondary(primary: Side) -> None:
    """Whose answer is dropped, whatever it is."""
    with CopyingPlay(primary=primary) as play:
        play.become_ready()
        sent = play.read(1)
        copy = play.expect_copy(sent)
        play.answer_copy(copy, frames.rows(specs={"other": frames.VARCHAR}, cells=[[b"x"]]))
        play.expect_idle()
        assert play.copies.used_ids() == 0 and play.dropped() == {}


def test_the_client_waits_for_no_copy(play: CopyingPlay) -> None:
    """Its answer is there before that of the secondary, which may be an ERROR, or none at all."""
    copy = play.copied_read(1)
    play.answer_copy(copy, frames.read_timeout())
    play.copied_read(1)
    play.time_passes(10.1)
    play.expect_note("warn", "TARGET left 1 copied requests of client")
    play.expect_idle()


@pytest.mark.parametrize("text", ["SELECT a FROM system_schema.tables", "SELECT a FROM system_traces.events"])
def test_reads_of_the_system_are_not_copied(play: CopyingPlay, text: str) -> None:
    """They are about the cluster that is asked."""
    play.read(1, text)
    play.expect_no_copy()


def test_what_the_proxy_answers_is_not_copied() -> None:
    """Nobody else is asked."""
    with CopyingPlay(stage(tables=system_tables(proxies(*FLEET)), copies_reads=True)) as play:
        play.become_ready()
        play.client_sends(
            frames.query(1, "SELECT * FROM system.local"), frames.prepare(2, "SELECT * FROM system.peers")
        )
        play.client_got()
        play.client_got()


def test_writes_are_not_copied(play: CopyingPlay) -> None:
    """The secondary has them already, and a second time would be wrong."""
    play.client_sends(frames.query(1, INSERT), frames.batch(2, [INSERT]), frames.prepare(3, INSERT))
    for stream in (1, 2):
        play.answer_all(play.expect_forwarded(), frames.void())
        play.expect_client(frames.void(stream))
    play.answer_all(play.expect_forwarded(), frames.prepared())
    play.expect_client(frames.prepared(3))
    play.client_sends(frames.execute(4, b"id"))
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(4))
    play.expect_no_copy()


def test_options_are_copied(play: CopyingPlay) -> None:
    """They keep the connection alive as well."""
    play.client_sends(frames.options(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.supported())
    play.client_got()
    play.answer_copy(play.expect_copy(frames.options()), frames.supported())


def test_a_statement_is_prepared_and_executed_there_by_the_secondarys_id(primary: Side) -> None:
    """So its PREPARE reaches the secondary twice."""
    with CopyingPlay(primary=primary) as play:
        play.become_ready()
        play.prepare(READ, b"origin's", b"target's, longer")
        play.answer_copy(play.expect_copy(frames.prepare(4, READ)), frames.prepared())
        ids = {ORIGIN: b"origin's", TARGET: b"target's, longer"}
        play.client_sends(frames.execute(5, b"origin's", [b"v"]))
        sent = play.expect_forwarded(to={primary}, frame=frames.execute(5, ids[primary], [b"v"]))
        play.answer(sent, primary, frames.rows())
        play.expect_client(frames.rows(5))
        play.expect_copy(frames.execute(5, ids[other(primary)], [b"v"]))


def test_an_unknown_id_is_copied_nowhere(play: CopyingPlay) -> None:
    """The proxy itself says UNPREPARED."""
    play.client_sends(frames.execute(1, b"never seen"))
    play.expect_error(0x2500, 1)
    play.expect_no_copy()


def test_copies_of_one_chunk_keep_their_order(play: CopyingPlay) -> None:
    """Among requests that are not copied."""
    texts = [READ, INSERT, "SELECT a FROM ks.t", "SELECT b FROM ks.t"]
    play.client_sends(*(frames.query(stream, text) for stream, text in enumerate(texts)))
    for stream, text in enumerate(texts):
        to = {ORIGIN, TARGET} if text == INSERT else {ORIGIN}
        play.answer_all(play.expect_forwarded(to=to), frames.void())
        play.expect_client(frames.void(stream))
        if text != INSERT:
            play.expect_copy(frames.query(stream, text))


def test_one_half_of_a_read_is_not_copied(play: CopyingPlay) -> None:
    """Requests are copied when they are sent, however they came."""
    play.client_sends(frames.query(1, READ), cut_into=7)
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.expect_copy(frames.query(1, READ))


def test_an_id_that_is_in_use_there_is_exchanged(play: CopyingPlay) -> None:
    """The client uses its ids again as soon as it has its answer, and the secondary may be slower."""
    first, second = play.copied_read(1), play.copied_read(1)
    assert first[2:4] != second[2:4]
    play.answer_copy(first, frames.rows())
    assert play.copied_read(1)[2:4] == first[2:4]
    play.answer_copy(second, frames.rows())
    assert play.copies.used_ids() == 1


def test_copies_are_dropped_once_every_id_is_in_use() -> None:
    """An answer that is overdue frees its id when it comes at last, and no sooner."""
    with CopyingPlay(max_streams=3, max_streams_set=True) as play:
        play.become_ready()
        copies = [play.copied_read(1) for _ in range(3)]
        assert len({copy[2:4] for copy in copies}) == 3
        play.read(1)
        assert play.dropped() == {"streams": 1}
        play.time_passes(11)
        play.expect_note("warn", "TARGET left 3 copied requests")
        play.read(2)
        assert play.dropped() == {"streams": 2}
        play.answer_copy(copies[1], frames.rows())
        assert play.copied_read(2)[2:4] in {copies[1][2:4], b"\x00\x02"}
        play.expect_no_copy()


# The connection


def test_reads_that_come_before_the_connection_is_there_wait_for_it() -> None:
    """A client is let in without it."""
    with CopyingPlay() as play:
        Play.become_ready(play)
        sent = play.read(1)
        play.open_copies()
        play.expect_copy(sent)


def test_as_many_may_wait_as_is_configured() -> None:
    """The rest is dropped and counted."""
    with CopyingPlay(copies_waiting=2) as play:
        Play.become_ready(play)
        sent = [play.read(stream) for stream in range(4)]
        assert play.dropped() == {"limit": 2}
        play.open_copies()
        for frame in sent[:2]:
            play.expect_copy(frame)


def test_what_waits_is_limited_in_bytes_as_well() -> None:
    """Two thousand large requests of each client would be too much."""
    with CopyingPlay() as play:
        Play.become_ready(play)
        text = f"SELECT k FROM ks.t WHERE k = '{'x' * 600_000}'"
        sent = play.read(1, text)
        play.read(2, text)
        assert play.dropped() == {"limit": 1}
        play.open_copies()
        play.expect_copy(sent)


def test_what_has_waited_too_long_is_dropped() -> None:
    """Nobody learns from a read of ten seconds ago."""
    with CopyingPlay(copies_handshake_timeout=60) as play:
        Play.become_ready(play)
        play.read(1)
        play.time_passes(11)
        sent = play.read(2)
        play.open_copies()
        play.expect_copy(sent)
        assert play.dropped() == {"limit": 1}


def test_while_the_connection_takes_nothing_copies_wait(play: CopyingPlay) -> None:
    """The client is read all the same."""
    play.fill_copies(True)
    sent = play.read(1)
    play.expect_no_copy()
    play.fill_copies(False)
    play.expect_copy(sent)


def test_the_connection_has_a_handshake_of_its_own() -> None:
    """With the credentials that its cluster is to get, and the session's keyspace."""
    with CopyingPlay() as play:
        play.log_in()
        play.use("ks")
        play.attach_copies()
        play.answer_copy(play.expect_copy(frames.startup()), frames.authenticate())
        play.answer_copy(play.expect_copy(frames.auth_response(0, TARGET_USER.token())), frames.auth_success())
        play.expect_copy(frames.query(3, "USE ks"))
        assert play.copies.state is SideState.READY


def test_origins_connection_gets_origins_credentials() -> None:
    """Whatever those of the client are."""
    with CopyingPlay(primary=TARGET) as play:
        play.log_in()
        play.attach_copies()
        play.answer_copy(play.expect_copy(frames.startup()), frames.authenticate())
        play.answer_copy(play.expect_copy(frames.auth_response(0, ORIGIN_USER.token())), frames.auth_success())


def test_before_the_client_is_let_in_nothing_is_opened() -> None:
    """A login that fails would cost the secondary a connection each time."""
    with CopyingPlay() as play:
        play.open()
        play.client_sends(frames.startup(1))
        startup = play.expect_forwarded()
        play.answer_all(startup, frames.authenticate())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.auth_response(2, TARGET_USER.token()))
        asked = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
        play.answer(asked, ORIGIN, frames.error(code=0x0100))
        play.expect_error(0x0100, 2)
        assert play.copies.state is SideState.ABSENT


@pytest.mark.parametrize("answer", [frames.error(code=0x0100, message="bad credentials"), frames.void()])
def test_a_handshake_that_fails_ends_the_copies_and_nothing_else(answer: bytes) -> None:
    """The client does not even see its reads slowed down."""
    with CopyingPlay() as play:
        Play.become_ready(play)
        play.attach_copies()
        play.read(1)
        play.answer_copy(play.expect_copy(frames.startup()), answer)
        play.expect_note("warn", "Async connector (TARGET) handshake failed, async requests will not be forwarded: ")
        play.read(2)
        assert play.copies.state is SideState.LOST and play.dropped() == {"unconnected": 2}


def test_a_handshake_that_is_not_answered_in_time_fails() -> None:
    """By `async_handshake_timeout_ms`, for each of its requests."""
    with CopyingPlay(copies_handshake_timeout=4) as play:
        Play.become_ready(play)
        play.attach_copies()
        startup = play.expect_copy(frames.startup())
        play.time_passes(3.9)
        play.answer_copy(startup, frames.authenticate())
        play.time_passes(3.9)
        assert play.copies.state is SideState.LOST  # it has no credentials to give
        play.expect_note("warn", "requested authentication but primary did not")
    with CopyingPlay(copies_handshake_timeout=4) as play:
        Play.become_ready(play)
        play.attach_copies()
        play.expect_copy(frames.startup())
        play.time_passes(4.1)
        play.expect_note("warn", "handshake failed, async requests will not be forwarded: no answer within 4 s")
        assert play.copies.next_deadline() is None


def test_a_connection_that_cannot_be_opened_is_told_of_and_done_without() -> None:
    """So it is with one that ends: there is none until the client comes again."""
    with CopyingPlay() as play:
        Play.become_ready(play)
        play.read(1)
        play.refuse_copies()
        play.expect_note("warn", "Async connector (TARGET) could not be opened: refused")
        play.read(2)
        assert play.dropped() == {"unconnected": 2}


def test_a_connection_that_ends_is_not_opened_again(play: CopyingPlay) -> None:
    """What it owed is forgotten with it."""
    play.copied_read(1)
    play.lose_copies()
    play.expect_note("info", "Async connector (TARGET) of client 127.0.0.9:50000 ended")
    play.read(2)
    assert play.copies.state is SideState.LOST and play.copies.used_ids() == 0
    assert play.copies.next_deadline() is None and play.dropped() == {"unconnected": 1}


def test_a_protocol_error_ends_the_copies_only(play: CopyingPlay) -> None:
    """Section 2.3: on any other connection it would reach the client."""
    play.answer_copy(play.copied_read(1), frames.error(code=0x000A, message="no"))
    play.expect_note("info", "it answered with a PROTOCOL_ERROR")
    play.read(2)
    assert play.copies.state is SideState.LOST


@pytest.mark.parametrize("data", [b"HTTP/1.1 400", frames.rows(version=3), b"\x84\0\0\0\x08\x7f\xff\xff\xff"])
def test_what_cannot_be_read_ends_the_copies_only(play: CopyingPlay, data: bytes) -> None:
    """Whoever has sent it."""
    play.copies_get(data)
    play.expect_note("info", "it sent what cannot be read")
    assert play.copies.state is SideState.LOST
    play.read(1)


def test_answers_are_not_kept(play: CopyingPlay) -> None:
    """Rows of megabytes pass by, cut anywhere, and the next answer is found behind them."""
    copies = [play.copied_read(stream) for stream in (1, 2, 3)]
    large = frames.rows(1, cells=[[b"x" * 3000]])
    error = frames.error(2, code=0x2200)
    play.copies_get(large + error, cut_into=11)
    assert play.copies.used_ids() == 1
    assert len(copies) == 3
    play.copies_get(frames.rows(3, cells=[[b"x" * 3000]])[:-1])
    assert play.copies.used_ids() == 1 and play.copies.kept_bytes == 0
    play.copies_get(b"x")
    assert play.copies.used_ids() == 0


def test_events_and_answers_to_nothing_are_dropped(play: CopyingPlay) -> None:
    """Nobody has registered there, and nobody has asked."""
    play.copies_get(frames.event_schema_change() + frames.rows(77))
    play.read(1)
    play.expect_copy()


# Prepared statements that the secondary does not know


def prepared(play: CopyingPlay, keyspace: str | None = None) -> None:
    """A read that both clusters have prepared, whose copy was answered."""
    if keyspace is not None:
        play.use(keyspace)
        play.answer_copy(play.expect_copy(), frames.set_keyspace(keyspace=keyspace))
    play.prepare(READ, b"here", b"there")
    play.answer_copy(play.expect_copy(), frames.prepared())


def executed(play: CopyingPlay, stream: int) -> None:
    play.client_sends(frames.execute(stream, b"here"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(stream))


def test_a_forgotten_statement_is_prepared_there_again(play: CopyingPlay) -> None:
    """Once, however many copies are answered so; none of them is sent again."""
    prepared(play)
    executed(play, 1)
    executed(play, 2)
    first, second = (play.expect_copy(frames.execute(0, b"there")) for _ in range(2))
    play.answer_copy(first, frames.unprepared(prepared_id=b"there"))
    repair = play.expect_copy(frames.prepare(0, READ))
    play.answer_copy(second, frames.unprepared(prepared_id=b"there"))
    play.expect_no_copy()
    play.answer_copy(repair, frames.prepared(prepared_id=b"there, anew"))
    executed(play, 3)
    again = play.expect_copy(frames.execute(0, b"there, anew"))
    play.answer_copy(again, frames.unprepared(prepared_id=b"there, anew"))
    play.expect_copy(frames.prepare(0, READ))


def test_a_repair_that_is_not_answered_is_made_again(play: CopyingPlay) -> None:
    """A statement would otherwise be lost to the copies for good."""
    prepared(play)
    for stream in (1, 2):
        executed(play, stream)
        play.answer_copy(play.expect_copy(), frames.unprepared(prepared_id=b"there"))
        play.expect_copy(frames.prepare(0, READ))
        play.time_passes(10.1)
        play.notes("warn")


def test_a_statement_of_another_keyspace_is_let_be(play: CopyingPlay) -> None:
    """Prepared under the wrong one it would have another id, or be another statement."""
    prepared(play, "ks")
    play.use("ks2", stream=9)
    play.answer_copy(play.expect_copy(), frames.set_keyspace(keyspace="ks2"))
    executed(play, 1)
    play.answer_copy(play.expect_copy(frames.execute(0, b"there")), frames.unprepared(prepared_id=b"there"))
    play.expect_no_copy()


def test_a_statement_prepared_while_target_was_off_is_prepared_first() -> None:
    """Its first read is not copied."""
    shared = stage(copies_reads=True)
    with CopyingPlay(shared) as play:
        play.become_ready()
        play.switch(False)
        play.client_sends(frames.prepare(1, READ))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"here"))
        play.expect_client(frames.prepared(1, b"here"))
        play.switch(True)
        executed(play, 2)
        play.open_copies()
        play.answer_copy(play.expect_copy(frames.prepare(0, READ)), frames.prepared(prepared_id=b"there"))
        executed(play, 3)
        play.expect_copy(frames.execute(0, b"there"))
        play.expect_no_copy()


# USE


def test_use_is_copied_and_what_follows_waits_for_it(play: CopyingPlay) -> None:
    """A cluster may execute what comes on one connection in any order."""
    play.use("ks")
    use = play.expect_copy(frames.query(3, "USE ks"))
    sent = play.read(1, "SELECT k FROM t")
    play.expect_no_copy()
    play.answer_copy(use, frames.set_keyspace())
    play.expect_copy(sent)


def test_a_use_that_is_not_answered_holds_nothing_up_for_ever(play: CopyingPlay) -> None:
    """What came since then and is not too old follows."""
    play.use("ks")
    play.expect_copy(frames.query(3, "USE ks"))
    play.time_passes(5)
    sent = play.read(1)
    play.time_passes(5.1)
    play.expect_note("warn", "left 1 copied requests")
    play.expect_copy(sent)


def test_a_keyspace_that_the_secondary_lacks_is_that_connections_matter(play: CopyingPlay) -> None:
    """The client was told by the connection that it has there itself."""
    play.use("ks")
    play.answer_copy(play.expect_copy(), frames.error(code=0x2200))
    play.copied_read(1)


def test_the_keyspace_is_set_where_the_connection_is_opened_late() -> None:
    """The first read that waits has the keyspace of the time it came."""
    shared = stage(copies_reads=True)
    with CopyingPlay(shared) as play:
        play.become_ready()
        play.switch(False)
        play.client_sends(frames.query(1, "USE ks"))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.set_keyspace())
        play.expect_client(frames.set_keyspace(1))
        play.switch(True)
        play.answer(
            play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"')), TARGET, frames.set_keyspace()
        )
        sent = play.read(2)
        play.attach_copies()
        play.answer_copy(play.expect_copy(frames.startup()), frames.ready())
        play.answer_copy(play.expect_copy(frames.query(0, 'USE "ks"')), frames.set_keyspace())
        play.expect_copy(sent)


# Target off and on, lost and found


@pytest.mark.parametrize("primary", [ORIGIN, TARGET])
def test_while_target_is_off_nothing_is_copied(primary: Side) -> None:
    """Neither to target, which gets nothing, nor to origin, which gets all reads itself."""
    with CopyingPlay(primary=primary) as play:
        play.become_ready()
        play.copied_read(1)
        play.switch(False)
        assert play.copies.state is SideState.ABSENT
        play.client_sends(frames.query(2, READ))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(2))
        play.expect_no_copy()
        assert play.dropped() == {"unconnected": 1}


def test_what_waits_is_not_sent_to_a_disabled_target(play: CopyingPlay) -> None:
    """From that moment nothing new is sent to target."""
    play.fill_copies(True)
    play.read(1)
    play.switch(False)
    play.fill_copies(False)
    play.expect_no_copy()
    assert play.dropped() == {"unconnected": 1}


def test_a_target_that_is_switched_on_again_gets_copies_again(play: CopyingPlay) -> None:
    """Also where the connection had ended by itself before."""
    play.lose_copies()
    play.notes("info")
    play.switch(False)
    play.switch(True)
    play.open_copies()
    play.copied_read(1)


def test_a_session_that_begins_while_target_is_off_copies_once_it_is_on() -> None:
    """The connection is opened behind target's own."""
    shared = stage(copies_reads=True, mode=TargetMode.ORIGIN_ONLY, asks=(False, False))
    with CopyingPlay(shared) as play:
        play.become_ready_without_target()
        play.read(1)
        play.switch(True)
        play.take_commands()
        assert play.copies.state is SideState.ABSENT
        play.attach(TARGET)
        play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
        sent = play.read(2)
        play.open_copies()
        play.expect_copy(sent)


def test_with_the_secondarys_own_connection_the_copies_go_too(play: CopyingPlay) -> None:
    """They are for the same host. Both are opened anew."""
    play.lose(TARGET)
    assert play.copies.state is SideState.ABSENT
    play.take_commands()
    play.read(1)
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    sent = play.read(2)
    play.open_copies()
    play.expect_copy(sent)
    assert play.dropped() == {"unconnected": 1}


def test_a_session_that_moves_has_its_copies_connection_opened_anew(play: CopyingPlay) -> None:
    """What it owes on the old one nobody will miss."""
    play.copied_read(1)
    assert play.move() is not None
    sent = play.read(2)
    play.open_copies()
    play.expect_copy(sent)


def test_a_session_that_drains_waits_for_no_copy(play: CopyingPlay) -> None:
    """Shutdown is over when the clients are answered."""
    play.copied_read(1)
    play.drain()
    play.expect_close(Side.CLIENT, "drained")


# What is counted


def test_copies_are_counted_by_node(play: CopyingPlay) -> None:
    """In flight while they are, then by the time from the client's request to the answer; nothing else is changed."""
    copy = play.copied_read(1)
    assert play.node.inflight == 1
    play.time_passes(0.5)
    play.answer_copy(copy, frames.rows())
    assert (play.node.inflight, sum(play.node.reads.counts), play.node.reads.total) == (0, 1, 0.5)
    assert sum(play.node.writes.counts) == 0 and not any(play.node.failed.values())
    meter = play.shared.meter
    assert sum(meter.reads_origin.duration.counts) == 1 and meter.reads_target.begun == 0 and meter.writes.begun == 0


def test_use_is_a_write_and_what_is_no_request_of_data_is_not_counted(play: CopyingPlay) -> None:
    """As everywhere else (section 4.1)."""
    play.use("ks")
    play.answer_copy(play.expect_copy(), frames.set_keyspace())
    play.prepare(READ, b"id")
    play.answer_copy(play.expect_copy(), frames.prepared())
    assert (sum(play.node.writes.counts), sum(play.node.reads.counts), play.node.inflight) == (1, 0, 0)


def test_copies_that_fail_are_counted_by_their_errors(play: CopyingPlay) -> None:
    """Also by none at all, once; such a one is not counted by its time."""
    play.answer_copy(play.copied_read(1), frames.unavailable())
    play.answer_copy(play.copied_read(1), frames.read_timeout())
    late = play.copied_read(1)
    play.time_passes(10.1)
    play.notes("warn")
    play.answer_copy(late, frames.unavailable())
    counted = {name: count for name, count in play.node.failed.items() if count}
    assert counted == {"unavailable": 1, "read_timeout": 1, "client_timeout": 1}
    assert sum(play.node.reads.counts) == 2 and play.node.inflight == 0


def test_nothing_is_in_flight_on_a_connection_that_has_gone(play: CopyingPlay) -> None:
    """A gauge that never comes down again would be of no use."""
    play.copied_read(1)
    play.copied_read(2)
    play.lose_copies()
    assert play.node.inflight == 0
