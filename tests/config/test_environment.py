"""Configuration out of the environment. Spec section 1.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zdm.config import ConfigurationError, load

Environment = Callable[..., None]


def error_of(config_file: str | None = None, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(config_file, overrides)
    return str(caught.value)


def test_the_environment_gives_every_kind_of_value(environment: Environment) -> None:
    """One key of each type, so that a wrong type of the table shows."""
    environment(
        ZDM_PRIMARY_CLUSTER="target",
        ZDM_PROXY_LISTEN_PORT="15000",
        ZDM_METRICS_ENABLED="f",
        ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR="1.5",
    )
    config = load()
    assert config.primary_cluster == "target"
    assert config.primary == "target"
    assert config.proxy_listen_port == 15000
    assert config.metrics_enabled is False
    assert config.heartbeat_retry_backoff_factor == 1.5
    assert config.origin_username == "ou"
    assert config.password("target") == "tp-secret"


@pytest.mark.parametrize(
    ("text", "number"),
    [("0x10", 16), ("010", 8), ("0o17", 15), ("0b11", 3), ("1_000", 1000), ("+7", 7), ("0", 0)],
)
def test_whole_numbers_are_go_literals(environment: Environment, text: str, number: int) -> None:
    """Existing deployments may use any base; 010 in particular is eight."""
    environment(ZDM_TRACING_RATE_LIMIT=text)
    assert load().tracing_rate_limit == number


def test_a_whole_number_may_be_negative(environment: Environment) -> None:
    """-1 is what the worker keys have as default."""
    environment(ZDM_TRACING_RATE_LIMIT="-0x10")
    assert load().tracing_rate_limit == -16


@pytest.mark.parametrize("text", ["", "abc", "1.5", " 1", "1__0", "08", "0x", "1_", "9223372036854775808"])
def test_other_texts_are_no_whole_numbers(environment: Environment, text: str) -> None:
    """Set but empty is an error for a number, and blanks are not trimmed."""
    environment(ZDM_TRACING_RATE_LIMIT=text)
    message = error_of()
    assert message.startswith("could not load environment variables: ")
    assert f"ZDM_TRACING_RATE_LIMIT {text!r}" in message


@pytest.mark.parametrize(
    ("text", "flag"),
    [(text, True) for text in ("1", "t", "T", "TRUE", "true", "True")]
    + [(text, False) for text in ("0", "f", "F", "FALSE", "false", "False")],
)
def test_flags_are_go_literals(environment: Environment, text: str, flag: bool) -> None:
    environment(ZDM_PROXY_TLS_REQUIRE_CLIENT_AUTH=text)
    assert load().proxy_tls_require_client_auth is flag


@pytest.mark.parametrize("text", ["", "yes", "no", "on", "off", "tRUE", "2"])
def test_other_texts_are_no_flags(environment: Environment, text: str) -> None:
    """`yes` is a flag in YAML only."""
    environment(ZDM_TRACING_ENABLED=text)
    assert f"ZDM_TRACING_ENABLED {text!r}" in error_of()


@pytest.mark.parametrize("text", ["", "two", "inf", "nan", "1e999"])
def test_other_texts_are_no_decimals(environment: Environment, text: str) -> None:
    environment(ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR=text)
    assert "ZDM_HEARTBEAT_RETRY_BACKOFF_FACTOR" in error_of()


def test_required_keys_are_named_in_the_order_of_declaration(environment: Environment) -> None:
    """The operator sees the first of the reference first, and the others at once."""
    names = ["ORIGIN_USERNAME", "ORIGIN_PASSWORD", "TARGET_USERNAME", "TARGET_PASSWORD"]
    environment(**{f"ZDM_{name}": None for name in names})
    message = error_of()
    assert message.startswith("could not load environment variables: required key ZDM_ORIGIN_USERNAME missing value")
    assert sorted(names, key=message.index) == names


def test_a_required_key_may_be_empty(environment: Environment) -> None:
    """Clusters without authentication: set but empty is a value."""
    environment(ZDM_ORIGIN_USERNAME="", ZDM_ORIGIN_PASSWORD="")
    assert load().origin_username == ""


def test_faults_of_reading_come_in_the_order_of_declaration(environment: Environment) -> None:
    """A bad port of the proxy lies behind the missing target password, as in the reference."""
    environment(ZDM_PROXY_LISTEN_PORT="x", ZDM_TARGET_PASSWORD=None, ZDM_TRACING_RATE_LIMIT="y")
    message = error_of()
    named = ["ZDM_TRACING_RATE_LIMIT", "ZDM_TARGET_PASSWORD", "ZDM_PROXY_LISTEN_PORT"]
    assert sorted(named, key=message.index) == named


def test_rules_are_told_along_with_faults_of_reading(environment: Environment) -> None:
    """One round of mending, not one per fault; but a key that could not be read is named once."""
    environment(ZDM_PROXY_TOPOLOGY_INDEX="x", ZDM_PRIMARY_CLUSTER="BOTH")
    message = error_of()
    assert "invalid value for ZDM_PRIMARY_CLUSTER" in message
    assert message.count("PROXY_TOPOLOGY_INDEX") == 1


def test_names_in_lower_case_are_not_ours(environment: Environment) -> None:
    """The environment of the reference is case-sensitive."""
    environment(zdm_origin_port="1")
    assert load().origin_port == 9042


def test_set_goes_on_top(environment: Environment) -> None:
    """Either form of the name; the last one counts."""
    environment(ZDM_ORIGIN_PORT="1", ZDM_TARGET_USERNAME=None)
    config = load(None, ["origin_port=2", "ZDM_ORIGIN_PORT=3", "target_username=a=b"])
    assert config.origin_port == 3
    assert config.target_username == "a=b"
    assert config.is_set("origin_port")


def test_set_with_an_unknown_key_is_an_error_that_suggests_one(environment: Environment) -> None:
    """An option that has no effect is a typing error; its value is not repeated, it may be a password."""
    message = error_of(None, "origin_pasword=hunter2")
    assert "there is no key origin_pasword (did you mean origin_password?)" in message
    assert "hunter2" not in message


def test_set_without_a_value_is_an_error(environment: Environment) -> None:
    assert "write --set KEY=VALUE" in error_of(None, "origin_port")


def test_a_bad_value_of_set_is_told_as_such(environment: Environment) -> None:
    """Otherwise the operator looks for it in the environment."""
    assert error_of(None, "origin_port=x").startswith("could not apply --set: ZDM_ORIGIN_PORT 'x'")


def test_is_set_tells_an_explicit_default_from_none(environment: Environment) -> None:
    """The limit of stream ids changes how ids are mapped only where the operator asked for it."""
    assert not load().is_set("proxy_max_stream_ids")
    environment(ZDM_PROXY_MAX_STREAM_IDS="2048")
    assert load().is_set("proxy_max_stream_ids")
    with pytest.raises(KeyError):
        load().is_set("no_such_key")


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n"])
def test_a_password_may_be_in_a_file(environment: Environment, tmp_path: Path, content: str) -> None:
    """As orchestrators mount secrets; the line end that an editor leaves is no part of it."""
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    environment(ZDM_ORIGIN_PASSWORD=None, ZDM_ORIGIN_PASSWORD_FILE=str(path))
    assert load().password("origin") == "s3cret"


def test_a_password_and_its_file_exclude_one_another(environment: Environment, tmp_path: Path) -> None:
    """Which of two passwords counts should not be a riddle."""
    environment(ZDM_TARGET_PASSWORD_FILE=str(tmp_path / "password"))
    message = error_of()
    assert "both ZDM_TARGET_PASSWORD and ZDM_TARGET_PASSWORD_FILE are set" in message
    assert "tp-secret" not in message


def test_a_password_on_the_command_line_replaces_a_file(environment: Environment, tmp_path: Path) -> None:
    environment(ZDM_TARGET_PASSWORD=None, ZDM_TARGET_PASSWORD_FILE=str(tmp_path / "missing"))
    assert load(None, ["target_password=x"]).password("target") == "x"


def test_a_file_on_the_command_line_replaces_a_password(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from-file")
    assert load(None, [f"target_password_file={tmp_path}/password"]).password("target") == "from-file"


def test_an_unreadable_password_file_is_named_once(environment: Environment, tmp_path: Path) -> None:
    """And the key is not said to be missing on top of that."""
    environment(ZDM_TARGET_PASSWORD=None, ZDM_TARGET_PASSWORD_FILE=str(tmp_path / "missing"))
    message = error_of()
    assert f"could not read ZDM_TARGET_PASSWORD_FILE ({tmp_path}/missing): No such file or directory" in message
    assert "missing value" not in message


def test_the_admin_token_comes_from_its_file(environment: Environment, tmp_path: Path) -> None:
    """As a password does."""
    (tmp_path / "token").write_text("from-file\n", encoding="utf-8")
    environment(ZDM_ADMIN_TOKEN_FILE=str(tmp_path / "token"))
    assert load().admin_bearer() == "from-file"


@pytest.mark.parametrize("content", ["", "\n", "\r\n"])
def test_an_empty_token_file_is_a_fault(environment: Environment, tmp_path: Path, content: str) -> None:
    """A secret that was not mounted must not open the API to everybody who reaches the address."""
    (tmp_path / "token").write_text(content, newline="")
    environment(ZDM_ADMIN_TOKEN_FILE=str(tmp_path / "token"))
    assert f"ZDM_ADMIN_TOKEN_FILE ({tmp_path}/token) is empty: no token is in it" in error_of()


def test_an_admin_token_and_its_file_are_one_key(environment: Environment, tmp_path: Path) -> None:
    """Which of two counts would be a guess."""
    environment(ZDM_ADMIN_TOKEN="at-secret", ZDM_ADMIN_TOKEN_FILE=str(tmp_path / "token"))
    with pytest.raises(ConfigurationError, match="both ZDM_ADMIN_TOKEN and ZDM_ADMIN_TOKEN_FILE are set"):
        load()
