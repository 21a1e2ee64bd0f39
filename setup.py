"""What is decided when the program is built: whether rings 0 to 2 are compiled, by mypyc.

`ZDM_COMPILE=auto` (the default) compiles where a C compiler and Python's headers are there, `yes` fails where they are
not, `no` leaves Python as it is. The source is the same either way. An editable install is never compiled by `auto`:
compiled modules would hide what is edited. Everything static is in pyproject.toml.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

RINGS = ("zdm/protocol", "zdm/cql", "zdm/core")


def compiled_modules() -> list[str]:
    """The modules to compile: rings 0 to 2, without those that have dataclasses with slots, which mypyc cannot do."""
    found = [path for ring in RINGS for path in sorted(Path(ring).glob("*.py")) if path.name != "__init__.py"]
    found += [Path("zdm/meters.py"), Path("zdm/metrics.py")]
    return [str(path) for path in found if "@dataclass" not in path.read_text()]


def missing() -> str:
    """What keeps the modules from being compiled here; empty where nothing does."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler})"
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return "no Python.h (the headers are in a package of their own: python3-dev)"
    return ""


def extensions() -> list:
    """The extension modules; none where the program stays interpreted."""
    wish = os.environ.get("ZDM_COMPILE", "auto")
    if wish not in ("auto", "yes", "no"):
        sys.exit(f"ZDM_COMPILE={wish}: it is one of auto, yes, no")
    is_build = any(command in sys.argv for command in ("bdist_wheel", "build_ext", "editable_wheel"))
    if wish == "no" or not is_build or (wish == "auto" and "editable_wheel" in sys.argv):
        return []
    lacking = missing()
    if lacking and wish == "yes":
        sys.exit(f"ZDM_COMPILE=yes, but there is {lacking}")
    if lacking:
        print(f"zdm-proxy is not compiled: {lacking}. It works the same, for about half again as much CPU.")
        return []
    from mypyc.build import mypycify

    # The project's own mypy configuration names plugins for the outer rings, which need not be installed here; nor do
    # the compression libraries.
    options = ["--config-file=", "--strict", "--ignore-missing-imports"]
    return mypycify([*options, *compiled_modules()], group_name="zdm", debug_level="0")


setup(ext_modules=extensions())
