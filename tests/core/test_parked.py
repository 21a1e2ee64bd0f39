"""A target connection that is parked: when it may be used again, and that it makes nothing else late."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.core.test_toggle import write
from tests.playbook import Play
from tests.stage import INVALID, ORIGIN, TARGET, WRITE_TIMEOUT

pytestmark = pytest.mark.usefixtures("spoken")


def test_a_connection_whose_keyspace_nobody_knows_is_not_used_again(play: Play) -> None:
    """USE succeeded there, failed on origin, and could not be set back while target was off."""
    play.use("one")
    sent = write(play, 1, text="USE two")
    play.answer(sent, TARGET, frames.set_keyspace(keyspace="two"))
    play.switch(False)
    play.answer(sent, ORIGIN, frames.error(0, INVALID, "no"))
    play.expect_client(frames.error(1, INVALID, "no"))
    play.switch(True)
    play.expect_close(TARGET)
    assert play.asked_eagerly


def test_a_request_expires_in_its_time_while_a_connection_is_parked_for_longer(perform: Perform) -> None:
    """The timer was set for the end of the parking when the request came."""
    play = perform(request_timeout=1.0, target_park=5.0, target_disable_drain=0.1, answer_timeouts=True)
    play.switch(False)
    play.time_passes(0.2)
    sent = write(play, 1, {ORIGIN})
    play.time_passes(1.1)
    play.expect_error(WRITE_TIMEOUT, 1)
    play.answer(sent, ORIGIN, frames.void())
    play.time_passes(4)
    play.expect_close(TARGET)
