"""Variables of the first generation: when they count, what they set, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zdm.config import Config, ConfigurationError, deprecated_variables, load, unknown_variables
from zdm.configuration.legacy import LEGACY_NAMES

Environment = Callable[..., None]

LEGACY = {
    "PROXY_INDEX": "1",
    "PROXY_ADDRESSES": "10.2.0.1, 10.2.0.2",
    "ORIGIN_CASSANDRA_CONTACT_POINTS": "10.0.0.7",
    "ORIGIN_CASSANDRA_USERNAME": "legacy-o",
    "ORIGIN_CASSANDRA_PASSWORD": "hunter-o",
    "ORIGIN_CASSANDRA_PORT": "9043",
    "TARGET_CASSANDRA_CONTACT_POINTS": "10.1.0.7",
    "TARGET_CASSANDRA_USERNAME": "legacy-t",
    "TARGET_CASSANDRA_PASSWORD": "hunter-t",
    "TARGET_CASSANDRA_PORT": "9044",
    "ORIGIN_ENABLE_HOST_ASSIGNMENT": "false",
    "TARGET_ENABLE_HOST_ASSIGNMENT": "f",
    "PROXY_METRICS_ADDRESS": "10.2.0.9",
    "PROXY_METRICS_PORT": "15001",
    "PROXY_QUERY_PORT": "15002",
    "PROXY_QUERY_ADDRESS": "10.2.0.8",
    "CLUSTER_CONNECTION_TIMEOUT_MS": "1500",
    "HEARTBEAT_INTERVAL_MS": "2500",
    "ENABLE_METRICS": "FALSE",
    "MAX_CLIENTS_THRESHOLD": "77",
    "FORWARD_READS_TO_TARGET": "true",
    "FORWARD_SYSTEM_QUERIES_TO_TARGET": "true",
    "REQUEST_TIMEOUT_MS": "3500",
    "LOG_LEVEL": "debug",
}
TODAY = {
    "proxy_topology_index": 1,
    "proxy_topology_addresses": "10.2.0.1, 10.2.0.2",
    "origin_contact_points": "10.0.0.7",
    "origin_username": "legacy-o",
    "origin_port": 9043,
    "target_contact_points": "10.1.0.7",
    "target_username": "legacy-t",
    "target_port": 9044,
    "origin_enable_host_assignment": False,
    "target_enable_host_assignment": False,
    "metrics_address": "10.2.0.9",
    "metrics_port": 15001,
    "proxy_listen_port": 15002,
    "proxy_listen_address": "10.2.0.8",
    "origin_connection_timeout_ms": 1500,
    "target_connection_timeout_ms": 1500,
    "heartbeat_interval_ms": 2500,
    "metrics_enabled": False,
    "proxy_max_client_connections": 77,
    "primary_cluster": "TARGET",
    "system_queries_mode": "TARGET",
    "proxy_request_timeout_ms": 3500,
    "log_level": "debug",
}
NO_ZDM = {
    f"ZDM_{cluster}_{name}": None
    for cluster in ("ORIGIN", "TARGET")
    for name in ("CONTACT_POINTS", "USERNAME", "PASSWORD")
}


@pytest.fixture
def legacy(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment of the first generation, without any `ZDM_` variable but those that are named."""

    def replace(**variables: str | None) -> None:
        ours = {name: value for name, value in variables.items() if name.startswith("ZDM_")}
        environment(**{**NO_ZDM, **ours})
        for name, value in {**LEGACY, **variables}.items():
            if name in ours:
                continue
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    replace()
    return replace


def test_an_environment_of_the_first_generation_is_enough(legacy: Environment) -> None:
    """Every name, each with a value that is not the default."""
    config = load()
    assert {key: getattr(config, key) for key in TODAY} == TODAY
    assert (config.password("origin"), config.password("target")) == ("hunter-o", "hunter-t")
    assert all(getattr(Config(), key) != value for key, value in TODAY.items() if key != "log_level")


def test_the_names_are_those_of_the_first_generation() -> None:
    """All of them are tried above, and no other is read: every one is a name that anybody may have set."""
    assert [legacy.name for legacy in LEGACY_NAMES] == list(LEGACY)


@pytest.mark.parametrize(("text", "cluster"), [("false", "ORIGIN"), ("0", "ORIGIN"), ("1", "TARGET")])
def test_flags_become_the_cluster_that_they_mean(legacy: Environment, text: str, cluster: str) -> None:
    legacy(FORWARD_READS_TO_TARGET=text, FORWARD_SYSTEM_QUERIES_TO_TARGET=text)
    assert (load().primary_cluster, load().system_queries_mode) == (cluster, cluster)


def test_what_is_not_set_has_todays_default(legacy: Environment) -> None:
    """The defaults of that generation differed from release to release."""
    legacy(MAX_CLIENTS_THRESHOLD=None, FORWARD_SYSTEM_QUERIES_TO_TARGET=None)
    config = load()
    assert (config.proxy_max_client_connections, config.system_queries_cluster) == (1000, "origin")
    assert not config.is_set("proxy_max_client_connections")


@pytest.mark.parametrize(
    "variables",
    [
        {"ZDM_ORIGIN_CONTACT_POINTS": "10.0.0.1", "ZDM_TARGET_CONTACT_POINTS": "10.1.0.1"},
        {"ZDM_TARGET_CONTACT_POINTS": "10.1.0.1", "ZDM_ORIGIN_CONTACT_POINTS": None},
        {"ZDM_ORIGIN_SECURE_CONNECT_BUNDLE_PATH": "/bundle"},
        {"ORIGIN_CASSANDRA_CONTACT_POINTS": None},
        {"ORIGIN_CASSANDRA_CONTACT_POINTS": ""},
    ],
)
def test_elsewhere_they_do_not_count(legacy: Environment, variables: dict[str, str | None]) -> None:
    """LOG_LEVEL and the like are set on many machines, for other programs."""
    users = {f"ZDM_{cluster}_{name}": "" for cluster in ("ORIGIN", "TARGET") for name in ("USERNAME", "PASSWORD")}
    legacy(**{**users, **variables}, LOG_LEVEL="nonsense", REQUEST_TIMEOUT_MS="x")
    assert deprecated_variables() == []
    try:
        assert load().proxy_request_timeout_ms == 10000
    except ConfigurationError as error:
        assert "log level" not in str(error) and "TIMEOUT" not in str(error)


def test_a_file_is_read_without_them(legacy: Environment, yaml_file: Callable[..., str]) -> None:
    path = yaml_file("")
    legacy()
    assert load(path).proxy_request_timeout_ms == 10000


def test_a_name_of_today_wins(legacy: Environment, tmp_path: object) -> None:
    """Whoever changes over does so key by key."""
    legacy(ZDM_PROXY_LISTEN_PORT="9", ZDM_ORIGIN_CONNECTION_TIMEOUT_MS="8", ZDM_PRIMARY_CLUSTER="ORIGIN")
    config = load()
    assert (config.proxy_listen_port, config.primary_cluster) == (9, "ORIGIN")
    assert (config.origin_connection_timeout_ms, config.target_connection_timeout_ms) == (8, 1500)
    listed = deprecated_variables()
    assert not any(line.startswith(("PROXY_QUERY_PORT", "FORWARD_READS")) for line in listed)
    assert "CLUSTER_CONNECTION_TIMEOUT_MS -> ZDM_TARGET_CONNECTION_TIMEOUT_MS" in listed


def test_a_password_file_of_today_wins_too(legacy: Environment, tmp_path: object) -> None:
    """They are one key in two forms."""
    path = f"{tmp_path}/password"
    with open(path, "w", encoding="utf-8") as file:
        file.write("from-file\n")
    legacy(ZDM_ORIGIN_PASSWORD_FILE=path)
    assert load().password("origin") == "from-file"


def test_those_in_use_are_listed_with_the_names_that_replace_them(legacy: Environment) -> None:
    """One warning from which the new environment can be written; never with a value."""
    listed = deprecated_variables()
    assert len(listed) == len(LEGACY)
    assert "PROXY_INDEX -> ZDM_PROXY_TOPOLOGY_INDEX" in listed
    assert (
        "CLUSTER_CONNECTION_TIMEOUT_MS -> ZDM_ORIGIN_CONNECTION_TIMEOUT_MS and ZDM_TARGET_CONNECTION_TIMEOUT_MS"
        in listed
    )
    assert "hunter" not in "".join(listed)
    assert unknown_variables() == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("PROXY_QUERY_PORT", "could not load environment variables: ZDM_PROXY_LISTEN_PORT 'x': not a whole number"),
        ("FORWARD_READS_TO_TARGET", "invalid value for ZDM_PRIMARY_CLUSTER; possible values are: ORIGIN and TARGET"),
    ],
)
def test_a_bad_value_is_refused(legacy: Environment, name: str, told: str) -> None:
    """As of today's name; a text that has no number says where it is from."""
    legacy(**{name: "x"})
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert told in str(caught.value)
    assert name.startswith("FORWARD") or f"(from {name})" in str(caught.value)
