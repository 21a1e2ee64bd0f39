"""The dashboards as files: made from their table, whole, and for any data source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.grafana import dashboards
from tests.deploy.asking import BOARDS, board, panels

each_board = pytest.mark.parametrize("path", BOARDS, ids=lambda path: str(path.stem))


def test_there_is_a_file_for_each_dashboard() -> None:
    """One that is in the table only is nowhere for an operator."""
    assert [path.stem for path in BOARDS] == sorted(dashboards.DASHBOARDS)


@each_board
def test_a_dashboard_is_what_its_table_makes(path: Path) -> None:
    """`make dashboards` was run after the last change of the table."""
    assert path.read_text() == dashboards.text(path.stem)


@each_board
def test_panels_have_their_own_numbers_and_do_not_overlap(path: Path) -> None:
    """Grafana mends neither."""
    shown = board(path)["panels"]
    assert len({panel["id"] for panel in shown}) == len(shown)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in shown)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


@each_board
def test_every_variable_that_is_used_is_there(path: Path) -> None:
    """Another one is empty, and so is the panel."""
    known = {variable["name"] for variable in board(path)["templating"]["list"]}
    for panel in panels(path):
        asked = [panel["datasource"], *(target["expr"] for target in panel["targets"])]
        used = set(re.findall(r"\$(\w+)", " ".join(asked)))
        assert used <= known, panel["title"]


@each_board
def test_panels_can_be_told_apart(path: Path) -> None:
    """Titles repeat only under other headings, and each line of a panel has a legend."""
    row, seen = "", set()
    for panel in board(path)["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        assert (row, panel["title"]) not in seen or panel["type"] == "row"
        seen.add((row, panel["title"]))
        assert all(target["legendFormat"] for target in panel.get("targets", []))
