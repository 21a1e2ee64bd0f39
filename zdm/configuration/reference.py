"""The printed forms of the configuration: the start log's JSON, and the table of keys in docs/configuration.md."""

from __future__ import annotations

import json

from pydantic import SecretStr

from zdm.configuration.keys import KEYS, REQUIRED, Config, env_name
from zdm.configuration.sources import key_kind


def parsed_configuration_json(config: Config) -> str:
    """One JSON object with the reference's field names (`ProxyListenPort`), in its order.

    Passwords are left out, as the reference does; of any other secret it tells by asterisks that there is one.
    """
    shown: dict[str, object] = {}
    for key in KEYS:
        value = getattr(config, key)
        if key in REQUIRED and isinstance(value, SecretStr):
            continue
        if isinstance(value, SecretStr):
            value = str(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        shown["".join(part.capitalize() for part in key.split("_"))] = value
    return json.dumps(shown, separators=(",", ":"), ensure_ascii=False)


def reference_markdown() -> str:
    """docs/configuration.md, which a test compares with what is in the tree."""
    lines = [
        "# Configuration",
        "",
        "Generated from `zdm/configuration/keys.py`; `make reference` writes it anew.",
        "",
        "Values come from the environment, or, with `--config FILE`, from that YAML file and not from the environment.",
        "`--set KEY=VALUE` goes on top of either. YAML keys have the names below.",
        "The four *required* keys must be in the environment (passwords: or their `_FILE`); a YAML file may lack them.",
        "",
        "| key | environment | type | default | meaning |",
        "|---|---|---|---|---|",
    ]
    for key in KEYS:
        info = Config.model_fields[key]
        literal = _literal(info.default)
        default = "*required*" if key in REQUIRED else f"`{literal}`" if literal else ""
        lines.append(f"| `{key}` | `{env_name(key)}` | {key_kind(key)} | {default} | {info.description} |")
    return "\n".join([*lines, ""])


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
