"""Nodes behind TLS, by the loop's own implementation: the proxy has another, and the two check each other."""

from __future__ import annotations

import asyncio
import ssl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from zdm.net.endpoints import Port
from zdm.net.transport import LoopTransport


def node_context(certificate: str, key: str, client_ca: str = "") -> ssl.SSLContext:
    """From files in PEM; with `client_ca` clients must show a certificate that it has signed.

    Raises OSError, and ssl.SSLError, which is one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def listen_with_tls(
    factory: IProtocolFactory, host: str, port: int, backlog: int, context: ssl.SSLContext
) -> Deferred[IListeningPort]:
    """Fires with the port, or fails with an OSError. The reactor must be the one of `zdm.net.endpoints`."""

    async def listen() -> IListeningPort:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: LoopTransport(factory), host, port, backlog=backlog, ssl=context)
        factory.doStart()
        return Port(server, factory)

    return Deferred.fromFuture(asyncio.ensure_future(listen(), loop=asyncio.get_event_loop()))
