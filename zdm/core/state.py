"""What a session knows, and the few things every part of it does with that.

`SessionState` has no rules of its own. The parts that have them (handshake, dispatch, settling, mending) each hold the
state and each other's narrow front; `session` puts them together.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from zdm.core.clusters import Side
from zdm.core.commands import Close, Command, LoginJudged, Note
from zdm.core.connector import ClusterConnector
from zdm.core.credentials import Credentials
from zdm.core.pending import PendingRequest, packed_of
from zdm.core.snapshot import Shared, Snapshot
from zdm.core.topology import Endpoint
from zdm.core.wire import Wire
from zdm.protocol.compression import LZ4, open_frame
from zdm.protocol.errors import Error
from zdm.protocol.frames import COMPRESSED, RESPONSE_BIT, encode_frame, without_flag
from zdm.protocol.opcodes import ERROR
from zdm.protocol.versions import V5

SHUTTING_DOWN = "Shutting down, please retry on next host."
"""Also what the reference says where stream ids ran out (section 5.3)."""


class Phase(Enum):
    """Where a session is in its life."""

    HANDSHAKE = 0
    READY = 1
    REFUSED = 2
    """A cluster refused the client's credentials; every request gets that error."""
    DRAINING = 3
    CLOSED = 4


class Step(Enum):
    """What a handshake awaits."""

    CLIENT = 0
    """The client's next frame."""
    OPTIONS = 1
    STARTUP = 2
    AUTHENTICATION = 3
    """The auth-primary's answer to the client's credentials."""
    SECONDARY = 4
    VERIFICATION = 5
    """Whether target accepted the client's credentials before."""


class SessionState:
    """Everything known of one client connection."""

    __slots__ = (
        "client_name",
        "_grown",
        "commands",
        "compression",
        "credentials",
        "held_bytes",
        "incoming",
        "keyspace",
        "local_address",
        "now",
        "origin",
        "outbox",
        "pending",
        "phase",
        "shared",
        "snapshot",
        "sooner",
        "startup_body",
        "target",
        "version",
    )

    def __init__(self, shared: Shared, now: float, local_address: str, client_name: str) -> None:
        self.shared = shared
        self.snapshot: Snapshot = shared.snapshot
        self.now = now
        self.local_address = local_address
        self.client_name = client_name
        self.version = 0
        self.phase = Phase.HANDSHAKE
        self.keyspace: str | None = None
        self.startup_body = b""
        self.compression = ""
        """The algorithm that STARTUP agreed on, on all of the session's connections."""
        self.incoming: Final = Wire()
        """The client's connection."""
        self.credentials: dict[Side, Credentials] = {}
        self.pending: dict[int, PendingRequest] = {}
        self.held_bytes = 0
        self.sooner = False
        """Something began that expires before what the shell's timer was set for."""
        self._grown = 0
        self.outbox: list[bytes] = []
        self.commands: list[Command] = []
        self.origin = ClusterConnector(Side.ORIGIN, now)
        self.target = ClusterConnector(Side.TARGET, now)

    def connector(self, side: Side) -> ClusterConnector:
        """The connector of a cluster."""
        return self.origin if side == Side.ORIGIN else self.target

    def count_for(self, side: Side, host: Endpoint | None) -> None:
        """The connection to a cluster that is open, or about to be, is to this host, where that is known."""
        node = None if host is None else self.shared.meter.node(side, str(host))
        self.connector(side).node = node

    def kept_bytes(self) -> int:
        """Chunks of which a request is not answered, answers that wait for the other cluster's or are not whole.

        One request of a chunk keeps all of it.
        """
        kept = sum(wire.kept_bytes() for wire in (self.incoming, self.origin.incoming, self.target.incoming))
        chunk = b""
        for request in self.pending.values():
            kept += len(request.origin) + len(request.target) + len(packed_of(request))
            if request.chunk is not chunk:
                chunk = request.chunk
                kept += len(chunk)
        return kept

    def opened(self, frame: bytes, max_bytes: int) -> bytes:
        """The frame with its body open, which may not be longer than `max_bytes`.

        In segments the flag means nothing: there are drivers that set it nevertheless. Raises RemoteProtocolError.
        """
        if not frame[1] & COMPRESSED:
            return frame
        if self.version >= V5:
            return without_flag(frame, COMPRESSED)
        opened = open_frame(self.compression, frame, max_bytes)
        self._grown += len(opened) - len(frame)
        return opened

    def take_growth(self) -> int:
        """By how many bytes more than came is known since it was asked last, because they came compressed."""
        wires = (self.incoming, self.origin.incoming, self.target.incoming)
        grown = self._grown + sum(wire.grown for wire in wires)
        self._grown = 0
        for wire in wires:
            wire.grown = 0
        return max(0, grown)

    def answer(self, stream: int, opcode: int, body: bytes, flags: int = 0) -> None:
        """Send the client an answer made by the proxy."""
        self.outbox.append(encode_frame(self.version | RESPONSE_BIT, stream, opcode, body, flags))

    def answer_error(self, stream: int, error: Error) -> None:
        """Send the client an ERROR made by the proxy."""
        self.answer(stream, ERROR, error.encode(self.version))

    def request(self, side: Side, stream: int, opcode: int, body: bytes) -> None:
        """Send a cluster a request made by the proxy."""
        self.connector(side).outbox.append(encode_frame(self.version, stream, opcode, body))

    def begin_segments(self, wire: Wire, outbox: list[bytes], max_bytes: int) -> None:
        """One of the session's connections goes on in segments, which take frame bodies of up to `max_bytes`."""
        wire.begin(outbox, self.compression == LZ4, max_bytes)

    def judged(self, side: Side, is_accepted: bool) -> None:
        """A cluster has let the session in, or refused it. Told of target and a client's own credentials only."""
        credentials = self.credentials.get(side)
        configured = self.snapshot.facts(side).credentials
        if side is Side.TARGET and credentials is not None and credentials != configured:
            self.commands.append(LoginJudged(credentials, is_accepted))

    def note(self, level: str, text: str) -> None:
        """Tell the operator."""
        self.commands.append(Note(level, text))

    def close(self, reason: str) -> None:
        """End the session: the client's connection closes when what it is owed is written."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self.commands.append(Close(Side.CLIENT, reason))
