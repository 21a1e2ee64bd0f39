"""Configuration out of a YAML file. Spec section 1.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from zdm.config import KEYS, Config, ConfigurationError, load, unknown_yaml_keys

YamlFile = Callable[..., str]


def error_of(path: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    return str(caught.value)


def test_with_a_file_the_environment_is_not_looked_at(yaml_file: YamlFile, environment: Callable[..., None]) -> None:
    """No merge: a stray variable on the machine must not change what the file says."""
    environment(ZDM_ORIGIN_PORT="1", ZDM_METRICS_PORT="x")
    config = load(yaml_file(""))
    assert config.origin_port == 9042
    assert config.origin_username == ""


def test_set_goes_on_top_of_a_file(yaml_file: YamlFile) -> None:
    assert load(yaml_file("origin_port: 1\n"), ["origin_port=2"]).origin_port == 2


def test_a_file_without_keys_has_all_defaults(yaml_file: YamlFile) -> None:
    """`{}` is accepted by the reference; what lacks then are the contact points."""
    message = error_of(yaml_file("{}\n", with_hosts=False))
    assert message.startswith("invalid target configuration: ")


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_is_an_error(yaml_file: YamlFile, text: str) -> None:
    """Most likely the file was not written yet, or cut."""
    assert error_of(yaml_file(text, with_hosts=False)).endswith(": EOF")


def test_an_explicit_empty_document_is_no_error(yaml_file: YamlFile) -> None:
    """`---` says that this is all, and its value is null."""
    assert error_of(yaml_file("---\n", with_hosts=False)).startswith("invalid target configuration: ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "none.yaml")
    assert error_of(path) == f"could not read configuration file {path}: No such file or directory"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("proxy_listen_port: 15000", 15000),
        ("proxy_listen_port: 0x10", 16),
        ("proxy_listen_port: 010", 8),
        ("proxy_listen_port: 1_5", 15),
        ("proxy_listen_port: 12.9", 12),
        ("proxy_listen_port: 1e3", 1000),
        ("proxy_listen_port: 0", 0),
        ("proxy_listen_port:", 14002),
        ("proxy_listen_port: ~", 14002),
        ("origin_username: 5", "5"),
        ("origin_username: 0x10", "0x10"),
        ("origin_username: true", "true"),
        ("origin_username: '~'", "~"),
        ('origin_username: ""', ""),
        ("origin_username: |-\n  user", "user"),
        ("proxy_listen_address: ''", ""),
        ("blocked_protocol_versions: 5", "5"),
        ("metrics_enabled: no", False),
        ("metrics_enabled: Off", False),
        ('metrics_enabled: "no"', False),
        ("metrics_enabled: FALSE", False),
        ("tracing_enabled: y", True),
        ("tracing_enabled: 'on'", True),
        ("replace_cql_functions: true", True),
        ("replace_cql_functions: no", False),
        ("replace_cql_functions:", False),
        ("replace_cql_functions: now", "now"),
        ("replace_cql_functions: [now, uuid()]", "now,uuid()"),
        ("replace_cql_functions:\n  - now\n  - uuid", "now,uuid"),
        ("heartbeat_retry_backoff_factor: 3", 3.0),
        ("heartbeat_retry_backoff_factor: .5", 0.5),
    ],
)
def test_scalars_are_read_as_the_reference_reads_them(yaml_file: YamlFile, line: str, value: Any) -> None:
    """Explicit empty texts and zeros replace the default, a null does not."""
    config = load(yaml_file(line + "\n"))
    got = getattr(config, line.partition(":")[0])
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('proxy_listen_port: "15000"', "quoted '15000' is no int"),
        ("proxy_listen_port: abc", "'abc' is no int"),
        ("proxy_listen_port: 1:30", "'1:30' is no int"),
        ("proxy_listen_port: .inf", "'.inf' is no int"),
        ("proxy_listen_port: 99999999999999999999", "'99999999999999999999' is no int"),
        ("proxy_listen_port: true", "'true' is no int"),
        ("proxy_listen_port: [1]", "a list is no int"),
        ("metrics_enabled: 1", "'1' is no bool"),
        ('metrics_enabled: "true"', "quoted 'true' is no bool"),
        ("heartbeat_retry_backoff_factor: '2'", "quoted '2' is no float"),
        ("origin_contact_points: [a, b]", "a list is no str; write one text; separate the items of a list with commas"),
        ("origin_username: {a: b}", "a mapping is no str"),
        ("replace_cql_functions: {a: b}", "write true, false, or a list of names"),
        ("replace_cql_functions: [[now]]", "write true, false, or a list of names"),
    ],
)
def test_other_values_are_errors_with_line_and_advice(yaml_file: YamlFile, line: str, reason: str) -> None:
    path = yaml_file("# a comment\n" + line + "\ntarget_contact_points: b\norigin_port: 1\n", with_hosts=False)
    key = line.partition(":")[0]
    assert f"could not load configuration file {path}: line 2: {key}: {reason}" in error_of(path)


def test_a_value_that_cannot_be_read_is_one_fault(yaml_file: YamlFile) -> None:
    """A list of contact points is not said to be missing on top of that."""
    path = yaml_file("origin_contact_points: [a, b]\ntarget_contact_points: b\n", with_hosts=False)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert len(caught.value.faults) == 1


def test_a_repeated_key_is_an_error_with_both_lines(yaml_file: YamlFile) -> None:
    """The second of two values, far apart in a long file, is rarely the one that was meant."""
    path = yaml_file("origin_port: 1\norigin_port: 1\n")
    assert error_of(path) == (
        f'could not load configuration file {path}: line 4: mapping key "origin_port" already defined at line 3'
    )


def test_repeated_names_that_are_no_keys_are_errors_too(yaml_file: YamlFile) -> None:
    assert 'mapping key "other" already defined' in error_of(yaml_file("other: 1\nother: 2\n"))


def test_unknown_keys_are_ignored_and_can_be_listed(yaml_file: YamlFile) -> None:
    """A file for the reference may hold keys of later versions; a typing error should still be found."""
    path = yaml_file("origin_prot: 1\nsomething: [1, 2]\n")
    assert load(path).origin_port == 9042
    assert unknown_yaml_keys(path) == ["origin_prot (did you mean origin_port?)", "something"]


@pytest.mark.parametrize("text", ["- a\n", "just text\n"])
def test_a_file_that_is_no_mapping_is_an_error(yaml_file: YamlFile, text: str) -> None:
    assert "line 1: the file must be a mapping" in error_of(yaml_file(text, with_hosts=False))


@pytest.mark.parametrize("value", ["*hunter2", "!hunter2!x", "@hunter2", "[hunter2", "hunter2: x: y", "%hunter2"])
def test_a_text_that_is_no_yaml_is_not_repeated(yaml_file: YamlFile, value: str) -> None:
    """It is often a password that should have been quoted."""
    message = error_of(yaml_file(f"origin_password: {value}\n"))
    assert "not YAML; quote values that hold special characters" in message
    assert "hunter2" not in message


def test_only_the_first_document_counts(yaml_file: YamlFile) -> None:
    assert load(yaml_file("origin_port: 1\n---\norigin_port: 2\n")).origin_port == 1


def test_a_password_file_works_in_yaml(yaml_file: YamlFile, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from-file\n")
    assert load(yaml_file(f"origin_password_file: {tmp_path}/password\n")).password("origin") == "from-file"


def test_the_reference_has_71_keys_with_these_defaults(yaml_file: YamlFile) -> None:
    """The table of section 1.2, in its order, written out: a changed default changes existing deployments."""
    config = load(yaml_file(""))
    buckets = "1, 4, 7, 10, 25, 40, 60, 80, 100, 150, 250, 500, 1000, 2500, 5000, 10000, 15000"
    cluster = {
        "port": 9042,
        "secure_connect_bundle_path": "",
        "local_datacenter": "",
        "username": "",
        "password": "",
        "connection_timeout_ms": 30000,
        "tls_server_ca_path": "",
        "tls_client_cert_path": "",
        "tls_client_key_path": "",
    }
    expected: dict[str, object] = {
        "primary_cluster": "ORIGIN",
        "read_mode": "PRIMARY_ONLY",
        "replace_cql_functions": False,
        "async_handshake_timeout_ms": 4000,
        "log_level": "INFO",
        "control_conn_max_protocol_version": "DseV2",
        "blocked_protocol_versions": "",
        "tracing_enabled": False,
        "tracing_rate_limit": 0,
        "tracing_request_id_key": "request-id",
        "proxy_topology_index": 0,
        "proxy_topology_addresses": "",
        "proxy_topology_num_tokens": 8,
        "origin_contact_points": "10.0.0.1",
        **{f"origin_{key}": value for key, value in cluster.items()},
        "target_contact_points": "10.1.0.1",
        **{f"target_{key}": value for key, value in cluster.items()},
        "proxy_listen_address": "localhost",
        "proxy_listen_port": 14002,
        "proxy_request_timeout_ms": 10000,
        "proxy_max_client_connections": 1000,
        "proxy_max_stream_ids": 2048,
        "proxy_tls_ca_path": "",
        "proxy_tls_cert_path": "",
        "proxy_tls_key_path": "",
        "proxy_tls_require_client_auth": False,
        "metrics_enabled": True,
        "metrics_address": "localhost",
        "metrics_port": 14001,
        "metrics_prefix": "zdm",
        "metrics_origin_latency_buckets_ms": buckets,
        "metrics_target_latency_buckets_ms": buckets,
        "metrics_async_read_latency_buckets_ms": buckets,
        "heartbeat_interval_ms": 30000,
        "heartbeat_retry_interval_min_ms": 250,
        "heartbeat_retry_interval_max_ms": 30000,
        "heartbeat_retry_backoff_factor": 2.0,
        "heartbeat_failure_threshold": 1,
        "system_queries_mode": "ORIGIN",
        "forward_client_credentials_to_origin": False,
        "origin_enable_host_assignment": True,
        "target_enable_host_assignment": True,
        "request_write_queue_size_frames": 128,
        "request_write_buffer_size_bytes": 4096,
        "request_read_buffer_size_bytes": 32768,
        "response_write_queue_size_frames": 128,
        "response_write_buffer_size_bytes": 8192,
        "response_read_buffer_size_bytes": 32768,
        "request_response_max_workers": -1,
        "write_max_workers": -1,
        "read_max_workers": -1,
        "listener_max_workers": -1,
        "event_queue_size_frames": 12,
        "async_connector_write_queue_size_frames": 2048,
        "async_connector_write_buffer_size_bytes": 4096,
    }
    assert len(expected) == 71
    assert list(KEYS[:71]) == list(expected)
    for cluster_name in ("origin", "target"):
        assert config.password("origin" if cluster_name == "origin" else "target") == ""
        del expected[f"{cluster_name}_password"]
    assert {key: getattr(config, key) for key in expected} == expected


def test_a_file_with_every_key_of_the_reference_loads(yaml_file: YamlFile) -> None:
    """As configuration templates write it: what is not set is there as an empty text."""
    empty = Config()
    lines = []
    for key in KEYS[:71]:
        value = getattr(empty, key)
        if isinstance(value, SecretStr | str):
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            lines.append(f'{key}: "{text}"' if not key.endswith("contact_points") else f'{key}: "10.0.0.1"')
        else:
            lines.append(f"{key}: {str(value).lower()}")
    assert len(lines) == 71
    config = load(yaml_file("\n".join(lines) + "\n", with_hosts=False))
    different = [key for key in KEYS if getattr(config, key) != getattr(empty, key)]
    assert different == ["origin_contact_points", "target_contact_points"]
