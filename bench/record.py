"""Results as JSON: all rounds as they were measured, with what they were measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loads import Cell, Load
from plans import Plan
from processes import HERE

RESULTS: Final = HERE / "results"
SCRATCH: Final = HERE.parent / "build" / "bench"  # of runs that are not to be compared with


@dataclass(frozen=True)
class Record:
    """One run. `facts` say when, of which commit and on what it was made."""

    plan: str
    facts: dict[str, Any]
    cells: Sequence[Cell]


def facts(plan: Plan, begun: datetime, load_before: float) -> dict[str, Any]:
    """What must be known to judge the figures."""
    return {
        "when": begun.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": round(load_before, 1),  # above 0: something else was running too
        },
        "rounds": plan.rounds,
        "requests": plan.requests,
    }


def commit() -> str:
    """The commit that the tree is at, or an empty string outside a repository."""
    return git("describe", "--always", "--dirty", "--exclude=*").strip()


def git(*arguments: str) -> str:
    try:
        run = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True)
    except OSError:
        return ""
    return run.stdout if run.returncode == 0 else ""


def write(record: Record, into: Path) -> Path:
    """Write a run, a line for each round; the file is named after its time."""
    into.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromisoformat(record.facts["when"])
    path = into / f"{stamp:%Y%m%dT%H%M%SZ}.json"
    head = {"plan": record.plan, **record.facts}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    path.write_text("{" + "\n".join(lines) + '\n"cells": [\n' + ",\n".join(map(cell_text, record.cells)) + "\n]}\n")
    return path


def cell_text(cell: Cell) -> str:
    known: dict[str, Any] = {
        "group": cell.group,
        "proxy": cell.proxy,
        "load": asdict(cell.load),
        "failure": cell.failure,
    }
    known["cpu_us"] = cell.cpu_us if cell.rounds else None
    rounds = ",\n  ".join(json.dumps(each) for each in cell.rounds)
    return f' {json.dumps(known)[:-1]}, "rounds": [\n  {rounds}]}}'


def read(path: Path) -> Record:
    """A run as it was written; before there were plans, too."""
    content = json.loads(path.read_text())
    cells = [cell_of(each, content.get("connections", 8)) for each in content.pop("cells")]
    return Record(content.pop("plan", "standard"), content, cells)


def cell_of(written: dict[str, Any], connections: int) -> Cell:
    load = written.get("load")
    if load is None:
        load = {name: written[name] for name in ("mode", "ids", "depth")} | {"connections": connections}
    return Cell(written.get("group", "cost"), Load(**load), written["proxy"], written["rounds"], written["failure"])


def last_committed(plan: str) -> Path | None:
    """The newest result of such a plan that is in the repository."""
    tracked = sorted(git("ls-files", "results").split(), reverse=True)
    return next((path for path in (HERE / each for each in tracked) if path.suffix == ".json" and of(path, plan)), None)


def of(path: Path, plan: str) -> bool:
    return path.is_file() and read(path).plan == plan


def now() -> datetime:
    return datetime.now(UTC)
