"""Turns the JUnit files of several runs into one dated table: ``python -m conformance.report DIRECTORY > FILE.md``.

It ends with 1 where a scenario was in no run on a backend that ``matrix.md`` names for it: what one run leaves out,
another one has to have.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from conformance import matrix

OUTCOMES = ("passed", "failed", "skipped")


class Run(NamedTuple):
    """One JUnit file: what was run, and per scenario how many of its variants ended how."""

    name: str
    properties: dict[str, str]
    seconds: float
    scenarios: dict[str, Counter[str]]
    measured: dict[str, dict[str, str]]
    """Numbers by variant."""

    def total(self) -> Counter[str]:
        return sum(self.scenarios.values(), Counter())


def read_run(path: Path) -> Run:
    (suite,) = ElementTree.parse(path).getroot().iter("testsuite")
    properties = {item.attrib["name"]: item.attrib["value"] for item in suite.iterfind("properties/property")}
    scenarios: dict[str, Counter[str]] = {}
    measured: dict[str, dict[str, str]] = {}
    for case in suite.iter("testcase"):
        module = case.attrib["classname"].rpartition(".")[2]
        scenario = f"{module}::{case.attrib['name'].partition('[')[0]}"
        kinds = {part.tag for part in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        scenarios.setdefault(scenario, Counter())[outcome] += 1
        numbers = {item.attrib["name"]: item.attrib["value"] for item in case.iterfind("properties/property")}
        if numbers and outcome != "skipped":
            measured[f"{module}::{case.attrib['name']}"] = numbers
    name = path.stem.removeprefix("conformance-")
    return Run(name, properties, float(suite.attrib["time"]), scenarios, measured)


def render(runs: list[Run]) -> str:
    lines = ["# Conformance results", ""]
    lines += [f"Proxy: {version}" for version in sorted({run.properties.get("proxy", "?") for run in runs})]
    lines += ["", "| run | clusters | options | passed | failed | skipped | seconds |", "|---|---|---|---|---|---|---|"]
    for run in runs:
        counts = " | ".join(str(run.total()[outcome]) for outcome in OUTCOMES)
        about = f"{run.properties.get('clusters', '?')} | {run.properties.get('options', '?')}"
        lines.append(f"| {run.name} | {about} | {counts} | {run.seconds:.0f} |")
    lines += ["", "Each cell: variants passed (of those that were run), `-` where the scenario does not apply.", ""]
    lines += [f"| scenario | {' | '.join(run.name for run in runs)} |", f"|---|{'---|' * len(runs)}"]
    for scenario in sorted({name for run in runs for name in run.scenarios}):
        cells = [cell(run.scenarios.get(scenario, Counter())) for run in runs]
        lines.append(f"| {scenario} | {' | '.join(cells)} |")
    lines += ["", "What scenarios measured:", ""]
    for run in runs:
        for variant, numbers in run.measured.items():
            told = ", ".join(f"{name} {number}" for name, number in numbers.items())
            lines.append(f"- {run.name}, {variant.partition('::')[2]}: {told}")
    return "\n".join(lines) + "\n"


def left_out(runs: list[Run], table: dict[str, dict[str, str]]) -> list[str]:
    """Scenarios that the table has for a backend and that no run had there."""
    had = {
        (scenario, run.properties.get("backend"))
        for run in runs
        for scenario, counts in run.scenarios.items()
        if counts["passed"] + counts["failed"]
    }
    return [
        f"{scenario} on {backend}"
        for scenario, cells in table.items()
        for backend, text in cells.items()
        if text != "no" and (scenario, backend) not in had
    ]


def cell(counts: Counter[str]) -> str:
    ran = counts["passed"] + counts["failed"]
    if not ran:
        return "-"
    return f"**{counts['passed']}/{ran}**" if counts["failed"] else str(ran)


def main() -> int:
    runs = [read_run(path) for path in sorted(Path(sys.argv[1]).glob("conformance-*.xml"))]
    sys.stdout.write(render(runs))
    missing = left_out(runs, matrix.read())
    for what in missing:
        print(f"in no run: {what}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
