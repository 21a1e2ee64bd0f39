"""How many replicas a request is to be acknowledged by (v4 section 3, [consistency]).

Decoded bodies keep the bare number: what a level unknown here means is for the cluster to say.
"""

from __future__ import annotations

from enum import IntEnum


class Consistency(IntEnum):
    """The number on the wire, a [short], of each level."""

    ANY = 0x0000
    ONE = 0x0001
    TWO = 0x0002
    THREE = 0x0003
    QUORUM = 0x0004
    ALL = 0x0005
    LOCAL_QUORUM = 0x0006
    EACH_QUORUM = 0x0007
    SERIAL = 0x0008
    LOCAL_SERIAL = 0x0009
    LOCAL_ONE = 0x000A


def consistency_name(level: int) -> str:
    """The specification's name of a level, or its number in hexadecimal where it has none."""
    try:
        return Consistency(level).name
    except ValueError:
        return f"0x{level:04X}"
