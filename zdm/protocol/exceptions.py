"""Whose fault a broken rule of the native protocol is.

Two kinds, because they are treated differently: a fault of ours is logged with its traceback, a fault of the peer is
answered with its error code on its stream. An ERROR body sent by a cluster is neither: it is a value (see
`zdm.protocol.errors`).
"""

from __future__ import annotations

from typing import Final

PROTOCOL_ERROR: Final = 0x000A


class ProtocolError(Exception):
    """A rule of the native protocol was broken. Abstract: one of the two below is raised."""


class LocalProtocolError(ProtocolError):
    """We were about to send bytes that no peer could read: a bug on this side."""


class RemoteProtocolError(ProtocolError):
    """The peer sent bytes that have no meaning.

    `code` is the error code the peer is to be answered with (v4 section 9), `message` the text beside it.
    """

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.code = code
