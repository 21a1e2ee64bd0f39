"""Type names of CQL text into types, and types into the text that errors and system_schema show."""

from __future__ import annotations

from typing import Final

from zdm.protocol import types
from zdm.protocol.types import CqlType
from zdm.sandbox.failures import invalid
from zdm.sandbox.schema import Keyspace, Schema
from zdm.sandbox.statements import TypeName

SIMPLE: Final[dict[str, CqlType]] = {
    "ascii": types.ASCII,
    "bigint": types.BIGINT,
    "blob": types.BLOB,
    "boolean": types.BOOLEAN,
    "counter": types.COUNTER,
    "date": types.DATE,
    "decimal": types.DECIMAL,
    "double": types.DOUBLE,
    "duration": types.DURATION,
    "float": types.FLOAT,
    "inet": types.INET,
    "int": types.INT,
    "smallint": types.SMALLINT,
    "text": types.VARCHAR,
    "time": types.TIME,
    "timestamp": types.TIMESTAMP,
    "timeuuid": types.TIMEUUID,
    "tinyint": types.TINYINT,
    "uuid": types.UUID,
    "varchar": types.VARCHAR,
    "varint": types.VARINT,
}
