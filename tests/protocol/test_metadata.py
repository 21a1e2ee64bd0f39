"""What metadata refuses and what it arranges; `test_golden` has its layouts."""

from __future__ import annotations

import pytest

from zdm.protocol.exceptions import LocalProtocolError
from zdm.protocol.metadata import NO_RESULT, BindMetadata, ColumnSpec, RowsMetadata
from zdm.protocol.primitives import Reader
from zdm.protocol.types import INT

K = ColumnSpec("ks", "t", "k", INT)
U = ColumnSpec("ks", "u", "k", INT)


def test_columns_of_several_tables_are_sent_with_their_own() -> None:
    """Asking for one table cannot make them of one."""
    decoded = RowsMetadata.decode(Reader(RowsMetadata([K, U], 2).encode(4)), 4)
    assert decoded == RowsMetadata([K, U], 2, global_spec=False)
    bound = BindMetadata.decode(Reader(BindMetadata([K, U], [1]).encode(4)), 4)
    assert bound == BindMetadata([K, U], [1], global_spec=False)


def test_no_columns_share_no_table() -> None:
    """Cassandra does not set the flag then, and there would be no table to name."""
    assert BindMetadata([], []).encode(3) == bytes(8)
    assert RowsMetadata([], 0).encode(4) == bytes(8)


def test_a_statement_without_rows_is_described_as_cassandra_does() -> None:
    """Flag 0x04 alone, and no columns."""
    assert NO_RESULT.encode(4) == bytes.fromhex("00000004 00000000")


def test_metadata_left_out_keeps_the_flags_it_came_with() -> None:
    """Cassandra leaves 0x01 set when it leaves the columns out; others need not."""
    for layout in ("00000005 00000002", "00000004 00000002"):
        body = bytes.fromhex(layout)
        assert RowsMetadata.decode(Reader(body), 4).encode(4) == body


def test_key_columns_are_not_said_in_v3() -> None:
    """v3 has no place for them."""
    assert BindMetadata.decode(Reader(BindMetadata([K], [0]).encode(3)), 3) == BindMetadata([K], [])


def test_the_flag_of_changed_columns_means_nothing_before_v5() -> None:
    """The bytes behind it are the columns."""
    body = bytes.fromhex("0000000c 00000001")
    assert RowsMetadata.decode(Reader(body), 4) == RowsMetadata(None, 1, global_spec=False)


@pytest.mark.parametrize("metadata", [RowsMetadata([K], 2), RowsMetadata(None, 1, new_metadata_id=b"id")])
def test_metadata_that_contradicts_itself_or_the_version_is_our_fault(metadata: RowsMetadata) -> None:
    """A driver would misread every row."""
    with pytest.raises(LocalProtocolError):
        metadata.encode(4)
