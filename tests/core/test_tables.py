"""Writes counted by table (`metrics_max_tables`), on every way that a write can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests import frames
from tests.playbook import Play
from tests.stage import ORIGIN, OVERLOADED, TARGET, stage
from zdm.core.clusters import Side
from zdm.core.plans import Route
from zdm.core.prepared import PreparedCache, PreparedStatement
from zdm.core.snapshot import Shared, TargetMode
from zdm.core.tables import OTHER, Tables
from zdm.metrics import Meter, merge

A, B = ("ks", "a"), ("ks", "b")


def counting(max_tables: int = 10, mode: TargetMode = TargetMode.DUAL) -> Shared:
    meter = Meter(max_tables=max_tables)
    plain = stage(mode=mode, asks=(False, False))
    return Shared(plain.snapshot, meter, PreparedCache())


def counted(shared: Shared) -> dict[tuple[str, str], tuple[int, int]]:
    """Origin's and target's writes of each table that has any."""
    found = shared.meter.tables.by_name.items()
    return {name: (meter.origin, meter.target) for name, meter in found if meter.origin or meter.target}


@pytest.fixture
def play() -> Iterator[Play]:
    with Play(counting()).become_ready() as play:
        yield play


def do(play: Play, frame: bytes, to: frozenset[Side] = frozenset({ORIGIN, TARGET})) -> None:
    play.client_sends(frame)
    play.answer_all(play.expect_forwarded(to=to), frames.void())
    play.client_got()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("INSERT INTO ks.a (k) VALUES (1)", [A]),
        ("UPDATE ks.a SET v = 1 WHERE k = 1", [A]),
        ('DELETE v FROM "ks"."a" WHERE k = 1', [A]),
        ("INSERT INTO KS.A (k) VALUES (1) IF NOT EXISTS", [A]),
        ("BEGIN BATCH INSERT INTO ks.a (k) VALUES (1); UPDATE ks.b SET v = 1 WHERE k = 1; APPLY BATCH", [A, B]),
        ("BEGIN BATCH INSERT INTO ks.a (k) VALUES (1) DELETE v FROM ks.a WHERE k = 2 APPLY BATCH", [A]),
        ("BEGIN COUNTER BATCH UPDATE ks.a SET n = n + 1 WHERE k = 1; APPLY BATCH", [A]),
        ("INSERT INTO a (k) VALUES (1)", [("", "a")]),
        ("BOGUS", [OTHER]),
    ],
)
def test_a_statement_counts_for_each_of_its_tables_once(play: Play, text: str, names: list[tuple[str, str]]) -> None:
    """On the cluster that has answered it well."""
    do(play, frames.query(1, text))
    assert counted(play.shared) == dict.fromkeys(names, (1, 1))


def test_reads_schema_and_use_count_for_no_table(play: Play) -> None:
    """They write nothing, or no rows."""
    do(play, frames.query(1, "SELECT k FROM ks.a"), frozenset({ORIGIN}))
    do(play, frames.query(1, "TRUNCATE ks.a"))
    play.take_commands()
    assert counted(play.shared) == {}


def test_a_prepared_statement_counts_for_the_table_it_was_prepared_for(play: Play) -> None:
    """On the short way through the session, many at once."""
    play.prepare("INSERT INTO ks.a (k) VALUES (?)", b"ida")
    play.prepare("INSERT INTO ks.b (k) VALUES (?)", b"idb")
    play.client_sends(*(frames.execute(stream, b"ida", [b"x"]) for stream in (1, 2)), frames.execute(3, b"idb", [b"x"]))
    requests = [play.expect_forwarded(to={ORIGIN, TARGET}) for _ in range(3)]
    play.cluster_sends(ORIGIN, *(request.frames[ORIGIN][:0] + frames.void(n) for n, request in enumerate(requests, 1)))
    assert counted(play.shared) == {A: (2, 0), B: (1, 0)}
    play.cluster_sends(TARGET, frames.error(1, OVERLOADED, "busy"), frames.void(2), frames.void(3))
    assert counted(play.shared) == {A: (2, 1), B: (1, 1)}
    play.expect_error(OVERLOADED, 1)
    for stream in (2, 3):
        play.expect_client(frames.void(stream))
    assert sum(play.shared.meter.writes.duration.counts) == 3


def test_a_batch_counts_for_the_tables_of_its_children(play: Play) -> None:
    """Prepared and inline."""
    play.prepare("INSERT INTO ks.a (k) VALUES (?)", b"ida")
    children: list[str | bytes | tuple[str | bytes, Sequence[frames.BoundValue]]] = [
        (b"ida", [b"x"]),
        ("UPDATE ks.b SET v = 1 WHERE k = 1", []),
        (b"ida", [b"y"]),
    ]
    do(play, frames.batch(1, children))
    assert counted(play.shared) == {A: (1, 1), B: (1, 1)}


def test_an_unqualified_table_is_that_of_the_keyspace_in_use(play: Play) -> None:
    """The keyspace of the connection when the statement was prepared, or now."""
    play.client_sends(frames.query(1, "USE ks"))
    play.answer_all(play.expect_forwarded(to={ORIGIN, TARGET}), frames.set_keyspace(keyspace="ks"))
    play.client_got()
    do(play, frames.query(1, "INSERT INTO a (k) VALUES (1)"))
    play.prepare("INSERT INTO b (k) VALUES (?)", b"idb")
    do(play, frames.execute(1, b"idb", [b"x"]))
    assert counted(play.shared) == {A: (1, 1), B: (1, 1)}


def test_while_target_is_off_only_origin_counts() -> None:
    """The gap between the two is what target misses."""
    with Play(counting(mode=TargetMode.ORIGIN_ONLY)).become_ready_without_target() as play:
        do(play, frames.query(1, "INSERT INTO ks.a (k) VALUES (1)"), frozenset({ORIGIN}))
        assert counted(play.shared) == {A: (1, 0)}


def test_tables_beyond_the_limit_are_counted_together() -> None:
    """A label for whatever a client writes would fill Prometheus; those that have a place keep it."""
    with Play(counting(max_tables=2)).become_ready() as play:
        for table in ("a", "b", "c", "d", "a", "c"):
            do(play, frames.query(1, f"INSERT INTO ks.{table} (k) VALUES (1)"))
        do(play, frames.query(1, "BEGIN BATCH DELETE FROM ks.a WHERE k = 1; DELETE FROM ks.c WHERE k = 1; APPLY BATCH"))
        assert counted(play.shared) == {A: (3, 3), B: (1, 1), OTHER: (4, 4)}


def test_batches_for_too_many_sets_of_tables_are_counted_as_other() -> None:
    """Each set has a place; single tables never lack one for that."""
    tables = Tables(20)
    sets = [(("ks", f"t{n}"), ("ks", f"t{m}")) for n in range(20) for m in range(n)]
    places = [tables.place(names) for names in sets]
    assert len(set(places)) == 65 and places.count(0) == len(sets) - 64
    singles = [tables.place([("ks", f"t{n}")]) for n in range(20)]
    assert 0 not in singles and len(set(singles) | set(places)) == 85
    assert tables.place([("ks", "t21")]) == 0


def test_statements_that_are_known_already_are_counted_from_then_on() -> None:
    """A worker may get them before it has its counters."""
    cache = PreparedCache()
    cache.put(PreparedStatement(b"id", b"id", "INSERT INTO ks.a (k) VALUES (?)", None, Route.WRITE))
    shared = Shared(stage(asks=(False, False)).snapshot, Meter(max_tables=1), cache)
    with Play(shared).become_ready() as play:
        do(play, frames.execute(1, b"id", [b"x"]))
    assert counted(shared) == {A: (1, 1)}


def test_workers_are_summed_by_table() -> None:
    """Each has filled its own places."""
    meters = [Meter(max_tables=1), Meter(max_tables=1)]
    for meter, name in zip(meters, (A, B), strict=True):
        meter.tables.places[meter.tables.place([name])].count(ORIGIN, 2)
        meter.tables.places[meter.tables.place([A])].count(TARGET, 1)
    found = merge(meters).tables.by_name
    assert {name: (meter.origin, meter.target) for name, meter in found.items()} == {
        A: (2, 1),
        B: (2, 0),
        OTHER: (0, 1),
    }


def test_without_a_limit_nothing_is_counted_by_table() -> None:
    """And no text is looked at for it."""
    with Play(stage(asks=(False, False))).become_ready() as play:
        do(play, frames.query(1, "INSERT INTO ks.a (k) VALUES (1)"))
        assert play.shared.meter.tables.by_name == {}
