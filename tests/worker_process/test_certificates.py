"""Certificates on their way to workers: before anything else, and whenever they have changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.authority import Authority
from tests.worker_process.crews import World
from zdm.core.clusters import Side
from zdm.net.tls_files import TlsMaterial
from zdm.tls_ends import TlsSetup, TlsSetups
from zdm.worker_process.snapshots import packed, unpacked_setups

CA = Authority()


def setups() -> TlsSetups:
    """With a new certificate for the listener."""
    own, trusted = CA.sign("127.0.50.5"), CA.pem().decode()
    return TlsSetups(
        (
            (Side.ORIGIN, TlsSetup(TlsMaterial(trusted), True)),
            (Side.CLIENT, TlsSetup(TlsMaterial(trusted, own.pem(), own.key_pem()), False)),
        )
    )


@pytest.fixture
def world() -> World:
    made = World()
    made.crew._settings[:] = [replace(one, secured=(Side.ORIGIN, Side.CLIENT)) for one in made.crew._settings]
    return made


def used(world: World) -> list[dict[Side, TlsSetup]]:
    """What each worker has, in the order of their numbers."""
    return [dict(process.tls._setups) for process in world.running]


def test_setups_travel_whole() -> None:
    """The key too: a worker looks at no files."""
    sent = setups()
    assert unpacked_setups(packed(sent)) == sent


def test_a_key_is_in_no_text() -> None:
    """Tracebacks and logs print values."""
    assert "PRIVATE" not in repr(setups()) and "CERTIFICATE" in repr(setups())


def test_every_worker_has_the_certificates_before_it_serves(world: World) -> None:
    """Those that say hello before they are read, and those that say it afterwards."""
    world.crew.start()
    world.processes[1].is_stopped = True
    world.settle()
    given = setups()
    world.crew.secure(given)
    world.processes[1].is_stopped = False
    world.settle()
    assert used(world) == [dict(given.by_side)] * 2
    for process in world.running:
        ends = [process.tls.of(side) for side in (Side.ORIGIN, Side.CLIENT)]
        assert all(end is not None and end._context is not None for end in ends)
        assert process.tls.of(Side.TARGET) is None


def test_an_end_that_has_no_certificates_yet_is_there(world: World) -> None:
    """It lets nothing through, where none would mean a plain connection."""
    world.crew.start()
    world.settle()
    end = world.running[0].tls.of(Side.ORIGIN)
    assert end is not None and end._context is None


def test_workers_are_told_of_changes_and_new_ones_begin_with_the_newest(world: World) -> None:
    """One that died may come back after a change."""
    world.crew.secure(setups())
    world.serve()
    newest = setups()
    world.processes[0].end(1)
    world.crew.secure(newest)
    world.settle()
    assert used(world) == [dict(newest.by_side)]
    world.pass_time(1)
    assert used(world) == [dict(newest.by_side)] * 2
    assert world.log.texts("error")[1:] == []


def test_a_worker_that_cannot_use_them_goes_on_with_those_it_has(world: World) -> None:
    """A fault on our side must not take its clients' connections."""
    good = setups()
    world.crew.secure(good)
    world.serve()
    bad = TlsSetups(((Side.ORIGIN, TlsSetup(TlsMaterial("nothing of the kind"), True)),))
    world.crew.secure(bad)
    world.settle()
    assert used(world) == [dict(good.by_side)] * 2
    for process in world.running:
        (line,) = process.log.texts("error")
        assert line.startswith("The certificates cannot be used; connections go on with those before")
