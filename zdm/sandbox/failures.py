"""The errors that a node answers, as exceptions on their way to the connection that turns them into ERROR frames.

Codes and words are Cassandra 4.1's, because drivers decide by the code and people search for the words.
"""

from __future__ import annotations

from zdm.protocol.errors import AlreadyExists, Error, ErrorCode


class Failure(Exception):
    """A request that ends with this ERROR message."""

    def __init__(self, error: Error) -> None:
        super().__init__(error.message)
        self.error = error


def syntax_error(message: str) -> Failure:
    return Failure(Error(ErrorCode.SYNTAX_ERROR, message))


def invalid(message: str) -> Failure:
    return Failure(Error(ErrorCode.INVALID, message))


def unauthorized(message: str) -> Failure:
    return Failure(Error(ErrorCode.UNAUTHORIZED, message))


def configuration_error(message: str) -> Failure:
    return Failure(Error(ErrorCode.CONFIG_ERROR, message))


def protocol_error(message: str) -> Failure:
    return Failure(Error(ErrorCode.PROTOCOL_ERROR, message))


def already_exists(keyspace: str, table: str = "") -> Failure:
    """What CREATE answers when the keyspace, or the table in it, is there already."""
    if table:
        message = f'Cannot add already existing table "{table}" to keyspace "{keyspace}"'
    else:
        message = f'Cannot add existing keyspace "{keyspace}"'
    return Failure(AlreadyExists(message, keyspace, table))
