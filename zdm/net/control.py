"""The control connection: what the proxy knows of a cluster, and whether the cluster is there (spec 7.1, 7.4).

One for each cluster. It finds a node that answers, reads the topology from it, and finds another one when that is lost.
What it knows is a `ClusterView`; every change makes a new one, which is handed to `on_change`. Losing the connection
takes nothing away from the last view.

The lifecycle (the transitions are at the end of the file):

    idle --open--> opening --opened--> up --lost--> reopening --failed--> waiting --retry--> reopening
                      |failed           |dropped                             ^
                      v                 +------------------------------------+
                    idle

`opening` is the attempt that somebody waits for, and that fails back to them; `reopening` goes on until it succeeds.
`dropped` is a loss right after the opening: without a pause a node that closes every connection would be dialled in a
tight loop.

While the proxy does without the cluster, it only probes: heartbeats and attempts are `probe_interval` apart, a loss
waits for that as well, and nothing is read. When that is over, an attempt that is under way is begun anew (`again`): it
may hang, with a host that is back by now.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from automat import TypeMachineBuilder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from zdm.core.topology import ClusterView, Endpoint, Host, TopologyError
from zdm.net.backoff import Backoff
from zdm.net.control_link import ControlSettings, Link, Log, TopologyReader
from zdm.net.cql_client import ConnectionClosed, CqlError, connect
from zdm.protocol.exceptions import ProtocolError

__all__ = ["ControlConnection", "ControlError", "ControlSettings", "EndpointFactory", "Log"]

EndpointFactory = Callable[[str, int], IStreamClientEndpoint]

_ENDPOINT_FAULTS: Final = (CqlError, TopologyError, ProtocolError, ConnectError, OSError)
"""What makes one endpoint unusable, so that the next one is tried. Anything else is a bug of ours."""


class ControlError(Exception):
    """No endpoint of the cluster works; the text names those that were tried."""


@dataclass(frozen=True, slots=True)
class _Opened:
    link: Link
    view: ClusterView


class _Inputs(Protocol):
    """What happens to a control connection."""

    def open(self) -> None:
        """Somebody waits for the outcome of one attempt."""

    def start(self) -> None:
        """It is to be open from now on, however many attempts that takes."""

    def opened(self, outcome: _Opened) -> None:
        """The attempt found a node."""

    def failed(self, reason: BaseException) -> None:
        """The attempt found none."""

    def lost(self, reason: str) -> None:
        """The open connection ended."""

    def dropped(self, reason: str) -> None:
        """The open connection ended as soon as it was open, or while nobody needs it."""

    def retry(self) -> None:
        """The pause is over."""

    def again(self) -> None:
        """What is under way may be a probe that hangs."""

    def close(self) -> None:
        """It is not to be open any more."""


class ControlConnection:
    """Keeps one connection to a cluster, and the view of that cluster.

    `view` is None until the first success and then the last one known. `failures` counts losses and failed attempts
    since the last success. `settings` may be replaced by some with another login or threshold. `endpoint_factory` gives
    the endpoint for a host and port; `chance` is where the order of endpoints, jitter and turn of hosts come from.
    """

    def __init__(
        self,
        settings: ControlSettings,
        endpoint_factory: EndpointFactory,
        clock: IReactorTime,
        log: Log,
        on_change: Callable[[ClusterView], None] = lambda view: None,
        chance: random.Random | None = None,
    ) -> None:
        self.settings = settings
        self.view: ClusterView | None = None
        self.failures = 0
        self.is_unasked = False
        """Nobody has asked the cluster since the probes ended: `failures` are theirs, and may be an hour old."""
        self._endpoint_factory: Final = endpoint_factory
        self._clock: Final = clock
        self._log: Final = log
        self._on_change: Final = on_change
        self._chance: Final = chance or random.Random()
        self._reader: Final = TopologyReader(settings, log, self._chance)
        self._backoff: Final = Backoff(settings, self._chance)
        self._waiters: list[Deferred[ClusterView]] = []
        self._link: Link | None = None
        self._opened_at = 0.0
        self._attempt: Deferred[None] | None = None
        self._pause: IDelayedCall | None = None
        self._machine: Final[_Inputs] = _machine(self)

    def open(self) -> Deferred[ClusterView]:
        """One attempt over the contact points. Fires with the view, or fails with ControlError and may be repeated.

        Once it has fired, the connection is kept open until `close`.
        """
        waiter: Deferred[ClusterView] = Deferred()
        self._waiters.append(waiter)
        self._machine.open()
        return waiter

    def start(self) -> None:
        """Opens it in the background, with as many attempts as needed. Does nothing where it is open already."""
        self._machine.start()

    def close(self) -> None:
        """Closes the connection for good; an `open` under way fails with CancelledError."""
        self._machine.close()

    def refresh_schema(self) -> None:
        """Reads system.local again, because the schema has changed. Several calls at once cost one more query."""
        if self._link is not None:
            self._link.ask_schema()

    def probe(self, is_probing: bool) -> None:
        """From now on the cluster is looked at rarely; or, with False, as ever again, and at once."""
        if self._backoff.is_probing is is_probing:
            return
        self._backoff.is_probing = is_probing
        self._backoff.reset()
        if self._link is not None:
            self._link.beat_every(self._backoff.heartbeat_interval(), now=not is_probing)
            self._link.hold(is_probing)
        self.is_unasked = not is_probing and self._link is None
        if self._pause is not None and self._pause.active():
            self._pause.reset(self._backoff.next() if is_probing else 0)
        if not is_probing:
            self._machine.again()

    @property
    def endpoint(self) -> Endpoint:
        """Where it is, or was last, connected to; the first contact point before that (FIX-26)."""
        return self.view.endpoint if self.view else self._contact_points()[0]

    @property
    def is_up(self) -> bool:
        """What readiness reports: it was open once, and has failed fewer times in a row than the threshold."""
        return self.view is not None and self.failures < self.settings.failure_threshold

    def _contact_points(self) -> list[Endpoint]:
        return [Endpoint(address, self.settings.port) for address in self.settings.contact_points]

    def _all_endpoints(self) -> list[Endpoint]:
        """All known hosts, then the contact points that are not among them."""
        known = [host.endpoint for host in self.view.hosts] if self.view else []
        return known + [point for point in self._contact_points() if point not in known]

    # An attempt

    def _begin(self, endpoints: Sequence[Endpoint]) -> None:
        attempt = Deferred.fromCoroutine(self._open_any(endpoints))
        self._attempt = attempt.addCallbacks(self._machine.opened, self._attempt_failed)

    def _attempt_failed(self, failure: Failure) -> None:
        reason = failure.value
        if reason is None or isinstance(reason, CancelledError):
            return
        if not isinstance(reason, ControlError):
            self._log.error(f"opening the control connection to {self.settings.cluster}:\n{failure.getTraceback()}")
        self._machine.failed(reason)

    async def _open_any(self, endpoints: Sequence[Endpoint]) -> _Opened:
        """The first endpoint that works, from a random one on, in order."""
        first = self._chance.randrange(len(endpoints)) if endpoints else 0
        fault: Exception | None = None
        for endpoint in (*endpoints[first:], *endpoints[:first]):
            try:
                return await self._open_one(endpoint)
            except _ENDPOINT_FAULTS as found:
                fault = found
                self._warn(
                    f"Failed to open control connection to {self.settings.cluster} using endpoint {endpoint}: {fault}"
                )
        tried = " ".join(map(str, endpoints))
        cluster = self.settings.cluster
        raise ControlError(f"could not open control connection to {cluster}, tried endpoints: [{tried}]") from fault

    async def _open_one(self, endpoint: Endpoint) -> _Opened:
        dialled = self._endpoint_factory(endpoint.address, endpoint.port)
        link = Link(await connect(dialled, self.settings.client, self._clock), endpoint, self._reader, self._log)
        view: ClusterView | None = None
        try:
            view = await link.first_view()
            return _Opened(link, view)
        except (CqlError, TopologyError) as fault:
            self._warn(
                "Error while initializing a new cql connection for the control connection of "
                f"{self.settings.cluster}: {fault}"
            )
            raise
        finally:
            if view is None:
                link.stop()

    # What the transitions do

    def _succeed(self, outcome: _Opened) -> None:
        self.failures, self.is_unasked = 0, False
        self._attempt = None
        self._link = outcome.link
        self._opened_at = self._clock.seconds()
        self._announce(outcome.view)
        self._publish(outcome.view)
        outcome.link.hold(self._backoff.is_probing)
        outcome.link.start(self._clock, self._backoff.heartbeat_interval(), self._publish, self._link_lost)
        self._answer(outcome.view)

    def _announce(self, view: ClusterView) -> None:
        cluster = self.settings.cluster
        self._log.info(
            f"Successfully opened control connection to {cluster} using endpoint {view.endpoint} "
            f"with ProtocolVersion OSS {view.version}."
        )
        if not view.auth_required:
            self._log.warn(f"{cluster} ControlConn: authentication is NOT enabled.")

    def _publish(self, view: ClusterView) -> None:
        before, self.view = self.view, view
        if before is not None and before.local_hosts != view.local_hosts:
            self._log.info(
                f"The hosts of {self.settings.cluster} have changed. "
                f"Hosts: {_names(view.local_hosts)}, Assigned Hosts: {_names(view.assigned)}."
            )
        if before != view:
            self._on_change(view)

    def _answer(self, view: ClusterView) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(view)

    def _refuse(self, reason: BaseException) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.errback(reason)

    def _link_lost(self, closed: ConnectionClosed) -> None:
        is_short = self._clock.seconds() - self._opened_at < self.settings.retry_min
        waits = is_short or self._backoff.is_probing
        (self._machine.dropped if waits else self._machine.lost)(str(closed))

    def _forget_link(self, reason: str) -> None:
        link, self._link = self._link, None
        assert link is not None
        link.stop()
        self.failures += 1
        self._warn(f"The control connection to {self.settings.cluster} ({self.endpoint}) ended: {reason}")

    def _warn(self, text: str) -> None:
        """That a cluster is away which the proxy does without is no news."""
        (self._log.info if self._backoff.is_probing else self._log.warn)(text)

    def _wait(self) -> None:
        pause = self._backoff.next()
        self._log.info(f"Opening the control connection to {self.settings.cluster} is tried again in {pause:.3f} s.")
        self._pause = self._clock.callLater(pause, self._machine.retry)

    def _give_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.stop()
        if self._attempt is not None:
            self._attempt.cancel()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._refuse(CancelledError())


def _names(hosts: Sequence[Host]) -> str:
    return "[" + ", ".join(map(str, hosts)) + "]"


_builder = TypeMachineBuilder(_Inputs, ControlConnection)
_idle = _builder.state("idle")
_opening = _builder.state("opening")
_up = _builder.state("up")
_reopening = _builder.state("reopening")
_waiting = _builder.state("waiting")
_pausing = _builder.state("pausing")
_closed = _builder.state("closed")


@_idle.upon(_Inputs.open).to(_opening)
@_idle.upon(_Inputs.start).to(_reopening)
@_waiting.upon(_Inputs.retry).to(_reopening)
def _try_contact_points(_: _Inputs, control: ControlConnection) -> None:
    control._begin(control._contact_points())


@_opening.upon(_Inputs.opened).to(_up)
@_reopening.upon(_Inputs.opened).to(_up)
def _settle_up(_: _Inputs, control: ControlConnection, outcome: _Opened) -> None:
    control._succeed(outcome)


@_opening.upon(_Inputs.failed).to(_idle)
def _fail_back(_: _Inputs, control: ControlConnection, reason: BaseException) -> None:
    control._refuse(reason)


@_reopening.upon(_Inputs.failed).to(_waiting)
def _try_later(_: _Inputs, control: ControlConnection, reason: BaseException) -> None:
    control.failures += 1
    control.is_unasked = False
    control._warn(str(reason))
    control._wait()


@_up.upon(_Inputs.lost).to(_reopening)
def _reopen(_: _Inputs, control: ControlConnection, reason: str) -> None:
    control._forget_link(reason)
    control._backoff.reset()
    control._begin(control._all_endpoints())


@_up.upon(_Inputs.dropped).to(_pausing)
def _pause_first(_: _Inputs, control: ControlConnection, reason: str) -> None:
    control._forget_link(reason)
    control._wait()


@_pausing.upon(_Inputs.retry).to(_reopening)
def _try_all(_: _Inputs, control: ControlConnection) -> None:
    control._begin(control._all_endpoints())


@_reopening.upon(_Inputs.again).loop()
def _begin_anew(_: _Inputs, control: ControlConnection) -> None:
    if control._attempt is not None:
        control._attempt.cancel()
    control._begin(control._all_endpoints())


@_up.upon(_Inputs.open).loop()
def _answer_at_once(_: _Inputs, control: ControlConnection) -> None:
    assert control.view is not None
    control._answer(control.view)


@_idle.upon(_Inputs.close).to(_closed)
@_opening.upon(_Inputs.close).to(_closed)
@_up.upon(_Inputs.close).to(_closed)
@_reopening.upon(_Inputs.close).to(_closed)
@_waiting.upon(_Inputs.close).to(_closed)
@_pausing.upon(_Inputs.close).to(_closed)
@_closed.upon(_Inputs.open).loop()
def _end(_: _Inputs, control: ControlConnection) -> None:
    control._give_up()


_opening.upon(_Inputs.start).to(_reopening).returns(None)
for _state, _harmless in (
    (_idle, (_Inputs.again,)),
    (_opening, (_Inputs.open, _Inputs.again)),
    (_up, (_Inputs.start, _Inputs.again)),
    (_reopening, (_Inputs.open, _Inputs.start)),
    (_waiting, (_Inputs.open, _Inputs.start, _Inputs.again)),
    (_pausing, (_Inputs.open, _Inputs.start, _Inputs.again)),
    (_closed, (_Inputs.start, _Inputs.close, _Inputs.again)),
):
    for _input in _harmless:
        _state.upon(_input).loop().returns(None)

_machine = _builder.build()
