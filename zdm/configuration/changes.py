"""How each key can be changed: by a restart, by SIGHUP, over the API, or not at all because it has no effect.

SIGHUP applies what is asked for anew whenever it is needed: levels, limits and times of requests to come, and
credentials, which only matter when a connection is opened. Everything else needs a restart.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from pydantic import SecretStr

from zdm.configuration.keys import KEYS, SECRETS, Config

_LOGINS: Final = tuple(f"{cluster}_{part}" for cluster in ("origin", "target") for part in ("username", "password"))

APPLIED: Final = frozenset(
    {
        *_LOGINS,
        *SECRETS,
        *(f"{secret}_file" for secret in SECRETS),
        "attach_hold_ms",
        "heartbeat_failure_threshold",
        "log_format",
        "log_level",
        "on_target_connection_lost",
        "proxy_drain_timeout_ms",
        "proxy_max_client_connections",
        "proxy_request_timeout_ms",
        "proxy_timeout_response",
        "schema_request_timeout_ms",
        "target_disable_drain_ms",
        "target_park_ms",
        "unprepared_recovery",
    }
)
"""The keys that SIGHUP applies."""

WITHOUT_EFFECT: Final = frozenset(
    {
        *(
            f"{side}_{kind}"
            for side in ("request", "response")
            for kind in ("write_queue_size_frames", "write_buffer_size_bytes", "read_buffer_size_bytes")
        ),
        *(f"{pool}_max_workers" for pool in ("request_response", "write", "read", "listener")),
        "event_queue_size_frames",
        "async_connector_write_buffer_size_bytes",
    }
)
"""Keys that tune the reference's queues, buffers and pools, of which there are none here."""

_BY_API: Final = frozenset({"target_enabled_at_start"})


class ChangedBy(Enum):
    """The value is what the reference page says."""

    RESTART = "restart"
    SIGHUP = "SIGHUP"
    API = "API"
    NOTHING = "not at all"


def changed_by(key: str) -> ChangedBy:
    """How the key can be changed."""
    if key in APPLIED:
        return ChangedBy.SIGHUP
    if key in WITHOUT_EFFECT:
        return ChangedBy.NOTHING
    return ChangedBy.API if key in _BY_API else ChangedBy.RESTART


def differences(before: Config, after: Config) -> list[str]:
    """The keys whose values differ, in the order of their declaration.

    Where a secret comes from is no difference: the secret itself tells.
    """
    sources = {f"{secret}_file" for secret in SECRETS}
    return [key for key in KEYS if key not in sources and getattr(before, key) != getattr(after, key)]


def with_applied(running: Config, reread: Config) -> Config:
    """`running`, with what SIGHUP applies taken from `reread`."""
    return running.model_copy(update={key: getattr(reread, key) for key in APPLIED})


def shown(config: Config, key: str) -> str:
    """The value as a log line may hold it; empty for a secret."""
    value: Any = getattr(config, key)
    return "" if isinstance(value, SecretStr) else f'"{value}"' if isinstance(value, str) else str(value).lower()
