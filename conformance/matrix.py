"""Which scenario runs on which backend: the committed table, and the judgement over every skip.

A cell is ``yes`` (always runs there), ``no`` (never), or ``if A, B`` (runs when the run has these capabilities). The
table follows from the scenarios' ``needs`` marks and the backends; it is committed so that a scenario which stops
running somewhere shows in a diff, and so that any other skip fails the run. ``--write-matrix`` writes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.backends.interface import CAPABILITIES, Clusters

PATH: Final = Path(__file__).with_name("matrix.md")
HEAD: Final = """# Scenarios and where they run

Written by `pytest -c conformance/pytest.ini conformance --write-matrix`; `conformance/matrix.py` says what a cell is.
A scenario that is skipped where this table does not allow it fails the run.

"""


def cell(needs: frozenset[str], backend: type[Clusters]) -> str:
    """What the table must say of a scenario with these needs. A proxy is there or not on any backend."""
    unknown = needs - CAPABILITIES.keys()
    assert not unknown, f"unknown capabilities: {', '.join(sorted(unknown))}"
    conditional = needs - backend.always
    if conditional - backend.sometimes - {"proxy"}:
        return "no"
    return f"if {', '.join(sorted(conditional))}" if conditional else "yes"


def allows(text: str, missing: frozenset[str]) -> bool:
    """Whether a table cell allows a skip because these capabilities are missing."""
    if text == "no":
        return True
    listed = text.removeprefix("if ").split(", ") if text.startswith("if ") else []
    return missing <= set(listed)


def render(scenarios: Mapping[str, frozenset[str]], backends: Sequence[type[Clusters]]) -> str:
    names = [backend.name for backend in backends]
    lines = [f"| scenario | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for scenario, needs in sorted(scenarios.items()):
        lines.append(f"| {scenario} | {' | '.join(cell(needs, backend) for backend in backends)} |")
    words = [f"| {word} | {meaning} |" for word, meaning in CAPABILITIES.items()]
    return HEAD + "\n".join([*lines, "", "| capability | meaning |", "|---|---|", *words, ""])


def read(path: Path = PATH) -> dict[str, dict[str, str]]:
    """scenario -> backend -> cell"""
    table: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in path.read_text().splitlines() if path.exists() else []:
        cells = [part.strip() for part in line.strip("|").split("|")]
        if cells[0] == "scenario":
            columns = cells[1:]
        elif cells[0].startswith("test_"):
            table[cells[0]] = dict(zip(columns, cells[1:], strict=True))
    return table
