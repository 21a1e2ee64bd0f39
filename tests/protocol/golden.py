"""Bodies written out by hand from the specification, beside what they mean.

Each is (version, hexadecimal, message). Text is given with `text()`, so that the hexadecimal shows the layout.
"""

from __future__ import annotations

from zdm.protocol.errors import (
    AlreadyExists,
    CasWriteUnknown,
    Error,
    FunctionFailure,
    ReadFailure,
    ReadTimeout,
    Unavailable,
    Unprepared,
    WriteFailure,
    WriteTimeout,
)
from zdm.protocol.metadata import NO_RESULT, BindMetadata, ColumnSpec, RowsMetadata
from zdm.protocol.primitives import UNSET
from zdm.protocol.query_parameters import QueryParameters
from zdm.protocol.requests import (
    COUNTER,
    LOGGED,
    AuthResponse,
    Batch,
    BatchChild,
    Execute,
    Options,
    Prepare,
    Query,
    Register,
    Request,
    Startup,
)
from zdm.protocol.responses import (
    AuthChallenge,
    Authenticate,
    AuthSuccess,
    Prepared,
    Ready,
    Response,
    Rows,
    SchemaChange,
    SchemaChangeEvent,
    SetKeyspace,
    StatusChangeEvent,
    Supported,
    TopologyChangeEvent,
    Void,
)
from zdm.protocol.types import DATE, DURATION, INT, VARCHAR, custom, list_of, map_of, set_of, tuple_of, udt

# fmt: off


def text(letters: str) -> str:
    """The letters' bytes in hexadecimal, without a length."""
    return letters.encode().hex()


QUERY_TEXT = "00000008" + text("SELECT 1")
KS_T = "0002" + text("ks") + "0001" + text("t")

REQUESTS: dict[str, tuple[int, str, Request]] = {
    "startup": (
        4,
        "0001 000b" + text("CQL_VERSION") + "0005" + text("3.0.0"),
        Startup({"CQL_VERSION": "3.0.0"}),
    ),
    "startup without options": (3, "0000", Startup({})),
    "auth response": (4, "00000004 00610062", AuthResponse(b"\0a\0b")),
    "auth response null": (4, "ffffffff", AuthResponse(None)),
    "options": (4, "", Options()),
    "register": (
        4,
        "0002 000d" + text("STATUS_CHANGE") + "000d" + text("SCHEMA_CHANGE"),
        Register(["STATUS_CHANGE", "SCHEMA_CHANGE"]),
    ),
    "query": (4, QUERY_TEXT + "0001 00", Query("SELECT 1", QueryParameters(1))),
    "query in v3": (3, QUERY_TEXT + "000a 00", Query("SELECT 1", QueryParameters(10))),
    "query in v5": (5, QUERY_TEXT + "0001 00000000", Query("SELECT 1", QueryParameters(1))),
    "query with everything": (
        4,
        QUERY_TEXT + "0004 3f 0003 00000001 01 ffffffff fffffffe 00001388 00000002 abcd 0008 00000000000003e8",
        Query("SELECT 1", QueryParameters(4, [b"\1", None, UNSET], None, True, 5000, b"\xab\xcd", 8, 1000)),
    ),
    "query with named values in v3": (
        3,
        QUERY_TEXT + "0001 41 0002 0001" + text("a") + "00000001 01 0001" + text("b") + "ffffffff",
        Query("SELECT 1", QueryParameters(1, [b"\1", None], ["a", "b"])),
    ),
    "query with no values at all": (4, QUERY_TEXT + "0001 01 0000", Query("SELECT 1", QueryParameters(1, []))),
    "query with a timestamp below 0": (
        4,
        QUERY_TEXT + "0001 20 ffffffffffffffff",
        Query("SELECT 1", QueryParameters(1, timestamp=-1)),
    ),
    "query with what v5 adds": (
        5,
        QUERY_TEXT + "0001 00000180 0002" + text("ks") + "00000007",
        Query("SELECT 1", QueryParameters(1, keyspace="ks", now_in_seconds=7)),
    ),
    "query with all that v5 has": (
        5,
        QUERY_TEXT + "0006 000001ff 0001 0001 " + text("k") + "fffffffe 00000064 00000002 beef 0009"
        + "0000000000000001 0002" + text("ks") + "ffffffff",
        Query("SELECT 1", QueryParameters(6, [UNSET], ["k"], True, 100, b"\xbe\xef", 9, 1, "ks", -1)),
    ),
    "prepare": (4, QUERY_TEXT, Prepare("SELECT 1")),
    "prepare in v5": (5, QUERY_TEXT + "00000000", Prepare("SELECT 1")),
    "prepare with a keyspace": (5, QUERY_TEXT + "00000001 0002" + text("ks"), Prepare("SELECT 1", "ks")),
    "execute": (4, "0002 beef 0001 01 0001 00000000", Execute(b"\xbe\xef", QueryParameters(1, [b""]))),
    "execute in v5": (
        5,
        "0002 beef 0001 aa 0001 00000000",
        Execute(b"\xbe\xef", QueryParameters(1), b"\xaa"),
    ),
    "batch": (
        4,
        "00 0002 00" + QUERY_TEXT + "0000 01 0002 beef 0002 00000001 01 fffffffe 0006 30 0009 0000000000000001",
        Batch(
            LOGGED, [BatchChild("SELECT 1", []), BatchChild(b"\xbe\xef", [b"\1", UNSET])], 6, 9, timestamp=1
        ),
    ),
    "batch of nothing in v3": (3, "02 0000 0001 00", Batch(COUNTER, [], 1)),
    "execute with values in v5": (
        5,
        "0002 beef 0000 000a 00000025 0001 00000000 00001388 0000000000000001",
        Execute(b"\xbe\xef", QueryParameters(10, [b""], page_size=5000, timestamp=1), b""),
    ),
    "batch in v5": (
        5,
        "00 0000 0001 00000180 0002" + text("ks") + "00000007",
        Batch(LOGGED, [], 1, keyspace="ks", now_in_seconds=7),
    ),
}

RESPONSES: dict[str, tuple[int, str, Response]] = {
    "ready": (4, "", Ready()),
    "authenticate": (4, "0003" + text("a.B"), Authenticate("a.B")),
    "supported": (
        4,
        "0002 000b" + text("COMPRESSION") + "0002 0006" + text("snappy") + "0003" + text("lz4") + "0001" + text("X")
        + "0000",
        Supported({"COMPRESSION": ["snappy", "lz4"], "X": []}),
    ),
    "auth challenge": (4, "00000001 07", AuthChallenge(b"\7")),
    "auth success": (4, "ffffffff", AuthSuccess(None)),
    "void": (4, "00000001", Void()),
    "set keyspace": (4, "00000003 0002" + text("ks"), SetKeyspace("ks")),
    "rows": (
        4,
        "00000002 00000001 00000002" + KS_T + "0001" + text("k") + "0009 0001" + text("v") + "000d"
        "00000002 00000004 00000001 ffffffff 00000004 00000002 00000000",
        Rows(
            RowsMetadata([ColumnSpec("ks", "t", "k", INT), ColumnSpec("ks", "t", "v", VARCHAR)], 2),
            [[b"\0\0\0\1", None], [b"\0\0\0\2", b""]],
        ),
    ),
    "rows of a page": (
        4,
        "00000002 00000003 00000001 00000002 abcd" + KS_T + "0001" + text("k") + "0009 00000000",
        Rows(RowsMetadata([ColumnSpec("ks", "t", "k", INT)], 1, b"\xab\xcd"), []),
    ),
    "rows without metadata": (
        4,
        "00000002 00000005 00000001 00000001 00000001 78",
        Rows(RowsMetadata(None, 1), [[b"x"]]),
    ),
    "rows of two tables": (
        4,
        "00000002 00000000 00000002" + KS_T + "0001" + text("k") + "0009 0002" + text("ks") + "0001" + text("u")
        + "0001" + text("k") + "0009 00000000",
        Rows(
            RowsMetadata([ColumnSpec("ks", "t", "k", INT), ColumnSpec("ks", "u", "k", INT)], 2, global_spec=False), []
        ),
    ),
    "rows of each kind of type": (
        4,
        "00000002 00000001 00000006" + KS_T + "0001" + text("a") + "0000 0001" + text("C") + "0001" + text("b")
        + "0020 0022 0009 0001" + text("c") + "0021 000d 0009 0001" + text("d") + "0031 0002 0009 000d 0001" + text("e")
        + "0030 0002" + text("ks") + "0001" + text("U") + "0001 0001" + text("f") + "0009 0001" + text("g")
        + "0000 002c" + text("org.apache.cassandra.db.marshal.DurationType") + "00000000",
        Rows(
            RowsMetadata(
                [
                    ColumnSpec("ks", "t", "a", custom("C")),
                    ColumnSpec("ks", "t", "b", list_of(set_of(INT))),
                    ColumnSpec("ks", "t", "c", map_of(VARCHAR, INT)),
                    ColumnSpec("ks", "t", "d", tuple_of(INT, VARCHAR)),
                    ColumnSpec("ks", "t", "e", udt("ks", "U", {"f": INT})),
                    ColumnSpec("ks", "t", "g", DURATION),
                ],
                6,
            ),
            [],
        ),
    ),
    "rows of a date in v4": (
        4,
        "00000002 00000001 00000001" + KS_T + "0001" + text("d") + "0011 00000000",
        Rows(RowsMetadata([ColumnSpec("ks", "t", "d", DATE)], 1), []),
    ),
    "rows of a date in v3": (
        3,
        "00000002 00000001 00000001" + KS_T + "0001" + text("d") + "0000 002e"
        + text("org.apache.cassandra.db.marshal.SimpleDateType") + "00000000",
        Rows(RowsMetadata([ColumnSpec("ks", "t", "d", DATE)], 1), []),
    ),
    "rows whose columns changed": (
        5,
        "00000002 00000009 00000001 0002 beef" + KS_T + "0001" + text("k") + "0009 00000000",
        Rows(RowsMetadata([ColumnSpec("ks", "t", "k", INT)], 1, new_metadata_id=b"\xbe\xef"), []),
    ),
    "page of rows whose columns changed": (
        5,
        "00000002 0000000b 00000001 00000003 aabbcc 0002 beef" + KS_T + "0001" + text("k") + "0009 00000001 00000000",
        Rows(RowsMetadata([ColumnSpec("ks", "t", "k", INT)], 1, b"\xaa\xbb\xcc", True, b"\xbe\xef"), [[b""]]),
    ),
    "prepared write": (
        4,
        "00000004 0002 beef 00000001 00000001 00000001 0000" + KS_T + "0001" + text("k") + "0009 00000004 00000000",
        Prepared(b"\xbe\xef", BindMetadata([ColumnSpec("ks", "t", "k", INT)], [0]), NO_RESULT),
    ),
    "prepared read in v3": (
        3,
        "00000004 0002 beef 00000000 00000000 00000001 00000001" + KS_T + "0001" + text("k") + "0009",
        Prepared(
            b"\xbe\xef", BindMetadata([], [], False), RowsMetadata([ColumnSpec("ks", "t", "k", INT)], 1)
        ),
    ),
    "prepared in v5": (
        5,
        "00000004 0002 beef 0001 aa 00000000 00000000 00000000 00000004 00000000",
        Prepared(b"\xbe\xef", BindMetadata([], [], False), NO_RESULT, b"\xaa"),
    ),
    "keyspace created": (
        4,
        "00000005 0007" + text("CREATED") + "0008" + text("KEYSPACE") + "0002" + text("ks"),
        SchemaChange("CREATED", "KEYSPACE", "ks"),
    ),
    "table dropped": (
        3,
        "00000005 0007" + text("DROPPED") + "0005" + text("TABLE") + KS_T,
        SchemaChange("DROPPED", "TABLE", "ks", "t"),
    ),
    "event of a function": (
        4,
        "000d" + text("SCHEMA_CHANGE") + "0007" + text("CREATED") + "0008" + text("FUNCTION") + KS_T
        + "0001 0003" + text("int"),
        SchemaChangeEvent("CREATED", "FUNCTION", "ks", "t", ["int"]),
    ),
    "event of a type": (
        4,
        "000d" + text("SCHEMA_CHANGE") + "0007" + text("UPDATED") + "0004" + text("TYPE") + KS_T,
        SchemaChangeEvent("UPDATED", "TYPE", "ks", "t"),
    ),
    "status": (
        4,
        "000d" + text("STATUS_CHANGE") + "0004" + text("DOWN") + "04 7f000001 00002352",
        StatusChangeEvent("DOWN", "127.0.0.1", 9042),
    ),
    "topology": (
        4,
        "000f" + text("TOPOLOGY_CHANGE") + "0008" + text("NEW_NODE")
        + "10 00000000000000000000000000000001 00002352",
        TopologyChangeEvent("NEW_NODE", "::1", 9042),
    ),
}

ERRORS: dict[str, tuple[int, str, Error]] = {
    "server error": (4, "00000000 0003" + text("bad"), Error(0, "bad")),
    "unknown code": (4, "0000dead 0000", Error(0xDEAD, "")),
    "message of several bytes a letter": (4, "0000000a 0004 c3a9 c39f", Error(10, "éß")),
    "unavailable": (4, "00001000 0000 0004 00000002 00000001", Unavailable("", 4, 2, 1)),
    "write timeout": (
        4,
        "00001100 0000 0001 00000000 00000001 0006" + text("SIMPLE"),
        WriteTimeout("", 1, 0, 1, "SIMPLE"),
    ),
    "CAS write timeout in v4": (
        4,
        "00001100 0000 0008 00000001 00000002 0003" + text("CAS"),
        WriteTimeout("", 8, 1, 2, "CAS"),
    ),
    "CAS write timeout in v5": (
        5,
        "00001100 0000 0008 00000001 00000002 0003" + text("CAS") + "0003",
        WriteTimeout("", 8, 1, 2, "CAS", 3),
    ),
    "read timeout": (4, "00001200 0000 0001 00000000 00000001 01", ReadTimeout("", 1, 0, 1, True)),
    "read failure": (
        4,
        "00001300 0000 0001 00000000 00000001 00000002 00",
        ReadFailure("", 1, 0, 1, 2, False),
    ),
    "read failure in v5": (
        5,
        "00001300 0000 0001 00000000 00000001 00000001 04 7f000001 0001 01",
        ReadFailure("", 1, 0, 1, {"127.0.0.1": 1}, True),
    ),
    "read failure of several replicas in v5": (
        5,
        "00001300 0000 0006 00000001 00000002 00000002 04 7f000002 0000 10 20010db8000000000000000000000001 0002 00",
        ReadFailure("", 6, 1, 2, {"127.0.0.2": 0, "2001:db8::1": 2}, False),
    ),
    "CDC write failure": (5, "00001600 0003" + text("cdc"), Error(0x1600, "cdc")),
    "read failure in v3, which has none": (3, "00001300 0000", Error(0x1300, "")),
    "function failure": (
        4,
        "00001400 0000 0002" + text("ks") + "0001" + text("f") + "0001 0003" + text("int"),
        FunctionFailure("", "ks", "f", ["int"]),
    ),
    "write failure": (
        4,
        "00001500 0000 0001 00000000 00000001 00000002 0005" + text("BATCH"),
        WriteFailure("", 1, 0, 1, 2, "BATCH"),
    ),
    "write failure in v5": (
        5,
        "00001500 0000 0001 00000000 00000001 00000001 04 7f000001 0000 0005" + text("BATCH"),
        WriteFailure("", 1, 0, 1, {"127.0.0.1": 0}, "BATCH"),
    ),
    "CAS write unknown": (5, "00001700 0000 0008 00000001 00000002", CasWriteUnknown("", 8, 1, 2)),
    "CAS write unknown in v4, which has none": (4, "00001700 0000", Error(0x1700, "")),
    "table exists": (4, "00002400 0000" + KS_T, AlreadyExists("", "ks", "t")),
    "keyspace exists": (4, "00002400 0000 0002" + text("ks") + "0000", AlreadyExists("", "ks", "")),
    "unprepared": (4, "00002500 0000 0002 beef", Unprepared("", b"\xbe\xef")),
}
