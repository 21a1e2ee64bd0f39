"""Errors that clusters make on demand: of every kind, from origin, target or both. Whose error does the client get?

A request that goes to both fails if one of them failed it; the client is told by the cluster that failed, and by the
origin where both did, whatever the primary is. A request that goes to one cluster is answered by that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from conformance.backends.interface import ERRORS, ERRORS_OF_V4, Clusters, Credentials, Node, Statement
from conformance.client import Entry
from conformance.proxy import Proxy
from conformance.wire import ERROR, RESULT, ErrorAnswer, Refused, Wire, error_of

pytestmark = pytest.mark.needs("primes", "proxy")

COLUMNS = "(k text PRIMARY KEY, v text)"
UNPREPARED = 0x2500
FAILING = ("origin", "target", "both")
# replicas that the error tells of: what tells one cluster's error from the other's where the text is the same
REQUIRED = {"origin": 2, "target": 3}
BOUND = (b"1", b"one")


@pytest.fixture
def wire(entry: Entry, protocol: int) -> Iterator[Wire]:
    with Wire(entry.address, entry.port, protocol, entry.credentials) as wire:
        yield wire


@pytest.fixture
def filled(wire: Wire, table: str, clusters: Clusters) -> Iterator[str]:
    """A table on both clusters. What a scenario primes is taken back after it."""
    name = f"conformance.{table}"
    assert wire.query(f"CREATE TABLE {name} {COLUMNS}").opcode == RESULT
    yield name
    for node in clusters.nodes:
        node.clear_primes()


@pytest.fixture
def directly(protocol: int) -> Callable[[Node, Callable[[Wire], ErrorAnswer]], ErrorAnswer]:
    """Asks a cluster itself: what it says is what the client must be told."""

    def ask(node: Node, question: Callable[[Wire], ErrorAnswer]) -> ErrorAnswer:
        with Wire(node.address, node.port, protocol, node.credentials) as wire:
            return question(wire)

    return ask


Directly = Callable[[Node, Callable[[Wire], ErrorAnswer]], ErrorAnswer]


def chosen(clusters: Clusters, which: str) -> list[Node]:
    return [node for node in clusters.nodes if which in (node.name, "both")]


def fail(clusters: Clusters, failing: str, statement: Statement, error: str) -> Node:
    """Primes it, and returns the cluster whose error is the client's."""
    for node in chosen(clusters, failing):
        node.fail(statement, error, REQUIRED[node.name])
    return clusters.target if failing == "target" else clusters.origin


def primary_of(proxy: Proxy, clusters: Clusters) -> tuple[Node, Node]:
    """Primary and secondary."""
    if proxy.settings["ZDM_PRIMARY_CLUSTER"] == "ORIGIN":
        return clusters.origin, clusters.target
    return clusters.target, clusters.origin


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("error", [error for error in ERRORS if error not in ERRORS_OF_V4])
def test_a_write_that_fails_says_why(
    error: str, failing: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """The error of the cluster that failed, byte by byte; and nothing else on that connection is disturbed."""
    assert_told(error, failing, wire, filled, clusters, directly)


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("error", sorted(ERRORS_OF_V4))
@pytest.mark.parametrize("protocol", [4])
def test_a_write_that_fails_in_a_way_of_version_4_says_why(
    error: str, failing: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """Errors that version 3 has not."""
    assert_told(error, failing, wire, filled, clusters, directly)


def assert_told(error: str, failing: str, wire: Wire, table: str, clusters: Clusters, directly: Directly) -> None:
    text = f"INSERT INTO {table} (k, v) VALUES ('1', 'one')"
    decides = fail(clusters, failing, text, error)
    wanted = directly(decides, lambda direct: error_of(direct.query(text)))
    assert wanted.code == ERRORS[error]
    assert error_of(wire.query(text)) == wanted
    assert wire.query(f"INSERT INTO {table} (k, v) VALUES ('2', 'two')").opcode == RESULT


def test_the_errors_of_the_two_clusters_can_be_told_apart(filled: str, clusters: Clusters, directly: Directly) -> None:
    """Or the scenarios here could not tell whose error was passed on."""
    text = f"INSERT INTO {filled} (k, v) VALUES ('1', 'one')"
    for error in ERRORS.keys() - ERRORS_OF_V4:
        fail(clusters, "both", text, error)
        origin, target = (directly(node, lambda direct: error_of(direct.query(text))) for node in clusters.nodes)
        assert origin != target, error
        for node in clusters.nodes:
            node.clear_primes()


@pytest.mark.parametrize("failing", FAILING)
def test_a_prepared_write_that_fails_says_why(
    failing: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """Executed by id: each cluster knows the statement by its own."""
    text = f"INSERT INTO {filled} (k, v) VALUES (?, ?)"
    prepared = wire.prepare(text)
    ids = {node: own_id(node, text, wire.version) for node in clusters.nodes}
    decides = fail(clusters, failing, text, "WRITE_TIMEOUT")
    wanted = directly(decides, lambda direct: error_of(direct.execute(ids[decides], BOUND)))
    assert error_of(wire.execute(prepared, BOUND)) == wanted


def own_id(node: Node, text: str, version: int) -> bytes:
    with Wire(node.address, node.port, version, node.credentials) as direct:
        return direct.prepare(text)


@pytest.mark.parametrize("failing", FAILING)
def test_a_batch_that_fails_says_why(
    failing: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """All of a batch goes to both, so one answer is for all of it."""
    texts = [f"INSERT INTO {filled} (k, v) VALUES ('{number}', 'batch')" for number in range(3)]
    decides = fail(clusters, failing, texts, "WRITE_TIMEOUT")
    wanted = directly(decides, lambda direct: error_of(direct.batch(texts)))
    assert error_of(wire.batch(texts)) == wanted
    assert wire.batch(texts[:2]).opcode == RESULT


@pytest.mark.parametrize("error", ["READ_TIMEOUT", "UNAVAILABLE", "OVERLOADED", "SERVER_ERROR"])
def test_a_read_fails_where_the_primary_fails_it(
    error: str, wire: Wire, filled: str, proxy: Proxy, clusters: Clusters, directly: Directly
) -> None:
    """The secondary is not asked: its error changes nothing, the primary's is the client's."""
    primary, secondary = primary_of(proxy, clusters)
    text = f"SELECT v FROM {filled} WHERE k = '1'"
    secondary.fail(text, error)
    assert wire.query(text).opcode == RESULT
    primary.fail(text, error)
    assert error_of(wire.query(text)) == directly(primary, lambda direct: error_of(direct.query(text)))


@pytest.mark.parametrize("failing", FAILING)
def test_a_statement_that_one_cluster_cannot_prepare_is_not_prepared(
    failing: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """Its id would be worth nothing there. Once both can, the same connection prepares it and executes it."""
    text = f"INSERT INTO {filled} (k, v) VALUES (?, ?)"
    for node in chosen(clusters, failing):
        node.refuse_to_prepare(text)
    decides = clusters.target if failing == "target" else clusters.origin
    assert refusal(wire, text) == directly(decides, lambda direct: refusal(direct, text))
    for node in clusters.nodes:
        node.clear_primes()
    assert wire.execute(wire.prepare(text), BOUND).opcode == RESULT


def refusal(wire: Wire, text: str) -> ErrorAnswer:
    with pytest.raises(Refused) as refused:
        wire.prepare(text)
    return refused.value.answer


@pytest.mark.parametrize("forgetful", ["origin", "target"])
def test_a_forgotten_statement_that_cannot_be_prepared_again_fails(
    forgetful: str, wire: Wire, filled: str, clusters: Clusters, directly: Directly
) -> None:
    """The other cluster has executed it, and UNPREPARED would make a driver execute it there again: so the client is
    told why it could not be prepared. Prepared anew, the statement works again."""
    text = f"INSERT INTO {filled} (k, v) VALUES (?, ?)"
    prepared = wire.prepare(text)
    (node,) = chosen(clusters, forgetful)
    node.refuse_to_prepare(text)
    node.forget_prepared()
    assert error_of(wire.execute(prepared, BOUND)) == directly(node, lambda direct: refusal(direct, text))
    node.clear_primes()
    assert wire.execute(wire.prepare(text), BOUND).opcode == RESULT


@pytest.mark.parametrize("forgetful", FAILING)
def test_a_driver_that_recovers_by_itself_is_told_its_own_id(
    forgetful: str,
    own_proxy: Callable[..., Proxy],
    credentials: Credentials | None,
    filled: str,
    clusters: Clusters,
    protocol: int,
) -> None:
    """Where recovery is left to clients: UNPREPARED from either cluster, with the id that the client knows."""
    proxy = own_proxy(6, ZDM_UNPREPARED_RECOVERY="CLIENT")
    text = f"INSERT INTO {filled} (k, v) VALUES (?, ?)"
    with Wire(proxy.address, proxy.port, protocol, credentials) as wire:
        prepared = wire.prepare(text)
        for node in chosen(clusters, forgetful):
            node.forget_prepared()
        answer = error_of(wire.execute(prepared, BOUND))
        assert (answer.code, answer.rest[2:]) == (UNPREPARED, prepared)
        assert wire.execute(wire.prepare(text), BOUND).opcode == RESULT


@pytest.mark.parametrize("silent", FAILING)
def test_a_write_that_a_cluster_never_answers_fails_within_the_limit(
    silent: str,
    own_proxy: Callable[..., Proxy],
    credentials: Credentials | None,
    filled: str,
    clusters: Clusters,
    protocol: int,
) -> None:
    """Where an answer is asked for. One cluster's success is not passed on in place of the other's silence."""
    proxy = own_proxy(5, ZDM_PROXY_REQUEST_TIMEOUT_MS="700", ZDM_PROXY_TIMEOUT_RESPONSE="ERROR")
    text = f"INSERT INTO {filled} (k, v) VALUES ('1', 'one')"
    for node in chosen(clusters, silent):
        node.keep_silent(text)
    with Wire(proxy.address, proxy.port, protocol, credentials, timeout=10) as wire:
        assert wire.query(text).opcode == ERROR
        assert wire.query(f"SELECT v FROM {filled} WHERE k = '2'").opcode == RESULT, "the connection stays usable"
