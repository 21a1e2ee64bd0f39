"""The activity file for NoSQLBench, as YAML: the tool itself is not run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.asking import DEPLOY
from zdm.cql.statement import StatementKind, classify

ACTIVITY: dict[str, Any] = yaml.safe_load((DEPLOY / "nosqlbench" / "prepared-statements.yaml").read_text())
BLOCKS: dict[str, Any] = ACTIVITY["blocks"]
STATEMENTS = [
    (block, name, operation if isinstance(operation, str) else operation["stmt"])
    for block, content in BLOCKS.items()
    for name, operation in content["ops"].items()
]


def test_every_step_of_a_scenario_runs_a_block_that_is_there() -> None:
    """A tag that no block has runs nothing."""
    steps = [step for scenario in ACTIVITY["scenarios"].values() for step in scenario.values()]
    assert {re.findall(r"tags==block:(\S+)", step)[0] for step in steps} == set(BLOCKS)


@pytest.mark.parametrize(
    ("block", "name", "text"), STATEMENTS, ids=[f"{block}-{name}" for block, name, _ in STATEMENTS]
)
def test_a_statement_is_one_and_binds_what_is_bound(block: str, name: str, text: str) -> None:
    """Schema statements bind nothing and are not prepared; all others are and do."""
    filled = re.sub(r"TEMPLATE\([^,]+,([^)]+)\)", r"\1", text)
    bound = set(re.findall(r"\{(\w+)\}", filled))
    assert bound <= set(ACTIVITY["bindings"])
    statement = classify(re.sub(r"\{\w+\}", "?", filled))
    assert statement.kind is not StatementKind.OTHER
    is_schema = statement.kind is StatementKind.SCHEMA
    assert BLOCKS[block]["params"]["prepared"] is not is_schema
    assert bool(bound) is not is_schema
