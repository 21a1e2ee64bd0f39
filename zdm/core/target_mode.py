"""What is done with target now."""

from __future__ import annotations

from enum import Enum


class TargetMode(Enum):
    """The effective mode, computed from what an operator asked for."""

    DUAL = "DUAL"
    ORIGIN_ONLY = "ORIGIN_ONLY"
