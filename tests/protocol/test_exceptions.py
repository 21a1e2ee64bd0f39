"""Whose fault it is."""

from __future__ import annotations

import copy

from zdm.protocol.errors import ErrorCode
from zdm.protocol.exceptions import LocalProtocolError, ProtocolError, RemoteProtocolError


def test_the_peers_fault_is_answered_with_protocol_error_unless_said_otherwise() -> None:
    """Most broken bytes have no code of their own."""
    fault = RemoteProtocolError("no such thing")
    assert (fault.code, fault.message, str(fault)) == (ErrorCode.PROTOCOL_ERROR, "no such thing", "no such thing")
    assert RemoteProtocolError("later", ErrorCode.OVERLOADED).code == 0x1001


def test_the_two_kinds_can_be_told_apart_by_type_only() -> None:
    """One is logged with its traceback, the other is not."""
    assert not issubclass(RemoteProtocolError, LocalProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError) and issubclass(LocalProtocolError, ProtocolError)


def test_a_fault_can_be_copied_with_its_text() -> None:
    """Twisted copies exceptions when a failure is cleaned."""
    assert copy.copy(RemoteProtocolError("x")).message == "x"
