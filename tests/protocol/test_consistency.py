"""Names and numbers of consistency levels."""

from __future__ import annotations

from zdm.protocol.consistency import Consistency, consistency_name


def test_levels_have_the_numbers_of_the_specification() -> None:
    """v4 section 3."""
    names = "ANY ONE TWO THREE QUORUM ALL LOCAL_QUORUM EACH_QUORUM SERIAL LOCAL_SERIAL LOCAL_ONE"
    assert [level.name for level in sorted(Consistency)] == names.split()
    assert [level.value for level in sorted(Consistency)] == list(range(11))


def test_a_level_without_a_name_is_shown_as_its_number() -> None:
    """Clusters of other makes have levels of their own."""
    assert consistency_name(6) == "LOCAL_QUORUM"
    assert consistency_name(0x99) == "0x0099"
