"""Draining, the client's leaving, heartbeats and events (sections 5.8, 7.7, 10.4, 10.5)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import CLIENT, ORIGIN, OVERLOADED, TARGET, WRITE_TIMEOUT
from zdm.core.clusters import Side, other
from zdm.core.commands import Connect, RefreshSchema
from zdm.core.state import SHUTTING_DOWN, Phase

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"


@pytest.mark.bare
@pytest.mark.parametrize("size", [0, 1, 10])
def test_draining_answers_what_is_in_flight_and_takes_nothing_new(play: Play, size: int) -> None:
    """Drivers go to another proxy with what is refused, and lose nothing."""
    play.client_sends(frames.query(1, INSERT))
    write = play.expect_forwarded()
    play.client_sends_bytes(frames.query(2, READ)[:20])
    play.drain()
    play.expect_silence()
    play.client_sends_bytes(frames.query(2, READ)[20:])
    play.expect_error(OVERLOADED, 2, SHUTTING_DOWN)
    play.client_sends(frames.query(3, READ), frames.options(4), cut_into=size)
    for stream in (3, 4):
        play.expect_error(OVERLOADED, stream, SHUTTING_DOWN)
    play.answer(write, TARGET, frames.void())
    play.expect_silence()
    play.answer(write, ORIGIN, frames.void())
    play.expect_client(frames.void(1))
    play.expect_close(CLIENT, "drained")


def test_an_idle_session_drains_at_once(play: Play) -> None:
    """Nobody waits for anything."""
    play.drain()
    play.expect_close(CLIENT, "drained")


def test_a_session_in_handshake_is_closed_at_once(fresh: Play) -> None:
    """The driver comes again, elsewhere."""
    fresh.drain()
    fresh.expect_close(CLIENT, "shuts down")


def test_draining_ends_when_the_last_request_expires(play: Play) -> None:
    """A hung cluster must not keep the process."""
    play.client_sends(frames.query(1, INSERT))
    play.expect_forwarded()
    play.drain()
    play.time_passes(10.1)
    play.expect_close(CLIENT, "drained")


def test_a_duplicate_stream_id_is_told_while_draining_too(play: Play) -> None:
    """The same rules hold to the end."""
    play.client_sends(frames.query(1, INSERT))
    play.expect_forwarded()
    play.drain()
    play.client_sends(frames.query(1, READ), frames.query(2, READ))
    play.expect_error(0x000A, 1, "in use")
    play.expect_close(CLIENT)


def test_target_lost_while_draining_leaves_the_rest_to_be_answered(play: Play) -> None:
    """What waits for origin alone has nothing to do with it."""
    play.client_sends(frames.query(1, INSERT), frames.query(2, READ))
    write = play.expect_forwarded()
    read = play.expect_forwarded(to={ORIGIN})
    play.drain()
    play.answer(write, ORIGIN, frames.void())
    play.lose(TARGET)
    play.expect_error(WRITE_TIMEOUT, 1)
    play.expect_silence()
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
    play.expect_close(CLIENT, "drained")


def test_what_is_held_is_part_of_what_is_drained(play: Play) -> None:
    """It was taken, so it is served if target comes back in time."""
    play.lose(TARGET)
    play.client_sends(frames.query(1, INSERT))
    play.expect_command(Connect(TARGET))
    play.drain()
    play.attach(TARGET)
    play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.ready())
    play.answer_all(play.expect_forwarded(), frames.void())
    play.expect_client(frames.void(1))
    play.expect_close(CLIENT, "drained")


def test_a_client_that_leaves_takes_its_requests_with_it(play: Play) -> None:
    """No duration is observed for what nobody waited for; nothing stays counted as in flight."""
    play.client_sends(frames.query(1, INSERT), frames.query(2, READ))
    write = play.expect_forwarded()
    play.expect_forwarded(to={ORIGIN})
    play.client_leaves()
    play.answer_all(write, frames.void())
    play.time_passes(60)
    meter = play.shared.meter
    assert (meter.writes.inflight, meter.reads_origin.inflight) == (0, 0)
    assert sum(meter.writes.duration.counts) == 0


def test_held_requests_of_a_client_that_leaves_were_never_in_flight(play: Play) -> None:
    """The gauge counts what was forwarded."""
    play.lose(TARGET)
    play.client_sends(frames.query(1, INSERT))
    play.expect_command(Connect(TARGET))
    play.client_leaves()
    assert play.shared.meter.writes.inflight == 0


@pytest.mark.parametrize("idle", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
@pytest.mark.parametrize("is_prepared", [False, True], ids=["query", "execute"])
def test_the_cluster_that_gets_nothing_gets_a_heartbeat(perform: Perform, idle: Side, is_prepared: bool) -> None:
    """Otherwise a firewall forgets its connection; once in an interval is enough."""
    play = perform(primary=other(idle))
    play.prepare(READ, b"id")
    read = frames.execute(1, b"id") if is_prepared else frames.query(1, READ)

    def one_read() -> None:
        play.client_sends(read)
        play.answer(play.expect_forwarded(to={other(idle)}), other(idle), frames.rows())
        play.expect_client(frames.rows(1))

    play.time_passes(29)
    one_read()
    play.time_passes(2)
    play.expect_silence()
    one_read()
    beat = play.expect_forwarded(to={idle}, frame=frames.options())
    one_read()
    play.answer(beat, idle, frames.supported())
    play.expect_silence()
    play.expect_note("debug", f"Sending heartbeat to cluster {idle.name}")
    play.expect_note("debug", f"Received internal response from {idle.name}")
    play.time_passes(31)
    one_read()
    play.expect_forwarded(to={idle}, frame=frames.options())
    assert play.shared.meter.writes.inflight == 0


def test_a_heartbeat_without_an_answer_owes_its_id(perform: Perform) -> None:
    """A late answer to it must not be taken for another's."""
    play = perform(heartbeat_interval=1.0)
    play.time_passes(2)
    play.client_sends(frames.options(1))
    options = play.expect_forwarded(to={ORIGIN})
    beat = play.expect_forwarded(to={TARGET}, frame=frames.options())
    play.time_passes(10.1)
    play.client_sends(frames.query(beat.stream(TARGET), INSERT))
    write = play.expect_forwarded()
    assert write.stream(TARGET) != beat.stream(TARGET)
    play.answer(beat, TARGET, frames.supported())
    play.expect_silence()
    play.answer_all(write, frames.void())
    play.expect_client(frames.void(beat.stream(TARGET)))
    play.answer(options, ORIGIN, frames.supported())
    play.expect_silence()
    play.expect_idle()


def test_no_heartbeat_without_a_request_and_none_where_every_id_is_in_use(perform: Perform) -> None:
    """An idle client causes none; drivers send their own."""
    play = perform(heartbeat_interval=1.0, max_streams=1, max_streams_set=True, system_queries=TARGET)
    play.time_passes(60)
    play.expect_silence()
    play.client_sends(frames.query(0, "SELECT * FROM system_auth.roles"))
    roles = play.expect_forwarded(to={TARGET})
    beat = play.expect_forwarded(to={ORIGIN}, frame=frames.options())
    play.answer(beat, ORIGIN, frames.supported())
    play.time_passes(2)
    play.client_sends(frames.query(1, READ))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.expect_note("debug", "No heartbeat to cluster TARGET")
    play.answer(roles, TARGET, frames.rows())
    play.expect_client(frames.rows(0))


def test_only_origins_schema_events_reach_the_client(play: Play) -> None:
    """Topology is the proxy's own matter, and target's schema is not what the client asked about."""
    event = frames.event_schema_change()
    others = [frames.event_status_change(), frames.event_topology_change()]
    play.cluster_sends(TARGET, event, *others)
    play.expect_silence()
    play.cluster_sends(ORIGIN, *others)
    play.expect_silence()
    play.cluster_sends(ORIGIN, event, cut_into=5)
    play.expect_client(event)
    play.expect_command(RefreshSchema())


def test_a_schema_change_that_failed_changes_nothing(play: Play) -> None:
    """No schema version has to be read again for it."""
    play.client_sends(frames.query(1, "DROP TABLE ks.t"))
    change = play.expect_forwarded()
    play.answer(change, ORIGIN, frames.schema_change(0, "DROPPED"))
    play.answer(change, TARGET, frames.error(0, 0x2200))
    play.expect_client(frames.error(1, 0x2200))
    assert play.session.phase is Phase.READY
