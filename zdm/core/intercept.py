"""The answers that the proxy gives itself: system.local, system.peers and system.peers_v2 (spec 4.4, 12.5).

Drivers learn the cluster from these tables. They are shown the fleet of proxies: one virtual host per instance, with
its address, its tokens and a host id of its own, and for everything else the values of a real host. WHERE and LIMIT
are not looked at. What is beyond columns, `*` and `count(*)` (functions, casts, JSON, DISTINCT) is not answered here:
`None` says that the statement is to be forwarded to the cluster that answers system queries (FIX-16).

The column lists below give the order. A column that is not the proxy's own is shown only if the real table has it, with
the type it has there. schema_version is the contacted node's in every row: a driver that waits for schema agreement
compares system.local with system.peers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from zdm.core.topology import ClusterView, ProxyTopology, Row, Table, VirtualHost
from zdm.cql.selectors import Selector, SelectorKind, select_list
from zdm.protocol import opcodes
from zdm.protocol.errors import Error, ErrorCode
from zdm.protocol.metadata import BindMetadata, ColumnSpec, RowsMetadata
from zdm.protocol.primitives import encode_bytes, encode_int
from zdm.protocol.responses import Prepared, Rows
from zdm.protocol.types import BLOB, INET, INT, UUID, VARCHAR, CqlType, map_of, set_of
from zdm.protocol.versions import V5

PARTITIONER: Final = "org.apache.cassandra.dht.Murmur3Partitioner"
DEFAULT_RACK: Final = "rack0"
LOCAL: Final = "local"
PEERS: Final = "peers"
PEERS_V2: Final = "peers_v2"
INTERCEPTED_TABLES: Final = frozenset({LOCAL, PEERS, PEERS_V2})

_KEYSPACE: Final = "system"
_CACHED_ANSWERS: Final = 256
_CACHED_TEXT: Final = 1024  # characters; a longer statement is answered anew each time

_LOCAL_COLUMNS: Final = (
    "key bootstrapped broadcast_address cluster_name cql_version data_center dse_version gossip_generation graph "
    "host_id jmx_port last_nodesync_checkpoint_time listen_address native_protocol_version native_transport_port "
    "native_transport_port_ssl partitioner native_transport_address rack release_version rpc_address schema_version "
    "server_id storage_port storage_port_ssl thrift_version tokens truncated_at workload workloads"
).split()
_PEERS_COLUMNS: Final = (
    "peer data_center dse_version graph host_id jmx_port native_transport_address native_transport_port "
    "native_transport_port_ssl preferred_ip rack release_version rpc_address schema_version server_id storage_port "
    "storage_port_ssl tokens workload workloads"
).split()
_ALWAYS_LOCAL: Final = frozenset(
    "broadcast_address data_center host_id listen_address partitioner rack release_version rpc_address schema_version "
    "tokens truncated_at".split()
)
_ALWAYS_PEERS: Final = frozenset("peer data_center host_id preferred_ip rack rpc_address schema_version tokens".split())
_CONTACTED: Final = frozenset(
    "key bootstrapped cluster_name cql_version gossip_generation last_nodesync_checkpoint_time native_protocol_version "
    "thrift_version".split()
)
"""Columns that come from the row of the contacted node instead of the virtual host's real host."""

_OWN_TYPES: Final[Mapping[str, CqlType]] = {
    "broadcast_address": INET,
    "data_center": VARCHAR,
    "host_id": UUID,
    "listen_address": INET,
    "native_transport_address": INET,
    "native_transport_port": INT,
    "native_transport_port_ssl": INT,
    "partitioner": VARCHAR,
    "peer": INET,
    "preferred_ip": INET,
    "rack": VARCHAR,
    "release_version": VARCHAR,
    "rpc_address": INET,
    "schema_version": UUID,
    "tokens": set_of(VARCHAR),
    "truncated_at": map_of(UUID, BLOB),
}


class Answer(NamedTuple):
    """A response: its opcode (RESULT or ERROR) and its body, to be sent without flags."""

    opcode: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Relation:
    """A virtual table: the shown columns with their types, in order, and its rows."""

    name: str
    columns: Mapping[str, CqlType]
    rows: tuple[Row, ...]


class SystemTables:
    """The system tables as drivers see them, made of one view of the cluster that answers system queries.

    Immutable but for its answers kept ready; a new view makes a new object. May be pickled.
    """

    __slots__ = ("_answers", "topology", "view")

    def __init__(self, view: ClusterView, topology: ProxyTopology) -> None:
        self.view: Final = view
        self.topology: Final = topology
        self._answers: dict[tuple[str, str, str, int, str | None], Answer | None] = {}

    def __reduce__(self) -> tuple[type[SystemTables], tuple[ClusterView, ProxyTopology]]:
        return SystemTables, (self.view, self.topology)

    def query(self, text: str, table: str, local_address: str, version: int) -> Answer | None:
        """The answer to a QUERY of `text` on `table` (one of INTERCEPTED_TABLES), or to the EXECUTE of it.

        `local_address` is the proxy's end of that client's socket. None: to be forwarded.
        """
        return self._answer(text, table, local_address, version, None)

    def prepare(self, text: str, keyspace: str, table: str, local_address: str, version: int) -> Answer | None:
        """The answer to a PREPARE; its id, where the answer is no ERROR, is `prepared_id(text, keyspace)`."""
        return self._answer(text, table, local_address, version, keyspace)

    def _answer(self, text: str, table: str, local_address: str, version: int, keyspace: str | None) -> Answer | None:
        shown_to = local_address if self.topology.depends_on_client() else ""
        key = (text, table, shown_to, version, keyspace)
        if key in self._answers:
            return self._answers[key]
        answer = self._make(text, table, local_address, version, keyspace)
        if len(text) <= _CACHED_TEXT:
            if len(self._answers) >= _CACHED_ANSWERS:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def _make(self, text: str, table: str, local_address: str, version: int, keyspace: str | None) -> Answer | None:
        if table == PEERS_V2:
            return _invalid(f"unconfigured table {PEERS_V2}", version)
        selectors = select_list(text)
        if selectors is None:
            return None
        relation = self._relation(table, local_address)
        unknown = _unknown_column(selectors, relation)
        if unknown is not None:
            return _invalid(f"Undefined column name {unknown[:_CACHED_TEXT]}", version)
        rows = _select(selectors, relation)
        if keyspace is None:
            return Answer(opcodes.RESULT, rows.encode(version))
        prepared = prepared_id(text, keyspace)
        metadata_id = prepared if version >= V5 else None
        bind = BindMetadata([], [], global_spec=False)
        return Answer(opcodes.RESULT, Prepared(prepared, bind, rows.metadata, metadata_id).encode(version))

    def _relation(self, table: str, local_address: str) -> _Relation:
        hosts = self.topology.virtual_hosts(local_address)
        own = self.topology.index
        if table == LOCAL:
            columns = _shown_columns(_LOCAL_COLUMNS, _ALWAYS_LOCAL, self.view.local)
            return _Relation(table, columns, (self._row(hosts[own], columns),))
        real = self.view.peers if self.view.peers.rows else self.view.local
        columns = _shown_columns(_PEERS_COLUMNS, _ALWAYS_PEERS, real)
        return _Relation(table, columns, tuple(self._row(host, columns) for host in hosts if host.index != own))

    def _row(self, host: VirtualHost, columns: Iterable[str]) -> Row:
        real = self.view.local_hosts[host.index % len(self.view.local_hosts)]
        own = _own_values(host, self.topology)
        own["data_center"] = (self.topology.datacenter or real.datacenter).encode()
        own["schema_version"] = self._schema_version()
        contacted = self.view.local.rows[0]
        return {
            name: own[name] if name in own else (contacted if name in _CONTACTED else real.row).get(name)
            for name in columns
        }

    def _schema_version(self) -> bytes | None:
        rows = (self.view.local.rows[0], *(host.row for host in self.view.local_hosts))
        return next((found for row in rows if (found := row.get("schema_version"))), None)


def prepared_id(text: str, keyspace: str) -> bytes:
    """The 16-byte id of an intercepted statement, which is its result metadata id as well (spec 4.4)."""
    return hashlib.md5((text + keyspace).encode(), usedforsecurity=False).digest()


def _own_values(host: VirtualHost, topology: ProxyTopology) -> dict[str, bytes | None]:
    """The values that are the proxy's, but for those that are taken from a real host."""
    address, port = host.packed, encode_int(topology.port)
    tokens = encode_int(len(host.tokens)) + b"".join(encode_bytes(token.encode()) for token in host.tokens)
    return {
        "broadcast_address": address,
        "host_id": host.host_id.bytes,
        "listen_address": address,
        "native_transport_address": address,
        "native_transport_port": port,
        "native_transport_port_ssl": port,
        "partitioner": PARTITIONER.encode(),
        "peer": address,
        "preferred_ip": address,
        "rack": (topology.rack or DEFAULT_RACK).encode(),
        "rpc_address": address,
        "tokens": tokens,
        "truncated_at": None,
    }


def _shown_columns(order: Sequence[str], always: frozenset[str], real: Table) -> dict[str, CqlType]:
    shown = (name for name in order if name in always or name in real.types)
    return {name: _OWN_TYPES[name] if name in _OWN_TYPES else real.types[name] for name in shown}


def _unknown_column(selectors: Sequence[Selector], relation: _Relation) -> str | None:
    columns = (selector.name for selector in selectors if selector.kind is SelectorKind.COLUMN)
    return next((name for name in columns if name not in relation.columns), None)


def _select(selectors: Sequence[Selector], relation: _Relation) -> Rows:
    """The RESULT of a select list whose columns all exist. A count makes one row of it all (spec 4.4)."""
    if selectors[0].kind is SelectorKind.ALL:
        selectors = [Selector(SelectorKind.COLUMN, name) for name in relation.columns]
    rows = relation.rows
    if any(selector.kind is SelectorKind.COUNT for selector in selectors):
        rows = rows[:1] or ({},)
    count = encode_int(len(relation.rows))
    values = [[count if s.kind is SelectorKind.COUNT else row.get(s.name) for s in selectors] for row in rows]
    return Rows(RowsMetadata(_specs(selectors, relation), len(selectors), global_spec=False), values)


def _specs(selectors: Sequence[Selector], relation: _Relation) -> list[ColumnSpec]:
    types = (INT if s.kind is SelectorKind.COUNT else relation.columns[s.name] for s in selectors)
    return [
        ColumnSpec(_KEYSPACE, relation.name, selector.result_name, column_type)
        for selector, column_type in zip(selectors, types, strict=True)
    ]


def _invalid(message: str, version: int) -> Answer:
    return Answer(opcodes.ERROR, Error(ErrorCode.INVALID, message).encode(version))
