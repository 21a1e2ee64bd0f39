"""What is for target's ears only, and is held for it: credentials that a client sends once more."""

from __future__ import annotations

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import ORIGIN, OVERLOADED, TARGET, TARGET_USER, stage
from zdm.core.commands import Connect
from zdm.core.snapshot import TargetMode

pytestmark = pytest.mark.usefixtures("spoken")


def test_it_is_refused_when_target_is_switched_off() -> None:
    """Nobody else may have it, and target will not."""
    with Play(stage(asks=(False, True))) as play:
        play.become_ready()
        play.lose(TARGET)
        assert play.asked_eagerly
        play.client_sends(frames.auth_response(1, TARGET_USER.token()))
        play.expect_command(Connect(TARGET))
        play.switch(False)
        play.expect_error(OVERLOADED, 1)
        play.expect_close(TARGET)


def test_it_does_not_go_on_without_a_target_that_is_late() -> None:
    """Any other request would be sent to origin alone."""
    with Play(stage(asks=(False, True), mode=TargetMode.ORIGIN_ONLY)) as play:
        play.expect_command(Connect(ORIGIN))
        play.attach(ORIGIN)
        play.client_sends(frames.startup(1))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.ready())
        play.expect_client(frames.authenticate(1))
        play.client_sends(frames.auth_response(2, TARGET_USER.token()))
        play.expect_client(frames.auth_success(2))
        play.switch(True)
        play.client_sends(frames.auth_response(3, TARGET_USER.token()))
        play.expect_command(Connect(TARGET))
        play.time_passes(2.1)
        play.expect_error(OVERLOADED, 3)
