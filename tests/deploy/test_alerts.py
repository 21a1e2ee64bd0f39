"""The alert rules as a file; `make check-rules` has promtool judge and try them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.asking import ALERTS, DEPLOY, rules


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    """Whoever is woken by it reads nothing else at first."""
    assert rule["alert"].startswith("Zdm")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert "$labels." in rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


def test_every_alert_is_tried() -> None:
    """That it fires, in one of the stories that promtool plays."""
    stories = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
    assert {rule["alert"] for rule in rules()} <= {name for name in _named(yaml.safe_load(stories))}


def test_prometheus_is_shown_where_the_rules_are() -> None:
    """And calls the job as the rules do."""
    example = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert example["rule_files"] == [ALERTS.name]
    (job,) = [one["job_name"] for one in example["scrape_configs"]]
    assert f'up{{job="{job}"}} == 0' in [rule["expr"] for rule in rules()]


def _named(stories: dict[str, Any]) -> set[str]:
    samples = [
        sample["labels"]
        for one in stories["tests"]
        for test in one["promql_expr_test"]
        for sample in test["exp_samples"]
    ]
    return {labels.partition('alertname="')[2].partition('"')[0] for labels in samples}
