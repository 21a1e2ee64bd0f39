"""`zdm-proxy check`: try the configuration against both clusters, print what drivers will see and what is wrong.

Reads the state file, connects to each cluster as the proxy would, asks a few questions, and ends; nothing is written.
Exit codes: 0 where the proxy could serve, 1 where it could not, 3 where it could and `--strict` minds the warnings. A
disabled target may be away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure

from zdm.certificates import Certificates, tls_plans
from zdm.check_report import COULD_NOT_START, Report, print_report, report_json
from zdm.cluster_findings import ClockReading, examine, findings_of_both
from zdm.config import Config
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.topology import ClusterView
from zdm.facts import control_settings
from zdm.findings import error, local_findings, warning
from zdm.lasting_state import read_state
from zdm.net.control import ControlConnection, ControlError, ControlSettings
from zdm.net.endpoints import install_reactor
from zdm.net.threads import Run, in_threads_of
from zdm.net.tls_files import TlsFileError, UnreadableFileError
from zdm.settings import proxy_topology
from zdm.sockets import dialling, socket_options
from zdm.state_file import UnusableFileError
from zdm.target_switch import disable_refusal
from zdm.tls_ends import TlsEnds

PATIENCE: Final = 10.0
"""Seconds for a cluster to be connected to: somebody is waiting for the answer."""

_WIDTH: Final = 140  # a host id must not be cut where the output goes to a file


def run(config: Config, as_json: bool = False, is_strict: bool = False) -> int:
    """The check; its exit code."""
    install_reactor()
    from twisted.internet import reactor

    outcome: list[int] = []
    console = Console(soft_wrap=True, width=max(Console().width, _WIDTH), quiet=as_json)

    def done(report: Report) -> int:
        if as_json:
            print(report_json(config, report))
        else:
            print_report(console, config, report)
        return report.exit_code(is_strict)

    def begin() -> None:
        checking = Deferred.fromCoroutine(Check(config, reactor, console).run()).addCallback(done)
        checking.addErrback(_unexpected)
        checking.addCallback(outcome.append)
        checking.addBoth(lambda _: reactor.stop())

    reactor.callLater(0, begin)
    reactor.run()
    return outcome[0] if outcome else COULD_NOT_START


class _Quiet:
    """The control connections' lines are told in the report instead; what is wrong is kept for it."""

    def __init__(self) -> None:
        self.troubles: Final[list[str]] = []

    def debug(self, text: str) -> None:
        """Not shown."""

    def info(self, text: str) -> None:
        """Not shown."""

    def warn(self, text: str) -> None:
        self.troubles.append(text)

    def error(self, text: str) -> None:
        self.troubles.append(text)


class Check:
    """One run over both clusters; `console` is told of what takes time."""

    def __init__(self, config: Config, reactor: Any, console: Console, run: Run | None = None) -> None:
        self._config: Final = config
        self._reactor: Final = reactor
        self._console: Final = console
        self._run: Final = run or in_threads_of(reactor)
        self._tls: Final = TlsEnds(tls_plans(config))

    async def run(self) -> Report:
        """Everything that was found."""
        report = self._at_start()
        report.findings += local_findings(self._config)
        await self._load_certificates(report)
        clocks: dict[Side, ClockReading] = {}
        for side in CLUSTERS:
            await self._look_at(side, report, clocks)
        report.findings += findings_of_both(report.views, clocks)
        return report

    async def _load_certificates(self, report: Report) -> None:
        """Without them nothing can be connected to that is to be under TLS."""
        quiet = _Quiet()
        certificates = Certificates(tls_plans(self._config), self._tls, self._run, self._reactor, quiet)
        try:
            await certificates.load()
        except UnreadableFileError:
            pass  # among the findings already
        except TlsFileError as unusable:
            report.findings.append(error("PROXY", str(unusable)))
        finally:
            certificates.close()
        report.findings += [warning("PROXY", trouble) for trouble in quiet.troubles]
        for name, seconds in certificates.seconds_left().items():
            self._console.print(f"TLS, {name}: certificates are valid for {seconds / 86400:.0f} days", highlight=False)

    def _at_start(self) -> Report:
        """As the proxy would start with it; a file that cannot be used keeps it from starting."""
        try:
            target = read_state(self._config).target
        except UnusableFileError as unusable:
            return Report(None, [error("PROXY", str(unusable))])
        self._console.print(f"TARGET: {'enabled' if target.enabled else 'disabled'} at start", highlight=False)
        refused = None if target.enabled else disable_refusal(self._config)
        return Report(target.enabled, [warning("TARGET", refused)] if refused is not None else [])

    async def _look_at(self, side: Side, report: Report, clocks: dict[Side, ClockReading]) -> None:
        settings = control_settings(self._config, side, proxy_topology(self._config))
        dial = self._dial(side, min(settings.client.connect_timeout, PATIENCE))
        self._console.print(f"{side.name}: connecting to {', '.join(settings.contact_points)} port {settings.port} ...")
        is_needed = side is Side.ORIGIN or report.is_enabled is not False
        view = await self._reach(side, settings, dial, report, is_needed)
        if view is None:
            return
        report.views[side] = view
        found, clock = await examine(self._config, side, view, settings.client, dial, self._reactor, time.time)
        report.findings += found
        if clock is not None:
            clocks[side] = clock

    def _dial(self, side: Side, timeout: float) -> Callable[[str, int], IStreamClientEndpoint]:
        dial = dialling(socket_options(self._config), self._tls)(side)
        return lambda host, port: dial(host, port, timeout)

    async def _reach(
        self,
        side: Side,
        settings: ControlSettings,
        dial: Callable[[str, int], IStreamClientEndpoint],
        report: Report,
        is_needed: bool,
    ) -> ClusterView | None:
        quiet = _Quiet()
        control = ControlConnection(settings, dial, self._reactor, quiet)
        try:
            return await control.open()
        except ControlError as failed:
            why = "; ".join([str(failed), *quiet.troubles])
            report.findings.append(
                error(side.name, f"{why}; mend the addresses, the credentials, or the way there")
                if is_needed
                else warning(side.name, f"{why}; it is disabled, so the proxy would start without")
            )
            return None
        finally:
            control.close()


def _unexpected(failed: Failure) -> int:
    failed.printTraceback()
    return COULD_NOT_START
