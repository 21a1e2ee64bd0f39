"""The figures of a run as a picture: CPU per request, as multiples of HAProxy's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from contestants import DIRECT, FLOOR
from goals import Figures
from loads import Cell, Load
from processes import BenchError
from report import APART, where

MISSING: Final = "No plot: matplotlib is missing. Install it with `pip install 'zdm-proxy[bench]'`."
COLOURS: Final = ("#1f5a96", "#e08a1e", "#5b8c3a", "#8a4f9e", "#777777")


def plot(cells: Sequence[Cell], title: str, path: Path) -> None:
    """Write a PNG. Raises BenchError where there is no matplotlib."""
    try:
        from matplotlib import use  # an extra: measuring goes without
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise BenchError(MISSING) from missing
    use("Agg")
    good = [cell for cell in cells if cell.rounds and not cell.failure and cell.group not in APART]
    depths = [many for many in (True, False) if any((cell.load.depth > 1) == many for cell in good)]
    picture = Figure(figsize=(6.5 * max(len(depths), 1), 6), layout="constrained")
    picture.suptitle(title)
    for place, many in enumerate(depths):
        axes = picture.add_subplot(1, len(depths), place + 1)
        bars(axes, [cell for cell in good if (cell.load.depth > 1) == many])
        axes.set_title("many requests in flight on each connection" if many else "one request at a time")
    picture.savefig(path, dpi=110)


def bars(axes: Any, cells: Sequence[Cell]) -> None:
    """One group of bars for each load, with a line at what HAProxy costs."""
    figures = Figures(cells)
    loads = [load for load in figures.loads if figures.cpu(load, FLOOR)]
    proxies = [name for name in dict.fromkeys(cell.proxy for cell in cells) if name not in (DIRECT, FLOOR)]
    height = 0.8 / max(len(proxies), 1)
    for place, proxy in enumerate(proxies):
        ratios = [(figures.cpu(load, proxy) or 0) / (figures.cpu(load, FLOOR) or 1) for load in loads]
        shown = axes.barh([row + place * height for row in range(len(loads))], ratios, height, label=proxy)
        for bar, value in zip(shown, ratios, strict=True):
            bar.set_color(COLOURS[place % len(COLOURS)])
            axes.text(value, bar.get_y() + height / 2, f" {value:.1f}", va="center", fontsize=8)
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(loads))], [caption(load) for load in loads])
    axes.invert_yaxis()
    axes.set_xlabel("CPU per request, as a multiple of HAProxy's")
    axes.legend(loc="lower right", fontsize=8)


def caption(load: Load) -> str:
    mode, ids, many, size = where(load)
    return f"{mode}, {ids} ids\n{many}, {size}"
