"""Whatever anybody sends: no fault, every request answered once or its connection closed, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests import frames
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import CLIENT, ORIGIN, TARGET, stage, stream_of, under
from zdm.core.clusters import Side
from zdm.core.commands import Close, Connect, PrepareElsewhere
from zdm.core.snapshot import Settings
from zdm.core.state import Phase

INSERT = "INSERT INTO ks.t (k) VALUES (?)"
TABLES = system_tables(proxies(*FLEET))
REQUESTS = [
    frames.query(0, "INSERT INTO ks.t (k) VALUES (1)"),
    frames.query(0, "SELECT k FROM ks.t"),
    frames.query(0, "SELECT k FROM ks.t", tracing=True, payload={"k": b"v"}),
    frames.query(0, "SELECT * FROM system.local"),
    frames.query(0, "SELECT * FROM system_auth.roles"),
    frames.query(0, "USE ks"),
    frames.query(0, "USE other"),
    frames.query(0, "CREATE TABLE ks.t (k int PRIMARY KEY)"),
    frames.prepare(0, INSERT),
    frames.prepare(0, "SELECT rack FROM system.local"),
    frames.execute(0, b"same", [b"v"]),
    frames.execute(0, b"other", [b"v"]),
    frames.execute(0, b"other", [b"v"], payload={"k": b"v"}),
    frames.execute(0, b"unknown"),
    frames.batch(0, [(b"other", [b"v"]), INSERT, (b"same", [b"v"])]),
    frames.options(0),
    frames.register(0),
    frames.startup(0),
    frames.auth_response(0),
]
ANSWERS = [
    frames.void(),
    frames.rows(),
    frames.rows(0, warnings=["w"], payload={"k": b"v"}, tracing_id=b"t" * 16),
    frames.set_keyspace(0, "ks"),
    frames.set_keyspace(0, "other"),
    frames.schema_change(),
    frames.prepared(0, b"same"),
    frames.prepared(0, b"of target"),
    frames.prepared(0, b"a new one", {"k": frames.INT}, {"k": frames.INT}),
    frames.supported(),
    frames.ready(),
    frames.authenticate(),
    frames.auth_success(),
    frames.auth_challenge(),
    frames.error(),
    frames.error(0, 0x2200),
    frames.error(0, 0x1001),
    frames.error(0, 0x000A),
    frames.error(0, 0x0100),
    frames.write_timeout(),
    frames.unprepared(0, b"same"),
    frames.unprepared(0, b"of target"),
    frames.unprepared(0, b"unknown"),
]

Mutation = tuple[int, int]
MUTATIONS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3)
STREAMS = st.sampled_from([0, 1, 2, 3, 4, 32766, 32767])


def mutated(frame: bytes, changes: list[Mutation], kept: tuple[int, ...]) -> bytes:
    """The frame with some bytes changed, but never those of the header that are to be kept."""
    data = bytearray(frame)
    for place, value in changes:
        if place % len(data) not in kept:
            data[place % len(data)] = value
    return bytes(data)


FRAMING = (2, 3, 5, 6, 7, 8)
"""Stream id and length: who changes them asks for something else."""

HEADER = tuple(range(9))

client_step = st.tuples(
    st.just("client"), STREAMS, st.sampled_from(REQUESTS), st.one_of(st.just([]), MUTATIONS), st.integers(0, 20)
)
answer_step = st.tuples(
    st.just("answer"),
    st.sampled_from([ORIGIN, TARGET]),
    st.sampled_from(ANSWERS),
    st.one_of(st.just([]), MUTATIONS),
    st.integers(0, 20),
)
STEPS = st.lists(
    st.one_of(
        client_step,
        client_step,
        answer_step,
        answer_step,
        answer_step,
        st.tuples(st.just("time"), st.sampled_from([0.1, 2.5, 11.0])),
        st.tuples(st.just("lose"), st.just(TARGET)),
        st.tuples(st.just("connect"), st.booleans()),
        st.tuples(st.just("elsewhere"), st.booleans()),
        st.tuples(st.just("drain"), st.none()),
    ),
    max_size=40,
)


class Chaos:
    """Plays steps, and knows what is still to be answered."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.sent = 0
        self.got = 0
        self.connecting: list[Side] = []
        self.tickets: list[int] = []

    def look(self) -> None:
        """Take note of what followed."""
        for command in self.play.take_commands():
            if isinstance(command, Connect):
                self.connecting.append(command.side)
            elif isinstance(command, PrepareElsewhere):
                self.tickets.append(command.ticket)
            elif isinstance(command, Close):
                self.connecting = [side for side in self.connecting if side is not command.side]
                self.play.forget_frames(command.side)
        while self.play.has_for(CLIENT):
            self.play.client_got()
            self.got += 1

    def client(self, stream: int, frame: bytes, changes: list[Mutation], size: int) -> None:
        self.play.client_sends(mutated(under(frame, stream), changes, FRAMING), cut_into=size)
        self.sent += 1

    def answer(self, side: Side, frame: bytes, changes: list[Mutation], size: int) -> None:
        if self.play.has_for(side) and side in self.play.connected:
            stream = stream_of(self.play.next_for(side))
            self.play.cluster_sends(side, mutated(under(frame, stream), changes, HEADER), cut_into=size)

    def time(self, seconds: float) -> None:
        self.play.time_passes(seconds)

    def lose(self, side: Side) -> None:
        if side in self.play.connected:
            self.play.forget_frames(side)
            self.play.lose(side)

    def connect(self, succeeds: bool) -> None:
        if self.connecting:
            side = self.connecting.pop()
            self.play.attach(side) if succeeds else self.play.lose(side, "refused")

    def elsewhere(self, succeeds: bool) -> None:
        if self.tickets:
            body = frames.prepared(0, b"same")[9:]
            self.play.prepared_elsewhere(self.tickets.pop(), (0x08, body) if succeeds else None)

    def drain(self, _: None) -> None:
        self.play.drain()

    def perform(self, step: tuple[object, ...]) -> None:
        verb: Callable[..., None] = getattr(self, str(step[0]))
        verb(*step[1:])
        self.look()

    def settle_all(self) -> None:
        """Everybody answers everything, well."""
        for _ in range(500):
            busy = bool(self.connecting or self.tickets)
            self.perform(("connect", True))
            self.perform(("elsewhere", True))
            for side in (ORIGIN, TARGET):
                if self.play.has_for(side) and side in self.play.connected:
                    frame = self.play.next_for(side)
                    answer = {0x01: frames.ready(), 0x05: frames.supported(), 0x09: frames.prepared(0, b"same")}
                    self.play.cluster_sends(side, under(answer.get(frame[4], frames.void()), stream_of(frame)))
                    self.look()
                    busy = True
            if not busy or self.play.closed:
                return


@given(STEPS, st.sampled_from([ORIGIN, TARGET]), st.booleans())
def test_every_request_is_answered_once_and_nothing_is_left_behind(
    steps: list[tuple[object, ...]], primary: Side, is_limited: bool
) -> None:
    """In whatever order requests, answers, losses and timeouts come."""
    settings = Settings(primary=primary, answer_timeouts=True, heartbeat_interval=3.0, max_streams_set=is_limited)
    play = Play(stage(replace(settings, max_streams=4 if is_limited else 2048), tables=TABLES)).become_ready()
    play.prepare(INSERT, b"same")
    play.prepare(INSERT, b"other", b"of target")
    chaos = Chaos(play)
    for step in steps:
        if play.closed:
            break
        chaos.perform(step)
    chaos.settle_all()
    if play.closed:
        play.client_leaves()
        meter = play.shared.meter
        assert not (meter.writes.inflight or meter.reads_origin.inflight or meter.reads_target.inflight)
        assert chaos.got <= chaos.sent + 1
    else:
        play.time_passes(3)  # what is held for a target that nobody attaches is told so
        chaos.look()
        chaos.settle_all()
        play.expect_idle()
        assert chaos.got == chaos.sent


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
def test_random_bytes_from_the_client_make_no_fault(pieces: list[bytes], is_ready: bool) -> None:
    """They may be anything: a scanner, another protocol, a broken driver."""
    play = Play()
    play.become_ready() if is_ready else play.open()
    for piece in pieces:
        play.client_sends_bytes(piece)
    play.time_passes(20)
    sent = b"".join(pieces)
    if sent and sent[0] not in (3, 4, 5) and not is_ready:
        assert play.closed


@given(st.lists(st.tuples(st.sampled_from([ORIGIN, TARGET]), st.binary(max_size=200)), max_size=10))
def test_random_bytes_from_a_cluster_make_no_fault(pieces: list[tuple[Side, bytes]]) -> None:
    """Its connection is given up at worst."""
    play = Play().become_ready()
    play.client_sends(frames.query(1, "SELECT k FROM ks.t"), frames.query(2, INSERT))
    for side, piece in pieces:
        if side in play.connected and not play.closed:
            play.cluster_sends_bytes(side, piece)
    play.time_passes(20)
    assert play.closed or not play.session.state.pending


HANDSHAKE_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("client"),
            STREAMS,
            st.sampled_from([*REQUESTS[-4:], *REQUESTS[-4:], *REQUESTS]),
            st.one_of(st.just([]), MUTATIONS),
            st.integers(0, 20),
        ),
        answer_step,
        answer_step,
        st.tuples(st.just("time"), st.sampled_from([0.1, 2.5])),
    ),
    max_size=30,
)


@given(HANDSHAKE_STEPS)
def test_every_frame_of_a_handshake_is_answered_or_its_connection_closed(steps: list[tuple[object, ...]]) -> None:
    """Nobody is left waiting, and nobody is ready before both clusters are."""
    play = Play().open()
    chaos = Chaos(play)
    for step in steps:
        if play.closed or play.session.phase is Phase.READY:
            break
        chaos.perform(step)
    play.time_passes(30)
    chaos.look()
    if not play.closed and play.session.phase in (Phase.HANDSHAKE, Phase.REFUSED):
        assert chaos.got == chaos.sent
