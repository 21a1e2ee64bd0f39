"""Target is switched while USE, PREPARE, a heartbeat or a lost connection is under way: what is easily left unlike."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.core.test_toggle import INSERT, READ, dual_write, handshake, origin_use, write
from tests.playbook import Play
from tests.stage import (
    CLIENT,
    INVALID,
    ORIGIN,
    OVERLOADED,
    PROTOCOL_ERROR,
    READ_TIMEOUT,
    TARGET,
    UNPREPARED,
    WRITE_FAILURE,
    stage,
)
from zdm.core.commands import Connect, PrepareElsewhere, RefreshSchema
from zdm.core.connector import SideState
from zdm.core.snapshot import TargetMode

pytestmark = pytest.mark.usefixtures("spoken")

TARGETS_COLUMNS = {"k": b"\x00\x0d", "moved": b"\x00\x09"}


def prepare_at_origin(play: Play, text: str) -> None:
    play.client_sends(frames.prepare(1, text))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))


def test_a_heartbeat_that_a_parked_target_never_answers_does_not_keep_the_timer_busy(play: Play) -> None:
    """Nothing expires on a parked connection, so nothing of it is waited for (the playbook counts idle wake-ups)."""
    play.time_passes(31)
    play.client_sends(frames.query(1, READ))
    sent = play.expect_forwarded(to={ORIGIN})
    play.expect_forwarded(to={TARGET}, frame=frames.options())
    play.answer(sent, ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.time_passes(9)
    play.switch(False)
    play.time_passes(3)
    play.time_passes(5)
    play.expect_close(TARGET)


def test_a_draining_client_does_not_wake_up_for_a_target_that_nobody_wants(play: Play) -> None:
    """A schema change outlasts the request timeout, and target is not attached for a client that is leaving."""
    play.switch(False)
    sent = write(play, 1, {ORIGIN}, "CREATE TABLE ks.u (k int PRIMARY KEY)")
    play.switch(True)
    play.drain()
    play.lose(TARGET)
    play.time_passes(15)
    play.answer(sent, ORIGIN, frames.void())
    play.expect_client(frames.void(1))
    play.expect_a(RefreshSchema)
    play.expect_close(CLIENT)


def test_a_use_that_origin_alone_got_outlives_targets_connection(play: Play) -> None:
    """It was sent while target was off, so target's loss says nothing about it."""
    play.switch(False)
    sent = write(play, 1, {ORIGIN}, "USE ks")
    play.switch(True)
    play.lose(TARGET)
    play.answer(sent, ORIGIN, frames.set_keyspace())
    play.expect_client(frames.set_keyspace(1))


def test_a_use_that_went_on_without_target_outlives_a_failed_attempt() -> None:
    """It waited for target's connection, then went to origin alone."""
    with Play(stage(mode=TargetMode.ORIGIN_ONLY, asks=(False, False))) as play:
        play.become_ready_without_target()
        play.switch(True)
        play.client_sends(frames.query(1, "USE ks"))
        play.expect_command(Connect(TARGET))
        play.time_passes(2.1)
        sent = play.expect_forwarded(to={ORIGIN})
        play.lose(TARGET, "it could not be opened")
        play.answer(sent, ORIGIN, frames.set_keyspace())
        play.expect_client(frames.set_keyspace(1))


def test_a_use_that_target_answered_on_an_earlier_connection_is_replayed(play: Play) -> None:
    """Its good answer went with that connection, and the new one was introduced before origin had answered."""
    sent = write(play, 1, text="USE ks")
    play.answer(sent, TARGET, frames.set_keyspace())
    play.switch(False)
    play.lose(TARGET)
    play.switch(True)
    handshake(play)
    play.answer(sent, ORIGIN, frames.set_keyspace())
    play.expect_client(frames.set_keyspace(1))
    play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "ks"'))


def test_a_use_that_failed_on_origin_sets_back_no_connection_that_is_not_there(play: Play) -> None:
    """Target had answered it well, then was switched off and its connection went."""
    play.use("one")
    sent = write(play, 1, text="USE two")
    play.answer(sent, TARGET, frames.set_keyspace(keyspace="two"))
    play.switch(False)
    play.lose(TARGET)
    play.answer(sent, ORIGIN, frames.error(0, INVALID, "no"))
    play.expect_client(frames.error(1, INVALID, "no"))
    assert play.session.state.target.state is SideState.ABSENT
    play.switch(True)
    play.attach(TARGET)
    play.expect_forwarded(to={TARGET}, frame=frames.startup())


@pytest.mark.bare
def test_a_statement_whose_errand_went_with_the_connection_is_prepared_by_the_next(play: Play) -> None:
    """The errand's ticket is never answered, and must not stand in the way for the rest of the session."""
    play.use("one")
    play.switch(False)
    prepare_at_origin(play, "INSERT INTO t (k) VALUES (1)")
    play.switch(True)
    play.use("two")
    play.client_sends(frames.execute(2, b"oo"))
    play.expect_a(PrepareElsewhere)
    play.cluster_sends_bytes(TARGET, b"\x85\x00\x00\x01\x08\x00\x00\x00\x00")
    play.expect_close(TARGET)
    play.expect_command(Connect(TARGET))
    handshake(play)
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "two"'))
    play.answer(replayed, TARGET, frames.set_keyspace(keyspace="two"))
    errand = play.expect_a(PrepareElsewhere)
    play.prepared_elsewhere(errand.ticket, (8, frames.prepared(prepared_id=b"oo")[9:]))
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(2))


def test_a_keyspace_that_target_lacks_closes_no_client(perform: Perform) -> None:
    """Even where a lost target closes clients: this one was let in without target, and target is still there."""
    play = perform(reattach_target=False)
    play.use("one")
    play.switch(False)
    origin_use(play, 1, "two")
    play.switch(True)
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "two"'))
    play.answer(replayed, TARGET, frames.error(0, INVALID, "Keyspace 'two' does not exist"))
    play.expect_close(TARGET)
    assert play.asked_eagerly
    handshake(play)
    replayed = play.expect_forwarded(to={TARGET}, frame=frames.query(0, 'USE "two"'))
    play.answer(replayed, TARGET, frames.error(0, INVALID, "Keyspace 'two' does not exist"))
    dual_write(play, 1)
    play.lose(TARGET)  # and from now on it is a connection as any other
    play.expect_close(CLIENT)


def test_a_connection_that_owes_answers_is_not_taken_up_again(perform: Perform) -> None:
    """Few ids are left on it, or none, and a host behind it that has answered nothing since the drain began."""
    play = perform(max_streams=2, max_streams_set=True)
    for stream in (0, 1):
        play.answer(write(play, stream), ORIGIN, frames.void())
    play.switch(False)
    play.time_passes(1.1)
    play.expect_client(frames.void(0))
    play.expect_client(frames.void(1))
    play.switch(True)
    play.expect_close(TARGET)
    assert play.asked_eagerly
    handshake(play)
    dual_write(play, 0)


def test_a_write_that_target_may_have_executed_is_not_called_unprepared(play: Play) -> None:
    """A driver takes UNPREPARED for "executed nowhere", and executes again: twice on target, once that is on again."""
    play.prepare(INSERT, b"oo")
    play.client_sends(frames.execute(1, b"oo"))
    sent = play.expect_forwarded()
    play.switch(False)
    play.time_passes(1.1)
    play.answer(sent, ORIGIN, frames.unprepared(0, b"oo"))
    inside = play.expect_forwarded(to={ORIGIN}, frame=frames.prepare(0, INSERT))
    play.answer(inside, ORIGIN, frames.prepared(prepared_id=b"another"))
    play.expect_error(WRITE_FAILURE, 1)
    play.time_passes(4)
    play.expect_close(TARGET)


def test_requests_asked_of_origin_instead_expire_in_the_order_they_came(perform: Perform) -> None:
    """The one that target could not execute came before those that origin got since."""
    play = perform(primary=TARGET, answer_timeouts=True)
    play.prepare(READ, b"oo", b"tt")
    play.client_sends(frames.execute(1, b"oo"))
    sent = play.expect_forwarded(to={TARGET}, frame=frames.execute(1, b"tt"))
    play.time_passes(9.5)
    play.switch(False)
    play.time_passes(0.1)
    write(play, 2, {ORIGIN})
    play.answer(sent, TARGET, frames.unprepared(0, b"tt"))
    play.expect_forwarded(to={ORIGIN}, frame=frames.execute(1, b"oo"))
    play.time_passes(0.45)
    play.expect_error(READ_TIMEOUT, 1)
    play.time_passes(5)
    play.expect_close(TARGET)


def test_rows_of_target_are_never_read_by_origins_columns(perform: Perform) -> None:
    """Prepared again while target is off: the columns that the client has now are origin's."""
    play = perform(primary=TARGET)
    play.prepare(READ, b"oo", b"tt")
    play.switch(False)
    prepare_at_origin(play, READ)
    play.switch(True)
    play.client_sends(frames.execute(2, b"oo"))
    play.expect_error(UNPREPARED, 2)


def test_columns_are_those_in_force_when_the_answer_is_given(perform: Perform) -> None:
    """Both were asked to prepare; then target was switched off."""
    play = perform(primary=TARGET)
    play.client_sends(frames.prepare(1, READ))
    sent = play.expect_forwarded()
    play.switch(False)
    play.answer(sent, ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.answer(sent, TARGET, frames.prepared(prepared_id=b"tt", result=TARGETS_COLUMNS))
    play.expect_client(frames.prepared(1, prepared_id=b"oo"))
    play.switch(True)
    play.client_sends(frames.execute(2, b"oo"))
    play.expect_error(UNPREPARED, 2)


def test_rows_of_origin_are_never_read_by_targets_columns(perform: Perform) -> None:
    """The client has target's columns, from before target was switched off."""
    play = perform(primary=TARGET)
    play.client_sends(frames.prepare(1, READ))
    sent = play.expect_forwarded()
    play.answer(sent, ORIGIN, frames.prepared(prepared_id=b"oo"))
    play.answer(sent, TARGET, frames.prepared(prepared_id=b"tt", result=TARGETS_COLUMNS))
    play.expect_client(frames.prepared(1, prepared_id=b"oo", result=TARGETS_COLUMNS))
    play.client_sends(frames.execute(2, b"oo"))
    sent = play.expect_forwarded(to={TARGET}, frame=frames.execute(2, b"tt"))
    play.switch(False)
    play.client_sends(frames.execute(3, b"oo"))
    play.expect_error(UNPREPARED, 3)
    play.time_passes(1.1)
    play.expect_error(UNPREPARED, 2)  # asked of origin instead, it would be read wrongly as well
    play.time_passes(4)
    play.expect_close(TARGET)


def test_what_is_for_targets_ears_only_is_not_given_to_origin() -> None:
    """Credentials that a client sends once more, to the cluster that asked for them."""
    with Play(stage(asks=(False, True))) as play:
        play.become_ready()
        play.client_sends(frames.auth_response(1, b"\0user\0password"))
        play.expect_forwarded(to={TARGET})
        play.switch(False)
        play.time_passes(1.1)
        play.expect_error(OVERLOADED, 1)
        play.client_sends(frames.auth_response(2, b"\0user\0password"))
        play.expect_error(PROTOCOL_ERROR, 2, "TARGET, which is switched off")
        play.time_passes(4)
        play.expect_close(TARGET)


def test_an_id_is_not_lost_with_a_statement_that_is_gone_when_it_is_mended(perform: Perform) -> None:
    """Its request travelled under another id than its own, which must be free again."""
    play = perform()
    play.prepare(INSERT, b"oo")
    play.answer(write(play, 1), ORIGIN, frames.void())
    play.time_passes(10.1)  # target owes an answer under id 1
    play.client_sends(frames.execute(1, b"oo"))
    sent = play.expect_forwarded()
    play.answer(sent, ORIGIN, frames.void())
    play.answer(sent, TARGET, frames.unprepared(0, b"oo"))
    inside = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.shared.prepared.remove(b"oo")
    play.answer(inside, TARGET, frames.prepared(prepared_id=b"oo"))
    play.expect_error(WRITE_FAILURE, 1)
    assert list(play.session.state.target.special) == [1]
