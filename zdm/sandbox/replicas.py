"""Which nodes hold a row, and whether enough of them are up for a consistency level.

All nodes of a sandbox cluster share one store, so a level decides only between an answer and UNAVAILABLE. Nodes own
equal parts of the token ring; the copies of a row are on the owner and on the nodes that follow it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from zdm.protocol.consistency import Consistency
from zdm.protocol.errors import Unavailable
from zdm.sandbox.failures import Failure, invalid
from zdm.sandbox.murmur3 import MINIMUM_TOKEN, token
from zdm.sandbox.schema import Keyspace
from zdm.sandbox.storage import Key, serialise_key

if TYPE_CHECKING:
    from zdm.sandbox.clusters import SandboxCluster
    from zdm.sandbox.execute_write import Write

_RING: Final = 1 << 64
_SERIAL: Final = (Consistency.SERIAL, Consistency.LOCAL_SERIAL)
_ONE: Final = (Consistency.ANY, Consistency.ONE, Consistency.LOCAL_ONE)


def node_token(index: int, nodes: int) -> int:
    """The token of a node: the last one of its part of the ring."""
    return MINIMUM_TOKEN + (index + 1) * (_RING // nodes) - 1


def required(level: int, factor: int) -> int:
    """How many copies a level needs, of `factor`."""
    if level in _ONE:
        return 1
    if level == Consistency.TWO:
        return 2
    if level == Consistency.THREE:
        return 3
    if level == Consistency.ALL:
        return factor
    return factor // 2 + 1


def _check(cluster: SandboxCluster, keyspace: Keyspace, level: int, key: Key | None) -> None:
    factor = keyspace.replication_factor
    nodes = cluster.nodes
    tokens = [node_token(index, len(nodes)) for index in range(len(nodes))]
    if key is None:
        starts = list(range(len(nodes)))
    else:
        starts = [bisect_left(tokens, token(serialise_key(key))) % len(nodes)]
    for start in starts:
        replicas = [nodes[(start + step) % len(nodes)] for step in range(min(factor, len(nodes)))]
        alive = sum(node.is_up for node in replicas)
        needed = required(level, factor)
        if alive < needed:
            name = Consistency(level).name
            raise Failure(Unavailable(f"Cannot achieve consistency level {name}", level, needed, alive))


def check_read(cluster: SandboxCluster, keyspace: Keyspace, level: int, keys: list[Key] | None = None) -> None:
    """Raises UNAVAILABLE if a read of these partitions (None: of all) can't have its level, INVALID for ANY."""
    if level == Consistency.ANY:
        raise invalid("ANY ConsistencyLevel is only supported for writes")
    if level == Consistency.EACH_QUORUM:
        raise invalid("EACH_QUORUM ConsistencyLevel is only supported for writes")
    for key in [None] if keys is None else keys:
        _check(cluster, keyspace, level, key)


def check_write(cluster: SandboxCluster, keyspace: Keyspace, level: int, write: Write, serial: int | None) -> None:
    """Raises UNAVAILABLE if a write can't have its level, INVALID where a serial level is out of place."""
    if level in _SERIAL and not write.is_conditional:
        raise invalid("You must use conditional updates for serializable writes")
    if serial is not None and serial not in _SERIAL:
        raise invalid("Invalid consistency for conditional update. Must be one of SERIAL or LOCAL_SERIAL")
    for key in write.keys:
        if write.is_conditional:
            _check(cluster, keyspace, Consistency.SERIAL, key)
        _check(cluster, keyspace, level, key)
