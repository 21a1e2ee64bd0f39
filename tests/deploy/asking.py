"""Everything that dashboards and alert rules ask Prometheus for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"


def board(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in board(path)["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> dict[str, str]:
    """Each by where it stands."""
    found = {
        f"{path.name}: {panel['title']} {target['refId']} ({panel['id']})": target["expr"]
        for path in BOARDS
        for panel in panels(path)
        for target in panel["targets"]
    }
    return found | {f"{rule['alert']} ({number})": rule["expr"] for number, rule in enumerate(rules())}
