"""All keys: name, type, default, meaning. Spec section 1.2, in its order; then the keys that the reference has not.

A key is an attribute of `Config`, a YAML key of the same name, and the environment variable `ZDM_<NAME>`. Values are
kept as they were written (`primary_cluster` may read `origin`); the methods below give them in the form that is used.
Being set and being valid are different things: `zdm.configuration.rules` decides the second.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AliasGenerator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from zdm.configuration.literals import (
    comma_list,
    parse_blocked_versions,
    parse_bool,
    parse_buckets,
    parse_flag_or_text,
    parse_float,
    parse_functions,
    parse_int,
    parse_log_level,
    parse_max_version,
)

Cluster = Literal["origin", "target"]

REQUIRED: Final = ("origin_username", "origin_password", "target_username", "target_password")
SECRETS: Final = ("origin_password", "target_password", "admin_token")

_BUCKETS: Final = "1, 4, 7, 10, 25, 40, 60, 80, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 15000"
_TUNING: Final = "accepted for compatibility; buffers here size themselves"
_WORKERS: Final = "accepted for compatibility; there are no such pools here"

_Int = Annotated[int, BeforeValidator(lambda value: parse_int(value) if isinstance(value, str) else value)]
_Bool = Annotated[bool, BeforeValidator(lambda value: parse_bool(value) if isinstance(value, str) else value)]
_Float = Annotated[float, BeforeValidator(lambda value: parse_float(value) if isinstance(value, str) else value)]
_Functions = Annotated[
    bool | str, BeforeValidator(lambda value: parse_flag_or_text(value) if isinstance(value, str) else value)
]
LISTS: Final = ("replace_cql_functions",)
"""Keys that may hold a list of texts in YAML."""


def env_name(key: str) -> str:
    return "ZDM_" + key.upper()


def _key(default: Any, meaning: str) -> Any:
    return Field(default, description=meaning)


class Config(BaseSettings):
    """The whole configuration: frozen, complete, without secrets in its repr.

    Made by `zdm.config.load`. Made directly (`Config(origin_port=9043)`) it reads nothing, checks types only,
    and has the defaults for the rest: for tests and for the sandbox.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        case_sensitive=True,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=env_name),
    )

    primary_cluster: str = _key("ORIGIN", "whose read results reach the client: ORIGIN or TARGET")
    read_mode: str = _key("PRIMARY_ONLY", "PRIMARY_ONLY, or DUAL_ASYNC_ON_SECONDARY: reads are copied to the secondary")
    replace_cql_functions: _Functions = _key(
        False, "calls in writes that become one value for both clusters: false, true (all), or names such as now, uuid"
    )
    async_handshake_timeout_ms: _Int = _key(4000, "limit of each request while the connection of copied reads opens")
    log_level: str = _key("INFO", "PANIC, FATAL, ERROR, WARN, INFO, DEBUG or TRACE")
    control_conn_max_protocol_version: str = _key(
        "DseV2", "highest version of control connections: 2 to 5, DseV1, DseV2"
    )
    blocked_protocol_versions: str = _key(
        "", "comma list of versions refused to clients: 2, v2 ... 5, v5, DseV1, DseV2"
    )
    tracing_enabled: _Bool = _key(False, "give requests an id in their custom payload, and log it")
    tracing_rate_limit: _Int = _key(0, "traced requests per second, 0 or less: all")
    tracing_request_id_key: str = _key("request-id", "custom payload key of the request id")
    proxy_topology_index: _Int = _key(0, "which of proxy_topology_addresses this instance is, from 0")
    proxy_topology_addresses: str = _key("", "comma list of the IP addresses of all instances, the same list for each")
    proxy_topology_num_tokens: _Int = _key(8, "tokens each instance shows in system tables, 1 to 256")
    origin_contact_points: str = _key("", "comma list of host names or IP addresses, without ports")
    origin_port: _Int = _key(9042, "native protocol port of origin")
    origin_secure_connect_bundle_path: str = _key("", "Astra secure connect bundle of origin")
    origin_local_datacenter: str = _key("", "datacenter of origin to use, empty: that of the first contact point")
    origin_username: str = _key("", "user of origin; required when the environment is read")
    origin_password: SecretStr = _key(SecretStr(""), "password of origin; required when the environment is read")
    origin_connection_timeout_ms: _Int = _key(30000, "limit of opening one connection to origin")
    origin_tls_server_ca_path: str = _key("", "certificate authority that signed origin's certificates (PEM)")
    origin_tls_client_cert_path: str = _key("", "client certificate shown to origin (PEM or PKCS#12)")
    origin_tls_client_key_path: str = _key("", "key of that certificate (PEM, or the same PKCS#12 file)")
    target_contact_points: str = _key("", "comma list of host names or IP addresses, without ports")
    target_port: _Int = _key(9042, "native protocol port of target")
    target_secure_connect_bundle_path: str = _key("", "Astra secure connect bundle of target")
    target_local_datacenter: str = _key("", "datacenter of target to use, empty: that of the first contact point")
    target_username: str = _key("", "user of target; required when the environment is read")
    target_password: SecretStr = _key(SecretStr(""), "password of target; required when the environment is read")
    target_connection_timeout_ms: _Int = _key(30000, "limit of opening one connection to target")
    target_tls_server_ca_path: str = _key("", "certificate authority that signed target's certificates (PEM)")
    target_tls_client_cert_path: str = _key("", "client certificate shown to target (PEM or PKCS#12)")
    target_tls_client_key_path: str = _key("", "key of that certificate (PEM, or the same PKCS#12 file)")
    proxy_listen_address: str = _key("localhost", "address that clients connect to")
    proxy_listen_port: _Int = _key(14002, "port that clients connect to")
    proxy_request_timeout_ms: _Int = _key(10000, "limit of a request, from arrival to answer")
    proxy_max_client_connections: _Int = _key(1000, "client connections at a time; one more is closed at once")
    proxy_max_stream_ids: _Int = _key(2048, "requests in flight per connection to a cluster")
    proxy_tls_ca_path: str = _key("", "certificate authority that clients' certificates are checked with (PEM)")
    proxy_tls_cert_path: str = _key("", "certificate shown to clients (PEM or PKCS#12)")
    proxy_tls_key_path: str = _key("", "key of that certificate (PEM, or the same PKCS#12 file)")
    proxy_tls_require_client_auth: _Bool = _key(False, "clients must show a certificate")
    metrics_enabled: _Bool = _key(True, "serve /metrics")
    metrics_address: str = _key("localhost", "address of the HTTP server: metrics and health")
    metrics_port: _Int = _key(14001, "port of the HTTP server")
    metrics_prefix: str = _key("zdm", "first part of every metric's name")
    metrics_origin_latency_buckets_ms: str = _key(_BUCKETS, "bounds of the latency histograms of origin")
    metrics_target_latency_buckets_ms: str = _key(_BUCKETS, "bounds of the latency histograms of target")
    metrics_async_read_latency_buckets_ms: str = _key(_BUCKETS, "bounds of the latency histograms of copied reads")
    heartbeat_interval_ms: _Int = _key(30000, "idle time after which a connection to a cluster gets a heartbeat")
    heartbeat_retry_interval_min_ms: _Int = _key(250, "first delay before a control connection is opened again")
    heartbeat_retry_interval_max_ms: _Int = _key(30000, "longest delay before a control connection is opened again")
    heartbeat_retry_backoff_factor: _Float = _key(2.0, "growth of that delay from try to try")
    heartbeat_failure_threshold: _Int = _key(1, "failures of a control connection after which readiness says DOWN")
    system_queries_mode: str = _key("ORIGIN", "which cluster answers reads of system tables: ORIGIN or TARGET")
    forward_client_credentials_to_origin: _Bool = _key(False, "the client's credentials are origin's, not target's")
    origin_enable_host_assignment: _Bool = _key(True, "share the hosts of origin among the instances")
    target_enable_host_assignment: _Bool = _key(True, "share the hosts of target among the instances")
    request_write_queue_size_frames: _Int = _key(128, _TUNING)
    request_write_buffer_size_bytes: _Int = _key(4096, _TUNING)
    request_read_buffer_size_bytes: _Int = _key(32768, _TUNING)
    response_write_queue_size_frames: _Int = _key(128, _TUNING)
    response_write_buffer_size_bytes: _Int = _key(8192, _TUNING)
    response_read_buffer_size_bytes: _Int = _key(32768, _TUNING)
    request_response_max_workers: _Int = _key(-1, _WORKERS)
    write_max_workers: _Int = _key(-1, _WORKERS)
    read_max_workers: _Int = _key(-1, _WORKERS)
    listener_max_workers: _Int = _key(-1, _WORKERS)
    event_queue_size_frames: _Int = _key(12, _TUNING)
    async_connector_write_queue_size_frames: _Int = _key(2048, "copied reads waiting to be sent; more are dropped")
    async_connector_write_buffer_size_bytes: _Int = _key(4096, _TUNING)

    origin_password_file: str = _key("", "file that holds origin_password, instead of it")
    target_password_file: str = _key("", "file that holds target_password, instead of it")
    origin_tls_verify: str = _key(
        "", "full: origin's certificates must be valid for the address that is dialled; chain, or empty: for any"
    )
    origin_tls_client_key_passphrase_file: str = _key(
        "", "file that holds the passphrase of origin_tls_client_key_path"
    )
    target_tls_verify: str = _key(
        "", "full: target's certificates must be valid for the address that is dialled; chain, or empty: for any"
    )
    target_tls_client_key_passphrase_file: str = _key(
        "", "file that holds the passphrase of target_tls_client_key_path"
    )
    proxy_tls_key_passphrase_file: str = _key("", "file that holds the passphrase of proxy_tls_key_path")
    on_target_connection_lost: str = _key(
        "REATTACH", "REATTACH: clients stay, target is attached again; CLOSE: they go too"
    )
    attach_hold_ms: _Int = _key(2000, "longest time a request waits for target to be attached")
    unprepared_recovery: str = _key("PROXY", "who prepares again what a cluster forgot: PROXY or CLIENT")
    stamp_write_timestamps: _Bool = _key(False, "give writes without a timestamp one, the same for both clusters")
    proxy_timeout_response: str = _key("SILENT", "a request that timed out gets no answer (SILENT) or an ERROR")
    max_frame_bytes: _Int = _key(268435456, "largest frame accepted from a client or a cluster")
    max_inflight_bytes_per_client: _Int = _key(
        16777216, "bytes of one client's requests and answers under way; over it the client is not read"
    )
    max_inflight_bytes: _Int = _key(
        268435456, "the same of all clients together; over it those who have most are not read"
    )
    client_stall_timeout_ms: _Int = _key(
        60000, "longest time that a client may take nothing of its answers; then it is closed; 0: for ever"
    )
    proxy_listen_backlog: _Int = _key(1024, "connections that may wait to be accepted; the system may allow fewer")
    tcp_nodelay: _Bool = _key(True, "send small writes at once, on the connections of clients and clusters")
    tcp_keepalive_ms: _Int = _key(
        15000, "silence after which the other end of a connection is probed, and time between probes; 0: no probes"
    )
    tcp_keepalive_probes: _Int = _key(9, "probes without an answer after which a connection is given up")
    log_format: str = _key("logfmt", "logfmt or json")
    workers: str = _key("auto", "processes that serve clients: a number, or auto: one for each CPU that may be used")
    proxy_advertised_datacenter: str = _key("", "datacenter shown to clients, empty: that of the cluster asked")
    proxy_advertised_rack: str = _key("", "rack shown to clients, empty: that of the cluster asked")
    schema_request_timeout_ms: _Int = _key(60000, "limit of CREATE, ALTER, DROP and TRUNCATE")
    prepared_cache_entries: _Int = _key(100000, "prepared statements remembered; the longest unused goes first")
    proxy_drain_timeout_ms: _Int = _key(30000, "longest time that a shutdown waits for requests in flight")
    target_disable_drain_ms: _Int = _key(
        1000, "longest time that requests already sent to target are waited for once it is disabled"
    )
    target_park_ms: _Int = _key(5000, "time that connections to a disabled target are kept for a quick enable")
    target_probe_interval_ms: _Int = _key(60000, "time between two looks at a disabled target")
    state_file: str = _key(
        "",
        "file that keeps whether target is enabled, and the logins it accepted, over restarts; empty: nothing is kept",
    )
    target_enabled_at_start: str = _key(
        "last", "true, false, or last: as state_file has it, and true where that holds nothing"
    )
    admin_token: SecretStr = _key(
        SecretStr(""), "bearer token of calls that change something; needed where metrics_address is not a loopback one"
    )
    admin_token_file: str = _key("", "file that holds admin_token, instead of it")
    metrics_max_tables: _Int = _key(
        0, "tables whose writes each worker counts one by one, the first that are written to; the rest together"
    )
    admin_audit_file: str = _key("", "file to which each change of target's state is appended as a line of JSON")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # which sources count depends on the command line: zdm.configuration.sources
        return (init_settings,)

    def is_set(self, key: str) -> bool:
        """Whether the operator gave this key, be it with the default's value."""
        if key not in type(self).model_fields:
            raise KeyError(key)
        return key in self.model_fields_set

    @property
    def primary(self) -> Cluster:
        return "target" if self.primary_cluster.upper() == "TARGET" else "origin"

    @property
    def system_queries_cluster(self) -> Cluster:
        return "target" if self.system_queries_mode.upper() == "TARGET" else "origin"

    @property
    def log_level_name(self) -> str:
        """PANIC, FATAL, ERROR, WARN, INFO, DEBUG or TRACE."""
        return parse_log_level(self.log_level)

    def replaced_functions(self) -> frozenset[str]:
        """The functions whose calls become values, as `zdm.cql.functions` names them; ValueError holds a wrong one."""
        return parse_functions(self.replace_cql_functions)

    def worker_count(self) -> int | None:
        """The number that was asked for; None where it is to follow from the CPUs."""
        return None if self.workers.lower() == "auto" else parse_int(self.workers)

    def contact_points(self, cluster: Cluster) -> list[str]:
        text: str = getattr(self, f"{cluster}_contact_points")
        return [item for item in comma_list(text) if item]

    def password(self, cluster: Cluster) -> str:
        """The password itself; everything else prints it as asterisks."""
        secret: SecretStr = getattr(self, f"{cluster}_password")
        return secret.get_secret_value()

    def admin_bearer(self) -> str:
        """The admin token itself; empty where there is none."""
        return self.admin_token.get_secret_value()

    def topology_addresses(self) -> list[str]:
        """The IP addresses of all instances; empty where none were given (spec section 1.4)."""
        return comma_list(self.proxy_topology_addresses)

    def latency_buckets(self, which: Literal["origin", "target", "async_read"]) -> tuple[float, ...]:
        """Upper bounds in seconds."""
        text: str = getattr(self, f"metrics_{which}_latency_buckets_ms")
        return parse_buckets(text)

    def control_max_version(self) -> int:
        """Version byte: 2 to 5, 0x41, 0x42."""
        return parse_max_version(self.control_conn_max_protocol_version)

    def blocked_versions(self) -> list[int]:
        """Version bytes as listed, duplicates kept."""
        return parse_blocked_versions(self.blocked_protocol_versions)


KEYS: Final = tuple(Config.model_fields)
