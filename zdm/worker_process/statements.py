"""Prepared statements as JSON, on their way from one worker to the others; ids are hexadecimal digits in it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from zdm.core.plans import Route
from zdm.core.prepared import PreparedStatement
from zdm.cql.functions import Variable


def dumped(statements: Iterable[PreparedStatement]) -> bytes:
    """A list of them."""
    return json.dumps(
        [
            [
                statement.origin_id.hex(),
                statement.target_id.hex(),
                statement.text,
                statement.keyspace,
                statement.route.name,
                statement.write_type,
                statement.columns_of_target,
                statement.variables,
                statement.is_stamped,
            ]
            for statement in statements
        ]
    ).encode()


def loaded(data: bytes) -> list[PreparedStatement]:
    """What `dumped` was given, or several such lists that `joined` made one of.

    A program from before there were variables of the proxy's own says nothing of them.
    """
    return [
        PreparedStatement(
            bytes.fromhex(origin),
            bytes.fromhex(target),
            text,
            keyspace,
            Route[route],
            write_type,
            columns,
            tuple(Variable(name, function) for name, function in (more[0] if more else ())),
            bool(more[1]) if more else False,
        )
        for origin, target, text, keyspace, route, write_type, columns, *more in json.loads(data)
    ]


def joined(lists: Iterable[bytes]) -> bytes:
    """Several lists as one; nobody in between need know what a statement is."""
    return json.dumps([statement for one in lists for statement in json.loads(one)]).encode()


def dumped_ids(prepared_ids: Iterable[bytes]) -> bytes:
    """A list of ids."""
    return json.dumps([prepared_id.hex() for prepared_id in prepared_ids]).encode()


def loaded_ids(data: bytes) -> list[bytes]:
    """What `dumped_ids` was given."""
    return [bytes.fromhex(digits) for digits in json.loads(data)]
