"""How many stream ids are in use at each node, while requests are under way and after them (8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests import frames
from tests.net.nodes import Connection, Node
from tests.parity.running import Running, running
from zdm.protocol.frames import Frame
from zdm.protocol.opcodes import QUERY

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
SELECT = "SELECT k FROM ks.t WHERE k = 1"
FIRST_STREAM = 100


class SlowNode(Node):
    """Keeps what clients ask, to be answered all together."""

    def __init__(self, like: Node) -> None:
        super().__init__(like.network, like.local, like.peers)
        self.kept: list[tuple[Connection, Frame]] = []

    def answer(self, connection: Connection, frame: Frame) -> None:
        if frame.opcode == QUERY and frame.stream >= FIRST_STREAM:
            self.kept.append((connection, frame))
        else:
            super().answer(connection, frame)

    def answer_all(self) -> None:
        kept, self.kept = self.kept, []
        for connection, frame in kept:
            super().answer(connection, frame)


def slowed(played: Running) -> list[SlowNode]:
    slow = [SlowNode(played.origin[0]), SlowNode(played.target[0])]
    played.network.nodes.update({"127.0.40.1": slow[0], "127.0.40.11": slow[1]})
    return slow


def in_use(played: Running) -> tuple[int, ...]:
    """By the lines of origin's node and target's."""
    texts: list[str] = []
    text: Any = played.service.metrics_text()
    text.addCallback(texts.append)
    lines = dict(line.rpartition(" ")[::2] for line in texts[0].splitlines())
    names = ("origin", "127.0.40.1:9042"), ("target", "127.0.40.11:9042")
    return tuple(int(lines[f'zdm_{side}_used_stream_ids_total{{node="{node}"}}']) for side, node in names)


@pytest.mark.parametrize(
    ("reads", "writes", "used"),
    [(1, 0, (1, 0)), (0, 1, (1, 1)), (0, 50, (50, 50)), (50, 0, (50, 0)), (50, 50, (100, 50))],
    ids=["SELECT", "INSERT", "50-INSERT", "50-SELECT", "50-of-each"],
)
def test_ids_are_in_use_while_requests_are_under_way(reads: int, writes: int, used: tuple[int, int]) -> None:
    """A read takes one at the primary, a write one at each cluster; all are free again when all is answered."""
    with running() as played:
        nodes = slowed(played)
        client = played.start().ready()
        assert in_use(played) == (0, 0)
        texts = [SELECT] * reads + [INSERT] * writes
        asked = [frames.query(FIRST_STREAM + place, text) for place, text in enumerate(texts)]
        client.protocol.dataReceived(b"".join(asked))
        played.settle()
        assert in_use(played) == used
        for node in nodes:
            node.answer_all()
        played.settle()
        assert len(client.take()) == reads + writes
        assert in_use(played) == (0, 0)
