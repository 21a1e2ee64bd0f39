"""Target is switched off and on under a session's requests: what is sent, what is waited for, what is counted."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, INVALID, ORIGIN, OVERLOADED, TARGET, UNPREPARED, stage
from zdm.core.clusters import Side
from zdm.core.commands import Close, Connect, PrepareElsewhere
from zdm.core.connector import SideState
from zdm.core.snapshot import Shared, TargetMode

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"


def write(play: Play, stream: int, to: Collection[Side] = (ORIGIN, TARGET), text: str = INSERT) -> Forwarded:
    play.client_sends(frames.query(stream, text))
    return play.expect_forwarded(to=to)


def origin_write(play: Play, stream: int, text: str = INSERT) -> None:
    """A write that origin alone gets."""
    sent = write(play, stream, {ORIGIN}, text)
    play.answer(sent, ORIGIN, frames.void())
    play.expect_client(frames.void(stream))


def origin_use(play: Play, stream: int, keyspace: str) -> None:
    """A USE that origin alone gets."""
    sent = write(play, stream, {ORIGIN}, f"USE {keyspace}")
    play.answer(sent, ORIGIN, frames.set_keyspace(keyspace=keyspace))
    play.expect_client(frames.set_keyspace(stream, keyspace))


def dual_write(play: Play, stream: int) -> None:
    sent = write(play, stream)
    play.answer_all(sent, frames.void())
    play.expect_client(frames.void(stream))


def skipped(shared: Shared) -> int:
    return shared.meter.writes_disabled.begun


def handshake(play: Play) -> None:
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())


def test_while_off_everything_goes_to_origin_alone(play: Play) -> None:
    """Writes stay writes in the metrics, and are counted as skipped."""
    play.switch(False)
    origin_write(play, 1)
    play.client_sends(frames.query(2, READ))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
    play.client_sends(frames.batch(3, [INSERT]))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.void())
    play.expect_client(frames.void(3))
    assert skipped(play.shared) == 2
    assert play.shared.meter.reads_disabled.begun == 0
    play.time_passes(5.1)
    play.expect_close(TARGET)
    play.expect_idle()


def test_a_write_under_way_gets_both_answers_if_target_is_quick(play: Play) -> None:
    """Nothing is abandoned that need not be."""
    sent = write(play, 1)
    play.switch(False)
    play.answer(sent, ORIGIN, frames.void())
    play.expect_silence()
    play.answer(sent, TARGET, frames.void())
    play.expect_client(frames.void(1))
    assert play.shared.meter.abandoned_writes == 0 and skipped(play.shared) == 0


def test_a_write_under_way_settles_with_origins_answer_when_the_drain_is_over(play: Play) -> None:
    """A hanging target holds nobody up for longer than target_disable_drain_ms."""
    first, second = write(play, 1), write(play, 2)
    play.answer(first, ORIGIN, frames.void())
    play.switch(False)
    play.time_passes(0.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_client(frames.void(1))
    play.answer(second, ORIGIN, frames.error(0, INVALID, "no"))
    play.expect_client(frames.error(2, INVALID, "no"))
    assert play.shared.meter.abandoned_writes == 2 and play.shared.meter.failed_writes_origin == 1
    play.answer(first, TARGET, frames.void())
    play.answer(second, TARGET, frames.void())
    assert play.shared.meter.late_answers == 2
    play.time_passes(5)
    play.expect_close(TARGET)
    play.expect_idle()


def test_a_late_answer_to_what_was_abandoned_is_nobodys(play: Play) -> None:
    """It must not be taken for that of the next request under the same id."""
    first = write(play, 1)
    play.answer(first, ORIGIN, frames.void())
    play.switch(False)
    play.time_passes(1.1)
    play.expect_client(frames.void(1))
    again = write(play, 1, {ORIGIN})
    play.answer(first, TARGET, frames.error(0, INVALID, "the old one's"))
    play.switch(True)  # nothing is owed any more, so the connection is taken up again
    both = write(play, 2)
    play.answer(again, ORIGIN, frames.void())
    play.expect_client(frames.void(1))
    play.answer_all(both, frames.void())
    play.expect_client(frames.void(2))
    play.expect_idle()


def test_a_read_that_target_was_asked_is_asked_of_origin_instead(perform: Perform) -> None:
    """Reading twice does no harm, and there is no answer of origin's to settle with."""
    play = perform(primary=TARGET)
    sent = write(play, 1, {TARGET}, READ)
    play.switch(False)
    play.time_passes(1.1)
    again = play.expect_forwarded(to={ORIGIN}, frame=frames.query(1, READ))
    play.answer(again, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    assert play.shared.meter.abandoned_reads == 1
    play.answer(sent, TARGET, frames.rows())
    play.time_passes(5)
    play.expect_close(TARGET)
    play.expect_idle()


@pytest.mark.parametrize("origin_first", [True, False])
def test_with_target_primary_origins_answer_is_there_when_target_is_abandoned(
    perform: Perform, origin_first: bool
) -> None:
    """Though it is target's that the client would have got."""
    play = perform(primary=TARGET)
    sent = write(play, 1)
    if origin_first:
        play.answer(sent, ORIGIN, frames.rows())
    play.switch(False)
    play.time_passes(1.1)
    if not origin_first:
        play.answer(sent, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.lose(TARGET)
    play.expect_idle()


def test_a_held_write_goes_to_origin_when_target_is_switched_off(play: Play) -> None:
    """It was sent to nobody yet."""
    play.lose(TARGET)
    play.client_sends(frames.query(1, INSERT))
    play.expect_command(Connect(TARGET))
    play.switch(False)
    play.expect_close(TARGET)
    sent = play.expect_forwarded(to={ORIGIN})
    play.answer(sent, ORIGIN, frames.void())
    play.expect_client(frames.void(1))
    assert skipped(play.shared) == 1
    play.expect_idle()


def test_target_lost_while_off_harms_nobody(play: Play) -> None:
    """The very thing it was switched off for."""
    sent = write(play, 1)
    play.answer(sent, ORIGIN, frames.void())
    play.switch(False)
    play.lose(TARGET)
    play.expect_client(frames.void(1))
    assert play.shared.meter.abandoned_writes == 1
    origin_write(play, 2)
    play.time_passes(60)
    play.expect_idle()
    assert play.asked_eagerly == 0


def test_target_lost_while_off_harms_nobody_under_close_either() -> None:
    """on_target_connection_lost=CLOSE is about a target that takes part."""
    with Play(stage(reattach_target=False)) as play:
        play.become_ready()
        play.switch(False)
        play.lose(TARGET)
        origin_write(play, 1)


def test_a_parked_connection_is_used_again_when_target_is_soon_back(play: Play) -> None:
    """A quick off and on costs no login."""
    play.switch(False)
    play.time_passes(4)
    play.switch(True)
    dual_write(play, 1)
    assert play.asked_eagerly == 0
    play.time_passes(20)
    play.expect_idle()


def test_switched_on_while_requests_are_under_way_they_go_on_as_they_were_sent(play: Play) -> None:
    """Each settles by the route it was sent by, whatever is switched meanwhile."""
    both = write(play, 1)
    play.switch(False)
    alone = write(play, 2, {ORIGIN})
    play.switch(True)
    play.time_passes(3)
    play.answer(alone, ORIGIN, frames.void())
    play.expect_client(frames.void(2))
    play.answer(both, ORIGIN, frames.void())
    play.expect_silence()
    play.answer(both, TARGET, frames.void())
    play.expect_client(frames.void(1))
    assert play.shared.meter.abandoned_writes == 0 and skipped(play.shared) == 1


def test_a_keyspace_chosen_while_off_is_replayed_on_the_parked_connection(play: Play) -> None:
    """Or writes without a keyspace's name would go to the wrong table."""
    play.use("one")
    play.switch(False)
    origin_use(play, 1, "two")
    play.switch(True)
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "two"'))
    play.client_sends(frames.query(2, INSERT))
    play.expect_silence()
    play.answer(replayed, TARGET, frames.set_keyspace(keyspace="two"))
    sent = play.expect_forwarded()
    play.answer_all(sent, frames.void())
    play.expect_client(frames.void(2))
    play.expect_idle()


def test_a_parked_connection_that_cannot_take_the_keyspace_is_opened_anew(play: Play) -> None:
    """Where target lacks it, the old one would stay current there, and writes would hit the wrong table."""
    play.use("one")
    play.switch(False)
    origin_use(play, 1, "two")
    play.switch(True)
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "two"'))
    play.answer(replayed, TARGET, frames.error(0, INVALID, "Keyspace 'two' does not exist"))
    play.expect_close(TARGET)
    assert play.asked_eagerly == 1


def test_a_use_under_way_across_the_edge_is_replayed_once_it_is_settled(play: Play) -> None:
    """USE went to origin alone, and target is back before it is answered."""
    play.switch(False)
    sent = write(play, 1, {ORIGIN}, "USE ks")
    play.switch(True)
    play.answer(sent, ORIGIN, frames.set_keyspace())
    play.expect_client(frames.set_keyspace(1))
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))
    play.answer(replayed, TARGET, frames.set_keyspace())
    dual_write(play, 2)


def test_a_use_that_was_abandoned_makes_the_connection_useless(play: Play) -> None:
    """Nobody knows whether target has switched."""
    sent = write(play, 1, text="USE ks")
    play.answer(sent, ORIGIN, frames.set_keyspace())
    play.switch(False)
    play.time_passes(1.1)
    play.expect_client(frames.set_keyspace(1))
    play.switch(True)
    play.expect_close(TARGET)
    assert play.asked_eagerly == 1


def test_a_session_born_while_off_lives_with_origin_alone() -> None:
    """And gets its target eagerly once that is switched on: one handshake, then both."""
    with Play(stage(mode=TargetMode.ORIGIN_ONLY, asks=(False, False))) as play:
        play.become_ready_without_target()
        origin_write(play, 1)
        play.switch(True)
        assert play.asked_eagerly == 1 and play.session.is_attaching
        play.client_sends(frames.query(2, INSERT))
        play.expect_command(Connect(TARGET))
        handshake(play)
        sent = play.expect_forwarded()
        play.answer_all(sent, frames.void())
        play.expect_client(frames.void(2))
        assert not play.session.is_attaching
        play.expect_idle()


def test_a_write_held_too_long_for_a_late_target_goes_to_origin_alone() -> None:
    """And is counted as such; the client has waited long enough."""
    with Play(stage(mode=TargetMode.ORIGIN_ONLY, asks=(False, False))) as play:
        play.become_ready_without_target()
        play.switch(True)
        play.client_sends(frames.query(1, INSERT))
        play.expect_command(Connect(TARGET))
        play.time_passes(2.1)
        sent = play.expect_forwarded(to={ORIGIN})
        play.answer(sent, ORIGIN, frames.void())
        play.expect_client(frames.void(1))
        assert play.shared.meter.writes_attaching.begun == 1
        assert play.shared.meter.timed_out == 0
        play.expect_idle()


def test_a_write_held_too_long_for_a_target_that_was_lost_is_for_the_client_to_retry(play: Play) -> None:
    """Nobody has switched it off: going to origin alone would be a difference that nobody asked for."""
    play.lose(TARGET)
    play.client_sends(frames.query(1, INSERT))
    play.expect_command(Connect(TARGET))
    play.time_passes(2.1)
    play.expect_error(OVERLOADED, 1)


def test_a_statement_prepared_while_off_is_prepared_on_target_when_it_is_first_executed(play: Play) -> None:
    """The client knows nothing of it, and the write is executed on both or on none."""
    play.switch(False)
    play.client_sends(frames.prepare(1, INSERT))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    play.client_sends(frames.execute(2, b"oo"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.void())
    play.expect_client(frames.void(2))
    play.switch(True)
    play.client_sends(frames.execute(3, b"oo"), frames.execute(4, b"oo"))
    inside = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.expect_silence()
    play.answer(inside, TARGET, frames.prepared(prepared_id=b"tt"))
    for stream in (3, 4):
        wanted = {ORIGIN: frames.execute(stream, b"oo"), TARGET: frames.execute(stream, b"tt")}
        play.answer_all(play.expect_forwarded(frame=wanted), frames.void())
        play.expect_client(frames.void(stream))
    play.expect_idle()


def test_a_statement_that_target_cannot_prepare_is_executed_nowhere(play: Play) -> None:
    """Its table may not be there yet: the client learns why, and both clusters stay alike."""
    play.switch(False)
    play.client_sends(frames.prepare(1, INSERT))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    play.switch(True)
    play.client_sends(frames.batch(2, [b"oo"]))
    inside = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.answer(inside, TARGET, frames.error(0, INVALID, "unconfigured table t"))
    play.expect_error(INVALID, 2, "unconfigured table")
    play.expect_idle()


@pytest.mark.bare
def test_a_statement_of_another_keyspace_is_prepared_elsewhere_first(play: Play) -> None:
    """PREPARE takes the connection's keyspace."""
    play.use("one")
    play.switch(False)
    play.client_sends(frames.prepare(1, "INSERT INTO t (k) VALUES (1)"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    play.switch(True)
    play.use("two")
    play.client_sends(frames.execute(2, b"oo"))
    errand = play.expect_a(PrepareElsewhere)
    assert (errand.side, errand.keyspace) == (TARGET, "one")
    play.prepared_elsewhere(errand.ticket, (8, frames.prepared(prepared_id=b"oo")[9:]))
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(2))
    play.expect_idle()


def test_rows_from_target_are_not_read_by_the_columns_of_origin(perform: Perform) -> None:
    """With target primary, a read prepared while it was off is prepared anew by the client."""
    play = perform(primary=TARGET)
    play.switch(False)
    play.client_sends(frames.prepare(1, READ))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    play.switch(True)
    play.client_sends(frames.execute(2, b"oo"))
    play.expect_error(UNPREPARED, 2)


def test_a_prepare_under_way_when_target_is_switched_off_is_answered(play: Play) -> None:
    """By the route it was sent by: it waits for target, though not for long."""
    play.client_sends(frames.prepare(1, INSERT))
    sent = play.expect_forwarded()
    play.switch(False)
    play.answer(sent, ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.time_passes(1.1)
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    assert play.shared.prepared.entries[b"oo"].target_id == b""


def test_a_prepare_under_way_when_target_is_switched_on_is_answered(play: Play) -> None:
    """It went to origin alone, and origin's answer is all there will be."""
    play.switch(False)
    play.client_sends(frames.prepare(1, INSERT))
    sent = play.expect_forwarded(to={ORIGIN})
    play.switch(True)
    play.answer(sent, ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))


def test_a_statement_prepared_again_while_off_keeps_targets_id(play: Play) -> None:
    """An application that starts while target is off must not cost every statement's preparation."""
    play.prepare(INSERT, b"oo", b"tt")
    play.switch(False)
    play.client_sends(frames.prepare(1, INSERT))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    assert play.shared.prepared.entries[b"oo"].target_id == b"tt"


def test_what_is_being_mended_on_target_is_given_up(play: Play) -> None:
    """To prepare and execute there would be to send something to a target that is off."""
    play.prepare(INSERT, b"oo")
    play.client_sends(frames.execute(1, b"oo"))
    sent = play.expect_forwarded()
    play.answer(sent, TARGET, frames.unprepared(0, b"oo"))
    inside = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.answer(sent, ORIGIN, frames.void())
    play.switch(False)
    play.expect_client(frames.void(1))
    assert play.shared.meter.abandoned_writes == 1
    play.answer(inside, TARGET, frames.prepared(prepared_id=b"oo"))
    play.expect_silence()
    play.switch(True)
    play.client_sends(frames.execute(2, b"oo"))
    sent = play.expect_forwarded()
    play.answer(sent, TARGET, frames.unprepared(0, b"oo"))
    inside = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.answer(inside, TARGET, frames.prepared(prepared_id=b"oo"))
    again = play.expect_forwarded(to={TARGET}, frame=frames.execute(2, b"oo"))
    play.answer(again, TARGET, frames.void())
    play.answer(sent, ORIGIN, frames.void())
    play.expect_client(frames.void(2))
    play.expect_idle()


def test_a_statement_that_target_forgot_is_not_mended_once_it_is_off(play: Play) -> None:
    """UNPREPARED comes while the request is being waited for: a PREPARE would go to a target that is off."""
    play.prepare(INSERT, b"oo")
    play.client_sends(frames.execute(1, b"oo"))
    sent = play.expect_forwarded()
    play.answer(sent, ORIGIN, frames.void())
    play.switch(False)
    play.answer(sent, TARGET, frames.unprepared(0, b"oo"))
    play.expect_client(frames.void(1))
    assert play.shared.meter.abandoned_writes == 1


def test_register_goes_to_origin_while_target_is_off(play: Play) -> None:
    """And no heartbeat goes to target."""
    play.switch(False)
    play.client_sends(frames.register(1), frames.options(2))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.ready())
    play.expect_client(frames.ready(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.error())
    play.expect_client(frames.error(2))


def test_no_heartbeat_goes_to_a_parked_connection() -> None:
    """Even where it is kept for longer than a heartbeat's time."""
    with Play(stage(target_park=100.0)) as play:
        play.become_ready()
        play.switch(False)
        play.time_passes(60)
        origin_write(play, 1)
        play.expect_silence()


def test_a_session_that_drains_is_not_held_up_by_a_target_that_is_off(play: Play) -> None:
    """Shutdown while target hangs: the drain of the toggle ends it."""
    sent = write(play, 1)
    play.answer(sent, ORIGIN, frames.void())
    play.switch(False)
    play.drain()
    play.time_passes(1.1)
    play.expect_client(frames.void(1))
    play.expect_close(CLIENT, "drained")


def test_an_attachment_under_way_is_given_up(play: Play) -> None:
    """No handshake with a target that is off."""
    play.lose(TARGET)
    play.attach(TARGET)
    play.expect_forwarded(to={TARGET}, frame=frames.startup())
    play.switch(False)
    play.expect_command(Close(TARGET, "target was switched off"))
    assert play.session.state.target.state is SideState.ABSENT
    play.time_passes(60)
    play.expect_idle()
