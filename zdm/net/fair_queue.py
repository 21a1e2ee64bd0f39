"""Who is next where many wait, and who goes where too many do.

Each item has an owner. Owners take turns, so that one with a hundred items holds up another one by a single item; and
where there is no place left, the newest item goes of the owner who has the most.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

_Item = TypeVar("_Item")


class FairQueue(Generic[_Item]):
    """At most `limit` items, of owners known by name."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._lines: Final[OrderedDict[str, deque[_Item]]] = OrderedDict()
        """Of each owner, in the order of their turns; none is empty."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, owner: str, item: _Item) -> _Item | None:
        """Gives back what there is no place for: nothing, or this very item, or another one that was in the queue."""
        gone: _Item | None = None
        if self._size >= self._limit:
            longest = max(self._lines, key=lambda name: len(self._lines[name]))
            if len(self._lines[longest]) <= len(self._lines.get(owner, ())) + 1:
                return item
            gone = self._lines[longest].pop()
            self._size -= 1
        self._lines.setdefault(owner, deque()).append(item)
        self._size += 1
        return gone

    def take(self) -> _Item:
        """The oldest item of the owner whose turn it is. The queue must not be empty."""
        owner, line = self._lines.popitem(last=False)
        item = line.popleft()
        self._size -= 1
        if line:
            self._lines[owner] = line
        return item

    def remove(self, owner: str, item: _Item) -> bool:
        """Whether it was there."""
        line = self._lines.get(owner)
        if line is None or item not in line:
            return False
        line.remove(item)
        self._size -= 1
        if not line:
            del self._lines[owner]
        return True
