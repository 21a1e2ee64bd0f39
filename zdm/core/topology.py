"""Which hosts a cluster has, which of them this proxy uses, and which hosts the proxy pretends to be.

Three things are derived here, all without I/O:

* the host list of a cluster out of the rows of `system.local` and `system.peers` (spec 7.2, 7.3);
* the share of those hosts that instance k of n proxies connects to, and in which turn (spec 7.3, 7.5);
* the virtual hosts that drivers see instead: one per proxy instance, with evenly spaced tokens and host ids made from
  the addresses (spec 1.4, 4.4).

Row values stay as the cluster sent them (bytes); only what decides something is decoded. What the drivers are told
about the virtual hosts is up to `intercept.py`, reading the rows off a connection is up to `net/control.py`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from zdm.protocol.responses import Rows
from zdm.protocol.types import CqlType

Row: TypeAlias = Mapping[str, "bytes | None"]

_Place = TypeVar("_Place")

_NIL_NAMESPACE: Final = bytes(16)
_TOKEN_RANGE: Final = 2**64
_LOWEST_TOKEN: Final = -(2**63)
_SUPPORTED_PARTITIONERS: Final = ("Murmur3Partitioner", "RandomPartitioner")


class TopologyError(Exception):
    """The rows of a cluster cannot be used: the text says which and why."""


@dataclass(frozen=True, slots=True)
class Table:
    """A system table as one node answered it: the announced type of each column, in order, and the raw rows."""

    types: Mapping[str, CqlType]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to dial; as text `host:port`, with an IPv6 address in brackets."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Host:
    """A node as discovered. `row` is its row of system.local or system.peers, values as sent."""

    address: str
    port: int
    datacenter: str
    rack: str
    host_id: uuid.UUID
    release_version: str
    row: Row

    @property
    def endpoint(self) -> Endpoint:
        """Where to dial it."""
        return Endpoint(self.address, self.port)

    def __str__(self) -> str:
        return str(self.endpoint)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What the system tables said: `contacted` is the node that was asked, `skipped` says why peers were left out."""

    contacted: Host
    hosts: tuple[Host, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Everything known of one cluster at one moment. Immutable: a refresh makes a new one.

    `hosts` are those of every datacenter, `local_hosts` those of `datacenter` sorted by (rack, host id), `assigned`
    the ones this proxy connects to, in turn. `local` is system.local of the contacted node (one row), `peers` is
    system.peers. `version` is the protocol version of the control connection, `supported` its SUPPORTED answer,
    `endpoint` where it is connected to.
    """

    name: str
    partitioner: str
    datacenter: str
    hosts: tuple[Host, ...]
    local_hosts: tuple[Host, ...]
    assigned: tuple[Host, ...]
    local: Table
    peers: Table
    version: int
    supported: Mapping[str, list[str]]
    auth_required: bool
    endpoint: Endpoint


def read_table(rows: Rows) -> Table:
    """The rows of a RESULT as a `Table`. Raises TopologyError if the answer came without column names."""
    columns = rows.metadata.columns
    if columns is None:
        raise TopologyError("the answer to a system query has no column names")
    names = [column.name for column in columns]
    types = {column.name: column.type for column in columns}
    return Table(types, tuple(dict(zip(names, row, strict=True)) for row in rows.rows))


def discover(local: Table, peers: Table, contacted: str, port: int) -> Discovery:
    """The hosts of a cluster, the contacted one first.

    `contacted` is the address the control connection was dialled with: it stands in where system.local has no
    rpc_address (Cassandra 2.0). `port` is the configured port, the same for all. A host in both tables is taken from
    system.local. Peers without an address, datacenter, rack or host id are skipped (spec 7.2, FIX-25). Raises
    TopologyError if the local row lacks any of these.
    """
    if not local.rows:
        raise TopologyError("system.local is empty")
    row = local.rows[0]
    first = _host(row, _local_address(row, contacted), port)
    if isinstance(first, str):
        raise TopologyError(f"system.local has no {first}")
    found = {first.host_id: first}
    skipped: list[str] = []
    for row in peers.rows:
        host = _host(row, _peer_address(row), port)
        if isinstance(host, str):
            skipped.append(f"peer {row_address(row, 'peer') or '?'} has no {host}")
        else:
            found.setdefault(host.host_id, host)
    return Discovery(first, tuple(found.values()), tuple(skipped))


def check_partitioner(row: Row) -> str:
    """The partitioner named by a system.local row, `""` if it names none.

    Raises TopologyError unless tokens of virtual hosts can be laid over it.
    """
    partitioner = row_text(row, "partitioner")
    if partitioner and not any(name in partitioner for name in _SUPPORTED_PARTITIONERS):
        raise TopologyError(
            f"virtualization is enabled and partitioner is not Murmur3 or Random but instead {partitioner}"
        )
    return partitioner


def choose_datacenter(found: Discovery, configured: str) -> str:
    """The configured datacenter if a host is in it, otherwise that of the contacted node (spec 7.3)."""
    if configured and any(host.datacenter == configured for host in found.hosts):
        return configured
    return found.contacted.datacenter


def in_datacenter(hosts: Sequence[Host], datacenter: str) -> tuple[Host, ...]:
    """The hosts of one datacenter sorted by (rack, host id). Raises TopologyError if there is none."""
    chosen = sorted((h for h in hosts if h.datacenter == datacenter), key=lambda h: (h.rack, str(h.host_id)))
    if not chosen:
        raise TopologyError(f"no host found in datacenter {datacenter}")
    return tuple(chosen)


def assigned_hosts(hosts: Sequence[Host], count: int, index: int) -> tuple[Host, ...]:
    """The share of instance `index` among `count` proxies: positions j of m hosts with j mod count == index mod m."""
    share = index % len(hosts)
    return tuple(host for position, host in enumerate(hosts) if position % count == share)


class HostRing(Generic[_Place]):
    """The assigned hosts of one cluster, or where to dial them, taken in turn.

    The first connection gets element 1, not 0 (spec 7.5).
    """

    __slots__ = ("hosts", "position")

    def __init__(self, hosts: Sequence[_Place] = ()) -> None:
        self.hosts = tuple(hosts)
        self.position = 0

    def replace(self, hosts: Sequence[_Place]) -> None:
        """Takes the hosts of a new view; the turn goes on where it was."""
        self.hosts = tuple(hosts)

    def next(self) -> _Place | None:
        """The host for the next connection, None while none is known."""
        order = self.candidates()
        return order[0] if order else None

    def candidates(self) -> tuple[_Place, ...]:
        """Takes the next turn: its host first, then the others in the order to try them if it fails (FIX-27)."""
        if not self.hosts:
            return ()
        self.position += 1
        start = self.position % len(self.hosts)
        return self.hosts[start:] + self.hosts[:start]


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """A proxy instance as drivers see it. `packed` is its address as an inet value, 4 or 16 bytes."""

    index: int
    address: str
    packed: bytes
    host_id: uuid.UUID
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProxyTopology:
    """Where the proxies of the fleet are, and which one this is (spec 1.4).

    `addresses` are IP literals in the order all instances agree on, `index` is this instance. `is_derived` says that
    the one address comes from the listen address instead of from proxy_topology_addresses: the host id is then made
    of 4 instead of 16 bytes. `port` is proxy_listen_port. `datacenter` and `rack` replace what drivers are told, where
    not empty.
    """

    addresses: tuple[str, ...]
    index: int
    num_tokens: int
    is_derived: bool
    port: int
    datacenter: str = ""
    rack: str = ""

    def depends_on_client(self) -> bool:
        """Whether this instance's own address is 0.0.0.0 or ::, so that each client is shown the one it reached."""
        return ipaddress.ip_address(self.addresses[self.index]).is_unspecified

    def shown_addresses(self, local_address: str) -> tuple[str, ...]:
        """The addresses shown to a client that is connected to `local_address` (its socket's own end)."""
        if not self.depends_on_client() or not local_address:
            return self.addresses
        return self.addresses[: self.index] + (local_address,) + self.addresses[self.index + 1 :]

    def virtual_hosts(self, local_address: str) -> tuple[VirtualHost, ...]:
        """All virtual hosts in address order, as shown to a client connected to `local_address`."""
        shown = self.shown_addresses(local_address)
        return tuple(self._virtual_host(index, address, len(shown)) for index, address in enumerate(shown))

    def _virtual_host(self, index: int, address: str, count: int) -> VirtualHost:
        parsed = _unmapped(ipaddress.ip_address(address))
        host_id = virtual_host_id(parsed.packed if self.is_derived else _mapped(parsed.packed))
        return VirtualHost(index, str(parsed), parsed.packed, host_id, virtual_tokens(index, count, self.num_tokens))


def virtual_host_id(address: bytes) -> uuid.UUID:
    """UUID version 5 of an address (4 or 16 bytes) in the nil name space."""
    return uuid.UUID(bytes=hashlib.sha1(_NIL_NAMESPACE + address).digest()[:16], version=5)


def virtual_tokens(index: int, count: int, num_tokens: int) -> tuple[str, ...]:
    """The tokens of instance `index` of `count`, decimal, ascending: the fleet's tokens interleave evenly."""
    step = _TOKEN_RANGE // (num_tokens * count)
    return tuple(str(step * (turn * count + index) + _LOWEST_TOKEN) for turn in range(num_tokens))


def row_text(row: Row, name: str) -> str:
    """A text value, `""` where the column is absent or null."""
    value = row.get(name)
    return value.decode("utf-8", "replace") if value else ""


def row_address(row: Row, name: str) -> str:
    """An inet value as a literal, `""` where the column is absent, null, malformed or the unspecified address."""
    value = row.get(name)
    if value is None or len(value) not in (4, 16):
        return ""
    address = _unmapped(ipaddress.ip_address(value))
    return "" if address.is_unspecified else str(address)


def _host(row: Row, address: str, port: int) -> Host | str:
    """A Host, or what the row lacks to be one."""
    datacenter, rack, host_id = row_text(row, "data_center"), row_text(row, "rack"), row.get("host_id")
    if not address:
        return "rpc_address"
    if not datacenter:
        return "data_center"
    if not rack:
        return "rack"
    if host_id is None or len(host_id) != 16:
        return "host_id"
    return Host(address, port, datacenter, rack, uuid.UUID(bytes=host_id), row_text(row, "release_version"), row)


def _local_address(row: Row, contacted: str) -> str:
    if not row.get("rpc_address"):
        return contacted
    names = ("rpc_address", "broadcast_address", "listen_address")
    return next((address for name in names if (address := row_address(row, name))), contacted)


def _peer_address(row: Row) -> str:
    """The peer's rpc_address, or `peer` if that is 0.0.0.0 or ::. A null one makes the peer unusable."""
    if not row.get("rpc_address"):
        return ""
    return row_address(row, "rpc_address") or row_address(row, "peer")


def _unmapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4-mapped IPv6 address (what a dual-stack socket reports) as plain IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _mapped(packed: bytes) -> bytes:
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
