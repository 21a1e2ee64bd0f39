"""The planted faults fit the tree as it is: `make mutants` takes too long to be the first that notices."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.mutants.__main__ import ROOT, Fault, faults


@pytest.mark.skipif(shutil.which("git") is None, reason="patches are applied by git")
@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_a_planted_fault_fits(fault: Fault) -> None:
    """Or nothing would be known of what it stands for. What must notice it is there as well."""
    command = ["git", "apply", "--check", str(fault.patch)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for named in fault.noticed_by:
        assert fault.noticed_by[0] == "simulation" or (ROOT / named.partition("::")[0]).exists(), named
