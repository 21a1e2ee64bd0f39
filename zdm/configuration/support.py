"""Keys that are accepted and checked, but whose feature is not there yet.

A missing convenience is named in one warning. A missing protection is refused: whoever asks for TLS must not get a
plain connection and a line in a log. So is what would keep the proxy from ever reaching a cluster. What protects less
than one may believe, because the reference does so too, is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zdm.configuration.changes import WITHOUT_EFFECT
from zdm.configuration.faults import Fault
from zdm.configuration.keys import KEYS, Config, env_name
from zdm.protocol.frames import CONTROL_VERSIONS, SUPPORTED_VERSIONS

_PATHS: Final = {
    f"{cluster}_secure_connect_bundle_path": f"secure connect bundles, here for {cluster.upper()}"
    for cluster in ("origin", "target")
}


def not_yet_honoured(config: Config) -> list[str]:
    """The keys that were set to something this version does not do, each as `ZDM_NAME=value`."""
    asked = {
        "tracing_enabled": config.tracing_enabled,
    }
    return [f"{env_name(key)}={getattr(config, key)}" for key, is_asked in asked.items() if is_asked]


def without_effect(config: Config) -> list[str]:
    """The keys that were set to something and tune what there is not here, each as `ZDM_NAME=value`."""
    fields = Config.model_fields
    changed = (key for key in KEYS if key in WITHOUT_EFFECT and getattr(config, key) != fields[key].default)
    return [f"{env_name(key)}={getattr(config, key)}" for key in changed]


def weak_tls(config: Config) -> list[str]:
    """What TLS leaves open, as the reference leaves it; one line for each."""
    lines = []
    for cluster in ("origin", "target"):
        verify = f"{cluster}_tls_verify"
        if getattr(config, f"{cluster}_tls_server_ca_path") and not getattr(config, verify):
            lines.append(
                f"{env_name(verify)} is not set: of {cluster.upper()}'s certificates it is checked who has signed "
                "them, and not for which host. Set it to full, or to chain if that is as it should be."
            )
    if config.proxy_tls_require_client_auth and not config.proxy_tls_ca_path:
        lines.append(
            f"{env_name('proxy_tls_require_client_auth')} is ignored, and clients connect without TLS: "
            f"{env_name('proxy_tls_ca_path')} and the paths that belong to it are not set."
        )
    return lines


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
