"""Copies in every protocol version, and compressed: the connection is like the session's others."""

from __future__ import annotations

import pytest

from tests import frames
from tests.copying import READ, CopyingPlay
from tests.stage import ORIGIN, stage
from zdm.protocol.compression import compress_frame


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("compression", ["", "lz4"])
def test_reads_are_copied_in_every_version(version: int, compression: str) -> None:
    """In v5 the connection changes to segments as the others do, with what came right behind READY."""
    shared = stage(copies_reads=True, compression=[compression] if compression else [])
    with CopyingPlay(shared, version) as play:
        play.become_ready(compression)
        play.answer_copy(play.copied_read(1), frames.rows(version=version))
        play.prepare(READ, b"here", b"there, longer")
        play.answer_copy(play.expect_copy(), frames.prepared(version=version))
        play.client_sends(frames.execute(5, b"here", [b"v"], version=version))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows(version=version))
        play.expect_client(frames.rows(5, version=version))
        copy = play.expect_copy(frames.execute(5, b"there, longer", [b"v"], version=version))
        play.answer_copy(copy, frames.unprepared(prepared_id=b"there, longer", version=version))
        play.answer_copy(play.expect_copy(frames.prepare(0, READ, version=version)), frames.prepared(version=version))
        play.use("ks")
        play.answer_copy(play.expect_copy(), frames.set_keyspace(version=version))
        assert play.copies.used_ids() == 0
        play.read(1)
        play.expect_copy()


@pytest.mark.parametrize("algorithm", ["lz4", "snappy"])
def test_what_is_compressed_is_copied_as_it_came(algorithm: str) -> None:
    """Unless its id is exchanged; then it is compressed anew. Answers are opened where somebody reads them."""
    with CopyingPlay(stage(copies_reads=True, compression=[algorithm])) as play:
        play.become_ready(algorithm)
        sent = compress_frame(algorithm, frames.query(1, READ))
        play.client_sends(sent)
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(1))
        play.answer_copy(play.expect_copy(sent), compress_frame(algorithm, frames.rows()))
        play.prepare(READ, b"here", b"there")
        play.answer_copy(play.expect_copy(), compress_frame(algorithm, frames.prepared()))
        play.client_sends(compress_frame(algorithm, frames.execute(5, b"here", [b"v" * 50])))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
        play.expect_client(frames.rows(5))
        copy = play.expect_copy(compress_frame(algorithm, frames.execute(5, b"there", [b"v" * 50])))
        play.answer_copy(copy, compress_frame(algorithm, frames.unprepared(prepared_id=b"there")))
        repair = play.expect_copy(frames.prepare(0, READ))
        play.answer_copy(repair, compress_frame(algorithm, frames.prepared(prepared_id=b"anew")))
        entry = play.shared.prepared.get(b"here")
        assert entry is not None and entry.target_id == b"anew"


def test_a_statement_of_another_keyspace_is_prepared_there_where_a_prepare_can_name_it() -> None:
    """In v5; where it was prepared under none, not even there."""
    with CopyingPlay(version=5) as play:
        play.become_ready()
        play.use("ks")
        play.answer_copy(play.expect_copy(), frames.set_keyspace(version=5))
        play.prepare(READ, b"here")
        play.answer_copy(play.expect_copy(), frames.prepared(version=5))
        play.use("other")
        play.answer_copy(play.expect_copy(), frames.set_keyspace(keyspace="other", version=5))
        play.client_sends(frames.execute(5, b"here", version=5))
        play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows(version=5))
        play.expect_client(frames.rows(5, version=5))
        play.answer_copy(play.expect_copy(), frames.unprepared(prepared_id=b"here", version=5))
        assert b"ks" in play.expect_copy()[9 + 4 + len(READ) :]
