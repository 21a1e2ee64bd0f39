"""The house rules that a program can check: imports flow inward, modules stay small, names have a subject.

RINGS is the one place that says which module belongs to which ring: enter a new module at the top of `zdm/` there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RINGS = {
    "zdm": 0,
    "zdm.protocol": 0,
    "zdm.cql": 1,
    "zdm.core": 2,
    "zdm.exposition": 2,
    "zdm.families": 2,
    "zdm.meters": 2,
    "zdm.metrics": 2,
    "zdm.activation": 4,
    "zdm.admin": 3,
    "zdm.certificates": 3,
    "zdm.cluster_findings": 3,
    "zdm.config": 3,
    "zdm.configuration": 3,
    "zdm.cpus": 3,
    "zdm.facts": 3,
    "zdm.findings": 3,
    "zdm.lasting_state": 3,
    "zdm.log": 3,
    "zdm.net": 3,
    "zdm.notifying": 3,
    "zdm.profiling": 3,
    "zdm.sandbox": 3,
    "zdm.settings": 3,
    "zdm.sockets": 3,
    "zdm.state_file": 3,
    "zdm.tls_ends": 3,
    "zdm.__main__": 4,
    "zdm.check": 4,
    "zdm.check_report": 4,
    "zdm.cli": 4,
    "zdm.rereading": 4,
    "zdm.program": 4,
    "zdm.service": 4,
    "zdm.succession": 4,
    "zdm.supervisor": 4,
    "zdm.target_command": 4,
    "zdm.target_switch": 4,
    "zdm.upgrade": 4,
    "zdm.worker_process": 4,
    "zdm.workers": 4,
}

# what rings 0 to 2 may use beside the standard library, and the one module that may use the others
PURE_LIBRARIES = {"mypy_extensions"}
COMPRESSION_LIBRARIES = {"zdm.protocol.compression": {"lz4", "cramjam"}}
# parts of the standard library that have no place in code without I/O, clock and logger
IMPURE = {
    *("asyncio", "concurrent", "http", "logging", "multiprocessing", "select", "selectors", "signal", "socketserver"),
    *("sched", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"),
}

MAX_LINES = 400
EMPTY_NOUNS = {"base", "common", "data", "engine", "handler", "helper", "manager", "misc", "processor", "util", "utils"}

MODULES = sorted((ROOT / "zdm").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def ring_of(name: str) -> int:
    """The ring of a module, from the longest entry that it lies in."""
    own = ".".join(name.split(".")[:2])
    if own not in RINGS:
        pytest.fail(f"{own} has no ring: enter it in RINGS, tests/test_layers.py")
    return RINGS[own]


def imports(tree: ast.Module, name: str, is_package: bool) -> Iterator[tuple[str, int]]:
    """Every module imported anywhere in the file, with its line; `from zdm import cli` counts as zdm.cli."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if is_package else name.split(".")[:-1]
            outer = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (outer, node.module) if part)
            if source == "zdm":
                yield from (
                    (f"zdm.{alias.name}", node.lineno) for alias in node.names if not alias.name.startswith("__")
                )
            else:
                yield source, node.lineno


def faults_of(source: str, name: str, is_package: bool = False) -> list[str]:
    """Imports that a module of this name must not have."""
    ring = ring_of(name)
    faults = []
    for imported, line in imports(ast.parse(source), name, is_package):
        top = imported.split(".")[0]
        if top == "zdm":
            if ring_of(imported) > ring:
                faults.append(f"line {line}: {name} (ring {ring}) imports {imported} (ring {ring_of(imported)})")
        elif top in PURE_LIBRARIES or top in COMPRESSION_LIBRARIES.get(name, ()):
            continue
        elif ring <= 2 and (top not in sys.stdlib_module_names or top in IMPURE):
            faults.append(f"line {line}: {name} (ring {ring}) imports {imported}, which is not for rings 0 to 2")
    return faults


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_flow_inward(path: Path) -> None:
    """A decision that needs a socket cannot be tested without one, and cannot be compiled."""
    assert faults_of(path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("zdm.protocol.frames", "from zdm.cql import lexer"),
        ("zdm.protocol.frames", "import lz4.block"),
        ("zdm.core.session", "import cramjam"),
        ("zdm.cql.lexer", "import zdm.core.session"),
        ("zdm.core.session", "def f():\n    from zdm import config"),
        ("zdm.core.session", "from ..net.client import ClientConnection"),
        ("zdm.core.session", "from twisted.internet import reactor"),
        ("zdm.meters", "import time"),
        ("zdm.metrics", "import time"),
        ("zdm.net.client", "from zdm.program import run"),
        ("zdm.config", "import zdm.cli"),
    ],
)
def test_an_outward_import_is_found(name: str, source: str) -> None:
    """The test above would also pass if it looked at nothing."""
    assert faults_of(source, name)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("zdm.core.session", "import struct\nfrom zdm.protocol.frames import Frame\nfrom zdm.cql import lexer"),
        ("zdm.net.client", "from zdm.core.session import Session\nfrom twisted.internet import defer"),
        ("zdm.cli", "from zdm import __version__, service"),
        ("zdm.protocol.frames", "from . import primitives\nfrom .types import CqlType"),
        ("zdm.protocol.compression", "import lz4.block\nfrom cramjam import snappy"),
    ],
)
def test_an_inward_import_is_allowed(name: str, source: str) -> None:
    assert faults_of(source, name) == []


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_stay_small(path: Path) -> None:
    """A file of more lines answers more than one question."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_names_have_a_subject(path: Path) -> None:
    """A module that would be called `util`, or a class that would be called a manager, has none."""
    words = set(path.stem.split("_"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            # the noun is what comes last: a DataPath is a path, a PathData would be nothing
            words.update(word.lower() for word in re.findall(r"[A-Z][a-z]*$|^_?Base", node.name))
    assert words & EMPTY_NOUNS == set()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_type_ignore_says_why(path: Path) -> None:
    """An unexplained one hides the next error on its line."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if "# type: ignore" in line:
            assert re.search(r"# type: ignore\[[a-z-, ]+\]  # \S", line), f"line {number}: {line.strip()}"
