"""A model cluster: hosts that keep prepared statements, and connections that have a keyspace.

A host reads the requests of a connection in order and executes each when it reads it. The answers leave when they are
ready, so that those to different streams overtake each other. Trouble is drawn for each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests import frames
from tests.laid import Laid
from tests.simulation import statements
from tests.simulation.draws import Trouble
from tests.simulation.lanes import ByteLane, Lane
from tests.simulation.ledger import Ledger
from tests.simulation.schedule import Schedule, Violation
from tests.simulation.statements import Asked
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials

if TYPE_CHECKING:
    from tests.simulation.shell import Shell

SHARED_KEYSPACES: Final = ("alpha", "beta")
KEYSPACES: Final = {
    Side.ORIGIN: (*SHARED_KEYSPACES, "only_origin"),
    Side.TARGET: (*SHARED_KEYSPACES, "only_target"),
}
REFUSALS: Final = (statements.OVERLOADED, statements.UNAVAILABLE, statements.BOOTSTRAPPING)
FAILURES: Final = (statements.WRITE_TIMEOUT, statements.SERVER_ERROR)
_SLOWNESS: Final = (0.9, 1.6)
"""Seconds after which a slow answer leaves: on both sides of the request timeout."""


class ModelCluster:
    """One of the two clusters. `users` may come in with their passwords, or anybody where it does not ask."""

    def __init__(
        self,
        side: Side,
        parts: tuple[Schedule, Ledger],
        salts: list[bytes],
        users: list[Credentials] | None,
        trouble: Trouble,
    ) -> None:
        self.side: Final = side
        self.schedule: Final = parts[0]
        self.ledger: Final = parts[1]
        self.users: Final = users
        self.trouble = trouble
        self.hosts: Final = [Host(self, salt) for salt in salts]
        self.has_let_in: dict[Credentials, None] = {}
        self.given_ids: dict[bytes, None] = {}
        self.keyspaces: Final = KEYSPACES[side]
        self._turn = 0

    def host(self) -> Host | None:
        """The next host that takes a connection."""
        for _ in self.hosts:
            self._turn += 1
            host = self.hosts[self._turn % len(self.hosts)]
            if host.is_up:
                return host
        return None

    def lets_in(self, credentials: Credentials | None) -> bool:
        """These open its doors."""
        return self.users is None or credentials in self.users

    def calm_down(self) -> None:
        """From now on it is as a cluster should be."""
        self.trouble = Trouble()
        for host in self.hosts:
            host.is_up, host.forgetful_until = True, 0.0

    def connections(self) -> list[NodeConnection]:
        """All that are open."""
        return [connection for host in self.hosts for connection in host.connections]


class Host:
    """One node. `salt` stands for its version: hosts with different ones give different ids to a statement."""

    def __init__(self, cluster: ModelCluster, salt: bytes) -> None:
        self.cluster: Final = cluster
        self.salt: Final = salt
        self.is_up = True
        self.stalled_until = 0.0
        self.forgetful_until = 0.0
        """Until then it keeps no statement that it prepares, like a host whose cache is too small."""
        self.prepared: dict[bytes, tuple[str, str]] = {}
        self.connections: dict[NodeConnection, None] = {}

    def prepare(self, text: str, keyspace: str) -> bytes | None:
        """The statement's id; None where it names a keyspace that is not there, or none."""
        place = statements.keyspace_of(text) or keyspace
        if place not in self.cluster.keyspaces:
            return None
        prepared_id = statements.prepared_id(self.salt, keyspace, text)
        self.cluster.given_ids[prepared_id] = None
        if self.cluster.schedule.now >= self.forgetful_until:
            self.prepared[prepared_id] = (text, place)
        return prepared_id

    def stall(self, seconds: float) -> None:
        """It reads nothing for so long."""
        self.stalled_until = self.cluster.schedule.now + seconds
        for connection in self.connections:
            connection.inbox.not_before = self.stalled_until

    def die(self) -> None:
        """All its connections break, and it takes no more."""
        self.is_up = False
        for connection in list(self.connections):
            connection.break_off()
        if self.cluster.schedule.chance(0.5):
            self.prepared.clear()

    def come_back(self) -> None:
        self.is_up = True


class NodeConnection:
    """The cluster's end of a connection. `swallowed`: how many requests it will never answer."""

    def __init__(self, host: Host, shell: Shell) -> None:
        self.host: Final = host
        self.cluster: Final = host.cluster
        self.side: Final = host.cluster.side
        self._schedule: Final = host.cluster.schedule
        self._shell: Final = shell
        self.inbox: Final[Lane[Asked]] = Lane(self._schedule, self._read)
        self._outbox: Final = ByteLane(self._schedule, self._arrived)
        self.laid: Final = Laid()
        self.keyspace = ""
        self.is_admitted = False
        self.swallowed = 0
        self.inbox.not_before = host.stalled_until
        host.connections[self] = None

    # What happens to the connection

    def let_go(self) -> None:
        """The proxy closes it: what it wrote before still arrives."""
        self._outbox.cut()
        self.inbox.end(self._gone)

    def break_off(self) -> None:
        """It ends from this side, or on the way; what is under way may still arrive, or not."""
        if self._schedule.chance(0.5):
            self.inbox.cut()
        else:
            self.inbox.end(lambda: None)
        if self._schedule.chance(0.5):
            self._outbox.cut()
            self._schedule.after(self._schedule.hop(), self._tell_end)
        else:
            self._outbox.end(self._tell_end)
        self._gone()

    def _tell_end(self) -> None:
        self._shell.cluster_disconnected(self)

    def _gone(self) -> None:
        self.host.connections.pop(self, None)

    def _arrived(self, data: bytes, marks: list[object]) -> None:
        self._shell.cluster_received(self, data, marks)

    # Requests

    def _read(self, requests: list[Asked]) -> None:
        for asked in requests:
            if asked.opcode in (statements.STARTUP, statements.AUTH_RESPONSE):
                self._handshake(asked)
            elif not self.is_admitted and asked.opcode != statements.OPTIONS:
                raise Violation(f"{self.side.name} is sent {asked} before it let anybody in")
            else:
                self._request(asked)

    def _handshake(self, asked: Asked) -> None:
        trouble, schedule = self.cluster.trouble, self._schedule
        if schedule.chance(trouble.swallows):
            self.swallowed += 1
        elif schedule.chance(trouble.refuses):
            self._answer(asked, frames.error(asked.stream, statements.BOOTSTRAPPING, "not yet"))
        elif asked.opcode == statements.STARTUP and self.cluster.users is not None:
            self._answer(asked, frames.authenticate(asked.stream))
        elif asked.opcode == statements.STARTUP:
            self.is_admitted = True
            self._answer(asked, frames.ready(asked.stream))
        else:
            _, user, password = asked.token.decode().split("\0")
            credentials = Credentials(user, password)
            self.is_admitted = self.cluster.lets_in(credentials)
            if self.is_admitted:
                self.cluster.has_let_in[credentials] = None
            refusal = frames.error(asked.stream, statements.BAD_CREDENTIALS, "wrong user name or password")
            self._answer(asked, frames.auth_success(asked.stream) if self.is_admitted else refusal)

    def _request(self, asked: Asked) -> None:
        trouble, schedule = self.cluster.trouble, self._schedule
        if schedule.chance(trouble.refuses):
            self._answer(asked, statements.bad_answer(asked, self.side, schedule.one_of(REFUSALS)))
            return
        is_failing = schedule.chance(trouble.fails)
        is_use = asked.texts[:1] and asked.texts[0].startswith("USE")
        if is_failing and (is_use or schedule.chance(0.5)):
            self._answer(asked, statements.bad_answer(asked, self.side, schedule.one_of(FAILURES)))
            return
        answer = self._execute(asked)
        if is_failing and answer[4] != statements.ERROR:
            answer = statements.bad_answer(asked, self.side, schedule.one_of(FAILURES))
        if schedule.chance(trouble.swallows):
            schedule.tell("    {} will never answer {}", self.side.name, asked)
            self.swallowed += 1
        else:
            self._answer(asked, answer)

    def _execute(self, asked: Asked) -> bytes:
        if asked.opcode == statements.OPTIONS:
            return frames.supported(asked.stream)
        if asked.opcode == statements.REGISTER:
            return frames.ready(asked.stream)
        if asked.opcode == statements.PREPARE:
            return self._prepare(asked)
        if asked.texts and asked.texts[0].startswith("USE"):
            return self._use(asked)
        for prepared_id in asked.ids:
            if prepared_id not in self.cluster.given_ids:
                raise Violation(f"{self.side.name} is sent an id that it has never given: {asked}")
            if prepared_id not in self.host.prepared:
                return frames.unprepared(asked.stream, prepared_id)
        return self._write_or_read(asked)

    def _write_or_read(self, asked: Asked) -> bytes:
        known = [self.host.prepared[prepared_id] for prepared_id in asked.ids]
        places = {place for _, place in known}
        places.update(statements.keyspace_of(text) or self.keyspace for text in asked.texts)
        if not places <= set(self.cluster.keyspaces):
            return statements.bad_answer(asked, self.side, statements.INVALID)
        texts = asked.texts or tuple(text for text, _ in known)
        if statements.is_write(texts[0]):
            self.cluster.ledger.applied(self.side, asked.number, places)
        return statements.good_answer(asked, self.side)

    def _prepare(self, asked: Asked) -> bytes:
        prepared_id = self.host.prepare(asked.texts[0], asked.keyspace or self.keyspace)
        if prepared_id is None:
            return statements.bad_answer(asked, self.side, statements.INVALID)
        return frames.prepared(asked.stream, prepared_id, {"v": frames.INT})

    def _use(self, asked: Asked) -> bytes:
        keyspace = asked.texts[0].removeprefix("USE ").strip('"')
        if keyspace not in self.cluster.keyspaces:
            return statements.bad_answer(asked, self.side, statements.INVALID)
        self.keyspace = keyspace
        return frames.set_keyspace(asked.stream, keyspace)

    def _answer(self, asked: Asked, frame: bytes) -> None:
        schedule = self._schedule
        is_final = frame[4] != statements.ERROR or frame[9:13] != b"\0\0\x25\0"
        mark: object = (asked.number if is_final else -asked.number) or None
        if statements.is_clients_use(asked):
            mark = statements.USE
        if schedule.chance(self.cluster.trouble.is_slow):
            delay = schedule.between(*_SLOWNESS)
        else:
            delay = 0.0003 + 0.006 * schedule.random.random() ** 4
        schedule.after(delay, self._write, frame, mark)

    def _write(self, frame: bytes, mark: object) -> None:
        self._outbox.write(self.laid.lay((frame,), answers=True), mark)
