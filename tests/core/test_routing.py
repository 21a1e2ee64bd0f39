"""Which clusters get a request (sections 4.1 and 4.2 of the behaviour specification)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import frames
from tests.core.conftest import Perform
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import INVALID, ORIGIN, TARGET, UNPREPARED, stage
from zdm.core.clusters import Side
from zdm.core.commands import RefreshSchema
from zdm.core.snapshot import Settings

pytestmark = pytest.mark.usefixtures("spoken")

BOTH = {ORIGIN, TARGET}
WRITES = [
    "INSERT INTO ks.t (k) VALUES (1)",
    "UPDATE ks.t SET v = 1 WHERE k = 1",
    "DELETE FROM ks.t WHERE k = 1",
    "BEGIN BATCH INSERT INTO ks.t (k) VALUES (1) APPLY BATCH",
    "CREATE TABLE ks.t (k int PRIMARY KEY)",
    "TRUNCATE ks.t",
    "GRANT SELECT ON ks.t TO somebody",
    "LIST ROLES",
    "CALL SomeProcedure()",
    "-- a comment\n/* and another */ INSERT INTO ks.t (k) VALUES (1)",
    "g.V().has('name')",
    "",
]
READS = [
    "SELECT * FROM ks.t",
    "select a.b, m['k'] from t where token(a) > token(1)",
    "SELECT * FROM peers",
    'SELECT * FROM "SYSTEM".local',
    "SELECT k FROM systemic.t",
    "SELECT k FROM ks.t; ",
    "SELECT k FROM ks.t -- trailing",
]
SYSTEM_READS = [
    "SELECT * FROM system_auth.roles",
    "SELECT * FROM system_schema.tables",
    "SELECT * FROM dse_insights.t",
    "SELECT * FROM system.size_estimates",
    'SELECT * FROM "system_auth"."roles"',
]


@pytest.mark.parametrize("text", WRITES)
def test_what_is_no_select_goes_to_both(play: Play, text: str) -> None:
    """The clusters stay equal only if both get everything that may change them."""
    play.client_sends(frames.query(1, text))
    answer = frames.schema_change(0) if "TABLE" in text else frames.void()
    play.answer_all(play.expect_forwarded(to=BOTH), answer)
    play.expect_client(answer, stream=1)
    if text.startswith(("CREATE", "TRUNCATE")):
        play.expect_command(RefreshSchema())


@pytest.mark.parametrize("text", READS)
def test_a_select_goes_to_the_primary(perform: Perform, primary: Side, text: str) -> None:
    """Reading twice would double the load for nothing."""
    play = perform(primary=primary)
    play.client_sends(frames.query(1, text))
    play.answer(play.expect_forwarded(to={primary}), primary, frames.rows())
    play.expect_client(frames.rows(1))


@pytest.mark.parametrize("text", SYSTEM_READS)
@pytest.mark.parametrize("mode", [ORIGIN, TARGET], ids=lambda side: f"system-{side.name.lower()}")
def test_a_system_read_goes_where_the_mode_says(perform: Perform, primary: Side, mode: Side, text: str) -> None:
    """What drivers read of the schema must come from the cluster that the system tables shown come from."""
    play = perform(primary=primary, system_queries=mode)
    play.client_sends(frames.query(1, text))
    play.answer(play.expect_forwarded(to={mode}), mode, frames.rows())
    play.expect_client(frames.rows(1))


def test_a_trace_is_read_from_the_primary(perform: Perform, primary: Side) -> None:
    """The tracing id that a client has came with the primary's answer."""
    play = perform(primary=primary, system_queries=ORIGIN if primary is TARGET else TARGET)
    play.client_sends(frames.query(1, "SELECT * FROM system_traces.sessions WHERE session_id = 1"))
    play.answer(play.expect_forwarded(to={primary}), primary, frames.rows())
    play.expect_client(frames.rows(1))


@pytest.mark.parametrize("mode", [ORIGIN, TARGET], ids=lambda side: f"system-{side.name.lower()}")
def test_an_unqualified_table_is_looked_for_in_the_current_keyspace(perform: Perform, mode: Side) -> None:
    """After USE system_auth, `roles` is a system table."""
    play = perform(system_queries=mode)
    play.client_sends(frames.query(1, "SELECT * FROM roles"))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    play.expect_client(frames.rows(1))
    play.use("system_auth")
    play.client_sends(frames.query(2, "SELECT * FROM roles"), frames.query(3, "SELECT * FROM ks.t"))
    if mode is ORIGIN:
        first, second = (play.expect_forwarded(to={ORIGIN}) for _ in range(2))
    else:
        first, second = play.expect_forwarded(to={TARGET}), play.expect_forwarded(to={ORIGIN})
    play.answer(first, mode, frames.rows())
    play.answer(second, ORIGIN, frames.rows())
    play.expect_client(frames.rows(2))
    play.expect_client(frames.rows(3))


@pytest.mark.parametrize(("text", "to"), [(WRITES[0], BOTH), (READS[0], {ORIGIN}), (SYSTEM_READS[0], {TARGET})])
@pytest.mark.parametrize("target_id", [b"the same id", b"another one", b"longer than origin's"])
def test_an_execute_goes_where_its_statement_goes(perform: Perform, text: str, to: set[Side], target_id: bytes) -> None:
    """An EXECUTE names no table: the decision was made at its PREPARE, which went to both."""
    play = perform(system_queries=TARGET)
    play.prepare(text, b"the same id", target_id)
    wanted = {ORIGIN: frames.execute(1, b"the same id", [b"x"]), TARGET: frames.execute(1, target_id, [b"x"])}
    play.client_sends(wanted[ORIGIN])
    play.answer_all(play.expect_forwarded(to=to, frame=wanted), frames.void())
    play.expect_client(frames.void(1))
    play.expect_idle()


def test_a_batch_goes_to_both_with_each_clusters_ids(play: Play) -> None:
    """Every child is exchanged, of whatever length, and texts stay."""
    play.prepare("INSERT INTO ks.t (k) VALUES (?)", b"origin-1", b"target-1")
    play.prepare("DELETE FROM ks.t WHERE k = ?", b"origin-2", b"a longer target-2")

    def batch(first: bytes, second: bytes) -> bytes:
        text = "INSERT INTO ks.t (k) VALUES (5)"
        children: list[str | tuple[bytes, list[bytes | None | frames.NotSet]]] = [
            (first, [b"a", None]),
            text,
            (second, [b"\0" * 300]),
            (first, [frames.UNSET]),
        ]
        return frames.batch(6, children, kind=1, timestamp=7)

    play.client_sends(batch(b"origin-1", b"origin-2"))
    wanted = {ORIGIN: batch(b"origin-1", b"origin-2"), TARGET: batch(b"target-1", b"a longer target-2")}
    play.answer_all(play.expect_forwarded(to=BOTH, frame=wanted), frames.void())
    play.expect_client(frames.void(6))


@pytest.mark.bare
@pytest.mark.parametrize(
    "frame", [frames.execute(1, b"never seen"), frames.batch(1, ["INSERT INTO ks.t (k) VALUES (1)", b"never seen"])]
)
def test_an_unknown_prepared_id_is_answered_unprepared(play: Play, frame: bytes) -> None:
    """Drivers mend that by themselves: they prepare again, through the proxy."""
    play.client_sends(frame)
    error = play.expect_error(UNPREPARED, 1, "Prepared query with ID " + b"never seen".hex() + " not found (either")
    assert error.fields == frames.short_bytes(b"never seen")
    assert play.shared.meter.pscache_misses == 1
    play.expect_idle()


def test_an_absurdly_long_unknown_id_is_answered_too(play: Play) -> None:
    """Its hexadecimal form would not fit into an ERROR's message."""
    play.client_sends(frames.execute(1, b"x" * 65535))
    assert play.expect_error(UNPREPARED, 1).fields == frames.short_bytes(b"x" * 65535)


def test_register_goes_to_both_and_origin_answers(play: Play) -> None:
    """Only origin's schema events are passed on, but target's connection is to look alike."""
    play.client_sends(frames.register(1))
    play.answer_all(play.expect_forwarded(to=BOTH), frames.ready())
    play.expect_client(frames.ready(1))


def test_options_after_ready_are_answered_without_target(play: Play) -> None:
    """Drivers use them as heartbeats: a hung target must not make them drop every connection."""
    play.client_sends(frames.options(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.supported())
    offered = {"CQL_VERSION": ["3.4.6"], "PROTOCOL_VERSIONS": ["3/v3", "4/v4"]}
    play.expect_client(frames.supported(1, offered))


@pytest.mark.bare
@pytest.mark.parametrize("answer", [frames.error(0, 0x1001, "busy"), frames.ready()], ids=["error", "ready"])
def test_another_answer_to_options_reaches_the_client_as_it_is(play: Play, answer: bytes) -> None:
    """FIX-08: no SUPPORTED may be made of an ERROR."""
    play.client_sends(frames.options(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, answer)
    play.expect_client(answer, stream=1)


def test_auth_response_after_ready_goes_to_the_auth_primary_and_startup_to_both(play: Play) -> None:
    """The clusters refuse both; the proxy changes nothing by them."""
    play.client_sends(frames.auth_response(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.error())
    play.expect_client(frames.error(1))
    play.client_sends(frames.startup(2))
    play.answer_all(play.expect_forwarded(to=BOTH), frames.error())
    play.expect_client(frames.error(2))


def test_insights_calls_are_answered_and_never_forwarded(play: Play) -> None:
    """FIX-14: the reference never answers them."""
    play.client_sends(frames.query(1, "CALL InsightsRpc.reportInsight('...')"))
    play.expect_client(frames.void(1))
    play.client_sends(frames.prepare(2, "CALL InsightsRpc.reportInsight(?)"))
    play.expect_error(INVALID, 2)


@pytest.fixture
def shown() -> Play:
    """A ready session with system tables to be shown."""
    return Play(stage(tables=system_tables(proxies(*FLEET)))).become_ready()


def test_the_system_tables_are_answered_by_the_proxy(shown: Play) -> None:
    """Drivers must see proxies where the hosts are."""
    shown.client_sends(frames.query(1, "SELECT rack FROM system.local"))
    shown.expect_client(_rack(1))
    shown.client_sends(frames.query(2, "SELECT * FROM system.peers_v2"))
    shown.expect_error(INVALID, 2, "unconfigured table peers_v2")
    shown.use("system")
    shown.client_sends(frames.query(3, "SELECT rack FROM local"))
    shown.expect_client(_rack(3))
    shown.end()


def test_an_intercepted_statement_can_be_prepared_and_executed(shown: Play) -> None:
    """Its id is the proxy's own, and no cluster ever sees it."""
    shown.client_sends(frames.prepare(1, "SELECT rack FROM system.local"))
    prepared_id = next(iter(shown.shared.prepared.entries))
    assert len(prepared_id) == 16
    assert shown.client_got()[9:15] == frames.integer(4) + frames.short(16)
    shown.client_sends(frames.execute(2, prepared_id))
    shown.expect_client(_rack(2))
    shown.end()


def test_a_system_table_asked_in_another_way_goes_to_the_system_cluster(shown: Play) -> None:
    """FIX-16: what the proxy can't compute itself it leaves to a cluster."""
    shown.client_sends(frames.query(1, "SELECT now() FROM system.local"))
    shown.answer(shown.expect_forwarded(to={ORIGIN}), ORIGIN, frames.rows())
    shown.expect_client(frames.rows(1))
    shown.end()


def _rack(stream: int) -> bytes:
    """The one row of `SELECT rack FROM system.local`, keyspace and table named with each column."""
    spec = frames.string("system") + frames.string("local") + frames.string("rack") + frames.VARCHAR
    cell = frames.long_bytes(b"rack0")
    rows = frames.integer(2) + frames.integer(0) + frames.integer(1) + spec + frames.integer(1) + cell
    return frames.answer(0x08, stream, rows)


def test_an_absurdly_long_unknown_column_is_named_as_far_as_an_error_can_hold(shown: Play) -> None:
    """An ERROR's message is no longer than 65,535 bytes, a statement may be."""
    shown.client_sends(frames.query(1, f"SELECT {'c' * 70_000} FROM system.local"))
    shown.expect_error(INVALID, 1, "Undefined column name ccc")
    shown.end()


def test_a_new_generation_is_what_the_next_answer_is_made_of(play: Play) -> None:
    """What the control connections find changes while sessions live."""
    offered = {"CQL_VERSION": ["3.4.7"]}
    play.session.apply(replace(play.shared.snapshot, generation=2, supported=offered), play.now)
    play.client_sends(frames.options(1))
    play.answer(play.expect_forwarded(to={ORIGIN}), ORIGIN, frames.supported())
    play.expect_client(frames.supported(1, offered))


def test_sessions_to_come_are_planned_by_new_settings(play: Play) -> None:
    """A worker is given a new generation before the clients that come after it."""
    play.shared.replace(replace(play.shared.snapshot, settings=Settings(primary=TARGET)))
    with Play(play.shared) as later:
        later.become_ready().client_sends(frames.query(1, "SELECT k FROM ks.t"))
        later.answer(later.expect_forwarded(to={TARGET}), TARGET, frames.rows())
        later.expect_client(frames.rows(1))
