"""A meter as JSON: what a worker has counted, on its way to the one text that Prometheus gets."""

from __future__ import annotations

import json
from typing import Any, Final

from zdm.core.tables import Tables
from zdm.meters import Histogram, NodeMeter, Nodes, RequestMeter
from zdm.metrics import Meter

# as both builds of the program tell them, with slots and compiled
FIELDS: Final = tuple(
    name
    for name in dir(Meter)
    if not name.startswith("_") and not callable(getattr(Meter, name)) and name != "copies_to"  # known at both ends
)


def dumped(meter: Meter) -> bytes:
    """All that it has counted; bounds are left out, because both ends have the same."""
    return json.dumps({name: _dumped(getattr(meter, name)) for name in FIELDS}).encode()


def loaded(data: bytes, meter: Meter) -> Meter:
    """`meter`, which has counted nothing yet, with those counts."""
    for name, count in json.loads(data).items():
        own = getattr(meter, name)
        if isinstance(own, RequestMeter):
            own.inflight, own.cancelled, durations = count
            _load(own.duration, durations)
        elif isinstance(own, Tables):
            for keyspace, table, origin, target in count:
                own.counted((keyspace, table), origin, target)
        elif isinstance(own, Nodes):
            for node, counted in count.items():
                _load_node(own.named(node), *counted)
        else:
            setattr(meter, name, count)
    return meter


def _dumped(count: Any) -> Any:
    if isinstance(count, RequestMeter):
        return [count.inflight, count.cancelled, _durations(count.duration)]
    if isinstance(count, Tables):
        return [[*name, meter.origin, meter.target] for name, meter in count.by_name.items()]
    if isinstance(count, Nodes):
        return {name: _dumped_node(node) for name, node in count.by_name.items()}
    assert isinstance(count, (int, float))
    return count


def _dumped_node(node: NodeMeter) -> list[Any]:
    gauges = [node.connections, node.used_streams, node.inflight]
    return [gauges, node.failed_connections, node.failed, _durations(node.reads), _durations(node.writes)]


def _load_node(node: NodeMeter, gauges: list[int], failed_connections: int, failed: Any, *durations: Any) -> None:
    node.connections, node.used_streams, node.inflight = gauges
    node.failed_connections = failed_connections
    node.failed.update(failed)
    _load(node.reads, durations[0])
    _load(node.writes, durations[1])


def _durations(histogram: Histogram) -> list[Any]:
    return [histogram.counts, histogram.total]


def _load(histogram: Histogram, durations: list[Any]) -> None:
    histogram.counts, histogram.total = durations
