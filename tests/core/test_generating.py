"""Values made in a cluster's place: what they are, and that none comes twice."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdm.core.generating import GREGORIAN, Generator, time_uuid

MOMENT = 1_636_481_612_705_370_600
"""2021-11-09 18:13:32.7053706, in nanoseconds since 1970."""


def at(*moments: int) -> Generator:
    """One whose clock says this, in nanoseconds, with each look at it; the last for ever."""
    left = list(moments)
    return Generator(lambda: left.pop(0) if len(left) > 1 else left[0], lambda count: b"\x02" * count)


def test_a_time_uuid_is_built_as_the_reference_builds_it() -> None:
    """Its own example (section 6.4)."""
    made = time_uuid(MOMENT // 100 + GREGORIAN, 123, 0x000204060708)
    assert str(UUID(bytes=made)) == "bf928f8a-4188-11ec-807b-000204060708"


def test_a_time_uuid_is_of_version_1_with_a_random_node() -> None:
    """The multicast bit tells it from the address of a network card (RFC 4122, section 4.5)."""
    made = UUID(bytes=at(MOMENT).value("timeuuid"))
    assert (made.version, made.variant) == (1, "specified in RFC 4122")
    assert made.node == 0x030202020202
    assert (
        datetime.fromtimestamp((made.time - GREGORIAN) / 10**7, UTC).isoformat() == "2021-11-09T18:13:32.705371+00:00"
    )


@given(st.lists(st.integers(0, 2**62), min_size=2, max_size=50))
def test_time_uuids_and_timestamps_rise_whatever_the_clock_does(moments: list[int]) -> None:
    """It may stand still, and be set back: a later write must not lose against an earlier one."""
    generator = at(*moments)
    made = [UUID(bytes=generator.value("timeuuid")) for _ in moments]
    assert all(one.time < other.time for one, other in zip(made, made[1:], strict=False))
    sequences = [one.clock_seq for one in made]
    assert all(other == (one + 1) % 2**14 for one, other in zip(sequences, sequences[1:], strict=False))
    generator = at(*moments)
    stamps = [generator.timestamp() for _ in moments]
    assert all(one < other for one, other in zip(stamps, stamps[1:], strict=False))
    assert stamps[0] == max(1, moments[0] // 1000)


def test_processes_make_different_uuids_at_the_same_moment() -> None:
    """Nothing but chance parts the workers of all instances."""
    drawn = iter(range(1, 100))
    entropy = [lambda count: next(drawn).to_bytes(count, "big") for _ in range(2)]
    one, other = (Generator(lambda: MOMENT, source) for source in entropy)
    assert one.value("timeuuid") != other.value("timeuuid")


def test_a_random_uuid_is_of_version_4() -> None:
    made = UUID(bytes=Generator(lambda: 0, lambda count: b"\xff" * count).value("uuid"))
    assert str(made) == "ffffffff-ffff-4fff-bfff-ffffffffffff"
    assert UUID(bytes=Generator(lambda: 0, bytes).value("uuid")).version == 4


@pytest.mark.parametrize(
    ("moment", "type_name", "value", "literal"),
    [
        (MOMENT, "timestamp", "0000017d05e7bba1", "1636481612705"),
        (MOMENT, "date", "800049fc", "'2021-11-09'"),
        (MOMENT, "time", "00003baca5ff11e8", "'18:13:32.705370600'"),
        (0, "date", "80000000", "'1970-01-01'"),
        (0, "time", "0000000000000000", "'00:00:00.000000000'"),
    ],
)
def test_times_are_those_of_cql(moment: int, type_name: str, value: str, literal: str) -> None:
    """Serialised as v4 section 6 says, and as constants; both in UTC."""
    assert at(moment).value(type_name).hex() == value
    assert at(moment).literal(type_name) == literal


@pytest.mark.parametrize("type_name", ["timeuuid", "uuid"])
def test_a_uuid_as_a_constant_is_the_same_uuid(type_name: str) -> None:
    assert UUID(at(MOMENT).literal(type_name)).bytes == at(MOMENT).value(type_name)
