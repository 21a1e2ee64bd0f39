"""How many workers a container's limits allow."""

from __future__ import annotations

from pathlib import Path

import pytest

from zdm.cpus import allowed_cpus


def files(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(("affinity", "cpus"), [(1, 1), (3, 3), (0, 1)])
def test_without_control_groups_the_affinity_decides(tmp_path: Path, affinity: int, cpus: int) -> None:
    """taskset, and systemd's CPUAffinity; and there is always one."""
    assert allowed_cpus(tmp_path, affinity) == cpus


def test_the_affinity_is_that_of_this_process() -> None:
    """Not the host's number of CPUs."""
    assert allowed_cpus() >= 1


@pytest.mark.parametrize(
    ("limit", "cpus"), [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 8), ("?", 8)]
)
def test_the_quota_of_version_2_is_kept(tmp_path: Path, limit: str, cpus: int) -> None:
    """Kubernetes' limit; part of a CPU is no worker, but the first."""
    root = files(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{limit}\n"})
    assert allowed_cpus(root, 8) == cpus


def test_a_group_further_out_may_be_the_tighter_one(tmp_path: Path) -> None:
    """A slice of systemd limits all its services."""
    limits = {"sys/fs/cgroup/a.slice/cpu.max": "300000 100000", "sys/fs/cgroup/a.slice/b/cpu.max": "600000 100000"}
    assert allowed_cpus(files(tmp_path, {"proc/self/cgroup": "0::/a.slice/b\n", **limits}), 8) == 3


@pytest.mark.parametrize(("quota", "cpus"), [("250000", 2), ("-1", 8), ("0", 8)])
def test_the_quota_of_version_1_is_kept(tmp_path: Path, quota: str, cpus: int) -> None:
    """The group's path is the host's, which a container does not see: its own group is mounted at the top."""
    texts = {
        "proc/self/cgroup": "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": quota,
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert allowed_cpus(files(tmp_path, texts), 8) == cpus


def test_the_affinity_holds_where_the_quota_is_larger(tmp_path: Path) -> None:
    """The smaller of both."""
    root = files(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "800000 100000"})
    assert allowed_cpus(root, 2) == 2
