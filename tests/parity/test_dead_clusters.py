"""A cluster that does not answer is the trouble of those who wait for it, and of nobody else."""

from __future__ import annotations

from tests import frames
from tests.net.wires import HOSTS, Stage
from zdm.core.clusters import CLUSTERS


def test_clients_that_wait_for_a_host_keep_no_other_one_waiting() -> None:
    """FIX-10: with the reference a few clients whose host is dead use up the workers that accept, for half a minute."""
    stage = Stage()
    waiting = [stage.client() for _ in range(50)]
    client = stage.client()
    dialled = stage.attempts[-len(CLUSTERS) :]
    assert len(stage.attempts) == (len(waiting) + 1) * len(CLUSTERS)
    for side, attempt in zip(CLUSTERS, dialled, strict=True):
        assert attempt.endpoint in HOSTS[side]
        client.clusters[side] = attempt.accept()
    client.become_ready().sends(frames.query(2, "INSERT INTO ks.t (k) VALUES (1)"))
    client.answer_all(frames.void())
    assert client.wire.take() == [frames.void(2)]
    assert not any(one.wire.take() or one.wire.ended for one in waiting)
