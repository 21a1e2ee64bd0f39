"""The target is on, off, and on again: every kind of write, what each cluster was asked, and what each has then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from conformance.backends.interface import Credentials
from conformance.client import Client
from conformance.comparison import Both
from conformance.toggling import Application, Relayed, Tally, Toggle

pytestmark = [pytest.mark.toggle, pytest.mark.needs("proxy")]

BOTH = ("origin", "target")
KEYSPACE = "conformance"


class Life:
    """One application's life with a toggle, checked after each step against both clusters."""

    def __init__(self, relayed: Relayed, client: Client, both: Both, table: str) -> None:
        self.proxy, self.both = relayed.proxy, both
        self.toggle = Toggle(relayed.proxy)
        self.application = Application(client, table)
        self.primary_is_target = relayed.proxy.settings["ZDM_PRIMARY_CLUSTER"] == "TARGET"
        self.tally = Tally(relayed, table)
        self.step = 0

    def write_all(self, *reached: str, prepared_late: int = 0) -> None:
        """One of each kind. Exactly that reaches each cluster, and ``prepared_late`` PREPAREs more the target."""
        self.step += 1
        skipped = self.toggle.skipped_writes()
        self.tally.since()
        self.application.write_all(self.step, *reached)
        self._check_requests("target" in reached, prepared_late)
        written = self.application.writes.total()
        assert self.toggle.skipped_writes() - skipped == (0 if "target" in reached else written)
        self._check_rows()

    def _check_requests(self, is_on: bool, prepared_late: int) -> None:
        sent, writes = self.application.sent, self.application.writes
        origin, target = self.tally.since()
        if not is_on:
            assert (origin, target) == (sent, Counter())
        elif self.primary_is_target:
            # the late SELECT is the client's to prepare anew: its rows come from the target, with the target's columns
            anew = Counter(PREPARE=1) if prepared_late else Counter()
            assert (origin, target) == (writes + anew, sent + Counter(PREPARE=prepared_late))
        else:
            assert (origin, target) == (sent, writes + Counter(PREPARE=prepared_late))

    def _check_rows(self) -> None:
        for side in self.both.sides:
            expected = self.application.expected[side.name]
            rows = self.both.read(side, f"SELECT k, v FROM {self.application.rows}")
            assert rows == expected.sorted_rows(), side
            counts = self.both.read(side, f"SELECT k, n FROM {self.application.counts}")
            assert counts == expected.sorted_counts(), side

    def prepare(self, key: str, *reached: str) -> int:
        self.tally.since()
        count = self.application.prepare(key)
        asked = self.tally.since()
        for name, counts in zip(BOTH, asked, strict=True):
            assert counts == (Counter(PREPARE=count) if name in reached else Counter()), name
        return count

    def disable(self) -> None:
        self.toggle.disable()
        assert self.proxy.metric("zdm_target_enabled") == 0

    def enable(self) -> None:
        self.toggle.enable()
        assert self.proxy.metric("zdm_target_enabled") == 1


@pytest.mark.needs("rows", "counters", "conditions")
def test_each_write_reaches_the_clusters_that_are_on(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client], both: Both,
    table: str,
) -> None:  # fmt: skip
    """Five phases with one client, which neither reconnects nor prepares again, whatever happens to the target.

    But for a SELECT prepared while the target was off, where the target answers reads.
    """
    behind = relayed(5)
    client = connect(at=behind.proxy.entry(credentials))
    life = Life(behind, client, both, table)
    life.prepare("one", *BOTH)
    opened = client.opened
    life.write_all(*BOTH)

    life.disable()
    life.write_all("origin")

    late = life.prepare("two", "origin")
    life.write_all("origin")

    prepares = client.prepares
    life.enable()
    life.write_all(*BOTH, prepared_late=late if life.primary_is_target else late - 1)  # the SELECT is origin's
    life.write_all(*BOTH)

    for _ in range(5):
        life.disable()
        life.write_all("origin")
        life.enable()
        life.write_all(*BOTH)
    assert (client.opened, client.prepares) == (opened, prepares + life.primary_is_target)
    assert life.toggle.abandoned_writes() == 0
    behind.proxy.target.await_dual()


def test_requests_reach_the_clusters_that_are_on(
    relayed: Callable[..., Relayed], credentials: Credentials | None, connect: Callable[..., Client], table: str
) -> None:
    """The same where no rows are kept, by what each cluster was asked alone."""
    behind = relayed(5)
    toggle = Toggle(behind.proxy)
    client = connect(keyspace=None, at=behind.proxy.entry(credentials))
    client.execute(f"CREATE TABLE {KEYSPACE}.{table}_rows (k int PRIMARY KEY)")
    tally = Tally(behind, f"{table}_rows")
    for is_on in (True, False, True, False, True):
        toggle.enable() if is_on else toggle.disable()
        for key in range(10):
            client.execute(f"INSERT INTO {KEYSPACE}.{table}_rows (k) VALUES ({key})")
        origin, target = tally.since()
        assert origin == Counter(QUERY=10)
        assert target == (Counter(QUERY=10) if is_on else Counter())
    assert toggle.skipped_writes() == 20
