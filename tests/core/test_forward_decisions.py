"""Who answers a SELECT: the proxy, the primary, or the cluster that system queries go to; nobody else sees it (4.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import frames
from tests.core.shown import FLEET, proxies, system_tables
from tests.playbook import Play
from tests.stage import INVALID, ORIGIN, TARGET, stage
from zdm.core.clusters import Side

PRIMARY, SYSTEM, PROXY, NOBODY = "primary", "system queries", "proxy", "nobody"

DECISIONS = [
    ("", "SELECT * FROM ks.t", PRIMARY),
    ("", 'SELECT * FROM "ks"."t"', PRIMARY),
    ("", "SELECT * FROM ks.t WHERE col : 'term'", PRIMARY),
    ("", "SELECT * FROM t", PRIMARY),
    ("ks", "SELECT * FROM t", PRIMARY),
    ("ks", "SELECT * FROM peers", PRIMARY),
    ("ks", "SELECT * FROM local", PRIMARY),
    ("ks", "SELECT * FROM peers_v2", PRIMARY),
    ("", "SELECT * FROM peers", PRIMARY),
    ("", 'SELECT * FROM "SYSTEM"."local"', PRIMARY),
    ("system", "SELECT * FROM ks.local", PRIMARY),
    ("", "SELECT * FROM system.local", PROXY),
    ("", 'SELECT * FROM "system"."local"', PROXY),
    ("", 'SELECT * FROM system."local"', PROXY),
    ("", "SELECT * FROM System.LOCAL", PROXY),
    ("ks", "SELECT * FROM system.local", PROXY),
    ("system", "SELECT * FROM local", PROXY),
    ('"system"', 'SELECT * FROM "local"', PROXY),
    ("", "SELECT * FROM system.peers", PROXY),
    ("system", "SELECT * FROM peers", PROXY),
    ('"system"', 'SELECT * FROM "peers"', PROXY),
    ("", "SELECT * FROM system.peers_v2", NOBODY),
    ("system", "SELECT * FROM peers_v2", NOBODY),
    ("", "SELECT * FROM system_auth.roles", SYSTEM),
    ("system_auth", "SELECT * FROM roles", SYSTEM),
    ("", "SELECT * FROM dse_insights.tokens", SYSTEM),
    ("dse_insights", "SELECT * FROM tokens", SYSTEM),
]


@pytest.fixture(params=[ORIGIN, TARGET], ids=lambda side: f"system-{side.name.lower()}")
def system_queries(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


@pytest.fixture
def shown(primary: Side, system_queries: Side) -> Iterator[Play]:
    """A ready session before three proxies."""
    tables = system_tables(proxies(*FLEET))
    with Play(stage(tables=tables, primary=primary, system_queries=system_queries)) as play:
        yield play.become_ready()


@pytest.mark.parametrize(("used", "text", "decided"), DECISIONS)
@pytest.mark.parametrize("is_prepared", [False, True], ids=["query", "execute"])
def test_exactly_one_answers_a_select(
    shown: Play, primary: Side, system_queries: Side, used: str, text: str, decided: str, is_prepared: bool
) -> None:
    """By its keyspace, that of the text or else that in use; only names that are not quoted are in lower case."""
    if used:
        shown.use(used.strip('"'))
    request = frames.query(2, text)
    if is_prepared:
        request = _prepared(shown, text, decided)
    if not request:
        return
    shown.client_sends(request)
    if decided == PROXY:
        answer = shown.client_got()
        assert answer[4] == 0x08 and answer[9:13] == frames.integer(2)
    elif decided == NOBODY:
        shown.expect_error(INVALID, 2, "unconfigured table peers_v2")
    else:
        side = primary if decided == PRIMARY else system_queries
        shown.answer(shown.expect_forwarded(to={side}), side, frames.rows())
        shown.expect_client(frames.rows(2))
    shown.expect_idle()


def _prepared(shown: Play, text: str, decided: str) -> bytes:
    """The EXECUTE of the statement, which is prepared now; nothing where it cannot be."""
    if decided in (PRIMARY, SYSTEM):
        shown.prepare(text, b"id of it")
        return frames.execute(2, b"id of it")
    shown.client_sends(frames.prepare(3, text))
    if decided == NOBODY:
        shown.expect_error(INVALID, 3, "unconfigured table peers_v2")
        return b""
    answer = shown.client_got()
    assert answer[9:15] == frames.integer(4) + frames.short(16)
    return frames.execute(2, answer[15:31])
