"""What v5 says in its requests and answers beside v4: the keyspace of one request, and the ids of columns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import INVALID, ORIGIN, PROTOCOL_ERROR, TARGET, UNPREPARED, WRITE_FAILURE, stage
from zdm.core.commands import PrepareElsewhere
from zdm.core.snapshot import Settings

READ = "SELECT k FROM t WHERE k = ?"
INSERT = "INSERT INTO t (k) VALUES (?)"
COLUMNS = {"k": frames.VARCHAR}


@pytest.fixture(autouse=True)
def in_version_5(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of every frame and play here."""
    monkeypatch.setattr(frames.Spoken, "version", 5)
    yield


# The keyspace of a request


def test_the_keyspace_of_a_query_decides_where_it_goes() -> None:
    """An unqualified `local` is the proxy's own table only in keyspace `system`, whoever says so."""
    with Play(stage(tables=system_tables(proxies(*FLEET)))).become_ready() as play:
        play.client_sends(frames.query(1, "SELECT key FROM local", keyspace="system"))
        assert b"local" in play.client_got()
        play.client_sends(frames.query(2, "SELECT key FROM local"))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(2))


def test_it_decides_against_the_connections_too() -> None:
    """A session in keyspace `system` may read a table of another."""
    with Play(stage(tables=system_tables(proxies(*FLEET)))).become_ready() as play:
        play.use("system")
        play.client_sends(frames.query(1, "SELECT key FROM local", keyspace="ks"))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(1))


def test_requests_with_a_keyspace_or_a_time_of_their_own_pass_as_they_are(perform: Perform) -> None:
    """On both clusters the same."""
    play = perform()
    play.client_sends(
        frames.query(1, "INSERT INTO t (k) VALUES (1)", keyspace="ks", now_in_seconds=5),
        frames.query(2, "INSERT INTO t (k) VALUES (1)", now_in_seconds=5),
        frames.query(3, "SELECT k FROM t", keyspace="ks", page_size=5, now_in_seconds=5),
    )
    for stream in (1, 2):
        play.answer_all(play.expect_forwarded(), frames.void())
        play.expect_client(frames.void(stream))
    play.answer_all(play.expect_forwarded(to={ORIGIN}), frames.rows())
    play.expect_client(frames.rows(3))


def test_a_query_that_is_cut_off_within_its_parameters_is_refused(play: Play) -> None:
    """Nobody can say what keyspace it means."""
    whole = frames.query(1, "SELECT k FROM t", keyspace="ks")
    body = whole[9:-2]
    play.client_sends(whole[:5] + len(body).to_bytes(4, "big") + body)
    play.expect_error(PROTOCOL_ERROR, 1)


def test_a_statement_is_prepared_again_under_the_keyspace_it_was_prepared_under(play: Play) -> None:
    """PREPARE can say which, so no connection of its own is needed for it, and no USE."""
    play.use("one")
    play.prepare(INSERT, b"id")
    play.use("two")
    play.client_sends(frames.execute(1, b"id", [b"v"]))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    again = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT, keyspace="one"))
    play.answer(again, TARGET, frames.prepared(0, b"id"))
    play.answer(play.expect_forwarded(to={TARGET}), TARGET, frames.void())
    play.expect_client(frames.void(1))


def test_the_keyspace_that_a_prepare_names_is_remembered(play: Play) -> None:
    """It was the statement's, whatever the connection's is."""
    play.use("one")
    play.client_sends(frames.prepare(1, INSERT, keyspace="two"))
    play.answer_all(play.expect_forwarded(), frames.prepared(0, b"id"))
    play.expect_client(frames.prepared(1, b"id"))
    play.client_sends(frames.execute(1, b"id", [b"v"]))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT, keyspace="two"))


def test_a_statement_without_a_keyspace_is_prepared_elsewhere(play: Play) -> None:
    """Which PREPARE cannot say on a connection that has one. The answer from there is one of v4."""
    play.prepare(INSERT, b"id")
    play.use("one")
    play.client_sends(frames.execute(1, b"id", [b"v"]))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    errand = play.expect_a(PrepareElsewhere)
    assert (errand.side, errand.keyspace, errand.text) == (TARGET, "", INSERT)
    play.prepared_elsewhere(errand.ticket, (0x08, frames.prepared(0, b"id", version=4)[9:]))
    play.answer(play.expect_forwarded(to={TARGET}), TARGET, frames.void())
    play.expect_client(frames.void(1))


def test_an_error_from_elsewhere_reaches_the_client_in_its_own_version(play: Play) -> None:
    """The client would take a frame of v4 for garbage."""
    play.prepare(INSERT, b"id")
    play.use("one")
    play.client_sends(frames.execute(1, b"id", [b"v"]))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    errand = play.expect_a(PrepareElsewhere)
    play.prepared_elsewhere(errand.ticket, (0x00, frames.error(0, INVALID, "no such table", version=4)[9:]))
    play.expect_error(INVALID, 1, "no such table")


def test_a_write_that_one_side_applied_and_the_other_cannot_is_a_write_failure(play: Play) -> None:
    """v5 names the replicas that failed instead of counting them."""
    play.prepare(INSERT, b"id")
    play.client_sends(frames.execute(1, b"id", [b"v"]))
    request = play.expect_forwarded()
    play.answer(request, ORIGIN, frames.void())
    play.answer(request, TARGET, frames.unprepared(0, b"id"))
    prepare = play.expect_forwarded(to={TARGET}, frame=frames.prepare(0, INSERT))
    play.answer(prepare, TARGET, frames.void())
    failed = play.expect_error(WRITE_FAILURE, 1)
    replicas = frames.integer(1) + bytes([4, 0, 0, 0, 0]) + frames.short(0)
    assert failed.fields == frames.short(1) + frames.integer(0) + frames.integer(1) + replicas + frames.string("SIMPLE")


# Ids of columns


def prepare(play: Play, of_origin: bytes, of_target: bytes) -> bytes:
    """A read whose columns have these ids on the two clusters; what the client is told."""
    play.client_sends(frames.prepare(1, READ))
    request = play.expect_forwarded()
    for side, metadata_id in ((ORIGIN, of_origin), (TARGET, of_target)):
        answer = frames.prepared(0, b"id", COLUMNS, {"k": frames.VARCHAR}, result_metadata_id=metadata_id)
        play.answer(request, side, answer)
    return play.client_got()


def told(metadata_id: bytes) -> bytes:
    return frames.prepared(1, b"id", COLUMNS, {"k": frames.VARCHAR}, result_metadata_id=metadata_id)


def test_the_client_is_told_the_id_of_the_cluster_that_it_reads_from(perform: Perform) -> None:
    """With the other's, each first read would come with columns and another id."""
    assert prepare(perform(primary=ORIGIN), b"origins", b"targets") == told(b"origins")
    assert prepare(perform(primary=TARGET), b"origins", b"targets") == told(b"targets")


def test_the_clients_id_goes_to_the_cluster_as_it_is(perform: Perform) -> None:
    """So a cluster to which it means something else sends its own columns, by which the client must decode."""
    play = perform(primary=TARGET)
    prepare(play, b"origins", b"targets")
    stale = frames.execute(2, b"id", [b"k"], skip_metadata=True, result_metadata_id=b"origins")
    play.client_sends(stale)
    changed = frames.rows(0, {"k": frames.BLOB}, new_metadata_id=b"targets")
    play.answer(play.expect_forwarded(to={TARGET}, frame=stale), TARGET, changed)
    play.expect_client(frames.rows(2, {"k": frames.BLOB}, new_metadata_id=b"targets"))


def test_it_goes_as_it_is_with_an_exchanged_prepared_id_too(perform: Perform) -> None:
    """The two ids lie side by side in EXECUTE, and only one of them is the proxy's matter."""
    for target_id in (b"other", b"longer than that"):
        play = perform()
        play.prepare(INSERT, b"mine!", target_id)
        for payload in (None, {"k": b"v"}):
            execute = frames.execute(1, b"mine!", [b"v"], result_metadata_id=b"columns", payload=payload)
            exchanged = frames.execute(1, target_id, [b"v"], result_metadata_id=b"columns", payload=payload)
            play.client_sends(execute)
            sent = play.expect_forwarded(frame={ORIGIN: execute, TARGET: exchanged})
            play.answer_all(sent, frames.void())
            play.expect_client(frames.void(1))


def test_columns_learned_while_target_was_off_are_prepared_anew_where_rows_come_from_target() -> None:
    """As in v4: the cache is shared by clients of all versions."""
    with Play(stage(Settings(primary=TARGET))).become_ready() as play:
        play.switch(False)
        play.client_sends(frames.prepare(1, READ))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.prepared(0, b"id", COLUMNS, COLUMNS))
        play.expect_client(frames.prepared(1, b"id", COLUMNS, COLUMNS))
        play.switch(True)
        play.client_sends(frames.execute(2, b"id", [b"k"]))
        play.expect_error(UNPREPARED, 2)
