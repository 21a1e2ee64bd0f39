"""Names and directions of opcodes."""

from __future__ import annotations

from zdm.protocol import opcodes


def test_every_opcode_has_one_direction() -> None:
    """A frame whose opcode is of the other direction is refused by this."""
    assert not opcodes.REQUESTS & opcodes.RESPONSES
    assert opcodes.REQUESTS | opcodes.RESPONSES == set(range(0x11)) - {0x04}


def test_every_opcode_has_its_name() -> None:
    """The log speaks the specification's language."""
    for opcode in opcodes.REQUESTS | opcodes.RESPONSES:
        assert getattr(opcodes, opcodes.opcode_name(opcode)) == opcode


def test_a_number_without_a_name_is_shown() -> None:
    """0x04 was CREDENTIALS in v1."""
    assert opcodes.opcode_name(0x04) == "0x04"
    assert opcodes.opcode_name(0xFF) == "0xFF"
