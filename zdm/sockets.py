"""What is asked of the operating system: how many sockets there may be, and how they behave.

A socket is an open file. A client needs three: its own, and one to each cluster. The soft limit of open files is only
a default of the shell or the service manager, so the proxy raises it; the hard one is the operator's.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from zdm.log import Log
from zdm.net.accepting import HandingEndpoint
from zdm.net.endpoints import ClientEndpoint, ServerEndpoint
from zdm.net.reception import Reception
from zdm.net.session_host import EndpointsOf
from zdm.net.transport import SocketOptions
from zdm.tls_ends import NO_TLS, TlsEnds

if TYPE_CHECKING:  # workers have no use for it
    from zdm.config import Config

_FILES_PER_CLIENT: Final = 3
_OTHER_FILES: Final = 64


def socket_options(config: Config) -> SocketOptions:
    """As configured; the system counts in whole seconds, and less than one is one."""
    seconds = -(-config.tcp_keepalive_ms // 1000)
    return SocketOptions(config.tcp_nodelay, seconds, config.tcp_keepalive_probes)


def dialling(options: SocketOptions, tls: TlsEnds = NO_TLS) -> EndpointsOf:
    """The way to the hosts of either cluster: an endpoint for a host, a port and a timeout in seconds."""
    return lambda side: (
        lambda host, port, timeout: ClientEndpoint(host, port, timeout, options=options, tls=tls.of(side))
    )


def listening(config: Config, reception: Reception | None = None) -> Callable[[str, int], ServerEndpoint]:
    """The way to listen: an endpoint for a host and a port, where a `reception` has those come in who have TLS."""
    options, backlog = socket_options(config), config.proxy_listen_backlog
    return lambda host, port: ServerEndpoint(host, port, backlog, options, reception)


def handing(config: Config) -> Callable[[str, int], HandingEndpoint]:
    """The way to listen for connections that others are to have; their options are set by those."""
    return lambda host, port: HandingEndpoint(host, port, config.proxy_listen_backlog)


def raise_file_limit(config: Config, log: Log) -> None:
    """Use as many open files as the system allows; warn where that is too few for the configured clients."""
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            limit = hard
        except (OSError, ValueError) as refused:  # some systems name no limit and have one
            log.debug(f"The limit of open files stays at {limit}: {refused}")
    lacking = file_shortage(config, limit)
    if lacking:
        log.warn(lacking)


def file_shortage(config: Config, limit: int | None = None) -> str:
    """Why `limit` open files, the hard limit where it is not given, are too few; empty where they are enough."""
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = config.proxy_max_client_connections * _FILES_PER_CLIENT + _OTHER_FILES
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ""
    return (
        f"At most {limit} files can be open, and {config.proxy_max_client_connections} clients "
        f"(proxy_max_client_connections) may need {needed}: raise the limit of open files, or lower that key."
    )
