"""stub"""

from __future__ import annotations

from pathlib import Path

from conformance.backends.interface import Clusters


class SandboxClusters(Clusters):
    name = "sandbox"
    always = frozenset({"rows"})
    sometimes = frozenset({"logins", "any-login"})

    def __init__(self, network: str, directory: Path, authenticated: frozenset[str]) -> None:
        pass
