"""A client whose worker asks the others for a prepared statement."""

from __future__ import annotations

import pytest

from tests import frames
from tests.net.wires import ORIGIN, TARGET, Stage
from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement

WRITE = "INSERT INTO ks.t (k) VALUES (?)"


class Others:
    """The other workers, who are told nothing that matters here."""

    def made(self, entry: PreparedStatement) -> None:
        pass

    def forgotten(self, prepared_id: bytes) -> None:
        pass


@pytest.fixture
def stage() -> Stage:
    return Stage(others=Others())


def test_what_the_others_know_is_executed_when_they_have_told(stage: Stage) -> None:
    """Each client's question is answered for itself."""
    client, other = stage.ready_client(), stage.ready_client()
    for each in (client, other):
        each.sends(frames.execute(1, b"theirs"))
    (ids, found), (_, found_for_other) = stage.sought
    assert ids == (b"theirs",) and client.clusters[ORIGIN].take() == []
    stage.worker.shared.prepared.adopt(PreparedStatement(b"theirs", b"theirs", WRITE, None, Route.WRITE))
    found.callback(None)
    assert [client.clusters[side].take() for side in (ORIGIN, TARGET)] == [[frames.execute(1, b"theirs")]] * 2
    assert other.clusters[ORIGIN].take() == []
    found_for_other.callback(None)
    assert other.clusters[ORIGIN].take() == [frames.execute(1, b"theirs")]


def test_an_answer_for_a_client_that_is_gone_is_dropped(stage: Stage) -> None:
    """It went while the others were asked."""
    client = stage.ready_client()
    client.sends(frames.execute(1, b"theirs"))
    client.wire.end()
    ((_, found),) = stage.sought
    found.callback(None)
    assert client.connection.session.state.outbox == []


def test_a_question_that_fails_ends_its_client_only(stage: Stage) -> None:
    """A fault of ours: nothing is known of the statement, not even that it is unknown."""
    client, other = stage.ready_client(), stage.ready_client()
    client.sends(frames.execute(1, b"theirs"))
    ((_, found),) = stage.sought
    found.errback(ZeroDivisionError("a fault of ours"))
    stage.settle()
    assert client.wire.has_ended("ConnectionAborted") and not other.wire.ended
