"""Keys that are accepted and checked, but whose feature is not there yet.

A missing convenience is named in one warning. A missing protection is refused: whoever asks for TLS must not get a
plain connection and a line in a log. So is what would keep the proxy from ever reaching a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zdm.configuration.changes import WITHOUT_EFFECT
from zdm.configuration.faults import Fault
from zdm.configuration.keys import KEYS, Config, env_name
from zdm.protocol.frames import CONTROL_VERSIONS, SUPPORTED_VERSIONS

_PATHS: Final = {
    **{
        f"{cluster}_{name}": f"secure connect bundles and TLS to {cluster.upper()}"
        for cluster in ("origin", "target")
        for name in ("secure_connect_bundle_path", "tls_server_ca_path", "tls_client_cert_path", "tls_client_key_path")
    },
    **{f"proxy_tls_{name}_path": "TLS towards clients" for name in ("ca", "cert", "key")},
}


def not_yet_honoured(config: Config) -> list[str]:
    """The keys that were set to something this version does not do, each as `ZDM_NAME=value`."""
    asked = {
        "read_mode": config.read_mode.upper() == "DUAL_ASYNC_ON_SECONDARY",
        "tracing_enabled": config.tracing_enabled,
    }
    return [f"{env_name(key)}={getattr(config, key)}" for key, is_asked in asked.items() if is_asked]


def without_effect(config: Config) -> list[str]:
    """The keys that were set to something and tune what there is not here, each as `ZDM_NAME=value`."""
    fields = Config.model_fields
    changed = (key for key in KEYS if key in WITHOUT_EFFECT and getattr(config, key) != fields[key].default)
    return [f"{env_name(key)}={getattr(config, key)}" for key in changed]


def serves_nobody(config: Config) -> str | None:
    """Why no client could ever be served, where that is so: it is allowed, but hardly meant."""
    if frozenset(SUPPORTED_VERSIONS) - frozenset(config.blocked_versions()):
        return None
    spoken = _listed(SUPPORTED_VERSIONS)
    return (
        f"{env_name('blocked_protocol_versions')}={config.blocked_protocol_versions} leaves no protocol version: "
        f"this proxy speaks {spoken}. Every client will be refused."
    )


def refused(config: Config) -> Iterator[Fault]:
    """One fault per feature that is not there yet and that the proxy can't do without."""
    by_feature: dict[str, list[str]] = {}
    for key, feature in _PATHS.items():
        if getattr(config, key):
            by_feature.setdefault(feature, []).append(key)
    yield from _version_of_control_connections(config)
    for feature, keys in by_feature.items():
        names = ", ".join(env_name(key) for key in keys)
        yield Fault(
            f"this version does not do {feature}, and does not start rather than use plain connections; unset {names}",
            tuple(keys),
        )


def _version_of_control_connections(config: Config) -> Iterator[Fault]:
    """Version 2 is valid for the reference; here it would mean attempts for ever."""
    key = "control_conn_max_protocol_version"
    try:
        is_too_low = config.control_max_version() < min(CONTROL_VERSIONS)
    except (LookupError, ValueError):
        return  # told already
    if is_too_low:
        spoken = _listed(CONTROL_VERSIONS)
        text = (
            f"this version does not speak protocol version {getattr(config, key)}, only {spoken}; raise {env_name(key)}"
        )
        yield Fault(text, (key,))


def _listed(versions: tuple[int, ...]) -> str:
    """As people say it: "3, 4 and 5"."""
    return ", ".join(map(str, versions[:-1])) + f" and {versions[-1]}"
