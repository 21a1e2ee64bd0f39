"""The printed forms of the configuration: the start log's JSON, and the reference of all keys.

The reference is docs/configuration.md, and what `zdm-proxy config reference` prints.
"""

from __future__ import annotations

import json
from typing import Final

from pydantic import SecretStr

from zdm.configuration.changes import changed_by
from zdm.configuration.keys import KEYS, REQUIRED, Config, env_name
from zdm.configuration.legacy import LEGACY_NAMES
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


_PREFACE: Final = """\
# Configuration

Generated from `zdm/configuration/keys.py`; `make reference` writes it anew, `zdm-proxy config reference` prints it.

Values come from the environment, or, with `--config FILE`, from that YAML file and not from the environment.
`--set KEY=VALUE` goes on top of either. YAML keys have the names below; one that is not set may be there as `null`, and
as `""` where that is its default.
The four *required* keys must be in the environment (passwords: or their `_FILE`); a YAML file may lack them.

"changed by" is how a running proxy gets another value. *SIGHUP* makes it read its configuration again from where it
came from: the YAML file, the files of secrets, or its environment (which stays as it was, but for the files that it
names). It logs for each key that differs whether it was applied or needs a *restart*. Times and limits apply to
requests to come, credentials to connections to come. A configuration that can't be used changes nothing. *API*: the
state itself is changed by `zdm-proxy target`; the key counts at the next start. *Not at all*: the key tunes what there
is not here.

| key | environment | type | default | meaning | changed by |
|---|---|---|---|---|---|"""

_LEGACY_PREFACE: Final = """\

## Names of the first generation

The variables of the first generation of ZDM proxy, without a prefix, count where `ORIGIN_CASSANDRA_CONTACT_POINTS` is
set and no `ZDM_` variable says where a cluster is. A `ZDM_` variable wins over the old name of the same key; what has
neither has the default above, whatever it was then. They are deprecated: one warning at the start lists those that are
used, and the names to use instead.

| old name | is today |
|---|---|"""

_FLAGS: Final = {"primary_cluster": "`TARGET` for true", "system_queries_mode": "`TARGET` for true"}


def reference_markdown() -> str:
    """docs/configuration.md, which a test compares with what is in the tree."""
    lines = [_PREFACE]
    for key in KEYS:
        info = Config.model_fields[key]
        literal = _literal(info.default)
        default = "*required*" if key in REQUIRED else f"`{literal}`" if literal else ""
        means = f"{info.description} | {changed_by(key).value}"
        lines.append(f"| `{key}` | `{env_name(key)}` | {key_kind(key)} | {default} | {means} |")
    lines.append(_LEGACY_PREFACE)
    for name, keys, _ in LEGACY_NAMES:
        today = ", ".join(f"`{env_name(key)}`" for key in keys)
        flag = f": {_FLAGS[keys[0]]}" if keys[0] in _FLAGS else ""
        lines.append(f"| `{name}` | {today}{flag} |")
    return "\n".join([*lines, ""])


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
