"""Prepared statements: two clusters, two ids, and clusters that forget (sections 6.2 and 6.3, design 3)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.process.answers import UNPREPARED
from tests.process.conftest import NewKeyspace, StartProxy
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox


def count(sandbox: Sandbox, ks: str, key: int) -> list[list[tuple[int]]]:
    """The counter on each cluster: a write that was applied twice shows."""
    return [cluster.query(f"SELECT n FROM {ks}.c WHERE k = {key}") for cluster in sandbox.clusters]


@pytest.mark.parametrize("forgetful", [["origin"], ["target"], ["origin", "target"]], ids=" and ".join)
def test_a_forgotten_counter_update_is_executed_exactly_once_on_each_cluster(
    shared: Proxy, sandbox: Sandbox, ks: str, forgetful: list[str]
) -> None:
    """The driver would send it again to both, and one of them has counted it already."""
    client = shared.client()
    update = client.prepare(f"UPDATE {ks}.c SET n = n + 1 WHERE k = ?")
    for name in forgetful:
        getattr(sandbox, name).forget_prepared()
    assert client.ask(frames.execute(3, update, [frames.integer(1)])).is_void
    assert count(sandbox, ks, 1) == [[(1,)], [(1,)]]
    for cluster in sandbox.clusters:
        again = cluster.requests(f"UPDATE {ks}.c", "PREPARE")
        assert len(again) == (2 if cluster.name in forgetful else 1)


def test_many_requests_that_wait_for_one_statement_share_its_mending(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """A restarted node must not be prepared at once for every request in flight."""
    client = shared.client()
    update = client.prepare(f"UPDATE {ks}.c SET n = n + 1 WHERE k = ?")
    sandbox.target.forget_prepared()
    client.send(b"".join(frames.execute(stream, update, [frames.integer(stream % 10)]) for stream in range(100)))
    assert all(client.answer_to(stream).is_void for stream in range(100))
    for key in range(10):
        assert count(sandbox, ks, key) == [[(10,)], [(10,)]]
    assert len(sandbox.target.requests(f"UPDATE {ks}.c", "PREPARE")) == 2


def test_every_forgotten_child_of_a_batch_is_mended(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """A cluster names one unknown id at a time."""
    client = shared.client()
    first = client.prepare(f"UPDATE {ks}.c SET n = n + 1 WHERE k = ?")
    second = client.prepare(f"UPDATE {ks}.c SET n = n + 10 WHERE k = ?")
    sandbox.target.forget_prepared()
    children = [(first, [frames.integer(1)]), (second, [frames.integer(1)]), (first, [frames.integer(2)])]
    assert client.ask(frames.batch(4, children, kind=2)).is_void
    assert count(sandbox, ks, 1) == [[(11,)], [(11,)]]
    assert count(sandbox, ks, 2) == [[(1,)], [(1,)]]


def test_a_statement_of_another_keyspace_is_mended_in_that_keyspace(
    shared: Proxy, sandbox: Sandbox, keyspace: NewKeyspace
) -> None:
    """In v3 and v4 an unqualified table belongs to the keyspace that the connection had when it was prepared."""
    first, second = keyspace(sandbox), keyspace(sandbox)
    client = shared.client()
    assert client.query(f"USE {first}").kind == 3
    update = client.prepare("UPDATE c SET n = n + 1 WHERE k = 1")
    assert client.query(f"USE {second}").kind == 3
    sandbox.target.forget_prepared()
    assert client.ask(frames.execute(1, update)).is_void
    assert count(sandbox, first, 1) == [[(1,)], [(1,)]]
    assert count(sandbox, second, 1) == [[], []]
    assert client.query("UPDATE c SET n = n + 1 WHERE k = 1").is_void
    assert count(sandbox, second, 1) == [[(1,)], [(1,)]], "the connection's own keyspace is as it was"


def test_clusters_may_know_a_statement_by_different_ids(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """They do wherever their versions differ; the client knows origin's id alone."""
    client = shared.client()
    sandbox.target.salt("other")
    insert = client.prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, ?)")
    update = client.prepare(f"UPDATE {ks}.c SET n = n + 1 WHERE k = ?")
    assert client.ask(frames.execute(1, insert, [frames.integer(1), b"one"])).is_void
    inserts = [(insert, [frames.integer(key), b"many"]) for key in (2, 3)]
    assert client.ask(frames.batch(2, inserts)).is_void
    assert client.ask(frames.execute(3, update, [frames.integer(7)])).is_void
    for text in (f"INSERT INTO {ks}.t", f"UPDATE {ks}.c"):
        assert len(sandbox.target.requests(text, "PREPARE")) == 1, "target was asked under an id that it does not know"
    sandbox.target.forget_prepared()
    assert client.ask(frames.execute(3, update, [frames.integer(7)])).is_void
    for cluster in sandbox.clusters:
        assert sorted(cluster.query(f"SELECT k, v FROM {ks}.t")) == [(1, "one"), (2, "many"), (3, "many")]
    assert count(sandbox, ks, 7) == [[(2,)], [(2,)]]


def test_what_a_cluster_forgot_can_be_left_to_the_driver(sandbox: Sandbox, proxy: StartProxy, ks: str) -> None:
    """The reference's way: UNPREPARED under the id that the client knows, whatever target calls the statement."""
    running = proxy(*sandbox.clusters, unprepared_recovery="CLIENT")
    client = running.client()
    sandbox.target.salt("other")
    update = client.prepare(f"UPDATE {ks}.c SET n = n + 1 WHERE k = ?")
    sandbox.target.forget_prepared()
    answer = client.ask(frames.execute(3, update, [frames.integer(1)]))
    assert answer.error[0] == UNPREPARED
    assert answer.body.endswith(frames.short_bytes(update))


def test_an_unknown_prepared_id_is_told_to_the_driver(shared: Proxy) -> None:
    """A restarted proxy knows no statements; the driver prepares again when it hears this."""
    client = shared.client()
    answer = client.ask(frames.execute(9, b"nobody knows"))
    code, message = answer.error
    assert code == UNPREPARED
    assert message.startswith(f"Prepared query with ID {b'nobody knows'.hex()} not found (either the query was not")
    assert answer.body.endswith(frames.short_bytes(b"nobody knows"))


def test_a_statement_that_one_client_prepared_is_known_to_all(shared: Proxy, sandbox: Sandbox, ks: str) -> None:
    """Drivers prepare on one connection and execute on any."""
    insert = shared.client().prepare(f"INSERT INTO {ks}.t (k, v) VALUES (?, 'x')")
    assert shared.client().ask(frames.execute(1, insert, [frames.integer(5)])).is_void
    assert sandbox.target.query(f"SELECT k FROM {ks}.t") == [(5,)]
