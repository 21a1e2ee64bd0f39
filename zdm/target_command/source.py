"""Which proxy `zdm-proxy target` asks where no --url is given, and with which token.

Takes address, port and token from where the proxy itself has them, and asks nothing else of the configuration: that a
contact point is missing must not keep an operator from switching the target off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zdm.configuration.literals import parse_int
from zdm.target_command.calls import DEFAULT_PORT, Instance

_KEYS: Final = ("metrics_address", "metrics_port", "admin_token", "admin_token_file")
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})


class Misuse(Exception):
    """What was given cannot be used; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Source:
    """Values of the keys above: `layers` from top to bottom, --set, then the file or else the environment."""

    layers: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, config_file: str | None, overrides: Sequence[str]) -> Source:
        """Misuse where the file cannot be read, or one of these keys; what is wrong with others does not matter."""
        bottom: Mapping[str, Any] = _environment()
        top: Mapping[str, Any] = {}
        if config_file or overrides:
            # loads the libraries of the configuration: 0.2 s
            from zdm.configuration.sources import Values, read_overrides, read_yaml

            def found(values: Values) -> dict[str, Any]:
                for fault in values.faults:
                    if not fault.keys or not set(_KEYS).isdisjoint(fault.keys):
                        raise Misuse(fault.text)
                return {key: value for key, value in values.values.items() if key in _KEYS}

            top = found(read_overrides(overrides))
            bottom = found(read_yaml(config_file)) if config_file else bottom
        return cls((top, bottom))

    def instance(self) -> Instance:
        """The address that the proxy serves HTTP on; this machine where it serves on all of its addresses."""
        address = str(self._value("metrics_address", "localhost")).strip().strip("[]")
        port = self._value("metrics_port", DEFAULT_PORT)
        try:
            number = parse_int(port) if isinstance(port, str) else int(port)
        except ValueError:
            number = -1
        if not 0 < number < 65536:
            raise Misuse(f"the metrics port of the configuration, {port!r}, cannot be asked: give --url")
        return Instance(False, "localhost" if address in _EVERYWHERE else address, number)

    def token(self, path: str | None) -> str:
        """The token in the file at `path`, else the configured one, else that of the environment; empty for none."""
        token = _read(path) if path is not None else self._configured_token()
        # a header can hold nothing else
        if not (token.isascii() and token.isprintable()):
            raise Misuse("the token holds characters that cannot be sent; is it the right file?")
        return token

    def _configured_token(self) -> str:
        for layer in (*self.layers, _environment()):
            if layer.get("admin_token"):
                return str(layer["admin_token"]).strip()
            if layer.get("admin_token_file"):
                return _read(layer["admin_token_file"])
        return ""

    def _value(self, key: str, default: object) -> Any:
        return next((layer[key] for layer in self.layers if key in layer), default)


def _environment() -> dict[str, str]:
    names = {key: f"ZDM_{key.upper()}" for key in _KEYS}
    return {key: os.environ[name] for key, name in names.items() if name in os.environ}


def _read(path: str) -> str:
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise Misuse(f"the token file {path} cannot be read: {reason}") from None
    if not token:
        raise Misuse(f"the token file {path} is empty")
    return token
