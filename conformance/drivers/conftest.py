"""Which drivers this run has, and one program of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.backends.interface import Credentials
from conformance.comparison import Both
from conformance.conftest import BUILD, drivers_of
from conformance.drivers.programs import DRIVERS, Driver, Program, build
from conformance.proxy import Proxy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "driver" in metafunc.fixturenames:
        names = drivers_of(metafunc.config) or list(DRIVERS)
        unknown = [name for name in names if name not in DRIVERS]
        if unknown:
            raise pytest.UsageError(f"no driver {', '.join(unknown)}, there are: {', '.join(DRIVERS)}")
        asked = metafunc.config.getoption("driver_compression").split(",")
        pairs = [
            pytest.param(DRIVERS[name], word, id=name if word == "none" else f"{name}-{word}")
            for name in names
            for word in asked
            if word == "none" or word in DRIVERS[name].compressions
        ]
        metafunc.parametrize(("driver", "compression"), pairs)


def asked_version(config: pytest.Config, compression: str) -> int:
    """What a program is told to speak, 0 for what its driver likes. Snappy ends with version 4: not all drivers see."""
    return int(config.getoption("driver_protocol")) or (4 if compression == "snappy" else 0)


@pytest.fixture
def run_program(
    credentials: Credentials | None, network: str, both: Both, pytestconfig: pytest.Config
) -> Iterator[Callable[..., Program]]:
    """Builds a driver's program if it is not, and starts it: ``run_program(driver, proxy, compression)``."""
    made: list[Program] = []

    def start(driver: Driver, proxy: Proxy, compression: str = "none") -> Program:
        log = BUILD / "logs" / f"driver-{network.split('.')[2]}-{driver.name}-{compression}.log"
        here = build(driver, BUILD / "drivers")
        ((data_center,),) = both.read(both.sides[0], "SELECT data_center FROM system.local")
        version = asked_version(pytestconfig, compression)
        options = (data_center, str(version), compression)
        made.append(Program(driver, here, proxy.entry(credentials), options, log))
        return made[-1]

    yield start
    for program in made:
        program.__exit__()
