"""The tables of the system keyspaces, as Cassandra 4.1 defines those that drivers and cqlsh read."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from zdm.sandbox.grammar import parse
from zdm.sandbox.schema import Keyspace, Schema, select_order
from zdm.sandbox.schema_tables import create_table
from zdm.sandbox.statements import CreateTable

_LOCAL: Final = {"class": "org.apache.cassandra.locator.LocalStrategy"}
_SIMPLE: Final = "org.apache.cassandra.locator.SimpleStrategy"
KEYSPACES: Final = {
    "system": _LOCAL,
    "system_schema": _LOCAL,
    "system_virtual_schema": _LOCAL,
    "system_auth": {"class": _SIMPLE, "replication_factor": "1"},
    "system_traces": {"class": _SIMPLE, "replication_factor": "2"},
}
_TABLE_OPTIONS: Final = """additional_write_policy text, allow_auto_snapshot boolean, bloom_filter_fp_chance double,
    caching frozen<map<text, text>>, cdc boolean, comment text, compaction frozen<map<text, text>>,
    compression frozen<map<text, text>>, crc_check_chance double, dclocal_read_repair_chance double,
    default_time_to_live int, extensions frozen<map<text, blob>>, gc_grace_seconds int, id uuid,
    incremental_backups boolean, max_index_interval int, memtable text, memtable_flush_period_in_ms int,
    min_index_interval int, read_repair text, read_repair_chance double, speculative_retry text"""
_TABLES: Final = (
    """CREATE TABLE system.local (key text PRIMARY KEY, bootstrapped text, broadcast_address inet, broadcast_port int,
    cluster_name text, cql_version text, data_center text, gossip_generation int, host_id uuid, listen_address inet,
    listen_port int, native_protocol_version text, partitioner text, rack text, release_version text, rpc_address inet,
    rpc_port int, schema_version uuid, tokens set<text>, truncated_at map<uuid, blob>)""",
    """CREATE TABLE system.peers (peer inet PRIMARY KEY, data_center text, host_id uuid, preferred_ip inet, rack text,
    release_version text, rpc_address inet, schema_version uuid, tokens set<text>)""",
    """CREATE TABLE system.peers_v2 (peer inet, peer_port int, data_center text, host_id uuid, native_address inet,
    native_port int, preferred_ip inet, preferred_port int, rack text, release_version text, schema_version uuid,
    tokens set<text>, PRIMARY KEY (peer, peer_port))""",
    """CREATE TABLE system_schema.keyspaces (keyspace_name text PRIMARY KEY, durable_writes boolean,
    replication frozen<map<text, text>>)""",
    f"""CREATE TABLE system_schema.tables (keyspace_name text, table_name text, flags frozen<set<text>>,
    {_TABLE_OPTIONS}, PRIMARY KEY (keyspace_name, table_name))""",
    f"""CREATE TABLE system_schema.views (keyspace_name text, view_name text, base_table_id uuid, base_table_name text,
    include_all_columns boolean, where_clause text, {_TABLE_OPTIONS}, PRIMARY KEY (keyspace_name, view_name))""",
    """CREATE TABLE system_schema.columns (keyspace_name text, table_name text, column_name text, clustering_order text,
    column_name_bytes blob, kind text, position int, type text,
    PRIMARY KEY (keyspace_name, table_name, column_name))""",
    """CREATE TABLE system_schema.dropped_columns (keyspace_name text, table_name text, column_name text,
    dropped_time timestamp, kind text, type text, PRIMARY KEY (keyspace_name, table_name, column_name))""",
    """CREATE TABLE system_schema.indexes (keyspace_name text, table_name text, index_name text, kind text,
    options frozen<map<text, text>>, PRIMARY KEY (keyspace_name, table_name, index_name))""",
    """CREATE TABLE system_schema.triggers (keyspace_name text, table_name text, trigger_name text,
    options frozen<map<text, text>>, PRIMARY KEY (keyspace_name, table_name, trigger_name))""",
    """CREATE TABLE system_schema.types (keyspace_name text, type_name text, field_names frozen<list<text>>,
    field_types frozen<list<text>>, PRIMARY KEY (keyspace_name, type_name))""",
    """CREATE TABLE system_schema.functions (keyspace_name text, function_name text, argument_types frozen<list<text>>,
    argument_names frozen<list<text>>, body text, called_on_null_input boolean, language text, return_type text,
    PRIMARY KEY (keyspace_name, function_name, argument_types))""",
    """CREATE TABLE system_schema.aggregates (keyspace_name text, aggregate_name text,
    argument_types frozen<list<text>>, final_func text, initcond text, return_type text, state_func text,
    state_type text,
    PRIMARY KEY (keyspace_name, aggregate_name, argument_types))""",
    "CREATE TABLE system_virtual_schema.keyspaces (keyspace_name text PRIMARY KEY)",
    """CREATE TABLE system_virtual_schema.tables (keyspace_name text, table_name text, comment text,
    PRIMARY KEY (keyspace_name, table_name))""",
    """CREATE TABLE system_virtual_schema.columns (keyspace_name text, table_name text, column_name text,
    clustering_order text, column_name_bytes blob, kind text, position int, type text,
    PRIMARY KEY (keyspace_name, table_name, column_name))""",
    """CREATE TABLE system_auth.roles (role text PRIMARY KEY, can_login boolean, is_superuser boolean,
    member_of set<text>, salted_hash text)""",
    """CREATE TABLE system_traces.sessions (session_id uuid PRIMARY KEY, client inet, command text, coordinator inet,
    coordinator_port int, duration int, parameters map<text, text>, request text, started_at timestamp)""",
    """CREATE TABLE system_traces.events (session_id uuid, event_id timeuuid, activity text, source inet,
    source_elapsed int, source_port int, thread text, PRIMARY KEY (session_id, event_id))""",
)


def define(schema: Schema) -> None:
    """Puts the system keyspaces into a new cluster's schema."""
    for name, replication in KEYSPACES.items():
        schema.keyspaces[name] = Keyspace(name, dict(replication))
    for text in _TABLES:
        statement, _ = parse(text)
        assert isinstance(statement, CreateTable)
        create_table(schema.keyspaces[statement.table.keyspace or ""], statement)
    for table in schema.tables():
        # Their rows are made whole, never cell by cell, so collections are kept as frozen ones are.
        table.columns = select_order([replace(column, is_multicell=False) for column in table.columns.values()])
