"""What scenarios about the toggle share: switching in every configuration, relayed clusters, and one of each write."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cassandra.query import BatchStatement, BatchType

from conformance.client import Client
from conformance.proxy import Proxy
from conformance.relay import Relay

SKIPPED = "zdm_target_skipped_requests_total"
ABANDONED = "zdm_target_abandoned_requests_total"
COUNTED = ("QUERY", "EXECUTE", "BATCH", "PREPARE")


class Toggle:
    """Switches one proxy's target. Where target is primary that is refused unless forced, so it is forced."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._force = proxy.settings["ZDM_PRIMARY_CLUSTER"] == "TARGET"

    def disable(self, reason: str = "") -> dict[str, Any]:
        return self.proxy.target.disable(reason, force=self._force)

    def enable(self, reason: str = "") -> dict[str, Any]:
        return self.proxy.target.enable(reason)

    def restore(self) -> None:
        """Enabled, and every client attached."""
        if self.proxy.is_running():
            self.enable()
            self.proxy.target.await_dual()

    def skipped_writes(self) -> int:
        return int(self.proxy.metric(SKIPPED, type="writes"))

    def abandoned_writes(self) -> int:
        return int(self.proxy.metric(ABANDONED, type="writes"))


@dataclass(frozen=True)
class Relayed:
    """A proxy whose clusters are behind relays."""

    proxy: Proxy
    origin: Relay
    target: Relay


class Tally:
    """Requests about some tables since the last look, by cluster."""

    def __init__(self, relayed: Relayed, about: str) -> None:
        self._relays = (relayed.origin, relayed.target)
        self._about = about
        self._seen = self._now()

    def since(self) -> tuple[Counter[str], Counter[str]]:
        """What origin and target were asked since this was called before."""
        before, self._seen = self._seen, self._now()
        origin, target = (now - then for now, then in zip(self._seen, before, strict=True))
        return origin, target

    def _now(self) -> list[Counter[str]]:
        return [relay.requests(self._about) for relay in self._relays]


@dataclass
class Expected:
    """What one cluster must hold: values by key, counters by key."""

    rows: dict[int, str] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def sorted_rows(self) -> list[tuple[int, str]]:
        return sorted(self.rows.items(), key=repr)

    def sorted_counts(self) -> list[tuple[int, int]]:
        return sorted(self.counts.items(), key=repr)


class Application:
    """Writes one of each kind into two tables that it makes, and knows what was sent and what must be there.

    ``{table}_rows (k int, v text)`` and ``{table}_counts (k int, n counter)``. ``prepare`` may be called again: then
    the newly prepared statements are used.
    """

    def __init__(self, client: Client, table: str) -> None:
        self.client = client
        self.rows = f"{table}_rows"
        self.counts = f"{table}_counts"
        self.keyspace = client.session.keyspace
        client.execute(f"CREATE TABLE {self.rows} (k int PRIMARY KEY, v text)")
        client.execute(f"CREATE TABLE {self.counts} (k int PRIMARY KEY, n counter)")
        self.expected = {"origin": Expected(), "target": Expected()}
        self.sent: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        """Those of ``sent`` that go to one cluster only."""

    def prepare(self, key: str) -> int:
        """Prepares all statements; another name ``key`` of the marker makes other statements. Returns how many."""
        prepare = self.client.prepare
        self._insert = prepare(f"INSERT INTO {self.rows} (k, v) VALUES (:{key}, :v)")
        self._update = prepare(f"UPDATE {self.rows} SET v = :v WHERE k = :{key}")
        self._delete = prepare(f"DELETE FROM {self.keyspace}.{self.rows} WHERE k = :{key}")
        self._select = prepare(f"SELECT v FROM {self.rows} WHERE k = :{key}")
        self._condition = prepare(f"UPDATE {self.rows} SET v = :v WHERE k = :{key} IF v = :old")
        self._add = prepare(f"UPDATE {self.counts} SET n = n + :n WHERE k = :{key}")
        return 6

    def write_all(self, step: int, *reached: str) -> None:
        """One of each kind of write, and reads of what they wrote. ``reached`` names the clusters that must have it."""
        self._on = [self.expected[name] for name in reached]
        self.sent.clear()
        self.reads.clear()
        first = step * 100
        self._inline(first)
        self._prepared(first + 10)
        self._batches(first + 20)
        self._counters(step)
        self._conditions(first + 40)
        self._read(first)

    def _inline(self, key: int) -> None:
        for number, name in enumerate((self.rows, f"{self.keyspace}.{self.rows}")):
            first = key + 3 * number
            self._query(f"INSERT INTO {name} (k, v) VALUES ({first}, 'inserted')")
            self._query(f"UPDATE {name} SET v = 'updated' WHERE k = {first}")
            self._query(f"INSERT INTO {name} (k, v) VALUES ({first + 1}, 'to be deleted')")
            self._query(f"DELETE FROM {name} WHERE k = {first + 1}")
            self._put(first, "updated")

    def _prepared(self, key: int) -> None:
        self._execute(self._insert, (key, "inserted"))
        self._execute(self._update, ("updated", key))
        self._execute(self._insert, (key + 1, "to be deleted"))
        self._execute(self._delete, (key + 1,))
        self._put(key, "updated")

    def _batches(self, key: int) -> None:
        for number, kind in enumerate(("inline", "prepared", "mixed")):
            batch = BatchStatement(BatchType.LOGGED if number % 2 else BatchType.UNLOGGED)
            for step in range(4):
                each, text = key + 4 * number + step, f"batch {kind}"
                if kind == "inline" or (kind == "mixed" and step % 2):
                    batch.add(f"INSERT INTO {self.keyspace}.{self.rows} (k, v) VALUES ({each}, '{text}')")
                else:
                    batch.add(self._insert, (each, text))
                self._put(each, text)
            self._batch(batch)

    def _counters(self, step: int) -> None:
        self._query(f"UPDATE {self.counts} SET n = n + 1 WHERE k = 1")
        self._query(f"UPDATE {self.keyspace}.{self.counts} SET n = n + 10 WHERE k = 1")
        self._execute(self._add, (step, 2))
        for key, prepared in ((3, False), (4, True)):
            batch = BatchStatement(BatchType.COUNTER)
            if prepared:
                batch.add(self._add, (1, key))
                batch.add(self._add, (step, key + 2))
            else:
                batch.add(f"UPDATE {self.counts} SET n = n + 1 WHERE k = {key}")
                batch.add(f"UPDATE {self.counts} SET n = n + {step} WHERE k = {key + 2}")
            self._batch(batch)
        for key, amount in ((1, 11), (2, step), (3, 1), (5, step), (4, 1), (6, step)):
            for expected in self._on:
                expected.counts[key] = expected.counts.get(key, 0) + amount

    def _conditions(self, key: int) -> None:
        insert = f"INSERT INTO {self.rows} (k, v) VALUES ({key}, 'first') IF NOT EXISTS"
        assert self._query(insert)[0][0] is True
        assert self._query(insert)[0][0] is False
        assert self._execute(self._condition, ("second", key, "first"))[0][0] is True
        assert self._execute(self._condition, ("third", key, "first"))[0][0] is False
        self._put(key, "second")

    def _read(self, key: int) -> None:
        """What was just written is seen, wherever the answer comes from."""
        assert self._query(f"SELECT v FROM {self.rows} WHERE k = {key}", is_read=True) == [("updated",)]
        assert self._execute(self._select, (key + 10,), is_read=True) == [("updated",)]
        assert self._query(f"SELECT v FROM {self.rows} WHERE k = {key + 11}", is_read=True) == []

    def _query(self, text: str, is_read: bool = False) -> list[tuple[Any, ...]]:
        self.sent["QUERY"] += 1
        self.reads["QUERY"] += is_read
        return list(self.client.execute(text))

    def _execute(self, statement: Any, values: tuple[Any, ...], is_read: bool = False) -> list[tuple[Any, ...]]:
        self.sent["EXECUTE"] += 1
        self.reads["EXECUTE"] += is_read
        return list(self.client.execute(statement, values))

    def _batch(self, batch: BatchStatement) -> None:
        self.sent["BATCH"] += 1
        self.client.execute(batch)

    def _put(self, key: int, value: str) -> None:
        for expected in self._on:
            expected.rows[key] = value

    @property
    def writes(self) -> Counter[str]:
        """What of the last ``write_all`` goes to both clusters."""
        return self.sent - self.reads
