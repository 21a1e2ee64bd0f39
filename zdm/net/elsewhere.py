"""Preparing a statement under another keyspace than the session's.

In protocol v3 and v4 a PREPARE takes the keyspace of its connection, and the session's connection must keep the one the
client chose. So a short-lived connection to the same host does it; what a host has prepared holds for all connections.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.python.failure import Failure

from zdm.core.clusters import Side
from zdm.core.commands import PrepareElsewhere
from zdm.core.credentials import Credentials
from zdm.core.side_handshake import use_text
from zdm.core.topology import Endpoint
from zdm.net import cql_client
from zdm.net.cql_client import ClientSettings, CqlError, Refused
from zdm.protocol.opcodes import ERROR, RESULT

if TYPE_CHECKING:
    from zdm.net.session_host import SessionHost

Outcome = tuple[int, bytes] | None


class Errands:
    """What one client has to be prepared elsewhere; cancelled with the client."""

    def __init__(
        self, worker: SessionHost, done: Callable[[int, Outcome], None], failed: Callable[[Failure], None]
    ) -> None:
        """`done` gets the ticket and the outcome of each; `failed` what must not happen."""
        self._worker: Final = worker
        self._done: Final = done
        self._failed: Final = failed
        self._under_way: Final[dict[Deferred[Outcome], Side]] = {}

    def start(
        self, endpoint: Endpoint, credentials: Credentials | None, version: int, command: PrepareElsewhere
    ) -> None:
        """Ask the host. The outcome is opcode and body of its answer, in `version`; None where there was none."""
        errand = Deferred.fromCoroutine(_prepare(self._worker, endpoint, credentials, version, command))
        self._under_way[errand] = command.side
        errand.addBoth(self._settle, errand, command.ticket)
        errand.addErrback(self._failed)

    def cancel(self, side: Side | None = None) -> None:
        """Nobody waits any more: for that cluster, or at all."""
        for errand, of in list(self._under_way.items()):
            if side is None or of is side:
                errand.cancel()

    def _settle(self, outcome: Outcome | Failure, errand: Deferred[Outcome], ticket: int) -> Failure | None:
        self._under_way.pop(errand, None)
        if not isinstance(outcome, Failure):
            self._done(ticket, outcome)
        elif not outcome.check(CancelledError):
            return outcome
        return None


async def _prepare(
    worker: SessionHost, endpoint: Endpoint, credentials: Credentials | None, version: int, command: PrepareElsewhere
) -> Outcome:
    timeout = worker.shared.snapshot.settings.request_timeout
    settings = ClientSettings(credentials, (version,), timeout, timeout)
    try:
        target = worker.endpoints_of(command.side)(endpoint.address, endpoint.port, timeout)
        client = await cql_client.connect(target, settings, worker.clock)
    except (CqlError, ConnectError, DNSLookupError) as failed:
        worker.log.warn(f"{command.side.name} host {endpoint}: could not prepare a statement again there: {failed}")
        return None
    try:
        if command.keyspace:
            await client.query(use_text(command.keyspace))
        prepared = await client.prepare(command.text)
        return RESULT, prepared.encode(version)
    except Refused as refusal:
        return ERROR, refusal.error.encode(version)
    except CqlError as failed:
        worker.log.warn(f"{command.side.name} host {endpoint}: could not prepare a statement again there: {failed}")
        return None
    finally:
        client.close()
