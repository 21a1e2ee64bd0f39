"""The OpenAPI document and the app say the same, in both directions."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from tests.admin.caller import FakeSwitch, Proxy, ask
from zdm.admin.app import AdminApp
from zdm.admin.health import ControlHealth, Health
from zdm.admin.openapi import DOCUMENT
from zdm.admin.server import AdminServer

HOST = "127.0.40.5"
UP = ControlHealth("127.0.0.40:9042", 0, 1)

# Klein imports the reactor, so it is installed before this file is read.
PROGRAM = """
import sys
from zdm.net.endpoints import install_reactor
install_reactor()
from tests.admin.test_openapi import serve
serve()
"""

SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
READING = [(path, "GET") for path, methods in DOCUMENT["paths"].items() if "get" in methods]
CHANGING = [(path, "POST") for path, methods in DOCUMENT["paths"].items() if "post" in methods]
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.allow_header_conformance,
]
FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The app on a real socket, in another process."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://{HOST}:{int(server.stdout.readline())}"
        finally:
            server.kill()


def test_the_document_is_valid() -> None:
    SCHEMA.validate()
    assert DOCUMENT["openapi"].startswith("3.1.")


def test_the_document_has_every_route_and_no_other() -> None:
    """A route that is not described is one that no client is made for."""
    routes = {rule.rule for rule in AdminApp.app.url_map.iter_rules()}
    assert routes == set(DOCUMENT["paths"])


def test_the_document_is_served_as_it_is() -> None:
    answer = ask(Proxy(), "GET", "/api/v1/openapi.json")
    assert (answer.code, answer.json()) == (200, DOCUMENT)


def test_the_list_names_every_call_and_the_document() -> None:
    """Where to begin for whoever has only curl."""
    listed = ask(Proxy(), "GET", "/api/v1").json()
    assert listed["openapi"] == "/api/v1/openapi.json"
    assert [(call["method"], call["path"]) for call in listed["calls"]] == [
        ("GET", "/api/v1"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/target"),
        ("POST", "/api/v1/target/enable"),
        ("POST", "/api/v1/target/disable"),
    ]
    assert all(call["summary"] for call in listed["calls"])


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/openapi.json"])
def test_what_describes_the_api_is_read_only(path: str) -> None:
    answer = ask(Proxy(), "POST", path)
    assert (answer.code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert ask(Proxy(), "HEAD", path).code == 200


@pytest.mark.parametrize("path, method", READING)
@given(st.data())
@FEW
def test_what_is_read_is_as_described(url: str, path: str, method: str, data: Any) -> None:
    case = data.draw(SCHEMA[path][method].as_strategy())
    case.call_and_validate(base_url=url, checks=CHECKS)


@pytest.mark.parametrize("path, method", CHANGING)
@pytest.mark.parametrize("where, nothing", [("query", {}), ("body", NOT_SET)])
@given(st.data())
@FEW
def test_every_change_that_is_as_described_is_made(
    url: str, path: str, method: str, where: str, nothing: Any, data: Any
) -> None:
    """Fields in the body or in the query: in both they would be given twice."""
    case = data.draw(SCHEMA[path][method].as_strategy())
    setattr(case, where, nothing)
    case.call_and_validate(base_url=url, checks=[*CHECKS, checks.positive_data_acceptance])


@pytest.mark.parametrize("path, method", CHANGING)
@given(st.data())
@FEW
def test_no_change_that_is_not_as_described_is_made(url: str, path: str, method: str, data: Any) -> None:
    case = data.draw(SCHEMA[path][method].as_strategy(GenerationMode.NEGATIVE))
    case.call_and_validate(base_url=url, checks=[*CHECKS, checks.negative_data_rejection])


def serve() -> None:
    from twisted.internet import reactor

    proxy = Proxy("zdm_x 1\n", Health(UP, UP), FakeSwitch())
    server = AdminServer(AdminApp(proxy, True).resource(), HOST, 0, reactor)

    def tell(port: Any) -> None:
        print(port.getHost().port, flush=True)

    reactor.callWhenRunning(lambda: server.start().addCallback(tell))
    reactor.run()
