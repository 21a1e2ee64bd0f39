"""Writes that came without a timestamp get one, the same for both clusters."""

from __future__ import annotations

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.playbook import Play
from tests.stage import ORIGIN, TARGET
from zdm.core.amending import Amending
from zdm.core.generating import Generator
from zdm.core.parameters import Parameters
from zdm.core.pending import PendingRequest
from zdm.core.plans import Plan
from zdm.core.prepared import PreparedCache
from zdm.metrics import Meter

pytestmark = pytest.mark.usefixtures("spoken")

WRITE = "INSERT INTO ks.t (k) VALUES (?)"
READ = "SELECT k FROM ks.t WHERE k = ?"
COUNTER = b"\x00\x05"
STAMP = 1_636_481_612_705_370
"""The first that the proxy gives on stage, in microseconds."""
IDS = {ORIGIN: b"origin-id", TARGET: b"target-id"}


@pytest.fixture
def stamping(perform: Perform) -> Play:
    return perform(stamp_write_timestamps=True)


def counted(play: Play) -> tuple[int, int]:
    """Writes with a timestamp of the client, and of the proxy."""
    return play.shared.meter.timestamps_of_clients, play.shared.meter.timestamps_of_proxy


@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_write_gets_a_timestamp_and_the_next_one_a_later_one(perform: Perform, version: int) -> None:
    """Also within one microsecond; between what stands before and behind its place."""
    play = perform(version, stamp_write_timestamps=True)
    for stream in (1, 2):
        play.client_sends(
            frames.query(stream, WRITE, version, 2, [b"1"], None, True, 5, b"page", 8, payload=None, tracing=True)
        )
        stamp = STAMP + stream - 1
        stamped = frames.query(stream, WRITE, version, 2, [b"1"], None, True, 5, b"page", 8, stamp, tracing=True)
        play.answer_all(play.expect_forwarded(frame=stamped), frames.void(version=version))
        play.expect_client(frames.void(stream, version=version))
    assert counted(play) == (0, 2)


def test_named_values_stay_named(stamping: Play) -> None:
    stamping.client_sends(frames.query(1, WRITE, values=[b"1", None], names=["k", "ü"]))
    stamping.expect_forwarded(frame=frames.query(1, WRITE, values=[b"1", None], names=["k", "ü"], timestamp=STAMP))


def test_the_clients_own_timestamp_stays(stamping: Play) -> None:
    """Most drivers send one with each write."""
    stamping.prepare(WRITE, b"id")
    stamping.client_sends(
        frames.query(1, WRITE, timestamp=1),
        frames.execute(2, b"id", [b"1"], timestamp=2),
        frames.batch(3, [WRITE], timestamp=3),
    )
    for _ in range(3):
        stamping.expect_forwarded()
    assert counted(stamping) == (3, 0)


@pytest.mark.parametrize(
    "text",
    [
        *("INSERT INTO ks.t (k) VALUES (1) IF NOT EXISTS", "INSERT INTO ks.t (k) VALUES (1) USING TIMESTAMP 5"),
        *(
            "UPDATE ks.c SET c = c + 1 WHERE k = 1",
            "BEGIN COUNTER BATCH UPDATE c SET c = c + ? WHERE k = 1; APPLY BATCH",
        ),
        *("TRUNCATE ks.t", "CREATE TABLE ks.u (k int PRIMARY KEY)", "USE ks", READ),
    ],
)
def test_what_must_have_none_gets_none(stamping: Play, text: str) -> None:
    """Neither as text, nor prepared, nor in a batch."""
    sides = {ORIGIN} if text == READ else {ORIGIN, TARGET}
    stamping.client_sends(frames.query(1, text))
    stamping.expect_forwarded(to=sides)
    stamping.prepare(text, b"id")
    stamping.client_sends(frames.execute(5, b"id"))
    stamping.expect_forwarded(to=sides)
    stamping.client_sends(frames.batch(6, [b"id"]), frames.batch(7, [text]))
    stamping.expect_forwarded()
    stamping.expect_forwarded()
    assert counted(stamping) == (0, 0)
    assert stamping.shared.prepared.entries[b"id"].verbatim


def test_an_execution_is_stamped_towards_both_clusters(stamping: Play) -> None:
    """Whatever ids they have."""
    stamping.prepare(WRITE, IDS[ORIGIN], IDS[TARGET])
    stamping.client_sends(frames.execute(5, IDS[ORIGIN], [b"1"]))
    stamping.expect_forwarded(
        frame={side: frames.execute(5, one, [b"1"], timestamp=STAMP) for side, one in IDS.items()}
    )
    assert counted(stamping) == (0, 1)


def test_an_update_of_a_counter_is_known_by_its_variables(stamping: Play) -> None:
    """The text does not tell it from an addition to a list."""
    stamping.client_sends(frames.prepare(4, "UPDATE ks.c SET c = c + ? WHERE k = ?"))
    answer = frames.prepared(4, b"id", {"c": COUNTER, "k": frames.INT})
    stamping.answer_all(stamping.expect_forwarded(), answer)
    stamping.expect_client(answer)
    stamping.client_sends(frames.execute(5, b"id", [b"1", b"2"]), frames.batch(6, [(b"id", [b"1", b"2"])], kind=1))
    stamping.expect_forwarded()
    stamping.expect_forwarded()
    assert counted(stamping) == (0, 0)


def test_a_batch_is_stamped_as_a_whole(stamping: Play) -> None:
    """Children with a timestamp of their own keep it."""
    stamping.prepare(WRITE, b"id")
    children: list[str | bytes | tuple[bytes, list[bytes]]] = [(b"id", [b"1"]), WRITE + " USING TIMESTAMP 5"]
    stamping.client_sends(frames.batch(5, children, serial_consistency=8))
    stamping.expect_forwarded(frame=frames.batch(5, children, serial_consistency=8, timestamp=STAMP))


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("other", ["DELETE FROM ks.t WHERE k = 1 IF EXISTS", b"conditional", "DELETE FROM ks.t"])
def test_a_batch_of_counters_or_with_a_condition_is_not_stamped(stamping: Play, kind: int, other: str | bytes) -> None:
    """One condition makes all of a batch conditional."""
    stamping.prepare(WRITE + " IF NOT EXISTS", b"conditional")
    sent = frames.batch(5, ["DELETE FROM ks.t WHERE k = 1", other], kind)
    stamping.client_sends(sent)
    is_stamped = kind != 2 and other == "DELETE FROM ks.t"
    stamped = frames.batch(5, ["DELETE FROM ks.t WHERE k = 1", other], kind, timestamp=STAMP)
    stamping.expect_forwarded(frame=stamped if is_stamped else sent)


def test_functions_and_timestamps_go_together(perform: Perform) -> None:
    """Both are put into one frame, once."""
    play = perform(stamp_write_timestamps=True, replaced_functions=frozenset(("currenttimestamp",)))
    play.client_sends(frames.query(1, "INSERT INTO ks.t (k) VALUES (currentTimestamp())"))
    text = f"INSERT INTO ks.t (k) VALUES ({STAMP // 1000})"
    play.expect_forwarded(frame=frames.query(1, text, timestamp=STAMP))


def test_a_write_that_is_sent_again_has_the_timestamp_that_it_had(stamping: Play) -> None:
    """The other cluster has stored that."""
    stamping.prepare(WRITE, IDS[ORIGIN], IDS[TARGET])
    stamping.client_sends(frames.execute(5, IDS[ORIGIN], [b"1"]))
    stamped = {side: frames.execute(5, one, [b"1"], timestamp=STAMP) for side, one in IDS.items()}
    request = stamping.expect_forwarded(frame=stamped)
    stamping.answer(request, TARGET, frames.unprepared(0, IDS[TARGET]))
    prepare = stamping.expect_forwarded(to={TARGET}, frame=frames.prepare(0, WRITE))
    stamping.answer(prepare, TARGET, frames.prepared(0, IDS[TARGET]))
    stamping.expect_forwarded(to={TARGET}, frame=stamped)


def test_a_write_whose_parameters_are_cut_off_is_a_protocol_error(stamping: Play) -> None:
    whole = frames.query(1, WRITE, values=[b"1"], serial_consistency=8)[9:]
    stamping.client_sends(frames.request(7, 1, whole[:-1]))
    stamping.expect_error(0x000A, 1)


def test_without_the_key_no_write_is_changed(play: Play) -> None:
    """The default, and that of the reference (section 5.5)."""
    play.prepare(WRITE, b"id")
    play.client_sends(frames.query(1, WRITE), frames.execute(2, b"id", [b"1"]), frames.batch(3, [WRITE]))
    for _ in range(3):
        play.expect_forwarded()


def test_version_5_has_wider_flags_and_more_behind_the_timestamp() -> None:
    """Flags are an [int], and a keyspace and the time in seconds may follow (v5 section 4.1.4)."""
    meter = Meter()
    amending = Amending(frozenset(), True, Generator(lambda: STAMP * 1000, bytes), meter)
    head = frames.long_string(WRITE) + frames.short(1)
    values = frames.short(1) + frames.long_bytes(b"1") + frames.short(8)
    behind = frames.string("ks") + frames.integer(7)
    sent = frames.request(7, 1, head + frames.integer(0x191) + values + behind, version=5)
    plan = Plan(3, 1, 1.0)
    changed: PendingRequest = amending.request(1, plan, 0.0, sent, b"", 5, PreparedCache())
    stamp = STAMP.to_bytes(8, "big")
    assert changed.frame() == frames.request(7, 1, head + frames.integer(0x1B1) + values + stamp + behind, version=5)
    execute = frames.execute(1, b"id", [b"1"], 5, serial_consistency=8)
    assert Parameters(execute, 9 + 4 + 4, 5).with_timestamp(9) == frames.execute(
        1, b"id", [b"1"], 5, serial_consistency=8, timestamp=9
    )[9 + 4 + 4 :]  # fmt: skip
