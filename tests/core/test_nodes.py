"""What is counted of a cluster's node (section 8.3), whichever way an answer takes through the session."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import CLIENT, HOSTS, ORIGIN, OVERLOADED, TARGET, WRITE_TIMEOUT, stage
from zdm.core.clusters import Side, other
from zdm.core.snapshot import Shared, TargetMode
from zdm.meters import NodeMeter

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
READ = "SELECT k FROM ks.t"
SIDES = pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))


def node(shared: Shared, side: Side) -> NodeMeter:
    return shared.meter.node(side, str(HOSTS[side]))


def counted(shared: Shared, side: Side) -> tuple[int, int]:
    """Reads and writes that the node has answered."""
    found = node(shared, side)
    return sum(found.reads.counts), sum(found.writes.counts)


def failures(shared: Shared, side: Side) -> dict[str, int]:
    return {name: count for name, count in node(shared, side).failed.items() if count}


def test_each_node_has_its_own_time_of_a_write(play: Play, order: Sequence[Side]) -> None:
    """The proxy's is that of the slower one: only the nodes' tell which one it is."""
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    for side, seconds in zip(order, (0.003, 2.0), strict=True):
        play.time_passes(seconds)
        play.answer(write, side, frames.void())
    play.expect_client(frames.void(5))
    first, last = (node(play.shared, side).writes for side in order)
    assert first.total == pytest.approx(0.003) and last.total == pytest.approx(2.003)
    assert play.shared.meter.writes.duration.total == pytest.approx(2.003)
    assert counted(play.shared, ORIGIN) == counted(play.shared, TARGET) == (0, 1)


def test_answers_that_come_together_are_each_counted_by_their_own_time(play: Play) -> None:
    """They are added up by runs, and a run ends where time or kind of the request is another."""
    kinds = [INSERT, INSERT, READ, READ, INSERT]
    for stream, text in enumerate(kinds):
        play.client_sends(frames.query(stream, text))
        play.expect_forwarded(to={ORIGIN} if text is READ else {ORIGIN, TARGET})
        play.time_passes(0.0 if stream == 2 else 1.0)
    play.cluster_sends(ORIGIN, *(frames.void(stream) for stream in range(5)))
    play.expect_client(frames.void(2))
    play.expect_client(frames.void(3))
    origin = node(play.shared, ORIGIN)
    assert origin.writes.total == pytest.approx(4 + 3 + 1) and sum(origin.writes.counts) == 3
    assert origin.reads.total == pytest.approx(2 + 2) and sum(origin.reads.counts) == 2
    assert [count for count in origin.writes.counts if count] == [1, 2]  # 1 s; 3 s and 4 s
    play.cluster_sends(TARGET, *(frames.void(stream) for stream in (0, 1, 4)))
    for stream in (0, 1, 4):
        play.expect_client(frames.void(stream))
    assert counted(play.shared, TARGET) == (0, 3)
    assert play.shared.meter.writes.duration.total == pytest.approx(8)


def test_what_came_before_an_answer_that_cannot_be_read_is_counted(play: Play) -> None:
    """The run is left by another way than its end."""
    for stream in (1, 2):
        play.client_sends(frames.query(stream, READ))
        play.expect_forwarded(to={ORIGIN})
    unreadable = b"\x83" + frames.void(2)[1:]
    play.cluster_sends_bytes(ORIGIN, frames.void(1) + unreadable)
    play.expect_client(frames.void(1))
    play.expect_close(ORIGIN)
    play.expect_close(CLIENT)
    assert counted(play.shared, ORIGIN) == (1, 0)
    reads = play.shared.meter.reads_origin
    assert (reads.inflight, sum(reads.duration.counts)) == (1, 1)


@SIDES
def test_an_error_of_a_node_is_counted_with_the_answers_and_by_its_class(play: Play, side: Side) -> None:
    """One per ERROR reply in time; its time counts as any answer's."""
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, side, frames.error(5, OVERLOADED, "busy"))
    play.answer(write, other(side), frames.void())
    play.expect_error(OVERLOADED, 5)
    assert (failures(play.shared, side), failures(play.shared, other(side))) == ({"overloaded": 1}, {})
    assert counted(play.shared, ORIGIN) == counted(play.shared, TARGET) == (0, 1)
    assert sum(play.shared.meter.writes.duration.counts) == 1


def test_a_forgotten_statement_is_counted_although_no_client_hears_of_it(play: Play) -> None:
    """It is how an operator sees that a node has restarted."""
    play.prepare("INSERT INTO ks.t (k) VALUES (?)", b"id")
    play.client_sends(frames.execute(5, b"id", [b"x"]))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, TARGET, frames.unprepared(0, b"id"))
    prepare = play.expect_forwarded(to={TARGET})
    play.answer(prepare, TARGET, frames.prepared(0, b"id"))
    again = play.expect_forwarded(to={TARGET})
    play.answer(again, TARGET, frames.void())
    play.answer(write, ORIGIN, frames.void())
    play.expect_client(frames.void(5))
    assert (failures(play.shared, TARGET), failures(play.shared, ORIGIN)) == ({"unprepared": 1}, {})
    assert (counted(play.shared, TARGET), counted(play.shared, ORIGIN)) == ((0, 2), (0, 1))


@SIDES
def test_a_request_that_expires_is_counted_for_the_node_that_owes_its_answer(play: Play, side: Side) -> None:
    """And nothing more of it, when the answer comes after all."""
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, other(side), frames.void())
    play.time_passes(10)
    play.answer(write, side, frames.void())
    play.expect_silence()
    assert (failures(play.shared, side), failures(play.shared, other(side))) == ({"client_timeout": 1}, {})
    assert (counted(play.shared, side), counted(play.shared, other(side))) == ((0, 0), (0, 1))


def test_what_a_lost_connection_leaves_is_no_answer_of_its_node(play: Play) -> None:
    """The proxy words that error itself."""
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, ORIGIN, frames.void())
    lost = node(play.shared, TARGET)
    play.lose(TARGET)
    play.expect_error(WRITE_TIMEOUT, 5)
    play.expect_note("info", "TARGET")
    assert not any(lost.failed.values()) and counted(play.shared, TARGET) == (0, 0)


def test_the_proxy_and_what_no_metric_counts_are_not_counted_for_nodes_either(play: Play) -> None:
    """PREPARE, OPTIONS, heartbeats (section 4.1)."""
    play.prepare(READ, b"id")
    play.client_sends(frames.options(1))
    options = play.expect_forwarded(to={ORIGIN})
    play.answer(options, ORIGIN, frames.error(1, OVERLOADED, "busy"))
    play.expect_error(OVERLOADED, 1)
    assert counted(play.shared, ORIGIN) == counted(play.shared, TARGET) == (0, 0)
    assert failures(play.shared, ORIGIN) == {}


def test_a_write_to_origin_alone_is_still_a_write() -> None:
    """While target is off nothing may look like reads (F12)."""
    shared = stage(mode=TargetMode.ORIGIN_ONLY, asks=(False, False))
    with Play(shared).become_ready_without_target() as play:
        play.client_sends(frames.query(5, INSERT))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.void())
        play.expect_client(frames.void(5))
    assert counted(shared, ORIGIN) == (0, 1)


def test_ids_in_use_are_those_that_an_answer_may_still_come_for(perform: Perform) -> None:
    """Also one whose request was settled without it: it is not free until then."""
    play = perform()
    play.client_sends(frames.query(1, INSERT), frames.query(2, READ))
    write, _ = play.expect_forwarded(to={ORIGIN, TARGET}), play.expect_forwarded(to={ORIGIN})
    state = play.session.state

    def used() -> tuple[int, int]:
        return state.origin.used_ids(state.pending), state.target.used_ids(state.pending)

    assert used() == (2, 1)
    play.answer(write, ORIGIN, frames.void())
    assert used() == (1, 1)
    play.time_passes(10)
    assert used() == (1, 1)
    play.answer(write, TARGET, frames.void())
    assert used() == (1, 0)
