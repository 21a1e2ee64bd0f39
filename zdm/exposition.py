"""The text form that Prometheus gets.

Byte for byte what the reference's exposition library writes: families by name, labels by name with `le` last, numbers
as Go prints them, no `_created` series (behaviour spec 8.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import inf
from typing import NamedTuple

from zdm.meters import Histogram

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value, or one histogram, under its labels (in the order of their names)."""

    labels: Labels
    value: float | Histogram


class Family(NamedTuple):
    """A metric's name without prefix, its type and help, its samples."""

    name: str
    kind: str
    help: str
    samples: Sequence[Sample]


def render_families(shown: Iterable[Family], prefix: str) -> str:
    """The text form 0.0.4: families in the order of their names, samples in that of their label values."""
    lines: list[str] = []
    for family in sorted((family for family in shown if family.samples), key=lambda family: family.name):
        name = f"{prefix}_{family.name}" if prefix else family.name
        lines += (f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}")
        for labels, value in sorted(family.samples, key=lambda sample: [text for _, text in sample.labels]):
            if isinstance(value, Histogram):
                lines += _histogram_lines(name, labels, value)
            else:
                lines.append(f"{name}{_braced(labels)} {go_number(value)}")
    return "\n".join(lines) + "\n"


def _histogram_lines(name: str, labels: Labels, histogram: Histogram) -> list[str]:
    lines = []
    so_far = 0
    for bound, count in zip([*histogram.bounds, inf], histogram.counts, strict=True):
        so_far += count
        lines.append(f"{name}_bucket{_braced((*labels, ('le', go_number(bound))))} {go_number(so_far)}")
    lines.append(f"{name}_sum{_braced(labels)} {go_number(histogram.total)}")
    lines.append(f"{name}_count{_braced(labels)} {go_number(so_far)}")
    return lines


def _braced(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def go_number(value: float) -> str:
    """`value`, an integer or not, as Go's strconv prints a float64 with format 'g' and the shortest exact precision.

    The exponent form begins below 1e-4 and, for integers too, at 1e6. `value` is a number: there is no form for NaN.
    """
    number = float(value)
    if number in (inf, -inf):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0 or 1e-4 <= abs(number) < 1e6:
        return repr(number).removesuffix(".0")
    sign, digits, shift = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(shift, int)  # a letter only for what is no number
    fraction = "".join(map(str, digits[1:]))
    point = "." if fraction else ""
    return f"{'-' if sign else ''}{digits[0]}{point}{fraction}e{len(digits) + shift - 1:+03d}"
