"""Where values come from: the environment, or a YAML file and nothing else; `--set` on top of either.

Settles which texts are taken, with the quirks of the reference (spec section 1.1), and reads secret files. Whether the
values make sense together is for `zdm.configuration.rules`. No message built here holds a secret: values of secrets and
of keys that are none, are never quoted.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic_settings import EnvSettingsSource

from zdm.configuration.faults import Fault
from zdm.configuration.keys import KEYS, LISTS, SECRETS, Config, env_name
from zdm.configuration.legacy import legacy_values
from zdm.configuration.literals import parse_float, parse_int

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
# YAML 1.1 words; the reference takes them for a flag even when quoted
_YES: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
_NO: Final = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})

# ZDM_PROXY_SERVICE_HOST, ZDM_PROXY_PORT, ZDM_PROXY_PORT_14002_TCP_ADDR and the like
_OF_A_SERVICE: Final = re.compile(r"_SERVICE_(HOST|PORT)|_PORT$|_PORT_\d+_(TCP|UDP)")

_ADVICE: Final = {
    "int": "write a whole number, without quotes",
    "float": "write a number, without quotes",
    "bool": "write true or false",
    "list": "write true, false, or a list of names",
    "str": "write one text; separate the items of a list with commas",
}


@dataclass(slots=True)
class Values:
    """What a source gave: values by key, faults, and the names that are no keys.

    `legacy` are the variables of the first generation that values come from, by key.
    """

    values: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    legacy: dict[str, str] = field(default_factory=dict)


def key_kind(key: str) -> str:
    """`int`, `float`, `bool`, `list` or `str`."""
    if key in LISTS:
        return "list"
    annotation = Config.model_fields[key].annotation
    return annotation.__name__ if annotation in (int, float, bool) else "str"


def read_environment() -> Values:
    """The variables `ZDM_<NAME>`, as texts. Set but empty counts as set.

    Under them, where they count, those of the first generation (`zdm.configuration.legacy`).
    """
    given = EnvSettingsSource(Config)()
    found = Values({key: given[env_name(key)] for key in KEYS if env_name(key) in given})
    for name, key, text in legacy_values(os.environ):
        found.values[key] = text
        found.legacy[key] = name
    return found


def deprecated_variables() -> list[str]:
    """The variables of the first generation that are used, each with the names that are to take its place."""
    names: dict[str, list[str]] = {}
    for name, key, _ in legacy_values(os.environ):
        names.setdefault(name, []).append(env_name(key))
    return [f"{name} -> {' and '.join(new)}" for name, new in names.items()]


def unknown_variables() -> list[str]:
    """Variables `ZDM_...` that are no keys and so are ignored, in order.

    Not among them: what Kubernetes sets for a service whose name begins with zdm, and what chooses the event loop.
    """
    known = {env_name(key) for key in KEYS} | {"ZDM_LOOP"}
    given = (name for name in os.environ if name.startswith("ZDM_"))
    return sorted(name for name in given if name not in known and not _OF_A_SERVICE.search(name))


def read_overrides(pairs: Sequence[str]) -> Values:
    """The arguments of `--set`: KEY=VALUE, the key as in YAML or as in the environment; the last of a key counts."""
    found = Values()
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            found.faults.append(Fault("--set: an argument has no '='; write --set KEY=VALUE"))
            continue
        key = name.strip().lower().removeprefix("zdm_")
        if key in KEYS:
            found.values[key] = text
        else:
            found.faults.append(Fault(f"--set: there is no key {name}{_similar(key)}"))
    return found


def read_yaml(path: str) -> Values:
    """The first document of a YAML file, scalars turned into the type of their key."""
    found = Values()
    try:
        root = _compose(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        found.faults.append(Fault(f"could not read configuration file {path}: {error.strerror}"))
        return found
    except (ValueError, yaml.YAMLError) as error:
        found.faults.append(Fault(f"could not load configuration file {path}: {_yaml_reason(error)}"))
        return found
    for text, keys in _read_mapping(root, found):
        found.faults.append(Fault(f"could not load configuration file {path}: {text}", keys))
    return found


def _compose(text: str) -> yaml.MappingNode:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        if node is None:
            raise ValueError("EOF")
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULL:
            return yaml.MappingNode("tag:yaml.org,2002:map", [])
        if not isinstance(node, yaml.MappingNode):
            raise ValueError(f"{_line(node)}: the file must be a mapping of keys to values")
        return node
    finally:
        loader.dispose()


def _read_mapping(root: yaml.MappingNode, found: Values) -> list[tuple[str, tuple[str, ...]]]:
    """Fills `found`; returns what is wrong: repeated keys first, then the values from top to bottom."""
    repeated: list[tuple[str, tuple[str, ...]]] = []
    wrong: list[tuple[str, tuple[str, ...]]] = []
    seen: dict[str, int] = {}
    for name_node, node in root.value:
        name = str(name_node.value) if isinstance(name_node, yaml.ScalarNode) else ""
        line = name_node.start_mark.line + 1
        if name in seen:
            repeated.append((f'line {line}: mapping key "{name}" already defined at line {seen[name]}', (name,)))
            continue
        seen[name] = line
        if name not in KEYS:
            found.unknown.append(name + _similar(name))
            continue
        try:
            value = yaml_value(name, node)
        except ValueError as error:
            wrong.append((f"{_line(node)}: {name}: {error}", (name,)))
        else:
            if value is not None:
                found.values[name] = value
    return repeated + wrong


def yaml_value(key: str, node: yaml.Node) -> Any:
    """The value of a key, None where the file has a null (the default stays). ValueError: what to write instead."""
    kind = key_kind(key)
    if key in LISTS:
        return _list_value(node)
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(
            f"a {'list' if isinstance(node, yaml.SequenceNode) else 'mapping'} is no {kind}; {_ADVICE[kind]}"
        )
    is_plain = node.style is None
    text: str = node.value
    if is_plain and text in _NULL:
        return None
    if kind == "str":
        return text
    if kind == "bool" and (text in _YES or text in _NO):
        return text in _YES
    value = _plain_scalar(kind, text) if is_plain else None
    if value is None:
        raise ValueError(f"{'' if is_plain else 'quoted '}{text!r} is no {kind}; {_ADVICE[kind]}")
    return value


def _list_value(node: yaml.Node) -> str | None:
    """A flag, a text, or the texts of a list with commas between them."""
    items = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(item, yaml.ScalarNode) for item in items):
        raise ValueError(_ADVICE["list"])
    if not isinstance(node, yaml.ScalarNode):
        return ",".join(str(item.value) for item in items)
    text = str(node.value)
    if node.style is None and text in _NULL:
        return None
    return "true" if text in _YES else "false" if text in _NO else text


def _plain_scalar(kind: str, text: str) -> bool | int | float | None:
    if kind == "bool":
        return text in _TRUE if text in _TRUE or text in _FALSE else None
    for parse in (parse_int, parse_float):
        try:
            number = parse(text.replace("_", ""))
        except ValueError:
            continue
        # a decimal for a whole number is cut, as the reference does
        if kind == "float":
            return float(number)
        return int(number) if -(2**63) <= number < 2**63 else None
    return None


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _yaml_reason(error: Exception) -> str:
    """Where the text stops being YAML. What the library quotes from there may be a password, so it is not repeated."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "not UTF-8 text" if isinstance(error, UnicodeError | yaml.reader.ReaderError) else str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: not YAML; quote values that hold special characters"


def _similar(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), KEYS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def layered(bottom: Values, top: Values) -> Values:
    """`top` over `bottom`, with the faults of `bottom`.

    A password and its file are one key in two forms: one of them on top replaces both.
    """
    values = dict(bottom.values)
    faults = [*bottom.faults]
    for layer in (bottom.values, top.values):
        for secret in SECRETS:
            if secret in layer and layer.get(f"{secret}_file"):
                text = f"both {env_name(secret)} and {env_name(secret)}_FILE are set; set one of them"
                faults.append(Fault(text, (secret, f"{secret}_file")))
    for secret in SECRETS:
        if secret in top.values or f"{secret}_file" in top.values:
            values.pop(secret, None)
            values.pop(f"{secret}_file", None)
    return Values(values | top.values, faults, bottom.unknown, bottom.legacy)


def read_secret_files(given: Values) -> None:
    """Puts the content of each `<secret>_file` into its secret, without the line end that editors leave."""
    for secret in SECRETS:
        path = given.values.get(f"{secret}_file")
        if not path or secret in given.values:
            continue
        try:
            given.values[secret] = Path(path).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            given.faults.append(Fault(f"could not read {env_name(secret)}_FILE ({path}): {reason}", (secret,)))
            continue
        if secret == "admin_token" and not given.values[secret]:
            # an empty token is none, and where none is set the API may be open
            given.faults.append(Fault(f"{env_name(secret)}_FILE ({path}) is empty: no token is in it", (secret,)))
