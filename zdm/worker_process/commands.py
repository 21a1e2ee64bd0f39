"""What supervisor and worker say to each other, by AMP over a pair of UNIX sockets.

Boxes arrive in the order in which they were sent, and much rests on that: a worker has a generation before the clients
that were handed to it afterwards.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.protocols.amp import Argument, Boolean, Command, Descriptor, Float, Integer, Unicode

_PIECE: Final = 0xFFFF


class Whole(Argument):
    """Bytes of any length: a value of AMP holds 64 KiB, so they travel as `name`, `name.1`, `name.2` and so on."""

    def toBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        value: bytes = objects.pop(name.decode())
        strings[name] = value[:_PIECE]
        for number, start in enumerate(range(_PIECE, len(value), _PIECE), start=1):
            strings[b"%b.%d" % (name, number)] = value[start : start + _PIECE]

    def fromBox(self, name: bytes, strings: dict[bytes, bytes], objects: dict[str, Any], proto: Any) -> None:
        pieces = [strings.pop(name)]
        while piece := strings.pop(b"%b.%d" % (name, len(pieces)), b""):
            pieces.append(piece)
        objects[name.decode()] = b"".join(pieces)


class Start(Command):
    """To a worker, first of all: what it is to be (`snapshots.WorkerSettings`)."""

    arguments = [(b"settings", Whole())]


class ConfigureLog(Command):
    """To a worker: which lines it is to show from now on, and in which form."""

    arguments = [(b"level", Unicode()), (b"log_format", Unicode())]


class Secure(Command):
    """To a worker, before any generation and whenever they have changed: the certificates (`snapshots`, TlsSetups)."""

    arguments = [(b"setups", Whole())]


class Apply(Command):
    """To a worker: a new generation. Answered when every session has it, with how many of them are attaching."""

    arguments = [(b"snapshot", Whole())]
    response = [(b"attaching", Integer())]


class TakeClient(Command):
    """To a worker: a client's connection. Answered when the worker holds the descriptor, so that it may be closed."""

    arguments = [(b"descriptor", Descriptor())]


class Scrape(Command):
    """To a worker: its counters now (`counters`)."""

    response = [(b"counters", Whole())]


class Drain(Command):
    """To a worker: end all sessions, within `limit` seconds. Answered when the last has ended."""

    arguments = [(b"limit", Float())]


class Release(Command):
    """To a worker: send all sessions as `TakeSession`, each when it is at rest, within `limit` seconds.

    Answered when the last was taken or the time is over, with the number of those that stay.
    """

    arguments = [(b"limit", Float())]
    response = [(b"left", Integer())]


class Spare(Command):
    """To a worker: send up to `count` sessions that are at rest now. Answered when they were taken: how many."""

    arguments = [(b"count", Integer())]
    response = [(b"spared", Integer())]


class TakeSession(Command):
    """From who has a session to who is to have it (`sessions`). Answered when the receiver holds the descriptors."""

    arguments = [
        (b"handover", Whole()),
        (b"client", Descriptor()),
        (b"origin", Descriptor()),
        (b"target", Descriptor(optional=True)),
    ]


class Hello(Command):
    """From a worker that is ready to be told what to do."""

    arguments = [(b"pid", Integer())]
    requiresAnswer = False


class Load(Command):
    """From a worker, when a figure has changed: how many clients it was given so far, has now, and is attaching."""

    arguments = [(b"taken", Integer()), (b"clients", Integer()), (b"attaching", Integer())]
    requiresAnswer = False


class LoginJudged(Command):
    """From a worker: target has let these credentials in, or has refused them."""

    arguments = [(b"user", Whole()), (b"password", Whole()), (b"accepted", Boolean())]
    requiresAnswer = False


class VerifyLogin(Command):
    """From a worker: has target let these in before?"""

    arguments = [(b"user", Whole()), (b"password", Whole())]
    response = [(b"recognition", Unicode())]


class RefreshSchema(Command):
    """From a worker: a client has changed the schema."""

    requiresAnswer = False


class StatementMade(Command):
    """From a worker, and passed on to the others: a client has prepared a statement (`statements`)."""

    arguments = [(b"statement", Whole())]
    requiresAnswer = False


class StatementForgotten(Command):
    """From a worker, and passed on to the others: this prepared id means nothing any more."""

    arguments = [(b"prepared_id", Whole())]
    requiresAnswer = False


class ListStatements(Command):
    """To a worker: all statements that it knows."""

    response = [(b"found", Whole())]


class FindStatements(Command):
    """From a worker, and passed on to the others: who knows these ids? Both are lists as `statements` writes them."""

    arguments = [(b"wanted", Whole())]
    response = [(b"found", Whole())]
