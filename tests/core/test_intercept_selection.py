"""Select lists on the intercepted tables, by QUERY and prepared, and answers that are kept (spec 4.4, 12.5)."""

from __future__ import annotations

import hashlib
import pickle
import uuid

import pytest

from tests.core.shown import (
    FLEET,
    columns,
    names,
    proxies,
    records,
    refusal,
    result,
    system_tables,
    table_of,
    values,
)
from tests.system_rows import (
    host_id,
    local_row,
)
from zdm.core.intercept import SystemTables, prepared_id
from zdm.protocol import opcodes
from zdm.protocol.errors import ErrorCode
from zdm.protocol.responses import Prepared, decode_response
from zdm.protocol.types import (
    INET,
    INT,
)


class TestSelectLists:
    @pytest.mark.parametrize(
        ("text", "expected_names", "expected_values"),
        [
            ("SELECT rack FROM system.local", ["rack"], [["rack0"]]),
            ("SELECT rack as r FROM system.local", ["r"], [["rack0"]]),
            ("SELECT count(*) FROM system.local", ["count"], [[1]]),
            ("SELECT COUNT(*) FROM system.local", ["COUNT"], [[1]]),
            ("SELECT rack FROM system.peers", ["rack"], [["rack0"], ["rack0"]]),
            ("SELECT rack as r FROM system.peers", ["r"], [["rack0"], ["rack0"]]),
            ("SELECT peer, count(*) FROM system.peers", ["peer", "count"], [["127.0.0.2", 2]]),
            ("SELECT rack as r, count(*) as c, rack FROM system.peers", ["r", "c", "rack"], [["rack0", 2, "rack0"]]),
            (
                "SELECT peer as p, count(*) as c, peer FROM system.peers",
                ["p", "c", "peer"],
                [["127.0.0.2", 2, "127.0.0.2"]],
            ),
            ("SELECT count(*) FROM system.peers", ["count"], [[2]]),
            ("SELECT rack FROM system.peers WHERE peer = '127.0.0.3'", ["rack"], [["rack0"], ["rack0"]]),
            ("SELECT KEY, Rack FROM system.local WHERE key='local'", ["key", "rack"], [["local", "rack0"]]),
        ],
    )
    def test_three_proxies(
        self, tables: SystemTables, text: str, expected_names: list[str], expected_values: list[list[object]]
    ) -> None:
        """Order and aliases are kept; a count makes one row of all; WHERE is not looked at."""
        rows = result(tables, text)
        assert (names(rows), values(rows)) == (expected_names, expected_values)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("SELECT peer, count(*), count(*) as c, peer as p FROM system.peers", [[None, 0, 0, None]]),
            ("SELECT count(*) FROM system.peers", [[0]]),
            ("SELECT count(*), rack FROM system.local", [[1, "rack0"]]),
        ],
    )
    def test_a_single_proxy(self, alone: SystemTables, text: str, expected: list[list[object]]) -> None:
        """A count of nothing is a row all the same."""
        assert values(result(alone, text)) == expected

    def test_a_count_is_an_int(self, tables: SystemTables) -> None:
        """Cassandra's is a bigint; the reference's is not, and drivers decode by the type sent."""
        assert columns(result(tables, "SELECT count(*) AS c FROM system.local")) == [("c", INT)]

    @pytest.mark.parametrize(
        ("text", "unknown"),
        [
            ("SELECT dsa, key, asd FROM system.local", "dsa"),
            ("SELECT dsa FROM system.local", "dsa"),
            ("SELECT key, asd FROM system.local", "asd"),
            ("SELECT asd, peer, dsa FROM system.peers", "asd"),
            ("SELECT asd FROM system.peers", "asd"),
            ("SELECT peer, dsa FROM system.peers", "dsa"),
            ("SELECT dse_version FROM system.local", "dse_version"),
            ("SELECT thrift_version FROM system.local", "thrift_version"),
            ("SELECT rpc_port FROM system.local", "rpc_port"),
            ("SELECT count(*), nope FROM system.peers", "nope"),
        ],
    )
    def test_the_first_unknown_column_is_named(self, tables: SystemTables, text: str, unknown: str) -> None:
        """Known to the world but not to this cluster is unknown as well."""
        expected = (ErrorCode.INVALID, f"Undefined column name {unknown}")
        assert refusal(tables.query(text, table_of(text), "", 4)) == expected
        assert refusal(tables.prepare(text, "", table_of(text), "", 4)) == expected

    @pytest.mark.parametrize(
        "selectors", ["now()", "JSON *", "DISTINCT key", "cast(key as text)", "'x'", "tokens[0]", "uuid(), key"]
    )
    def test_other_selectors_are_forwarded(self, tables: SystemTables, selectors: str) -> None:
        """A cluster can answer them; silence, or a wrong answer, would be worse than its real one."""
        assert tables.query(f"SELECT {selectors} FROM system.local", "local", "", 4) is None
        assert tables.prepare(f"SELECT {selectors} FROM system.local", "", "local", "", 4) is None

    def test_peers_v2_does_not_exist(self, tables: SystemTables) -> None:
        """Drivers fall back to system.peers on exactly this."""
        expected = (ErrorCode.INVALID, "unconfigured table peers_v2")
        assert refusal(tables.query("SELECT * FROM system.peers_v2", "peers_v2", "", 4)) == expected
        assert refusal(tables.prepare("SELECT * FROM system.peers_v2", "", "peers_v2", "", 4)) == expected
        assert refusal(tables.query("SELECT now() FROM system.peers_v2", "peers_v2", "", 4)) == expected


class TestPrepared:
    TEXT = "SELECT peer AS p, count(*) FROM system.peers WHERE peer = ?"

    @pytest.mark.parametrize("version", [3, 4])
    def test_the_answer_tells_result_columns_and_no_variables(self, tables: SystemTables, version: int) -> None:
        """Markers in WHERE are not looked at, as the clause is not."""
        answer = tables.prepare(self.TEXT, "ks", "peers", "", version)
        assert answer is not None and answer.opcode == opcodes.RESULT
        prepared = decode_response(answer.opcode, version, answer.body)
        assert isinstance(prepared, Prepared)
        assert prepared.prepared_id == hashlib.md5(self.TEXT.encode() + b"ks").digest() == prepared_id(self.TEXT, "ks")
        assert prepared.bind.columns == []
        assert prepared.result.columns is not None
        assert [(spec.name, spec.type) for spec in prepared.result.columns] == [("p", INET), ("count", INT)]

    def test_the_keyspace_is_part_of_the_id(self, tables: SystemTables) -> None:
        assert prepared_id(self.TEXT, "a") != prepared_id(self.TEXT, "b")
        one, two = (tables.prepare(self.TEXT, keyspace, "peers", "", 4) for keyspace in "ab")
        assert one != two

    def test_preparing_does_not_change_what_a_query_is_answered(self, tables: SystemTables) -> None:
        """Both kinds of answer are kept by text."""
        tables.prepare("SELECT rack FROM system.local", "", "local", "", 4)
        assert values(result(tables, "SELECT rack FROM system.local")) == [["rack0"]]


class TestKeptAnswers:
    def test_answers_are_kept_by_version_and_table(self, tables: SystemTables) -> None:
        """The same text may mean another table after a USE; v3 and v4 differ in PREPARED bodies."""
        assert tables.query("SELECT rack FROM t", "local", "", 4) != tables.query("SELECT rack FROM t", "peers", "", 4)
        text = "SELECT rack FROM system.local"
        assert tables.prepare(text, "", "local", "", 3) != tables.prepare(text, "", "local", "", 4)

    def test_many_different_texts_take_bounded_memory(self, tables: SystemTables) -> None:
        """Any client may send any number of them."""
        for number in range(2000):
            tables.query(f"SELECT rack AS r{number} FROM system.local", "local", "", 4)
        assert len(tables._answers) <= 256
        tables.query("SELECT rack FROM system.local --" + "x" * 5000, "local", "", 4)
        assert max(len(key[0]) for key in tables._answers) <= 1024

    def test_it_travels_to_workers(self, tables: SystemTables) -> None:
        """Workers get it from the supervisor as bytes."""
        text = "SELECT * FROM system.local"
        assert pickle.loads(pickle.dumps(tables)).query(text, "local", "", 4) == tables.query(text, "local", "", 4)

    def test_a_new_view_is_shown_at_once(self) -> None:
        """After a DDL the schema version must move, or drivers would not reload."""
        other = uuid.UUID(int=77)
        tables = system_tables(proxies(*FLEET), local=local_row(schema_version=other.bytes))
        assert values(result(tables, "SELECT schema_version FROM system.peers")) == [[other], [other]]
        assert host_id(1) not in {record["host_id"] for record in records(result(tables, "SELECT * FROM system.peers"))}
