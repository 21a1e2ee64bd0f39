"""Whose credentials a client needs, for every combination of clusters that ask for some (section 3.3)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.process.answers import AUTH_SUCCESS, AUTHENTICATE, BAD_CREDENTIALS, PROTOCOL_ERROR, READY
from tests.process.conftest import ORIGIN_LOGIN, TARGET_LOGIN, StartProxy, StartSandbox
from tests.process.sandbox import NOBODY, Login, Sandbox

WRONG = ("target_user", "wrong")


def refused(user: str) -> tuple[int, str]:
    """In the cluster's own words."""
    return BAD_CREDENTIALS, f"Provided username {user} and/or password are incorrect"


def test_both_clusters_ask_and_the_client_logs_in_with_those_of_target(guarded: Sandbox, proxy: StartProxy) -> None:
    """The application keeps its credentials when it is pointed at target in the end."""
    running = proxy(*guarded.clusters)
    assert running.connect().handshake(*TARGET_LOGIN).opcode == AUTH_SUCCESS
    assert running.connect().handshake(*ORIGIN_LOGIN).error == refused("origin_user")
    assert running.connect().handshake(*WRONG).error == refused("target_user")
    assert running.connect().handshake().opcode == AUTHENTICATE


def test_both_clusters_ask_and_credentials_of_origin_are_forwarded_on_request(
    guarded: Sandbox, proxy: StartProxy
) -> None:
    """Before the cut-over it may be more convenient that the application keeps what it has."""
    running = proxy(*guarded.clusters, forward_client_credentials_to_origin="true")
    assert running.connect().handshake(*ORIGIN_LOGIN).opcode == AUTH_SUCCESS
    assert running.connect().handshake(*TARGET_LOGIN).error == refused("target_user")


@pytest.mark.parametrize(
    ("origin", "target", "right", "wrong"),
    [(ORIGIN_LOGIN, NOBODY, ORIGIN_LOGIN, TARGET_LOGIN), (NOBODY, TARGET_LOGIN, TARGET_LOGIN, ORIGIN_LOGIN)],
    ids=["origin alone", "target alone"],
)
def test_the_client_logs_in_at_the_only_cluster_that_asks(
    own_sandbox: StartSandbox, proxy: StartProxy, origin: Login, target: Login, right: Login, wrong: Login
) -> None:
    """The other cluster lets everybody in."""
    running = proxy(*own_sandbox(origin, target).clusters)
    assert running.connect().handshake(*right).opcode == AUTH_SUCCESS
    assert running.connect().handshake(*wrong).error == refused(wrong[0])
    assert running.connect().handshake().opcode == AUTHENTICATE
    client = running.client(*right)
    assert client.query("SELECT key FROM system.local").rows == [("local",)]


def test_no_cluster_asks_and_nobody_needs_credentials(sandbox: Sandbox, proxy: StartProxy) -> None:
    """Configured credentials that nobody asks for do no harm either."""
    running = proxy(*sandbox.clusters, origin_username="unused", origin_password="unused")
    client = running.connect()
    assert client.handshake(*TARGET_LOGIN).opcode == READY
    assert client.query("SELECT key FROM system.local").rows == [("local",)]


def test_a_refused_client_is_refused_whatever_it_asks(guarded: Sandbox, proxy: StartProxy) -> None:
    """Origin has let the proxy in with the configured credentials by then: nobody may profit from that."""
    client = proxy(*guarded.clusters).connect()
    assert client.handshake(*WRONG).error == refused("target_user")
    assert client.query("SELECT key FROM system.local", stream=3).error == refused("target_user")
    assert client.query("SELECT role FROM system_auth.roles", stream=4).error == refused("target_user")
    assert not guarded.origin.requests("system_auth.roles")


def test_nothing_but_the_handshake_is_answered_before_it_is_over(guarded: Sandbox, proxy: StartProxy) -> None:
    """Not even the proxy's own system tables: they tell about the clusters."""
    client = proxy(*guarded.clusters).connect()
    assert client.query("SELECT * FROM system.local", stream=1).error[0] == PROTOCOL_ERROR
    assert client.handshake().opcode == AUTHENTICATE
    assert client.query("SELECT * FROM system.peers", stream=2).error[0] == PROTOCOL_ERROR
    token = b"\0" + b"\0".join(part.encode() for part in TARGET_LOGIN)
    assert client.ask(frames.auth_response(5, token)).opcode == AUTH_SUCCESS
    assert client.query("SELECT key FROM system.local").rows == [("local",)]
