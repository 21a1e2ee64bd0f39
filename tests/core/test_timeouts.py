"""Requests that a cluster does not answer in time (section 5.4), and what the client is told where it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import ORIGIN, OVERLOADED, READ_TIMEOUT, SERVER_ERROR, TARGET, WRITE_TIMEOUT
from zdm.core.clusters import Side
from zdm.core.commands import RefreshSchema

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
LWT = "INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS"
READ = "SELECT k FROM ks.t"
DDL = "CREATE TABLE ks.t (k int PRIMARY KEY)"


def test_a_silent_cluster_leaves_the_client_without_an_answer(play: Play, order: Sequence[Side]) -> None:
    """The documented behaviour: the driver's own timeout applies."""
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, order[0], frames.void())
    play.time_passes(30)
    play.expect_silence()
    meter = play.shared.meter
    assert (meter.timed_out, meter.writes.inflight, sum(meter.writes.duration.counts)) == (1, 0, 1)
    play.answer(write, order[1], frames.void())
    play.expect_idle()
    assert play.notes("debug") == [
        f"Could not find request context for stream id 5 received from {order[1].name}. "
        "It either timed out or a protocol error occurred."
    ]


def test_a_request_expires_after_its_own_timeout(perform: Perform) -> None:
    """Not when the timer happens to fire for another."""
    play = perform(answer_timeouts=True)
    play.client_sends(frames.query(1, READ))
    play.expect_forwarded(to={ORIGIN})
    play.time_passes(4)
    play.client_sends(frames.query(2, READ))
    play.expect_forwarded(to={ORIGIN})
    play.time_passes(5.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_error(READ_TIMEOUT, 1)
    play.time_passes(3.7)
    play.expect_silence()
    play.time_passes(0.3)
    play.expect_error(READ_TIMEOUT, 2)


@pytest.mark.parametrize(
    ("frame", "write_type"),
    [
        (frames.query(5, INSERT, consistency=6), "SIMPLE"),
        (frames.query(5, LWT, consistency=6), "CAS"),
        (frames.query(5, f"BEGIN BATCH {INSERT} APPLY BATCH", consistency=6), "BATCH"),
        (frames.query(5, f"BEGIN UNLOGGED BATCH {INSERT} APPLY BATCH", consistency=6), "UNLOGGED_BATCH"),
        (frames.query(5, "BEGIN COUNTER BATCH UPDATE c SET n = n + 1 APPLY BATCH", consistency=6), "COUNTER"),
        (frames.batch(5, [INSERT], 0, consistency=6), "BATCH"),
        (frames.batch(5, [INSERT, b"simple"], 1, consistency=6), "UNLOGGED_BATCH"),
        (frames.batch(5, ["UPDATE c SET n = n + 1"], 2, consistency=6), "COUNTER"),
        (frames.batch(5, [INSERT, LWT], 0, consistency=6), "CAS"),
        (frames.batch(5, [INSERT, b"conditional"], 1, consistency=6), "CAS"),
        (frames.execute(5, b"simple", consistency=6), "SIMPLE"),
        (frames.execute(5, b"conditional", consistency=6), "CAS"),
    ],
)
@pytest.mark.parametrize("version", [3, 4])
def test_a_write_that_may_have_been_applied_is_a_write_timeout(
    perform: Perform, frame: bytes, write_type: str, version: int
) -> None:
    """Drivers decide by the write type whether the write may be sent again."""
    play = perform(version, answer_timeouts=True)
    play.prepare(INSERT, b"simple")
    play.prepare(LWT, b"conditional")
    play.client_sends(bytes([version]) + frame[1:])
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, ORIGIN, frames.void(version=version))
    play.time_passes(10.1)
    error = play.expect_error(WRITE_TIMEOUT, 5, "no answer from TARGET within 10 s")
    assert error.fields == frames.short(6) + frames.integer(0) + frames.integer(1) + frames.string(write_type)


def test_a_read_is_a_read_timeout(perform: Perform) -> None:
    """Nothing was changed: the driver may send it again."""
    play = perform(answer_timeouts=True)
    play.client_sends(frames.query(5, READ, consistency=4))
    play.expect_forwarded(to={ORIGIN})
    play.time_passes(10.1)
    error = play.expect_error(READ_TIMEOUT, 5, "no answer from ORIGIN")
    assert error.fields == frames.short(4) + frames.integer(0) + frames.integer(1) + b"\0"


@pytest.mark.bare
@pytest.mark.parametrize(
    ("frame", "to", "code"),
    [
        (frames.prepare(5, INSERT), {ORIGIN, TARGET}, OVERLOADED),
        (frames.options(5), {ORIGIN}, SERVER_ERROR),
        (frames.register(5), {ORIGIN, TARGET}, SERVER_ERROR),
    ],
)
def test_what_may_safely_happen_twice_is_answered_so_that_drivers_repeat_it(
    perform: Perform, frame: bytes, to: set[Side], code: int
) -> None:
    """Neither changes anything that is kept."""
    play = perform(answer_timeouts=True)
    play.client_sends(frame)
    play.expect_forwarded(to=to)
    play.time_passes(10.1)
    play.expect_error(code, 5)


@pytest.mark.parametrize("text", [DDL, "TRUNCATE ks.t", "DROP KEYSPACE ks"])
def test_schema_changes_have_a_timeout_of_their_own(perform: Perform, text: str) -> None:
    """They take longer than a request may, and must not be believed lost meanwhile."""
    play = perform(answer_timeouts=True)
    play.client_sends(frames.query(5, text))
    change = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(change, ORIGIN, frames.schema_change())
    play.time_passes(59)
    play.expect_silence()
    play.time_passes(1.1)
    play.expect_error(SERVER_ERROR, 5, "within 60 s")


def test_a_request_behind_a_schema_change_still_expires_in_its_own_time(perform: Perform) -> None:
    """The one timer was set for the schema change, which has much more time."""
    play = perform(answer_timeouts=True)
    play.time_passes(20)  # no timer is set any more
    play.client_sends(frames.query(1, DDL))
    change = play.expect_forwarded(to={ORIGIN, TARGET})
    play.time_passes(3)
    play.client_sends(frames.query(2, READ))
    play.expect_forwarded(to={ORIGIN})
    play.time_passes(9.9)
    play.expect_silence()
    play.time_passes(0.2)
    play.expect_error(READ_TIMEOUT, 2)
    play.answer_all(change, frames.schema_change())
    play.expect_client(frames.schema_change(1))
    play.expect_command(RefreshSchema())


def test_an_error_in_time_does_not_shorten_the_wait_for_the_other_cluster(perform: Perform) -> None:
    """The client is answered once, when all is known or the time is over."""
    play = perform(answer_timeouts=True)
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, ORIGIN, frames.error(0, 0x2200))
    play.time_passes(9)
    play.expect_silence()
    play.time_passes(1.1)
    play.expect_error(WRITE_TIMEOUT, 5, "TARGET")
