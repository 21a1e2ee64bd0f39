"""What is printed of a configuration: the start log's JSON, the reference page, and never a secret."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from zdm.config import KEYS, Config, env_name, load, parsed_configuration_json, reference_markdown
from zdm.configuration.changes import APPLIED, WITHOUT_EFFECT
from zdm.configuration.legacy import LEGACY_NAMES

ROOT = Path(__file__).parents[2]


def test_the_json_has_the_field_names_of_the_reference(environment: Callable[..., None]) -> None:
    """Log scrapers of existing deployments read this line."""
    printed = parsed_configuration_json(load())
    assert printed.startswith('{"PrimaryCluster":"ORIGIN","ReadMode":"PRIMARY_ONLY","ReplaceCqlFunctions":false,')
    fields = json.loads(printed)
    assert fields["OriginTlsServerCaPath"] == ""
    assert fields["OriginUsername"] == "ou"
    assert fields["ProxyMaxStreamIds"] == 2048
    assert '"HeartbeatRetryBackoffFactor":2,' in printed
    assert len(fields) == len(KEYS) - 2


def test_no_secret_is_ever_printed(environment: Callable[..., None]) -> None:
    """In repr, str, format and JSON, whichever a hurried debugging line uses."""
    environment(ZDM_ADMIN_TOKEN="at-secret")
    config = load()
    for printed in (repr(config), str(config), f"{config}", parsed_configuration_json(config), str(vars(config))):
        assert "op-secret" not in printed
        assert "tp-secret" not in printed
        assert "at-secret" not in printed
    assert config.password("origin") == "op-secret"


@pytest.mark.parametrize(("token", "shown"), [("at-secret", "**********"), ("", "")])
def test_the_start_log_tells_whether_there_is_an_admin_token(
    environment: Callable[..., None], token: str, shown: str
) -> None:
    """Whoever is refused by the API looks there first."""
    environment(ZDM_ADMIN_TOKEN=token)
    assert json.loads(parsed_configuration_json(load()))["AdminToken"] == shown


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().origin_port = 1


def test_a_configuration_can_travel_to_another_process() -> None:
    """With what was set and what was not."""
    config = Config(origin_port=1, origin_password=SecretStr("x"))
    copy = pickle.loads(pickle.dumps(config))
    assert copy == config
    assert copy.is_set("origin_port")
    assert not copy.is_set("target_port")


def test_made_directly_it_reads_nothing(environment: Callable[..., None]) -> None:
    """Tests and the sandbox must not depend on the machine that they run on."""
    environment(ZDM_ORIGIN_PORT="1")
    assert Config().origin_port == 9042
    assert Config().origin_username == ""


def test_the_reference_page_is_fresh() -> None:
    """`make reference` writes it."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == reference_markdown()


def test_every_key_has_a_meaning() -> None:
    for key in KEYS:
        assert Config.model_fields[key].description, key


@pytest.mark.parametrize(
    ("key", "how"),
    [
        ("log_level", "SIGHUP"),
        ("origin_password", "SIGHUP"),
        ("target_password_file", "SIGHUP"),
        ("proxy_listen_port", "restart"),
        ("target_enabled_at_start", "API"),
        ("read_max_workers", "not at all"),
    ],
)
def test_the_reference_page_says_how_a_key_is_changed(key: str, how: str) -> None:
    """One of four words, at the end of its line."""
    (line,) = [line for line in reference_markdown().splitlines() if line.startswith(f"| `{key}` |")]
    assert line.endswith(f"| {how} |")


def test_the_reference_page_has_every_key_and_every_old_name() -> None:
    page = reference_markdown()
    assert all(f"| `{key}` | `{env_name(key)}` |" in page for key in KEYS)
    assert all(f"| `{legacy.name}` |" in page for legacy in LEGACY_NAMES)


def test_tables_of_keys_name_keys_that_exist() -> None:
    """A key that was renamed would silently need a restart."""
    assert set(KEYS) >= APPLIED | WITHOUT_EFFECT
    assert not APPLIED & WITHOUT_EFFECT
