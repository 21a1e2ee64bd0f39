"""What is printed of a configuration: the start log's JSON, the reference page, and never a secret."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from zdm.config import KEYS, Config, load, parsed_configuration_json, reference_markdown

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
