"""The protocol versions whose bodies this package can read and write.

The version byte without its direction bit. v5 bodies are spoken here; its outer segments are not this file's matter.
"""

from __future__ import annotations

from typing import Final

from zdm.protocol.exceptions import RemoteProtocolError

V3: Final = 3
V4: Final = 4
V5: Final = 5

BODY_VERSIONS: Final[frozenset[int]] = frozenset({V3, V4, V5})


def check_version(version: int) -> None:
    """Raises `RemoteProtocolError` for a version whose bodies are unknown here."""
    if version not in BODY_VERSIONS:
        raise RemoteProtocolError(f"Invalid or unsupported protocol version ({version})")
