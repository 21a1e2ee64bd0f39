"""Who is let in, with whose credentials (sections 3.3, 3.4 and 12.2 of the behaviour specification)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import (
    AUTHENTICATION_ERROR,
    CLIENT,
    ORIGIN,
    ORIGIN_USER,
    PROTOCOL_ERROR,
    TARGET,
    TARGET_USER,
    stage,
    under,
)
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.snapshot import Shared
from zdm.core.state import Phase

pytestmark = pytest.mark.usefixtures("spoken")

DSE = "com.datastax.bdp.cassandra.auth.DseAuthenticator"
STRANGER = Credentials("target_user", "wrong")
OWN = {ORIGIN: ORIGIN_USER, TARGET: TARGET_USER}


class ModelCluster:
    """Checks credentials as a cluster does; `own` is what it asks for, nothing if it asks for none."""

    def __init__(self, own: Credentials | None, authenticator: str = "PasswordAuthenticator") -> None:
        self.own = own
        self.authenticator = authenticator
        self.opcodes: list[int] = []

    def answer(self, frame: bytes) -> bytes:
        self.opcodes.append(frame[4])
        if frame[4] == 0x01:
            return frames.ready() if self.own is None else frames.authenticate(0, self.authenticator)
        token = frame[13:]
        if self.authenticator == DSE and token == b"PLAIN":
            return frames.auth_challenge(0, b"PLAIN-START")
        if self.own is not None and token == self.own.token():
            return frames.auth_success()
        return frames.error(0, AUTHENTICATION_ERROR, "invalid credentials")


def configured(forward: bool, with_credentials: set[Side]) -> Shared:
    """What a proxy knows that has the credentials of these clusters."""
    shared = stage(forward_client_credentials_to_origin=forward)
    shared.replace(
        replace(
            shared.snapshot,
            origin=replace(shared.snapshot.origin, credentials=ORIGIN_USER if ORIGIN in with_credentials else None),
            target=replace(shared.snapshot.target, credentials=TARGET_USER if TARGET in with_credentials else None),
        )
    )
    return shared


def exchange(play: Play, clusters: dict[Side, ModelCluster]) -> None:
    """The clusters answer all they get, until they get nothing more."""
    while True:
        got = [(side, play.next_for(side)) for side in (ORIGIN, TARGET) if play.has_for(side)]
        if not got:
            return
        for side, frame in got:
            play.cluster_sends(side, under(clusters[side].answer(frame), 0))


def log_in(play: Play, clusters: dict[Side, ModelCluster], credentials: Credentials | None) -> bytes:
    """The client's part, as drivers do it; the last answer it gets."""
    play.open()
    play.client_sends(frames.startup(1))
    exchange(play, clusters)
    answer = play.client_got()
    if answer[4] == 0x03 and credentials is not None:
        play.client_sends(frames.auth_response(1, credentials.token()))
        exchange(play, clusters)
        answer = play.client_got()
    return answer


NEITHER: set[Side] = set()
TABLE = [
    ({ORIGIN, TARGET}, TARGET_USER, False, True),
    ({ORIGIN, TARGET}, ORIGIN_USER, False, False),
    ({ORIGIN, TARGET}, TARGET_USER, True, False),
    ({ORIGIN, TARGET}, ORIGIN_USER, True, True),
    ({ORIGIN, TARGET}, None, False, False),
    ({ORIGIN, TARGET}, None, True, False),
    ({ORIGIN, TARGET}, STRANGER, False, False),
    ({ORIGIN, TARGET}, STRANGER, True, False),
    ({TARGET}, TARGET_USER, False, True),
    ({TARGET}, TARGET_USER, True, True),
    ({TARGET}, ORIGIN_USER, False, False),
    ({TARGET}, ORIGIN_USER, True, False),
    ({TARGET}, None, False, False),
    ({ORIGIN}, TARGET_USER, False, False),
    ({ORIGIN}, TARGET_USER, True, False),
    ({ORIGIN}, ORIGIN_USER, False, True),
    ({ORIGIN}, ORIGIN_USER, True, True),
    ({ORIGIN}, None, False, False),
    (NEITHER, TARGET_USER, False, True),
    (NEITHER, ORIGIN_USER, True, True),
    (NEITHER, None, False, True),
]


@pytest.mark.parametrize("authenticator", ["PasswordAuthenticator", DSE], ids=["password", "dse"])
@pytest.mark.parametrize(("asking", "credentials", "forward", "is_let_in"), TABLE)
def test_the_whole_table_of_who_is_let_in(
    asking: set[Side], credentials: Credentials | None, forward: bool, is_let_in: bool, authenticator: str
) -> None:
    """The client's credentials are checked by the cluster they are for, the configured ones open the other."""
    clusters = {side: ModelCluster(OWN[side] if side in asking else None, authenticator) for side in OWN}
    play = Play(configured(forward, asking))
    answer = log_in(play, clusters, credentials)
    ready = 0x10 if asking else 0x02
    if is_let_in:
        assert answer[4] == ready
        assert play.session.phase is Phase.READY
    elif credentials is None:
        assert answer[4] == 0x03
        assert play.session.phase is Phase.HANDSHAKE
    else:
        assert answer == frames.error(1, AUTHENTICATION_ERROR, "invalid credentials")
    play.end()


@pytest.mark.parametrize(
    ("asking", "credentials", "forward", "origin", "target"),
    [
        ({ORIGIN, TARGET}, TARGET_USER, False, 2, 2),
        ({ORIGIN, TARGET}, STRANGER, False, 2, 2),
        ({ORIGIN, TARGET}, STRANGER, True, 2, 1),
        ({ORIGIN, TARGET}, None, False, 1, 1),
        ({TARGET}, TARGET_USER, False, 1, 2),
        ({TARGET}, STRANGER, False, 1, 2),
        ({ORIGIN}, ORIGIN_USER, False, 2, 1),
        (NEITHER, TARGET_USER, False, 1, 1),
    ],
)
def test_no_cluster_gets_more_frames_than_it_needs(
    asking: set[Side], credentials: Credentials | None, forward: bool, origin: int, target: int
) -> None:
    """A login costs a cluster tens of milliseconds; it is not asked twice, nor for nothing."""
    clusters = {side: ModelCluster(OWN[side] if side in asking else None) for side in OWN}
    log_in(Play(configured(forward, asking)), clusters, credentials)
    assert (len(clusters[ORIGIN].opcodes), len(clusters[TARGET].opcodes)) == (origin, target)


def test_a_wrong_password_may_be_tried_again(fresh: Play) -> None:
    """The auth-primary's refusal is merely relayed."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate())
    fresh.expect_client(frames.authenticate(1))
    refusal = frames.error(0, AUTHENTICATION_ERROR, "Provided username and/or password are incorrect")
    for stream in (2, 3):
        fresh.client_sends(frames.auth_response(stream, STRANGER.token()))
        sent = fresh.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
        fresh.answer(sent, ORIGIN, refusal)
        fresh.expect_client(refusal, stream=stream)


def test_the_dse_two_step_is_passed_through(fresh: Play) -> None:
    """A driver that sees DSE's authenticator says PLAIN first, and its credentials when challenged."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate(0, DSE))
    fresh.expect_client(frames.authenticate(1, DSE))
    fresh.client_sends(frames.auth_response(1, b"PLAIN"))
    fresh.answer(fresh.expect_forwarded(to={ORIGIN}), ORIGIN, frames.auth_challenge(0, b"PLAIN-START"))
    fresh.expect_client(frames.auth_challenge(1, b"PLAIN-START"))
    fresh.client_sends(frames.auth_response(1, TARGET_USER.token(b"as")))
    sent = fresh.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token(b"as")))
    fresh.answer(sent, ORIGIN, frames.auth_success())
    plain = fresh.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, b"PLAIN"))
    fresh.answer(plain, TARGET, frames.auth_challenge(0, b"PLAIN-START"))
    last = fresh.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, TARGET_USER.token()))
    fresh.answer(last, TARGET, frames.auth_success())
    fresh.expect_client(frames.auth_success(1))


def refused_by_target(play: Play) -> bytes:
    """The client is let in by origin, with the configured credentials, and refused by target."""
    play.open()
    play.client_sends(frames.startup(1))
    play.answer_all(play.expect_forwarded(), frames.authenticate())
    play.expect_client(frames.authenticate(1))
    play.client_sends(frames.auth_response(2, STRANGER.token()))
    first = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
    play.answer(first, ORIGIN, frames.auth_success())
    play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, STRANGER.token()))
    refusal = frames.error(0, AUTHENTICATION_ERROR, "invalid credentials")
    play.cluster_sends(TARGET, refusal)
    play.expect_client(refusal, stream=2)
    return refusal


def test_the_secondarys_refusal_is_relayed_and_repeated_for_every_request() -> None:
    """The client never gets origin's rights by credentials that target refused."""
    with Play() as play:
        refusal = refused_by_target(play)
        for stream, frame in enumerate([frames.query(0), frames.options(0), frames.auth_response(0)], start=3):
            play.client_sends(under(frame, stream))
            play.expect_client(refusal, stream=stream)
        play.time_passes(60)


def test_a_refused_client_is_still_held_to_the_protocol() -> None:
    """Nor can it make the proxy answer what is no request."""
    with Play() as play:
        refused_by_target(play)
        play.client_sends(frames.request(0x55, 3))
        play.expect_error(PROTOCOL_ERROR, 3)
        play.expect_close(CLIENT)


def test_a_secondary_that_fails_otherwise_ends_the_session() -> None:
    """Half a session would lose writes."""
    with Play() as play:
        play.open()
        play.client_sends(frames.startup(1))
        play.answer_all(play.expect_forwarded(), frames.authenticate())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.auth_response(2, TARGET_USER.token()))
        first = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
        play.answer(first, ORIGIN, frames.auth_success())
        play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, TARGET_USER.token()))
        play.cluster_sends(TARGET, frames.error(0, 0x1001, "busy"))
        play.expect_client(frames.error(2, 0x1001, "busy"))
        play.expect_note("error", "Secondary (TARGET) handshake failed")
        play.expect_close(CLIENT, "TARGET")


def test_a_secondary_that_asks_for_credentials_nobody_gave_ends_the_session(fresh: Play) -> None:
    """The client said nothing that could be passed on, though origin was content with it."""
    fresh.client_sends(frames.startup(1))
    fresh.answer_all(fresh.expect_forwarded(), frames.authenticate())
    fresh.expect_client(frames.authenticate(1))
    fresh.client_sends(frames.auth_response(2, None))
    fresh.answer(fresh.expect_forwarded(to={ORIGIN}), ORIGIN, frames.auth_success())
    fresh.expect_note("error", "secondary cluster (TARGET) requested authentication but primary did not")
    fresh.expect_close(CLIENT, "TARGET")


@pytest.mark.parametrize(
    "body", [b"", frames.integer(9) + b"short", frames.long_bytes(b"no separator"), frames.long_bytes(b"\0\xff\0x")]
)
def test_credentials_that_cannot_be_read_are_refused(body: bytes) -> None:
    """FIX-07: the reference gives no answer."""
    with Play() as play:
        play.open()
        play.client_sends(frames.startup(1))
        play.answer_all(play.expect_forwarded(), frames.authenticate())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.request(0x0F, 2, body))
        play.expect_error(PROTOCOL_ERROR, 2, "AUTH_RESPONSE")
        play.client_sends(frames.startup(3), frames.query(4))
        play.expect_error(PROTOCOL_ERROR, 3, "expecting AUTH_RESPONSE")
        play.expect_error(PROTOCOL_ERROR, 4, "expecting AUTH_RESPONSE")


@pytest.mark.parametrize("step", ["primary", "secondary"])
def test_a_protocol_error_to_credentials_is_relayed_on_stream_0(step: str) -> None:
    """In whatever step of the handshake: the driver has to begin anew."""
    error = frames.error(0, PROTOCOL_ERROR, "no")
    with Play() as play:
        play.open()
        play.client_sends(frames.startup(1))
        play.answer_all(play.expect_forwarded(), frames.authenticate())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.auth_response(2, TARGET_USER.token()))
        first = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
        play.answer(first, ORIGIN, error if step == "primary" else frames.auth_success())
        if step == "secondary":
            play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, TARGET_USER.token()))
            play.cluster_sends(TARGET, error)
        play.expect_client(error)
        play.expect_close(CLIENT)


def test_passwords_are_never_printed() -> None:
    """A repr ends up in log lines."""
    printed: Callable[[object], str] = repr
    assert "password" not in printed(TARGET_USER)
    with Play() as play:
        play.log_in()
        assert "password" not in printed(play.session) + printed(play.session.state.credentials)
