"""Who checks a client while target is off: never nobody."""

from __future__ import annotations

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import AUTHENTICATION_ERROR, CLIENT, ORIGIN, ORIGIN_USER, PROTOCOL_ERROR, TARGET, TARGET_USER, stage
from zdm.core.clusters import Side
from zdm.core.commands import Connect, LoginJudged, Recognition, VerifyLogin
from zdm.core.credentials import DSE_AUTHENTICATOR, Credentials
from zdm.core.snapshot import TargetMode
from zdm.core.state import Phase

pytestmark = pytest.mark.usefixtures("spoken")

SOMEBODY = Credentials("somebody", "target knows me")


def off(origin_asks: bool = True, target_asks: bool = True) -> Play:
    """A client that connects while target is off."""
    play = Play(stage(mode=TargetMode.ORIGIN_ONLY, asks=(origin_asks, target_asks)))
    play.expect_command(Connect(ORIGIN))
    play.attach(ORIGIN)
    play.client_sends(frames.startup(1))
    started = play.expect_forwarded(to={ORIGIN})
    play.answer(started, ORIGIN, frames.authenticate() if origin_asks else frames.ready())
    return play


def sends_credentials(play: Play, credentials: Credentials, stream: int = 2) -> None:
    play.client_sends(frames.auth_response(stream, credentials.token()))


def somebody_comes(play: Play, login: Recognition | bool) -> None:
    """Credentials that are not the configured ones; `login` is what is known of them."""
    play.expect_client(frames.authenticate(1))
    sends_credentials(play, SOMEBODY)
    play.verify(login)


def origin_gets(play: Play, credentials: Credentials, answer: bytes) -> None:
    sent = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, credentials.token()))
    play.answer(sent, ORIGIN, answer)


def refused() -> bytes:
    return frames.error(0, AUTHENTICATION_ERROR, "Provided username and/or password are incorrect")


def test_the_configured_credentials_of_target_are_known() -> None:
    """Origin gets its configured ones for them, as it does while target is on."""
    with off() as play:
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, TARGET_USER)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))


def test_a_login_that_target_accepted_before_is_known() -> None:
    """From memory, or from the state file of the proxy before this one."""
    with off() as play:
        somebody_comes(play, True)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))


def test_a_login_that_nobody_knows_is_for_origin_to_judge() -> None:
    """With its own password, and never with the configured one: that would let anybody in."""
    with off() as play:
        somebody_comes(play, False)
        origin_gets(play, SOMEBODY, refused())
        play.expect_error(AUTHENTICATION_ERROR, 2)
        assert play.session.phase is Phase.HANDSHAKE
        sends_credentials(play, TARGET_USER, 3)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(3))


def test_a_login_that_origin_accepts_is_let_in_with_its_own_rights() -> None:
    """The table's third way in."""
    with off() as play:
        somebody_comes(play, False)
        origin_gets(play, SOMEBODY, frames.auth_success())
        play.expect_client(frames.auth_success(2))


def test_where_only_target_asks_the_proxy_asks_in_its_place() -> None:
    """Origin lets everybody in, so there is nobody else to judge."""
    with off(origin_asks=False) as play:
        play.expect_client(frames.authenticate(1, "org.apache.cassandra.auth.PasswordAuthenticator"))
        sends_credentials(play, SOMEBODY)
        play.verify(False)
        play.expect_error(AUTHENTICATION_ERROR, 2, "somebody")
        play.client_sends(frames.query(3, "SELECT k FROM ks.t"))
        play.expect_error(PROTOCOL_ERROR, 3)
        play.client_sends(frames.auth_response(4, None))
        play.expect_error(AUTHENTICATION_ERROR, 4)
        sends_credentials(play, SOMEBODY, 5)
        play.verify(True)
        play.expect_client(frames.auth_success(5))
        assert play.session.phase is Phase.READY


def test_where_only_origin_asks_origin_judges() -> None:
    """As it does while target is on."""
    with off(target_asks=False) as play:
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, SOMEBODY)
        origin_gets(play, SOMEBODY, frames.auth_success())
        play.expect_client(frames.auth_success(2))


def test_where_nobody_asks_everybody_is_let_in() -> None:
    """There is nothing to check."""
    with off(False, False) as play:
        play.expect_client(frames.ready(1))


def test_target_gets_the_clients_own_credentials_when_it_is_on_again() -> None:
    """The session lives on under them, or ends with the reason."""
    with off() as play:
        somebody_comes(play, True)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))
        play.switch(True)
        play.attach(TARGET)
        play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.authenticate())
        sent = play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, SOMEBODY.token()))
        play.answer(sent, TARGET, refused())
        play.expect_note("warn", "TARGET lets client")
        play.expect_close(CLIENT)
        assert play.judged == [LoginJudged(SOMEBODY, False)]


def test_what_target_judges_is_told_but_for_the_configured_credentials() -> None:
    """So that it is known when target is off; the configured ones are known anyway."""
    with Play() as play:
        play.log_in(SOMEBODY)
        assert play.judged == [LoginJudged(SOMEBODY, True)]
    with Play() as play:
        play.log_in()
        assert play.judged == []


def test_a_check_that_takes_too_long_ends_the_handshake() -> None:
    """Rather than leave a client waiting for ever."""
    play = off()
    play.expect_client(frames.authenticate(1))
    sends_credentials(play, SOMEBODY)
    play.expect_a(VerifyLogin)
    play.time_passes(10.1)
    play.expect_note("warn", "the check of its login")
    play.expect_close(CLIENT)


@pytest.mark.parametrize("origin_asks", [True, False])
def test_a_login_that_nobody_has_looked_at_is_called_neither_right_nor_wrong(origin_asks: bool) -> None:
    """Too many came at once. The client is closed without an answer, so that its driver tries again: an ERROR here, of
    any code, ends that for python's (cassandra.connection, `_handle_auth_response`).
    """
    with off(origin_asks=origin_asks) as play:
        somebody_comes(play, Recognition.UNSEEN)
        play.expect_close(CLIENT)


# Switched off in the middle of a handshake


def begun(*, connected: tuple[Side, ...] = (ORIGIN, TARGET)) -> Play:
    play = Play()
    for side in (ORIGIN, TARGET):
        play.expect_command(Connect(side))
    for side in connected:
        play.attach(side)
    return play


def switched_off(play: Play) -> None:
    play.switch(False)
    play.expect_close(TARGET)


def asked_for_credentials(play: Play) -> None:
    play.client_sends(frames.startup(1))
    started = play.expect_forwarded()
    play.answer_all(started, frames.authenticate())
    play.expect_client(frames.authenticate(1))


def test_off_before_target_is_connected() -> None:
    """The client's STARTUP waited for both, and goes on with origin."""
    with begun(connected=(ORIGIN,)) as play:
        play.client_sends(frames.startup(1))
        play.expect_silence()
        switched_off(play)
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.authenticate())
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, TARGET_USER)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))


@pytest.mark.parametrize("origin_first", [True, False])
def test_off_while_startup_is_under_way(origin_first: bool) -> None:
    """Origin's answer counts, whether it is there or still to come."""
    with begun() as play:
        play.client_sends(frames.startup(1))
        started = play.expect_forwarded()
        if origin_first:
            play.answer(started, ORIGIN, frames.authenticate())
        switched_off(play)
        if not origin_first:
            play.answer(started, ORIGIN, frames.authenticate())
        play.expect_client(frames.authenticate(1))


def test_off_while_options_are_under_way() -> None:
    """The answer is the proxy's own anyway."""
    with begun() as play:
        play.client_sends(frames.options(1))
        asked = play.expect_forwarded()
        play.answer(asked, ORIGIN, frames.supported())
        switched_off(play)
        play.expect_client(frames.supported(1, play.shared.snapshot.supported))


@pytest.mark.parametrize("is_known", [True, False])
def test_off_while_origin_judges_the_configured_credentials(is_known: bool) -> None:
    """Target has not judged the client's own yet, and will not: they have to be known."""
    with begun() as play:
        asked_for_credentials(play)
        sends_credentials(play, SOMEBODY)
        sent = play.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token()))
        switched_off(play)
        play.answer(sent, ORIGIN, frames.auth_success())
        play.verify(is_known)
        if is_known:
            play.expect_client(frames.auth_success(2))
        else:
            play.expect_error(AUTHENTICATION_ERROR, 2, "somebody")
            play.expect_close(CLIENT)


@pytest.mark.parametrize("is_known", [True, False])
def test_off_while_target_judges_the_clients_credentials(is_known: bool) -> None:
    """Origin has let it in with the configured ones: that must not be enough."""
    with begun() as play:
        asked_for_credentials(play)
        sends_credentials(play, SOMEBODY)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, SOMEBODY.token()))
        switched_off(play)
        play.verify(is_known)
        if is_known:
            play.expect_client(frames.auth_success(2))
        else:
            play.expect_error(AUTHENTICATION_ERROR, 2, "somebody")
            play.expect_close(CLIENT)


@pytest.mark.parametrize("is_known", [True, False])
def test_off_while_target_alone_judges(is_known: bool) -> None:
    """Where origin asks for nothing, the client may try again."""
    with begun() as play:
        play.client_sends(frames.startup(1))
        started = play.expect_forwarded()
        play.answer(started, ORIGIN, frames.ready())
        play.answer(started, TARGET, frames.authenticate())
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, SOMEBODY)
        play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, SOMEBODY.token()))
        switched_off(play)
        play.verify(is_known)
        if is_known:
            play.expect_client(frames.auth_success(2))
        else:
            play.expect_error(AUTHENTICATION_ERROR, 2, "somebody")


def test_on_again_before_the_handshake_is_over() -> None:
    """It goes on with origin alone, and the session gets its target right after."""
    with begun() as play:
        play.client_sends(frames.startup(1))
        started = play.expect_forwarded()
        switched_off(play)
        play.switch(True)
        play.answer(started, ORIGIN, frames.authenticate())
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, TARGET_USER)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))
        assert play.asked_eagerly == 1 and play.session.is_attaching


def _dse_asks(play: Play) -> None:
    """Target asks for the two-step, origin for nothing."""
    play.client_sends(frames.startup(1))
    started = play.expect_forwarded()
    play.answer(started, ORIGIN, frames.ready())
    play.answer(started, TARGET, frames.authenticate(0, DSE_AUTHENTICATOR))
    play.expect_client(frames.authenticate(1, DSE_AUTHENTICATOR))


def test_the_two_step_that_target_began_is_gone_on_with() -> None:
    """The client cannot know that nobody is there any more to answer its first step."""
    with begun() as play:
        _dse_asks(play)
        switched_off(play)
        play.client_sends(frames.auth_response(2, b"PLAIN"))
        play.expect_client(frames.auth_challenge(2, b"PLAIN-START"))
        sends_credentials(play, TARGET_USER, 3)
        play.expect_client(frames.auth_success(3))


def test_the_two_step_that_target_leaves_in_the_middle_is_gone_on_with() -> None:
    """It was switched off before it answered the first step."""
    with begun() as play:
        _dse_asks(play)
        play.client_sends(frames.auth_response(2, b"PLAIN"))
        play.expect_forwarded(to={TARGET})
        switched_off(play)
        play.expect_client(frames.auth_challenge(2, b"PLAIN-START"))
        sends_credentials(play, SOMEBODY, 3)
        play.verify(False)
        play.expect_error(AUTHENTICATION_ERROR, 3)


NOT_LOOKED_UP = "Unable to perform authentication: Operation timed out - received only 0 responses."


def test_a_target_that_cannot_look_logins_up_yet_lets_in_later() -> None:
    """It has just been switched on, and its own tables do not answer: that is no reason to end a thousand sessions."""
    with off() as play:
        somebody_comes(play, True)
        origin_gets(play, ORIGIN_USER, frames.auth_success())
        play.expect_client(frames.auth_success(2))
        play.switch(True)
        for _ in range(2):
            play.attach(TARGET)
            play.answer(play.expect_forwarded(to={TARGET}, frame=frames.startup()), TARGET, frames.authenticate())
            sent = play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, SOMEBODY.token()))
            play.answer(sent, TARGET, frames.error(0, AUTHENTICATION_ERROR, NOT_LOOKED_UP))
            play.expect_close(TARGET)
            play.time_passes(1.1)
        assert not play.closed and play.judged == []


@pytest.mark.parametrize("origin_asks", [True, False])
def test_a_target_that_cannot_look_a_login_up_has_not_refused_it(origin_asks: bool) -> None:
    """Or a valid client would be refused as soon as that sick target is switched off."""
    with begun() as play:
        play.client_sends(frames.startup(1))
        started = play.expect_forwarded()
        play.answer(started, ORIGIN, frames.authenticate() if origin_asks else frames.ready())
        play.answer(started, TARGET, frames.authenticate())
        play.expect_client(frames.authenticate(1))
        sends_credentials(play, SOMEBODY)
        if origin_asks:
            origin_gets(play, ORIGIN_USER, frames.auth_success())
        sent = play.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, SOMEBODY.token()))
        play.answer(sent, TARGET, frames.error(0, AUTHENTICATION_ERROR, NOT_LOOKED_UP))
        play.expect_error(AUTHENTICATION_ERROR, 2, NOT_LOOKED_UP)
        assert play.judged == []
        if origin_asks:
            play.expect_note("error", NOT_LOOKED_UP)
            play.expect_close(CLIENT)
