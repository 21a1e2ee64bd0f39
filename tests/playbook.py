"""A session on a stage: no I/O, no clock, and a transcript of what was played.

`Play` stands where the shell of a session stands (zdm.net.client). Like it, after each thing that happens it takes the
bytes and commands the session has, and keeps the one timer. A test says what happens and what must follow:

    play.client_sends(frames.query(5, "INSERT INTO ks.t (k) VALUES (1)"))
    write = play.expect_forwarded(to={ORIGIN, TARGET})
    play.answer(write, ORIGIN, frames.void())
    play.expect_silence()

What the session did and nobody looked at is a failure at the end of the `with`. Every failure shows the transcript.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn

from tests import frames
from tests.laid import Laid
from tests.stage import (
    CLIENT,
    HOSTS,
    ORIGIN,
    ORIGIN_USER,
    TARGET,
    TARGET_USER,
    described,
    dumped,
    stage,
    stream_of,
    under,
)
from zdm.core.clusters import Side
from zdm.core.commands import Attached, Close, Command, Connect, LoginJudged, Note, Recognition, VerifyLogin
from zdm.core.copying_session import new_session
from zdm.core.credentials import Credentials
from zdm.core.handover import Handover
from zdm.core.snapshot import Shared, TargetMode

_MOST_WAKE_UPS = 1000


@dataclass(frozen=True)
class Forwarded:
    """One request as the clusters got it."""

    frames: Mapping[Side, bytes]

    def stream(self, side: Side) -> int:
        return stream_of(self.frames[side])


@dataclass(frozen=True)
class ClientError:
    """An ERROR that the client got."""

    code: int
    message: str
    stream: int
    fields: bytes


class Play:
    """One client connection. Use it in a `with`."""

    def __init__(self, shared: Shared | None = None, version: int | None = None, now: float = 1000.0) -> None:
        self.shared = shared or stage()
        self.version = version or frames.Spoken.version
        self.now = now
        self.transcript: list[str] = []
        self.connected: set[Side] = set()
        self.closed = False
        self._laid = {side: Laid() for side in Side}
        self._unseen: dict[Side, deque[bytes]] = {side: deque() for side in Side}
        self._commands: deque[Command] = deque()
        self.asked_eagerly = 0
        self.judged: list[LoginJudged] = []
        self._notes: deque[Note] = deque()
        self._sent: list[bytes] = []
        self._timer: float | None = None
        self._failed = False
        self.session = new_session(self.shared, now, "127.0.0.1", "127.0.0.9:50000")
        self._turn()

    def __enter__(self) -> Play:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        if fault is None:
            self.end()

    # What happens

    def client_sends(self, *sent: bytes, cut_into: int = 0) -> None:
        """Bytes from the client, all at once, or in pieces of `cut_into` bytes."""
        self._sent.extend(sent)
        data = self.laid(CLIENT, *sent)
        self._write(f"client -> {' | '.join(map(described, sent))}")
        self._feed(data, cut_into, lambda piece: self.session.feed_client(piece, self.now))

    def client_sends_bytes(self, data: bytes) -> None:
        """Bytes from the client that may be no frame at all."""
        self._write(f"client -> {data[:60]!r}")
        self._do(lambda: self.session.feed_client(data, self.now))

    def cluster_sends(self, side: Side, *sent: bytes, cut_into: int = 0) -> None:
        """Bytes from a cluster as they are."""
        self._write(f"{side.name.lower()} -> {' | '.join(map(described, sent))}")
        data = self.laid(side, *sent)
        self._feed(data, cut_into, lambda piece: self.session.feed_cluster(side, piece, self.now))

    def laid(self, side: Side, *sent: bytes) -> bytes:
        """The bytes of frames that the other end of a connection sends."""
        if side is CLIENT:
            for frame in sent:
                if frame[4] == 0x01 and not self._laid[CLIENT].is_segmented:
                    for each in self._laid.values():
                        each.has_lz4 = b"lz4" in frame
        return self._laid[side].lay(sent, answers=side is not CLIENT)

    def cluster_sends_bytes(self, side: Side, data: bytes) -> None:
        """Bytes from a cluster that may be no frame at all."""
        self._write(f"{side.name.lower()} -> {data[:60]!r}")
        self._do(lambda: self.session.feed_cluster(side, data, self.now))

    def answer(self, request: Forwarded, side: Side, frame: bytes) -> None:
        """A cluster answers a request, under the id by which it got it."""
        self.cluster_sends(side, under(frame, request.stream(side)))

    def answer_all(self, request: Forwarded, frame: bytes, order: Sequence[Side] = (ORIGIN, TARGET)) -> None:
        """All who got the request answer it alike."""
        for side in order:
            if side in request.frames:
                self.answer(request, side, frame)

    def move(self, shared: Shared | None = None) -> Handover | None:
        """The session goes on elsewhere, with what is shared there; not while something is under way."""
        handover = self.session.hand_over()
        if handover is not None:
            self._write("moved")
            self.shared = shared or self.shared
            here, client = handover.local_address, handover.client_name
            self.session = new_session(self.shared, self.now, here, client, handover)
            self._timer = None
            self._turn()
        return handover

    def time_passes(self, seconds: float) -> None:
        """The clock goes on; the timer fires where it was set for within that time."""
        self._write(f"{seconds:g} s pass")
        end = self.now + seconds
        for _ in range(_MOST_WAKE_UPS):
            if self._timer is None or self._timer > end:
                self.now = end
                return
            self.now, self._timer = max(self.now, self._timer), None
            self._do(lambda: self.session.expire(self.now))
        self._fail("the timer fires again and again at the same time")

    def attach(self, side: Side) -> None:
        """The connection that the session asked for is open."""
        self._write(f"connected to {side.name}")
        self.connected.add(side)
        self.session.state.count_for(side, HOSTS[side])
        self._do(lambda: self.session.attached(side, self.now))

    def lose(self, side: Side, reason: str = "closed by the other end") -> None:
        """A cluster connection ended, or could not be opened."""
        self._write(f"{side.name} is lost: {reason}")
        self._parted(side)
        self._do(lambda: self.session.cluster_lost(side, reason, self.now))

    def prepared_elsewhere(self, ticket: int, answer: tuple[int, bytes] | None) -> None:
        self._write(f"prepared elsewhere: ticket {ticket}")
        self._do(lambda: self.session.prepared_elsewhere(ticket, answer, self.now))

    def statements_sought(self, ticket: int) -> None:
        """The other workers were asked; what they knew is in the cache."""
        self._write(f"statements sought: ticket {ticket}")
        self._do(lambda: self.session.statements_sought(ticket, self.now))

    def switch(self, is_on: bool) -> None:
        """An operator switches target on or off."""
        self._write(f"target is switched {'on' if is_on else 'off'}")
        mode = TargetMode.DUAL if is_on else TargetMode.ORIGIN_ONLY
        snapshot = replace(self.shared.snapshot, generation=self.shared.snapshot.generation + 1, mode=mode)
        self.shared.replace(snapshot)
        self._do(lambda: self.session.apply(snapshot, self.now))

    def verify(self, login: bool | Recognition) -> None:
        """Whether target accepted the client's login before."""
        if isinstance(login, bool):
            login = Recognition.KNOWN if login else Recognition.UNKNOWN
        self.expect_a(VerifyLogin)
        self._write(f"the login is {login.name.lower()}")
        self._do(lambda: self.session.login_verified(login, self.now))

    def drain(self) -> None:
        self._write("drain")
        self._do(lambda: self.session.drain(self.now))

    def client_leaves(self) -> None:
        self._write("the client is gone")
        self._do(self.session.client_lost)

    # What must follow

    def expect_forwarded(
        self, to: Collection[Side] = (ORIGIN, TARGET), frame: bytes | Mapping[Side, bytes] | None = None
    ) -> Forwarded:
        """The next frame to each of these clusters. Without `frame` it must be one the client sent, byte for byte.

        The stream id is not compared: look at `Forwarded.stream` where it matters.
        """
        got: dict[Side, bytes] = {}
        for side in sorted(to):
            got[side] = self._next(side)
            if frame is None:
                wanted = [sent for sent in self._sent if under(sent, 0) == under(got[side], 0)]
                if not wanted:
                    self._fail(f"{side.name} got what the client has not sent: {described(got[side])}")
            else:
                wanted_frame = frame if isinstance(frame, bytes) else frame[side]
                self._same(under(wanted_frame, stream_of(got[side])), got[side], side)
        return Forwarded(got)

    def expect_client(self, frame: bytes, stream: int | None = None) -> None:
        """The next frame the client gets is this, under this stream id."""
        wanted = frame if stream is None else under(frame, stream)
        self._same(wanted, self._next(CLIENT), CLIENT)

    def client_got(self) -> bytes:
        """The next frame the client gets, whatever it is."""
        return self._next(CLIENT)

    def has_for(self, side: Side) -> bool:
        """There is a frame for that side that was not looked at."""
        return bool(self._unseen[side])

    def next_for(self, side: Side) -> bytes:
        """That frame, whatever it is: for model clusters, which judge for themselves."""
        return self._next(side)

    def take_commands(self) -> list[Command]:
        """What is asked of the shell, whatever it is."""
        taken = list(self._commands)
        self._commands.clear()
        return taken

    def forget_frames(self, side: Side) -> None:
        """Nobody is there any more to look at them."""
        if side is not CLIENT:
            self._unseen[side].clear()

    def expect_error(self, code: int, stream: int, text: str = "") -> ClientError:
        """The next frame the client gets is an ERROR with this code, and with `text` in its message."""
        frame = self._next(CLIENT)
        if frame[4] != 0 or frame[0] != self.version | 0x80:
            self._fail(f"no v{self.version} ERROR: {described(frame)}")
        length = int.from_bytes(frame[13:15], "big")
        message = frame[15 : 15 + length].decode()
        got = ClientError(int.from_bytes(frame[9:13], "big"), message, stream_of(frame), frame[15 + length :])
        if got.code != code or got.stream != stream or text not in message:
            self._fail(f"expected error 0x{code:04X} {text!r} on stream {stream}, got {got}")
        return got

    def expect_silence(self) -> None:
        """Nobody was sent anything, and nothing was asked of the shell."""
        left = [f"to {side.name}: {described(frame)}" for side in Side for frame in self._unseen[side]]
        left += [str(command) for command in self._commands]
        left += [str(note) for note in self._notes if note.level in ("warn", "error")]
        if left:
            self._fail("nothing was expected, but:\n  " + "\n  ".join(left))

    def expect_command(self, command: Command) -> None:
        """The next command is this."""
        got = self._command()
        if got != command:
            self._fail(f"expected {command}, got {got}")

    def expect_close(self, side: Side, reason: str = "") -> None:
        """The next command closes a connection, with `reason` in its reason."""
        got = self._command()
        if not isinstance(got, Close) or got.side is not side or reason not in got.reason:
            self._fail(f"expected Close({side.name}, ...{reason!r}...), got {got}")

    def expect_a(self, kind: type[Command]) -> Any:
        """The next command, which must be of this kind."""
        got = self._command()
        if not isinstance(got, kind):
            self._fail(f"expected a {kind.__name__}, got {got}")
        return got

    def expect_note(self, level: str, text: str) -> None:
        """A line for the operator with `text` in it; those before it are passed over."""
        while self._notes:
            note = self._notes.popleft()
            if note.level == level and text in note.text:
                return
        self._fail(f"no {level} note with {text!r}")

    def notes(self, level: str) -> list[str]:
        """The lines for the operator of one level since the last look; those of other levels are passed over."""
        texts = [note.text for note in self._notes if note.level == level]
        self._notes.clear()
        return texts

    def expect_idle(self) -> None:
        """The session awaits nothing: no request, no late answer, no timer to be set."""
        state = self.session.state
        if state.origin.owed or state.target.owed:
            self._fail("late answers are counted that are not owed any more")
        if state.pending or state.origin.special or state.target.special or state.held_bytes:
            self._fail("the session still awaits something")
        if not self.closed and self.session.awaits_time():
            self._fail("the session still wants a timer")
        meter = self.shared.meter
        kinds = ("writes", "reads_origin", "reads_target", "writes_disabled", "reads_disabled", "writes_attaching")
        inflight = {kind: getattr(meter, kind).inflight for kind in (*kinds, "reads_attaching")}
        if any(inflight.values()):
            self._fail(f"requests counted as in flight: {inflight}")

    def end(self) -> None:
        """Nothing is left that was not looked at."""
        if not self._failed:
            self.expect_silence()

    # Short cuts

    def open(self) -> Play:
        """Both cluster connections open."""
        for side in (ORIGIN, TARGET):
            self.expect_command(Connect(side))
        for side in (ORIGIN, TARGET):
            self.attach(side)
        return self

    def become_ready_without_target(self) -> Play:
        """The same while target is switched off."""
        self.expect_command(Connect(ORIGIN))
        self.attach(ORIGIN)
        self.client_sends(frames.startup(1, version=self.version))
        startup = self.expect_forwarded(to={ORIGIN})
        self.answer(startup, ORIGIN, frames.ready(version=self.version))
        self.expect_client(frames.ready(1, version=self.version))
        return self

    def become_ready(self, compression: str = "") -> Play:
        """A handshake with clusters that ask for no credentials."""
        self.open()
        options = {"CQL_VERSION": "3.0.0"} | ({"COMPRESSION": compression} if compression else {})
        self.client_sends(frames.startup(1, options, version=self.version))
        for side in (ORIGIN, TARGET):
            startup = self.expect_forwarded(to={side})
            self.answer(startup, side, frames.ready(version=self.version))
        self.expect_client(frames.ready(1, version=self.version))
        return self

    def log_in(self, credentials: Credentials = TARGET_USER) -> Play:
        """A handshake with clusters that both ask for credentials; the client gives those of target."""
        version = self.open().version
        self.client_sends(frames.startup(1, version=version))
        startup = self.expect_forwarded()
        self.answer_all(startup, frames.authenticate(version=version))
        self.expect_client(frames.authenticate(1, version=version))
        self.client_sends(frames.auth_response(2, credentials.token(), version=version))
        first = self.expect_forwarded(to={ORIGIN}, frame=frames.auth_response(0, ORIGIN_USER.token(), version=version))
        self.answer(first, ORIGIN, frames.auth_success(version=version))
        second = self.expect_forwarded(to={TARGET}, frame=frames.auth_response(0, credentials.token(), version=version))
        self.answer(second, TARGET, frames.auth_success(version=version))
        self.expect_client(frames.auth_success(2, version=version))
        return self

    def use(self, keyspace: str, stream: int = 3) -> None:
        """USE that succeeds on both."""
        self.client_sends(frames.query(stream, f"USE {keyspace}", version=self.version))
        request = self.expect_forwarded()
        self.answer_all(request, frames.set_keyspace(keyspace=keyspace, version=self.version))
        self.expect_client(frames.set_keyspace(stream, keyspace, version=self.version))

    def prepare(self, text: str, origin_id: bytes, target_id: bytes | None = None, stream: int = 4) -> None:
        """PREPARE that succeeds on both."""
        target_id = origin_id if target_id is None else target_id
        self.client_sends(frames.prepare(stream, text, version=self.version))
        request = self.expect_forwarded()
        self.answer(request, ORIGIN, frames.prepared(prepared_id=origin_id, version=self.version))
        self.answer(request, TARGET, frames.prepared(prepared_id=target_id, version=self.version))
        self.expect_client(frames.prepared(stream, origin_id, version=self.version))

    # The shell's part

    def _feed(self, data: bytes, size: int, feed: Callable[[bytes], None]) -> None:
        size = size or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self._do(lambda piece=piece: feed(piece))  # type: ignore[misc]  # a default binds the loop's variable

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
            self._turn()
        except Exception as fault:
            self._failed = True
            fault.add_note(self._told())
            raise

    def _turn(self) -> None:
        session = self.session
        commands = session.commands()
        for side in sorted(self.connected | {CLIENT}):
            for frame in self._laid[side].read(session.take(side), answers=side is CLIENT):
                self._write(f"    {'=' if self.closed and side is CLIENT else '-'}> {side.name}: {described(frame)}")
                self._unseen[side].append(frame)
        for command in commands:
            self._write(f"    {command}")
            if isinstance(command, Note):
                self._notes.append(command)
                continue
            if isinstance(command, Connect) and command.eager:
                self.asked_eagerly += 1  # nothing waits for it: most plays do not mind
            elif isinstance(command, LoginJudged):
                self.judged.append(command)
            elif not isinstance(command, Attached):
                self._commands.append(command)
            if isinstance(command, Close):
                self._parted(command.side)
                self.closed = self.closed or command.side is CLIENT
        if session.expires_sooner() or self._timer is None:
            self._timer = session.next_deadline() if session.awaits_time() else None

    def _parted(self, side: Side) -> None:
        self.connected.discard(side)
        if side is not CLIENT:
            begun, self._laid[side] = self._laid[side], Laid()
            self._laid[side].has_lz4 = begun.has_lz4

    def _next(self, side: Side) -> bytes:
        if not self._unseen[side]:
            self._fail(f"{side.name} got nothing")
        return self._unseen[side].popleft()

    def _command(self) -> Command:
        if not self._commands:
            self._fail("there is no command")
        return self._commands.popleft()

    def _same(self, wanted: bytes, got: bytes, side: Side) -> None:
        if wanted != got:
            difference = difflib.ndiff(dumped(wanted), dumped(got))
            self._fail(f"{side.name} got another frame:\n" + "\n".join(difference))

    def _write(self, line: str) -> None:
        self.transcript.append(f"{len(self.transcript) + 1:3}  {line}")

    def _told(self) -> str:
        return "\n".join(("", *self.transcript, f"     {self.session!r}"))

    def _fail(self, reason: str) -> NoReturn:
        self._failed = True
        raise AssertionError(f"{reason}\n{self._told()}")
