"""Sessions on their way from one process to another: as JSON, with the sockets of their connections.

What is sent is never unpickled: it comes from a process that reads what strangers send, or from another version of this
program. Only so many are on their way at once, because the kernel holds only so many descriptors that nobody has taken
yet; whatever is not taken is closed, so that its client connects again.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred, succeed

from zdm.core.clusters import CLUSTERS, Side
from zdm.core.credentials import Credentials
from zdm.core.handover import Handover, Kept, SideHandover
from zdm.core.topology import Endpoint
from zdm.net.moving import Moved

MOST_ON_THE_WAY: Final = 16
"""Sessions, of three descriptors each."""


class Parcel(NamedTuple):
    """A session as it travels; nobody in between need know what is in it."""

    handover: bytes
    sockets: dict[Side, socket.socket]

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `commands.TakeSession`."""
        target = self.sockets.get(Side.TARGET)
        return {
            "handover": self.handover,
            "client": self.sockets[Side.CLIENT].fileno(),
            "origin": self.sockets[Side.ORIGIN].fileno(),
            "target": None if target is None else target.fileno(),
        }

    def close(self) -> None:
        """It has been taken, or nobody takes it."""
        for each in self.sockets.values():
            each.close()


def received(handover: bytes, client: int, origin: int, target: int | None) -> Parcel:
    """What `Parcel.arguments` were on the other end; the descriptors are the parcel's."""
    descriptors = {Side.CLIENT: client, Side.ORIGIN: origin, Side.TARGET: target}
    found = {side: socket.socket(fileno=each) for side, each in descriptors.items() if each is not None}
    for each in found.values():
        each.setblocking(False)
    return Parcel(handover, found)


def packed(moved: Moved) -> Parcel:
    """A session that leaves."""
    return Parcel(dumped(moved.handover, moved.endpoints), moved.sockets)


def unpacked(parcel: Parcel) -> Moved:
    """A session that arrives. Raises ValueError, KeyError or TypeError where it is not what `packed` makes."""
    handover, endpoints = loaded(parcel.handover)
    return Moved(handover, parcel.sockets, endpoints)


def dumped(handover: Handover, endpoints: dict[Side, Endpoint | None]) -> bytes:
    """As JSON; bytes are hexadecimal digits in it."""
    return json.dumps(
        {
            "version": handover.version,
            "keyspace": handover.keyspace,
            "local_address": handover.local_address,
            "client_name": handover.client_name,
            "startup_body": handover.startup_body.hex(),
            "credentials": {side.name: list(known) for side, known in handover.credentials.items()},
            "kept": _dumped_kept(handover.kept),
            "origin": _dumped_side(handover.origin),
            "target": None if handover.target is None else _dumped_side(handover.target),
            "compression": handover.compression,
            "endpoints": {side.name: [each.address, each.port] for side, each in endpoints.items() if each is not None},
        }
    ).encode()


def loaded(data: bytes) -> tuple[Handover, dict[Side, Endpoint | None]]:
    """What `dumped` was given. Raises ValueError, KeyError or TypeError where it is something else."""
    found = json.loads(data)
    endpoints: dict[Side, Endpoint | None] = dict.fromkeys(CLUSTERS)
    endpoints.update((Side[name], Endpoint(address, port)) for name, (address, port) in found["endpoints"].items())
    handover = Handover(
        found["version"],
        found["keyspace"],
        found["local_address"],
        found["client_name"],
        bytes.fromhex(found["startup_body"]),
        {Side[name]: Credentials(*known) for name, known in found["credentials"].items()},
        _loaded_kept(found["kept"]),
        _loaded_side(found["origin"]),
        None if found["target"] is None else _loaded_side(found["target"]),
        found.get("compression", ""),
    )
    return handover, endpoints


def _dumped_kept(kept: Kept) -> list[Any]:
    return [kept.start.hex(), kept.needed]


def _loaded_kept(found: Any) -> Kept:
    start, needed = found
    return Kept(bytes.fromhex(start), needed)


def _dumped_side(side: SideHandover) -> list[Any]:
    return [side.keyspace, list(side.owed), _dumped_kept(side.kept)]


def _loaded_side(found: Any) -> SideHandover:
    keyspace, owed, kept = found
    return SideHandover(keyspace, tuple(owed), _loaded_kept(kept))


class Dispatch:
    """Sends parcels over a channel, in their order."""

    def __init__(self, send: Callable[[Parcel], Deferred[Any]]) -> None:
        """`send` fires when the other end has the descriptors, and fails where it will never have them."""
        self._send: Final = send
        self._waiting: Final[deque[Parcel]] = deque()
        self._unanswered = 0
        self._idle: Final[list[Deferred[None]]] = []

    def send(self, parcel: Parcel) -> None:
        """As soon as there is room; the sockets are closed here when the other end has them."""
        self._waiting.append(parcel)
        self._go_on()

    def sent(self) -> Deferred[None]:
        """Fires when nothing is on its way any more."""
        if not self._unanswered:
            return succeed(None)
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle

    def _go_on(self) -> None:
        while self._waiting and self._unanswered < MOST_ON_THE_WAY:
            parcel = self._waiting.popleft()
            self._unanswered += 1
            maybeDeferred(self._send, parcel).addBoth(self._answered, parcel)

    def _answered(self, _: object, parcel: Parcel) -> None:
        parcel.close()
        self._unanswered -= 1
        self._go_on()
        if not self._unanswered:
            idle = list(self._idle)
            self._idle.clear()
            for waiting in idle:
                waiting.callback(None)
