"""What a proxy's ``/metrics`` said at one moment."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Metrics:
    """All samples of one scrape, in the text form 0.0.4; sample names as they are written, ``..._total`` and so on."""

    def __init__(self, text: str) -> None:
        self.samples = [
            Sample(sample.name, dict(sample.labels), float(sample.value))
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        self.families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}

    def value(self, name: str, **labels: str) -> float:
        """The sum over all samples of this name that have these labels (and any others).

        0.0 where the family is declared but has no such sample yet; AssertionError where the family is unknown.
        """
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert found or name in self.families, f"no metric {name} among {sorted(self.families)}"
        return sum(found)
