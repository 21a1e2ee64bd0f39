"""Put the figures of the newest results into docs/performance.md, and their plot beside it.

    python bench/page.py [RESULT.json ...]

The page marks where: between `<!-- figures: PLAN -->` and `<!-- end -->`. The newest result of each plan in
bench/results is taken, or those that are named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from plot import plot
from processes import HERE, BenchError
from record import RESULTS, Record, read
from report import page

DOCS: Final = HERE.parent / "docs"
PLACE: Final = re.compile(r"(?P<begin><!-- figures: (?P<plan>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


def newest(paths: Iterable[Path]) -> dict[str, Record]:
    """The last record of each plan; names begin with the time."""
    return {record.plan: record for record in map(read, sorted(paths))}


def filled(text: str, records: dict[str, Record]) -> str:
    """The page with the figures of these records in their places; places without a record stay as they are."""

    def figures(place: re.Match[str]) -> str:
        record = records.get(place["plan"])
        return place[0] if record is None else f"{place['begin']}\n{page(record)}\n{place['end']}"

    return PLACE.sub(figures, text)


def main(arguments: Sequence[str]) -> int:
    records = newest(map(Path, arguments) if arguments else RESULTS.glob("*.json"))
    path = DOCS / "performance.md"
    path.write_text(filled(path.read_text(), records))
    print(f"Written: {path}")
    if record := records.get("standard") or records.get("goals"):
        try:
            plot(record.cells, f"Dual writes through the proxy, {record.facts['when'][:10]}", path.with_suffix(".png"))
        except BenchError as missing:
            print(missing)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
