"""The table of the reference's tests names tests and planted faults that are there: it cannot rot (`parity.md`)."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.__main__ import Fault, faults

ROOT = Path(__file__).parents[1]
INTEGRATION, UNIT, FIXES = "Integration tests", "Unit tests", "What the reference does wrong"
NOT_YET = re.compile(r"not yet: \w")
FIX = re.compile(r"FIX-\d\d")


class Row(NamedTuple):
    """One line of a table: what of the reference, which tests of ours, and what else is said."""

    section: str
    name: str
    ours: tuple[str, ...]
    rest: str


def read() -> Iterator[Row]:
    section = ""
    for line in (ROOT / "conformance" / "parity.md").read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and cells[0] not in ("reference", "fix") and cells[0][:3] != "---":
            yield Row(section, cells[0], tuple(re.findall(r"`([^`]+)`", cells[1])), cells[2])


ROWS = list(read())


def rows(section: str) -> list[Row]:
    return [row for row in ROWS if row.section == section]


@functools.cache
def collected(path: Path) -> frozenset[str]:
    """The tests of a file, with their class where they have one, as pytest names them."""
    body = ast.parse(path.read_text()).body
    found = set(_tests(body))
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found |= {f"{node.name}::{name}" for name in _tests(node.body)}
    return frozenset(found)


def _tests(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "-"))
def test_what_the_table_names_is_there(row: Row) -> None:
    """A test that is renamed takes its line along, and no line is empty without a reason."""
    assert row.ours or NOT_YET.match(row.rest), "neither a test nor what it waits for"
    for named in row.ours:
        file, _, test = named.partition("::")
        assert test in collected(ROOT / file), named


def test_every_test_of_the_reference_has_its_line() -> None:
    """72 functions, one of which has five parts; and seven groups of unit tests."""
    names = [row.name for row in rows(INTEGRATION)]
    assert len(names) == len(set(names)) == 76
    assert len({name.partition("/")[0] for name in names}) == 72
    assert all(name.startswith("Test") for name in names)
    assert len(rows(UNIT)) == 7


def planted_for(fix: str) -> list[Fault]:
    return [fault for fault in faults() if fix in FIX.findall(fault.broken)]


def test_every_fix_has_its_line() -> None:
    """And no planted fault speaks of one that is not known."""
    known = [f"FIX-{number:02}" for number in range(1, 28)]
    assert [row.name for row in rows(FIXES)] == known
    assert {fix for fault in faults() for fix in FIX.findall(fault.broken)} <= set(known)


@pytest.mark.parametrize("row", rows(FIXES), ids=lambda row: row.name)
def test_a_fix_has_planted_faults_that_its_tests_find(row: Row) -> None:
    """Those that are named are planted for it. A fix that is waited for has neither tests nor faults in its line."""
    named = set() if NOT_YET.match(row.rest) else set(row.rest.split(", "))
    assert named <= {fault.name for fault in planted_for(row.name)}
    assert bool(named) == bool(row.ours)
