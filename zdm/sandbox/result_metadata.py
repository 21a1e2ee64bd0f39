"""v5's result metadata ids: how a driver that has left the columns out hears that they are others now.

PREPARED tells the id of the columns, EXECUTE says it back. Where it is still right the columns may be left out as
before; where it is not they come with their new id, whatever the driver wanted (v5 sections 4.1.6 and 4.2.5.2).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from zdm.protocol.metadata import RowsMetadata
from zdm.protocol.requests import Execute
from zdm.protocol.responses import Rows


def metadata_id(metadata: RowsMetadata) -> bytes:
    """The MD5 of the columns, of nothing where a statement returns none: Cassandra's for those is the same."""
    digest = hashlib.md5()
    for column in metadata.columns or ():
        for part in (column.keyspace, column.table, column.name, str(column.type)):
            digest.update(part.encode() + b"\x00")
    return digest.digest()


def as_asked(rows: Rows, request: Execute) -> Rows:
    """The rows with the columns that the request needs; before v5 it has no id and gets what it wants."""
    if request.result_metadata_id is not None:
        current = metadata_id(rows.metadata)
        if current != request.result_metadata_id:
            return Rows(replace(rows.metadata, new_metadata_id=current), rows.rows)
    if request.parameters.skip_metadata:
        return Rows(replace(rows.metadata, columns=None), rows.rows)
    return rows
