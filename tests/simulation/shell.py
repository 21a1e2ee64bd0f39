"""The shell around a session, as zdm.net.client is: bytes in and out, commands, one timer, and whatever was opened.

It also looks at what passes: what is asked and answered at the client's side, and what is sent to the clusters, goes
into the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests import frames
from tests.laid import Laid
from tests.simulation import statements
from tests.simulation.lanes import ByteLane, Lane
from tests.simulation.ledger import Ask, Kind
from tests.simulation.nodes import NodeConnection
from tests.simulation.schedule import Event, Violation
from tests.simulation.statements import Answered, Asked
from zdm.core.clusters import CLUSTERS, Side
from zdm.core.commands import Close, Command, Connect, LoginJudged, Note, PrepareElsewhere, Recognition, VerifyLogin
from zdm.core.credentials import Credentials
from zdm.core.session import Session
from zdm.core.snapshot import Snapshot
from zdm.core.state import Phase

if TYPE_CHECKING:
    from tests.simulation.client import ModelClient
    from tests.simulation.world import World

_DIAL_TIMEOUT: Final = 0.4
_LONGEST_TURN: Final = 1.0
_TIMER_SLACK: Final = 0.001
_MOST_IN_VAIN: Final = 3
"""Times in a row that the timer may be set for what is due already."""


class Shell:
    """One client connection, from accept to close."""

    def __init__(self, world: World, client: ModelClient, name: str) -> None:
        self.world: Final = world
        self.client: Final = client
        self.name: Final = name
        self._schedule: Final = world.schedule
        self.from_client: Final = ByteLane(world.schedule, self._client_sent)
        self.laid: Final = Laid()
        """The client's end."""
        self._to_client: Final[Lane[Answered]] = Lane(world.schedule, client.received)
        self.sides: Final[dict[Side, NodeConnection]] = {}
        self._dialling: Final[dict[Side, Event]] = {}
        self._errands: Final[dict[tuple[Side, int], Event]] = {}
        self._timer: Event | None = None
        self._vain = 0
        self.unanswered: Final[dict[int, Ask]] = {}
        self._using: Ask | None = None
        self.is_over = False
        world.shells[self] = None
        self.session: Final = Session(world.shared, self._schedule.now, "127.0.0.1", name)
        self._turn()

    # What happens

    def _client_sent(self, data: bytes, marks: list[object]) -> None:
        if self.is_over:
            return
        for mark in marks:
            assert isinstance(mark, Ask)
            self._asked(mark)
        self.session.feed_client(data, self._schedule.now)
        self._turn()

    def cluster_received(self, connection: NodeConnection, data: bytes, marks: list[object]) -> None:
        """Bytes from a cluster; a mark is the number of a request that they answer, less than 0 for UNPREPARED."""
        side = connection.side
        if self.is_over or self.sides.get(side) is not connection:
            return
        for mark in marks:
            self._finished(side, mark)
        self.session.feed_cluster(side, data, self._schedule.now)
        self._turn()

    def _finished(self, side: Side, mark: object) -> None:
        if mark == statements.USE:
            if self._using is not None:
                self._using.finished |= side
            return
        assert isinstance(mark, int)
        if mark > 0:
            self.world.ledger.finished(side, mark)
        else:
            self.world.ledger.unprepared(side, -mark)

    def cluster_disconnected(self, connection: NodeConnection) -> None:
        """A cluster connection ended by itself."""
        side = connection.side
        if self.is_over or self.sides.get(side) is not connection:
            return
        self._schedule.tell("{}: {} is lost", self.name, side.name)
        del self.sides[side]
        self.session.cluster_lost(side, "closed by the other end", self._schedule.now)
        self._turn()

    def client_leaves(self) -> None:
        """The client's end is closed."""
        self._schedule.tell("{}: the client leaves", self.name)
        self.from_client.cut()
        self._to_client.cut()
        self._end()

    def apply(self, snapshot: Snapshot) -> None:
        """A new generation."""
        self.session.apply(snapshot, self._schedule.now)
        self._turn(is_switched=True)

    def _expire(self) -> None:
        self._timer = None
        self.session.expire(self._schedule.now)
        self._turn(is_late=True)

    # The turn

    def _turn(self, is_late: bool = False, is_switched: bool = False) -> None:
        session = self.session
        commands = session.commands()
        closed = [command.side for command in commands if isinstance(command, Close)]
        has_target = Side.TARGET in self.sides and Side.TARGET not in closed
        self.world.watch.is_turning(self, is_late, is_switched, has_target)
        numbers: dict[int, int] = {}
        for side, connection in self.sides.items():
            data = session.take(side)
            if data:
                self._send(connection, data, numbers)
        self._look_for_halves(numbers)
        data = session.take(Side.CLIENT)
        if data:
            self._answer(data)
        self.world.watch.is_nothing_held_back(self)
        self.world.watch.is_asked_of_origin(self)
        self.world.watch.is_within_limit(self)
        for command in commands:
            self._run(command)
        if self._timer is None:
            if session.awaits_time():
                self._arm()
        elif session.expires_sooner():
            self._timer.call_off()
            self._arm()

    def _send(self, connection: NodeConnection, data: bytes, numbers: dict[int, int]) -> None:
        side = connection.side
        last = 0
        requests = [statements.read_request(frame) for frame in connection.laid.read(data)]
        self.world.watch.target_is_used(self, side, str(requests[0]))
        for asked in requests:
            self._schedule.tell("{}:   -> {} {}", self.name, side.name, asked)
            if asked.number:
                ask = self.world.ledger.asks[asked.number]
                if not ask.sent & side:
                    numbers[asked.number] = numbers.get(asked.number, 0) | side
                    if ask.order < last and not ask.ids:
                        raise Violation(f"{ask!r} of {self.name} goes to {side.name} after one that came later")
                    last = ask.order
                self.world.ledger.sent(side, asked.number)
            elif statements.is_clients_use(asked) and self._using is not None:
                self._using.sent |= side
                numbers[0] = numbers.get(0, 0) | side
        connection.inbox.write(requests)

    def _look_for_halves(self, numbers: dict[int, int]) -> None:
        for number, sides in numbers.items():
            if number:
                self.world.watch.is_sent(self, self.world.ledger.asks[number], sides)
            else:
                self.world.watch.use_is_sent(sides)

    def _asked(self, ask: Ask) -> None:
        self._schedule.tell("{}: {!r}", self.name, ask)
        before = self.unanswered.get(ask.stream)
        if before is not None:
            self.world.watch.is_expired(before)
        self.unanswered[ask.stream] = ask
        if ask.kind is Kind.USE:
            self._using = ask
        self.world.ledger.asked(ask)

    def _answer(self, data: bytes) -> None:
        answers = []
        for frame in self.laid.read(data, answers=True):
            answer = statements.read_answer(frame)
            self._schedule.tell("{}: <- {}", self.name, answer)
            if answer.opcode == statements.EVENT:
                continue
            ask = self.unanswered.pop(answer.stream, None)
            if ask is None:
                raise Violation(f"{self.name} is answered what it has not asked, or has been answered before: {answer}")
            if ask.kind is Kind.HANDSHAKE:
                self.world.watch.handshake_answered(self.client, answer)
            else:
                self.world.ledger.answered(ask, answer)
            answers.append(answer)
        self._to_client.write(answers)

    # Commands

    def _run(self, command: Command) -> None:
        if isinstance(command, Note):
            self._schedule.tell("{}:   {}: {}", self.name, command.level, command.text)
            return
        self._schedule.tell("{}:   {}", self.name, command)
        if isinstance(command, Connect):
            self._connect(command.side, command.eager)
        elif isinstance(command, Close):
            self._close(command.side)
        elif isinstance(command, PrepareElsewhere):
            self._prepare_elsewhere(command)
        elif isinstance(command, VerifyLogin):
            self._schedule.after(5 * self._schedule.hop(), self._verified, command.credentials)
        elif isinstance(command, LoginJudged):
            self.world.logins.pop(command.credentials, None)
            if command.is_accepted:
                self.world.logins[command.credentials] = None

    def _verified(self, credentials: Credentials) -> None:
        if not self.is_over:
            login = Recognition.KNOWN if credentials in self.world.logins else Recognition.UNKNOWN
            if self._schedule.chance(0.05):
                login = Recognition.UNSEEN
            self.session.login_verified(login, self._schedule.now)
            self._turn()

    def _connect(self, side: Side, is_eager: bool) -> None:
        if self.session.phase is Phase.CLOSED:
            return
        self.world.watch.target_is_used(self, side, "a connection")
        before = self._dialling.pop(side, None)
        if before is not None:
            before.call_off()  # it was not urgent, and now it is
        host = self.world.clusters[side].host()
        delay = self._schedule.hop() if host is not None else _DIAL_TIMEOUT
        if is_eager and self._schedule.chance(0.5):
            delay += self._schedule.between(0.0, _LONGEST_TURN)  # others are attached first
        self._dialling[side] = self._schedule.after(delay, self._dialled, side)

    def _dialled(self, side: Side) -> None:
        del self._dialling[side]
        self.world.watch.target_is_used(self, side, "a connection")
        host = self.world.clusters[side].host()
        if host is None:
            self._schedule.tell("{}: no host of {} answers", self.name, side.name)
            self.session.cluster_lost(side, "it could not be opened", self._schedule.now)
        else:
            self._schedule.tell("{}: connected to {}", self.name, side.name)
            self.sides[side] = NodeConnection(host, self)
            self.session.attached(side, self._schedule.now)
        self._turn()

    def _part(self, side: Side) -> None:
        for key in [key for key in self._errands if key[0] is side is Side.TARGET]:
            self._errands.pop(key).call_off()
        dialling = self._dialling.pop(side, None)
        if dialling is not None:
            dialling.call_off()
        connection = self.sides.pop(side, None)
        if connection is not None:
            connection.let_go()

    def _prepare_elsewhere(self, command: PrepareElsewhere) -> None:
        self.world.watch.target_is_used(self, command.side, "an errand")
        self.world.ledger.count("prepared elsewhere")
        connection = self.sides.get(command.side)
        if connection is None:
            self._prepared_elsewhere(command, None)
        else:
            delay = 3 * self._schedule.hop()
            errand = self._schedule.after(delay, self._prepared_elsewhere, command, connection)
            self._errands[command.side, command.ticket] = errand

    def _prepared_elsewhere(self, command: PrepareElsewhere, connection: NodeConnection | None) -> None:
        self._errands.pop((command.side, command.ticket), None)
        answer = None
        if connection is not None and connection.host.is_up and not self._schedule.chance(self._failures(command.side)):
            prepared_id = connection.host.prepare(command.text, command.keyspace)
            if prepared_id is None:
                refusal = statements.bad_answer(Asked(0, statements.PREPARE), command.side, statements.INVALID)
                answer = (statements.ERROR, refusal[9:])
            else:
                answer = (statements.RESULT, frames.prepared(0, prepared_id, {"v": frames.INT}, version=4)[9:])
        self.session.prepared_elsewhere(command.ticket, answer, self._schedule.now)
        self._turn()

    def _failures(self, side: Side) -> float:
        return self.world.clusters[side].trouble.fails

    # Time, and the end

    def _arm(self) -> None:
        self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and self.session.phase is not Phase.CLOSED:
            self._vain = self._vain + 1 if deadline <= self._schedule.now else 0
            if self._vain > _MOST_IN_VAIN:
                raise Violation(f"{self.name} is woken up again and again, for what was due at {deadline}")
            delay = max(0.0, deadline - self._schedule.now) + _TIMER_SLACK
            self._timer = self._schedule.after(delay, self._expire)

    def _close(self, side: Side) -> None:
        if side is not Side.CLIENT:
            self._part(side)
            return
        self.world.watch.is_closing(self)
        self._end()
        self._to_client.end(lambda: self.client.disconnected(self))

    def _end(self) -> None:
        self.is_over = True
        if self._timer is not None:
            self._timer.call_off()
            self._timer = None
        for side in CLUSTERS:
            self._part(side)
        for errand in self._errands.values():
            errand.call_off()
        self.session.client_lost()
        self.world.shells.pop(self, None)

    def __repr__(self) -> str:
        return f"{self.name} {self.session!r}"
