"""Target is switched off and on under living clients: connections, turns, logins, back-pressure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from tests import frames
from tests.net.wires import HOSTS, ORIGIN, TARGET, Client, Stage
from tests.stage import TARGET_USER
from zdm.core.commands import Recognition
from zdm.core.credentials import Credentials
from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement
from zdm.core.snapshot import ClusterFacts, TargetMode
from zdm.core.state import Phase
from zdm.net.turns import AT_ONCE, EAGER_AT_ONCE

INSERT = "INSERT INTO ks.t (k) VALUES (1)"


class Toggled(Stage):
    """A stage whose target can be switched."""

    generation = 1

    def switch(self, is_on: bool, **target: object) -> None:
        self.generation += 1
        mode = TargetMode.DUAL if is_on else TargetMode.ORIGIN_ONLY
        snapshot = replace(self.snapshot(self.generation), mode=mode)
        facts = replace(ClusterFacts(False, endpoints=HOSTS[TARGET]), **target)  # type: ignore[arg-type]  # its fields
        self.worker.apply(replace(snapshot, origin=replace(snapshot.origin, auth_required=False), target=facts))

    def born_off(self) -> Client:
        """A client that connected while target was off."""
        client = self.client()
        client.attach(ORIGIN)
        client.sends(frames.startup(1))
        client.introduce(ORIGIN)
        assert client.wire.take() == [frames.ready(1)]
        return client

    def targets_dialled(self) -> int:
        return sum(attempt.endpoint in HOSTS[TARGET] for attempt in self.attempts)


@pytest.fixture
def stage() -> Toggled:
    return Toggled()


def write(client: Client, stream: int) -> None:
    client.sends(frames.query(stream, INSERT))


def test_requests_go_to_origin_alone_and_the_connection_is_closed_after_a_while(stage: Toggled) -> None:
    """Parked for a quick return, then gone."""
    client = stage.ready_client()
    stage.switch(False)
    write(client, 1)
    assert client.clusters[TARGET].take() == []
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(1)]
    stage.clock.advance(4.9)
    assert client.clusters[TARGET].ended == ""
    stage.clock.advance(0.2)
    stage.settle()
    assert client.clusters[TARGET].ended == "ConnectionDone" and client.wire.ended == ""
    assert stage.timers() == []


def test_what_is_under_way_is_answered_when_the_drain_is_over_without_anybody_asking(stage: Toggled) -> None:
    """The one timer of the session is set anew for it."""
    client = stage.ready_client()
    write(client, 1)
    (request,) = client.clusters[ORIGIN].take()
    client.answer(ORIGIN, request, frames.void())
    stage.switch(False)
    stage.clock.advance(1.1)
    assert client.wire.take() == [frames.void(1)]


def test_what_was_held_is_sent_in_the_same_turn(stage: Toggled) -> None:
    """Nothing else would make the bytes leave."""
    client = stage.ready_client()
    client.clusters[TARGET].end()
    write(client, 1)
    stage.switch(False)
    assert client.clusters[ORIGIN].take() == [frames.query(1, INSERT)]


def test_a_client_that_connects_while_target_is_off_dials_origin_alone(stage: Toggled) -> None:
    """And nothing is dialled for it as long as target is off."""
    stage.switch(False)
    client = stage.born_off()
    write(client, 2)
    client.clusters[ORIGIN].take()
    stage.clock.advance(120)
    assert stage.targets_dialled() == 0


def test_a_full_parked_connection_does_not_keep_the_client_from_being_read(stage: Toggled) -> None:
    """A target that hangs takes nothing; that is why it was switched off."""
    client = stage.ready_client()
    client.clusters[TARGET].fill()
    assert not client.wire.is_read
    stage.switch(False)
    assert client.wire.is_read
    stage.switch(True)
    client.clusters[TARGET].fill()
    assert not client.wire.is_read


def test_a_new_generation_changes_nothing_for_connections_that_are_watched(stage: Toggled) -> None:
    """Topology changes come while a connection is full, too."""
    client = stage.ready_client()
    client.clusters[TARGET].fill()
    stage.switch(True)
    assert not client.wire.is_read
    client.clusters[TARGET].empty()
    assert client.wire.is_read


def test_sessions_without_target_are_attached_a_few_at_a_time(stage: Toggled) -> None:
    """A storm of logins would be the end of a target that has just come back."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(30)]
    stage.switch(True)
    assert stage.targets_dialled() == EAGER_AT_ONCE and stage.worker.attaching() == 30
    for client in clients:
        client.attach(TARGET)
        client.introduce(TARGET)
    assert stage.worker.attaching() == 0 and stage.targets_dialled() == 30


def test_a_session_with_a_write_to_send_does_not_wait_for_its_turn(stage: Toggled) -> None:
    """Its client waits."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(EAGER_AT_ONCE + 2)]
    stage.switch(True)
    write(clients[-1], 2)
    assert stage.targets_dialled() == EAGER_AT_ONCE + 1


def test_busy_sessions_are_limited_as_well(stage: Toggled) -> None:
    """Everybody writes all the time."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(AT_ONCE + 10)]
    stage.switch(True)
    for client in clients:
        write(client, 2)
    assert stage.targets_dialled() == AT_ONCE


@pytest.mark.parametrize("how", ["leaves", "is lost", "is attached"])
def test_a_turn_is_given_back_whatever_becomes_of_it(stage: Toggled, how: str) -> None:
    """Or the sessions behind it would wait for ever."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(EAGER_AT_ONCE + 1)]
    stage.switch(True)
    if how == "leaves":
        clients[0].wire.end()
    elif how == "is lost":
        clients[0].attach(TARGET).end()
    else:
        clients[0].attach(TARGET)
        clients[0].introduce(TARGET)
    assert stage.targets_dialled() == EAGER_AT_ONCE + 1


def test_those_that_find_no_host_let_the_next_try(stage: Toggled) -> None:
    """And try again later, for as long as target is on."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(EAGER_AT_ONCE + 1)]
    stage.switch(True)
    for _ in range(60):
        for attempt in [one for one in stage.attempts if one.endpoint in HOSTS[TARGET] and not one.attached.called]:
            attempt.refuse()
        stage.clock.advance(0.2)
    assert all(client.connection.session.state.target.attempts for client in clients)


def test_turns_of_those_that_were_switched_off_are_free_again(stage: Toggled) -> None:
    """And the dials under way are given up."""
    stage.switch(False)
    for _ in range(EAGER_AT_ONCE + 1):
        stage.born_off()
    stage.switch(True)
    stage.switch(False)
    assert all(attempt.is_cancelled for attempt in stage.attempts if attempt.endpoint in HOSTS[TARGET])
    stage.switch(True)
    assert stage.targets_dialled() == 2 * EAGER_AT_ONCE


def test_logins_that_target_accepts_are_remembered_and_those_it_refuses_forgotten() -> None:
    """So that somebody can check the client while target is off."""
    stage = Toggled()
    told: list[tuple[str, Credentials]] = []

    class Book:
        def accepted(self, credentials: Credentials) -> None:
            told.append(("accepted", credentials))

        def refused(self, credentials: Credentials) -> None:
            told.append(("refused", credentials))

    stage.worker.logins = Book()  # type: ignore[assignment,misc]  # a listener in its place
    for answer in (frames.auth_success(), frames.error(0, 0x100, "no")):
        client = stage.client().open()
        client.sends(frames.startup(1))
        client.answer(ORIGIN, client.clusters[ORIGIN].take()[0], frames.ready())
        client.answer(TARGET, client.clusters[TARGET].take()[0], frames.authenticate())
        client.sends(frames.auth_response(2, TARGET_USER.token()))
        client.answer(TARGET, client.clusters[TARGET].take()[0], answer)
    assert told == [("accepted", TARGET_USER), ("refused", TARGET_USER)]


def test_an_unknown_login_is_refused_while_target_is_off(stage: Toggled) -> None:
    """Through the worker's book of logins, which knows nobody yet."""
    stage.switch(False, auth_required=True)
    client = stage.client()
    client.attach(ORIGIN)
    client.sends(frames.startup(1))
    client.introduce(ORIGIN)
    client.wire.take()
    client.sends(frames.auth_response(2, b"\0somebody\0wrong"))
    stage.settle()
    (answer,) = client.wire.take()
    assert b"Provided username somebody and/or password are incorrect" in answer


@pytest.mark.parametrize("end", ["the client", "the time limit"])
def test_a_client_that_is_gone_waits_for_no_login_any_more(stage: Toggled, end: str) -> None:
    """Else the queue fills with logins that nobody asks about."""
    left: list[Deferred[Recognition]] = []

    class Book:
        def verify(self, credentials: Credentials) -> Deferred[Recognition]:
            return Deferred(left.append)

    stage.worker.logins = Book()  # type: ignore[assignment,misc]  # one that never answers
    stage.switch(False, auth_required=True)
    client = stage.client()
    client.attach(ORIGIN)
    client.sends(frames.startup(1))
    client.introduce(ORIGIN)
    client.sends(frames.auth_response(2, b"\0somebody\0right"))
    assert left == []
    if end == "the client":
        client.wire.end()
    else:
        stage.clock.advance(10.1)
    stage.settle()
    assert len(left) == 1 and stage.timers() == []


def test_a_client_is_not_drained_because_its_parked_host_is_gone(stage: Toggled) -> None:
    """While target is off, nothing about it is the client's matter."""
    client = stage.ready_client()
    stage.switch(False, known=frozenset(HOSTS[TARGET][:0]) | {HOSTS[ORIGIN][0]})
    assert client.connection.session.phase is Phase.READY


def test_clients_that_cannot_be_attached_are_told_of_once_in_a_while(stage: Toggled) -> None:
    """A thousand lines a second would hide the one that matters."""
    stage.switch(False)
    clients = [stage.born_off() for _ in range(3)]
    stage.switch(True)
    for client in clients:
        stage.worker.unreachable(TARGET, "refused", client.connection.session)
    (line,) = stage.log.texts("warn")
    assert "Clients without it now: 3." in line
    assert stage.meter.failed_connections_target == 3


def test_metrics_tell_the_state(stage: Toggled) -> None:
    """As the reference's gauge does, at the time of the scrape."""
    scraped: list[object] = []
    stage.switch(False)
    stage.born_off()
    stage.worker.scrape().addCallback(lambda meter: scraped.append((meter.target_enabled, meter.target_attaching)))
    stage.switch(True)
    stage.worker.scrape().addCallback(lambda meter: scraped.append((meter.target_enabled, meter.target_attaching)))
    assert scraped == [(0, 0), (1, 1)]


def test_an_errand_to_a_target_that_is_switched_off_is_given_up(stage: Toggled) -> None:
    """It is a connection, a login and a request of the session's, and none of them is to reach a target that is off."""
    stage.worker.shared.prepared.put(PreparedStatement(b"oo", b"", INSERT, "one", Route.WRITE))
    client = stage.ready_client()
    client.sends(frames.execute(1, b"oo"))
    errand = stage.attempts[-1]
    stage.switch(False)
    assert errand.is_cancelled
    assert client.clusters[ORIGIN].take() == [frames.execute(1, b"oo")]


def test_a_turn_is_given_back_by_one_whose_connection_closed_as_soon_as_it_was_open(stage: Toggled) -> None:
    """Its session waits before it tries again, and others need not wait with it."""
    stage.switch(False)
    for _ in range(EAGER_AT_ONCE + 1):
        stage.born_off()
    stage.switch(True)
    for _ in range(EAGER_AT_ONCE):
        attempt = stage.attempt(TARGET)
        attempt.open().end()
        attempt.succeed()
    assert stage.targets_dialled() == EAGER_AT_ONCE + 1


def test_a_turn_is_given_back_by_one_whose_target_takes_nothing_while_attaching() -> None:
    """The connection is full, so not even its handshake gets through; it is thrown away after the request timeout."""
    stage = Toggled(request_timeout=1.0)
    stage.switch(False)
    clients = [stage.born_off() for _ in range(EAGER_AT_ONCE + 1)]
    stage.switch(True)
    for client in clients[:EAGER_AT_ONCE]:
        client.attach(TARGET)
        client.clusters[TARGET].fill()
    stage.clock.advance(0.999)
    stage.clock.advance(0.0011)
    assert stage.targets_dialled() == EAGER_AT_ONCE + 1
