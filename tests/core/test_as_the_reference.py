"""Statements that clusters forgot, ids that run out, answers that never come: as the reference has it, where that is
what is configured (`unprepared_recovery: CLIENT`), and what a cluster's PROTOCOL_ERROR means to a ready client.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Forwarded, Play
from tests.stage import CLIENT, ORIGIN, OVERLOADED, PROTOCOL_ERROR, TARGET
from zdm.core.clusters import Side
from zdm.core.state import SHUTTING_DOWN

INSERT = "INSERT INTO ks.t (k) VALUES (?)"
READ = "SELECT k FROM ks.t WHERE k = ?"
IDS = {ORIGIN: b"origin-id", TARGET: b"target-id"}
BOTH = (ORIGIN, TARGET)


def request(kind: str, prepared_id: bytes) -> bytes:
    if kind == "batch":
        return frames.batch(5, [(prepared_id, [b"x"]), "DELETE FROM ks.t WHERE k = 1", (prepared_id, [b"y"])])
    return frames.execute(5, prepared_id, [b"x"])


def asked(play: Play, kind: str, to: Sequence[Side]) -> Forwarded:
    """Each cluster gets its own id, as often as there is one."""
    play.client_sends(request(kind, IDS[ORIGIN]))
    return play.expect_forwarded(to=to, frame={side: request(kind, IDS[side]) for side in BOTH})


def expect_unprepared(play: Play) -> None:
    """Under the id that the client knows, in the reference's words."""
    told = f"Prepared query with ID {IDS[ORIGIN].hex()} not found (either the query was not prepared on this host"
    error = play.expect_error(0x2500, 5, told)
    assert error.message.endswith(
        " (maybe the host has been restarted?) or you have prepared too many queries and it has been evicted from the "
        "internal cache)"
    )
    assert error.fields == frames.short_bytes(IDS[ORIGIN])


@pytest.mark.parametrize(
    ("kind", "primary", "forgetful"),
    [
        ("read", ORIGIN, (ORIGIN,)),
        ("read", TARGET, (TARGET,)),
        ("write", ORIGIN, (ORIGIN,)),
        ("write", ORIGIN, (TARGET,)),
        ("write", TARGET, (ORIGIN,)),
        ("write", TARGET, (TARGET,)),
        ("write", ORIGIN, BOTH),
        ("write", TARGET, BOTH),
        ("batch", ORIGIN, (ORIGIN,)),
        ("batch", ORIGIN, (TARGET,)),
        ("batch", TARGET, BOTH),
    ],
)
def test_a_forgotten_statement_is_told_under_the_clients_id_and_prepared_anew(
    perform: Perform, kind: str, primary: Side, forgetful: Sequence[Side]
) -> None:
    """The driver prepares it again, on both clusters, and executes it then; each cluster gets its own id."""
    play = perform(primary=primary, mend_unprepared=False)
    text = READ if kind == "read" else INSERT
    to = (primary,) if kind == "read" else BOTH
    play.prepare(text, IDS[ORIGIN], IDS[TARGET])
    first = asked(play, kind, to)
    for side in to:
        play.answer(first, side, frames.unprepared(0, IDS[side]) if side in forgetful else frames.void())
    expect_unprepared(play)
    play.prepare(text, IDS[ORIGIN], IDS[TARGET])
    play.answer_all(asked(play, kind, to), frames.void())
    play.expect_client(frames.void(5))
    play.expect_idle()


@pytest.mark.parametrize("primary", [ORIGIN, TARGET], ids=lambda side: str(side.name.lower()))
def test_a_read_does_not_ask_the_cluster_that_forgot_it(perform: Perform, primary: Side) -> None:
    """The secondary has no part in it, so what it knows does not matter."""
    play = perform(primary=primary, mend_unprepared=False)
    play.prepare(READ, IDS[ORIGIN], IDS[TARGET])
    play.answer(asked(play, "read", (primary,)), primary, frames.rows())
    play.expect_client(frames.rows(5))


@pytest.mark.parametrize("silent", [(ORIGIN,), (TARGET,), BOTH], ids=lambda sides: "+".join(s.name for s in sides))
def test_a_write_without_every_answer_is_never_answered(play: Play, silent: Sequence[Side]) -> None:
    """The driver has a timeout of its own; what comes later is nobody's."""
    play.client_sends(frames.query(5, "INSERT INTO ks.t (k) VALUES (1)"))
    write = play.expect_forwarded()
    for side in BOTH:
        if side not in silent:
            play.answer(write, side, frames.void())
    play.time_passes(30)
    play.expect_silence()
    for side in silent:
        play.answer(write, side, frames.void())
    play.expect_silence()
    play.expect_idle()


@pytest.mark.parametrize("version", [3, 4])
def test_no_cluster_sees_an_id_above_the_limit_and_what_is_over_it_may_be_repeated(
    perform: Perform, version: int
) -> None:
    """Twenty requests at once, ten ids: each is answered in the end, by its result or to be tried again."""
    play = perform(version, max_streams=10, max_streams_set=True)
    waiting = set(range(100, 120))
    rounds = 0
    while waiting:
        rounds += 1
        text = "INSERT INTO ks.t (k) VALUES (1)"
        play.client_sends(*(frames.query(stream, text, version=version) for stream in sorted(waiting)))
        sent = []
        while play.has_for(ORIGIN):
            sent.append(play.expect_forwarded())
        assert len(sent) <= 10 and all(one.stream(side) <= 9 for one in sent for side in BOTH)
        while play.has_for(CLIENT):
            refused = play.client_got()
            assert frames.integer(OVERLOADED) + frames.string(SHUTTING_DOWN) in refused
        play.expect_note("error", "no stream id available") if rounds == 1 else play.notes("error")
        for one in sent:
            play.answer_all(one, frames.void(version=version))
            answered = play.client_got()
            waiting.remove(int.from_bytes(answered[2:4], "big"))
            assert answered[9:] == frames.integer(1)
    assert rounds == 2
    play.expect_idle()


@pytest.mark.parametrize("refusing", [(ORIGIN,), (TARGET,), BOTH], ids=lambda sides: "+".join(s.name for s in sides))
def test_a_protocol_error_of_a_cluster_is_the_answer_to_its_request(play: Play, refusing: Sequence[Side]) -> None:
    """FIX-04: the reference sends it without the request's id, keeps all later ones, and answers neither request.

    The request is over with it, and so is any later one. A cluster to which the connection is of no more use closes it.
    """
    refusal = frames.error(0, PROTOCOL_ERROR, "Unset value in a list")
    for stream in (5, 6):
        play.client_sends(frames.query(stream, "INSERT INTO ks.t (k) VALUES (1)"))
        write = play.expect_forwarded()
        for side in BOTH:
            play.answer(write, side, refusal if side in refusing else frames.void())
        play.expect_client(refusal, stream=stream)
    play.expect_idle()
