"""The wheel that is published: everything in it, nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from zdm import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, so that the tree stays as it is, without the network, and interpreted, which is quicker."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    files = [path for path in (ROOT / "zdm").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [ROOT / name for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in")]
    for path in files:
        to = copy / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    pip += ["--wheel-dir", str(out), str(copy)]
    environment = {**os.environ, "ZDM_COMPILE": "no"}
    done = subprocess.run(pip, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_every_module_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """A package without `__init__.py` is left out in silence, and found missing by the first who installs."""
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "zdm").rglob("*")
        if path.is_file() and (path.suffix == ".py" or path.name == "py.typed")
    }
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert here <= inside
    assert all(name.startswith("zdm/") for name in inside)
    assert "zdm/py.typed" in inside


def test_the_wheel_has_one_version_a_licence_and_the_program(wheel: zipfile.ZipFile) -> None:
    info = f"zdm_proxy-{__version__}.dist-info"
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert "zdm-proxy = zdm.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def setup_script(wish: str, compiler: str = "", command: str = "build_ext") -> subprocess.CompletedProcess[str]:
    """What the build script says before it would build anything."""
    environment = {**os.environ, "ZDM_COMPILE": wish, **({"CC": compiler} if compiler else {})}
    script = [sys.executable, "setup.py", command, "--help"]
    return subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_without_a_compiler_the_program_is_installed_as_it_is() -> None:
    """It is a matter of speed, so it stops nobody who has not asked for it."""
    done = setup_script("auto", "no-such-compiler")
    assert done.returncode == 0, done.stderr
    assert "zdm-proxy is not compiled: no C compiler (no-such-compiler)" in done.stdout


def test_who_asks_for_the_compiled_program_is_told_what_is_missing() -> None:
    done = setup_script("yes", "no-such-compiler")
    assert done.returncode == 1
    assert done.stderr == "ZDM_COMPILE=yes, but there is no C compiler (no-such-compiler)\n"


def test_a_wish_that_cannot_be_understood_is_named() -> None:
    done = setup_script("maybe")
    assert (done.returncode, done.stderr) == (1, "ZDM_COMPILE=maybe: it is one of auto, yes, no\n")
