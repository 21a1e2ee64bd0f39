"""Variables of the first generation of the reference, which had other names and no prefix.

They count only where `ORIGIN_CASSANDRA_CONTACT_POINTS` is set and no `ZDM_` variable says where a cluster is: names
like `LOG_LEVEL` are everybody's, and must not matter to who never heard of that generation. Where they count, a `ZDM_`
variable wins over the old name of the same key. Units are the same, milliseconds; what is not set has today's default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from zdm.configuration.literals import parse_bool

_SIGN: Final = "ORIGIN_CASSANDRA_CONTACT_POINTS"
_PLACES: Final = ("CONTACT_POINTS", "SECURE_CONNECT_BUNDLE_PATH")


def _same(text: str) -> str:
    return text


def _cluster(text: str) -> str:
    """A flag that asks for target. What is no flag goes on as it is, and is refused as no cluster."""
    try:
        return "TARGET" if parse_bool(text) else "ORIGIN"
    except ValueError:
        return text


class LegacyName(NamedTuple):
    """A variable, the keys that it sets, and how its text becomes theirs."""

    name: str
    keys: tuple[str, ...]
    translate: Callable[[str], str] = _same


LEGACY_NAMES: Final = (
    LegacyName("PROXY_INDEX", ("proxy_topology_index",)),
    LegacyName("PROXY_ADDRESSES", ("proxy_topology_addresses",)),
    *(
        LegacyName(f"{cluster.upper()}_CASSANDRA_{name.upper()}", (f"{cluster}_{name}",))
        for cluster in ("origin", "target")
        for name in ("contact_points", "username", "password", "port")
    ),
    LegacyName("ORIGIN_ENABLE_HOST_ASSIGNMENT", ("origin_enable_host_assignment",)),
    LegacyName("TARGET_ENABLE_HOST_ASSIGNMENT", ("target_enable_host_assignment",)),
    LegacyName("PROXY_METRICS_ADDRESS", ("metrics_address",)),
    LegacyName("PROXY_METRICS_PORT", ("metrics_port",)),
    LegacyName("PROXY_QUERY_PORT", ("proxy_listen_port",)),
    LegacyName("PROXY_QUERY_ADDRESS", ("proxy_listen_address",)),
    LegacyName("CLUSTER_CONNECTION_TIMEOUT_MS", ("origin_connection_timeout_ms", "target_connection_timeout_ms")),
    LegacyName("HEARTBEAT_INTERVAL_MS", ("heartbeat_interval_ms",)),
    LegacyName("ENABLE_METRICS", ("metrics_enabled",)),
    LegacyName("MAX_CLIENTS_THRESHOLD", ("proxy_max_client_connections",)),
    LegacyName("FORWARD_READS_TO_TARGET", ("primary_cluster",), _cluster),
    LegacyName("FORWARD_SYSTEM_QUERIES_TO_TARGET", ("system_queries_mode",), _cluster),
    LegacyName("REQUEST_TIMEOUT_MS", ("proxy_request_timeout_ms",)),
    LegacyName("LOG_LEVEL", ("log_level",)),
)


class LegacyValue(NamedTuple):
    """What one key gets from a variable of the first generation."""

    name: str
    key: str
    text: str


def legacy_values(environment: Mapping[str, str]) -> list[LegacyValue]:
    """What the old names give, in their order, for the keys that have no `ZDM_` variable; nothing where they don't
    count."""
    named = (f"ZDM_{cluster}_{place}" for cluster in ("ORIGIN", "TARGET") for place in _PLACES)
    if not environment.get(_SIGN) or any(environment.get(name) for name in named):
        return []
    return [
        LegacyValue(legacy.name, key, legacy.translate(environment[legacy.name]))
        for legacy in LEGACY_NAMES
        if legacy.name in environment
        for key in legacy.keys
        if not {f"ZDM_{key.upper()}", f"ZDM_{key.upper()}_FILE"} & environment.keys()
    ]
