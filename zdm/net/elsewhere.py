"""Preparing a statement under another keyspace than the session's.

In protocol v3 and v4 a PREPARE takes the keyspace of its connection, and the session's connection must keep the one the
client chose. So a short-lived connection to the same host does it; what a host has prepared holds for all connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError

from zdm.core.commands import PrepareElsewhere
from zdm.core.credentials import Credentials
from zdm.core.topology import Endpoint
from zdm.net import cql_client
from zdm.net.cql_client import ClientSettings, CqlError, Refused
from zdm.protocol.opcodes import ERROR, RESULT

if TYPE_CHECKING:
    from zdm.net.session_host import SessionHost

Outcome = tuple[int, bytes] | None


def prepare_elsewhere(
    worker: SessionHost, endpoint: Endpoint, credentials: Credentials | None, version: int, command: PrepareElsewhere
) -> Deferred[Outcome]:
    """Opcode and body of the cluster's answer, in `version`; nothing where there was none."""
    return Deferred.fromCoroutine(_prepare(worker, endpoint, credentials, version, command))


async def _prepare(
    worker: SessionHost, endpoint: Endpoint, credentials: Credentials | None, version: int, command: PrepareElsewhere
) -> Outcome:
    timeout = worker.shared.snapshot.settings.request_timeout
    settings = ClientSettings(credentials, (version,), timeout, timeout)
    try:
        target = worker.endpoint_factory(endpoint.address, endpoint.port, timeout)
        client = await cql_client.connect(target, settings, worker.clock)
    except (CqlError, ConnectError) as failed:
        worker.log.warn(f"{command.side.name} host {endpoint}: could not prepare a statement again there: {failed}")
        return None
    try:
        if command.keyspace:
            name = command.keyspace.replace('"', '""')
            await client.query(f'USE "{name}"')
        prepared = await client.prepare(command.text)
        return RESULT, prepared.encode(version)
    except Refused as refusal:
        return ERROR, refusal.error.encode(version)
    except CqlError as failed:
        worker.log.warn(f"{command.side.name} host {endpoint}: could not prepare a statement again there: {failed}")
        return None
    finally:
        client.close()
