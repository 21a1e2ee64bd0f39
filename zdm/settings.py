"""The configuration as the inner rings know it."""

from __future__ import annotations

import socket

from zdm.config import Config
from zdm.core.clusters import Side, other
from zdm.core.snapshot import Settings
from zdm.core.topology import ProxyTopology
from zdm.metrics import Meter
from zdm.protocol.frames import SUPPORTED_VERSIONS


def session_settings(config: Config, workers: int = 1) -> Settings:
    """What sessions decide by: milliseconds become seconds, words become values.

    What all clients together may have in flight is divided among the workers.
    """
    return Settings(
        primary=Side[config.primary.upper()],
        system_queries=Side[config.system_queries_cluster.upper()],
        request_timeout=config.proxy_request_timeout_ms / 1000,
        schema_timeout=max(config.schema_request_timeout_ms, config.proxy_request_timeout_ms) / 1000,
        answer_timeouts=config.proxy_timeout_response.upper() == "ERROR",
        max_streams=config.proxy_max_stream_ids,
        max_streams_set=config.is_set("proxy_max_stream_ids"),
        forward_client_credentials_to_origin=config.forward_client_credentials_to_origin,
        reattach_target=config.on_target_connection_lost.upper() == "REATTACH",
        mend_unprepared=config.unprepared_recovery.upper() == "PROXY",
        max_frame_bytes=config.max_frame_bytes,
        client_inflight_bytes=config.max_inflight_bytes_per_client,
        inflight_bytes=config.max_inflight_bytes // workers,
        client_stall=config.client_stall_timeout_ms / 1000 or None,
        heartbeat_interval=config.heartbeat_interval_ms / 1000,
        attach_hold=config.attach_hold_ms / 1000,
        target_disable_drain=config.target_disable_drain_ms / 1000,
        target_park=config.target_park_ms / 1000,
        replaced_functions=config.replaced_functions(),
        stamp_write_timestamps=config.stamp_write_timestamps,
        versions=frozenset(SUPPORTED_VERSIONS) - frozenset(config.blocked_versions()),
        copies_reads=copies_to(config) is not None,
        copies_waiting=config.async_connector_write_queue_size_frames,
        copies_handshake_timeout=config.async_handshake_timeout_ms / 1000,
    )


def proxy_topology(config: Config) -> ProxyTopology:
    """The fleet as configured, or this proxy alone under the address it listens on (section 1.4)."""
    addresses = tuple(config.topology_addresses())
    return ProxyTopology(
        addresses or (_first_ipv4(config.proxy_listen_address),),
        config.proxy_topology_index if addresses else 0,
        config.proxy_topology_num_tokens,
        not addresses,
        config.proxy_listen_port,
        config.proxy_advertised_datacenter,
        config.proxy_advertised_rack,
    )


def new_meter(config: Config) -> Meter:
    """Counters with the configured latency buckets."""
    bounds = config.latency_buckets("origin"), config.latency_buckets("target"), config.latency_buckets("async_read")
    return Meter(*bounds, copies_to(config), config.metrics_max_tables)


def copies_to(config: Config) -> Side | None:
    """The cluster that reads are copied to, where they are."""
    if config.read_mode.upper() != "DUAL_ASYNC_ON_SECONDARY":
        return None
    return other(Side[config.primary.upper()])


def _first_ipv4(host: str) -> str:
    """The first IPv4 address of a name; 127.0.0.1 where it has none."""
    try:
        return str(socket.getaddrinfo(host or "localhost", None, socket.AF_INET)[0][4][0])
    except (OSError, UnicodeError):  # a name that cannot be one
        return "127.0.0.1"
