"""Both clusters, read directly: is every row on both, and the same?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from conformance.backends.interface import Node
from conformance.client import Client, Entry

Row = tuple[Any, ...]


def plain(value: Any) -> Any:
    """The value in Python's own types, so that it can be compared and sorted whatever class the driver made it."""
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {"map": [(plain(key), plain(item)) for key, item in value.items()]}
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Sequence) or hasattr(value, "_fields"):
        return tuple(plain(item) for item in value)
    if isinstance(value, Iterable):
        return {"set": [plain(item) for item in value]}
    return value


class Both:
    """Direct sessions to origin and target, opened when first used. With --direct only one of them is looked at.

    The sessions are the checker's own: they never pass the proxy.
    """

    def __init__(self, sides: Sequence[Node], keyspace: str) -> None:
        self.sides = sides
        self.keyspace = keyspace
        self._clients: dict[str, Client] = {}

    def direct(self, side: Node) -> Client:
        client = self._clients.get(side.name)
        if client is None:
            entry = Entry(side.address, side.port, side.credentials)
            client = self._clients[side.name] = Client(entry, protocol=4, keyspace=self.keyspace)
        return client

    def forget(self, side: Node) -> None:
        """Closes the session to a node that is about to stop, so that the next use opens a new one."""
        client = self._clients.pop(side.name, None)
        if client is not None:
            client.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def each(self, query: str) -> dict[str, list[Row]]:
        """What each cluster answers, sorted, in plain values."""
        return {side.name: self.read(side, query) for side in self.sides}

    def read(self, side: Node, query: str) -> list[Row]:
        rows = self.direct(side).execute(query, timeout=60)
        return sorted(([tuple(plain(column) for column in row) for row in rows]), key=repr)

    def run(self, query: str) -> None:
        for side in self.sides:
            self.direct(side).execute(query, timeout=60)

    def same(self, query: str) -> list[Row]:
        """Asserts that all clusters answer the same rows, and returns them."""
        answers = self.each(query)
        first, *others = answers.items()
        for other in others:
            assert other[1] == first[1], f"{query}\n{difference(first, other)}"
        return first[1]

    def same_table(self, table: str, writetime_of: Iterable[str] = ()) -> list[Row]:
        """The whole table, and the writetime of these columns: the same on all clusters. Returns the table's rows."""
        columns = list(writetime_of)
        if columns:
            self.same(f"SELECT {', '.join(f'writetime({column})' for column in columns)} FROM {table}")
        return self.same(f"SELECT * FROM {table}")


def difference(one: tuple[str, list[Row]], other: tuple[str, list[Row]]) -> str:
    lines = [f"{one[0]}: {len(one[1])} rows, {other[0]}: {len(other[1])} rows"]
    for (name, rows), (_, against) in ((one, other), (other, one)):
        seen = {repr(row) for row in against}
        only = [row for row in rows if repr(row) not in seen]
        lines += [f"only {name}: {row!r}" for row in only[:10]]
        if len(only) > 10:
            lines.append(f"... and {len(only) - 10} more only in {name}")
    return "\n".join(lines)
