"""Who a connection belongs to.

`ORIGIN` and `TARGET` are facts: where data comes from and where it goes. Primary and secondary are roles, given by
configuration (see snapshot). The values of the two clusters are bits, so that a set of clusters is their sum.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Side(IntEnum):
    """An end of a session: the client's connection, or one of its two cluster connections."""

    CLIENT = 0
    ORIGIN = 1
    TARGET = 2


CLUSTERS: Final = (Side.ORIGIN, Side.TARGET)
ORIGIN_BIT: Final = 1
TARGET_BIT: Final = 2
BOTH: Final = 3


def other(side: Side) -> Side:
    """The opposite cluster."""
    return Side.TARGET if side is Side.ORIGIN else Side.ORIGIN
