"""`python -m tests.mutants [NAME...]`: plants one fault after the other, and sees whether the tests find it.

Each `NAME.patch` beside this file is a difference against the tree, after lines that say what it breaks:

    # Broken: a sentence for the reader.
    # Noticed by: simulation 2000

The second line names what must fail: the simulation within so many seeds, or tests for pytest. The fault is planted in
a copy of the tree, never in the tree itself. First the copy without a fault must pass all of that, or nothing would
follow. A fault that nobody notices fails the run, and so does a patch that does not fit any more.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
_COPIED: Final = ("zdm", "tests", "pyproject.toml")
_LIMIT: Final = 300.0
"""Seconds for one fault: one that makes the tests run for ever is found as well."""


@dataclass(frozen=True)
class Fault:
    """One patch. `noticed_by`: the words after "Noticed by:"."""

    name: str
    patch: Path
    broken: str
    noticed_by: tuple[str, ...]

    def command(self) -> list[str]:
        """What must fail, to be run in the tree with the fault."""
        return command_for(self.noticed_by)


@dataclass(frozen=True)
class Verdict:
    """What became of a fault. `detail` is the line that says what noticed it, or why that cannot be said."""

    fault: Fault
    word: str
    seconds: float
    detail: str

    def __str__(self) -> str:
        return f"{self.word:9} {self.seconds:6.1f} s  {self.fault.name:45} {self.detail[:140]}"


def command_for(noticed_by: Sequence[str]) -> list[str]:
    """How to run what is named after "Noticed by:"."""
    if noticed_by[0] == "simulation":
        return [sys.executable, "-m", "tests.simulation", noticed_by[1], "1"]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *noticed_by]


def read(patch: Path) -> Fault:
    """A fault from its patch; raises ValueError where the two lines are missing."""
    text = patch.read_text()
    broken = re.search(r"^# Broken: (.+)$", text, re.MULTILINE)
    noticed_by = re.search(r"^# Noticed by: (.+)$", text, re.MULTILINE)
    if broken is None or noticed_by is None:
        raise ValueError(f"{patch.name} does not say what it breaks, or what must notice it")
    return Fault(patch.stem, patch, broken[1], tuple(noticed_by[1].split()))


def faults(names: Sequence[str] = ()) -> list[Fault]:
    """The faults of these names, or all."""
    found = [read(patch) for patch in sorted(HERE.glob("*.patch"))]
    return [fault for fault in found if not names or fault.name in names]


def copy_tree(to: Path) -> None:
    """The tree as it is now, without what was made from it."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.patch", "*.so"))
        else:
            shutil.copy(ROOT / name, to / name)


def plant(fault: Fault, tree: Path) -> str:
    """Put the fault into a tree; what is wrong, if it does not fit."""
    command = ["git", "apply", "--whitespace=nowarn", str(fault.patch)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    return done.stderr.strip()


def is_sound(found: Sequence[Fault]) -> bool:
    """What is to notice the faults passes where there is none."""
    with tempfile.TemporaryDirectory(prefix="zdm-mutant-") as place:
        copy_tree(Path(place))
        for noticed_by in dict.fromkeys(fault.noticed_by for fault in found):
            done = subprocess.run(command_for(noticed_by), cwd=place, capture_output=True, text=True)
            if done.returncode:
                print(f"fails without any fault: {' '.join(noticed_by)}\n{done.stdout}{done.stderr}")
                return False
    return True


def judge(fault: Fault) -> Verdict:
    """Plant the fault in a copy of the tree, and see."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="zdm-mutant-") as place:
        tree = Path(place)
        copy_tree(tree)
        misfit = plant(fault, tree)
        if misfit:
            return Verdict(fault, "no fit", time.perf_counter() - began, misfit.replace("\n", "; "))
        try:
            done = subprocess.run(fault.command(), cwd=tree, capture_output=True, text=True, timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            return Verdict(fault, "killed", time.perf_counter() - began, "ran for ever")
    return Verdict(fault, *_word(done, time.perf_counter() - began))


def _word(done: subprocess.CompletedProcess[str], seconds: float) -> tuple[str, float, str]:
    if done.returncode == 0:
        return "SURVIVED", seconds, "everything passed"
    told = [line for line in done.stdout.splitlines() if line.startswith(("seed ", "FAILED "))]
    if done.returncode != 1 or not told:
        return "broken", seconds, (done.stderr or done.stdout).strip().rpartition("\n")[2]
    return "killed", seconds, told[0]


def main(names: Sequence[str]) -> int:
    """Judge the faults of these names, or all; 1 where one was not noticed."""
    verdicts: list[Verdict] = []
    found = faults(names)
    if not is_sound(found):
        return 1
    for fault in found:
        verdict = judge(fault)
        print(verdict, flush=True)
        verdicts.append(verdict)
    killed = sum(verdict.word == "killed" for verdict in verdicts)
    print(f"{killed} of {len(verdicts)} planted faults were found")
    return 0 if verdicts and killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
