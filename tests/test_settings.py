"""The configuration as the inner rings know it."""

from __future__ import annotations

from typing import Any

import pytest

from zdm.config import Config
from zdm.core.clusters import Side
from zdm.settings import new_meter, proxy_topology, session_settings


def config(**keys: Any) -> Config:
    return Config(origin_contact_points="127.0.90.1", target_contact_points="127.0.90.11", **keys)


def test_the_defaults_are_those_of_the_reference() -> None:
    """Origin answers reads, and requests may take ten seconds."""
    settings = session_settings(config())
    assert (settings.primary, settings.system_queries) == (Side.ORIGIN, Side.ORIGIN)
    assert (settings.request_timeout, settings.schema_timeout, settings.heartbeat_interval) == (10.0, 60.0, 30.0)
    assert (settings.max_streams, settings.max_streams_set, settings.answer_timeouts) == (2048, False, False)
    assert settings.versions == {3, 4, 5} and settings.reattach_target and settings.mend_unprepared


@pytest.mark.parametrize("word", ["TARGET", "target"])
def test_words_become_clusters(word: str) -> None:
    """However they are written."""
    settings = session_settings(config(primary_cluster=word, system_queries_mode=word))
    assert (settings.primary, settings.system_queries) == (Side.TARGET, Side.TARGET)


def test_milliseconds_become_seconds() -> None:
    """The inner rings count in seconds only."""
    settings = session_settings(
        config(
            proxy_request_timeout_ms=1500,
            schema_request_timeout_ms=2500,
            heartbeat_interval_ms=100,
            attach_hold_ms=50,
            target_disable_drain_ms=200,
            target_park_ms=300,
        )
    )
    assert (settings.request_timeout, settings.schema_timeout) == (1.5, 2.5)
    assert (settings.heartbeat_interval, settings.attach_hold) == (0.1, 0.05)
    assert (settings.target_disable_drain, settings.target_park) == (0.2, 0.3)


def test_what_is_put_into_writes_reaches_the_sessions() -> None:
    """Nothing by default, as with the reference."""
    settings = session_settings(config())
    assert (settings.replaced_functions, settings.stamp_write_timestamps) == (frozenset(), False)
    settings = session_settings(config(replace_cql_functions="now, current_date", stamp_write_timestamps=True))
    assert (settings.replaced_functions, settings.stamp_write_timestamps) == (frozenset(("now", "currentdate")), True)


def test_limits_of_what_is_in_flight_reach_the_sessions() -> None:
    """0 is no time but none."""
    settings = session_settings(
        config(max_inflight_bytes_per_client=70_000, max_inflight_bytes=2_000_000, client_stall_timeout_ms=500)
    )
    assert (settings.client_inflight_bytes, settings.inflight_bytes, settings.client_stall) == (70_000, 2_000_000, 0.5)
    assert session_settings(config(client_stall_timeout_ms=0)).client_stall is None


def test_the_limit_of_all_together_is_divided_among_the_workers() -> None:
    """It is meant for the proxy as a whole; that of a client is no different."""
    settings = session_settings(config(max_inflight_bytes=8_000_000, max_inflight_bytes_per_client=70_000), workers=4)
    assert (settings.inflight_bytes, settings.client_inflight_bytes) == (2_000_000, 70_000)


def test_a_schema_change_gets_no_less_time_than_any_request() -> None:
    """An operator who raises the one limit need not know of the other."""
    assert session_settings(config(proxy_request_timeout_ms=90_000)).schema_timeout == 90.0


def test_the_choices_of_what_to_do_are_words() -> None:
    """Each has the reference's way as its other word."""
    settings = session_settings(
        config(
            proxy_timeout_response="error",
            on_target_connection_lost="close",
            unprepared_recovery="client",
            forward_client_credentials_to_origin=True,
        )
    )
    assert settings.answer_timeouts and settings.forward_client_credentials_to_origin
    assert not settings.reattach_target and not settings.mend_unprepared


def test_a_limit_of_stream_ids_that_was_given_is_told_from_the_default() -> None:
    """Ids stay below a limit only where the operator asked for one, be it the default's value."""
    given = session_settings(config(proxy_max_stream_ids=2048))
    assert given.max_streams_set and given.top_stream == 2047
    assert session_settings(config()).top_stream == 32767


def test_blocked_versions_are_not_spoken() -> None:
    """The operator's list goes on top of what this program can."""
    assert session_settings(config(blocked_protocol_versions="v4")).versions == {3, 5}


def test_a_fleet_is_taken_as_configured() -> None:
    """All instances must agree on it."""
    topology = proxy_topology(
        config(proxy_topology_addresses="10.0.0.1,10.0.0.2", proxy_topology_index=1, proxy_listen_port=9042)
    )
    assert (topology.addresses, topology.index, topology.port) == (("10.0.0.1", "10.0.0.2"), 1, 9042)
    assert not topology.is_derived


@pytest.mark.parametrize(
    "listening, shown",
    [("127.0.90.7", "127.0.90.7"), ("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::1", "127.0.0.1")],
)
def test_a_proxy_alone_is_known_by_where_it_listens(listening: str, shown: str) -> None:
    """Section 1.4: its first IPv4 address."""
    topology = proxy_topology(config(proxy_listen_address=listening, proxy_topology_index=3))
    assert (topology.addresses, topology.index, topology.is_derived) == ((shown,), 0, True)


@pytest.mark.parametrize("nonsense", ["no such name.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_is_nobodys_is_no_reason_to_fail(nonsense: str) -> None:
    """Listening will say what is wrong, with the address."""
    assert proxy_topology(config(proxy_listen_address=nonsense)).addresses == ("127.0.0.1",)


def test_latency_buckets_are_those_of_the_configuration() -> None:
    """In seconds, for each cluster its own."""
    meter = new_meter(config(metrics_origin_latency_buckets_ms="1, 10", metrics_target_latency_buckets_ms="5"))
    assert meter.reads_origin.duration.bounds == [0.001, 0.01]
    assert meter.reads_target.duration.bounds == [0.005]
