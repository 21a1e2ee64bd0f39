"""Who is next where many wait, and who goes where too many do."""

from __future__ import annotations

from zdm.net.fair_queue import FairQueue


def filled(limit: int, *items: str) -> FairQueue[str]:
    """Each item's owner is its first letter."""
    queue = FairQueue[str](limit)
    for item in items:
        assert queue.put(item[0], item) is None
    return queue


def taken(queue: FairQueue[str]) -> list[str]:
    return [queue.take() for _ in range(len(queue))]


def test_owners_take_turns_each_in_its_own_order() -> None:
    """Nobody waits for all that another one has."""
    assert taken(filled(9, "a1", "a2", "a3", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_who_had_a_turn_comes_after_who_came_meanwhile() -> None:
    """A new owner does not wait for two of another one's."""
    queue = filled(9, "a1", "a2", "a3")
    assert queue.take() == "a1"
    queue.put("b", "b1")
    assert taken(queue) == ["a2", "b1", "a3"]


def test_the_newest_item_of_who_has_the_most_gives_way() -> None:
    """As long as that makes them more alike."""
    queue = filled(4, "a1", "a2", "a3", "b1")
    assert queue.put("c", "c1") == "a3" and len(queue) == 4
    assert queue.put("c", "c2") == "c2" and queue.put("a", "a4") == "a4"
    assert queue.put("d", "d1") == "a2"
    assert queue.put("e", "e1") == "e1", "all have one, and who came first stays"
    assert taken(queue) == ["a1", "b1", "c1", "d1"]


def test_what_is_removed_does_not_come_up_and_makes_room() -> None:
    """The last one of an owner takes the owner with it."""
    queue = filled(3, "a1", "a2", "b1")
    assert queue.remove("b", "b1") and queue.remove("a", "a1")
    assert not queue.remove("b", "b1") and not queue.remove("a", "a1")
    assert len(queue) == 1 and queue.put("c", "c1") is None
    assert taken(queue) == ["a2", "c1"]
