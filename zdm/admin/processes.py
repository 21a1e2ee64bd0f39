"""What the kernel knows of the proxy's processes: memory, descriptors, CPU time (behaviour spec 8.1).

Under the names that the reference's library gives them, and for the whole: with workers in processes of their own the
figures are sums. The CPU time of those that have ended stays counted, because a counter does not fall.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.process_collector import ProcessCollector

from zdm.exposition import Family, Sample

_CPU: Final = "cpu_seconds_total"
_SUMMED: Final = frozenset({_CPU, "open_fds", "resident_memory_bytes", "virtual_memory_bytes"})


def process_families(children: Callable[[], Iterable[int]]) -> list[Family]:
    """This process, and `children` by their ids; names lack the prefix `process`."""
    whole = _figures(None)
    for pid in children():
        for name, (kind, text, value) in _figures(pid).items():
            if name in _SUMMED and name in whole:
                whole[name] = (kind, text, whole[name][2] + value)
    if _CPU in whole:
        kind, text, value = whole[_CPU]
        buried = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole[_CPU] = (kind, text, value + buried.ru_utime + buried.ru_stime)
    return [Family(name, kind, text, [Sample((), value)]) for name, (kind, text, value) in whole.items()]


def _figures(pid: int | None) -> dict[str, tuple[str, str, float]]:
    """Type, help and value of each; nothing of a process that has ended."""
    found = {}
    for metric in ProcessCollector(pid=lambda: "self" if pid is None else pid, registry=None).collect():
        counter = "_total" if metric.type == "counter" else ""
        for sample in metric.samples:
            found[metric.name.removeprefix("process_") + counter] = (metric.type, metric.documentation, sample.value)
    return found
