"""What clients are told in SUPPORTED, and which versions a control connection tries."""

from __future__ import annotations

import pytest

from zdm.core.options import control_versions, lower_cql_version, merge_supported

CASSANDRA_4 = {
    "CQL_VERSION": ["3.4.6"],
    "COMPRESSION": ["snappy", "lz4"],
    "PROTOCOL_VERSIONS": ["3/v3", "4/v4", "5/v5", "6/v6-beta"],
}
CASSANDRA_5 = {
    "CQL_VERSION": ["3.4.7"],
    "COMPRESSION": ["lz4", "snappy"],
    "PROTOCOL_VERSIONS": ["3/v3", "4/v4", "5/v5"],
}


def test_versions_are_those_that_all_three_speak() -> None:
    """A driver that picks a version from the list must get through."""
    assert merge_supported(CASSANDRA_4, CASSANDRA_5, (3, 4))["PROTOCOL_VERSIONS"] == ["3/v3", "4/v4"]
    three = CASSANDRA_4 | {"PROTOCOL_VERSIONS": ["3/v3"]}
    assert merge_supported(three, CASSANDRA_5, (3, 4))["PROTOCOL_VERSIONS"] == ["3/v3"]
    assert merge_supported(CASSANDRA_5, three, (3, 4))["PROTOCOL_VERSIONS"] == ["3/v3"]


def test_an_origin_that_names_no_versions_has_no_say() -> None:
    """Cassandra before 3.10 does not name them."""
    silent = {"CQL_VERSION": ["3.4.4"], "COMPRESSION": ["lz4"]}
    assert merge_supported(silent, CASSANDRA_5, (4,))["PROTOCOL_VERSIONS"] == ["4/v4"]
    assert "PROTOCOL_VERSIONS" not in merge_supported(CASSANDRA_5, silent, (4,))


@pytest.mark.parametrize(
    ("origin", "target", "common"),
    [
        (["snappy", "lz4"], ["lz4", "snappy"], ["snappy", "lz4"]),
        (["lz4", "snappy"], ["snappy"], ["snappy"]),
        (["lz4"], ["LZ4"], ["lz4"]),
        (["lz4"], ["snappy"], []),
        ([], ["lz4"], []),
        (None, ["lz4"], None),
        (["lz4"], None, None),
        (None, None, None),
    ],
)
def test_compression_is_the_intersection_in_origins_order(
    origin: list[str] | None, target: list[str] | None, common: list[str] | None
) -> None:
    """Bodies travel compressed through the proxy, so both clusters must know the algorithm."""

    def offered(algorithms: list[str] | None) -> dict[str, list[str]]:
        return {} if algorithms is None else {"COMPRESSION": algorithms}

    merged = merge_supported(offered(origin), offered(target), (4,), ("lz4", "snappy"))
    assert merged.get("COMPRESSION") == common


def test_an_algorithm_that_the_proxy_cannot_read_is_not_offered() -> None:
    """The key stays: a driver exists that fails where it is missing."""
    assert merge_supported(CASSANDRA_4, CASSANDRA_5, (4,))["COMPRESSION"] == []
    assert merge_supported(CASSANDRA_4, CASSANDRA_5, (4,), ("lz4",))["COMPRESSION"] == ["lz4"]


@pytest.mark.parametrize(
    ("one", "two", "lower"),
    [
        (["3.4.6"], ["3.4.7"], ["3.4.6"]),
        (["3.4.10"], ["3.4.9"], ["3.4.9"]),
        (["3.4.5"], ["3.4.5"], ["3.4.5"]),
        (["2.0.0", "3.1.1"], ["3.0.0"], ["3.0.0"]),
        (["3.4.7-SNAPSHOT"], ["3.4.6"], ["3.4.6"]),
        (["3.4.6"], [], ["3.4.6"]),
        ([], ["3.4.6"], ["3.4.6"]),
    ],
)
def test_the_cql_version_is_the_lower_one(one: list[str], two: list[str], lower: list[str]) -> None:
    """STARTUP goes to both with what the driver picked; an intersection would often be empty."""
    assert lower_cql_version(one, two) == lower
    assert lower_cql_version(two, one) == lower


def test_everything_else_is_targets() -> None:
    """The application is on its way there; what only origin offers must not be relied on."""
    merged = merge_supported(
        CASSANDRA_4 | {"PRODUCT_TYPE": ["ORIGIN"], "OLD": ["x"]}, CASSANDRA_5 | {"PRODUCT_TYPE": ["TARGET"]}, (4,)
    )
    assert merged["PRODUCT_TYPE"] == ["TARGET"]
    assert "OLD" not in merged
    assert merged["CQL_VERSION"] == ["3.4.6"]


def test_shard_keys_are_left_out() -> None:
    """A driver that sees them dials shard ports past the proxy."""
    scylla = CASSANDRA_5 | {"SCYLLA_SHARD": ["0"], "SCYLLA_NR_SHARDS": ["2"], "SCYLLA_SHARD_AWARE_PORT": ["19042"]}
    assert not [key for key in merge_supported(CASSANDRA_4, scylla, (4,)) if key.startswith("SCYLLA")]


def test_the_clusters_own_lists_are_not_touched() -> None:
    """They belong to views that others hold."""
    target = {"CQL_VERSION": ["3.4.7"], "X": ["1"]}
    merge_supported(CASSANDRA_4, target, (4,))["X"].append("2")
    assert target == {"CQL_VERSION": ["3.4.7"], "X": ["1"]}


@pytest.mark.parametrize(("highest", "tried"), [(66, (4, 3)), (5, (4, 3)), (4, (4, 3)), (3, (3,)), (2, ())])
def test_a_control_connection_tries_versions_from_the_highest_allowed_down(
    highest: int, tried: tuple[int, ...]
) -> None:
    """control_conn_max_protocol_version is DseV2 by default, which is above all that is spoken here."""
    assert control_versions(highest, (3, 4)) == tried
