"""What is wrong with a configuration, and how it is told: all faults in one message, in the reference's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend: `text` for the operator (never with a secret in it), and the keys that it is about."""

    text: str
    keys: tuple[str, ...] = ()


class ConfigurationError(Exception):
    """The configuration cannot be used. `faults` holds every fault found; the first is the one the reference names."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; also: ".join(fault.text for fault in faults))
        self.faults = tuple(faults)
