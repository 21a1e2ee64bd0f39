"""A model client: what an application and its driver do, within the protocol.

It logs in, keeps a few requests in flight, takes a stream id again as soon as it is free, prepares anew what it is told
is UNPREPARED, asks again what the proxy says was executed nowhere, and connects again when it is cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests import frames
from tests.simulation import statements
from tests.simulation.ledger import WRITES, Ask, Kind
from tests.simulation.nodes import KEYSPACES, SHARED_KEYSPACES
from tests.simulation.schedule import Violation
from tests.simulation.shell import Shell
from tests.simulation.statements import Answered
from tests.stage import under
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials

if TYPE_CHECKING:
    from tests.simulation.world import World

PATIENCE: Final = 0.4
"""Seconds after a request's timeout in which its answer may still be on its way to the client."""

_MOST_ATTEMPTS: Final = 3
_MOST_AT_ONCE: Final = 4
_KINDS: Final = (
    ("insert", 26), ("execute", 26), ("batch", 12), ("select", 8), ("execute_select", 6), ("prepare", 8), ("use", 8),
    ("options", 3), ("create", 2), ("register", 1), ("execute_unknown", 1),
)  # fmt: skip
_DECK: Final = [kind for kind, weight in _KINDS for _ in range(weight)]


class Statement:
    """What a client knows of a statement that it has prepared."""

    __slots__ = ("is_write", "keyspace", "lands_in", "prepared_id", "text")

    def __init__(self, prepared_id: bytes, text: str, keyspace: str) -> None:
        self.prepared_id: Final = prepared_id
        self.text: Final = text
        self.keyspace: Final = keyspace
        self.lands_in: Final = statements.keyspace_of(text) or keyspace
        self.is_write: Final = statements.is_write(text)


class ModelClient:
    """One client. A `stranger` has a password that is not right."""

    def __init__(self, world: World, name: str, credentials: Credentials) -> None:
        self.world: Final = world
        self.name: Final = name
        self.credentials: Final = credentials
        self._schedule: Final = world.schedule
        self.shell: Shell | None = None
        self.is_ready = False
        self.was_ready = False
        self.is_busy = False
        """It goes on sending requests."""
        self.keyspace = ""
        self._connections = 0
        self.connected_at = 0.0
        self._flying: dict[int, tuple[Ask, float]] = {}
        self._again: list[Ask] = []
        self._after_prepare: dict[bytes, list[Ask]] = {}
        self._known: dict[bytes, Statement] = {}
        self.acknowledged: list[int] = []
        self._steps: Final = {
            "insert": self._insert, "execute": self._execute, "batch": self._batch, "select": self._select,
            "execute_select": self._execute_select, "prepare": self._prepare_any, "use": self._use,
            "options": self._options, "create": self._create, "register": self._register,
            "execute_unknown": self._execute_unknown,
        }  # fmt: skip

    # Coming and going

    def connect(self) -> None:
        """Open a connection, if there is none, and log in."""
        if self.shell is not None:
            return
        self._connections += 1
        self.connected_at = self._schedule.now
        self._flying.clear()
        self.keyspace = ""
        self.is_ready = False
        self._schedule.tell("{}.{} connects as {}", self.name, self._connections, self.credentials.password)
        self.shell = Shell(self.world, self, f"{self.name}.{self._connections}")
        self._send(Ask(Kind.HANDSHAKE, frames.startup(0)))

    def leave(self) -> None:
        """Close the connection, whatever is in flight."""
        if self.shell is not None:
            shell, self.shell = self.shell, None
            self.is_ready = False
            shell.client_leaves()

    def disconnected(self, shell: Shell) -> None:
        """The proxy closed the connection."""
        if shell is self.shell:
            self.shell = None
            self.is_ready = False
            if self.is_busy:
                self._schedule.after(self._schedule.between(0.01, 0.3), self.connect)

    def received(self, answers: list[Answered]) -> None:
        """Answers, in order."""
        for answer in answers:
            if answer.stream not in self._flying:
                raise Violation(f"{self.name} is answered after it gave up: {answer}")
            ask, _ = self._flying.pop(answer.stream)
            if ask.kind is Kind.HANDSHAKE:
                self._handshake(answer)
            else:
                self._answered(ask, answer)

    def _handshake(self, answer: Answered) -> None:
        if answer.opcode == statements.AUTHENTICATE:
            token = self.credentials.token()
            self._send(Ask(Kind.HANDSHAKE, frames.auth_response(1, token)))
        elif answer.opcode in (statements.READY, statements.AUTH_SUCCESS):
            self.is_ready = self.was_ready = True
        else:
            self._later()

    def _later(self) -> None:
        """Drivers wait a little before they try again."""
        self.leave()
        if self.is_busy:
            self._schedule.after(self._schedule.between(0.05, 0.5), self.connect)

    # Requests

    def go_on(self) -> None:
        """Send a few requests, and come back for more."""
        schedule, draws = self._schedule, self.world.draws
        if not self.is_busy:
            return
        schedule.after(draws.pace * 2 * schedule.random.random(), self.go_on)
        self._give_up()
        if not self.is_ready:
            return
        for _ in range(1 + int(schedule.random.random() * _MOST_AT_ONCE)):
            if self._is_using() or self._free() < 0:
                return  # a driver that sends USE waits for what it comes to
            if not self.keyspace and schedule.chance(0.3):
                self._use()
            elif self._again:
                self._repeat(self._again.pop())
            else:
                self._steps[schedule.one_of(_DECK)]()

    def send_one(self, kind: str) -> None:
        """Send one request of that kind, if it is possible now."""
        if self.is_busy and self.is_ready and self._free() >= 0 and not self._is_using():
            self._steps[kind]()

    def probe(self) -> None:
        """A write by which one sees whether all is well again: into the current keyspace if both have it."""
        self._give_up()
        if self.is_ready and self._free() >= 0:
            self._write("" if self.keyspace in SHARED_KEYSPACES else SHARED_KEYSPACES[0])

    def _give_up(self) -> None:
        """What was not answered in time will not be answered at all: its stream id is free."""
        now, settings = self._schedule.now, self.world.draws.settings
        if not self.is_ready:
            if self.shell is not None and now - self.connected_at > 4 * settings.request_timeout:
                self._later()
            return
        for stream, (ask, sent) in list(self._flying.items()):
            timeout = settings.schema_timeout if ask.kind is Kind.SCHEMA else settings.request_timeout
            if now - sent > timeout + PATIENCE:
                self.world.watch.is_expired(ask)
                del self._flying[stream]

    def _is_using(self) -> bool:
        return any(ask.kind is Kind.USE for ask, _ in self._flying.values())

    def _free(self) -> int:
        """A stream id that is not in use, -1 where all are."""
        low, high = self.world.draws.streams
        first: int = low + int(self._schedule.random.random() * (high - low))
        if first not in self._flying:
            return first
        return next((stream for stream in range(low, high) if stream not in self._flying), -1)

    def _send(self, ask: Ask) -> None:
        if self.shell is not None:
            self._flying[ask.stream] = ask, self._schedule.now
            self.shell.from_client.write(self.shell.laid.lay((ask.frame,)), ask)

    def _insert(self) -> None:
        schedule = self._schedule
        self._write("" if schedule.chance(0.6) else schedule.one_of(SHARED_KEYSPACES))

    def _write(self, keyspace: str) -> None:
        number = self.world.ledger.next_number()
        frame = frames.query(self._free(), statements.insert(number, keyspace))
        self._send(Ask(Kind.WRITE, frame, number, keyspace or self.keyspace))

    def _create(self) -> None:
        number, keyspace = self.world.ledger.next_number(), self._schedule.one_of(SHARED_KEYSPACES)
        frame = frames.query(self._free(), statements.create(number, keyspace))
        self._send(Ask(Kind.SCHEMA, frame, number, keyspace))

    def _select(self) -> None:
        number = self.world.ledger.next_number()
        keyspace = self._schedule.one_of(("", *SHARED_KEYSPACES))
        frame = frames.query(self._free(), statements.select(number, keyspace))
        self._send(Ask(Kind.READ, frame, number, keyspace or self.keyspace))

    def _options(self) -> None:
        self._send(Ask(Kind.OPTIONS, frames.options(self._free())))

    def _register(self) -> None:
        self._send(Ask(Kind.REGISTER, frames.register(self._free())))

    def _use(self) -> None:
        if not self._flying:  # what is in flight might land before it or after it
            keyspace = self._schedule.one_of((*SHARED_KEYSPACES, *KEYSPACES[Side.ORIGIN], *KEYSPACES[Side.TARGET]))
            self._send(Ask(Kind.USE, frames.query(self._free(), f"USE {keyspace}"), keyspace=keyspace))

    def _prepare_any(self) -> None:
        schedule = self._schedule
        keyspace = "" if schedule.chance(0.6) else schedule.one_of(SHARED_KEYSPACES)
        self._prepare(statements.preparable(keyspace, int(schedule.random.random() * 2), schedule.chance(0.7)))

    def _prepare(self, text: str) -> None:
        self._send(Ask(Kind.PREPARE, frames.prepare(self._free(), text), keyspace=self.keyspace, text=text))

    def _execute(self) -> None:
        self._execute_one(True)

    def _execute_select(self) -> None:
        self._execute_one(False)

    def _execute_one(self, is_write: bool) -> None:
        known = [statement for statement in self._known.values() if statement.is_write is is_write]
        if not known:
            self._prepare_any()
            return
        statement, number = self._schedule.one_of(known), self.world.ledger.next_number()
        frame = frames.execute(self._free(), statement.prepared_id, [statements.number_value(number)])
        ask = Ask(Kind.WRITE if is_write else Kind.READ, frame, number, statement.lands_in)
        ask.ids = (statement.prepared_id,)
        self._send(ask)

    def _execute_unknown(self) -> None:
        number = self.world.ledger.next_number()
        frame = frames.execute(self._free(), b"nobody's", [statements.number_value(number)])
        ask = Ask(Kind.WRITE, frame, number, self.keyspace)
        ask.ids = (b"nobody's",)
        self._send(ask)

    def _batch(self) -> None:
        schedule = self._schedule
        known = [known for known in self._known.values() if known.is_write]
        keyspace = schedule.one_of(known).lands_in if known else self.keyspace
        if not keyspace:
            return
        number = self.world.ledger.next_number()
        ids = [statement.prepared_id for statement in known if statement.lands_in == keyspace][:3]
        children = [(prepared_id, [statements.number_value(number)]) for prepared_id in ids]
        texts: list[bytes | str | tuple[bytes | str, list[bytes]]] = [*children]
        if schedule.chance(0.5) or not ids:
            is_plain = keyspace == self.keyspace and schedule.chance(0.5)
            texts.append(statements.insert(number, "" if is_plain else keyspace))
        ask = Ask(Kind.WRITE, frames.batch(self._free(), texts), number, keyspace)
        ask.ids = tuple(ids)
        self._send(ask)

    def _repeat(self, ask: Ask) -> None:
        if ask.keyspace != self.keyspace:
            return  # it might land elsewhere now
        ask.attempts += 1
        ask.stream = self._free()
        ask.frame = under(ask.frame, ask.stream)
        self.world.ledger.count("asked again")
        self._send(ask)

    # Answers

    def _answered(self, ask: Ask, answer: Answered) -> None:
        if answer.code == statements.UNPREPARED:
            self._unprepared(ask, answer)
        elif answer.code == statements.OVERLOADED and not answer.letter and ask.kind in WRITES:
            if ask.attempts < _MOST_ATTEMPTS:
                self._again.append(ask)
        elif answer.code < 0:
            self._well(ask, answer)

    def _well(self, ask: Ask, answer: Answered) -> None:
        if ask.kind is Kind.USE:
            self.keyspace = ask.keyspace
        elif ask.kind is Kind.PREPARE:
            prepared_id = answer.body[6 : 6 + int.from_bytes(answer.body[4:6], "big")]
            if prepared_id != statements.prepared_id(b"O", ask.keyspace, ask.text):
                raise Violation(f"{self.name} gets another id for {ask.text!r} than that of ORIGIN")
            self._known[prepared_id] = Statement(prepared_id, ask.text, ask.keyspace)
            self._again += self._after_prepare.pop(prepared_id, [])
        elif ask.kind in WRITES:
            self.acknowledged.append(ask.number)

    def _unprepared(self, ask: Ask, answer: Answered) -> None:
        self.world.ledger.count("UNPREPARED")
        for prepared_id in ask.ids:
            statement = self._known.get(prepared_id)
            if prepared_id in answer.body and statement is not None and statement.keyspace == self.keyspace:
                del self._known[prepared_id]
                if ask.attempts < _MOST_ATTEMPTS and ask.kind in WRITES:
                    self._after_prepare.setdefault(prepared_id, []).append(ask)
                if self._free() >= 0:
                    self._prepare(statement.text)
