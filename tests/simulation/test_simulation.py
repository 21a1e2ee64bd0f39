"""A thousand stories of a proxy, two clusters and some clients, in none of which anything happens that must not.

`make simulate SEEDS=N FROM=S` plays others. What makes a story fail is in `ledger` and `watch`; that the stories do
find faults is shown by `make mutants`.
"""

from __future__ import annotations

import pytest

from tests.simulation.world import simulate

_STORIES = 100


@pytest.mark.parametrize("first", range(1, 1001, _STORIES))
def test_no_story_breaks_a_promise(first: int) -> None:
    """Cuts, errors, forgotten statements, late answers and toggles, in an order that nobody would think of."""
    for seed in range(first, first + _STORIES):
        failure = simulate(seed)
        assert failure is None, str(failure)


def test_a_seed_tells_the_same_story_each_time() -> None:
    """Or a failing one could not be looked at."""
    counts: list[dict[str, int]] = [{}, {}]
    for count in counts:
        for seed in range(5, 10):
            simulate(seed, count)
    assert counts[0] == counts[1]
