"""What travels between supervisor and worker arrives as it was sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.protocols.amp import AMP

from tests.core.shown import FLEET, proxies, system_tables
from tests.net.wires import HOSTS, ORIGIN, TARGET
from tests.stage import SUPPORTED
from tests.worker_process.crews import End
from zdm.core.clusters import Side
from zdm.core.credentials import Credentials
from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement
from zdm.core.snapshot import ClusterFacts, Settings, Snapshot, TargetMode
from zdm.core.tables import Tables
from zdm.cql.functions import Variable
from zdm.families import render
from zdm.meters import Nodes, RequestMeter
from zdm.metrics import Meter
from zdm.net.transport import SocketOptions
from zdm.worker_process import commands, counters, statements
from zdm.worker_process.snapshots import WorkerSettings, packed, unpacked_settings, unpacked_snapshot

VARIABLES = (Variable("k", "now"), Variable("", ""))


class Echo(AMP):
    @commands.FindStatements.responder
    def find(self, wanted: bytes) -> dict[str, bytes]:
        return {"found": wanted[::-1]}


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65535 * 2, 1_000_000])
def test_a_value_of_any_length_travels_whole(size: int) -> None:
    """A value of AMP holds 64 KiB; a generation of a large cluster does not."""
    asking, answering = End(AMP()), End(Echo())
    asking.peer, answering.peer = answering, asking
    for end in (asking, answering):
        end.protocol.makeConnection(end)
    value = bytes(number % 251 for number in range(size))
    found: list[Any] = []
    answer: Deferred[Any] = asking.protocol.callRemote(commands.FindStatements, wanted=value)
    answer.addCallback(found.append)
    while answering.deliver() or asking.deliver():
        pass
    assert found == [{"found": value[::-1]}]


def test_a_generation_arrives_whole() -> None:
    """Every field, in every kind of value that a control connection brings."""
    facts = ClusterFacts(True, 3, Credentials("name", "secret"), HOSTS[ORIGIN], frozenset(HOSTS[ORIGIN]))
    settings = Settings(primary=Side.TARGET, request_timeout=0.5, versions=frozenset({4}))
    target = ClusterFacts(endpoints=HOSTS[TARGET])
    sent = Snapshot(7, settings, facts, target, SUPPORTED, system_tables(proxies(*FLEET)), TargetMode.ORIGIN_ONLY)
    came = unpacked_snapshot(packed(sent))
    assert replace(came, system_tables=None) == replace(sent, system_tables=None)
    assert came.mode is TargetMode.ORIGIN_ONLY and came.settings.primary is Side.TARGET
    assert came.origin.credentials is not None and came.origin.credentials.password == "secret"
    assert came.system_tables is not None and sent.system_tables is not None
    assert came.system_tables.view == sent.system_tables.view
    question = ("SELECT * FROM system.local", "local", "127.0.0.9", 4)
    assert came.system_tables.query(*question) == sent.system_tables.query(*question)


def test_settings_arrive_whole() -> None:
    """And are all that a worker is told of the configuration."""
    settings = WorkerSettings(2, 3, 1.5, 2.5, (0.1,), (0.2, 0.3), 100, "DEBUG", "json", SocketOptions(False, 1, 2))
    assert unpacked_settings(packed(settings)) == settings


def test_counters_arrive_whole() -> None:
    """Every attribute of a meter, also those that are added one day."""
    bounds = (0.1, 1.0), (0.2,), (0.3,)
    sent = Meter(*bounds, TARGET, 1)
    assert {*counters.FIELDS, "copies_to"} == set(getattr(Meter, "__slots__", [*counters.FIELDS, "copies_to"]))
    for side in (ORIGIN, TARGET):
        node = sent.node(side, f"node of {side}")
        node.connections, node.used_streams, node.inflight, node.failed_connections = 1, 2, 3, 4
        node.reads.observe(0.15)
        node.writes.observe(0.25)
        node.left_unanswered()
    for number, name in enumerate(counters.FIELDS, start=1):
        count = getattr(sent, name)
        if isinstance(count, RequestMeter):
            count.inflight, count.cancelled = number, number + 1
            count.duration.observe(number / 10)
        elif isinstance(count, Tables):
            count.places[count.place([("ks", "t")])].count(ORIGIN, number)
            count.places[0].count(TARGET, number)
        elif not isinstance(count, Nodes):
            assert isinstance(count, (int, float)), name
            setattr(sent, name, number)
    came = counters.loaded(counters.dumped(sent), Meter(*bounds, TARGET, 1))
    for name in counters.FIELDS:
        assert counters._dumped(getattr(came, name)) == counters._dumped(getattr(sent, name)), name
    assert came.reads_target.duration.bounds == [0.2]
    assert len(came.nodes()) == 3  # target's is one that reads are copied to as well
    assert render(came, "zdm") == render(sent, "zdm")
    json.loads(counters.dumped(sent))


@pytest.mark.parametrize("keyspace", [None, "", 'Ks"'])
def test_statements_arrive_whole(keyspace: str | None) -> None:
    """Whatever a client puts into a text, half a surrogate pair included."""
    sent = [
        PreparedStatement(b"\x00\xff", b"", "INSERT '\ud800'", keyspace, Route.WRITE, "CAS", True),
        PreparedStatement(b"id", b"other", "SELECT", keyspace, Route.TRACE_READ),
        PreparedStatement(b"v", b"v", "INSERT", keyspace, Route.WRITE, variables=VARIABLES),
        PreparedStatement(b"s", b"s", "INSERT", keyspace, Route.WRITE, is_stamped=True),
    ]
    came = statements.loaded(statements.joined([statements.dumped(sent[:1]), statements.dumped(sent[1:])]))
    assert len(came) == 4
    assert all(one.is_same(other) for one, other in zip(came, sent, strict=True))
    assert not came[0].is_same(came[1])
    assert [one.columns_of_target for one in came] == [True, False, False, False]
    assert [one.is_forwarded for one in came] == [True, True, False, False]
    assert statements.loaded_ids(statements.dumped_ids([b"\x00\xff", b""])) == [b"\x00\xff", b""]


def test_a_statement_from_before_there_were_variables_of_the_proxys_is_read() -> None:
    """An older program may hand it over."""
    old = b'[["6964", "", "SELECT", null, "READ", "SIMPLE", false]]'
    assert statements.loaded(old)[0].is_same(PreparedStatement(b"id", b"", "SELECT", None, Route.READ))
