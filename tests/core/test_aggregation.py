"""Whose answer the client gets (section 5.5 of the behaviour specification)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import ORIGIN, TARGET
from zdm.core.clusters import Side
from zdm.core.commands import RefreshSchema

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
GOOD = {
    ORIGIN: frames.rows(0, {"[applied]": frames.BLOB}, [[b"origin"]]),
    TARGET: frames.rows(0, {"[applied]": frames.BLOB}, [[b"target"]]),
}
BAD = {
    ORIGIN: frames.write_timeout(0, received=0, required=1),
    TARGET: frames.error(0, 0x2200, "target says no"),
}


@pytest.mark.bare
@pytest.mark.parametrize(
    ("origin", "target", "chosen"),
    [
        (GOOD[ORIGIN], GOOD[TARGET], None),
        (BAD[ORIGIN], GOOD[TARGET], ORIGIN),
        (GOOD[ORIGIN], BAD[TARGET], TARGET),
        (BAD[ORIGIN], BAD[TARGET], ORIGIN),
    ],
    ids=["good-good", "error-good", "good-error", "error-error"],
)
def test_an_error_wins_over_a_good_answer_and_origins_error_over_targets(
    perform: Perform, primary: Side, order: Sequence[Side], origin: bytes, target: bytes, chosen: Side | None
) -> None:
    """Durability on both sides is the promise, so one failure is the answer; else the primary is believed."""
    play = perform(primary=primary)
    answers = {ORIGIN: origin, TARGET: target}
    play.client_sends(frames.query(5, INSERT))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, order[0], answers[order[0]])
    play.expect_silence()
    play.answer(write, order[1], answers[order[1]])
    play.expect_client(answers[primary if chosen is None else chosen], stream=5)
    play.expect_idle()


@pytest.mark.bare
@pytest.mark.parametrize("answer", [frames.rows(), frames.error(0, 0x2200)], ids=["rows", "error"])
def test_a_request_to_one_cluster_gets_that_clusters_answer(perform: Perform, primary: Side, answer: bytes) -> None:
    """There is nothing to choose from."""
    play = perform(primary=primary)
    play.client_sends(frames.query(7, "SELECT * FROM ks.t"))
    read = play.expect_forwarded(to={primary})
    play.answer(read, primary, answer)
    play.expect_client(answer, stream=7)
    play.expect_idle()


def test_a_prepare_is_answered_by_origin_even_where_target_is_primary(
    perform: Perform, primary: Side, order: Sequence[Side]
) -> None:
    """Clients know statements by origin's id."""
    play = perform(primary=primary)
    play.client_sends(frames.prepare(9, INSERT))
    prepare = play.expect_forwarded(to={ORIGIN, TARGET})
    for side in order:
        play.answer(prepare, side, frames.prepared(prepared_id=b"id of " + side.name.encode()))
    play.expect_client(frames.prepared(9, b"id of ORIGIN"))


def test_a_failed_prepare_of_one_cluster_is_the_clients(perform: Perform, order: Sequence[Side]) -> None:
    """A statement that one cluster can't run must not be taken for prepared."""
    play = perform()
    play.client_sends(frames.prepare(9, INSERT))
    prepare = play.expect_forwarded(to={ORIGIN, TARGET})
    for side in order:
        play.answer(prepare, side, frames.prepared() if side is ORIGIN else frames.error(0, 0x2200, "no such table"))
    play.expect_client(frames.error(9, 0x2200, "no such table"))
    assert not play.shared.prepared.entries


def test_what_the_chosen_answer_carries_before_its_body_passes_untouched(play: Play) -> None:
    """A trace, a warning or a payload is the client's business."""
    around = frames.rows(0, tracing_id=b"t" * 16, warnings=["slow"], payload={"key": b"value"})
    play.client_sends(frames.query(5, INSERT, tracing=True, payload={"asked": b"this"}))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, TARGET, frames.void(warnings=["of target"]))
    play.answer(write, ORIGIN, around)
    play.expect_client(around, stream=5)


def test_answers_come_in_the_order_in_which_requests_are_settled(play: Play) -> None:
    """A slow request does not hold up those behind it."""
    play.client_sends(frames.query(1, INSERT), frames.query(2, INSERT), frames.query(3, "SELECT k FROM ks.t"))
    first, second = (play.expect_forwarded(to={ORIGIN, TARGET}) for _ in range(2))
    read = play.expect_forwarded(to={ORIGIN})
    play.answer(read, ORIGIN, frames.rows())
    play.expect_client(frames.rows(3))
    play.answer(second, ORIGIN, frames.void())
    play.answer(second, TARGET, frames.void())
    play.expect_client(frames.void(2))
    play.answer(first, TARGET, frames.void())
    play.answer(first, ORIGIN, frames.void())
    play.expect_client(frames.void(1))
    play.expect_idle()


def test_failures_are_counted_by_where_they_happened(perform: Perform) -> None:
    """Operators tell a broken target from a broken origin by these counters."""
    play = perform()
    for failing in ({ORIGIN}, {TARGET}, {ORIGIN, TARGET}):
        play.client_sends(frames.query(1, INSERT))
        write = play.expect_forwarded(to={ORIGIN, TARGET})
        for side in (ORIGIN, TARGET):
            play.answer(write, side, frames.error() if side in failing else frames.void())
        play.expect_client(frames.error(1))
    play.client_sends(frames.query(1, "SELECT k FROM ks.t"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.error())
    play.expect_client(frames.error(1))
    meter = play.shared.meter
    assert (meter.failed_writes_origin, meter.failed_writes_target, meter.failed_writes_both) == (1, 1, 1)
    assert (meter.failed_reads_origin, meter.failed_reads_target) == (1, 0)
    assert sum(meter.writes.duration.counts) == 3
    assert sum(meter.reads_origin.duration.counts) == 1


@pytest.mark.bare
def test_the_primarys_answer_is_chosen_for_requests_out_of_the_ordinary_too(
    perform: Perform, primary: Side, order: Sequence[Side]
) -> None:
    """USE and schema changes are looked at, and an exchanged id leaves the short cut: the rule is the same."""
    play = perform(primary=primary)
    for text, answer in [("USE ks", frames.set_keyspace()), ("DROP TABLE ks.t", frames.schema_change(0, "DROPPED"))]:
        named = {side: frames.answer(0x08, 0, answer[9:], warnings=[f"of {side.name}"]) for side in order}
        play.client_sends(frames.query(5, text))
        request = play.expect_forwarded(to={ORIGIN, TARGET})
        for side in order:
            play.answer(request, side, named[side])
        play.expect_client(named[primary], stream=5)
    play.expect_command(RefreshSchema())
    play.client_sends(frames.query(5, INSERT))
    old = play.expect_forwarded(to={ORIGIN, TARGET})
    play.time_passes(11)
    play.client_sends(frames.query(5, INSERT))
    new = play.expect_forwarded(to={ORIGIN, TARGET})
    for side in order:
        play.answer(new, side, GOOD[side])
    play.expect_client(GOOD[primary], stream=5)
    play.answer_all(old, frames.void())
    play.expect_idle()
