"""What is in an answer, as far as these tests ask: errors, rows of numbers and texts, prepared ids.

Read by hand and not by `zdm.protocol`, which is among what is tested.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

ERROR, READY, AUTHENTICATE, SUPPORTED, RESULT, AUTH_SUCCESS = 0x00, 0x02, 0x03, 0x06, 0x08, 0x10
VOID, ROWS, SET_KEYSPACE, PREPARED, SCHEMA_CHANGE = 1, 2, 3, 4, 5

PROTOCOL_ERROR, BAD_CREDENTIALS, OVERLOADED = 0x000A, 0x0100, 0x1001
WRITE_TIMEOUT, READ_TIMEOUT, SYNTAX_ERROR, INVALID, UNPREPARED = 0x1100, 0x1200, 0x2000, 0x2200, 0x2500

_ONE_TABLE = 0x01
_HAS_MORE_PAGES = 0x02
_WHOLE_NUMBERS = {0x02, 0x05, 0x09}  # bigint, counter, int
_TEXTS = {0x01, 0x0D}
_ADDRESS = 0x10


class Answer(NamedTuple):
    """One frame from the proxy or a cluster."""

    version: int
    flags: int
    stream: int
    opcode: int
    body: bytes

    @property
    def error(self) -> tuple[int, str]:
        """Code and message."""
        assert self.opcode == ERROR, f"no ERROR but {self}"
        code, length = struct.unpack_from(">iH", self.body)
        return code, self.body[6 : 6 + length].decode()

    @property
    def kind(self) -> int:
        """What sort of RESULT it is."""
        assert self.opcode == RESULT, self.error if self.opcode == ERROR else f"no RESULT but {self}"
        return int.from_bytes(self.body[:4], "big")

    @property
    def is_void(self) -> bool:
        return self.kind == VOID

    @property
    def prepared_id(self) -> bytes:
        assert self.kind == PREPARED
        return self.body[6 : 6 + int.from_bytes(self.body[4:6], "big")]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Whole numbers, texts and addresses as such, other types as bytes."""
        assert self.kind == ROWS
        flags, count = struct.unpack_from(">ii", self.body, 4)
        cells = _Cells(self.body, 12)
        if flags & _HAS_MORE_PAGES:
            cells.value()
        is_one_table = bool(flags & _ONE_TABLE)
        if is_one_table:
            cells.table()
        types = [cells.column_type(is_one_table) for _ in range(count)]
        return [tuple(_shown(code, cells.value()) for code in types) for _ in range(cells.number())]


class _Cells:
    def __init__(self, body: bytes, position: int) -> None:
        self.body, self.position = body, position

    def take(self, length: int) -> bytes:
        self.position += length
        assert self.position <= len(self.body), "the answer is shorter than it says"
        return self.body[self.position - length : self.position]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big", signed=True)

    def value(self) -> bytes | None:
        length = self.number()
        return None if length < 0 else self.take(length)

    def string(self) -> str:
        return self.take(int.from_bytes(self.take(2), "big")).decode()

    def table(self) -> None:
        self.string()
        self.string()

    def column_type(self, is_one_table: bool) -> int:
        if not is_one_table:
            self.table()
        self.string()
        code = int.from_bytes(self.take(2), "big")
        if code in (0x20, 0x22):
            self.take(2)
        elif code == 0x21:
            self.take(4)
        return code


def _shown(code: int, cell: bytes | None) -> Any:
    if cell is None:
        return None
    if code in _WHOLE_NUMBERS:
        return int.from_bytes(cell, "big", signed=True)
    if code == _ADDRESS:
        return ".".join(map(str, cell))
    return cell.decode() if code in _TEXTS else cell
