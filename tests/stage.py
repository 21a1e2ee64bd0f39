"""What sessions are played on: the things that the proxy knows before a client comes, and frames as text."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.generating import Generator
from zdm.core.intercept import SystemTables
from zdm.core.prepared import PreparedCache
from zdm.core.snapshot import ClusterFacts, Settings, Shared, Snapshot, TargetMode
from zdm.core.topology import Endpoint
from zdm.metrics import Meter
from zdm.protocol.opcodes import opcode_name

CLIENT, ORIGIN, TARGET = Side.CLIENT, Side.ORIGIN, Side.TARGET
HOSTS = {ORIGIN: Endpoint("127.0.90.1", 9042), TARGET: Endpoint("127.0.90.11", 9042)}
ORDERS = ((ORIGIN, TARGET), (TARGET, ORIGIN))
ORIGIN_USER = Credentials("origin_user", "origin_password")
TARGET_USER = Credentials("target_user", "target_password")
SUPPORTED: dict[str, list[str]] = {"CQL_VERSION": ["3.4.6"], "PROTOCOL_VERSIONS": ["3/v3", "4/v4"]}
AUTHENTICATION_ERROR, PROTOCOL_ERROR, OVERLOADED, SERVER_ERROR = 0x0100, 0x000A, 0x1001, 0x0000
WRITE_TIMEOUT, READ_TIMEOUT, WRITE_FAILURE, INVALID, UNPREPARED = 0x1100, 0x1200, 0x1500, 0x2200, 0x2500


def stage(
    settings: Settings | None = None,
    prepared: PreparedCache | None = None,
    versions: tuple[int, int] = (4, 4),
    tables: SystemTables | None = None,
    mode: TargetMode = TargetMode.DUAL,
    asks: tuple[bool, bool] = (True, True),
    compression: Sequence[str] = (),
    **changes: Any,
) -> Shared:
    """What a session shares: `changes` are fields of `Settings`, `versions` those of the control connections.

    `asks`: origin and target ask for credentials, as far as is known. `compression` is what both offer.
    """
    snapshot = Snapshot(
        1,
        replace(settings or Settings(), **changes),
        ClusterFacts(asks[0], version=versions[0], credentials=ORIGIN_USER),
        ClusterFacts(asks[1], version=versions[1], credentials=TARGET_USER),
        SUPPORTED | ({"COMPRESSION": list(compression)} if compression else {}),
        tables,
        mode,
    )
    return Shared(snapshot, Meter(), PreparedCache() if prepared is None else prepared, generator())


def generator() -> Generator:
    """What makes values for a session on stage: all are known beforehand, because its clock stands still."""
    return Generator(lambda: 1_636_481_612_705_370_600, bytes)


def under(frame: bytes, stream: int) -> bytes:
    """The same frame under another stream id."""
    return frame[:2] + struct.pack(">h", stream) + frame[4:]


def stream_of(frame: bytes) -> int:
    return int(struct.unpack_from(">h", frame, 2)[0])


def cut(data: bytes) -> list[bytes]:
    """The whole frames in `data`, which must not end within one."""
    found = []
    while data:
        end = 9 + int(struct.unpack_from(">i", data, 5)[0])
        assert len(data) >= end, f"{len(data)} bytes where a frame of {end} bytes begins"
        found.append(data[:end])
        data = data[end:]
    return found


def described(frame: bytes) -> str:
    """A frame in a line of the transcript."""
    version, flags, stream, opcode, length = struct.unpack_from(">BBhBi", frame)
    body = frame[9:89].decode("latin-1").translate({code: "." for code in (*range(32), *range(127, 256))})
    marks = f" flags={flags}" if flags else ""
    return f"v{version & 0x7F} {opcode_name(opcode)} stream {stream}{marks} [{length}] {body}"


def dumped(frame: bytes) -> list[str]:
    """A frame in lines that can be compared."""
    return [described(frame), *(frame[at : at + 16].hex(" ") for at in range(0, len(frame), 16))]
