"""Which protocol version is spoken: by control connections, and by clients that try one after the other (12.3 f.)."""

from __future__ import annotations

import pytest

from tests import frames
from tests.parity.running import ERROR, READY, Running, running
from zdm.protocol.frames import SUPPORTED_VERSIONS

INSERT = "INSERT INTO ks.t (k) VALUES (1)"
DSE1, DSE2 = 0x41, 0x42
DOWNWARDS = (DSE2, DSE1, 5, 4, 3, 2)
"""In which order a driver tries versions, each on a connection of its own."""


def first_answer(played: Running, version: int) -> bytes:
    """What the client of a version gets for its STARTUP."""
    client = played.connect()
    client.protocol.dataReceived(frames.startup(1, version=version))
    played.settle()
    return client.take()[0]


def spoken_in_the_end(played: Running) -> int | None:
    """What a driver that tries one version after the other ends up with."""
    for version in DOWNWARDS:
        answer = first_answer(played, version)
        if answer[4] == READY:
            return version
        assert answer[4] == ERROR and answer[2:4] == b"\0\0"
        assert f"protocol version ({version})".encode() in answer
    return None


@pytest.mark.parametrize(
    ("of_origin", "of_target", "client"),
    [
        ({2, 3}, {3, 4, 5}, 3),
        ({3, 4, 5}, {3, 4, 5}, 4),
        ({3, 4, 5}, {3, 4, DSE1, DSE2}, 4),
        ({2, 3, 4, DSE1, DSE2}, {3, 4, 5}, 4),
        ({3}, {3, 4}, 3),
        ({3, 4}, {3}, 3),
    ],
)
def test_clusters_of_different_versions_work_with_one_that_both_speak(
    of_origin: set[int], of_target: set[int], client: int
) -> None:
    """Each control connection takes the highest it can; a client must use one that both clusters speak."""
    with running() as played:
        played.origin[0].versions, played.target[0].versions = of_origin, of_target
        played.start()
        ready = played.ready(client)
        written = played.ask(ready, frames.query(2, INSERT, version=client))
        assert written == frames.void(2, version=client)
        for cluster, versions in (("ORIGIN", of_origin), ("TARGET", of_target)):
            (line,) = [text for text in played.log.texts("info") if f"control connection to {cluster} using" in text]
            assert line.endswith(f"with ProtocolVersion OSS {max(versions & {3, 4})}.")


@pytest.mark.parametrize(
    ("versions", "highest", "negotiated"),
    [({2, 3}, "4", 3), ({2, 3, 4}, "4", 4), ({2, 3, 4}, "3", 3)],
    ids=["2.1", "3.0", "3.0 with 3 at most"],
)
def test_a_client_of_the_negotiated_version_is_served(versions: set[int], highest: str, negotiated: int) -> None:
    """What the operator allows at most, or what the cluster can."""
    with running(control_conn_max_protocol_version=highest) as played:
        played.origin[0].versions = played.target[0].versions = versions
        played.start()
        assert len([text for text in played.log.texts("info") if f"OSS {negotiated}." in text]) == 2
        played.ask(played.ready(negotiated), frames.query(2, INSERT, version=negotiated))


def test_a_version_that_one_cluster_refuses_is_refused_in_its_words() -> None:
    """The driver tries a lower one, and is served."""
    with running() as played:
        played.target[0].versions = {3}
        played.start()
        refusal = frames.error(0, 0x0A, "Invalid or unsupported protocol version (4)", version=3)
        assert first_answer(played, 4) == refusal
        assert spoken_in_the_end(played) == 3


@pytest.mark.parametrize(
    ("versions", "blocked"),
    [
        ({2, 3, 4}, "v2"),
        ({2, 3, 4, 5}, "v5"),
        ({2, 3, 4, 5}, "v4,v5"),
        ({2, 3, 4, 5}, "2,3,4,5"),
        ({2, 3, 4, DSE1}, "V5"),
        ({2, 3, 4, DSE1}, "dsev1"),
        ({2, 3, 4, DSE1, DSE2}, "V4,V5,DseV1"),
    ],
)
def test_a_driver_ends_at_the_highest_version_that_is_not_blocked(versions: set[int], blocked: str) -> None:
    """As far as this proxy speaks them itself. Control connections are not concerned."""
    names = {"2": 2, "3": 3, "4": 4, "5": 5, "dse1": DSE1}
    refused = {names[name.lower().removeprefix("v").replace("sev", "se")] for name in blocked.split(",")}
    left = (versions & set(SUPPORTED_VERSIONS)) - refused
    with running(blocked_protocol_versions=blocked) as played:
        played.origin[0].versions = played.target[0].versions = versions
        played.start()
        assert spoken_in_the_end(played) == max(left, default=None)
