"""Print what it costs to classify a statement text, in microseconds a call.

    python bench/cql.py

"cached" texts were seen before; "fresh" ones are all different, as where an application writes its values into the
text; "tokens" is the way by the lexer alone, which the unusual texts take.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).parents[1]))

from zdm.cql.statement import Statement, classify, parse  # noqa: E402

ROUNDS = 5
TEXTS = 20_000

SHAPES = {
    "INSERT": "INSERT INTO ks.t (k, v) VALUES ('key{:010}', 'value {:010} of a usual length, which is not that long')",
    "INSERT .. IF": "INSERT INTO ks.t (k, v) VALUES ('key{:010}', 'value {:010}') IF NOT EXISTS",
    "UPDATE": "UPDATE ks.t SET v = 'value {1:010}' WHERE k = 'key{0:010}'",
    "SELECT": "SELECT k, v, w FROM ks.t WHERE k = 'key{:010}'",
    "SELECT f()": "SELECT k, writetime(v) FROM ks.t WHERE k = 'key{:010}'",
    "BATCH": "BEGIN BATCH INSERT INTO ks.t (k) VALUES ({}); INSERT INTO ks.t (k) VALUES ({}); APPLY BATCH",
    "comment first": "/* shop */ INSERT INTO ks.t (k, v) VALUES ('key{:010}', 'value {:010}')",
}


def cost(call: Callable[[str], Statement], shape: str, step: int) -> float:
    """Return the best of some rounds, in microseconds a call, over new strings: none has its hash yet."""
    best = float("inf")
    for _ in range(ROUNDS):
        texts = [shape.format(number * step, number * step) for number in range(TEXTS)]
        begun = time.perf_counter()
        for text in texts:
            call(text)
        best = min(best, time.perf_counter() - begun)
    return best / TEXTS * 1e6


def main() -> None:
    """Print the table."""
    print(f"{'us a call':16}{'cached':>8}{'fresh':>8}{'tokens':>8}")
    for name, shape in SHAPES.items():
        figures = cost(classify, shape, 0), cost(classify, shape, 1), cost(parse, shape, 1)
        print(f"{name:16}" + "".join(f"{figure:8.2f}" for figure in figures))


if __name__ == "__main__":
    main()
