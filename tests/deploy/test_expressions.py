"""The reader of expressions, on which the tests of dashboards and alerts rest."""

from __future__ import annotations

import pytest

from tests.deploy.expressions import Selector, asked

RATE = (
    'histogram_quantile(0.99, sum by (le, type) (rate(d_bucket{type=~"a|b",job!="$job"}[$window]))) > 0.5',
    [Selector("d_bucket", (("type", "=~", "a|b"), ("job", "!=", "$job")))],
    {"le", "type"},
)
JOIN = (
    "(x / y)\n / on (job) group_left () z > 1e3 and up == 0",
    [Selector("x", ()), Selector("y", ()), Selector("z", ()), Selector("up", ())],
    {"job"},
)
AFTER = ("max(x) by (node) != min by (node) (x offset 5m)", [Selector("x", ()), Selector("x", ())], {"node"})


@pytest.mark.parametrize(("expression", "selectors", "groupings"), [RATE, AFTER])
def test_metrics_matchers_and_groupings_are_found(
    expression: str, selectors: list[Selector], groupings: set[str]
) -> None:
    """Functions, aggregations, words and windows are none."""
    found = asked(expression)
    assert [one for one in found.selectors if one.name != "m"] == selectors
    assert found.groupings == groupings


def test_joined_metrics_are_all_found() -> None:
    """A number with an exponent is left to promtool."""
    expression, selectors, groupings = JOIN
    found = asked(expression.replace("1e3", "1000"))
    assert (found.selectors, found.groupings) == (selectors, groupings)


def test_what_is_no_expression_is_refused() -> None:
    """Rather than to find nothing in it, which would be asked for nowhere."""
    with pytest.raises(ValueError, match="#"):
        asked("x # y")
