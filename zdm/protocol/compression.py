"""Bodies and payloads compressed and opened: the one place of the inner rings that needs more than Python.

    v3, v4  the frame's body, flag COMPRESSED    lz4      <length [int]><LZ4 block>
                                                 snappy   Snappy's own format, which begins with the length
    v5      the segment's payload                lz4      LZ4 block; the length is in the segment's header

`length` is that of the opened bytes. It is the peer's word, so it is looked at before anything is reserved: against a
limit, and against what so many bytes can open to at most in the format.

Two libraries: lz4, because it says how much came out, which is how a wrong length is noticed; and cramjam, which is
what python-snappy consists of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import lz4.block
from cramjam import DecompressionError, snappy

from zdm.protocol.exceptions import LocalProtocolError, RemoteProtocolError
from zdm.protocol.frames import COMPRESSED, DEFAULT_MAX_BYTES, HEADER_LENGTH, with_body
from zdm.protocol.versions import V5

LZ4: Final = "lz4"
SNAPPY: Final = "snappy"
ALGORITHMS: Final = (LZ4, SNAPPY)
COMPRESSION_OPTION: Final = "COMPRESSION"
"""The option's name in STARTUP and SUPPORTED."""

_LENGTH: Final = 4
_LZ4_MOST: Final = 255  # opened bytes for each byte of a block: a byte of a match's length says 255 at most
_SNAPPY_MOST: Final = 32  # opened bytes for each byte: a copy of up to 64 takes three, so this is generous


def agreed_algorithm(options: Mapping[str, str], version: int, offered: Collection[str]) -> str:
    """What the options of a STARTUP ask for: one of `offered` (lower case), or nothing for no compression.

    Names count in any case, as Cassandra reads them. Raises RemoteProtocolError, in Cassandra's words, for an algorithm
    that is not offered, and for Snappy in v5, whose segments know LZ4 only.
    """
    named = options.get(COMPRESSION_OPTION, "")
    algorithm = named.lower()
    if not algorithm:
        return ""
    if algorithm not in offered:
        raise RemoteProtocolError(f"Unknown compression algorithm: {named[:80]}")
    if version >= V5 and algorithm != LZ4:
        raise RemoteProtocolError(f"{algorithm.capitalize()} compression is not supported in protocol V{version}")
    return algorithm


def compress_body(algorithm: str, body: bytes) -> bytes:
    """A frame's body as v3 and v4 send it; the frame's COMPRESSED flag must be set with it."""
    if algorithm == LZ4:
        return len(body).to_bytes(_LENGTH, "big") + compress_block(body)
    if algorithm == SNAPPY:
        return bytes(snappy.compress_raw(body))
    raise LocalProtocolError(f"{algorithm!r} is no compression algorithm")


def open_body(algorithm: str, body: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The body of a v3 or v4 frame whose COMPRESSED flag is set.

    Raises RemoteProtocolError where it would be longer than `max_bytes`, is damaged, or no algorithm was agreed on.
    """
    if algorithm == LZ4:
        return _open_lz4(body, max_bytes)
    if algorithm == SNAPPY:
        return _open_snappy(body, max_bytes)
    raise RemoteProtocolError("the frame is compressed, and no compression was agreed on")


def compress_frame(algorithm: str, frame: bytes) -> bytes:
    """The same v3 or v4 frame with its body compressed and the flag set."""
    flagged = b"".join((frame[:1], bytes((frame[1] | COMPRESSED,)), frame[2:HEADER_LENGTH]))
    return with_body(flagged, compress_body(algorithm, frame[HEADER_LENGTH:]))


def open_frame(algorithm: str, frame: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The same v3 or v4 frame with its body open and the flag cleared; one that is not compressed as it is.

    Raises RemoteProtocolError as `open_body` does.
    """
    if not frame[1] & COMPRESSED:
        return frame
    cleared = b"".join((frame[:1], bytes((frame[1] & ~COMPRESSED,)), frame[2:HEADER_LENGTH]))
    return with_body(cleared, open_body(algorithm, frame[HEADER_LENGTH:], max_bytes))


def compress_block(payload: bytes) -> bytes:
    """An LZ4 block without its length. It may be longer than what it was made of."""
    block: bytes = lz4.block.compress(payload, store_size=False)
    return block


def open_block(block: bytes, length: int) -> bytes:
    """The `length` bytes in an LZ4 block. Raises RemoteProtocolError where they are more, fewer, or damaged.

    Who calls has looked whether so many bytes are welcome.
    """
    if length > len(block) * _LZ4_MOST:
        raise RemoteProtocolError(f"{len(block)} bytes of LZ4 cannot open to {length}")
    try:
        opened: bytes = lz4.block.decompress(block, uncompressed_size=length)
    except lz4.block.LZ4BlockError as fault:
        raise RemoteProtocolError(f"LZ4 block is damaged: {fault}") from fault
    if len(opened) != length:
        raise RemoteProtocolError(f"LZ4 block opens to {len(opened)} bytes, {length} were announced")
    return opened


def _open_lz4(body: bytes, max_bytes: int) -> bytes:
    if len(body) < _LENGTH:
        raise RemoteProtocolError(f"LZ4 body of {len(body)} bytes has no length")
    length = int.from_bytes(body[:_LENGTH], "big")
    _check(length, max_bytes)
    # A length of 0 says all; drivers differ in whether an empty block follows.
    return open_block(body[_LENGTH:], length) if length else b""


def _open_snappy(body: bytes, max_bytes: int) -> bytes:
    try:
        length: int = snappy.decompress_raw_len(body)
        _check(length, max_bytes)
        if length > len(body) * _SNAPPY_MOST:
            raise RemoteProtocolError(f"{len(body)} bytes of Snappy cannot open to {length}")
        return bytes(snappy.decompress_raw(body))
    except DecompressionError as fault:
        raise RemoteProtocolError(f"Snappy body is damaged: {fault}") from fault


def _check(length: int, max_bytes: int) -> None:
    if length > max_bytes:
        raise RemoteProtocolError(f"frame body opens to {length} bytes, over the limit of {max_bytes} bytes")
