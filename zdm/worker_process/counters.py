"""A meter as JSON: what a worker has counted, on its way to the one text that Prometheus gets."""

from __future__ import annotations

import json
from typing import Any, Final

from zdm.metrics import Meter, RequestMeter

# as both builds of the program tell them, with slots and compiled
FIELDS: Final = tuple(name for name in dir(Meter) if not name.startswith("_") and not callable(getattr(Meter, name)))


def dumped(meter: Meter) -> bytes:
    """All that it has counted; bounds are left out, because both ends have the same."""
    return json.dumps({name: _dumped(getattr(meter, name)) for name in FIELDS}).encode()


def loaded(data: bytes, meter: Meter) -> Meter:
    """`meter`, which has counted nothing yet, with those counts."""
    for name, count in json.loads(data).items():
        own = getattr(meter, name)
        if isinstance(own, RequestMeter):
            own.inflight, own.cancelled, own.duration.counts, own.duration.total = count
        else:
            setattr(meter, name, count)
    return meter


def _dumped(count: Any) -> Any:
    if isinstance(count, RequestMeter):
        return [count.inflight, count.cancelled, count.duration.counts, count.duration.total]
    assert isinstance(count, (int, float))
    return count
