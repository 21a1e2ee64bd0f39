"""Keys whose feature is not there yet: named in a warning, or refused where silence would be unsafe."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zdm.config import (
    Config,
    ConfigurationError,
    load,
    not_yet_honoured,
    serves_nobody,
    unknown_variables,
    weak_tls,
    without_effect,
)

Environment = Callable[..., None]


def test_keys_without_effect_are_named(environment: Environment) -> None:
    """An operator who asks for tracing must not believe that it happens."""
    environment(ZDM_READ_MODE="dual_async_on_secondary", ZDM_REPLACE_CQL_FUNCTIONS="true", ZDM_TRACING_ENABLED="true")
    assert not_yet_honoured(load()) == [
        "ZDM_TRACING_ENABLED=True",
    ]


def test_defaults_ask_for_nothing_that_is_missing() -> None:
    assert not_yet_honoured(Config(metrics_prefix="x", tracing_rate_limit=5)) == []


@pytest.mark.parametrize(
    ("variables", "feature"),
    [
        (
            {"ORIGIN_SECURE_CONNECT_BUNDLE_PATH": "/b", "ORIGIN_CONTACT_POINTS": ""},
            "secure connect bundles, here for ORIGIN",
        ),
        (
            {"TARGET_SECURE_CONNECT_BUNDLE_PATH": "/b", "TARGET_CONTACT_POINTS": ""},
            "secure connect bundles, here for TARGET",
        ),
    ],
)
def test_tls_that_would_not_happen_is_refused(
    environment: Environment, variables: dict[str, str], feature: str
) -> None:
    """A plain connection with credentials on it is worse than none."""
    environment(**{f"ZDM_{name}": value for name, value in variables.items()})
    with pytest.raises(ConfigurationError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith("this version does not do ")
    assert feature in message
    assert all(f"ZDM_{name}" in message for name, value in variables.items() if value)


def test_a_control_version_that_is_not_spoken_is_refused(environment: Environment) -> None:
    """The reference speaks version 2 too; a start that can't succeed must not be tried for ever."""
    environment(ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION="2")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value) == (
        "this version does not speak protocol version 2, only 3 and 4; raise ZDM_CONTROL_CONN_MAX_PROTOCOL_VERSION"
    )


def test_client_authentication_without_paths_is_no_tls(environment: Environment) -> None:
    """The reference ignores the flag alone, without a word."""
    environment(ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH="true")
    (line,) = weak_tls(load())
    assert line.startswith("ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH is ignored, and clients connect without TLS")


def test_names_that_are_not_checked_are_told_of_once(environment: Environment) -> None:
    """The reference never checks them, so nobody who replaces it is to be refused for it; but nobody knows, either."""
    environment(
        ZDM_ORIGIN_TLS_SERVER_CA_PATH="/ca",
        ZDM_TARGET_TLS_SERVER_CA_PATH="/ca",
        ZDM_TARGET_TLS_VERIFY="Chain",
    )
    (line,) = weak_tls(load())
    assert line.startswith("ZDM_ORIGIN_TLS_VERIFY is not set: of ORIGIN's certificates")
    assert weak_tls(Config()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ORIGIN_TLS_VERIFY", "full"),
        ("TARGET_TLS_VERIFY", "chain"),
        ("ORIGIN_TLS_CLIENT_KEY_PASSPHRASE_FILE", "/p"),
        ("TARGET_TLS_CLIENT_KEY_PASSPHRASE_FILE", "/p"),
        ("PROXY_TLS_KEY_PASSPHRASE_FILE", "/p"),
    ],
)
def test_a_protection_asked_for_in_vain_is_refused(environment: Environment, key: str, value: str) -> None:
    """Whoever wants names checked believes that there is TLS; the reference has no such keys, so no start is kept."""
    environment(**{f"ZDM_{key}": value})
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert f"ZDM_{key} has no meaning without ZDM_" in str(caught.value)


def test_how_much_is_checked_is_one_of_two_words(environment: Environment) -> None:
    """A word that is none must not mean the weaker one."""
    environment(ZDM_ORIGIN_TLS_SERVER_CA_PATH="/ca", ZDM_ORIGIN_TLS_VERIFY="strict")
    with pytest.raises(ConfigurationError) as caught:
        load()
    assert str(caught.value) == (
        'invalid value for ZDM_ORIGIN_TLS_VERIFY; possible values are: full and chain [ZDM_ORIGIN_TLS_VERIFY="strict"]'
    )


def test_variables_that_are_no_keys_are_found(environment: Environment) -> None:
    """A misspelt key is a setting that the operator believes in."""
    environment(ZDM_PROXY_LISTEN_PROT="9042", ZDM_LOOP="asyncio")
    assert unknown_variables() == ["ZDM_PROXY_LISTEN_PROT"]


def test_what_kubernetes_sets_for_a_service_is_no_mistake(environment: Environment) -> None:
    """A service named zdm-proxy puts its address into every container's environment."""
    environment(
        ZDM_PROXY_SERVICE_HOST="10.0.0.1",
        ZDM_PROXY_SERVICE_PORT_CQL="14002",
        ZDM_PROXY_PORT="tcp://10.0.0.1:14002",
        ZDM_PROXY_PORT_14002_TCP_ADDR="10.0.0.1",
        ZDM_PROXY_0_PORT_14002_TCP="tcp://10.0.0.1:14002",
    )
    assert unknown_variables() == []


@pytest.mark.parametrize(
    ("blocked", "is_told"), [("3,4,5", True), ("v3,v4,v5", True), ("3,4", False), ("4,5", False), ("", False)]
)
def test_blocking_every_version_is_told(blocked: str, is_told: bool) -> None:
    """It is valid, and no client could ever connect."""
    text = serves_nobody(Config(blocked_protocol_versions=blocked))
    assert (text is not None) is is_told
    assert text is None or "ZDM_BLOCKED_PROTOCOL_VERSIONS" in text


def test_keys_that_tune_what_is_not_here_are_named(environment: Environment) -> None:
    """They are accepted; whoever set them should not look for their effect."""
    environment(ZDM_READ_MAX_WORKERS="4", ZDM_EVENT_QUEUE_SIZE_FRAMES="12", ZDM_REQUEST_WRITE_BUFFER_SIZE_BYTES="1")
    assert without_effect(load()) == ["ZDM_REQUEST_WRITE_BUFFER_SIZE_BYTES=1", "ZDM_READ_MAX_WORKERS=4"]
