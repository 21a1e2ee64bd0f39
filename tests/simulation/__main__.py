"""`python -m tests.simulation SEEDS FROM`: play many stories, and stop at the first that must not be."""

from __future__ import annotations

import sys
import time

from tests.simulation.world import simulate

_EVERY = 500


def main(seeds: int, first: int) -> int:
    """How many seeds, and the first of them; 1 where one fails."""
    began = time.perf_counter()
    counts: dict[str, int] = {}
    for done, seed in enumerate(range(first, first + seeds), 1):
        failure = simulate(seed, counts)
        if failure is not None:
            print(failure)
            return 1
        if done % _EVERY == 0 or done == seeds:
            print(f"{done} of {seeds} seeds, {done / (time.perf_counter() - began):.0f} a second", flush=True)
    for what, number in sorted(counts.items()):
        print(f"{number:9} {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
