"""Turns the JUnit files of several runs into one dated table: ``python -m conformance.report DIRECTORY > FILE.md``."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import NamedTuple

OUTCOMES = ("passed", "failed", "skipped")


class Run(NamedTuple):
    """One JUnit file: what was run, and per scenario how many of its variants ended how."""

    name: str
    properties: dict[str, str]
    seconds: float
    scenarios: dict[str, Counter[str]]

    def total(self) -> Counter[str]:
        return sum(self.scenarios.values(), Counter())


def read_run(path: Path) -> Run:
    (suite,) = ElementTree.parse(path).getroot().iter("testsuite")
    properties = {item.attrib["name"]: item.attrib["value"] for item in suite.iterfind("properties/property")}
    scenarios: dict[str, Counter[str]] = {}
    for case in suite.iter("testcase"):
        module = case.attrib["classname"].rpartition(".")[2]
        scenario = f"{module}::{case.attrib['name'].partition('[')[0]}"
        kinds = {part.tag for part in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        scenarios.setdefault(scenario, Counter())[outcome] += 1
    return Run(path.stem.removeprefix("conformance-"), properties, float(suite.attrib["time"]), scenarios)


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
    return "\n".join(lines) + "\n"


def cell(counts: Counter[str]) -> str:
    ran = counts["passed"] + counts["failed"]
    if not ran:
        return "-"
    return f"**{counts['passed']}/{ran}**" if counts["failed"] else str(ran)


if __name__ == "__main__":
    sys.stdout.write(render([read_run(path) for path in sorted(Path(sys.argv[1]).glob("conformance-*.xml"))]))
