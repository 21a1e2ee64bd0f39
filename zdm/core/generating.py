"""Values that the proxy makes in a cluster's place: version 1 and 4 UUIDs, times, and write timestamps.

One per process. What it gives never goes back, whatever the clock does: each time is at least one step after the one
before it. Node and first clock sequence are random, so that no two processes make the same UUID (behaviour of the
reference, section 6.4).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final
from uuid import UUID

GREGORIAN: Final = 0x01B21DD213814000
"""Steps of 100 ns from 1582-10-15, where version 1 begins, to 1970."""

_MULTICAST: Final = 0x010000000000
_DAY: Final = 86_400_000_000_000  # nanoseconds
_DATE_OF_1970: Final = 719_163  # days from what Python counts from
_CENTRE: Final = 2**31  # a date is unsigned, with 1970 in the middle


class Generator:
    """Makes values. `clock` gives nanoseconds since 1970, `entropy` as many random bytes as it is asked for."""

    __slots__ = ("_clock", "_entropy", "_node", "_sequence", "_step", "_microsecond")

    def __init__(self, clock: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self._clock: Final = clock
        self._entropy: Final = entropy
        self._node: Final = int.from_bytes(entropy(6), "big") | _MULTICAST
        self._sequence = int.from_bytes(entropy(2), "big") & 0x3FFF
        self._step = 0
        self._microsecond = 0

    def timestamp(self) -> int:
        """Microseconds since 1970, another number with each call."""
        self._microsecond = max(self._microsecond + 1, self._clock() // 1000)
        return self._microsecond

    def value(self, type_name: str) -> bytes:
        """A value of a type that `zdm.cql.functions` names, as CQL has it."""
        if type_name == "timeuuid":
            return self._time_uuid()
        if type_name == "uuid":
            return self._random_uuid()
        now = self._clock()
        if type_name == "timestamp":
            return (now // 1_000_000).to_bytes(8, "big", signed=True)
        if type_name == "date":
            return (now // _DAY + _CENTRE).to_bytes(4, "big")
        return (now % _DAY).to_bytes(8, "big")

    def literal(self, type_name: str) -> str:
        """Another such value, as a constant of CQL."""
        value = self.value(type_name)
        if type_name in ("timeuuid", "uuid"):
            return str(UUID(bytes=value))
        number = int.from_bytes(value, "big")
        if type_name == "timestamp":
            return str(number)
        if type_name == "date":
            return f"'{date.fromordinal(number - _CENTRE + _DATE_OF_1970).isoformat()}'"
        seconds, fraction = divmod(number, 1_000_000_000)
        return f"'{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:09}'"

    def _time_uuid(self) -> bytes:
        self._step = max(self._step + 1, self._clock() // 100 + GREGORIAN)
        self._sequence = (self._sequence + 1) & 0x3FFF
        return time_uuid(self._step, self._sequence, self._node)

    def _random_uuid(self) -> bytes:
        drawn = int.from_bytes(self._entropy(16), "big")
        version = drawn & ~(0xF << 76) | 4 << 76
        return (version & ~(0x3 << 62) | 2 << 62).to_bytes(16, "big")


def time_uuid(step: int, sequence: int, node: int) -> bytes:
    """A version 1 UUID (RFC 4122, section 4.1): steps of 100 ns since 1582, 14 bits of clock sequence, 48 of node."""
    low, middle, high = step & 0xFFFFFFFF, step >> 32 & 0xFFFF, step >> 48 & 0x0FFF
    time = low << 32 | middle << 16 | 0x1000 | high
    return (time << 64 | (0x8000 | sequence) << 48 | node).to_bytes(16, "big")
