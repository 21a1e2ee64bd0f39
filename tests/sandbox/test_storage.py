from __future__ import annotations

from itertools import permutations

import pytest

from zdm.sandbox.storage import NEVER, Cell, Collection, Store, newer, serialise_key


def settled(cells: tuple[Cell, ...]) -> Cell | None:
    found: Cell | None = None
    for cell in cells:
        found = newer(found, cell)
    return found


@pytest.mark.parametrize(
    "cells",
    [
        (Cell(b"a", 1), Cell(b"b", 2), Cell(b"c", 3)),
        (Cell(b"a", 3), Cell(b"b", 3), Cell(b"c", 3)),
        (Cell(b"a", 1), Cell(None, 5), Cell(b"c", 4)),
        (Cell(b"z", 5), Cell(None, 5), Cell(b"c", 4)),
    ],
    ids=["by time", "by value", "deleted", "deleted at the same time"],
)
def test_the_same_cell_wins_whatever_order_the_writes_come_in(cells: tuple[Cell, ...]) -> None:
    """Two clusters that got the same writes in different orders must end up equal."""
    winners = {settled(order) for order in permutations(cells)}
    assert winners == {max(cells, key=lambda cell: (cell.timestamp, cell.value is None, cell.value or b""))}


def test_a_cell_ends_at_its_expiry_and_not_before() -> None:
    """TTL is counted in seconds from the write."""
    cell = Cell(b"x", 1, ttl=10, expires=110.0)
    assert cell.is_live(109.9, NEVER)
    assert not cell.is_live(110.0, NEVER)


def test_a_deletion_takes_what_is_as_old_and_leaves_what_is_younger() -> None:
    """At equal timestamps the deletion wins."""
    assert not Cell(b"x", 5).is_live(0, deleted=5)
    assert Cell(b"x", 6).is_live(0, deleted=5)


def test_a_replaced_collection_hides_its_old_elements_only() -> None:
    """`m = {...}` deletes up to one microsecond before itself."""
    collection = Collection()
    collection.put(b"old", Cell(b"1", 10))
    collection.deleted = 19
    collection.put(b"new", Cell(b"2", 20))
    assert [path for path, _ in collection.live(0, NEVER)] == [b"new"]


def test_partitions_come_in_token_order_and_from_a_place_on() -> None:
    """A scan goes on where the last page ended."""
    store = Store()
    for number in (0, 1, 2, 3):
        store.partition((number.to_bytes(4, "big"),))
    keys = [partition.key[0][-1] for partition in store.scan()]
    assert keys == [1, 0, 2, 3]
    third = store.places[2]
    assert [partition.key[0][-1] for partition in store.scan(third)] == [2, 3]


def test_the_key_of_several_columns_is_joined_as_cassandra_joins_it() -> None:
    """Its token, and a driver's routing key, are taken of these bytes."""
    assert serialise_key((b"ab",)) == b"ab"
    assert serialise_key((b"ab", b"c")) == b"\x00\x02ab\x00\x00\x01c\x00"
