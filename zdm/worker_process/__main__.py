"""`python -m zdm.worker_process NUMBER DESCRIPTOR CPU_PROFILE MEMORY_PROFILE`: a worker.

Started by the supervisor and by nobody else. A profile that is not wanted is an empty argument.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from zdm.core.clusters import Side
from zdm.log import start
from zdm.net.endpoints import attach_accepted, install_reactor
from zdm.profiling import Profiles, profiled

if TYPE_CHECKING:
    from zdm.tls_ends import TlsEnds
    from zdm.worker_process.snapshots import WorkerSettings


def main(number: int, descriptor: int, profiles: Profiles) -> None:
    """Runs until the channel, which is at `descriptor`, is closed."""
    # the supervisor is told by these signals to end its workers in good order
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(signal_number, signal.SIG_IGN)
    log = start(worker=number)
    install_reactor()
    from twisted.internet import reactor

    clock: Any = reactor
    from zdm.net.reception import Reception
    from zdm.sockets import dialling
    from zdm.worker_process.channel import adopt
    from zdm.worker_process.hosted import HostedWorker, Ways

    def ended() -> None:
        if reactor.running:
            reactor.stop()

    def ways(settings: WorkerSettings, tls: TlsEnds) -> Ways:
        options, end = settings.options, tls.of(Side.CLIENT)
        reception = None if end is None else Reception(end, log, clock, settings.most_clients)
        return Ways(
            dialling(options, tls),
            lambda moved, factory: attach_accepted(moved, factory, options),
            lambda accepted, factory: attach_accepted(accepted, factory, options, reception),
        )

    hosted = HostedWorker(reactor, time.perf_counter, log, ways, ended)

    def begin() -> None:
        with socket.socket(fileno=descriptor) as channel:
            adopt(reactor, channel, hosted)

    reactor.callLater(0, begin)
    with profiled(profiles, log):
        reactor.run(installSignalHandlers=False)  # type: ignore[call-arg]  # the interface lacks what reactors take


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Profiles(*sys.argv[3:]))
