"""A small application, as it would be written without a proxy in mind: cassandra-driver and nothing else.

It keeps users, a log of what they did, page views and a few unique names, and so uses what applications use: prepared
and simple statements, batches, counters, lightweight transactions, paging.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from cassandra.cluster import Session
from cassandra.query import BatchStatement, BatchType, SimpleStatement

KEYSPACE = "demo"
USERS = 50
EVENTS = 300
_NAMESPACE = UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff")

TABLES = ("users", "events", "page_views", "names")

_SCHEMA = (
    f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} "
    "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
    f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.users (id uuid PRIMARY KEY, name text, email text, tags set<text>)",
    f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.events (user uuid, number int, what text, PRIMARY KEY (user, number))",
    f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.page_views (page text PRIMARY KEY, views counter)",
    f"CREATE TABLE IF NOT EXISTS {KEYSPACE}.names (name text PRIMARY KEY, taken_by uuid)",
)


def user_id(number: int) -> UUID:
    """The same users in every run."""
    return uuid5(_NAMESPACE, f"user {number}")


def create_schema(session: Session) -> None:
    """DDL goes through the proxy to both clusters, like every other write."""
    for statement in _SCHEMA:
        session.execute(statement)
    session.set_keyspace(KEYSPACE)


def write_users(session: Session) -> int:
    """Prepared statements."""
    insert = session.prepare("INSERT INTO users (id, name, email, tags) VALUES (?, ?, ?, ?)")
    for number in range(USERS):
        session.execute(
            insert, (user_id(number), f"user {number}", f"u{number}@example.org", {"new", f"g{number % 3}"})
        )
    session.execute("UPDATE users SET email = %s WHERE id = %s", ("first@example.org", user_id(0)))
    session.execute("DELETE FROM users WHERE id = %s", (user_id(USERS - 1),))
    return USERS + 2


def write_events(session: Session) -> int:
    """Batches of prepared statements, one of them mixed with a simple one."""
    insert = session.prepare("INSERT INTO events (user, number, what) VALUES (?, ?, ?)")
    size = 20
    for first in range(0, EVENTS, size):
        batch = BatchStatement()
        for number in range(first, first + size):
            batch.add(insert, (user_id(number % 5), number, f"did thing {number}"))
        batch.add(SimpleStatement("UPDATE users SET name = %s WHERE id = %s"), (f"active {first}", user_id(1)))
        session.execute(batch)
    return EVENTS // size


def count_page_views(session: Session) -> int:
    """Counters, singly and in a counter batch."""
    count = session.prepare("UPDATE page_views SET views = views + ? WHERE page = ?")
    for number in range(30):
        session.execute(count, (1, f"/page/{number % 4}"))
    batch = BatchStatement(batch_type=BatchType.COUNTER)
    batch.add(count, (100, "/page/0"))
    batch.add(count, (100, "/page/1"))
    session.execute(batch)
    return 31


def take_names(session: Session) -> tuple[int, int]:
    """Lightweight transactions: how many names were taken, and how many were refused because they were taken before."""
    take = session.prepare("INSERT INTO names (name, taken_by) VALUES (?, ?) IF NOT EXISTS")
    outcomes = [session.execute(take, (f"name {number % 6}", user_id(number))).one()[0] for number in range(9)]
    return outcomes.count(True), outcomes.count(False)


def read_events(session: Session) -> tuple[int, int]:
    """Paging: rows and pages of the whole log."""
    statement = SimpleStatement("SELECT user, number, what FROM events", fetch_size=50)
    result = session.execute(statement)
    rows, pages = len(result.current_rows), 1
    while result.has_more_pages:
        result.fetch_next_page()
        rows, pages = rows + len(result.current_rows), pages + 1
    return rows, pages
