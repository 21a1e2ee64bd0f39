"""What is refused: texts and order of section 1.3, FIX-01, and the rules of the keys that the reference has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zdm.config import Config, ConfigurationError, load

Environment = Callable[..., None]


def error_of() -> str:
    with pytest.raises(ConfigurationError) as caught:
        load()
    return str(caught.value)


LOG_LEVEL = (
    "invalid log level: invalid log level, valid log levels are"
    " PANIC, FATAL, ERROR, WARN or WARNING, INFO, DEBUG and TRACE; original err: "
)
MAX_VERSIONS = "valid values are 2, 3, 4, 5, DseV1, DseV2"
TLS_ORIGIN = (
    "incomplete TLS configuration for Origin: when using mutual TLS,"
    " please specify Server CA path, Client Cert path and Client Key path"
)
TLS_PROXY = (
    "incomplete Proxy TLS configuration: when enabling proxy TLS, please specify CA path, Cert path and Key path"
)
TEXTS = [
    ({"LOG_LEVEL": "LOUD"}, LOG_LEVEL),
    (
        {"TARGET_SECURE_CONNECT_BUNDLE_PATH": "/b.zip"},
        "invalid target configuration: TargetSecureConnectBundlePath and TargetContactPoints are mutually exclusive."
        " Please specify only one of them.",
    ),
    (
        {"ORIGIN_SECURE_CONNECT_BUNDLE_PATH": "/b", "ORIGIN_CONTACT_POINTS": "", "ORIGIN_LOCAL_DATACENTER": "dc1"},
        "invalid origin configuration: OriginSecureConnectBundlePath and OriginLocalDatacenter are mutually exclusive."
        " Please specify only one of them.",
    ),
    (
        {"ORIGIN_CONTACT_POINTS": ""},
        "invalid origin configuration: Both OriginSecureConnectBundlePath and OriginContactPoints are empty."
        " Please specify either one of them.",
    ),
    (
        {"TARGET_CONTACT_POINTS": " , "},
        "invalid target configuration: Both TargetSecureConnectBundlePath and TargetContactPoints are empty."
        " Please specify either one of them.",
    ),
    (
        {"TARGET_PORT": "0"},
        "invalid target configuration: TargetContactPoints was specified but the port is missing."
        " Please provide TargetPort",
    ),
    (
        {"ORIGIN_LOCAL_DATACENTER": "dc1", "ORIGIN_ENABLE_HOST_ASSIGNMENT": "false"},
        "invalid origin configuration: OriginLocalDatacenter was specified but OriginEnableHostAssignment is false."
        " Please enable host assignment or don't set the datacenter.",
    ),
    (
        {"METRICS_ORIGIN_LATENCY_BUCKETS_MS": "1, x"},
        "could not parse origin buckets: unable to parse buckets from 1, x: could not convert x to float",
    ),
    (
        {"METRICS_TARGET_LATENCY_BUCKETS_MS": ""},
        "could not parse target buckets: unable to parse buckets from : could not convert  to float",
    ),
    (
        {"PROXY_TOPOLOGY_ADDRESSES": "10.0.0.1,localhost"},
        "invalid proxy address in ZDM_PROXY_TOPOLOGY_ADDRESSES env var: localhost",
    ),
    (
        {"PROXY_TOPOLOGY_ADDRESSES": "fe80::1%eth0"},
        "invalid proxy address in ZDM_PROXY_TOPOLOGY_ADDRESSES env var: fe80::1%eth0",
    ),
    (
        {"PROXY_TOPOLOGY_ADDRESSES": "10.0.0.1, 10.0.0.2", "PROXY_TOPOLOGY_INDEX": "2"},
        "invalid ZDM_PROXY_TOPOLOGY_INDEX and ZDM_PROXY_TOPOLOGY_ADDRESSES values; proxy index (2) must be less than"
        " length of addresses (2) and non negative",
    ),
    (
        {"PROXY_TOPOLOGY_INDEX": "-1"},
        "invalid ZDM_PROXY_TOPOLOGY_INDEX and ZDM_PROXY_TOPOLOGY_ADDRESSES values; proxy index (-1) must be less than"
        " length of addresses (1) and non negative",
    ),
    (
        {"PROXY_TOPOLOGY_NUM_TOKENS": "257"},
        "invalid ZDM_PROXY_TOPOLOGY_NUM_TOKENS (257), it must be positive and equal or less than 256",
    ),
    ({"ORIGIN_TLS_CLIENT_CERT_PATH": "/c", "ORIGIN_TLS_CLIENT_KEY_PATH": "/k"}, TLS_ORIGIN),
    ({"ORIGIN_TLS_SERVER_CA_PATH": "/a", "ORIGIN_TLS_CLIENT_KEY_PATH": "/k"}, TLS_ORIGIN),
    ({"ORIGIN_TLS_SERVER_CA_PATH": "/a", "ORIGIN_TLS_CLIENT_CERT_PATH": "/c"}, TLS_ORIGIN),
    ({"ORIGIN_TLS_CLIENT_CERT_PATH": "/c"}, TLS_ORIGIN),
    ({"TARGET_TLS_CLIENT_KEY_PATH": "/k"}, TLS_ORIGIN.replace("Origin", "Target")),
    (
        {
            "TARGET_SECURE_CONNECT_BUNDLE_PATH": "/b",
            "TARGET_CONTACT_POINTS": "",
            "TARGET_TLS_SERVER_CA_PATH": "/a",
        },
        "Incorrect TLS configuration for Target: Secure Connect Bundle and custom TLS parameters cannot be specified"
        " at the same time.",
    ),
    ({"PROXY_TLS_CERT_PATH": "/c", "PROXY_TLS_KEY_PATH": "/k"}, TLS_PROXY),
    ({"PROXY_TLS_CA_PATH": "/c"}, TLS_PROXY),
    ({"PRIMARY_CLUSTER": "BOTH"}, "invalid value for ZDM_PRIMARY_CLUSTER; possible values are: ORIGIN and TARGET"),
    (
        {"SYSTEM_QUERIES_MODE": ""},
        "invalid value for ZDM_SYSTEM_QUERIES_MODE; possible values are: TARGET and ORIGIN",
    ),
    (
        {"READ_MODE": "ASYNC_READS_ON_SECONDARY"},
        "invalid value for ZDM_READ_MODE; possible values are: PRIMARY_ONLY and DUAL_ASYNC_ON_SECONDARY",
    ),
    (
        {"CONTROL_CONN_MAX_PROTOCOL_VERSION": "1"},
        f"invalid control connection max protocol version, {MAX_VERSIONS}",
    ),
    (
        {"CONTROL_CONN_MAX_PROTOCOL_VERSION": "v4"},
        f"could not parse control connection max protocol version, {MAX_VERSIONS}; original err: ",
    ),
    (
        {"BLOCKED_PROTOCOL_VERSIONS": "v4, , v6,v7"},
        "invalid value for ZDM_BLOCKED_PROTOCOL_VERSIONS (v6); possible values are:"
        " [2 3 4 5 DseV1 DseV2 Dse_V1 Dse_V2 v2 v3 v4 v5] (case insensitive)",
    ),
]


@pytest.mark.parametrize(("variables", "text"), TEXTS)
def test_faults_have_the_texts_of_the_reference(environment: Environment, variables: dict[str, str], text: str) -> None:
    """Operators and their tools search for these texts, so they come first and to the letter."""
    environment(**{f"ZDM_{name}": value for name, value in variables.items()})
    assert error_of().startswith(text)


def test_faults_come_in_the_order_of_the_reference(environment: Environment) -> None:
    """All in one message; the first is the only one that the reference would name."""
    environment(
        ZDM_LOG_LEVEL="x",
        ZDM_TARGET_PORT="0",
        ZDM_ORIGIN_PORT="0",
        ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS="x",
        ZDM_METRICS_TARGET_LATENCY_BUCKETS_MS="x",
        ZDM_PROXY_TOPOLOGY_ADDRESSES="x",
        ZDM_PROXY_TOPOLOGY_INDEX="9",
        ZDM_PROXY_TOPOLOGY_NUM_TOKENS="0",
        ZDM_ORIGIN_TLS_CLIENT_CERT_PATH="x",
        ZDM_TARGET_TLS_CLIENT_CERT_PATH="x",
        ZDM_PROXY_TLS_CA_PATH="x",
        ZDM_PRIMARY_CLUSTER="x",
        ZDM_SYSTEM_QUERIES_MODE="x",
        ZDM_READ_MODE="x",
        ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION="x",
        ZDM_BLOCKED_PROTOCOL_VERSIONS="x",
        ZDM_METRICS_ASYNC_READ_LATENCY_BUCKETS_MS="x",
        ZDM_LOG_FORMAT="x",
    )
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert [fault.text[:32] for fault in caught.value.faults][:18] == [
        "invalid log level: invalid log l",
        "invalid target configuration: Ta",
        "invalid origin configuration: Or",
        "could not parse origin buckets: ",
        "could not parse target buckets: ",
        "invalid proxy address in ZDM_PRO",
        "invalid ZDM_PROXY_TOPOLOGY_INDEX",
        "invalid ZDM_PROXY_TOPOLOGY_NUM_T",
        "incomplete TLS configuration for",
        "incomplete TLS configuration for",
        "incomplete Proxy TLS configurati",
        "invalid value for ZDM_PRIMARY_CL",
        "invalid value for ZDM_SYSTEM_QUE",
        "invalid value for ZDM_READ_MODE;",
        "could not parse control connecti",
        "invalid value for ZDM_BLOCKED_PR",
        "could not parse async read bucke",
        "invalid value for ZDM_LOG_FORMAT",
    ]


def test_a_fault_shows_the_values_it_is_about(environment: Environment) -> None:
    """The text of the reference names neither the variable nor what it holds."""
    environment(ZDM_ORIGIN_LOCAL_DATACENTER="dc1", ZDM_ORIGIN_ENABLE_HOST_ASSIGNMENT="false")
    assert error_of().endswith('[ZDM_ORIGIN_LOCAL_DATACENTER="dc1", ZDM_ORIGIN_ENABLE_HOST_ASSIGNMENT="False"]')


@pytest.mark.parametrize("which", ["ORIGIN", "TARGET", "ASYNC_READ"])
@pytest.mark.parametrize("buckets", ["1, 1", "2, 1", "0, 1", "-1", "1, nan", "1, inf", "1,,2", "1_0"])
def test_buckets_must_be_positive_and_grow(environment: Environment, which: str, buckets: str) -> None:
    """FIX-01: the reference panics at the first two lists, and starts over and over with a bad third one."""
    environment(**{f"ZDM_METRICS_{which}_LATENCY_BUCKETS_MS": buckets})
    message = error_of()
    assert message.startswith(f"could not parse {which.lower().replace('_', ' ')} buckets: unable to parse buckets")
    assert f"ZDM_METRICS_{which}_LATENCY_BUCKETS_MS" in message


def test_buckets_are_seconds(environment: Environment) -> None:
    environment(ZDM_METRICS_ORIGIN_LATENCY_BUCKETS_MS=" 1 , 2.5,1000")
    assert load().latency_buckets("origin") == (0.001, 0.0025, 1.0)
    assert len(load().latency_buckets("async_read")) == 17


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"ORIGIN_CONTACT_POINTS": "10.0.0.1:9042"},
            'ZDM_ORIGIN_CONTACT_POINTS: contact point "10.0.0.1:9042" must be',
        ),
        ({"TARGET_CONTACT_POINTS": "a,b:1"}, 'ZDM_TARGET_CONTACT_POINTS: contact point "b:1" must be'),
        ({"ON_TARGET_CONNECTION_LOST": "x"}, "invalid value for ZDM_ON_TARGET_CONNECTION_LOST; possible values are:"),
        ({"UNPREPARED_RECOVERY": ""}, "invalid value for ZDM_UNPREPARED_RECOVERY; possible values are: PROXY and"),
        ({"PROXY_TIMEOUT_RESPONSE": "x"}, "invalid value for ZDM_PROXY_TIMEOUT_RESPONSE; possible values are: SILENT"),
        ({"LOG_FORMAT": "x"}, "invalid value for ZDM_LOG_FORMAT; possible values are: logfmt and json"),
        ({"METRICS_PREFIX": "my-app"}, "invalid value for ZDM_METRICS_PREFIX; letters, digits, underscores and colons"),
        ({"METRICS_PREFIX": "9"}, "invalid value for ZDM_METRICS_PREFIX; letters, digits, underscores and colons"),
        ({"ORIGIN_PORT": "65536"}, "invalid value for ZDM_ORIGIN_PORT (65536), it must be between 1 and 65535"),
        ({"PROXY_LISTEN_PORT": "-1"}, "invalid value for ZDM_PROXY_LISTEN_PORT (-1), it must be between 0 and 65535"),
        (
            {"PROXY_REQUEST_TIMEOUT_MS": "0"},
            "invalid value for ZDM_PROXY_REQUEST_TIMEOUT_MS (0), it must be at least 1",
        ),
        ({"PROXY_MAX_CLIENT_CONNECTIONS": "0"}, "invalid value for ZDM_PROXY_MAX_CLIENT_CONNECTIONS (0), it must"),
        ({"HEARTBEAT_RETRY_INTERVAL_MIN_MS": "-5"}, "invalid value for ZDM_HEARTBEAT_RETRY_INTERVAL_MIN_MS (-5), it"),
        ({"HEARTBEAT_RETRY_INTERVAL_MAX_MS": "0"}, "invalid value for ZDM_HEARTBEAT_RETRY_INTERVAL_MAX_MS (0), it"),
        ({"HEARTBEAT_FAILURE_THRESHOLD": "0"}, "invalid value for ZDM_HEARTBEAT_FAILURE_THRESHOLD (0), it must be at"),
        ({"PROXY_MAX_STREAM_IDS": "0"}, "invalid value for ZDM_PROXY_MAX_STREAM_IDS (0), it must be at least 1"),
        ({"MAX_FRAME_BYTES": "9"}, "invalid value for ZDM_MAX_FRAME_BYTES (9), it must be between 65536 and"),
        ({"ATTACH_HOLD_MS": "-1"}, "invalid value for ZDM_ATTACH_HOLD_MS (-1), it must be at least 0"),
        (
            {"SCHEMA_REQUEST_TIMEOUT_MS": "0"},
            "invalid value for ZDM_SCHEMA_REQUEST_TIMEOUT_MS (0), it must be at least",
        ),
        ({"PREPARED_CACHE_ENTRIES": "0"}, "invalid value for ZDM_PREPARED_CACHE_ENTRIES (0), it must be at least 1"),
        (
            {"MAX_INFLIGHT_BYTES_PER_CLIENT": "1000"},
            "invalid value for ZDM_MAX_INFLIGHT_BYTES_PER_CLIENT (1000), it must be at least 65536",
        ),
        ({"MAX_INFLIGHT_BYTES": "0"}, "invalid value for ZDM_MAX_INFLIGHT_BYTES (0), it must be at least 1048576"),
        (
            {"CLIENT_STALL_TIMEOUT_MS": "-1"},
            "invalid value for ZDM_CLIENT_STALL_TIMEOUT_MS (-1), it must be at least 0",
        ),
        ({"PROXY_LISTEN_BACKLOG": "0"}, "invalid value for ZDM_PROXY_LISTEN_BACKLOG (0), it must be between 1 and"),
        ({"TCP_KEEPALIVE_MS": "32767001"}, "invalid value for ZDM_TCP_KEEPALIVE_MS (32767001), it must be between 0"),
        ({"TCP_KEEPALIVE_PROBES": "128"}, "invalid value for ZDM_TCP_KEEPALIVE_PROBES (128), it must be between 1"),
        ({"PROXY_DRAIN_TIMEOUT_MS": "-1"}, "invalid value for ZDM_PROXY_DRAIN_TIMEOUT_MS (-1), it must be at least 0"),
        ({"TARGET_DISABLE_DRAIN_MS": "-1"}, "invalid value for ZDM_TARGET_DISABLE_DRAIN_MS (-1), it must be at least"),
        ({"TARGET_PARK_MS": "-1"}, "invalid value for ZDM_TARGET_PARK_MS (-1), it must be at least 0"),
        ({"TARGET_PROBE_INTERVAL_MS": "0"}, "invalid value for ZDM_TARGET_PROBE_INTERVAL_MS (0), it must be at least"),
        (
            {"TARGET_ENABLED_AT_START": "yes"},
            "invalid value for ZDM_TARGET_ENABLED_AT_START; possible values are: true, false and last "
            '[ZDM_TARGET_ENABLED_AT_START="yes"]',
        ),
        ({"TARGET_ENABLED_AT_START": ""}, "invalid value for ZDM_TARGET_ENABLED_AT_START; possible values are: true,"),
        *[
            ({"WORKERS": text}, "invalid value for ZDM_WORKERS; it must be auto, or between 1 and 256 [ZDM_WORKERS=")
            for text in ("0", "257", "-1", "all", "", "1.5")
        ],
        ({"ADMIN_TOKEN": "two words"}, "invalid value for ZDM_ADMIN_TOKEN; it must be of printable ASCII characters"),
        ({"ADMIN_TOKEN": "token\r"}, "invalid value for ZDM_ADMIN_TOKEN; it must be of printable ASCII characters"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(
    environment: Environment, variables: dict[str, str], text: str
) -> None:
    """Rather than found out when the first client comes."""
    environment(**{f"ZDM_{name}": value for name, value in variables.items()})
    assert error_of().startswith(text)


@pytest.mark.parametrize(
    "variables",
    [
        {"LOG_LEVEL": " warning "},
        {"LOG_LEVEL": "Panic"},
        {"PRIMARY_CLUSTER": "Target"},
        {"SYSTEM_QUERIES_MODE": "target"},
        {"READ_MODE": "dual_async_on_secondary"},
        {"CONTROL_CONN_MAX_PROTOCOL_VERSION": "dsev1"},
        {"BLOCKED_PROTOCOL_VERSIONS": "DSE_V2, v5 ,,5"},
        {"PROXY_TOPOLOGY_ADDRESSES": "::1, 10.0.0.2", "PROXY_TOPOLOGY_INDEX": "1"},
        {"PROXY_TOPOLOGY_NUM_TOKENS": "256"},
        {"ORIGIN_CONTACT_POINTS": " a , ::1,"},
        {"PROXY_TLS_REQUIRE_CLIENT_AUTH": "true"},
        {"ORIGIN_ENABLE_HOST_ASSIGNMENT": "false"},
        {"ON_TARGET_CONNECTION_LOST": "close", "UNPREPARED_RECOVERY": "client", "PROXY_TIMEOUT_RESPONSE": "error"},
        {"PROXY_LISTEN_PORT": "0", "METRICS_PORT": "0"},
        {"PROXY_DRAIN_TIMEOUT_MS": "0", "ATTACH_HOLD_MS": "0"},
        {"LOG_FORMAT": "JSON"},
        {"CLIENT_STALL_TIMEOUT_MS": "0", "TCP_KEEPALIVE_MS": "0", "TCP_NODELAY": "false"},
        {"TARGET_DISABLE_DRAIN_MS": "0", "TARGET_PARK_MS": "0", "TARGET_PROBE_INTERVAL_MS": "1"},
        {"TARGET_ENABLED_AT_START": "True"},
        {"TARGET_ENABLED_AT_START": "FALSE"},
        {"TARGET_ENABLED_AT_START": "Last"},
        {"ADMIN_TOKEN": "~s3cret/+=._-!"},
    ],
)
def test_what_the_reference_accepts_is_accepted(environment: Environment, variables: dict[str, str]) -> None:
    """Any case, blanks around, the limits of ranges."""
    environment(**{f"ZDM_{name}": value for name, value in variables.items()})
    load()


def test_a_token_that_cannot_be_is_not_repeated(environment: Environment) -> None:
    """It may differ from the right one by the space that a copy brought along."""
    environment(ZDM_ADMIN_TOKEN="at-secret ")
    assert "at-secret" not in error_of()


def test_lists_and_names_are_given_in_the_form_that_is_used(environment: Environment) -> None:
    environment(
        ZDM_ORIGIN_CONTACT_POINTS=" a , ::1,",
        ZDM_PROXY_TOPOLOGY_ADDRESSES="10.0.0.1 ,10.0.0.2",
        ZDM_BLOCKED_PROTOCOL_VERSIONS="v5, dsev1,DSE_V2, 5",
        ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION="4",
        ZDM_SYSTEM_QUERIES_MODE="target",
        ZDM_LOG_LEVEL=" warning",
    )
    config = load()
    assert config.contact_points("origin") == ["a", "::1"]
    assert config.topology_addresses() == ["10.0.0.1", "10.0.0.2"]
    assert config.blocked_versions() == [5, 0x41, 0x42, 5]
    assert config.control_max_version() == 4
    assert config.system_queries_cluster == "target"
    assert config.log_level_name == "WARN"
    assert Config().topology_addresses() == []
    assert Config().control_max_version() == 0x42


@pytest.mark.parametrize(("text", "count"), [("auto", None), ("AUTO", None), ("1", 1), ("256", 256)])
def test_the_number_of_workers_may_follow_from_the_cpus(environment: Environment, text: str, count: int | None) -> None:
    """None says so: how many there are is known where they are started."""
    environment(ZDM_WORKERS=text)
    assert load().worker_count() == count


ALL_FUNCTIONS = {"now", "uuid", "currenttimeuuid", "currenttimestamp", "currentdate", "currenttime"}


@pytest.mark.parametrize(
    ("text", "functions"),
    [
        *(("true", ALL_FUNCTIONS), ("1", ALL_FUNCTIONS), ("false", set()), ("F", set()), ("now", {"now"}), ("", set())),
        *(("NOW(), Uuid", {"now", "uuid"}), ("[now,current_timestamp]", {"now", "currenttimestamp"})),
    ],
)
def test_functions_are_all_or_none_or_named(environment: Environment, text: str, functions: set[str]) -> None:
    """A flag as with the reference, where it means now() alone, or a list."""
    environment(ZDM_REPLACE_CQL_FUNCTIONS=text)
    assert load().replaced_functions() == functions


@pytest.mark.parametrize("text", ["later", "now, later", "yes", "now uuid"])
def test_a_function_that_is_none_is_named(environment: Environment, text: str) -> None:
    environment(ZDM_REPLACE_CQL_FUNCTIONS=text)
    wrong = text.split(", ")[-1]
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value) == (
        f"invalid value for ZDM_REPLACE_CQL_FUNCTIONS ({wrong}); possible values are: true, false, and lists of "
        "now, currenttimeuuid, uuid, currenttimestamp, currentdate, currenttime"
    )
