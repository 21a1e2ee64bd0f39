"""The running program: its parts are given their ways to the outside, and run until a signal ends them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, Final

from zdm.activation import activated
from zdm.certificates import tls_plans
from zdm.config import Config
from zdm.core.clusters import Side
from zdm.cpus import allowed_cpus
from zdm.lasting_state import at_start, inherited
from zdm.log import Log
from zdm.net.adopted import Gate
from zdm.net.endpoints import install_reactor
from zdm.net.reception import Reception
from zdm.net.threads import in_threads_of
from zdm.notifying import notifier
from zdm.profiling import NONE, Profiles, profiled
from zdm.service import ProxyService, Staff
from zdm.sockets import dialling, handing, listening, socket_options
from zdm.state_file import UnusableFileError
from zdm.succession import Lineage, adopting
from zdm.tls_ends import TlsEnds
from zdm.upgrade.estate import UnknownEstateError, received
from zdm.upgrade.incoming import Incoming
from zdm.upgrade.outgoing import beginner
from zdm.worker_process.channel import adopt
from zdm.worker_process.launch import launcher

_UNUSABLE: Final = 255  # as a configuration that cannot be used


def run(config: Config, log: Log, reread: Callable[[], Config], profiles: Profiles = NONE) -> int:
    """Run the proxy until a signal ends it; the exit code. `reread` gives the configuration as it is now."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # until it can be heeded
    try:
        given = received()
        saved = at_start(config, log) if given is None else inherited(config, given.saved)
    except (UnusableFileError, UnknownEstateError) as unusable:
        log.error(f"Error at startup: {unusable} Aborting startup.")
        return _UNUSABLE
    install_reactor()
    from twisted.internet import reactor

    count = config.worker_count() or allowed_cpus()
    threads = in_threads_of(reactor)
    gate = Gate(is_open=given is None)
    incoming = None if given is None else Incoming(gate, log)
    listeners = activated(config, log) if given is None else given.listeners
    options, tls = socket_options(config), TlsEnds(tls_plans(config))
    reception = _reception(config, tls, log, reactor)
    way = adopting(listening(config), listeners, gate, options)
    entrance = adopting(listening(config, reception), listeners, gate, options, reception)
    staff = Staff(count, launcher(reactor, threads, profiles), adopting(handing(config), listeners, gate, None))
    lineage = Lineage(beginner(threads), incoming, notifier(log))
    service = ProxyService(
        config, log, reactor, dialling(options, tls), way, saved, threads, staff if count > 1 else None, lineage,
        reread, entrance, tls,
    )  # fmt: skip

    def begin() -> None:
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, service.stop)
        loop.add_signal_handler(signal.SIGHUP, service.hung_up)
        loop.add_signal_handler(signal.SIGUSR2, service.upgrade)
        if given is not None:
            with given.channel:
                adopt(reactor, given.channel, incoming)
        log.info("SIGINT/SIGTERM listener started.")
        service.start()

    # callWhenRunning would be a moment too early: the loop that signals are told to does not run yet
    reactor.callLater(0, begin)
    with profiled(profiles, log):
        reactor.run(installSignalHandlers=False)  # type: ignore[call-arg]  # the interface lacks what reactors take
    return service.exit_code


def _reception(config: Config, tls: TlsEnds, log: Log, clock: Any) -> Reception | None:
    """Where clients come in, if they have TLS."""
    end = tls.of(Side.CLIENT)
    return None if end is None else Reception(end, log, clock, config.proxy_max_client_connections)
