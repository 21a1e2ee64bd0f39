"""The configuration, as the rest of the program sees it: `load` gives a frozen `Config`, or says all that is wrong.

Spec sections 1.1 to 1.3. The parts are in `zdm.configuration`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from zdm.configuration.faults import ConfigurationError, Fault
from zdm.configuration.keys import KEYS, REQUIRED, SECRETS, Cluster, Config, env_name
from zdm.configuration.reference import parsed_configuration_json, reference_markdown
from zdm.configuration.rules import validate
from zdm.configuration.sources import (
    deprecated_variables,
    layered,
    read_environment,
    read_overrides,
    read_secret_files,
    read_yaml,
    unknown_variables,
)
from zdm.configuration.support import not_yet_honoured, serves_nobody, weak_tls, without_effect

__all__ = [
    "KEYS",
    "Cluster",
    "Config",
    "ConfigurationError",
    "Fault",
    "deprecated_variables",
    "env_name",
    "load",
    "not_yet_honoured",
    "parsed_configuration_json",
    "reference_markdown",
    "serves_nobody",
    "unknown_variables",
    "unknown_yaml_keys",
    "weak_tls",
    "without_effect",
]


def load(config_file: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of this process.

    Args:
        config_file: YAML file; with it the environment is not looked at, and no key is required.
        overrides: `KEY=VALUE` texts that go on top.

    Raises:
        ConfigurationError: with every fault, first the one that the reference would name.
    """
    base = read_environment() if config_file is None else read_yaml(config_file)
    top = read_overrides(overrides)
    given = layered(base, top)
    read_secret_files(given)
    faults = [*given.faults]
    broken = {key for fault in faults for key in fault.keys}
    config, misread = _typed({key: value for key, value in given.values.items() if key not in broken})
    if config_file is None:
        misread |= {key: _missing(key) for key in REQUIRED if key not in given.values and key not in broken}
    # in the order in which the reference declares its keys, and so stumbles over them
    for key in [key for key in KEYS if key in misread]:
        prefix = "could not apply --set: " if key in top.values else "could not load environment variables: "
        text = misread[key].text
        if key in base.legacy and key not in top.values:
            text = f"{text} (from {base.legacy[key]})"
        faults.append(Fault(prefix + text, (key,)))
    faults += top.faults
    # a file that cannot be read says nothing about its keys
    if all(fault.keys for fault in base.faults):
        broken |= misread.keys()
        faults += [fault for fault in validate(config) if broken.isdisjoint(fault.keys)]
    if faults:
        raise ConfigurationError(faults)
    return config


def unknown_yaml_keys(config_file: str) -> list[str]:
    """Names in a YAML file that are no keys, and so are ignored; each with the key that may have been meant."""
    return read_yaml(config_file).unknown


def _missing(key: str) -> Fault:
    return Fault(f"required key {env_name(key)} missing value", (key,))


def _typed(values: dict[str, Any]) -> tuple[Config, dict[str, Fault]]:
    """The configuration with what can be read of `values`, and a fault for each that cannot."""
    try:
        return Config(**values), {}
    except ValidationError as error:
        misread = {}
        for detail in error.errors():
            key = str(detail["loc"][0]).lower().removeprefix("zdm_")
            reason = str(detail.get("ctx", {}).get("error", detail["msg"]))
            value = "" if key in SECRETS else f" {values[key]!r}"
            misread[key] = Fault(f"{env_name(key)}{value}: {reason}", (key,))
        return Config(**{key: value for key, value in values.items() if key not in misread}), misread
