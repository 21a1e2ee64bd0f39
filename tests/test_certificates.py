"""Certificates that are read at the start and again when their files change."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.at_once import at_once
from tests.authority import Authority, Identity
from tests.net.nodes import Lines
from zdm.certificates import LOOK_EVERY, SETTLE, Certificates, tls_plans
from zdm.config import Config
from zdm.core.clusters import Side
from zdm.net.tls_files import TlsFileError
from zdm.tls_ends import TlsEnds, TlsSetups

CA = Authority()


class World:
    """A proxy with TLS everywhere, its own certificates in `directory`."""

    def __init__(self, directory: Path, now: datetime | None = None) -> None:
        self.directory = directory
        self.authority = CA.write(directory)
        self.put(CA.sign("127.0.50.5"))
        self.config = Config(
            origin_tls_server_ca_path=str(self.authority),
            origin_tls_verify="FULL",
            target_tls_server_ca_path=str(self.authority),
            target_tls_client_cert_path=str(directory / "own.crt"),
            target_tls_client_key_path=str(directory / "own.key"),
            proxy_tls_ca_path=str(self.authority),
            proxy_tls_cert_path=str(directory / "own.crt"),
            proxy_tls_key_path=str(directory / "own.key"),
            proxy_tls_require_client_auth=True,
        )
        self.plans = tls_plans(self.config)
        self.clock, self.log = Clock(), Lines()
        self.ends = TlsEnds(self.plans)
        self.told: list[TlsSetups] = []
        log: Any = self.log
        self.certificates = Certificates(
            self.plans, self.ends, at_once, self.clock, log, self.told.append, lambda: now or datetime.now(UTC)
        )

    def put(self, identity: Identity, passphrase: bytes = b"") -> None:
        """As who replaces certificates should: each under another name first."""
        for path in identity.write(self.directory / "new", "own", passphrase):
            os.replace(path, self.directory / path.name)

    def load(self) -> World:
        loading = Deferred.fromCoroutine(self.certificates.load())
        failures: list[Any] = []
        loading.addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
        return self

    def chain(self, side: Side) -> bytes:
        """Of what the ends were told last."""
        return dict(self.told[-1].by_side)[side].material.chain

    def look(self) -> None:
        """Until what has changed is read."""
        self.clock.advance(LOOK_EVERY)
        self.clock.advance(SETTLE)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_ends_are_those_that_are_configured(world: World) -> None:
    """Each with its own key, and as strict as it was asked to be."""
    assert set(world.plans) == {Side.ORIGIN, Side.TARGET, Side.CLIENT}
    strict = {side: plan.is_strict for side, plan in world.plans.items()}
    assert strict == {Side.ORIGIN: True, Side.TARGET: False, Side.CLIENT: True}
    assert [file.key for file in world.plans[Side.TARGET].paths.files()] == [
        "ZDM_TARGET_TLS_SERVER_CA_PATH",
        "ZDM_TARGET_TLS_CLIENT_CERT_PATH",
        "ZDM_TARGET_TLS_CLIENT_KEY_PATH",
    ]
    assert world.plans[Side.CLIENT].paths.passphrase_key == "ZDM_PROXY_TLS_KEY_PASSPHRASE_FILE"
    assert world.plans[Side.TARGET].paths.passphrase_key == "ZDM_TARGET_TLS_CLIENT_KEY_PASSPHRASE_FILE"
    assert tls_plans(Config()) == {}


def test_what_is_loaded_is_told_once(world: World) -> None:
    """To the workers, who have no eyes for files."""
    world.load().load()
    (setups,) = world.told
    assert [side for side, _ in setups.by_side] == [Side.ORIGIN, Side.TARGET, Side.CLIENT]
    assert [setup.is_strict for _, setup in setups.by_side] == [True, False, True]
    assert world.log.lines == []


def test_a_file_that_is_missing_is_named_and_the_start_can_be_tried_again(world: World) -> None:
    """Somebody may be about to mount it."""
    os.rename(world.authority, world.directory / "elsewhere")
    with pytest.raises(TlsFileError) as caught:
        world.load()
    assert str(caught.value).startswith("ZDM_ORIGIN_TLS_SERVER_CA_PATH (")
    assert world.told == [] and world.clock.getDelayedCalls() == []
    os.rename(world.directory / "elsewhere", world.authority)
    world.load()
    assert len(world.told) == 1


def test_changed_files_are_used(world: World) -> None:
    """Without a restart; both ends that have this certificate."""
    world.load()
    identity = CA.sign("127.0.50.5")
    world.put(identity)
    world.look()
    assert world.chain(Side.CLIENT) == world.chain(Side.TARGET) == identity.pem()
    assert [text for text in world.log.texts("info") if text.startswith("New connections use the changed TLS files: ")]
    assert world.log.texts("error") == []


def test_files_that_stay_as_they_are_are_not_read_again(world: World) -> None:
    """To look at them costs nothing, to read them something."""
    world.load()
    for _ in range(10):
        world.clock.advance(LOOK_EVERY)
    assert len(world.told) == 1 and world.log.lines == []


def test_files_are_read_once_they_have_settled(world: World) -> None:
    """A certificate whose key is still to come is no reason for an alarm."""
    world.load()
    identity = CA.sign("127.0.50.5")
    certificate, key = identity.write(world.directory / "new", "own")
    os.replace(certificate, world.directory / "own.crt")
    world.clock.advance(LOOK_EVERY)
    os.replace(key, world.directory / "own.key")
    world.clock.advance(SETTLE)
    assert len(world.told) == 1
    world.clock.advance(SETTLE)
    assert world.chain(Side.CLIENT) == identity.pem() and world.log.texts("error") == []


def test_bad_files_change_nothing_and_are_told_of_once(world: World) -> None:
    """What was good stays in use, for as long as it takes somebody to mend it."""
    world.load()
    good = world.chain(Side.CLIENT)
    world.put(CA.sign("127.0.50.5"), b"a passphrase that nobody knows")
    for _ in range(5):
        world.look()
    errors = [text for text in world.log.texts("error") if "ZDM_PROXY_TLS_KEY_PATH" in text]
    (error,) = errors
    assert error.startswith("The TLS files have changed and cannot be used; what was read before stays in use: ")
    assert "ZDM_PROXY_TLS_KEY_PASSPHRASE_FILE" in error
    assert world.chain(Side.CLIENT) == good
    identity = CA.sign("127.0.50.5")
    world.put(identity)
    world.look()
    assert world.chain(Side.CLIENT) == identity.pem()


def test_files_that_vanish_change_nothing(world: World) -> None:
    """The one error names the file; when it is back there is nothing new in it."""
    world.load()
    content = world.authority.read_bytes()
    world.authority.unlink()
    world.look()
    assert len(world.log.texts("error")) == 3  # one for each end that has it
    world.authority.write_bytes(content)
    world.look()
    assert len(world.log.texts("error")) == 3


def test_one_end_is_renewed_although_another_cannot_be(world: World) -> None:
    """They have nothing to do with each other."""
    world.load()
    world.authority.write_bytes(b"nonsense")
    world.look()
    world.told.clear()
    world.authority.write_bytes(Authority().pem() + CA.pem())
    world.look()
    assert len(world.told) > 0 and len(world.log.texts("error")) == 3


def test_somebody_may_ask_for_a_look(world: World) -> None:
    """By SIGHUP; it finds what the next look would find."""
    world.load()
    identity = CA.sign("127.0.50.5")
    world.put(identity)
    world.certificates.hurry()
    world.clock.advance(0)
    world.clock.advance(SETTLE)
    assert world.chain(Side.CLIENT) == identity.pem()


def test_without_tls_nothing_is_looked_at(tmp_path: Path) -> None:
    """And nothing is told."""
    clock, told = Clock(), list[TlsSetups]()
    log: Any = Lines()
    certificates = Certificates({}, TlsEnds(), at_once, clock, log, told.append)
    Deferred.fromCoroutine(certificates.load())
    assert clock.getDelayedCalls() == [] and told == [] and certificates.seconds_left() == {}
    certificates.hurry()
    assert clock.getDelayedCalls() == []


def test_the_end_of_the_proxy_ends_the_looking(world: World) -> None:
    """Nothing keeps the process."""
    world.load()
    world.certificates.close()
    assert world.clock.getDelayedCalls() == []


def test_how_long_certificates_last_is_known(world: World) -> None:
    """By end; negative where they do not any more."""
    assert world.certificates.seconds_left() == {}
    world.load()
    left = world.certificates.seconds_left()
    assert set(left) == {"origin", "target", "proxy"}
    assert 3649 < left["origin"] / 86400 < 3650 and 364 < left["proxy"] / 86400 < 365
    world.put(CA.sign("127.0.50.5", days=-2))
    world.look()
    assert -3 < world.certificates.seconds_left()["proxy"] / 86400 < -1


def test_certificates_that_are_out_of_date_are_told_of(tmp_path: Path) -> None:
    """They are used: a clock may be wrong, and a client may not mind."""
    world = World(tmp_path, datetime.now(UTC) + timedelta(days=400)).load()
    warnings = world.log.texts("warn")
    assert len(warnings) == 2 and all("which is not now: whoever checks it will refuse it" in text for text in warnings)
    assert "ZDM_PROXY_TLS_CERT_PATH" in warnings[1]
    late = World(tmp_path, datetime.now(UTC) + timedelta(days=4000)).load()
    assert any(text.startswith("No certificate in ZDM_ORIGIN_TLS_SERVER_CA_PATH (") for text in late.log.texts("warn"))


def test_new_connections_have_the_new_context(world: World) -> None:
    """The ends are those that connections ask."""
    before = world.load().ends.of(Side.CLIENT)
    assert before is not None
    context = before._context
    world.put(CA.sign("127.0.50.5"))
    world.look()
    assert before._context is not context and world.ends.of(Side.CLIENT) is before


def test_an_end_whose_setup_is_the_same_keeps_its_context(world: World) -> None:
    """To trust what the system trusts takes a while to load."""
    world.load()
    origin = world.ends.of(Side.ORIGIN)
    assert origin is not None
    context = origin._context
    world.ends.take(world.told[-1])
    assert origin._context is context
