"""cassandra-driver: see programs.py for what it is told."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import cassandra
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, Session
from cassandra.policies import ConstantReconnectionPolicy
from cassandra.query import BatchStatement, BatchType, PreparedStatement, SimpleStatement

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
BLOB = bytes([0, 255, 16])


def say(*words: object) -> None:
    print(*words, sep="\t", flush=True)


class Application:
    def __init__(self, host: str, port: str, _data_center: str, version: str, compression: str, *login: str) -> None:
        options: dict[str, Any] = {"protocol_version": int(version)} if int(version) else {}
        self.cluster = Cluster(
            [host],
            port=int(port),
            compression=False if compression == "none" else compression,
            auth_provider=PlainTextAuthProvider(*login) if login else None,
            reconnection_policy=ConstantReconnectionPolicy(0.5, None),
            connect_timeout=15,
            control_connection_timeout=15,
            **options,
        )
        self.session: Session
        self.prepared: dict[str, PreparedStatement] = {}

    def prepare(self, text: str) -> PreparedStatement:
        if text not in self.prepared:
            self.prepared[text] = self.session.prepare(text)
        return self.prepared[text]

    def insert(self, table: str) -> PreparedStatement:
        return self.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?)")

    def select(self, table: str) -> PreparedStatement:
        return self.prepare(f"SELECT k, c, v FROM {table} WHERE k = ?")

    # what it is told, by the same names

    def connect(self) -> None:
        self.session = self.cluster.connect()
        self.session.default_timeout = 30
        say("ok", f"driver={cassandra.__version__}", f"protocol={self.cluster.protocol_version}")

    def use(self, keyspace: str) -> None:
        self.session.execute(f"USE {keyspace}")
        say("ok")

    def cql(self, text: str) -> None:
        self.session.execute(text)
        say("ok")

    def text(self, table: str, k: int, numbers: range) -> None:
        for c in numbers:
            self.session.execute(f"INSERT INTO {table} (k, c, v) VALUES ({k}, {c}, 'text {c} é')")

    def values(self, table: str, k: int, numbers: range) -> None:
        for c in numbers:
            self.session.execute(f"INSERT INTO {table} (k, c, v) VALUES (%s, %s, %s)", (k, c, f"values {c} é"))

    def named(self, table: str, k: int, numbers: range) -> None:
        for c in numbers:
            named = {"v": f"named {c} é", "k": k, "c": c}
            self.session.execute(f"INSERT INTO {table} (k, c, v) VALUES (%(k)s, %(c)s, %(v)s)", named)

    def bound(self, table: str, k: int, numbers: range) -> None:
        for c in numbers:
            self.session.execute(self.insert(table), (k, c, f"bound {c} é"))

    def bound_named(self, table: str, k: int, numbers: range) -> None:
        insert = self.prepare(f"INSERT INTO {table} (k, c, v) VALUES (:k, :c, :v)")
        for c in numbers:
            self.session.execute(insert, {"v": f"bound-named {c} é", "k": k, "c": c})

    def many(self, table: str, k: int, numbers: range) -> None:
        insert = self.insert(table)
        for future in [self.session.execute_async(insert, (k, c, f"many {c} é")) for c in numbers]:
            future.result()

    def batch(self, kind: BatchType, way: str, table: str, k: int, numbers: range) -> None:
        batch = BatchStatement(kind)
        for c in numbers:
            if c % 2:
                batch.add(SimpleStatement(f"INSERT INTO {table} (k, c, v) VALUES ({k}, {c}, '{way} {c} é')"))
            else:
                batch.add(self.insert(table), (k, c, f"{way} {c} é"))
        self.session.execute(batch)

    def logged(self, table: str, k: int, numbers: range) -> None:
        self.batch(BatchType.LOGGED, "logged", table, k, numbers)

    def unlogged(self, table: str, k: int, numbers: range) -> None:
        self.batch(BatchType.UNLOGGED, "unlogged", table, k, numbers)

    def condition(self, table: str, k: int, numbers: range) -> None:
        insert = self.prepare(f"INSERT INTO {table} (k, c, v) VALUES (?, ?, ?) IF NOT EXISTS")
        for c in numbers:
            for _ in range(2):
                answer = self.session.execute(insert, (k, c, f"condition {c} é"))
                say("row", c, str(answer.was_applied).lower())

    def counter(self, table: str, k: int, numbers: range) -> None:
        add = self.prepare(f"UPDATE {table} SET n = n + ? WHERE k = ?")
        for c in numbers:
            self.session.execute(add, (c, k))
        batch = BatchStatement(BatchType.COUNTER)
        batch.add(add, (100, k))
        batch.add(SimpleStatement(f"UPDATE {table} SET n = n + 1000 WHERE k = {k + 1}"))
        self.session.execute(batch)

    def types(self, table: str, k: int) -> None:
        columns = "k, big, real, raw, id, at, ints, names, nothing"
        insert = self.prepare(f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        one = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
        self.session.execute(insert, (k, -(2**62), 2.5, BLOB, one, AT, [3, 1, 2], {"a": 1, "b": 2}, None))
        select = self.prepare(f"SELECT big, real, raw, id, at, ints, names, nothing FROM {table} WHERE k = ?")
        for big, real, raw, id_, at, ints, names, nothing in self.session.execute(select, (k,)):
            milliseconds = round(at.replace(tzinfo=UTC).timestamp() * 1000)
            pairs = ",".join(f"{name}={number}" for name, number in names.items())
            say("row", big, real, raw.hex(), id_, milliseconds, ",".join(map(str, ints)), pairs, nothing or "null")
        say("ok")

    def read(self, table: str, k: str) -> None:
        for row in self.session.execute(self.select(table), (int(k),)):
            say("row", *row)
        say("ok")

    def page(self, table: str, k: str, size: str) -> None:
        select = self.select(table).bind((int(k),))
        select.fetch_size = int(size)
        result = self.session.execute(select)
        pages = 1
        for row in result.current_rows:
            say("row", *row)
        while result.has_more_pages:
            result.fetch_next_page()
            pages += 1
            for row in result.current_rows:
                say("row", *row)
        say("ok", f"pages={pages}")

    def await_(self, table: str) -> None:
        for _ in self.refusals(table):
            time.sleep(0.1)
        say("ok")

    def refusals(self, table: str) -> Iterator[int]:
        """Yields for each request that failed."""
        for number in range(600):
            try:
                self.session.execute(self.select(table), (0,), timeout=5)
                return
            except Exception as error:
                if not number:
                    say("refused")
                print(repr(error), file=sys.stderr)
                yield number
        raise TimeoutError("no answer in a minute")


def carry_out(application: Application, command: str, words: list[str]) -> None:
    told: Callable[..., None] = getattr(application, {"await": "await_"}.get(command, command.replace("-", "_")))
    if len(words) == 4:  # a way, or counters
        table, k, first, last = words
        told(table, int(k), range(int(first), int(last) + 1))
        say("ok")
    elif command == "types":
        told(words[0], int(words[1]))
    else:
        told(*words)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    application = Application(*sys.argv[1:])
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        if command == "quit":
            break
        try:
            carry_out(application, command, words)
        except Exception as error:
            logging.exception("%s", command)
            say("failed", repr(error).replace("\n", " "))
    application.cluster.shutdown()
    say("ok")


main()
