"""Other languages' drivers: each as a program of its own, through the proxy, over a restart of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from conformance.comparison import Both
from conformance.drivers.conftest import asked_version
from conformance.drivers.programs import WAYS, Driver, Program
from conformance.proxy import Proxy
from conformance.wire import offered_versions

pytestmark = [pytest.mark.needs("rows", "counters", "conditions", "proxy"), pytest.mark.timeout(1800)]

ELSEWHERE = "conformance_elsewhere"
TYPES = (
    "-4611686018427387904",
    "2.5",
    "00ff10",
    "00112233-4455-6677-8899-aabbccddeeff",
    "1767323045678",
    "3,1,2",
    "a=1,b=2",
    "null",
)
REPLICATION = "{'class': 'SimpleStrategy', 'replication_factor': 1}"


def written(way: str, k: int, last: int) -> list[tuple[int, int, str]]:
    return [(k, c, f"{way} {c} é") for c in range(1, last + 1)]


def handshakes(proxy: Proxy) -> list[tuple[str, str]]:
    """Protocol version and compression of each connection that was made, in the proxy's words."""
    found = (re.search(r"\((\d+), Compression: (\w+)\)", line) for line in proxy.lines("Handshake successful with"))
    return [(match[1], match[2]) for match in found if match]


def shown(rows: list[tuple[int, int, str]]) -> list[tuple[str, ...]]:
    """As a program shows them."""
    return [tuple(map(str, row)) for row in rows]


class Conversation:
    """What was written through one program, and must be read by it and be on both clusters."""

    def __init__(self, driver: Driver, program: Program, both: Both, table: str) -> None:
        self.driver = driver
        self.program = program
        self.both = both
        self.table = table
        self.rows: list[tuple[int, int, str]] = []

    def make_tables(self) -> None:
        for keyspace in (self.both.keyspace, ELSEWHERE):
            name = f"{keyspace}.{self.table}"
            self.program.ask("cql", f"CREATE TABLE {name} (k int, c int, v text, PRIMARY KEY (k, c))")
        self.program.ask("cql", f"CREATE TABLE {self.both.keyspace}.{self.table}_n (k int PRIMARY KEY, n counter)")
        self.program.ask(
            "cql",
            f"CREATE TABLE {self.both.keyspace}.{self.table}_t (k int PRIMARY KEY, big bigint, real double, raw blob,"
            " id uuid, at timestamp, ints list<int>, names map<text, int>, nothing text)",
        )

    def write(self, way: str, k: int, last: int = 5) -> None:
        if way in self.driver.lacks:
            return
        answer = self.program.ask(way, self.table, k, 1, last)
        if way == "condition":
            assert answer.rows == [(str(c), said) for c in range(1, last + 1) for said in ("true", "false")]
        self.rows += written(way, k, last)
        assert sorted(self.program.ask("read", self.table, k).rows) == sorted(shown(written(way, k, last)))

    def page(self, k: int, last: int) -> None:
        """Four rows a page, and the last page is not full."""
        answer = self.program.ask("page", self.table, k, 4)
        assert [row[1] for row in answer.rows] == [str(c) for c in range(1, last + 1)]
        assert answer.values["pages"] == str(last // 4 + 1)

    def restart(self, proxy: Proxy) -> None:
        """The program asks while nobody is there, and goes on with the session it has as soon as somebody is."""
        proxy.stop()
        self.program.tell("await", self.table)
        assert self.program.line("word that nobody is there") == "refused"
        proxy.start()
        self.program.answer("answer of the proxy that was started again")

    def compare(self, counts: list[tuple[int, int]], types: list[int]) -> None:
        assert self.both.same_table(self.table) == sorted(self.rows, key=repr)
        assert self.both.same_table(f"{self.table}_n") == counts
        assert [row[0] for row in self.both.same_table(f"{self.table}_t")] == types
        assert self.both.same_table(f"{ELSEWHERE}.{self.table}") == written("text", 1, 2)
        if self.driver.timestamps:  # but those of conditions, which are the clusters' own
            for k in {k for k, _, v in self.rows if not v.startswith("condition")}:
                self.both.same(f"SELECT writetime(v) FROM {self.table} WHERE k = {k}")


def test_a_driver_writes_reads_and_finds_a_restarted_proxy(
    driver: Driver,
    compression: str,
    own_proxy: Callable[..., Proxy],
    run_program: Callable[..., Program],
    both: Both,
    table: str,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    """Every way a driver has to say what it means is on both clusters, and it needs nobody's help to come back."""
    proxy = own_proxy(9)
    with run_program(driver, proxy, compression) as program:
        agreed = program.ask("connect").values
        for name, word in agreed.items():
            record_property(name, word)
        common = min(driver.highest, max(offered_versions(proxy.address, proxy.port)))
        protocol = asked_version(pytestconfig, compression) or common
        assert int(agreed["protocol"]) == protocol
        here = Conversation(driver, program, both, table)
        program.ask("cql", f"CREATE KEYSPACE IF NOT EXISTS {ELSEWHERE} WITH replication = {REPLICATION}")
        here.make_tables()
        program.ask("use", both.keyspace)
        for k, way in enumerate(WAYS, start=1):
            here.write(way, k)
        program.ask("counter", f"{table}_n", 1, 1, 5)
        assert program.ask("types", f"{table}_t", 1).rows == [TYPES]
        here.write("many", 20, 101)
        here.page(20, 101)

        program.ask("use", ELSEWHERE)
        program.ask("text", table, 1, 1, 2)
        program.ask("use", both.keyspace)

        here.restart(proxy)
        for k, way in enumerate(WAYS, start=31):
            here.write(way, k)
        program.ask("counter", f"{table}_n", 1, 1, 5)
        assert program.ask("types", f"{table}_t", 2).rows == [TYPES]
        here.page(20, 101)
        program.quit()
    assert {version for version, _ in handshakes(proxy)} == {str(protocol)}
    if driver.chooses_compression:
        assert {algorithm for _, algorithm in handshakes(proxy)} == {compression}
    here.compare(counts=[(1, 230), (2, 2000)], types=[1, 2])
