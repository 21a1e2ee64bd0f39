"""What clients are told in SUPPORTED, and may ask for in STARTUP: what both clusters offer (spec 2.5, 2.6).

The proxy rewrites neither versions nor CQL, so whatever a driver picks from the answer must hold on both clusters and
in the proxy: protocol versions and compression are intersections, the CQL version is the lower one. Shard keys of a
Scylla target are left out, because a driver that obeys them would dial ports of the cluster instead of the proxy's.
Everything else is the target's, which is where the application is going.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from zdm.protocol.compression import COMPRESSION_OPTION as COMPRESSION
from zdm.protocol.compression import agreed_algorithm
from zdm.protocol.envelope import body_start
from zdm.protocol.exceptions import RemoteProtocolError
from zdm.protocol.frames import CONTROL_VERSIONS, HEADER_LENGTH
from zdm.protocol.primitives import Reader

CQL_VERSION: Final = "CQL_VERSION"
PROTOCOL_VERSIONS: Final = "PROTOCOL_VERSIONS"
_SHARDING_PREFIX: Final = "SCYLLA_"
_BETA: Final = "-beta"

Options = Mapping[str, Sequence[str]]


def merge_supported(
    origin: Options, target: Options, versions: Collection[int], algorithms: Collection[str] = ()
) -> dict[str, list[str]]:
    """The SUPPORTED options for clients.

    `versions` are the protocol versions that clients may use, `algorithms` the compression algorithms that the proxy
    can read (lower case). COMPRESSION stays in the answer with no value where both clusters offer some but none is
    common: drivers exist that fail where the key is missing.
    """
    merged = {key: list(values) for key, values in target.items() if not key.startswith(_SHARDING_PREFIX)}
    if CQL_VERSION in origin:
        merged[CQL_VERSION] = lower_cql_version(origin[CQL_VERSION], target.get(CQL_VERSION, ()))
    merged.pop(COMPRESSION, None)
    if COMPRESSION in origin and COMPRESSION in target:
        merged[COMPRESSION] = _common_compression(origin[COMPRESSION], target[COMPRESSION], algorithms)
    if PROTOCOL_VERSIONS in target:
        named = _common_versions(origin.get(PROTOCOL_VERSIONS), target[PROTOCOL_VERSIONS], versions)
        merged[PROTOCOL_VERSIONS] = named
    return merged


def control_versions(highest: int, spoken: Sequence[int] = CONTROL_VERSIONS) -> tuple[int, ...]:
    """The protocol versions for a control connection, in the order to try them (spec 7.1).

    `highest` is control_conn_max_protocol_version as a number; DSE's private versions are 65 and 66.
    """
    return tuple(version for version in sorted(spoken, reverse=True) if version <= highest)


def lower_cql_version(one: Sequence[str], two: Sequence[str]) -> list[str]:
    """The list whose highest version is lower; the other where one is empty.

    >>> lower_cql_version(["3.4.7"], ["3.4.6"])
    ['3.4.6']
    """
    if not one or not two:
        return list(one or two)
    return list(min(one, two, key=lambda offered: max(map(_version_key, offered))))


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("-")[0].split("."))


def _common_compression(origin: Sequence[str], target: Sequence[str], algorithms: Collection[str]) -> list[str]:
    theirs = {name.lower() for name in target}
    return [name for name in origin if name.lower() in theirs and name.lower() in algorithms]


def _common_versions(origin: Sequence[str] | None, target: Sequence[str], versions: Collection[int]) -> list[str]:
    """Target's names ("4/v4") of the versions all have; an origin that names none has no say.

    What is a beta ("5/v5-beta" of Cassandra 3) is not what the same number came to mean.
    """
    allowed = {str(version) for version in versions}
    if origin is not None:
        allowed &= {_number(name) for name in origin}
    return [name for name in target if _number(name) in allowed]


def _number(name: str) -> str:
    return "" if name.endswith(_BETA) else name.partition("/")[0]


def asked_in_startup(frame: bytes, supported: Options) -> tuple[bytes, str]:
    """The body of a STARTUP, and the compression algorithm that it asks for, empty for none.

    Raises RemoteProtocolError where it cannot be read, or asks for what there is not (FIX-06): `supported` is what
    clients are told.
    """
    try:
        start = body_start(frame, HEADER_LENGTH, frame[1], False)
        options = Reader(frame, start).string_map()
    except RemoteProtocolError as fault:
        raise RemoteProtocolError(f"STARTUP cannot be read: {fault.message}") from None
    if options.get(COMPRESSION, "").lower() == "none":
        return frame[start:], ""
    offered = [name.lower() for name in supported.get(COMPRESSION, ())]
    return frame[start:], agreed_algorithm(options, frame[0] & 0x7F, offered)
