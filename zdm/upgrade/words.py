"""What the old program and the new one say to each other, by AMP over a pair of UNIX sockets.

The two may be of different versions, so what travels is JSON, and a word that one does not know ends the upgrade.
Beside these they use `TakeSession` of `zdm.worker_process.commands`.
"""

from __future__ import annotations

from twisted.protocols.amp import Command

from zdm.worker_process.commands import Whole


class Ready(Command):
    """From the new program: it could serve now. Answered with what the old one knows; that changes no more then.

    `state` is a `SavedState`, `statements` are as `zdm.worker_process.statements` writes them.
    """

    response = [(b"state", Whole()), (b"statements", Whole())]


class Serving(Command):
    """From the new program: it accepts clients. The old one is to stop that, and to send its sessions."""

    requiresAnswer = False
