"""Fixtures: an environment with exactly the variables that a test names, and YAML files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

CREDENTIALS = {
    "ZDM_ORIGIN_USERNAME": "ou",
    "ZDM_ORIGIN_PASSWORD": "op-secret",
    "ZDM_TARGET_USERNAME": "tu",
    "ZDM_TARGET_PASSWORD": "tp-secret",
}
HOSTS = {"ZDM_ORIGIN_CONTACT_POINTS": "10.0.0.1", "ZDM_TARGET_CONTACT_POINTS": "10.1.0.1"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces all `ZDM_*` variables by credentials, contact points and the ones given; None removes one."""

    def replace(**variables: str | None) -> None:
        for name in [name for name in os.environ if name.upper().startswith("ZDM_")]:
            monkeypatch.delenv(name)
        for name, value in {**CREDENTIALS, **HOSTS, **variables}.items():
            if value is not None:
                monkeypatch.setenv(name, value)

    replace()
    return replace


@pytest.fixture
def yaml_file(tmp_path: Path, environment: Callable[..., None]) -> Callable[[str], str]:
    """Writes a configuration file; contact points are added unless the text says otherwise."""

    def write(text: str, with_hosts: bool = True) -> str:
        path = tmp_path / "zdm.yaml"
        hosts = "origin_contact_points: 10.0.0.1\ntarget_contact_points: 10.1.0.1\n" if with_hosts else ""
        path.write_text(hosts + text, encoding="utf-8")
        return str(path)

    return write
