"""What is refused, in the order and with the texts of the reference (spec section 1.3).

Each rule yields its faults; all rules run, so that the operator mends everything in one go. After the reference's rules
come those for what it finds out too late or never (FIX-01, ports that cannot be), and for the keys that it has not. A
text of the reference is followed by the keys and values that it is about.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final, Literal

from zdm.configuration.faults import Fault
from zdm.configuration.keys import Cluster, Config, env_name
from zdm.configuration.literals import parse_buckets, parse_log_level, parse_max_version
from zdm.configuration.support import refused
from zdm.cql.functions import RESULT_TYPES

_LOG_LEVEL: Final = (
    "invalid log level: invalid log level, valid log levels are"
    " PANIC, FATAL, ERROR, WARN or WARNING, INFO, DEBUG and TRACE; original err: "
)
_VERSIONS: Final = "control connection max protocol version, valid values are 2, 3, 4, 5, DseV1, DseV2"
_BLOCKABLE: Final = "[2 3 4 5 DseV1 DseV2 Dse_V1 Dse_V2 v2 v3 v4 v5] (case insensitive)"

_CHOICES: Final = {
    "on_target_connection_lost": ("REATTACH", "CLOSE"),
    "unprepared_recovery": ("PROXY", "CLIENT"),
    "proxy_timeout_response": ("SILENT", "ERROR"),
    "log_format": ("logfmt", "json"),
    "target_enabled_at_start": ("true", "false", "last"),
    "origin_tls_verify": ("full", "chain"),
    "target_tls_verify": ("full", "chain"),
}
_MAY_BE_EMPTY: Final = frozenset({"origin_tls_verify", "target_tls_verify"})
# key -> smallest and largest value with which the proxy can serve; port 0: one that is free
_RANGES: Final = {
    "origin_port": (1, 65535),
    "target_port": (1, 65535),
    "proxy_listen_port": (0, 65535),
    "metrics_port": (0, 65535),
    "metrics_max_tables": (0, 10000),
    "origin_connection_timeout_ms": (1, None),
    "target_connection_timeout_ms": (1, None),
    "proxy_request_timeout_ms": (1, None),
    "proxy_max_client_connections": (1, None),
    "proxy_max_stream_ids": (1, None),
    "heartbeat_interval_ms": (1, None),
    "heartbeat_retry_interval_min_ms": (1, None),
    "heartbeat_retry_interval_max_ms": (1, None),
    "heartbeat_failure_threshold": (1, None),
    "attach_hold_ms": (0, None),
    "max_frame_bytes": (65536, 2**31 - 1),
    "max_inflight_bytes_per_client": (65536, None),
    "max_inflight_bytes": (1048576, None),
    "client_stall_timeout_ms": (0, None),
    "proxy_listen_backlog": (1, 65535),
    "tcp_keepalive_ms": (0, 32767000),
    "tcp_keepalive_probes": (1, 127),
    "schema_request_timeout_ms": (1, None),
    "prepared_cache_entries": (1, None),
    "proxy_drain_timeout_ms": (0, None),
    "target_disable_drain_ms": (0, None),
    "target_park_ms": (0, None),
    "target_probe_interval_ms": (1, None),
}
_MOST_WORKERS: Final = 256

# a name that is none makes Prometheus refuse everything that is scraped; empty: names without a prefix
_METRIC_NAME: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?")

# what fits behind "Bearer " in a header
_TOKEN: Final = re.compile(r"[!-~]*")


def validate(config: Config) -> list[Fault]:
    """Every fault, the one that the reference would name first."""
    faults: list[Fault] = []
    for rule in (
        _log_level,
        _contact_points,
        _buckets,
        _topology,
        _tls,
        _modes,
        _versions,
        _async_buckets,
        _contact_point_ports,
        _choices,
        _tls_without_effect,
        _ranges,
        _functions,
        _workers,
        _metrics_prefix,
        _admin_token,
        refused,
    ):
        faults.extend(rule(config))
    return faults


def _fault(config: Config, text: str, *keys: str) -> Fault:
    given = ", ".join(f'{env_name(key)}="{getattr(config, key)}"' for key in keys)
    return Fault(f"{text} [{given}]", keys)


def _log_level(config: Config) -> Iterator[Fault]:
    try:
        parse_log_level(config.log_level)
    except ValueError as error:
        yield Fault(f"{_LOG_LEVEL}{error}", ("log_level",))


def _contact_points(config: Config) -> Iterator[Fault]:
    clusters: tuple[Cluster, ...] = ("target", "origin")
    for cluster in clusters:
        for text, *names in _cluster_faults(config, cluster):
            keys = [f"{cluster}_{name}" for name in names]
            yield _fault(config, f"invalid {cluster} configuration: {text}", *keys)


def _cluster_faults(config: Config, cluster: Cluster) -> Iterator[tuple[str, ...]]:
    go = cluster.capitalize()
    bundle = getattr(config, f"{cluster}_secure_connect_bundle_path")
    points = config.contact_points(cluster)
    datacenter = getattr(config, f"{cluster}_local_datacenter")
    exclusive = f"{go}SecureConnectBundlePath and {go}%s are mutually exclusive. Please specify only one of them."
    if bundle and points:
        yield exclusive % "ContactPoints", "secure_connect_bundle_path", "contact_points"
    if bundle and datacenter:
        yield exclusive % "LocalDatacenter", "secure_connect_bundle_path", "local_datacenter"
    if not bundle and not points:
        yield (
            f"Both {go}SecureConnectBundlePath and {go}ContactPoints are empty. Please specify either one of them.",
            "secure_connect_bundle_path",
            "contact_points",
        )
    if points and getattr(config, f"{cluster}_port") == 0:
        yield f"{go}ContactPoints was specified but the port is missing. Please provide {go}Port", "port"
    if datacenter and not getattr(config, f"{cluster}_enable_host_assignment"):
        yield (
            f"{go}LocalDatacenter was specified but {go}EnableHostAssignment is false."
            " Please enable host assignment or don't set the datacenter.",
            "local_datacenter",
            "enable_host_assignment",
        )


def _buckets_of(config: Config, which: Literal["origin", "target", "async_read"]) -> Iterator[Fault]:
    key = f"metrics_{which}_latency_buckets_ms"
    try:
        parse_buckets(getattr(config, key))
    except ValueError as error:
        yield Fault(f"could not parse {which.replace('_', ' ')} buckets: {error} [{env_name(key)}]", (key,))


def _buckets(config: Config) -> Iterator[Fault]:
    yield from _buckets_of(config, "origin")
    yield from _buckets_of(config, "target")


def _async_buckets(config: Config) -> Iterator[Fault]:
    yield from _buckets_of(config, "async_read")


def _topology(config: Config) -> Iterator[Fault]:
    addresses = config.topology_addresses()
    for address in addresses:
        if not _is_ip(address):
            text = f"invalid proxy address in ZDM_PROXY_TOPOLOGY_ADDRESSES env var: {address}"
            yield Fault(text, ("proxy_topology_addresses",))
    count = max(len(addresses), 1)
    index = config.proxy_topology_index
    if not 0 <= index < count:
        yield Fault(
            "invalid ZDM_PROXY_TOPOLOGY_INDEX and ZDM_PROXY_TOPOLOGY_ADDRESSES values;"
            f" proxy index ({index}) must be less than length of addresses ({count}) and non negative",
            ("proxy_topology_index", "proxy_topology_addresses"),
        )
    tokens = config.proxy_topology_num_tokens
    if not 1 <= tokens <= 256:
        text = f"invalid ZDM_PROXY_TOPOLOGY_NUM_TOKENS ({tokens}), it must be positive and equal or less than 256"
        yield Fault(text, ("proxy_topology_num_tokens",))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _tls(config: Config) -> Iterator[Fault]:
    for cluster in ("origin", "target"):
        keys = [f"{cluster}_tls_{part}_path" for part in ("server_ca", "client_cert", "client_key")]
        bundle = f"{cluster}_secure_connect_bundle_path"
        is_given = [bool(getattr(config, key)) for key in keys]
        if getattr(config, bundle) and any(is_given):
            text = "Secure Connect Bundle and custom TLS parameters cannot be specified at the same time."
            yield _fault(config, f"Incorrect TLS configuration for {cluster.capitalize()}: {text}", bundle, *keys)
        elif is_given not in ([False] * 3, [True, False, False], [True] * 3):
            text = "when using mutual TLS, please specify Server CA path, Client Cert path and Client Key path"
            yield _fault(config, f"incomplete TLS configuration for {cluster.capitalize()}: {text}", *keys)
    keys = ["proxy_tls_ca_path", "proxy_tls_cert_path", "proxy_tls_key_path"]
    if len({bool(getattr(config, key)) for key in keys}) > 1:
        text = "when enabling proxy TLS, please specify CA path, Cert path and Key path"
        yield _fault(config, f"incomplete Proxy TLS configuration: {text}", *keys)


def _tls_without_effect(config: Config) -> Iterator[Fault]:
    """Keys that the reference has not, so nobody is kept from starting as before; a protection is asked for in vain."""
    for key, needed in (
        ("origin_tls_verify", "origin_tls_server_ca_path"),
        ("target_tls_verify", "target_tls_server_ca_path"),
        ("origin_tls_client_key_passphrase_file", "origin_tls_client_key_path"),
        ("target_tls_client_key_passphrase_file", "target_tls_client_key_path"),
        ("proxy_tls_key_passphrase_file", "proxy_tls_key_path"),
    ):
        if getattr(config, key) and not getattr(config, needed):
            yield _fault(config, f"{env_name(key)} has no meaning without {env_name(needed)}", key)


def _modes(config: Config) -> Iterator[Fault]:
    for key, first, second in (
        ("primary_cluster", "ORIGIN", "TARGET"),
        ("system_queries_mode", "TARGET", "ORIGIN"),
        ("read_mode", "PRIMARY_ONLY", "DUAL_ASYNC_ON_SECONDARY"),
    ):
        if getattr(config, key).upper() not in (first, second):
            yield _fault(config, f"invalid value for {env_name(key)}; possible values are: {first} and {second}", key)


def _versions(config: Config) -> Iterator[Fault]:
    key = "control_conn_max_protocol_version"
    try:
        parse_max_version(config.control_conn_max_protocol_version)
    except LookupError:
        yield _fault(config, f"invalid {_VERSIONS}", key)
    except ValueError as error:
        yield _fault(config, f"could not parse {_VERSIONS}; original err: {error}", key)
    try:
        config.blocked_versions()
    except LookupError as error:
        text = f"invalid value for ZDM_BLOCKED_PROTOCOL_VERSIONS ({error.args[0]}); possible values are: {_BLOCKABLE}"
        yield Fault(text, ("blocked_protocol_versions",))


def _contact_point_ports(config: Config) -> Iterator[Fault]:
    clusters: tuple[Cluster, ...] = ("origin", "target")
    for cluster in clusters:
        key = f"{cluster}_contact_points"
        for point in config.contact_points(cluster):
            if ":" in point and not _is_ip(point):
                text = f'contact point "{point}" must be a host name or an IP address without a port'
                yield Fault(f"{env_name(key)}: {text}; the port is {env_name(cluster)}_PORT", (key,))


def _choices(config: Config) -> Iterator[Fault]:
    for key, choices in _CHOICES.items():
        if key in _MAY_BE_EMPTY and not getattr(config, key):
            continue
        if getattr(config, key).upper() not in [choice.upper() for choice in choices]:
            possible = f"{', '.join(choices[:-1])} and {choices[-1]}"
            yield _fault(config, f"invalid value for {env_name(key)}; possible values are: {possible}", key)


def _ranges(config: Config) -> Iterator[Fault]:
    for key, (low, high) in _RANGES.items():
        value: int = getattr(config, key)
        if key.endswith("_port") and value == 0 and low == 1:
            continue  # the reference's own rule has named it
        if value < low or (high is not None and value > high):
            limits = f"between {low} and {high}" if high is not None else f"at least {low}"
            yield Fault(f"invalid value for {env_name(key)} ({value}), it must be {limits}", (key,))


def _functions(config: Config) -> Iterator[Fault]:
    key = "replace_cql_functions"
    try:
        config.replaced_functions()
    except ValueError as error:
        known = ", ".join(RESULT_TYPES)
        text = f"invalid value for {env_name(key)} ({error}); possible values are: true, false, and lists of {known}"
        yield Fault(text, (key,))


def _workers(config: Config) -> Iterator[Fault]:
    try:
        count = config.worker_count()
    except ValueError:
        count = 0
    if count is not None and not 1 <= count <= _MOST_WORKERS:
        text = f"invalid value for ZDM_WORKERS; it must be auto, or between 1 and {_MOST_WORKERS}"
        yield _fault(config, text, "workers")


def _metrics_prefix(config: Config) -> Iterator[Fault]:
    if not _METRIC_NAME.fullmatch(config.metrics_prefix):
        text = "invalid value for ZDM_METRICS_PREFIX; letters, digits, underscores and colons make a metric's name"
        yield _fault(config, text, "metrics_prefix")


def _admin_token(config: Config) -> Iterator[Fault]:
    if not _TOKEN.fullmatch(config.admin_bearer()):
        text = "invalid value for ZDM_ADMIN_TOKEN; it must be of printable ASCII characters, without spaces"
        yield Fault(text, ("admin_token",))
