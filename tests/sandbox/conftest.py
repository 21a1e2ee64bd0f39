from __future__ import annotations

import pytest

from tests.sandbox.talk import Talk, make_cluster


@pytest.fixture
def talk() -> Talk:
    """A ready connection to a one-node cluster that has a keyspace `ks`."""
    found = Talk(make_cluster())
    found.cql("CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
    return found
