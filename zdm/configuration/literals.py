"""How texts become values: the reference's literals, where they differ from Python's.

Whole numbers, flags and decimals from the environment follow Go's strconv; lists are comma-separated. Every function
raises ValueError with a reason fit for the operator. Spec sections 1.1 to 1.3.
"""

from __future__ import annotations

import math
import re
from typing import Final

from zdm.cql.functions import RESULT_TYPES, canonical

_INT: Final = re.compile(r"[+-]?(0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO]?(_?[0-7])+|[0-9]|[1-9](_?[0-9])+)")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})

LOG_LEVELS: Final = ("PANIC", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "TRACE")

# the version byte of each name; the DSE versions carry a bit of their own
_DSE_V1: Final = 0x41
_DSE_V2: Final = 0x42
_BLOCKABLE: Final = {
    **{f"{prefix}{version}": version for prefix in ("", "v") for version in (2, 3, 4, 5)},
    **{name: _DSE_V1 for name in ("dsev1", "dse_v1")},
    **{name: _DSE_V2 for name in ("dsev2", "dse_v2")},
}


def parse_int(text: str) -> int:
    """A 64-bit whole number in decimal, 0x, 0o, 0b or 0-prefixed octal notation, underscores between digits."""
    if not _INT.fullmatch(text):
        raise ValueError("not a whole number")
    digits = text.lstrip("+-")
    # Python refuses 010, which is eight here
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_"
    number = int(digits, 8 if octal else 0)
    number = -number if text[0] == "-" else number
    if not -(2**63) <= number < 2**63:
        raise ValueError("out of range")
    return number


def parse_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("neither true nor false")


def parse_flag_or_text(text: str) -> bool | str:
    """A flag where it is one, else the text itself."""
    return text in _TRUE if text in _TRUE | _FALSE else text


def parse_functions(value: bool | str) -> frozenset[str]:
    """Functions of CQL that are to be replaced: all, none, or those of a comma list."""
    if isinstance(value, bool):
        return frozenset(RESULT_TYPES if value else ())
    names = [item for item in value.strip("[] ").split(",") if item.strip()]
    known = {name: canonical(name) for name in names}
    unknown = [name.strip() for name, function in known.items() if function is None]
    if unknown:
        raise ValueError(unknown[0])
    return frozenset(function for function in known.values() if function is not None)


def parse_float(text: str) -> float:
    """A finite decimal number."""
    if not _FLOAT.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError("not a number")
    return float(text)


def comma_list(text: str) -> list[str]:
    """The items of a list of addresses: spaces removed wherever they are, empty items kept; `[]` for an empty text."""
    return text.replace(" ", "").split(",") if text else []


def parse_buckets(text: str) -> tuple[float, ...]:
    """Upper bounds of latency buckets in seconds, from a comma list in milliseconds.

    They must be positive and grow from item to item (FIX-01: the reference finds that out when it is too late).
    """
    bounds = []
    for item in text.split(","):
        try:
            bounds.append(parse_float(item.strip()))
        except ValueError:
            raise ValueError(
                f"unable to parse buckets from {text}: could not convert {item.strip()} to float"
            ) from None
    if any(bound <= 0 for bound in bounds):
        raise ValueError(f"unable to parse buckets from {text}: every bucket must be greater than 0")
    if any(after <= before for before, after in zip(bounds, bounds[1:], strict=False)):
        raise ValueError(f"unable to parse buckets from {text}: each bucket must be greater than the one before it")
    return tuple(bound / 1000 for bound in bounds)


def parse_log_level(text: str) -> str:
    """One of LOG_LEVELS; WARNING becomes WARN."""
    level = text.strip().upper()
    if level not in LOG_LEVELS:
        raise ValueError(f'not a log level: "{text}"')
    return "WARN" if level == "WARNING" else level


def parse_max_version(text: str) -> int:
    """The version byte of `control_conn_max_protocol_version`. LookupError for a number that is no version."""
    if text.lower() in ("dsev1", "dsev2"):
        return _BLOCKABLE[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'"{text}" is not a number')
    if not 2 <= int(text) <= 5:
        raise LookupError(text)
    return int(text)


def parse_blocked_versions(text: str) -> list[int]:
    """The version bytes of `blocked_protocol_versions`, as listed; LookupError holds the first item that is none."""
    versions = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        if item.lower() not in _BLOCKABLE:
            raise LookupError(item)
        versions.append(_BLOCKABLE[item.lower()])
    return versions
