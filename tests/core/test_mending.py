"""UNPREPARED from one cluster: prepared and executed again there only, and what the client gets if that fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import ORIGIN, OVERLOADED, TARGET, UNPREPARED, WRITE_FAILURE, WRITE_TIMEOUT
from zdm.core.clusters import Side, other
from zdm.core.commands import PrepareElsewhere

pytestmark = pytest.mark.usefixtures("spoken")

INSERT = "INSERT INTO ks.t (k) VALUES (?)"
READ = "SELECT k FROM ks.t WHERE k = ?"
DELETE = "DELETE FROM ks.t WHERE k = ?"
IDS = {ORIGIN: b"origin-id", TARGET: b"target-id"}
SIDES = pytest.mark.parametrize("side", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
NOT_FOUND = "Prepared query with ID "


def prepared(perform: Perform, text: str = INSERT, version: int | None = None, **settings: object) -> Play:
    play = perform(version, **settings)
    play.prepare(text, IDS[ORIGIN], IDS[TARGET])
    return play


def executes(stream: int) -> dict[Side, bytes]:
    return {side: frames.execute(stream, prepared_id, [b"x"]) for side, prepared_id in IDS.items()}


def execute(play: Play, stream: int, to: Sequence[Side] = (ORIGIN, TARGET)) -> Forwarded:
    play.client_sends(executes(stream)[ORIGIN])
    return play.expect_forwarded(to=to, frame=executes(stream))


def forgot(play: Play, request: Forwarded, side: Side, text: str = INSERT) -> Forwarded:
    """The cluster has forgotten the statement; the PREPARE that it gets for that."""
    play.answer(request, side, frames.unprepared(0, IDS[side]))
    return play.expect_forwarded(to={side}, frame=frames.prepare(0, text))


@SIDES
@pytest.mark.parametrize("is_last", [False, True], ids=["first-to-answer", "last-to-answer"])
def test_a_forgotten_statement_is_prepared_and_executed_again_there_only(
    perform: Perform, side: Side, is_last: bool
) -> None:
    """The other cluster never applies a write twice, and the client does not notice."""
    play = prepared(perform)
    request = execute(play, 5)
    if is_last:
        play.answer(request, other(side), frames.void())
    prepare = forgot(play, request, side)
    play.expect_silence()
    play.answer(prepare, side, frames.prepared(0, IDS[side]))
    again = play.expect_forwarded(to={side}, frame=executes(5))
    assert again.stream(side) == 5
    play.answer(again, side, frames.void())
    if not is_last:
        play.expect_silence()
        play.answer(request, other(side), frames.void())
    play.expect_client(frames.void(5))
    play.expect_idle()
    assert play.shared.meter.mended == 1


def test_one_prepare_serves_all_requests_that_wait_for_it(perform: Perform) -> None:
    """A restarted node answers a whole window of requests with UNPREPARED."""
    play = prepared(perform)
    requests = [execute(play, stream) for stream in (1, 2, 3)]
    prepare = forgot(play, requests[0], TARGET)
    for request in requests[1:]:
        play.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    for request in requests:
        play.answer(request, ORIGIN, frames.void())
    play.expect_silence()
    play.answer(prepare, TARGET, frames.prepared(0, IDS[TARGET]))
    for stream in (1, 2, 3):
        again = play.expect_forwarded(to={TARGET}, frame=executes(stream))
        play.answer(again, TARGET, frames.void())
        play.expect_client(frames.void(stream))
    play.expect_idle()


def test_all_statements_of_a_batch_are_prepared_before_it_is_executed_again(perform: Perform) -> None:
    """UNPREPARED names one child only; the others have most likely been forgotten too."""
    play = prepared(perform)
    play.prepare(DELETE, b"origin-2", b"target-2")

    def batch(first: bytes, second: bytes) -> bytes:
        return frames.batch(5, [(first, [b"x"]), (second, [b"y"]), (first, [b"z"])])

    play.client_sends(batch(IDS[ORIGIN], b"origin-2"))
    wanted = {ORIGIN: batch(IDS[ORIGIN], b"origin-2"), TARGET: batch(IDS[TARGET], b"target-2")}
    request = play.expect_forwarded(frame=wanted)
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"target-2"))
    first = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    second = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, DELETE))
    assert first.stream(TARGET) != second.stream(TARGET)
    play.answer(second, TARGET, frames.prepared(0, b"target-2"))
    play.expect_silence()
    play.answer(first, TARGET, frames.prepared(0, IDS[TARGET]))
    again = play.expect_forwarded(to={TARGET}, frame=wanted)
    play.answer(again, TARGET, frames.void())
    play.expect_client(frames.void(5))
    play.expect_idle()


@SIDES
def test_a_statement_of_another_keyspace_is_prepared_on_a_connection_of_its_own(perform: Perform, side: Side) -> None:
    """In v3 and v4 a PREPARE takes its connection's keyspace, and the session's must stay what it is."""
    play = prepared(perform)
    play.use("ks")
    request = execute(play, 5)
    play.answer(request, other(side), frames.void())
    play.answer(request, side, frames.unprepared(0, IDS[side]))
    play.expect_command(PrepareElsewhere(side, "", INSERT, 1))
    body = frames.prepared(0, IDS[side])[9:]
    play.prepared_elsewhere(1, (0x08, body))
    play.answer(play.expect_forwarded(to={side}, frame=executes(5)), side, frames.void())
    play.expect_client(frames.void(5))
    play.prepared_elsewhere(1, None)
    play.expect_idle()


@pytest.mark.bare
def test_an_answer_from_elsewhere_that_never_comes_fails_the_mending(perform: Perform) -> None:
    """The other cluster has executed the write: nothing that makes a driver send it again."""
    play = prepared(perform)
    play.use("ks")
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    command = play.expect_a(PrepareElsewhere)
    play.prepared_elsewhere(command.ticket, None)
    error = play.expect_error(WRITE_FAILURE, 5, "TARGET has forgotten")
    assert error.fields.endswith(frames.integer(1) + frames.string("SIMPLE"))


def test_where_target_gives_another_id_now_that_is_used(perform: Perform) -> None:
    """Target was upgraded meanwhile; the client knows origin's id only."""
    play = prepared(perform)
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    prepare = forgot(play, request, TARGET)
    play.answer(prepare, TARGET, frames.prepared(0, b"another id of target"))
    wanted = frames.execute(5, b"another id of target", [b"x"])
    play.answer(play.expect_forwarded(to={TARGET}, frame=wanted), TARGET, frames.void())
    play.expect_client(frames.void(5))
    play.client_sends(executes(6)[ORIGIN])
    next_one = {ORIGIN: executes(6)[ORIGIN], TARGET: frames.execute(6, b"another id of target", [b"x"])}
    play.answer_all(play.expect_forwarded(frame=next_one), frames.void())
    play.expect_client(frames.void(6))


def test_where_origin_gives_another_id_now_the_client_must_prepare_anew(perform: Perform) -> None:
    """The id that the client has means nothing to origin any more; from then on the proxy does not know it either."""
    play = prepared(perform)
    request = execute(play, 5)
    play.answer(request, TARGET, frames.void())
    prepare = forgot(play, request, ORIGIN)
    play.answer(prepare, ORIGIN, frames.prepared(0, b"another id of origin"))
    play.expect_error(WRITE_FAILURE, 5, "ORIGIN")
    play.client_sends(executes(6)[ORIGIN])
    play.expect_error(UNPREPARED, 6, NOT_FOUND)
    play.expect_idle()


def test_a_prepare_that_fails_is_the_answer_where_the_other_cluster_may_have_executed(perform: Perform) -> None:
    """UNPREPARED would make the driver send the write again, everywhere."""
    play = prepared(perform)
    request = execute(play, 5)
    prepare = forgot(play, request, TARGET)
    play.answer(prepare, TARGET, frames.error(0, 0x2200, "unconfigured table t"))
    play.answer(request, ORIGIN, frames.void())
    play.expect_client(frames.error(5, 0x2200, "unconfigured table t"))
    play.expect_idle()


@pytest.mark.parametrize(
    ("of_origin", "code"),
    [
        (frames.error(0, 0x2200, "of origin"), 0x2200),
        (frames.write_timeout(), WRITE_TIMEOUT),
    ],
    ids=["executed-nowhere", "possibly-applied"],
)
def test_origins_error_wins_over_a_failed_mending_of_target(perform: Perform, of_origin: bytes, code: int) -> None:
    """As always."""
    play = prepared(perform)
    request = execute(play, 5)
    play.answer(request, ORIGIN, of_origin)
    play.answer(forgot(play, request, TARGET), TARGET, frames.error(0, 0x2200, "unconfigured table t"))
    play.expect_client(of_origin, stream=5)


@pytest.mark.bare
@pytest.mark.parametrize(
    ("of_target", "code"),
    [
        (frames.error(0, OVERLOADED, "busy"), UNPREPARED),
        (frames.unavailable(), UNPREPARED),
        (frames.write_timeout(), 0x2200),
        (frames.error(0, 0, "a bug"), 0x2200),
        (frames.void(), 0x2200),
    ],
    ids=["overloaded", "unavailable", "write-timeout", "server-error", "applied"],
)
def test_unprepared_reaches_the_client_only_where_no_cluster_executed(
    perform: Perform, of_target: bytes, code: int
) -> None:
    """A driver answers it by preparing and sending again; a write that target may have applied must not come twice."""
    play = prepared(perform)
    request = execute(play, 5)
    play.answer(request, TARGET, of_target)
    play.answer(forgot(play, request, ORIGIN), ORIGIN, frames.error(0, 0x2200, "unconfigured table t"))
    error = play.expect_error(code, 5, NOT_FOUND if code == UNPREPARED else "unconfigured")
    if code == UNPREPARED:
        assert error.fields == frames.short_bytes(IDS[ORIGIN])


def test_a_read_that_cannot_be_mended_is_unprepared_under_the_clients_id(perform: Perform) -> None:
    """Nothing was executed; and the client knows no id of target's."""
    play = prepared(perform, READ, primary=TARGET)
    request = execute(play, 5, [TARGET])
    play.answer(forgot(play, request, TARGET, READ), TARGET, frames.error(0, 0x2200, "no such table"))
    error = play.expect_error(UNPREPARED, 5, NOT_FOUND + IDS[ORIGIN].hex())
    assert error.fields == frames.short_bytes(IDS[ORIGIN])


def test_a_statement_pushed_out_while_it_was_under_way_is_unprepared_under_the_clients_id_too(perform: Perform) -> None:
    """The proxy does not know any more which statement target's id belongs to; a driver never did."""
    play = prepared(perform, READ, primary=TARGET)
    request = execute(play, 5, [TARGET])
    play.shared.prepared.remove(IDS[ORIGIN])
    play.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    error = play.expect_error(UNPREPARED, 5, NOT_FOUND + IDS[ORIGIN].hex())
    assert error.fields == frames.short_bytes(IDS[ORIGIN])


def test_a_write_in_version_3_that_one_side_applied_is_a_write_timeout(perform: Perform) -> None:
    """v3 has no WRITE_FAILURE."""
    play = perform(3)
    play.prepare(INSERT, b"id")
    play.client_sends(frames.execute(5, b"id", version=3))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void(version=3))
    play.answer(request, TARGET, frames.unprepared(0, b"id", version=3))
    prepare = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT, version=3))
    play.answer(prepare, TARGET, frames.void(version=3))
    play.expect_error(WRITE_TIMEOUT, 5, "TARGET")


def test_a_cluster_that_forgets_at_once_is_not_asked_for_ever(perform: Perform) -> None:
    """At most one round more than there are statements."""
    play = prepared(perform)
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    for _ in range(2):
        prepare = forgot(play, request, TARGET)
        play.answer(prepare, TARGET, frames.prepared(0, IDS[TARGET]))
        request = play.expect_forwarded(to={TARGET}, frame=executes(5))
    play.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    play.expect_error(WRITE_FAILURE, 5, "TARGET")
    play.expect_idle()


def test_the_prepare_of_a_mending_that_gets_no_answer(perform: Perform) -> None:
    """The request expires in its own time; only the PREPARE's answer is owed, and its id quarantined."""
    play = prepared(perform, answer_timeouts=True)
    request = execute(play, 5)
    play.answer(request, ORIGIN, frames.void())
    play.time_passes(1)
    prepare = forgot(play, request, TARGET)
    play.time_passes(9.1)
    play.expect_error(WRITE_TIMEOUT, 5)
    assert execute(play, 5).stream(TARGET) == 5
    play.time_passes(5)
    play.answer(prepare, TARGET, frames.prepared(0, IDS[TARGET]))
    play.expect_silence()


@SIDES
def test_the_reference_passes_unprepared_on(perform: Perform, side: Side) -> None:
    """unprepared_recovery: CLIENT, for comparison runs: under the client's id and in the reference's words."""
    play = prepared(perform, mend_unprepared=False)
    request = execute(play, 5)
    play.answer(request, other(side), frames.void())
    play.answer(request, side, frames.unprepared(0, IDS[side], tracing_id=b"t" * 16))
    got = play.client_got()
    assert got[1] == 0x02 and got[9:25] == b"t" * 16  # what came before the body stays
    assert IDS[ORIGIN].hex().encode() in got and got.endswith(frames.short_bytes(IDS[ORIGIN]))
    play.expect_idle()
