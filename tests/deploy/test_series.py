"""Every series that a panel or an alert names is in a scrape of the running proxy, label by label."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import frames
from tests.deploy.asking import BOARDS, board, expressions
from tests.deploy.expressions import Selector, asked
from tests.process.awaiting import until
from tests.process.conftest import REPLICATION
from tests.process.running_proxy import Proxy
from tests.process.sandbox import Sandbox

BY_PROMETHEUS = {"job", "instance"}
"""Labels that a series gets when it is scraped; `up` is made then, too."""

pytestmark = pytest.mark.timeout(240)
"""The first test starts all programs."""

Scrape = Mapping[str, list[Mapping[str, str]]]


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scrape]:
    """Labels by name of series: of a proxy with several workers that copies reads, after some traffic."""
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"))
    sandbox.query(f"CREATE KEYSPACE ks WITH replication = {REPLICATION}")
    sandbox.query("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    settings = {"workers": 2, "read_mode": "DUAL_ASYNC_ON_SECONDARY", "metrics_max_tables": 10}
    running = Proxy(*sandbox.clusters, tmp_path_factory.mktemp("proxy"), settings).wait_until_ready()
    running.tolerates("ZDM_READ_MODE=DUAL_ASYNC_ON_SECONDARY")
    client = running.client()
    insert = client.prepare("INSERT INTO ks.t (k, v) VALUES (?, 'x')")
    assert client.ask(frames.execute(1, insert, [frames.integer(1)])).is_void
    assert client.query("SELECT v FROM ks.t WHERE k = 1").rows == [("x",)]
    until(lambda: running.metric("client_connections_total") == 1, "the client is counted")
    text = running.get("/metrics").text
    client.close()
    running.stop()
    sandbox.close()
    found: dict[str, list[Mapping[str, str]]] = {"up": [{}]}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    yield found


@pytest.mark.parametrize("expression", expressions().values(), ids=expressions())
def test_what_is_asked_for_is_there(scrape: Scrape, expression: str) -> None:
    """A name, a label or a value that is misspelt shows nothing, and fires never."""
    found = asked(expression)
    assert found.selectors
    for selector in found.selectors:
        assert selector.name in scrape
        for label, operator, value in selector.matchers:
            assert operator in ("=", "=~")
            if label not in BY_PROMETHEUS:
                _is_there(scrape, selector, label, value)
    labels = {label for selector in found.selectors for one in scrape[selector.name] for label in one}
    assert found.groupings <= labels | BY_PROMETHEUS


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: str(path.stem))
def test_the_values_of_variables_are_there(scrape: Scrape, path: object) -> None:
    """A dashboard whose variables have nothing to list shows nothing at all."""
    queries = [
        variable["query"]
        for known in BOARDS
        if known == path
        for variable in board(known)["templating"]["list"]
        if variable["type"] == "query"
    ]
    for query in queries:
        match = re.fullmatch(r"label_values\((\w*)(\{.*\})?, (\w+)\)", query)
        assert match is not None
        name, matchers, label = match.groups()
        pattern = name or re.findall(r'__name__=~"([^"]+)"', matchers)[0]
        series = [labels for series, found in scrape.items() if re.fullmatch(pattern, series) for labels in found]
        assert series
        assert label in BY_PROMETHEUS or all(labels[label] for labels in series)


def _is_there(scrape: Scrape, selector: Selector, label: str, value: str) -> None:
    values = {labels[label] for labels in scrape[selector.name]}
    if not value.startswith("$"):
        assert set(value.split("|")) <= values
