"""What clients ask of the model clusters, and how a cluster reads it.

The model knows a handful of statements. Every write and every read carries a number of its own, in its text or as its
last value, and every answer to it carries the same number after the letter of the cluster that gave it ("O17", as a
warning, or as the message of an ERROR): so it can be told whose answer to what each is.
"""

from __future__ import annotations

import struct
from hashlib import md5
from typing import Final, NamedTuple

from tests import frames
from zdm.core.clusters import Side

LETTERS: Final = {Side.ORIGIN: "O", Side.TARGET: "T"}

OVERLOADED, UNAVAILABLE, WRITE_TIMEOUT, READ_TIMEOUT = 0x1001, 0x1000, 0x1100, 0x1200
SERVER_ERROR, PROTOCOL_ERROR, BAD_CREDENTIALS, BOOTSTRAPPING = 0x0000, 0x000A, 0x0100, 0x1002
INVALID, UNPREPARED = 0x2200, 0x2500

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED, QUERY, RESULT, PREPARE, EXECUTE = 0, 1, 2, 3, 5, 6, 7, 8, 9, 10
REGISTER, EVENT, BATCH, AUTH_RESPONSE, AUTH_SUCCESS = 11, 12, 13, 15, 16

USE: Final = "USE"
"""Marks the answer to a client's USE, which has no number: a client has one under way at most."""

_HEADER: Final = struct.Struct(">BBhBi")


class Asked(NamedTuple):
    """A request as a cluster reads it. `texts` are the statements, `ids` the prepared ones, `number` as above or 0.

    `keyspace` is what a PREPARE names (v5).
    """

    stream: int
    opcode: int
    number: int = 0
    texts: tuple[str, ...] = ()
    ids: tuple[bytes, ...] = ()
    token: bytes = b""
    keyspace: str = ""


class Answered(NamedTuple):
    """An answer as a client reads it. `code` is an ERROR's, else -1; `letter` and `number` as above, if it has them."""

    stream: int
    opcode: int
    code: int = -1
    letter: str = ""
    number: int = 0
    body: bytes = b""


def insert(number: int, keyspace: str = "", column: int = 0) -> str:
    """A write of one number; into the current keyspace where none is named."""
    return f"INSERT INTO {_table(keyspace)} (k, v) VALUES ({column}, {number})"


def select(number: int, keyspace: str = "") -> str:
    """A read, told from others by its number."""
    return f"SELECT k FROM {_table(keyspace)} WHERE v = {number}"


def create(number: int, keyspace: str) -> str:
    """A change of the schema: a write as well."""
    return f"CREATE TABLE {keyspace}.made_by ({number})"


def preparable(keyspace: str = "", column: int = 0, is_write: bool = True) -> str:
    """A statement whose number is its one value."""
    if is_write:
        return f"INSERT INTO {_table(keyspace)} (k, v) VALUES ({column}, ?)"
    return f"SELECT k FROM {_table(keyspace)} WHERE v = ?"


def _table(keyspace: str) -> str:
    return f"{keyspace}.t" if keyspace else "t"


def is_write(text: str) -> bool:
    return text[:6] in ("INSERT", "CREATE")


def is_clients_use(asked: Asked) -> bool:
    """A client's USE. The proxy's own has its keyspace in quotes."""
    return bool(asked.texts) and asked.texts[0].startswith("USE ") and not asked.texts[0].endswith('"')


def keyspace_of(text: str) -> str:
    """The keyspace that a statement names, if it does."""
    words = text.split(" ", 4)
    name = words[3] if text.startswith("SELECT") else words[2]
    return name.partition(".")[0] if "." in name else ""


def prepared_id(salt: bytes, keyspace: str, text: str) -> bytes:
    """The id under which a host whose kind is `salt` knows a statement that was prepared in a keyspace."""
    return md5(salt + keyspace.encode() + b"\0" + text.encode()).digest()


def number_value(number: int) -> bytes:
    return frames.integer(number)


def read_request(frame: bytes) -> Asked:
    """What a cluster makes of a frame (v4 and v5 section 4.1; no flags)."""
    version, _, stream, opcode, _ = _HEADER.unpack_from(frame)
    if opcode in (QUERY, PREPARE):
        end = 13 + int.from_bytes(frame[9:13], "big")
        text = frame[13:end].decode()
        keyspace = frame[end + 6 :].decode() if opcode == PREPARE and version >= 5 else ""
        return Asked(stream, opcode, _number_in(text) if opcode == QUERY else 0, (text,), keyspace=keyspace)
    if opcode == EXECUTE:
        return Asked(stream, opcode, int.from_bytes(frame[-4:], "big"), (), (frame[11 : 11 + _short(frame, 9)],))
    if opcode == BATCH:
        return _read_batch(stream, frame)
    if opcode == AUTH_RESPONSE:
        return Asked(stream, opcode, token=frame[13:])
    return Asked(stream, opcode)


def _read_batch(stream: int, frame: bytes) -> Asked:
    """Children are texts without values, or prepared ids with one."""
    position, texts, ids, number = 12, [], [], 0
    for _ in range(_short(frame, 10)):
        kind = frame[position]
        position += 1
        if kind:
            start, end = position + 2, position + 2 + _short(frame, position)
            ids.append(frame[start:end])
            number = int.from_bytes(frame[end + 6 : end + 10], "big")
            position = end + 10
        else:
            start = position + 4
            end = start + int.from_bytes(frame[position:start], "big")
            texts.append(frame[start:end].decode())
            number = _number_in(texts[-1])
            position = end + 2
    return Asked(stream, BATCH, number, tuple(texts), tuple(ids))


def _short(frame: bytes, position: int) -> int:
    return frame[position] << 8 | frame[position + 1]


def _number_in(text: str) -> int:
    last = text.rpartition(" ")[2].strip("()")
    return int(last) if last.isdigit() else 0


def read_answer(frame: bytes) -> Answered:
    """What a client makes of a frame (v4 section 4.2)."""
    _, flags, stream, opcode, _ = _HEADER.unpack_from(frame)
    code, mark, start = -1, b"", 9
    if flags & 0x08:  # one warning
        start = 13 + _short(frame, 11)
        mark = frame[13:start]
    if opcode == ERROR:
        code = int.from_bytes(frame[start : start + 4], "big")
        mark = frame[start + 6 : start + 6 + _short(frame, start + 4)]
    if mark[:1] in (b"O", b"T") and mark[1:].isdigit():
        return Answered(stream, opcode, code, mark[:1].decode(), int(mark[1:]), frame[start:])
    return Answered(stream, opcode, code, "", 0, frame[start:])


def good_answer(asked: Asked, side: Side) -> bytes:
    """A RESULT that carries the request's number: Void to a write, Rows to a read."""
    mark = [f"{LETTERS[side]}{asked.number}"]
    if asked.texts and asked.texts[0].startswith("SELECT"):
        return frames.rows(asked.stream, {"k": frames.INT}, [[frames.integer(asked.number)]], warnings=mark)
    if asked.texts and asked.texts[0].startswith("CREATE"):
        return frames.schema_change(asked.stream, warnings=mark)
    return frames.void(asked.stream, warnings=mark)


def bad_answer(asked: Asked, side: Side, code: int) -> bytes:
    """An ERROR that carries the request's number."""
    fields = {
        UNAVAILABLE: frames.short(1) + frames.integer(1) + frames.integer(0),
        WRITE_TIMEOUT: frames.short(1) + frames.integer(0) + frames.integer(1) + frames.string("SIMPLE"),
        READ_TIMEOUT: frames.short(1) + frames.integer(0) + frames.integer(1) + b"\0",
    }
    return frames.error(asked.stream, code, f"{LETTERS[side]}{asked.number}", fields.get(code, b""))
